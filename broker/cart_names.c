#include "broker/cart_names.h"

#include <string.h>
#include <strings.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* versions: those that v2 had, blank-separated; "" with today's name in v2 spelling. */
static const struct name {
	const char *v2, *versions, *today, *gone;
} names[] = {
	{ "php", "5.3 5.4", "php", NULL },
	{ "python", "2.6 2.7 3.3", "python", NULL },
	{ "ruby", "1.8 1.9 2.0", "ruby", NULL },
	{ "perl", "5.10", "perl", NULL },
	{ "nodejs", "0.6 0.10", "nodejs", NULL },
	{ "jbossews", "1.0 2.0", "java", NULL },
	{ "jbossas", "7", "java", NULL },
	{ "jbosseap", "6 6.0", "java", NULL },
	{ "tomcat", "6 7", "java", NULL },
	{ "diy", "0.1", "diy", NULL },
	{ "zend", "5.6 6.1", "php", NULL },
	{ "postgresql", "8.4 9.2", "postgresql", NULL },
	{ "mysql", "5.1 5.5", "mysql", NULL },
	{ "mariadb", "5.5", "mysql", NULL },
	{ "redis", "2.6 2.8", "redis", NULL },
	{ "memcached", "1.4", "memcached", NULL },
	{ "rabbitmq", "3.0 3.1", "rabbitmq", NULL },
	{ "cron", "1.4", "cron", NULL },
	{ "metrics", "0.1", "metrics", NULL },
	{ "phpmyadmin", "3.4 3.5 4 4.0", "adminer", NULL },
	{ "rockmongo", "1.1", NULL, "there is no MongoDB here to administer" },
	{ "mongodb", "2.2 2.4", NULL,
	    "MongoDB is not in Debian any more. Use postgresql (its jsonb type holds documents), "
	    "or "
	    "import a cartridge of MongoDB" },
	{ "haproxy", "1.4", NULL,
	    "requests of scalable applications are spread by the router, without a cartridge: "
	    "create "
	    "the application with 'scale'" },
	{ "jenkins", "1 1.4", NULL,
	    "builds run by themselves with each push, without a Jenkins server" },
	{ "jenkins-client", "1 1.4", NULL,
	    "builds run by themselves with each push, without a Jenkins server" },
	{ "switchyard", "0", NULL, "SwitchYard is no longer maintained. Use java" },
	{ "10gen-mms-agent", "0.1", NULL, "that service does not exist any more" },
};

static bool
has_word(const char *words, struct str want)
{
	struct str rest = str_of(words);

	while (rest.n > 0) {
		struct str word;

		rest = str_cut(rest, ' ', &word);
		if (word.n == want.n && memcmp(word.p, want.p, want.n) == 0)
			return true;
	}
	return false;
}

/* Is it this name, alone or with one of its versions? */
static bool
is_name(const struct name *x, const char *name)
{
	size_t n = strlen(x->v2);

	if (strncasecmp(name, x->v2, n) != 0)
		return false;
	if (name[n] == '\0')
		return x->today == NULL || strcmp(x->v2, x->today) != 0;
	return name[n] == '-' && has_word(x->versions, str_of(name + n + 1));
}

const char *
cart_names_today(const char *name, const char **gone)
{
	static const char vendor[] = "redhat-";

	*gone = NULL;
	if (strncasecmp(name, vendor, sizeof vendor - 1) == 0)
		name += sizeof vendor - 1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!is_name(&names[i], name))
			continue;
		*gone = names[i].gone;
		return names[i].today;
	}
	return NULL;
}

char *
cart_names_before(const char *today)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str rest = str_of(names[i].versions);

		if (names[i].today == NULL || strcasecmp(names[i].today, today) != 0)
			continue;
		while (rest.n > 0) {
			struct str word;

			rest = str_cut(rest, ' ', &word);
			buf_addf(&out, "%s%s-%.*s", out.n == 0 ? "" : ", ", names[i].v2,
			    (int)word.n, word.p);
		}
	}
	return out.n == 0 ? NULL : buf_steal(&out);
}
