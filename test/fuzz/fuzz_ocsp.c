/* Answers of responders: of a certificate in the corpus' own chain, which is not of the input. */
#include <stdlib.h>
#include <string.h>

#include "lib/http/tls_ocsp.h"
#include "test/fuzz/fuzz.h"

/* Of its own signature, with a responder; its key is nowhere any more. */
static const char chain[] = "-----BEGIN CERTIFICATE-----\n"
                            "MIIBvTCCAWKgAwIBAgIUbF4bo4kGteS7PhQRKQg9d7HWmM4wCgYIKoZIzj0EAwIw\n"
                            "ETEPMA0GA1UEAwwGYS50ZXN0MB4XDTI2MTEyMzIyNTMzNFoXDTM2MTEyMDIyNTMz\n"
                            "NFowETEPMA0GA1UEAwwGYS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n"
                            "ntm3/lN5loN8x0fiUunXbP0GFmJIiCWDY/ly7qvkfwNv8fEnGTdxryFPnvOQZrPW\n"
                            "JlleZYlleTl1iX5Pjx7xgaOBlzCBlDAdBgNVHQ4EFgQUwgQ9qa8D5sMfslRySXFN\n"
                            "uRJVXoowHwYDVR0jBBgwFoAUwgQ9qa8D5sMfslRySXFNuRJVXoowDwYDVR0TAQH/\n"
                            "BAUwAwEB/zARBgNVHREECjAIggZhLnRlc3QwLgYIKwYBBQUHAQEEIjAgMB4GCCsG\n"
                            "AQUFBzABhhJodHRwOi8vb2NzcC50ZXN0L3gwCgYIKoZIzj0EAwIDSQAwRgIhAKqi\n"
                            "gT7Y1fAPymUuSVApeCRrXqcSyyKDYStzjxBGuFa5AiEAgIOVvoP7cVIBTNXGn9kh\n"
                            "z9+/b5DxFyv5Yv7ED+u3aWk=\n"
                            "-----END CERTIFICATE-----\n";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tls_ocsp o = { 0 };
	struct err e = { 0 };

	if (tls_ocsp_until(data, n) != 0 && n > TLS_OCSP_MAX)
		abort();
	if (tls_ocsp_read(chain, data, n, &o, &e) == 0)
		abort(); /* all of the corpus is over */
	if (e.code != ERR_INVALID || e.text[0] == '\0')
		abort();
	return 0;
}
