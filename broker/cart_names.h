/* broker/cart_names.h: names of OpenShift v2's cartridges, and what they are today. */
#pragma once

/* What a v2 name (php-5.4, jbossews-2.0, in any case, with redhat- in front or without a version)
 * is called in this catalogue: a name without version; constant. NULL: no v2 name, or one whose
 * base has not changed and has no version of v2's behind it. *gone: constant text for the user when
 * there is nothing today that does its work; else NULL. */
const char *cart_names_today(const char *name, const char **gone);

/* The v2 names that lead to this one of today (a base name), as people write them: "nodejs-0.6,
 * nodejs-0.10"; caller owns. NULL: none. */
char *cart_names_before(const char *today);
