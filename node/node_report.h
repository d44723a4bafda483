/* node/node_report.h: tells the broker what has changed on this node: hello, reports, coalesced and
 * repeated until the broker has them. Loop thread. */
#pragma once

#include "lib/wire/wire_gear.h"
#include "node/node_sync.h"

struct node_report;

struct node_report *node_report_new(const struct node_sync_opts *o);
void node_report_free(struct node_report *take_r);

/* Copied. is_urgent: goes at once; else within 20 ms. */
void node_report_instance(
    struct node_report *r, const struct wire_instance_status *st, bool is_urgent);
void node_report_gear(struct node_report *r, const struct gear *g);
/* The broker no longer names it. */
void node_report_drop_instance(struct node_report *r, const char *id);
void node_report_drop_gear(struct node_report *r, const char *uuid);
/* The next report names all. */
void node_report_all(struct node_report *r);
/* The broker is there (again): hello, then what waits. */
void node_report_hello(struct node_report *r);
void node_report_mute(struct node_report *r);
void node_report_fill(const struct node_report *r, bool all, struct wire_report *out);
