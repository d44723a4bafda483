/* broker/gear_word.h: what OpenShift v2's `gear`, `ctl_all`, `ctl_app`, `snapshot` … are asked to
 * do, from a gear or over SSH. Pure; the words are anybody's. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

enum gear_word_what {
	GEAR_WORD_START,
	GEAR_WORD_STOP,
	GEAR_WORD_RESTART,
	GEAR_WORD_RELOAD,
	GEAR_WORD_STATUS,
	GEAR_WORD_TIDY,
	GEAR_WORD_THREAD_DUMP,
	GEAR_WORD_DEPLOY,
	GEAR_WORD_ACTIVATE,
	GEAR_WORD_DEPLOYMENTS,
	GEAR_WORD_PRE_RECEIVE,
	GEAR_WORD_POST_RECEIVE,
	GEAR_WORD_SNAPSHOT,
	GEAR_WORD_RESTORE,
	GEAR_WORD_BINARY_DEPLOY,
	GEAR_WORD_ARCHIVE,
};

struct gear_word {
	enum gear_word_what what;
	const char *name; /* "gear restart": as it is told; constant */
	char *cart;       /* owned; NULL: all */
	char *arg;        /* owned: ref or deployment id; NULL: none */
	bool is_hot, is_clean, is_initial, wants_git, as_json;
	bool is_for_build; /* stop: as far as the deployment that follows needs it */
};
void gear_word_fini(struct gear_word *w);

/* A command of SSH that needs no shell: its words. false: it does. out: empty before. */
bool gear_word_split(const char *command, struct str_list *out);
/* Is argv[0] a program of these? */
bool gear_word_is(const struct str_list *argv);
/* out: zeroed. ERR_INVALID says what there is. */
int gear_word_parse(const struct str_list *argv, struct gear_word *out, struct err *e) MUST_CHECK;
