#include "broker/broker_conf.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/where.h"
#include "lib/codec/conf.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_user.h"

static const struct conf_item items[] = {
	CONF_STR(
	    struct broker_conf, data, "data", NULL, "Directory of the state: store, repositories."),
	CONF_STR(struct broker_conf, listen, "listen", "127.0.0.1:8443",
	    "Address and port of the API and of git; port 0 picks a free one."),
	CONF_STR(struct broker_conf, internal, "internal", NULL,
	    "Where nodes and routers call: unix:/PATH (default: broker.sock in DATA/run)."),
	CONF_STR(struct broker_conf, hook_socket, "hook-socket", NULL,
	    "Where git's hooks call: unix:/PATH (default: hook.sock in DATA/run)."),
	CONF_STR(struct broker_conf, hook_program, "hook-program", NULL,
	    "The program pinion-hook (default: the one beside this program)."),
	CONF_STR(struct broker_conf, ssh, "ssh", NULL,
	    "Address and port of SSH; port 0 picks a free one (default: no SSH)."),
	CONF_STR(struct broker_conf, ssh_keys, "ssh-keys", NULL,
	    "Directory of the SSH host keys (pinion-ssh --make-keys DIR makes them)."),
	CONF_STR(struct broker_conf, ssh_socket, "ssh-socket", NULL,
	    "Where the programs of SSH connections ask: unix:/PATH (default: ssh.sock in "
	    "DATA/run)."),
	CONF_STR(struct broker_conf, ssh_program, "ssh-program", NULL,
	    "The program pinion-ssh (default: the one beside this program)."),
	CONF_INT(struct broker_conf, ssh_connections, "ssh-connections", 8, 100000, "1500",
	    "SSH connections at a time, of all; one address may have three quarters."),
	CONF_INT(struct broker_conf, session_grace_s, "session-grace", 0, 86400, "600",
	    "Seconds that sessions may stay in an instance that a new deployment replaced."),
	CONF_STR(struct broker_conf, node_token_file, "node-token-file", NULL,
	    "File with the token that nodes show."),
	CONF_STR(struct broker_conf, router_token_file, "router-token-file", NULL,
	    "File with the token that routers show."),
	CONF_STR(struct broker_conf, broker_token_file, "broker-token-file", NULL,
	    "File with the token that the broker shows to nodes."),
	CONF_STR(struct broker_conf, cartridges, "cartridges", NULL,
	    "Directory of the cartridges (default: the installed one)."),
	CONF_STR(struct broker_conf, app_domain, "app-domain", "apps.localhost",
	    "Domain below which applications get their host names."),
	CONF_STR(struct broker_conf, router_url, "router-url", "http://localhost:8080",
	    "URL of the router; the host part of an application's URL is its own."),
	CONF_STR(struct broker_conf, public_url, "public-url", NULL,
	    "URL of this broker as users see it (default: from the request)."),
	CONF_STR(struct broker_conf, admin_password_file, "admin-password-file", NULL,
	    "Makes the user admin with this password at the first start."),
	CONF_INT(struct broker_conf, ready_fd, "ready-fd", -1, 1 << 20, "-1",
	    "File descriptor that gets a line of JSON once the broker serves."),
	CONF_INT(struct broker_conf, max_gears, "max-gears", 0, 1 << 20, "100",
	    "Gears that a new user may have."),
	CONF_INT(struct broker_conf, max_storage_gb, "max-storage", 0, WIRE_USER_STORAGE_MAX, "0",
	    "GB of disk beside the profile's that a new user may ask for, for each gear."),
	CONF_INT(struct broker_conf, keep_deployments, "keep-deployments", 1, 1000, "10",
	    "Deployments that a new application keeps for rollbacks."),
	CONF_INT(struct broker_conf, pack_max_mb, "pack-max-mb", 1, 1 << 20, "2048",
	    "Size of the pack of one push, in MB."),
	CONF_BOOL(struct broker_conf, allow_obsolete, "allow-obsolete", "false",
	    "Obsolete cartridges may be added to applications."),
	CONF_STR(struct broker_conf, app_cert, "app-cert", NULL,
	    "File with the certificate for *.APP-DOMAIN, its chain and its key, PEM; read again "
	    "every hour (default: one is made, which nobody trusts)."),
	CONF_STR(struct broker_conf, acme_directory, "acme-directory", NULL,
	    "URL of the directory of the authority (RFC 8555) that gives aliases their "
	    "certificates; its terms of service are agreed to (default: none are got so)."),
	CONF_STR(struct broker_conf, acme_contact, "acme-contact", NULL,
	    "Mail address for the account at the authority."),
	CONF_STR(struct broker_conf, acme_ca_file, "acme-ca-file", NULL,
	    "File of the authorities that the directory's https is trusted by (default: the "
	    "system's)."),
	CONF_STR(struct broker_conf, acme_challenge, "acme-challenge", "http-01",
	    "How the authority sees that a name is ours, unless its owner says: http-01 or "
	    "tls-alpn-01."),
	CONF_BOOL(struct broker_conf, acme_all, "acme-for-all", "false",
	    "New aliases get a certificate by ACME unless they come with one."),
	CONF_INT(struct broker_conf, acme_retry_s, "acme-retry", 1, 86400, "60",
	    "Seconds after the first failure until the next try; twice as many after each "
	    "further one, up to half a day."),
	CONF_STR(struct broker_conf, acme_program, "acme-program", "/usr/bin/uacme",
	    "The ACME client uacme."),
	CONF_STR(struct broker_conf, acme_hook_program, "acme-hook-program", NULL,
	    "The program pinion-acme (default: the one beside this program)."),
	CONF_BOOL(struct broker_conf, allow_alias_in_domain, "allow-alias-in-domain", "false",
	    "Aliases may lie below --app-domain, unless they look like an application's name."),
	CONF_BOOL(struct broker_conf, private_certs, "private-certificates", "true",
	    "Owners may give certificates for their aliases."),
	CONF_STR(struct broker_conf, drain_ca_file, "drain-ca-file", NULL,
	    "Certificates that log drains are verified by (default: the system's)."),
	CONF_INT(struct broker_conf, idle_freeze_s, "idle-freeze-after", 0, WIRE_APP_IDLE_S_MAX,
	    "0",
	    "Seconds without a request after which an application is frozen; a request wakes it at "
	    "once. 0: never."),
	CONF_INT(struct broker_conf, idle_reclaim_s, "idle-reclaim-after", 0, WIRE_APP_IDLE_S_MAX,
	    "0",
	    "Seconds after which a frozen application's memory goes to the swap, where there is "
	    "one; "
	    "0: never."),
	CONF_INT(struct broker_conf, idle_stop_s, "idle-stop-after", 0, WIRE_APP_IDLE_S_MAX, "0",
	    "Seconds after which a frozen application is stopped until the next request; 0: "
	    "never."),
	CONF_BOOL(struct broker_conf, download_cartridges, "download-cartridges", "true",
	    "Users may add cartridges by the URL of a manifest."),
	CONF_STRS(struct broker_conf, download_allow, "download-allow",
	    "Address ranges inside that downloads of cartridges and OCSP may reach: ADDRESS/BITS."),
	CONF_STR(struct broker_conf, download_ca, "download-ca", NULL,
	    "File of the authorities that downloads trust (default: the system's)."),
	CONF_INT(struct broker_conf, download_max_mb, "download-max-mb", 1, 1 << 20, "200",
	    "Size of the archive of one downloaded cartridge, in MB."),
	CONF_STR(struct broker_conf, cart_pack_program, "cart-pack-program", NULL,
	    "The program pinion-cart-pack (default: the one beside this program)."),
	CONF_INT(struct broker_conf, disk_overcommit, "disk-overcommit", 0, 100000, "100",
	    "Percent of a node's disk that the disks of its gears may add up to; 0: any."),
	CONF_STR(struct broker_conf, backup_dir, "backup-dir", NULL,
	    "Directory that backups go below (default: DATA/backups)."),
	CONF_STR(struct broker_conf, backup_s3, "backup-s3", NULL,
	    "Where backups in an S3 store may go: s3://BUCKET/PREFIX (default: nowhere)."),
	CONF_STR(struct broker_conf, backup_s3_endpoint, "backup-s3-endpoint", NULL,
	    "URL of the S3-compatible store: https://HOST:PORT; buckets are part of the path."),
	CONF_INT(struct broker_conf, backup_s3_part_mb, "backup-s3-part", 5, 1024, "16",
	    "MB of one part of an upload; smaller archives go up at once."),
	CONF_STR(struct broker_conf, backup_s3_region, "backup-s3-region", "us-east-1",
	    "Region that requests to the S3 store are signed for."),
	CONF_STR(struct broker_conf, backup_s3_access_key, "backup-s3-access-key", NULL,
	    "Access key of the S3 store."),
	CONF_STR(struct broker_conf, backup_s3_secret_file, "backup-s3-secret-file", NULL,
	    "File with the secret key of the S3 store (default: PINION_S3_SECRET_KEY of the "
	    "environment)."),
	CONF_BOOL(struct broker_conf, log_json, "log-json", "false", "Log lines as JSON."),
	CONF_STR(struct broker_conf, log_level, "log-level", "info",
	    "Least level that is logged: debug, info, warn, error."),
	CONF_LAST,
};

