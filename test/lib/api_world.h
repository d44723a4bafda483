/* test/lib/api_world.h: the API on a real store and a real socket; nodes, builds, rollouts and git
 * are fakes that do at once what the real ones would have done at last. */
#pragma once

#include "broker/broker.h"
#include "lib/base/buf.h"
#include "lib/codec/codec.h"
#include "test/lib/store_fixture.h"

struct http_server;

struct api_world {
	struct store_fixture store;
	struct broker b;
	struct http_server *server;  /* owned */
	char *root;                  /* owned; "http://127.0.0.1:PORT" */
	const char *user, *password; /* of the next calls; NULL: none */
	const char *bearer;          /* instead of them */
	const char *headers[6];      /* of the next calls, NULL-terminated */
	/* the last answer */
	int status;
	struct buf body;
	struct codec_value *json; /* owned or NULL: the last line of the body */
};

/* What the fakes are to do. */
struct api_world_fakes {
	const char *build_failure;   /* NULL: builds go well */
	const char *rollout_failure; /* NULL: rollouts go well */
	bool no_node;
	int builds, rollouts;
};
extern struct api_world_fakes api_world_fakes;

/* Of cmocka; the state is a struct api_world. User "admin" with password "admin-password"; users
 * "ann" and "bob" with "ann-password", … */
int api_world_setup(void **state);
int api_world_setup_app(void **state); /* and ann's scalable application web in domain shop */
int api_world_teardown(void **state);

/* One call; body NULL: none. Returns the status. path: behind /broker/rest. */
int api_world_call(struct api_world *w, const char *method, const char *path, const char *body);
/* As login with password "LOGIN-password"; no headers but a JSON type. */
int api_world_as(
    struct api_world *w, const char *login, const char *method, const char *path, const char *body);
/* Exit code of the first message, or INT64_MIN; its field and text, or "". */
int64_t api_world_exit(const struct api_world *w);
const char *api_world_field(const struct api_world *w);
const char *api_world_text(const struct api_world *w);
/* Member of `data`, "" when absent or no string. */
const char *api_world_data(const struct api_world *w, const char *key);

/* A call and what it must answer. */
struct api_world_row {
	const char *name;
	const char *login; /* NULL: nobody */
	const char *method, *path, *body;
	int status;
	int64_t exit;      /* of the first message; INT64_MIN: null or no message */
	const char *field; /* its */
	const char *text;  /* part of its text */
};
/* One after the other; fails the test, telling the row and the answer. */
void api_world_rows(struct api_world *w, const struct api_world_row *rows, size_t n);
/* Runs the loop until the store has n records under prefix. */
void api_world_wait_count(struct api_world *w, const char *prefix, size_t n);
