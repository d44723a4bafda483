/* broker/broker_conf.h: the settings of pinion-broker. */
#pragma once

#include "broker/broker.h"
#include "lib/base/err.h"

/* 0: filled; 1: --help or --version was printed; -1: e. */
int broker_conf_load(int argc, char **argv, struct broker_conf *out, struct err *e) MUST_CHECK;
void broker_conf_fini(struct broker_conf *c);
