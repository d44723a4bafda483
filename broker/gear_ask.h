/* broker/gear_ask.h: a control action of an application's cartridges, gear after gear, with what
 * they print. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct broker;
struct gear_ask;

struct gear_ask_opts { /* borrowed for the call */
	const char *app_id;
	const char *gear; /* this one; with cart: all that have it */
	const char *cart; /* name, or NULL: all */
	const char *action;
	void (*on_out)(int fd, const char *text, void *arg);
	/* Once, later; the handle is gone when this returns. e: the first failure. */
	void (*done)(const struct err *e, void *arg);
	void *arg;
};
struct gear_ask *gear_ask_start(
    struct broker *b, const struct gear_ask_opts *o, struct err *e) MUST_CHECK;
void gear_ask_cancel(struct gear_ask *take_a); /* ends it; NULL is fine */
