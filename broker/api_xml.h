/* broker/api_xml.h: the envelope as XML, for clients that ask for it. */
#pragma once

#include "lib/base/buf.h"

/* Turns the JSON envelope in b into XML: root `response`, hyphenated names, nulls as nil="true". */
void api_xml_of_envelope(struct buf *b);
