/* lib/oci/oci_snapshot.h: archives of whole gears in OpenShift v2's layout: tar.gz with members
 * ./UUID/PATH-IN-HOME. Blocks; for a process of its own without privileges (node/snapshot_main). */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/codec/codec.h"

/* --- writing --- */

struct oci_snapshot;

/* exclude: patterns of members without ./UUID/; borrowed for its life. uuid "": members ./PATH. */
struct oci_snapshot *oci_snapshot_open(
    int out_fd, const char *uuid, const struct str_list *exclude, struct err *e) MUST_CHECK;
/* All below the directory, as ./UUID/PREFIX/…; what cannot be read is left out, as v2 did; sockets,
 * pipes and devices too. Links are not followed. fd -1: nothing. */
int oci_snapshot_tree(
    struct oci_snapshot *s, int dir_fd, const char *prefix, struct err *e) MUST_CHECK;
int oci_snapshot_file(
    struct oci_snapshot *s, const char *path, const char *text, struct err *e) MUST_CHECK;
int oci_snapshot_link(
    struct oci_snapshot *s, const char *path, const char *target, struct err *e) MUST_CHECK;
/* The members of a tar stream, as ./NAME; an empty stream is none. */
int oci_snapshot_copy(struct oci_snapshot *s, int in_fd, struct err *e) MUST_CHECK;
/* The end of the archive; frees it. e NULL: throws it away. */
int oci_snapshot_close(struct oci_snapshot *take_s, struct err *e);

/* --- reading --- */

struct oci_snapshot_in {
	const char *app_name;              /* old archives have ./UUID/APP/data */
	const struct str_list *transforms; /* of cartridges: sed's s/…/…/, on member names */
	bool wants_git;                    /* and the deployment, if it came as an archive */
	bool is_binary; /* so it does here: also where the archive tells too late that it did */
	int64_t files_max, bytes_max;
	const struct str_list *here, *apart; /* services of this gear, of others; for the sort */
};

struct oci_snapshot_result {
	bool has_data, has_git;
	bool was_binary, has_deployment; /* the current deployment came as an archive; it is here */
	int64_t files, bytes, skipped;
	char *ref, *sha1;     /* of the deployment that was current; NULL: unknown */
	struct str_list left; /* services whose data are here, but nobody's */
};
DECLARE_CODEC(oci_snapshot_result, struct oci_snapshot_result)

/* Reads a snapshot (tar, compressed or not) from in_fd into the empty directory dir_fd: data/…,
 * git/… (a bare repository's refs and objects, nothing that could run), deployment/… (repo,
 * dependencies and build-dependencies of the current one, if it came as an archive; deployments/…
 * are those that turned out not to be it). Only v2's patterns are read. ERR_INVALID: no snapshot,
 * or hostile (names that leave the gear, links instead of directories); ERR_LIMIT: more files or
 * bytes than may be. */
int oci_snapshot_read(int in_fd, int dir_fd, const struct oci_snapshot_in *in,
    struct oci_snapshot_result *out, struct err *e) MUST_CHECK;

/* After it: services' data where they belong. Snapshots of gears within (data/SERVICE.tar.gz) come
 * into data/ if the service is of this gear; those of others are parts/SERVICE.tar.gz, or, where
 * the services dumped into this gear's data, the tree parts/SERVICE. merged/ is what remains.
 * Errors as oci_snapshot_read. */
int oci_snapshot_parts_sort(int dir_fd, const struct oci_snapshot_in *in,
    struct oci_snapshot_result *out, struct err *e) MUST_CHECK;
