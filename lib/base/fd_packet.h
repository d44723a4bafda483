/* lib/base/fd_packet.h: packets of text on a Unix socket of SOCK_SEQPACKET, each with at most one
 * descriptor; and such sockets in a directory. What processes that follow each other speak. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/base/err.h"

/* fd: not closed; -1: none goes along. */
bool fd_packet_send(int to, const char *text, int fd) MUST_CHECK;
/* Bytes of a packet, which ends with NUL; 0 at the end, -1 when it failed. *out_fd: the caller's;
 * -1: none came. */
ssize_t fd_packet_recv(int from, char *text, size_t size, int *out_fd) MUST_CHECK;

/* Listens on dir/name, 0600, instead of who did; does not block. */
int fd_packet_listen(const char *dir, const char *name, struct err *e) MUST_CHECK;
/* A connection from the same user or root, which does not block; -1: none. */
int fd_packet_accept(int fd, pid_t *out_pid);
/* Blocks, each packet at most `seconds`. ERR_NONE: nobody listens there. */
int fd_packet_connect(const char *dir, const char *name, int seconds, struct err *e) MUST_CHECK;
