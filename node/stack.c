#include "node/stack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "node/node_dirs.h"
#include "node/stack_layout.h"

enum { COPY_MAX = 4 * 1024 * 1024, DEPTH_MAX = 8, DUPLICATES_MAX = 64 };

const char *const stack_own_files[] = { "passwd", "group", "hosts", "hostname", "resolv.conf",
	NULL };

/* What programs of a gear look for; only what anyone may read is taken, and no key. */
static const char *const etc_entries[] = {
	"alternatives",
	"apache2",
	"bash.bashrc",
	"ca-certificates.conf",
	"debian_version",
	"emacs",
	"fonts",
	"gai.conf",
	"ghostscript",
	"host.conf",
	"ImageMagick-6",
	"inputrc",
	"java-17-openjdk",
	"ld.so.cache",
	"ld.so.conf",
	"ld.so.conf.d",
	"lighttpd",
	"localtime",
	"lsb-release",
	"magic",
	"magic.mime",
	"maven",
	"mime.types",
	"mysql",
	"nanorc",
	"networks",
	"nginx",
	"npmrc",
	"os-release",
	"perl",
	"php",
	"postgresql-common",
	"profile",
	"profile.d",
	"protocols",
	"python3",
	"python3.11",
	"rpc",
	"services",
	"shells",
	"ssl/certs",
	"ssl/openssl.cnf",
	"terminfo",
	"timezone",
	"vim",
	"xattr.conf",
};

static const char nsswitch[] = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
                               "networks: files\nprotocols: files\nservices: files\n";

void
stack_fini(struct stack *s)
{
	free(s->usr);
	free(s->etc);
	*s = (struct stack){ 0 };
}

static int
copy_link(int from, int to, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof target - 1);

	if (n < 0)
		return -1;
	target[n] = '\0';
	return symlinkat(target, to, name);
}

static int
copy_bytes(int in, int out)
{
	char chunk[64 * 1024];
	ssize_t n;

	while ((n = read(in, chunk, sizeof chunk)) > 0) {
		if (write(out, chunk, (size_t)n) != n)
			return -1;
	}
	return (int)n;
}

/* Only what everyone may read: a gear must not learn more than any user of the host. */
static int
copy_file(int from, int to, const char *name, const struct stat *st)
{
	int in, out, rc = -1;

	if ((st->st_mode & S_IROTH) == 0 || st->st_size > COPY_MAX)
		return 0;
	in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
	    (st->st_mode & S_IXOTH) != 0 ? 0755 : 0644);
	if (in >= 0 && out >= 0)
		rc = copy_bytes(in, out);
	file_close(in);
	file_close(out);
	return rc;
}

static int copy_tree(int from, int to, int depth);

static int
copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;
	int sub_from, sub_to, rc = -1;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to, name);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, &st);
	if (!S_ISDIR(st.st_mode) || (st.st_mode & S_IXOTH) == 0 || depth >= DEPTH_MAX)
		return 0;
	if (mkdirat(to, name, 0755) < 0)
		return -1;
	sub_from = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sub_to = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sub_from >= 0 && sub_to >= 0)
		rc = copy_tree(sub_from, sub_to, depth + 1);
	file_close(sub_from);
	file_close(sub_to);
	return rc;
}

static int
copy_tree(int from, int to, int depth)
{
	int fd = dup(from);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int rc = 0;

	if (d == NULL) {
		file_close(fd);
		return -1;
	}
	while (rc == 0 && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			rc = copy_entry(from, to, de->d_name, depth);
	}
	closedir(d);
	return rc;
}

