/* Documents: JSON (first byte even) or YAML. What parses is written as JSON and parses again to
 * the same text, plain and pretty. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/codec/codec.h"
#include "lib/codec/codec_yaml.h"

static void
check_again(const struct buf *json, const struct buf *plain)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct codec_value *v;
	struct err e = { 0 };

	v = codec_parse(json->p, json->n, &e);
	check(v != NULL);
	codec_dump(v, false, &out);
	check(out.n == plain->n && memcmp(out.p, plain->p, out.n) == 0);
	codec_value_free(v);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO_FINI(buf_fini) struct buf plain = { 0 };
	AUTO_FINI(buf_fini) struct buf pretty = { 0 };
	const char *p = (const char *)data + 1;
	struct codec_value *v;
	struct err e = { 0 };

	if (n == 0)
		return 0;
	v = data[0] % 2 == 0 ? codec_parse(p, n - 1, &e) : codec_yaml_parse(p, n - 1, &e);
	if (v == NULL) {
		check(e.code != ERR_NONE && e.text[0] != '\0');
		return 0;
	}
	if (codec_type(v) == CODEC_OBJECT || codec_type(v) == CODEC_ARRAY) {
		codec_dump(v, false, &plain);
		codec_dump(v, true, &pretty);
		check_again(&plain, &plain);
		check_again(&pretty, &plain);
	}
	codec_value_free(v);
	return 0;
}
