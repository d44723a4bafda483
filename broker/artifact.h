/* broker/artifact.h: an archive that somebody sends: into a file as it comes, and from there to the
 * node. Loop thread; workers write and read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct artifact_sink;
struct broker;

/* Once, later; the sink is gone then. path: a file that the receiver removes; NULL: e says why. */
typedef void artifact_sink_fn(const char *path, const struct err *e, void *arg);
typedef void artifact_room_fn(void *arg);

struct artifact_sink_opts {
	int64_t bytes_max;
	const char *field;     /* of errors; or NULL */
	const char *too_large; /* what is said of more; copied */
	artifact_room_fn *on_room;
	artifact_sink_fn *done;
	void *arg;
};
struct artifact_sink *artifact_sink_start(
    struct broker *b, const struct artifact_sink_opts *o, struct err *e) MUST_CHECK;
/* All is taken; false: no more, please, before on_room. */
bool artifact_sink_write(struct artifact_sink *s, const char *p, size_t n);
void artifact_sink_close(struct artifact_sink *s);       /* that was all */
void artifact_sink_cancel(struct artifact_sink *take_s); /* the file goes; NULL is fine */

struct artifact_reader;

/* Return false to be paused until artifact_reader_resume. */
typedef bool artifact_data_fn(const char *p, size_t n, void *arg);
/* Once. e NULL: all was given. The reader is gone when this returns. */
typedef void artifact_end_fn(const struct err *e, void *arg);

struct artifact_reader *artifact_reader_start(struct broker *b, const char *path,
    artifact_data_fn *on_data, artifact_end_fn *on_end, void *arg, struct err *e) MUST_CHECK;
void artifact_reader_resume(struct artifact_reader *r);
void artifact_reader_cancel(struct artifact_reader *take_r); /* NULL is fine */
