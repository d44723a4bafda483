/* The smallest application: answers any request on $PORT with "ok". For benches that ask what the
 * platform costs. Built static by bench/gears. */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int
main(void)
{
	static const char answer[] =
	    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
	const char *port = getenv("PORT");
	struct sockaddr_in a = { .sin_family = AF_INET };
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char head[4096];

	a.sin_port = htons((unsigned short)atoi(port == NULL ? "8080" : port));
	if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 64) < 0)
		return 1;
	for (;;) {
		int c = accept(s, NULL, NULL);

		if (c >= 0 && read(c, head, sizeof head) > 0 &&
		    write(c, answer, sizeof answer - 1) < 0)
			(void)head;
		if (c >= 0)
			(void)close(c);
	}
}
