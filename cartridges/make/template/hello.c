/* A web server to start from; replace it with anything that listens on PORT. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char page[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>It works</title>\n"
    "<style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>\n"
    "<h1>It works</h1>\n<p>This page comes from <code>hello.c</code>, built by its <code>Makefile</code>. "
    "Change it and push:</p>\n<pre>git commit -am \"My first change\" &amp;&amp; git push</pre>\n";

/* Reads one request; answers; closes. */
static void answer(int fd)
{
	char request[8192];
	size_t n = 0;
	ssize_t got;

	while (n < sizeof request - 1 && (got = read(fd, request + n, sizeof request - 1 - n)) > 0) {
		n += (size_t)got;
		request[n] = '\0';
		if (strstr(request, "\r\n\r\n") != NULL)
			break;
	}
	if (n > 0) {
		dprintf(fd,
		    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
		    "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		    sizeof page - 1, page);
	}
	shutdown(fd, SHUT_WR);
	while (read(fd, request, sizeof request) > 0)
		;
	close(fd);
}

int main(void)
{
	const char *host = getenv("HOST"), *port = getenv("PORT");
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	signal(SIGPIPE, SIG_IGN);
	at.sin_port = htons((unsigned short)atoi(port == NULL ? "8080" : port));
	inet_pton(AF_INET, host == NULL ? "0.0.0.0" : host, &at.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 128) < 0) {
		perror("listen");
		return 1;
	}
	printf("listening on port %d\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client >= 0)
			answer(client);
	}
}
