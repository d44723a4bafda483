/* Parses the head in the file argv[1] argv[2] times, at once or (argv[3] = "drip") byte by byte,
 * and prints nanoseconds a head. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/http/http_head.h"

static char text[65536];

static double
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int
main(int argc, char **argv)
{
	FILE *f = argc > 2 ? fopen(argv[1], "r") : NULL;
	int drips = argc > 3 && strcmp(argv[3], "drip") == 0;
	struct http_head h;
	double begin;
	long times;
	size_t n;

	if (f == NULL) {
		fprintf(stderr, "usage: heads FILE TIMES [drip]\n");
		return 2;
	}
	n = fread(text, 1, sizeof text, f);
	times = strtol(argv[2], NULL, 10);
	(void)fclose(f);
	begin = now_ns();
	for (long i = 0; i < times; i++) {
		enum http_head_result r = HTTP_HEAD_MORE;

		for (size_t k = drips ? 1 : n; k <= n && r == HTTP_HEAD_MORE; k++)
			r = http_head_request(text, k, drips ? k - 1 : 0, &h);
		if (r != HTTP_HEAD_OK || h.size != n) {
			fprintf(stderr, "heads: %s was refused\n", argv[1]);
			return 1;
		}
	}
	printf("%.0f\n", (now_ns() - begin) / (double)times);
	return 0;
}
