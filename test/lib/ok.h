/* test/lib/ok.h: what must go well. Behind cmocka.h. */
#pragma once

#include "lib/base/err.h"

#define assert_ok(rc, e)                                                                           \
	do {                                                                                       \
		if ((rc) < 0)                                                                      \
			fail_msg("%s (%s)", (e)->text, err_name((e)->code));                       \
	} while (0)
