#include "node/stack_layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

struct layout_link {
	const char *link, *target;
};

static int
make_dirs(int at, const char *const *dirs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (mkdirat(at, dirs[i], 0755) < 0 && errno != EEXIST)
			return err_set(e, ERR_SYSTEM, NULL, "make the stack's %s", dirs[i]);
	}
	return 0;
}

/* A link that is there already stays, whoever made it. */
static int
make_link(int at, const char *target, const char *link, struct err *e)
{
	if (symlinkat(target, at, link) < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "link the stack's %s", link);
	return 0;
}

static int
make_links(int at, const struct layout_link *links, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (file_exists(links[i].target) &&
		    make_link(at, links[i].target, links[i].link, e) < 0)
			return -1;
	}
	return 0;
}

static int
make_texts(int at, const struct layout_link *texts, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int fd = openat(at, texts[i].link, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		int rc = 0;

		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return err_set(e, ERR_SYSTEM, NULL, "write the stack's %s", texts[i].link);
		rc = file_write_all(fd, texts[i].target, strlen(texts[i].target), e);
		file_close(fd);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* Links in the directory to of at to all that from holds; skip is left out. */
static int
mirror(int at, const char *to, const char *from, const char *skip, struct err *e)
{
	DIR *d = opendir(from);
	struct dirent *de;
	int rc = 0;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "read %s", from);
	while (rc == 0 && (de = readdir(d)) != NULL) {
		AUTO(free) char *target = xasprintf("%s/%s", from, de->d_name);
		AUTO(free) char *link = xasprintf("%s/%s", to, de->d_name);

		if (de->d_name[0] != '.' && strcmp(de->d_name, skip) != 0)
			rc = make_link(at, target, link, e);
	}
	closedir(d);
	return rc;
}

/* The Java that the machine's owner has chosen, with a java that bears options of Java 6. */
static int
make_jdk(int etc, struct err *e)
{
	static const char *const dirs[] = { "openshift/jdk", "openshift/jdk/bin" };
	static const struct layout_link links[] = {
		{ "alternatives/java_sdk_1.6.0", "/etc/openshift/jdk" },
		{ "alternatives/java_sdk_1.7.0", "/etc/openshift/jdk" },
		{ "alternatives/java_sdk_1.8.0", "/etc/openshift/jdk" },
		{ "alternatives/java_sdk", "/etc/openshift/jdk" },
		{ "alternatives/jre", "/etc/openshift/jdk" },
	};
	AUTO(free) char *java = realpath("/usr/bin/javac", NULL);
	AUTO(free) char *bin = NULL;
	char *end;

	if (java == NULL)
		java = realpath("/usr/bin/java", NULL);
	if (java == NULL || (end = strstr(java, "/bin/java")) == NULL)
		return 0;
	*end = '\0';
	bin = file_join(java, "bin");
	if (make_dirs(etc, dirs, ARRAY_LEN(dirs), e) < 0 ||
	    mirror(etc, "openshift/jdk", java, "bin", e) < 0 ||
	    mirror(etc, "openshift/jdk/bin", bin, "java", e) < 0 ||
	    make_link(etc, "/usr/lib/pinion/java", "openshift/jdk/bin/java", e) < 0 ||
	    make_link(etc, java, "openshift/jdk/real", e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		if (make_link(etc, links[i].target, links[i].link, e) < 0)
			return -1;
	}
	return 0;
}

/* Debian's package has Tomcat's jars, not its tree; applications of v2 speak the servlets of javax,
 * which Tomcat 10 no longer knows. */
static int
make_tomcat(int etc, struct err *e)
{
	static const char *const dirs[] = { "openshift/tomcat", "openshift/tomcat/bin",
		"openshift/tomcat/lib" };
#define JAR "/usr/share/java/tomcat9-"
#define LIB "openshift/tomcat/lib/"
	static const struct layout_link links[] = {
		{ "openshift/tomcat/bin/bootstrap.jar", JAR "catalina.jar" },
		{ "openshift/tomcat/bin/tomcat-juli.jar", JAR "juli.jar" },
		{ "openshift/tomcat/bin/commons-daemon.jar", "/usr/share/java/commons-daemon.jar" },
		{ LIB "annotations-api.jar", JAR "annotations-api.jar" },
		{ LIB "catalina.jar", JAR "catalina.jar" },
		{ LIB "catalina-ant.jar", JAR "catalina-ant.jar" },
		{ LIB "catalina-ha.jar", JAR "catalina-ha.jar" },
		{ LIB "catalina-storeconfig.jar", JAR "storeconfig.jar" },
		{ LIB "catalina-tribes.jar", JAR "tribes.jar" },
		{ LIB "ecj-debian.jar", "/usr/share/java/eclipse-jdt-core.jar" },
		{ LIB "el-api.jar", JAR "el-api.jar" },
		{ LIB "jasper.jar", JAR "jasper.jar" },
		{ LIB "jasper-el.jar", JAR "jasper-el.jar" },
		{ LIB "jaspic-api.jar", JAR "jaspic-api.jar" },
		{ LIB "jsp-api.jar", JAR "jsp-api.jar" },
		{ LIB "servlet-api.jar", JAR "servlet-api.jar" },
		{ LIB "tomcat-api.jar", JAR "api.jar" },
		{ LIB "tomcat-coyote.jar", JAR "coyote.jar" },
		{ LIB "tomcat-dbcp.jar", JAR "dbcp.jar" },
		{ LIB "tomcat-jdbc.jar", JAR "jdbc.jar" },
		{ LIB "tomcat-jni.jar", JAR "jni.jar" },
		{ LIB "tomcat-util.jar", JAR "util.jar" },
		{ LIB "tomcat-util-scan.jar", JAR "util-scan.jar" },
		{ LIB "tomcat-websocket.jar", JAR "websocket.jar" },
		{ LIB "websocket-api.jar", JAR "websocket-api.jar" },
	};
#undef JAR
#undef LIB
	static const struct layout_link ten[] = {
		{ "alternatives/jbossews-1.0", "/usr/share/tomcat10" },
		{ "alternatives/jbossews-2.0", "/usr/share/tomcat10" },
	};

	if (!file_exists(links[0].target))
		return make_links(etc, ten, ARRAY_LEN(ten), e);
	if (make_dirs(etc, dirs, ARRAY_LEN(dirs), e) < 0 ||
	    make_links(etc, links, ARRAY_LEN(links), e) < 0 ||
	    make_link(etc, "/etc/openshift/tomcat", "alternatives/jbossews-1.0", e) < 0)
		return -1;
	return make_link(etc, "/etc/openshift/tomcat", "alternatives/jbossews-2.0", e);
}

int
stack_layout_etc(int etc, struct err *e)
{
	static const char *const dirs[] = { "openshift", "openshift/env", "openshift/cart.conf.d",
		"alternatives", "httpd", "httpd/conf", "httpd/conf.d", "httpd/conf.modules.d" };
	static const struct layout_link texts[] = {
		{ "openshift/node.conf",
		    "GEAR_BASE_DIR=\"/var/lib/openshift\"\nGEAR_SHELL=\"/bin/bash\"\n"
		    "CARTRIDGE_BASE_PATH=\"/usr/libexec/openshift/cartridges\"\n" },
		{ "redhat-release", "Debian GNU/Linux release 12\n" },
		{ "httpd/conf/magic", "# Apache's table of magic numbers: empty, names tell\n" },
		{ "httpd/conf.modules.d/00-mpm.conf",
		    "LoadModule mpm_prefork_module "
		    "/usr/lib64/httpd/modules/mod_mpm_prefork.so\n" },
	};
	static const struct layout_link links[] = {
		{ "alternatives/maven-3.0", "/usr/share/maven" },
		{ "httpd/modules", "/usr/lib/apache2/modules" },
		{ "php.d", "/etc/php/8.2/mods-available" },
	};

	if (make_dirs(etc, dirs, ARRAY_LEN(dirs), e) < 0 ||
	    make_texts(etc, texts, ARRAY_LEN(texts), e) < 0 ||
	    make_links(etc, links, ARRAY_LEN(links), e) < 0 || make_jdk(etc, e) < 0)
		return -1;
	return make_tomcat(etc, e);
}

/* Nothing is taken away: containers that run have what is there. */
int
stack_layout_usr(const char *dir, struct err *e)
{
	static const char *const dirs[] = { "lib", "lib/pinion", "lib64", "lib64/httpd", "sbin",
		"share" };
	static const struct layout_link links[] = {
		{ "lib/node", "/usr/share/nodejs" },
		{ "lib/pinion/httpd", "/usr/sbin/apache2" },
		{ "lib/pinion/mysqld_safe", "/usr/bin/mariadbd-safe" },
		{ "lib64/httpd/modules", "/usr/lib/apache2/modules" },
		{ "sbin/lsof", "/usr/bin/lsof" },
		{ "sbin/rotatelogs", "/usr/bin/rotatelogs" },
		{ "share/phpMyAdmin", "/usr/share/phpmyadmin" },
	};
	int at, rc;

	if (file_mkdirs(dir, 0755, e) < 0)
		return -1;
	at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", dir);
	rc = make_dirs(at, dirs, ARRAY_LEN(dirs), e);
	if (rc == 0)
		rc = make_links(at, links, ARRAY_LEN(links), e);
	file_close(at);
	return rc;
}
