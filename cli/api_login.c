#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

enum { LOGIN_FILE_MAX = 64 * 1024 };

static const struct codec_field login_fields[] = {
	CODEC_STR(struct api_login, url, 2048, CODEC_REQUIRED),
	CODEC_STR(struct api_login, user, 256, 0),
	CODEC_STR(struct api_login, token, 512, CODEC_REQUIRED | CODEC_SECRET),
	CODEC_END,
};
DEFINE_CODEC(api_login, struct api_login, login_fields)

static char *
config_dir(void)
{
	const char *xdg = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");

	if (xdg != NULL && xdg[0] == '/')
		return xasprintf("%s/pinion", xdg);
	return xasprintf("%s/.config/pinion", home == NULL ? "/root" : home);
}

int
api_login_load(struct api_login *out, struct err *e)
{
	AUTO(free) char *dir = config_dir();
	AUTO(free) char *path = file_join(dir, "login.json");
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	const char *url = getenv("PINION_URL");
	const char *token = getenv("PINION_TOKEN");

	if (url != NULL && token != NULL) {
		out->url = xstrdup(url);
		out->token = xstrdup(token);
		return 0;
	}
	if (!file_exists(path))
		return err_set(e, ERR_UNAUTHENTICATED, NULL, "not logged in: pinion login URL");
	if (file_read(path, LOGIN_FILE_MAX, &b, e) < 0)
		return -1;
	if (codec_decode(&api_login_codec, b.p, b.n, out, CODEC_IGNORE, e) < 0)
		return err_wrap(e, "%s", path);
	return 0;
}

int
api_login_save(const struct api_login *login, struct err *e)
{
	AUTO(free) char *dir = config_dir();
	AUTO(free) char *path = file_join(dir, "login.json");
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	codec_encode(&api_login_codec, login, &b);
	if (file_mkdirs(dir, 0700, e) < 0)
		return -1;
	return file_replace(path, b.p, b.n, 0600, e);
}

int
api_login_forget(struct err *e)
{
	AUTO(free) char *dir = config_dir();
	AUTO(free) char *path = file_join(dir, "login.json");

	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "cannot remove %s", path);
	return 0;
}

const char *
api_login_ca_file(void)
{
	const char *file = getenv("SSL_CERT_FILE");

	return file == NULL || *file == '\0' ? NULL : file;
}
