/* node/build_output.h: what a build says, as JSON lines (wire_build_line) of an HTTP answer: whole
 * lines of bounded length, up to a limit, at last the result. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct http_req;
struct wire_build_result;

struct build_output {
	struct http_req *r; /* NULL: nobody listens any more */
	struct buf line;    /* of the output, not yet whole */
	int64_t left;       /* bytes of output that still may be shown */
	bool is_cut;        /* what was beyond is left out, and that was said */
	bool is_full;       /* the asker is slow: pause until on_drain */
};

void build_output_fini(struct build_output *o);
/* A line of our own; not counted. */
void build_output_say(struct build_output *o, const char *text);
/* Output of a step; progress that overwrites itself is shown as it ended. */
void build_output_write(struct build_output *o, const char *p, size_t n);
/* The result, and the end of the answer. */
void build_output_end(struct build_output *o, const struct wire_build_result *result);
