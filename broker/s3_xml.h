/* broker/s3_xml.h: the little that is read of an S3 store's answers. They are flat: an element's
 * text ends at the next '<'. Results point into the text. */
#pragma once

#include <stdbool.h>

#include "lib/base/str.h"

enum { S3_XML_ID_MAX = 1024 };

/* Of the first <tag>; n 0: there is none. */
struct str s3_xml_text(const char *text, const char *tag);
/* The next <Upload> of a ListMultipartUploads answer that has a key and an id; *at moves behind it.
 */
bool s3_xml_upload(const char **at, struct str *key, struct str *id);
