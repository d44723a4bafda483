#include "broker/scratch.h"

#include <stdlib.h>

#include "broker/broker.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/worker.h"

enum { WORD_BYTES = 8 };

char *
scratch_path(const struct broker *b)
{
	AUTO(free) char *word = secret_random_hex(WORD_BYTES);

	return xasprintf("%s/scratch/%s", b->conf.data, word);
}

static void
remove_run(void *p)
{
	struct err e = { 0 };

	if (file_remove_tree(p, &e) < 0)
		log_warn("scratch_remains", LOG_STR("dir", p), LOG_ERR(&e));
}

void
scratch_remove(struct broker *b, char *take_dir)
{
	if (take_dir != NULL)
		worker_submit(b->worker, remove_run, free, free, take_dir);
}
