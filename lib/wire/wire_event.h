/* lib/wire/wire_event.h: one line of an application's history: what happened, when, how often. */
#pragma once

#include "lib/codec/codec.h"

enum { WIRE_EVENT_TEXT_MAX = 2000 };

struct wire_event {      /* key: store_key_event(app id, id) */
	char *id;        /* sorts by time */
	int64_t at_ms;   /* Unix time in ms: of the first */
	int64_t last_ms; /* of the last, when it happened more than once in a row */
	int64_t count;   /* how often in a row */
	char *kind;      /* one word: "deployed", "crashed", "idled" … */
	char *text;      /* a sentence for the user */
	char *gear;      /* uuid; "" = of the whole application */
	char *instance;  /* "" = none */
	char *extra;
};
DECLARE_CODEC(wire_event, struct wire_event)
