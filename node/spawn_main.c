/* pinion-spawn start|enter|delete, with the order on fd 3 (node/spawn.h). Exit code 125: ours, the
 * reason is on stderr. */
#include "node/spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ORDER_MAX = 16 * 1024 * 1024 };

static char *
read_order(size_t *out_n)
{
	struct stat st;
	char *p;

	if (fstat(SPAWN_ORDER_FD, &st) < 0 || st.st_size <= 0 || st.st_size > ORDER_MAX)
		return NULL;
	p = malloc((size_t)st.st_size + 1);
	if (p == NULL || pread(SPAWN_ORDER_FD, p, (size_t)st.st_size, 0) != st.st_size) {
		free(p);
		return NULL;
	}
	p[st.st_size] = '\0';
	close(SPAWN_ORDER_FD);
	*out_n = (size_t)st.st_size;
	return p;
}

int
main(int argc, char **argv)
{
	static struct spawn_order o;
	struct err e = { 0 };
	size_t n = 0;
	char *p;
	int rc;

	if (argc != 2 || (p = read_order(&n)) == NULL) {
		fprintf(stderr, "pinion-spawn is run by pinion-node, with its order on fd %d\n",
		    SPAWN_ORDER_FD);
		return SPAWN_EXIT_FAILED;
	}
	if (spawn_order_parse(p, n, &o, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		rc = SPAWN_EXIT_FAILED;
	} else if (strcmp(argv[1], "start") == 0) {
		rc = spawn_start(&o);
	} else if (strcmp(argv[1], "delete") == 0) {
		rc = spawn_delete(&o);
	} else {
		rc = spawn_enter(&o);
	}
	free(p);
	return rc;
}
