/* lib/store/store_key.h: the key layout: one function a record kind. doc/store-keys.md lists it.
 * Each result is a string that the caller owns. */
#pragma once

char *store_key_user(const char *login);                           /* /user/LOGIN */
char *store_key_token(const char *sha256_hex);                     /* /token/HEX */
char *store_key_domain(const char *name);                          /* /domain/NAME */
char *store_key_app(const char *domain, const char *name);         /* /app/DOMAIN/NAME */
char *store_key_app_id(const char *app_id);                        /* /app-id/ID -> "DOMAIN/NAME" */
char *store_key_env(const char *app_id);                           /* /env/ID */
char *store_key_refs(const char *app_id);                          /* /refs/ID */
char *store_key_deployment(const char *app_id, const char *id);    /* /deployment/APP/ID */
char *store_key_build(const char *app_id, const char *id);         /* /build/APP/ID */
char *store_key_event(const char *app_id, const char *id);         /* /event/APP/ID */
char *store_key_node(const char *node);                            /* /node/ID */
char *store_key_gear(const char *node, const char *uuid);          /* /gear/NODE/UUID */
char *store_key_gear_status(const char *node, const char *uuid);   /* /gear-status/NODE/UUID */
char *store_key_instance(const char *node, const char *id);        /* /instance/NODE/ID */
char *store_key_instance_status(const char *node, const char *id); /* /instance-status/NODE/ID */
char *store_key_keep(const char *node, const char *app_id);        /* /layers/NODE/APP */
char *store_key_peers(const char *node, const char *app_id);       /* /peers/NODE/APP */
char *store_key_route(const char *host);                           /* /route/HOST */
char *store_key_cart_type(const char *id);                         /* /cartridge-type/ID */
char *store_key_ssh_key(const char *login, const char *name);      /* /key/LOGIN/NAME */
char *store_key_backup(const char *app_id);                        /* /backup/ID */
char *store_key_restore(const char *app_id);                       /* /restore/ID */
char *store_key_profile(const char *name);                         /* /profile/NAME */
char *store_key_addresses(const char *first);                      /* /addresses/100.64.16.0 */
char *store_key_cert(const char *host);                            /* /cert/HOST */
char *store_key_acme(const char *host);                            /* /acme/HOST */
char *store_key_challenge(const char *host, const char *token);    /* /challenge/HOST/TOKEN */
char *store_key_tickets(void);                                     /* /ticket-keys/all */

/* Prefixes of the above, "/app/" … */
#define STORE_PREFIX_USER "/user/"
#define STORE_PREFIX_TOKEN "/token/"
#define STORE_PREFIX_DOMAIN "/domain/"
#define STORE_PREFIX_APP "/app/"
#define STORE_PREFIX_DEPLOYMENT "/deployment/"
#define STORE_PREFIX_BUILD "/build/"
#define STORE_PREFIX_EVENT "/event/"
#define STORE_PREFIX_NODE "/node/"
#define STORE_PREFIX_GEAR "/gear/"
#define STORE_PREFIX_GEAR_STATUS "/gear-status/"
#define STORE_PREFIX_INSTANCE "/instance/"
#define STORE_PREFIX_INSTANCE_STATUS "/instance-status/"
#define STORE_PREFIX_KEEP "/layers/"
#define STORE_PREFIX_PEERS "/peers/"
#define STORE_PREFIX_CART_TYPE "/cartridge-type/"
#define STORE_PREFIX_ROUTE "/route/"
#define STORE_PREFIX_BACKUP "/backup/"
#define STORE_PREFIX_RESTORE "/restore/"
#define STORE_PREFIX_PROFILE "/profile/"
#define STORE_PREFIX_SSH_KEY "/key/"
#define STORE_PREFIX_ADDRESSES "/addresses/"
#define STORE_PREFIX_CERT "/cert/"
#define STORE_PREFIX_ACME "/acme/"
#define STORE_PREFIX_CHALLENGE "/challenge/"
#define STORE_PREFIX_TICKETS "/ticket-keys/"
