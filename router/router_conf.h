/* router/router_conf.h: settings of pinion-router. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

enum { ROUTER_THREADS_MAX = 64, ROUTER_THREADS_DEFAULT = 4 };

struct router_conf {
	char *http;                /* owned, as all: ADDRESS:PORT */
	char *https;               /* NULL: none */
	struct str_list cert;      /* files or directories, PEM: certificate, chain, key */
	char *tls_profile;         /* modern, intermediate */
	char *proxy_protocol;      /* "http", "https" or both: ports that get it first */
	char *proxy_protocol_from; /* networks that use it; NULL: all */
	char *trusted_proxies;     /* networks whose X-Forwarded-… is believed */
	char *feed;                /* "unix:/path" or "https://host:port" */
	char *token_file;
	char *wake_token_file;
	int64_t traffic_ms; /* between two reports of traffic */
	char *id;
	char *state_dir;
	char *routes; /* static table */
	char *access_log;
	char *access_log_format;
	char *metrics, *metrics_token_file; /* NULL: not served */
	int64_t metrics_apps;
	int64_t access_log_max_mb;
	char *log_level;
	bool log_json;
	int64_t threads;
	int64_t ready_fd; /* -1: none */
	int64_t request_timeout_s;
	int64_t idle_timeout_s, head_timeout_s; /* of clients */
	int64_t connect_timeout_s;              /* to an instance */
	int64_t body_max;                       /* bytes; 0: any */
	int64_t drain_s;                        /* at the end */
	int64_t drain_instance_s;               /* of exchanges with one off every route; 0: any */
	int64_t hold_page_s;                    /* until a browser gets a page; 0: never */
	int64_t hold_timeout_s;                 /* of a request that waits for its application */
	int64_t hold_max, hold_app_max;         /* such requests: all, of one application */
	int64_t hold_mb;                        /* memory that they may take */
	int64_t address_connections;            /* of a client's address at once; 0: any */
	int64_t address_rate;                   /* new ones a second; 0: any */
	int64_t memory_mb;                      /* 0: what the system allows */
};

/* As conf_load: 1 after --help and --version. */
int router_conf_load(int argc, char **argv, struct router_conf *out, struct err *e) MUST_CHECK;
void router_conf_fini(struct router_conf *c);

/* The token in the file (NULL: none), without its end of line, into *out: the caller's, freed by
 * secret_free. field: the setting, for the error. Blocks: at start. */
int router_conf_token(const char *path, const char *field, char **out, struct err *e) MUST_CHECK;
