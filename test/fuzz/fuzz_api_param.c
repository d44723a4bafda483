/* Parameters of the API: the first byte chooses JSON, form, query or none told. What is accepted is
 * an object that can be read by every getter. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "broker/api_env.h"
#include "broker/api_param.h"
#include "lib/base/mem.h"

static const char *const names[] = { "name", "cartridges", "environment_variables", "scale",
	"event", "by", "a" };

static void
read_all(const struct api_param *p)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FINI(str_list_fini) struct str_list l = { 0 };
		AUTO_FINI(api_env_fini) struct wire_var_list vars = { 0 };
		const struct codec_value *v = api_param_value(p, names[i]);
		struct err e = { 0 };
		const char *s = NULL;
		bool b = false;
		int64_t n = 0;
		int exit_code = 0;

		if (api_param_str(p, names[i], 64, &s, &e) == 0 && s != NULL && strlen(s) > 64)
			abort();
		(void)!api_param_bool(p, names[i], &b, &e);
		if (api_param_int(p, names[i], 1, 9, &n, &e) == 0 && n > 9)
			abort();
		(void)!api_param_strs(p, names[i], 8, &l, &e);
		if (v != NULL && api_env_parse(v, true, &vars, &exit_code, &e) < 0 &&
		    exit_code == 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const types[] = { "application/json",
		"application/x-www-form-urlencoded", NULL };
	struct api_param *p = api_param_new();
	struct err e = { 0 };
	AUTO(free) char *text = NULL;

	if (n > 0 && data[0] % 4 < 3) {
		if (api_param_body(p, types[data[0] % 4],
		        (struct str){ (const char *)data + 1, n - 1 }, &e) == 0)
			read_all(p);
		else if (e.code == ERR_NONE || e.text[0] == '\0')
			abort();
	} else if (n > 0) {
		text = xstrndup((const char *)data + 1, n - 1);
		if (api_param_query(p, text, &e) == 0)
			read_all(p);
	}
	api_param_free(p);
	return 0;
}
