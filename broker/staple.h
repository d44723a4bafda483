/* broker/staple.h: the authority's word that a certificate is still good (OCSP), for routers to
 * hand out with it: fetched from where the certificate says, again at half of its life; taken away
 * when it is over. */
#pragma once

struct broker;
struct staples;

struct staples *staple_start(struct broker *b);
void staple_stop(struct staples *take_s); /* NULL is fine */
