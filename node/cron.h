/* node/cron.h: runs the jobs of gears that have the cartridge `cron`, as OpenShift v2's nodes did:
 * `cron/bin/cron_runjobs.sh FREQUENCY` in the newest web instance of an application's head gear.
 * Each frequency has its minute in UTC; those over an hour lie in the night, spread over an hour by
 * the gear's name, so that not all begin at once. A few run at a time, the others wait their turn;
 * one that waits or runs is not begun twice. An application that sleeps is left asleep, as in v2.
 * What became due while the daemon was away, or before an application was up again after that, is
 * made good: each frequency once, of the last day. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct cron;
struct gear_table;
struct instances;
struct loop;
struct worker;

enum cron_frequency {
	CRON_MINUTELY,
	CRON_HOURLY,
	CRON_DAILY,
	CRON_WEEKLY,
	CRON_MONTHLY,
	CRON_FREQUENCIES,
};
extern const char *const cron_names[]; /* "minutely", …; NULL at the end */

struct cron_opts { /* all borrowed for its life */
	struct loop *loop;
	struct gear_table *gears;
	struct instances *instances;
	struct worker *worker;
	const char *state; /* file that keeps the last minute over restarts */
};

/* Runs until cron_free. Blocks: reads the file. */
struct cron *cron_new(const struct cron_opts *o);
void cron_free(struct cron *take_c); /* jobs that run are killed; NULL is fine */

/* Is a gear's frequency due in this minute (UTC)? */
bool cron_is_due(enum cron_frequency f, const char *gear, const struct tm *minute);
/* Or in one of those after `from` up to `to` (a multiple of 60 s)? Of a day at most. */
bool cron_was_due(enum cron_frequency f, const char *gear, time_t from, time_t to);
/* Begins that frequency now on all gears, whatever the time. Returns how many jobs it queued. */
size_t cron_run(struct cron *c, enum cron_frequency f);
