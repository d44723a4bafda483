/* lib/loop/loop.h: one libevent base, its timers, signals and the end. All calls on the loop's own
 * thread, but loop_post. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct event_base;
struct loop;
struct loop_timer;
struct loop_io;
struct loop_signal;

typedef void loop_fn(void *arg);

struct loop *loop_new(void);
void loop_free(struct loop *take_l);
/* Runs until loop_stop. */
void loop_run(struct loop *l);
/* Runs until *done or the deadline; for tests and clients. Returns false at the deadline. */
bool loop_run_until(struct loop *l, const bool *done, int64_t timeout_ms);
void loop_stop(struct loop *l);
struct event_base *loop_base(struct loop *l); /* borrowed; only for lib/loop, lib/http, router */
int64_t loop_now_ms(void);                    /* CLOCK_MONOTONIC */
int64_t loop_now_us(void);

/* Calls fn once after ms (repeat: every ms). The handle is the caller's; cancel frees it. A
 * one-shot handle stays valid after it fired and is still to be cancelled. */
struct loop_timer *loop_timer_start(
    struct loop *l, int64_t ms, bool repeat, loop_fn *fn, void *arg);
void loop_timer_again(struct loop_timer *t, int64_t ms); /* arms it anew */
void loop_timer_cancel(struct loop_timer *take_t);       /* NULL is fine */

enum { LOOP_READ = 1, LOOP_WRITE = 2 };
typedef void loop_io_fn(int fd, int what, void *arg);
/* Level-triggered readiness of fd (borrowed) until cancel. */
struct loop_io *loop_io_start(struct loop *l, int fd, int what, loop_io_fn *fn, void *arg);
void loop_io_set(struct loop_io *io, int what); /* changes the interest; 0 = none */
void loop_io_cancel(struct loop_io *take_io);

struct loop_signal *loop_signal_start(struct loop *l, int signo, loop_fn *fn, void *arg);
void loop_signal_cancel(struct loop_signal *take_s);

/* Calls fn on the loop after the present turn. loop_post may be called from any thread. */
void loop_post(struct loop *l, loop_fn *fn, void *arg);
/* Frees p with fn after the present turn: for what may die inside its own callback. */
void loop_free_later(struct loop *l, loop_fn *fn, void *take_p);
