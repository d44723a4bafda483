/* broker/peer_plan.h: gears of one application on several nodes: each node is told where those on
 * the others answer (wire_peers), so that it lets its own gears reach them and be reached. Part of
 * a rollout's step. */
#pragma once

struct rollout_step;

/* Fills st->t where a node knows something else than what is. */
void peer_plan(struct rollout_step *st);
