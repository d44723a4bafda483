/* router/tunnel.h: bytes both ways after a 101, each direction with its own end. */
#pragma once

#include <stdbool.h>

struct proxy;

/* Moves what can be moved. false: both ended, or it broke; x is gone. */
bool tunnel_pump(struct proxy *x);
