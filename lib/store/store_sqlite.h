/* lib/store/store_sqlite.h: the embedded backend, beyond what store.h says. */
#pragma once

#include "lib/store/store.h"

/* After a directory was restored from a backup, before its store is opened: raises the epoch, so
 * that nodes and routers which saw a later state know that this one is wanted. Blocks. ERR_BUSY:
 * a process has it open. */
int store_sqlite_raise_epoch(const char *dir, struct err *e) MUST_CHECK;
