/* broker/app_state.h: what an owner orders: start, stop, restart, another deployment; of the
 * application or of one of its service cartridges alone. Who has to know when it is so waits with
 * rollout_wait. */
#pragma once

#include "broker/app.h"

enum app_state_word {
	APP_STATE_START,
	APP_STATE_STOP,
	APP_STATE_FORCE_STOP, /* also what hangs in its stop */
	APP_STATE_RESTART,    /* new instances before the old ones go */
	APP_STATE_ACTIVATE,   /* for all clients: a canary ends */
	APP_STATE_CANARY,     /* for some of them */
	APP_STATE_PROMOTE,    /* the canary for all */
	APP_STATE_ABORT,      /* it is for none any more */
};

struct app_state_order { /* borrowed for the call */
	enum app_state_word word;
	const char *cart;       /* of a service; NULL: the application */
	const char *deployment; /* to activate; of a canary NULL: the one there is */
	int64_t percent;        /* of a canary */
};
void app_state_set(struct broker *b, const char *app_id, const struct app_state_order *o,
    app_done_fn *done, void *arg);
