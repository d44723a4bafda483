#include "node/net.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/net_mnl.h"
#include "node/net_ns.h"
#include "node/net_state.h"

void
net_link_list_fini(struct net_link_list *l)
{
	free(l->v);
	*l = (struct net_link_list){ 0 };
}

struct scan {
	struct net *n;
	const char *prefix;
	struct net_link_list list;
};

/* As net_write_alias wrote it; false: half made. */
static bool
parse_alias(const char *alias, struct net_link *l)
{
	char app[NET_NAME_MAX];

	if (alias == NULL ||
	    sscanf(alias, "%63s %63s %15s %" SCNd64 " %" SCNx64, l->instance, app, l->address,
	        &l->kbit, &l->mark) < 3 ||
	    !net_is_name(l->instance)) {
		l->instance[0] = l->address[0] = '\0';
		return false;
	}
	(void)snprintf(l->app, sizeof l->app, "%s", strcmp(app, "-") == 0 ? "" : app);
	return true;
}

static struct net_link *
add_link(struct net_link_list *list)
{
	list->v = xreallocarray(list->v, list->n + 1, sizeof *list->v);
	list->v[list->n] = (struct net_link){ 0 };
	return &list->v[list->n++];
}

static void
scan_link(const struct net_mnl_link *m, void *arg)
{
	struct scan *sc = arg;
	struct net_link *l;

	if (!str_has_prefix(m->name, sc->prefix) || net_veth_index(sc->n, m->name) < 0)
		return;
	l = add_link(&sc->list);
	l->has_veth = true;
	(void)snprintf(l->veth, sizeof l->veth, "%s", m->name);
	if (parse_alias(m->alias, l)) {
		AUTO(free) char *path = net_ns_path(sc->n, l->instance);

		l->has_ns = net_ns_is_bound(path);
	}
}

static bool
has_instance(const struct net_link_list *l, const char *instance)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].instance, instance) == 0)
			return true;
	}
	return false;
}

/* Namespaces without a link. */
static int
scan_dir(struct net *n, struct net_link_list *list, struct err *e)
{
	DIR *d = opendir(n->netns_dir);
	struct dirent *de;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "cannot list %s", n->netns_dir);
	while ((de = readdir(d)) != NULL) {
		if (net_is_name(de->d_name) && !has_instance(list, de->d_name)) {
			struct net_link *l = add_link(list);

			(void)snprintf(l->instance, sizeof l->instance, "%s", de->d_name);
			l->has_ns = true;
		}
	}
	(void)closedir(d);
	return 0;
}

int
net_list(struct net *n, struct net_link_list *out, struct err *e)
{
	AUTO(free) char *prefix = xasprintf("pn%s", n->tag);
	AUTO_FINI(net_link_list_fini) struct net_link_list done = { 0 };
	struct scan sc = { .n = n, .prefix = prefix };
	int rc;

	pthread_mutex_lock(&n->lock);
	rc = net_mnl_each_link(n->mnl, scan_link, &sc, e);
	pthread_mutex_unlock(&n->lock);
	done = sc.list;
	if (rc < 0 || scan_dir(n, &done, e) < 0)
		return -1;
	*out = done;
	done = (struct net_link_list){ 0 };
	return 0;
}
