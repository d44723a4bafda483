/* pinion-resolver: DNS for the instances of a node.
 *
 * usage: pinion-resolver NAMES-FILE [RESOLV-CONF]
 *
 * Started by pinion-node as root, becomes the user pinion-resolver (or nobody); the listening
 * control socket (Unix, SOCK_SEQPACKET) is fd 3. NAMES-FILE: lines `APP NAME ADDRESS`, read again
 * when it changes. RESOLV-CONF (/etc/resolv.conf): the servers that are asked for all else. Ends on
 * SIGTERM. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/loop/loop.h"
#include "node/resolver.h"

enum { CONTROL_FD = 3, EXIT_USAGE = 64, NOBODY = 65534 };

static void
on_term(void *arg)
{
	loop_stop(arg);
}

static bool
is_control(int fd)
{
	int type = 0, on = 0;
	socklen_t n = sizeof type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_SEQPACKET &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on != 0;
}

static void
raise_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* Started as root, because its program may lie where only root can go. */
static bool
give_up_root(void)
{
	const struct passwd *pw = getpwnam("pinion-resolver");
	uid_t uid = pw != NULL ? pw->pw_uid : NOBODY;
	gid_t gid = pw != NULL ? pw->pw_gid : NOBODY;

	if (geteuid() != 0)
		return true;
	return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 &&
	       setresuid(uid, uid, uid) == 0;
}

int
main(int argc, char **argv)
{
	struct loop_signal *term, *interrupt;
	struct resolver r;
	struct loop *l;

	log_setup("resolver", LOG_INFO, false);
	if (argc < 2 || argc > 3 || !is_control(CONTROL_FD)) {
		(void)fprintf(stderr,
		    "usage: pinion-resolver NAMES-FILE [RESOLV-CONF], with its control socket as "
		    "fd 3\n");
		return EXIT_USAGE;
	}
	/* It holds sockets of every instance: no other process of its user may take them. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	raise_files();
	if (!give_up_root()) {
		(void)fprintf(stderr, "pinion-resolver: cannot give up root\n");
		return EXIT_USAGE;
	}
	(void)prctl(PR_SET_DUMPABLE, 0); /* the change of user made it so again */
	l = loop_new();
	term = loop_signal_start(l, SIGTERM, on_term, l);
	interrupt = loop_signal_start(l, SIGINT, on_term, l);
	resolver_init(&r, l, CONTROL_FD, argv[1], argc == 3 ? argv[2] : "/etc/resolv.conf");
	log_info("resolver_ready");
	loop_run(l);
	resolver_fini(&r);
	loop_signal_cancel(term);
	loop_signal_cancel(interrupt);
	loop_free(l);
	return 0;
}
