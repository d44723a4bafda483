/* node/gear_exec.h: byte streams into gears: POST /v1/gears/UUID/exec runs a program in an
 * instance, POST /v1/gears/UUID/port reaches an address inside one (doc/protocol.md). */
#pragma once

struct gear_exec;
struct http_req;
struct instances;
struct loop;
struct net;
struct worker;

struct gear_exec_opts { /* all borrowed for its life */
	struct loop *loop;
	struct worker *worker;
	struct instances *instances;
	struct net *net;
};

struct gear_exec *gear_exec_new(const struct gear_exec_opts *o);
void gear_exec_free(struct gear_exec *take_x); /* ends all sessions */
/* Each takes the request. */
void gear_exec_handle(struct gear_exec *x, struct http_req *r, const char *gear);
void gear_exec_handle_port(struct gear_exec *x, struct http_req *r, const char *gear);
