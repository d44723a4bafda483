/* router/head_edit.h: single fields of a head that is about to go out. The head is the end of a
 * buffer: from `from` to its end, the empty line included. */
#pragma once

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"

/* Removes all fields of that name; '-' and '_' are the same in it, as they are to CGI and WSGI. */
void head_edit_remove(struct buf *b, size_t from, const char *name);
void head_edit_add(struct buf *b, const char *name, const char *value);
/* The first field's value, a slice of b; p NULL: there is none. */
struct str head_edit_get(const struct buf *b, size_t from, const char *name);
