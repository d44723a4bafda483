/* broker/gear_deploy.h: deployments by OpenShift v2's words in a gear: deploy a ref or an archive,
 * activate an earlier deployment, list what is kept. Loop thread. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct broker;
struct buf;
struct gear_deploy;
struct wire_app;

struct gear_deploy_opts { /* borrowed for the call */
	const struct wire_app *app;
	const char *login;      /* decides which submodules may be read; "": none that is private */
	const char *ref;        /* NULL: the deployment branch */
	const char *deployment; /* to be activated; NULL: the ref is deployed */
	char *take_artifact;    /* file with an archive, which is deployed; NULL: none */
	bool is_hot, is_clean;
	void (*on_line)(const char *line, void *arg); /* without newline */
	/* Once, later; the handle is gone when this returns. */
	void (*done)(const struct err *e, void *arg);
	void *arg;
};
struct gear_deploy *gear_deploy_start(
    struct broker *b, const struct gear_deploy_opts *o, struct err *e) MUST_CHECK;
/* Forgets the callbacks; what has begun goes on. NULL is fine. */
void gear_deploy_detach(struct gear_deploy *take_d);

/* May archives be deployed, or commits? ERR_DENIED, in v2's words. */
int gear_deploy_check_type(const struct wire_app *app, bool is_artifact, struct err *e) MUST_CHECK;

/* v2's table of what is kept, newest first. */
void gear_deploy_list(struct broker *b, const struct wire_app *app, struct buf *out);
/* The branch that is deployed; borrowed from app. */
const char *gear_deploy_branch(const struct wire_app *app);
