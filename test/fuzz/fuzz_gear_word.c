/* Words that a gear, or a client of SSH, says: one a line, or as a command. */
#include <stdlib.h>
#include <string.h>

#include "broker/gear_word.h"
#include "lib/base/mem.h"
#include "test/fuzz/fuzz.h"

static void
try_words(const struct str_list *argv)
{
	AUTO_FINI(gear_word_fini) struct gear_word w = { 0 };
	struct err e = { 0 };

	if (gear_word_parse(argv, &w, &e) < 0) {
		if (e.code != ERR_INVALID || e.text[0] == '\0' || w.name != NULL)
			abort();
		return;
	}
	if (w.name == NULL || !gear_word_is(argv) ||
	    (w.what == GEAR_WORD_ACTIVATE && (w.arg == NULL || w.arg[0] == '-')))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(free) char *text = xstrndup((const char *)data, n);
	AUTO_FINI(str_list_fini) struct str_list lines = { 0 };
	AUTO_FINI(str_list_fini) struct str_list words = { 0 };
	struct str rest = str_of(text), line;

	while (rest.n > 0) {
		rest = str_cut(rest, '\n', &line);
		str_list_take(&lines, xstrndup(line.p, line.n));
	}
	try_words(&lines);
	if (gear_word_split(text, &words))
		try_words(&words);
	return 0;
}
