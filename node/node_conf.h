/* node/node_conf.h: settings of pinion-node. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct node_conf {
	char *id, *data, *run;
	char *broker;      /* "unix:/path" or "https://host:port" */
	char *broker_ca;   /* whom to believe of an https broker; NULL: the system's */
	char *broker_cert; /* what we show there as a client; NULL: nothing */
	char *broker_key;
	char *token_file;        /* what we show to the broker */
	char *broker_token_file; /* what the broker shows to us */
	char *stream;            /* where we serve */
	char *stream_url;        /* how the broker reaches it; NULL: as it is served */
	char *wake;              /* where routers may wake gears */
	char *wake_url;
	char *wake_token_file; /* what routers show there; NULL: nobody may */
	char *cartridges, *stack;
	char *runtime, *seccomp, *volumes;
	struct str_list allow_net;
	int64_t disk_low_percent, disk_critical_percent; /* free of the node's disk */
	int64_t ready_fd;
	char *log_level;
	bool log_json;
	/* read from the files */
	char *token, *broker_token; /* secret */
	char *wake_token;           /* secret; NULL: none */
};

/* 0; 1: help was printed; -1. Blocks (reads the token files). */
int node_conf_load(int argc, char **argv, struct node_conf *out, struct err *e) MUST_CHECK;
void node_conf_fini(struct node_conf *c);
