/* node/proc_own.h: a procfs of the caller's own. In the host's, the kernel keeps the names below
 * sys/user and sys/net of all namespaces in one chain, so that each look there takes longer with
 * every gear. */
#pragma once

/* A directory to open names beneath, of the caller's namespace of processes; the host's /proc where
 * the kernel offers no other; -1: not even that. The caller closes it. */
int proc_own_open(void);
