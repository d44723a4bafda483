/* node/act_http.h: POST /v1/gears/UUID/actions of the node's stream endpoint: a wire_act_order in,
 * JSON lines of wire_act_line out, the last with the result. */
#pragma once

struct gear_act_opts;
struct http_req;

/* Takes the request. o: copied, what it names is borrowed for the call's life. A client that goes
 * away ends the action. */
void act_http_handle(const struct gear_act_opts *o, struct http_req *r, const char *gear);
