/* broker/tree_relay.h: directory trees from one node to another, passed on byte by byte: layers of
 * deployments that a node does not have yet, volumes of gears that move. */
#pragma once

struct broker;
struct http_req;

/* GET /internal/node/layer?digest=D: from any connected node that keeps it.
 * GET /internal/node/volume?gear=UUID&node=FROM: that gear's, of a node that it leaves. Takes the
 * request. */
void tree_relay_layer(struct broker *b, struct http_req *r);
void tree_relay_volume(struct broker *b, struct http_req *r);