static int
fill_defaults(struct broker_conf *c, struct err *e)
{
	if (c->data == NULL || *c->data == '\0')
		return err_set(
		    e, ERR_INVALID, "data", "name the directory of the state: --data DIR");
	if (c->internal == NULL || *c->internal == '\0') {
		free(c->internal);
		c->internal = xasprintf("unix:%s/run/broker.sock", c->data);
	}
	if (c->backup_dir == NULL || *c->backup_dir == '\0') {
		free(c->backup_dir);
		c->backup_dir = xasprintf("%s/backups", c->data);
	}
	if (c->hook_socket == NULL || *c->hook_socket == '\0') {
		free(c->hook_socket);
		c->hook_socket = xasprintf("unix:%s/run/hook.sock", c->data);
	}
	if (c->hook_program == NULL || *c->hook_program == '\0') {
		free(c->hook_program);
		c->hook_program = where_program("pinion-hook", e);
	}
	if (c->cart_pack_program == NULL || *c->cart_pack_program == '\0') {
		free(c->cart_pack_program);
		c->cart_pack_program = where_program("pinion-cart-pack", e);
	}
	if (c->acme_hook_program == NULL || *c->acme_hook_program == '\0') {
		free(c->acme_hook_program);
		c->acme_hook_program = where_program("pinion-acme", e);
	}
	if (c->ssh_socket == NULL || *c->ssh_socket == '\0') {
		free(c->ssh_socket);
		c->ssh_socket = xasprintf("unix:%s/run/ssh.sock", c->data);
	}
	if (c->ssh != NULL && *c->ssh != '\0' &&
	    (c->ssh_program == NULL || *c->ssh_program == '\0')) {
		free(c->ssh_program);
		c->ssh_program = where_program("pinion-ssh", e);
		if (c->ssh_program == NULL)
			return -1;
	}
	if (c->cartridges == NULL || *c->cartridges == '\0') {
		free(c->cartridges);
		c->cartridges = where_data("cartridges", e);
	}
	return c->hook_program == NULL || c->cart_pack_program == NULL ||
	               c->acme_hook_program == NULL || c->cartridges == NULL
	           ? -1
	           : 0;
}

int
broker_conf_load(int argc, char **argv, struct broker_conf *out, struct err *e)
{
	int rc = conf_load("pinion-broker", items, argc, argv, out, e);

	if (rc == 0)
		rc = fill_defaults(out, e);
	return rc;
}

void
broker_conf_fini(struct broker_conf *c)
{
	conf_fini(items, c);
}
