/* lib/oci/oci_rename.h: renames members of an archive by the s/…/…/ expressions of cartridges
 * (restore_transforms of managed_files.yml): the part of tar --transform that they use. */
#pragma once

#include "lib/base/err.h"
#include "lib/base/str.h"

struct oci_rename;

/* Each: s, a delimiter, a basic regular expression, a replacement with & and \1 … \9, flags g and
 * i. ERR_INVALID names the expression. NULL: none. */
struct oci_rename *oci_rename_new(const struct str_list *expressions, struct err *e) MUST_CHECK;
void oci_rename_free(struct oci_rename *take_r);
/* One after the other; caller owns. A result grows to 8 KiB at most, then it stays as it was. */
char *oci_rename_apply(const struct oci_rename *r, const char *name);
