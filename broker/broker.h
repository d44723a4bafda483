/* broker/broker.h: what the parts of the broker share: made by broker_main, passed as a pointer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/base/str.h"

struct acme;
struct api_call;
struct app_traffic;
struct auth;
struct blob_store;
struct backups;
struct build_queue;
struct cart_fetch;
struct catalog;
struct change;
struct http_client;
struct idler;
struct loop;
struct net_guard;
struct node_link;
struct gear_command_set;
struct gear_streams;
struct push_http;
struct push_set;
struct push_ssh_set;
struct repo_store;
struct restore_runs;
struct rollout;
struct drains;
struct router_lines;
struct router_link;
struct session_set;
struct ssh_server;
struct staples;
struct store;
struct tls_keys;
struct watch_feed;
struct worker;

struct broker_conf {
	char *data;         /* directory: store/, git/ */
	char *listen;       /* public API and git: ADDR:PORT */
	char *internal;     /* unix:/path of the endpoint for nodes and routers */
	char *hook_socket;  /* unix:/path */
	char *hook_program; /* pinion-hook */
	char *ssh;          /* ADDR:PORT; "": not served */
	char *ssh_keys;     /* directory of the host keys */
	char *ssh_socket;   /* unix:/path: where pinion-ssh asks */
	char *ssh_program;  /* pinion-ssh */
	int64_t ssh_connections, session_grace_s;
	char *node_token_file, *router_token_file, *broker_token_file;
	char *cartridges; /* directory of the catalogue */
	char *app_domain; /* apps.localhost */
	char
	    *router_url; /* what app_url begins with: http://HOST:PORT; the host part is replaced */
	char *public_url;          /* of the API as users see it; NULL: from the request's Host */
	char *admin_password_file; /* makes the user "admin" with this password at first start */
	int64_t ready_fd;          /* >= 0: a JSON line once it serves */
	int64_t max_gears;         /* default of new users */
	int64_t max_storage_gb;    /* likewise: of a gear, beside its profile's */
	int64_t keep_deployments;
	int64_t pack_max_mb;                                /* of one push */
	char *drain_ca_file;                                /* of log drains; NULL: the system's */
	int64_t idle_freeze_s, idle_reclaim_s, idle_stop_s; /* without a request; 0: never */
	char *app_cert;       /* file, PEM: of all names below app_domain; NULL: one is made */
	char *acme_directory; /* URL; NULL: no certificates by ACME */
	char *acme_contact;   /* a mail address, or NULL */
	char *acme_ca_file;   /* who the directory is trusted by; NULL: the system's */
	char *acme_challenge; /* http-01 or tls-alpn-01 */
	char *acme_program, *acme_hook_program;
	int64_t acme_retry_s;
	bool acme_all;                             /* aliases without a certificate get one so */
	bool allow_alias_in_domain, private_certs; /* of aliases */
	bool allow_obsolete;                       /* cartridges */
	bool download_cartridges;
	struct str_list download_allow; /* address ranges */
	char *download_ca;              /* file, or NULL: the system's */
	int64_t download_max_mb;
	char *cart_pack_program;
	int64_t disk_overcommit; /* percent of a node's disk that volumes may add up to */
	char *backup_dir;        /* that backups go below */
	char *backup_s3;         /* s3://BUCKET/PREFIX that they go below; NULL: nothing in S3 */
	int64_t backup_s3_part_mb;
	char *backup_s3_endpoint, *backup_s3_region, *backup_s3_access_key, *backup_s3_secret_file;
	bool log_json;
	char *log_level;
};

struct broker {
	struct broker_conf conf;
	struct loop *loop;
	struct worker *worker;
	struct store *store;
	struct http_client *client;
	struct auth *auth;
	struct catalog *catalog;
	struct repo_store *repos;
	struct node_link *nodes;
	struct watch_feed *feeds;
	struct build_queue *builds;
	struct backups *backups;
	struct restore_runs *restores;
	struct rollout *rollout;
	struct drains *drains;
	struct tls_keys *tls_keys;
	struct staples *staples;
	struct acme *acme; /* NULL: no certificates by ACME */
	struct router_lines *router_lines;
	struct idler *idler; /* NULL: not yet, or no more */
	struct router_link *routers;
	struct app_traffic *traffic;
	struct push_set *pushes;
	struct push_http *git;
	struct push_ssh_set *ssh_pushes;
	struct gear_streams *streams;
	struct gear_command_set *commands;
	struct session_set *sessions;
	struct ssh_server *ssh;
	int ssh_port;                /* 0: no SSH */
	LIST_HEAD(, api_call) calls; /* of the API, under way */
	struct blob_store *blobs;
	struct net_guard *guard;         /* of what users name */
	LIST_HEAD(, cart_fetch) fetches; /* under way */
	struct change *lane; /* changes that met a conflict: tried one after the other */
};
