/* broker/api.h: the public REST API under /broker/rest: routes, versions, who, and which handler.
 */
#pragma once

struct broker;
struct http_req;

/* Takes the request; answers it, now or later. */
void api_handle(struct broker *b, struct http_req *r);
/* Frees the calls under way: when the broker ends, after the server and what would call back. */
void api_end(struct broker *b);
