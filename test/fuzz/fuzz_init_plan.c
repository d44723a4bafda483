/* The settings file of pinion-init: any bytes give a plan within bounds or a reason. */
#include "test/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "node/init_plan.h"

static void
check_list(const struct init_plan *p, const struct init_plan_list *l)
{
	size_t i;

	check(l->n <= INIT_PLAN_WORDS && l->v[l->n] == NULL);
	for (i = 0; i < l->n; i++)
		check(l->v[i] >= p->text && l->v[i] <= p->text + INIT_PLAN_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct init_plan p;

	if (n > INIT_PLAN_MAX)
		return 0;
	if (n > 0)
		memcpy(p.text, data, n);
	if (init_plan_parse(&p, n) != NULL)
		return 0;
	check_list(&p, &p.start);
	check_list(&p, &p.stop);
	check_list(&p, &p.env);
	check(p.log_count >= 2 && p.log_count <= 100 && p.log_size >= 4096);
	check(strchr(p.source, '/') == NULL && p.source[0] != '\0' && p.source[0] != '.');
	return 0;
}
