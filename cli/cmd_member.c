/* Members of a domain and their roles. */
#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

/* "domain/D/members" of the domain that is meant. Caller owns. */
static char *
members_path(const struct cmd_line *l, struct err *e)
{
	AUTO(free) char *domain = api_domain(l, e);
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (domain == NULL)
		return NULL;
	buf_adds(&b, "domain/");
	buf_add_url(&b, domain);
	buf_adds(&b, "/members");
	return buf_steal(&b);
}

static int
set_role(const struct cmd_line *l, const char *role, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *path = members_path(l, e);

	if (path == NULL)
		return -1;
	buf_adds(&body, "{\"members\":[");
	for (size_t i = 0; i < l->args.n; i++) {
		buf_adds(&body, i == 0 ? "{" : ",{");
		buf_add_json_member(&body, "login", cmd_arg(l, i));
		buf_add_json_member(&body, "role", role);
		buf_addc(&body, '}');
	}
	buf_adds(&body, "]}");
	return api_call(l, "PATCH", path, body.p, &r, e);
}

static int
run_add(const struct cmd_line *l, struct err *e)
{
	const char *role = cmd_has(l, "role") ? cmd_option(l, "role") : "edit";

	if (set_role(l, role, e) < 0)
		return -1;
	output_note(l, "Done: the role is %s.", role);
	return 0;
}

static int
run_remove(const struct cmd_line *l, struct err *e)
{
	if (set_role(l, "none", e) < 0)
		return -1;
	output_note(l, "Done: no longer let in.");
	return 0;
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "LOGIN", "login" },
		{ "ROLE", "role" },
		{ "OWNER", "owner" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = members_path(l, e);

	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static int
run_leave(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };

	buf_adds(&path, "domain/");
	buf_add_url(&path, cmd_arg(l, 0));
	buf_adds(&path, "/members/self");
	if (api_call(l, "DELETE", path.p, NULL, &r, e) < 0)
		return -1;
	output_note(l, "You left the domain %s.", cmd_arg(l, 0));
	return 0;
}

static const struct cmd_option domain_options[] = {
	{ "domain", 'd', "NAME", "the domain (default: the only one there is)" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option add_options[] = {
	{ "domain", 'd', "NAME", "the domain (default: the only one there is)" },
	{ "role", 'r', "ROLE", "view, edit (the default) or admin" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_member_table[] = {
	{ "member add", "LOGIN...", 1, 100,
	    "let other users into a domain, or change their role\n\nview sees the domain and its "
	    "applications. edit pushes, logs in by SSH, sets variables,\nmakes and deletes "
	    "applications. admin lets others in, too.",
	    add_options, run_add, false },
	{ "member list", "", 0, 0, "list who may see the domain, and in which role", domain_options,
	    run_list, false },
	{ "member remove", "LOGIN...", 1, 100,
	    "shut other users out of a domain\n\nTheir SSH sessions in its gears end.",
	    domain_options, run_remove, false },
	{ "domain leave", "NAME", 1, 1, "give up the membership in somebody's domain", NULL,
	    run_leave, false },
	{ 0 },
};
