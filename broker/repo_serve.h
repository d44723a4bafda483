/* broker/repo_serve.h: GET /internal/node/repo?node=ID&gear=UUID&deployment=ID: the application's
 * repository as a tar stream (ID/git/APP.git/…), for the read-only copy in its gears; once that
 * deployment is the one that serves. Takes the request, already admitted. */
#pragma once

struct broker;
struct http_req;

void repo_serve(struct broker *b, struct http_req *r);
