/* pinion-snapshot: a gear to a snapshot, or a snapshot to files, in a process that can do nothing
 * else (confine_to). Run by pinion-node; exit 1: the reason on stderr.
 *
 * save UUID APP DATETIME ID METADATA ARCHIVE EXCLUDE…: fd 3 is the gear's volume, 4 the
 * application's layer, 5 that of its dependencies (both may be the volume: then nothing is
 * deployed). stdin: a tar stream of the git repository, or nothing. stdout: the archive. ARCHIVE 1:
 * the deployment came as one, which no build brings back. archive, with the same words: the
 * deployment alone, as `gear binary-deploy` takes it. restore APP GIT BINARY HERE APART FILES BYTES
 * TRANSFORM…: fd 3 is an empty directory; HERE, APART: services, with commas between. stdin: the
 * archive. stdout: oci_snapshot_result as JSON.
 */
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/oci/oci_snapshot.h"
#include "node/confine.h"

enum { DIR_FD = 3, APP_FD = 4, DEPS_FD = 5 };

struct save {
	struct oci_snapshot *s;
	const char *datetime, *id, *metadata;
	bool is_archive;
	int storage, services, bases; /* opened as root, who alone may list them; -1: not there */
};

static int
open_dir(int at, const char *path)
{
	return openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int
put(struct save *v, int at, const char *path, const char *prefix, struct err *e)
{
	AUTO(file_close) int fd = open_dir(at, path);

	return oci_snapshot_tree(v->s, fd, prefix, e);
}

/* Each directory of a directory. */
static int
put_each(struct save *v, int take_dir, const char *prefix, struct err *e)
{
	DIR *d = take_dir < 0 ? NULL : fdopendir(take_dir);
	struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		AUTO(free)
		char *to = *prefix == '\0' ? xstrdup(de->d_name) : file_join(prefix, de->d_name);

		if (de->d_name[0] != '.')
			rc = put(v, dirfd(d), de->d_name, to, e);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

/* What a build installed in the repository (node_modules) only in an archive of its own. */
static int
put_parts(struct save *v, const char *dir, struct err *e)
{
	static const struct {
		int fd;
		const char *name;
	} parts[] = { { APP_FD, "repo" }, { DEPS_FD, "repo" }, { APP_FD, "dependencies" },
		{ DEPS_FD, "dependencies" }, { APP_FD, "build-dependencies" },
		{ DEPS_FD, "build-dependencies" } };

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		AUTO(free) char *from = xasprintf("app-root/runtime/%s", parts[i].name);
		AUTO(free) char *to = xasprintf("%s%s", dir, parts[i].name);

		if ((i == 1 && *dir != '\0' && !v->is_archive) ||
		    put(v, parts[i].fd, from, to, e) == 0)
			continue;
		return -1;
	}
	return 0;
}

static int
put_deployment(struct save *v, struct err *e)
{
	AUTO(free) char *metadata = xasprintf("app-deployments/%s/metadata.json", v->datetime);
	AUTO(free) char *by_id = xasprintf("app-deployments/by-id/%s", v->id);
	AUTO(free) char *up = xasprintf("../%s", v->datetime);
	AUTO(free) char *dir = xasprintf("app-deployments/%s/", v->datetime);

	if (*v->id == '\0')
		return 0;
	/* Who reads it knows what it is before it comes. */
	if (oci_snapshot_file(v->s, metadata, v->metadata, e) < 0 ||
	    oci_snapshot_link(v->s, by_id, up, e) < 0 ||
	    oci_snapshot_link(v->s, "app-deployments/current", v->datetime, e) < 0)
		return -1;
	return put_parts(v, dir, e);
}

/* What configuring the cartridges wrote; 0 is the home's skeleton. */
static int
put_bases(struct save *v, struct err *e)
{
	DIR *d = v->bases < 0 ? NULL : fdopendir(v->bases);
	struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.' && strcmp(de->d_name, "0") != 0)
			rc = put(v, dirfd(d), de->d_name, "", e);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

static int
put_all(struct save *v, struct err *e)
{
	if (put(v, DIR_FD, "data", "app-root/data", e) < 0 ||
	    put_each(v, v->storage, "app-root/data/.pinion-storage", e) < 0 ||
	    put_deployment(v, e) < 0 || oci_snapshot_copy(v->s, STDIN_FILENO, e) < 0 ||
	    put(v, DIR_FD, "env", ".env", e) < 0)
		return -1;
	if (put_bases(v, e) < 0)
		return -1;
	return put_each(v, v->services, "", e) < 0 || put(v, DIR_FD, "logs", "app-root/logs", e) < 0
	           ? -1
	           : 0;
}

static int
save(int argc, char **argv, bool is_all, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list exclude = { 0 };
	struct save v = { .datetime = argv[4],
		.id = argv[5],
		.metadata = argv[6],
		.is_archive = strcmp(argv[7], "1") == 0 };

	for (int i = 8; i < argc; i++)
		str_list_add(&exclude, argv[i]);
	v.storage = open_dir(DIR_FD, "storage");
	v.bases = open_dir(DIR_FD, "base");
	v.services = open_dir(DIR_FD, "svc");
	if (confine_to(DIR_FD, e) < 0)
		return -1;
	v.s = oci_snapshot_open(STDOUT_FILENO, is_all ? argv[2] : "", &exclude, e);
	if (v.s == NULL)
		return -1;
	if ((is_all ? put_all(&v, e) : put_parts(&v, "", e)) < 0) {
		(void)oci_snapshot_close(v.s, NULL);
		return -1;
	}
	return oci_snapshot_close(v.s, e);
}

static void
split(const char *words, struct str_list *out)
{
	struct str rest = str_of(words), word;

	while (rest.p != NULL) {
		rest = str_cut(rest, ',', &word);
		if (word.n > 0)
			str_list_take(out, xstrndup(word.p, word.n));
	}
}

static int
restore(int argc, char **argv, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list transforms = { 0 };
	AUTO_FINI(str_list_fini) struct str_list here = { 0 };
	AUTO_FINI(str_list_fini) struct str_list apart = { 0 };
	AUTO_FINI(oci_snapshot_result_fini) struct oci_snapshot_result r = { 0 };
	AUTO(free) char *json = NULL;
	struct oci_snapshot_in in = {
		.app_name = argv[2],
		.transforms = &transforms,
		.wants_git = strcmp(argv[3], "1") == 0,
		.is_binary = strcmp(argv[4], "1") == 0,
		.here = &here,
		.apart = &apart,
	};

	split(argv[5], &here);
	split(argv[6], &apart);
	for (int i = 9; i < argc; i++)
		str_list_add(&transforms, argv[i]);
	if (str_to_i64(str_of(argv[7]), 1, INT64_MAX, "files", &in.files_max, e) < 0 ||
	    str_to_i64(str_of(argv[8]), 1, INT64_MAX, "bytes", &in.bytes_max, e) < 0 ||
	    confine_to(DIR_FD, e) < 0 || oci_snapshot_read(STDIN_FILENO, DIR_FD, &in, &r, e) < 0 ||
	    oci_snapshot_parts_sort(DIR_FD, &in, &r, e) < 0)
		return -1;
	json = codec_to_json(&oci_snapshot_result_codec, &r);
	puts(json);
	return 0;
}

/* No exit handlers: what they look for (/proc, for a leak check) is outside by now. */
int
main(int argc, char **argv)
{
	struct err e = { 0 };
	int rc = 2;

	(void)setlocale(LC_ALL, "C.UTF-8");
	if (argc >= 8 && (strcmp(argv[1], "save") == 0 || strcmp(argv[1], "archive") == 0))
		rc = save(argc, argv, strcmp(argv[1], "save") == 0, &e) < 0;
	else if (argc >= 9 && strcmp(argv[1], "restore") == 0)
		rc = restore(argc, argv, &e) < 0;
	else
		(void)err_set(&e, ERR_INVALID, NULL, "pinion-snapshot is run by pinion-node");
	if (rc != 0)
		fprintf(stderr, "%s\n", e.text);
	fflush(NULL);
	_exit(rc);
}
