/* lib/wire/wire_act.h: one control action or hook in the living instances of a gear: what the
 * broker asks of a node, and what comes back (POST /v1/gears/UUID/actions, doc/protocol.md). */
#pragma once

#include "lib/codec/codec.h"
#include "lib/wire/wire_gear.h"

/* Body of the call: exactly one of action and hook. */
struct wire_act_order {
	char *cart;               /* name; NULL or "": all of the gear, in the action's order */
	char *action;             /* "start", "status", "pre-snapshot" … */
	char *hook;               /* hooks/NAME of the cartridge, which must be named */
	struct str_list args;     /* of the control script or the hook */
	struct wire_var_list env; /* on top of the gear's environment */
	int64_t timeout_s;        /* of all; 0: 600 */
};
DECLARE_CODEC(wire_act_order, struct wire_act_order)

/* What one cartridge asked for. */
struct wire_asked {
	char *cart;
	struct wire_asks asks;
};
DECLARE_CODEC(wire_asked, struct wire_asked)
struct wire_asked_list {
	struct wire_asked *v;
	size_t n;
};

struct wire_act_result {
	bool ok;
	int64_t exit_code; /* of the step that failed first; 0 */
	char *cart;        /* whose step failed first */
	char *reason;      /* a sentence */
	/* Lines with their prefix, as "CLIENT_MESSAGE: …"; of a failure also what had none. */
	struct str_list messages;
	struct wire_var_list properties; /* CART_PROPERTIES, CART_DATA, ATTR */
	struct wire_asked_list asked;    /* of what succeeded; each cartridge has its own */
};
DECLARE_CODEC(wire_act_result, struct wire_act_result)

/* One line of the answer: text as it comes, the last one has the result. */
struct wire_act_line {
	char *cart; /* who prints */
	int64_t fd; /* 1, 2 */
	char *text; /* bytes as they come, not always whole lines; what is no UTF-8 is replaced */
	bool has_result;
	struct wire_act_result result;
};
DECLARE_CODEC(wire_act_line, struct wire_act_line)
