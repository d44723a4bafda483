/* broker/wish.h: what cartridges ask of the platform by lines of their scripts: variables for all
 * gears of the domain, SSH keys that may enter the application or all of the domain's, a token for
 * the API. Kept with the
 * application until the cartridge takes it back, or goes. */
#pragma once

#include <stdbool.h>

#include "lib/wire/wire_act.h"
#include "lib/wire/wire_app.h"

struct broker;
struct store_txn;

/* Borrowed; NULL: it has asked for nothing. */
struct wire_wish *wish_find(const struct wire_app *a, const char *cart);
struct wire_wish *wish_find_or_add(struct wire_app *a, const char *cart);
/* Value of a variable that some cartridge asked for, or NULL. */
const char *wish_value(const struct wire_app *a, const char *name);
/* w, one of a's, has this from now on; what it may not have is left out and logged. */
void wish_merge(struct wire_app *a, struct wire_wish *w, const struct wire_asks *asks);
/* Key of the record of a's token; caller owns. */
char *wish_token_key(const struct wire_app *a);
/* An action of a cartridge asked for it. Nobody waits. */
void wish_add(struct broker *b, const char *app_id, const struct wire_asked_list *asked);
/* The application's last transaction: its token goes. */
void wish_forget(struct store_txn *t, const struct wire_app *a);
/* Is it a key that a cartridge has added: of the application, or for all of its domain? */
bool wish_has_key(const struct broker *b, const struct wire_app *a, const char *content);
