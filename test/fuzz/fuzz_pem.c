/* Certificates and keys that people upload: what is taken fits together and is written anew. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/http/tls_cert.h"
#include "test/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(free) char *pem = xstrndup((const char *)data, n);
	AUTO_FINI(tls_cert_fini) struct tls_cert c = { 0 };
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	struct err e = { 0 };

	tls_cert_names(pem, &names);
	if (tls_cert_read(pem, pem, "secret", &c, &e) < 0) {
		if (e.code != ERR_INVALID || e.field[0] == '\0' || e.text[0] == '\0')
			abort();
		return 0;
	}
	if (strstr(c.chain, "BEGIN CERTIFICATE") == NULL || strstr(c.key, "PRIVATE KEY") == NULL)
		abort();
	return 0;
}
