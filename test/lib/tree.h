/* test/lib/tree.h: small trees of files for tests. */
#pragma once

#include <sys/types.h>

/* A new directory below /tmp; caller owns. */
char *tree_new(void);
/* Writes DIR/path with its directories. mode 0: 0644. */
void tree_put(const char *dir, const char *path, const char *content, mode_t mode);
void tree_link(const char *dir, const char *path, const char *target);
/* files: "path\ncontent" each, NULL at the end; "path*\n…" is executable. */
void tree_put_all(const char *dir, const char *const *files);
int tree_open(const char *dir);
/* Removes it and frees the name. */
void tree_remove(char *take_dir);
