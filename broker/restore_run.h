/* broker/restore_run.h: a restore whose snapshot is unpacked beside the data of each gear, carried
 * to its end by a record (wire_restore): the gears' data exchanged, databases loaded, the
 * repository taken over, the commit deployed. A broker that ends within is followed by one that
 * goes on. One that was not decided is taken back: nothing has changed. Loop thread. */
#pragma once

#include "lib/base/err.h"
#include "lib/wire/wire_snapshot.h"

struct broker;
struct restore_run;
struct restore_runs;

struct restore_runs *restore_runs_new(struct broker *b);
/* Those whose broker ended. Once, at the start. */
void restore_runs_resume(struct restore_runs *all);
void restore_runs_free(struct restore_runs *take_all);

struct restore_run_opts {
	void (*on_line)(const char *line, void *arg); /* progress, for a person */
	/* Once, later; nothing of it is left then. */
	void (*done)(const struct err *e, void *arg);
	void (*drop)(void *arg); /* instead of done: the broker ends */
	void *arg;
};
/* rec: as it is stored; copied. failure: why it is taken back, when it is not decided. */
void restore_run_start(struct restore_runs *all, const struct wire_restore *rec,
    const struct err *failure, const struct restore_run_opts *o);
