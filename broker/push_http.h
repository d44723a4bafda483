/* broker/push_http.h: smart HTTP under /git/DOMAIN/APP.git: who, which repository, bytes both ways
 * between the client and a git process. */
#pragma once

struct broker;
struct http_req;
struct push_http;

struct push_http *push_http_new(struct broker *b);
void push_http_free(struct push_http *take_p);
/* A request whose path begins with "/git/". Takes it. */
void push_http_handle(struct push_http *p, struct http_req *r);
