/* broker/node_report.h: what nodes say of their gears and instances becomes status records. */
#pragma once

struct broker;
struct http_req;

/* POST /internal/node/report. Takes the request; answers 200 once all of it is stored. */
void node_report_handle(struct broker *b, struct http_req *r);
