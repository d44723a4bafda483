/* How long the network of an instance takes, by how many there are already.
 * usage: net_bench [COUNT]   (root; makes COUNT instances, default 100, and removes them) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "node/net.h"

enum { COUNT_MAX = 4000, LAST = 10 };

static double
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
print(const char *what, double *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, compare);
	(void)printf("%-28s n=%-5d min %8.0f  median %8.0f  p95 %8.0f  max %8.0f µs\n", what, n,
	    v[0], v[n / 2], v[n * 95 / 100], v[n - 1]);
}

static void
must(int rc, const struct err *e)
{
	if (rc == 0)
		return;
	(void)fprintf(stderr, "net_bench: %s\n", e->text);
	exit(1);
}

static long
slab_kb(void)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	const char *p;

	if (file_read("/proc/meminfo", 65536, &b, &e) < 0 || (p = strstr(b.p, "\nSlab:")) == NULL)
		return 0;
	return strtol(p + 6, NULL, 10);
}

static void
measure(struct net *n, int count)
{
	static double attach[COUNT_MAX], forward[COUNT_MAX], detach[COUNT_MAX];
	double last[LAST];
	struct net_link l;
	struct err e = { 0 };
	char name[32], app[32];
	long slab = slab_kb();
	double t;
	int i;

	for (i = 0; i < count; i++) {
		(void)snprintf(name, sizeof name, "b-%d", i);
		(void)snprintf(app, sizeof app, "app%d", i / 2);
		t = now_us();
		must(net_attach(n, name, app, 0, &l, &e), &e);
		attach[i] = now_us() - t;
	}
	(void)printf("kernel memory an instance: %ld kB\n", (slab_kb() - slab) / count);
	for (i = 0; i < count; i++) {
		(void)snprintf(name, sizeof name, "b-%d", i);
		t = now_us();
		must(net_forward(n, name, "127.0.0.1", 3000, &e), &e);
		forward[i] = now_us() - t;
	}
	for (i = 0; i < count; i++) {
		(void)snprintf(name, sizeof name, "b-%d", i);
		t = now_us();
		must(net_detach(n, name, &e), &e);
		detach[i] = now_us() - t;
	}
	memcpy(last, attach + (count > LAST ? count - LAST : 0), sizeof last);
	print("attach", attach, count);
	print("attach, the last ten", last, count > LAST ? LAST : count);
	print("forward to loopback", forward, count);
	print("detach", detach, count);
}

int
main(int argc, char **argv)
{
	char dir[] = "/tmp/net-bench-XXXXXX", tag[16];
	AUTO(free) char *run = NULL;
	int count = argc > 1 ? atoi(argv[1]) : 100;
	struct net_opts o = { .tag = tag };
	struct err e = { 0 };
	struct net *n;
	double t;

	if (geteuid() != 0 || count < 1 || count > COUNT_MAX) {
		(void)fprintf(stderr, "usage, as root: net_bench [COUNT up to %d]\n", COUNT_MAX);
		return 64;
	}
	if (mkdtemp(dir) == NULL)
		return 1;
	run = file_join(dir, "run");
	(void)snprintf(tag, sizeof tag, "b%06x", (unsigned)getpid() & 0xffffffU);
	o.run_dir = o.state_dir = run;
	t = now_us();
	n = net_open(&o, &e);
	if (n == NULL)
		must(-1, &e);
	(void)printf("open                         %.0f µs\n", now_us() - t);
	measure(n, count);
	t = now_us();
	must(net_destroy_all(n, &e), &e);
	(void)printf("destroy all                  %.0f µs\n", now_us() - t);
	net_close(n);
	must(file_remove_tree(dir, &e), &e);
	return 0;
}
