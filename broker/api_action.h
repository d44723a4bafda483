/* broker/api_action.h: control actions of cartridges as events of the API: tidy, reload, status,
 * thread-dump, and start, stop, restart of a cartridge that lives beside others. */
#pragma once

struct api_call;
struct wire_app;

/* Wakes the application, runs the action on each gear (the parameter `gear`: on one) for the
 * cartridge (NULL: all of the gear), and ends the call: 200 with the application and a message for
 * each gear, or what the first failure said. done: what the result message says, "was tidied". */
void api_action_run(struct api_call *c, const struct wire_app *a, const char *cart,
    const char *action, const char *done);
