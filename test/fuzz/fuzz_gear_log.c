/* Text of log files, which gears may have written themselves: as many lines as it has, each with a
 * time and within its bound. */
#include "test/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "node/gear_log_lines.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char instance[] = "i-1", source[] = "web";
	const struct gear_log_group g = { .instance = instance, .source = source };
	struct gear_log_lines a = { 0 }, b = { 0 };
	struct str text = { (const char *)data, n };
	size_t lines = 0, i;

	for (i = 0; i < n; i++)
		lines += data[i] == '\n';
	if (n > 0 && data[n - 1] != '\n')
		lines++;
	gear_log_lines_parse(text, "g", &g, &a);
	check(a.n == lines);
	for (i = 0; i < a.n; i++)
		check(strlen(a.v[i].time) == 24 && strlen(a.v[i].line) <= GEAR_LOG_LINE_MAX);
	gear_log_lines_parse(text, "g", &g, &b);
	gear_log_lines_merge(&a, &b);
	check(a.n == 2 * lines && b.n == 0);
	gear_log_lines_trim(&a, lines, n + 24 * lines);
	check(a.n <= lines);
	gear_log_lines_fini(&a);
	gear_log_lines_fini(&b);
	return 0;
}
