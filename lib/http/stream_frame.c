#include "lib/http/stream_frame.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

/* Smallest and largest payload of each type, and whether it belongs to a channel. */
static const struct shape {
	uint32_t min, max;
	bool has_channel;
} shapes[STREAM_TYPES] = {
	[STREAM_DATA] = { 1, STREAM_FRAME_MAX, true },
	[STREAM_END] = { 0, 0, true },
	[STREAM_WINDOW] = { 4, 4, true },
	[STREAM_ORDER] = { 2, STREAM_ORDER_MAX, false },
	[STREAM_READY] = { 0, 0, false },
	[STREAM_RESIZE] = { 4, 4, false },
	[STREAM_SIGNAL] = { 1, STREAM_SIGNAL_MAX, false },
	[STREAM_EXIT] = { 4, 4 + STREAM_SIGNAL_MAX, false },
	[STREAM_ERROR] = { 1, 1 + STREAM_TEXT_MAX, false },
	[STREAM_PING] = { 0, 0, false },
	[STREAM_PONG] = { 0, 0, false },
};

uint32_t
stream_frame_u32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return ntohl(v);
}

static bool
is_signal_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool is_upper = s.p[i] >= 'A' && s.p[i] <= 'Z';

		if (!is_upper && !(s.p[i] >= '0' && s.p[i] <= '9'))
			return false;
	}
	return true;
}

static bool
is_well_formed(const struct stream_frame *f)
{
	switch (f->type) {
	case STREAM_WINDOW:
		return stream_frame_u32(f->data.p) > 0 && stream_frame_u32(f->data.p) <= INT32_MAX;
	case STREAM_SIGNAL:
		return is_signal_name(f->data);
	case STREAM_EXIT:
		return is_signal_name((struct str){ f->data.p + 4, f->data.n - 4 });
	default:
		return true;
	}
}

enum stream_result
stream_frame_parse(const char *p, size_t n, struct stream_frame *out)
{
	unsigned type, channel;
	uint32_t length;

	if (n < STREAM_HEAD)
		return STREAM_MORE;
	type = (unsigned char)p[0];
	channel = (unsigned char)p[1];
	length = stream_frame_u32(p + 4);
	if (type >= STREAM_TYPES || p[2] != 0 || p[3] != 0 || channel >= STREAM_CHANNELS ||
	    (channel != 0 && !shapes[type].has_channel) || length < shapes[type].min ||
	    length > shapes[type].max)
		return STREAM_BAD;
	if (n - STREAM_HEAD < length)
		return STREAM_MORE;
	*out = (struct stream_frame){
		.type = (enum stream_type)type,
		.channel = (int)channel,
		.data = { p + STREAM_HEAD, length },
		.size = STREAM_HEAD + length,
	};
	return is_well_formed(out) ? STREAM_OK : STREAM_BAD;
}

void
stream_frame_add(struct buf *b, enum stream_type type, int channel, const void *p, size_t n)
{
	const char head[4] = { (char)type, (char)channel, 0, 0 };
	uint32_t length = htonl((uint32_t)n);

	assert(n >= shapes[type].min && n <= shapes[type].max);
	buf_add(b, head, sizeof head);
	buf_add(b, &length, sizeof length);
	if (n > 0)
		buf_add(b, p, n);
}

struct stream_size
stream_frame_size(const struct stream_frame *f)
{
	const unsigned char *p = (const unsigned char *)f->data.p;

	return (struct stream_size){
		.columns = p[0] << 8 | p[1],
		.rows = p[2] << 8 | p[3],
	};
}

void
stream_frame_error(const struct stream_frame *f, struct err *e)
{
	unsigned code = (unsigned char)f->data.p[0];

	if (code == ERR_NONE || code > ERR_BUG)
		code = ERR_BUG;
	(void)err_set(e, (enum err_code)code, NULL, "%.*s", (int)(f->data.n - 1), f->data.p + 1);
	e->sys = 0;
}
