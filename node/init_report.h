/* node/init_report.h: the status file of pinion-init (node/init_control.h reads it). Part of the
 * static program: libc only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct init_report {
	const char *phase; /* "starting", "running", "stopping", "exited" */
	int64_t pid;
	bool start_ended;
	int exit_code; /* -1: none */
	int exit_signal;
	int64_t began_ms, start_ended_ms, exited_ms;
	int64_t lines_dropped;
	char error[512];
};

/* Replaces the file "status" in the directory; a failure is told on stderr and otherwise ignored.
 */
void init_report_write(const struct init_report *r, int dir_fd);
int64_t init_report_now_ms(void); /* Unix time */
