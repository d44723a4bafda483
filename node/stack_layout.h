/* node/stack_layout.h: where v2's cartridges look for programs: the paths of Red Hat's machines, as
 * links to what this one has, in /etc and in /usr. What is not installed gets no link, and what the
 * node's owner has put at such a path of /etc stays. */
#pragma once

#include "lib/base/err.h"

/* Into the directory etc: redhat-release, node.conf, Apache's files, Java, Maven and Tomcat.
 * Blocks. */
int stack_layout_etc(int etc, struct err *e) MUST_CHECK;
/* Makes dir, to be laid over /usr: Apache's modules, Apache itself by the name of v2, and Debian's
 * modules of Node.js where any Node.js looks. Blocks. */
int stack_layout_usr(const char *dir, struct err *e) MUST_CHECK;