/* One entry of the list, which may have a directory in front. */
static int
copy_listed(int from, int to, const char *entry)
{
	const char *slash = strrchr(entry, '/');
	AUTO(free) char *dir = NULL;
	int sub_from, sub_to, rc;

	if (slash == NULL)
		return copy_entry(from, to, entry, 0);
	dir = xstrndup(entry, (size_t)(slash - entry));
	(void)mkdirat(to, dir, 0755);
	sub_from = openat(from, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sub_to = openat(to, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = sub_from < 0 || sub_to < 0 ? -1 : copy_entry(sub_from, sub_to, slash + 1, 0);
	file_close(sub_from);
	file_close(sub_to);
	return rc;
}

static int
write_text(int dir, const char *name, const char *text)
{
	size_t n = strlen(text);
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int rc = fd >= 0 && write(fd, text, n) == (ssize_t)n ? 0 : -1;

	file_close(fd);
	return rc;
}

static int
fill_etc(int from, int to, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(etc_entries); i++) {
		errno = 0;
		if (copy_listed(from, to, etc_entries[i]) < 0 && errno != ENOENT)
			return err_set(e, ERR_SYSTEM, NULL, "copy /etc/%s", etc_entries[i]);
	}
	for (size_t i = 0; stack_own_files[i] != NULL; i++) {
		if (write_text(to, stack_own_files[i], "") < 0)
			return err_set(e, ERR_SYSTEM, NULL, "write etc/%s", stack_own_files[i]);
	}
	if (write_text(to, "nsswitch.conf", nsswitch) < 0 ||
	    symlinkat("/proc/mounts", to, "mtab") < 0)
		return err_set(e, ERR_SYSTEM, NULL, "write etc/nsswitch.conf");
	return stack_layout_etc(to, e);
}

/* In memory, for it is small and made anew at each start. A container that is starting keeps what
 * it has bound. */
static char *
make_etc(const char *dir, struct err *e)
{
	AUTO(free) char *etc = file_join(dir, "etc");
	int from, to, rc;

	if (file_mkdirs(etc, 0755, e) < 0)
		return NULL;
	for (int i = 0; i < DUPLICATES_MAX && umount2(etc, MNT_DETACH) == 0; i++)
		;
	if (mount("tmpfs", etc, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m") < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "mount a tmpfs on %s", etc);
		return NULL;
	}
	from = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = open(etc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = from < 0 || to < 0 ? err_set(e, ERR_SYSTEM, NULL, "open %s", etc)
	                        : fill_etc(from, to, e);
	file_close(from);
	file_close(to);
	return rc < 0 ? NULL : STEAL(etc);
}

/* A container that runs keeps the mount it has; only the next ones see the new. */
static int
mount_usr(const struct node_dirs *d, const char *dir, const char *usr, struct err *e)
{
	AUTO(free) char *over = file_join(d->stack, "usr");
	AUTO(free) char *layout = file_join(dir, "layout");
	AUTO(free) char *options = NULL;

	if (file_mkdirs(usr, 0755, e) < 0)
		return -1;
	for (int i = 0; i < DUPLICATES_MAX && umount2(usr, MNT_DETACH) == 0; i++)
		;
	if (!file_exists(over)) {
		log_warn("stack_plain", LOG_STR("missing", over));
		if (mount("/usr", usr, NULL, MS_BIND, NULL) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "bind /usr on %s", usr);
		return 0;
	}
	if (stack_layout_usr(layout, e) < 0)
		return -1;
	options = xasprintf("lowerdir=%s:%s:/usr", over, layout);
	if (mount("overlay", usr, "overlay", MS_RDONLY | MS_NODEV, options) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "lay %s over /usr", over);
	return 0;
}

int
stack_open(const struct node_dirs *d, struct stack *out, struct err *e)
{
	AUTO(free) char *dir = file_join(d->run, "stack");
	AUTO_FINI(stack_fini) struct stack s = { .usr = file_join(dir, "usr") };

	umask(022);
	if (file_mkdirs(dir, 0711, e) < 0 || mount_usr(d, dir, s.usr, e) < 0 ||
	    (s.etc = make_etc(dir, e)) == NULL)
		return -1;
	*out = s;
	s = (struct stack){ 0 };
	return 0;
}

void
stack_unmount(const struct node_dirs *d)
{
	static const char *const names[] = { "usr", "etc" };

	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		AUTO(free) char *path = xasprintf("%s/stack/%s", d->run, names[n]);

		for (int i = 0; i < DUPLICATES_MAX && umount2(path, MNT_DETACH) == 0; i++)
			;
	}
}
