#include "lib/http/http_body.h"

#include <string.h>

enum { CHUNK_LINE_MAX = 1024 };

/* States of the chunk parser: what the next byte belongs to. */
enum {
	CHUNK_FIRST_DIGIT,
	CHUNK_DIGITS,
	CHUNK_BLANKS, /* between size and extension, or line end */
	CHUNK_EXTENSION,
	CHUNK_LINE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	TRAILER_LAST_LF,
	CHUNK_END,
	CHUNK_BAD, /* and more: the state in which it went wrong */
};

void
http_body_init(struct http_body *b, const struct http_head *h)
{
	*b = (struct http_body){ .framing = h->framing };
	if (h->framing == HTTP_BODY_LENGTH)
		b->left = h->length;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
is_text(char c)
{
	return ((unsigned char)c >= 0x20 && c != 0x7f) || c == '\t';
}

static bool
is_name(char c)
{
	return (unsigned char)c > 0x20 && (unsigned char)c < 0x7f &&
	       strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;
}

static int
after_digit(struct http_body *b, char c)
{
	int d = hex_digit(c);

	if (d >= 0) {
		if (b->left > INT64_MAX >> 4)
			return CHUNK_BAD;
		b->left = b->left << 4 | d;
		return CHUNK_DIGITS;
	}
	if (b->state == CHUNK_FIRST_DIGIT)
		return CHUNK_BAD;
	if (c == '\r')
		return CHUNK_LINE_LF;
	if (c == ';')
		return CHUNK_EXTENSION;
	return c == ' ' || c == '\t' ? CHUNK_BLANKS : CHUNK_BAD;
}

static int
after_blank(char c)
{
	if (c == '\r')
		return CHUNK_LINE_LF;
	if (c == ';')
		return CHUNK_EXTENSION;
	return c == ' ' || c == '\t' ? CHUNK_BLANKS : CHUNK_BAD;
}

static int
after_line(struct http_body *b, char c)
{
	b->line = 0;
	if (c != '\n')
		return CHUNK_BAD;
	return b->left == 0 ? TRAILER_START : CHUNK_DATA;
}

static int
in_trailer(int state, char c)
{
	switch (state) {
	case TRAILER_START:
		if (c == '\r')
			return TRAILER_LAST_LF;
		return is_name(c) ? TRAILER_NAME : CHUNK_BAD;
	case TRAILER_NAME:
		if (c == ':')
			return TRAILER_VALUE;
		return is_name(c) ? TRAILER_NAME : CHUNK_BAD;
	case TRAILER_VALUE:
		if (c == '\r')
			return TRAILER_LF;
		return is_text(c) ? TRAILER_VALUE : CHUNK_BAD;
	case TRAILER_LF:
		return c == '\n' ? TRAILER_START : CHUNK_BAD;
	default: /* TRAILER_LAST_LF */
		return c == '\n' ? CHUNK_END : CHUNK_BAD;
	}
}

/* The state after one byte that is not data. */
static int
after_byte(struct http_body *b, char c)
{
	size_t max = b->state >= TRAILER_START ? HTTP_BODY_TRAILERS_MAX : CHUNK_LINE_MAX;

	if (++b->line > max)
		return CHUNK_BAD;
	switch (b->state) {
	case CHUNK_FIRST_DIGIT:
	case CHUNK_DIGITS:
		return after_digit(b, c);
	case CHUNK_BLANKS:
		return after_blank(c);
	case CHUNK_EXTENSION:
		if (c == '\r')
			return CHUNK_LINE_LF;
		return is_text(c) ? CHUNK_EXTENSION : CHUNK_BAD;
	case CHUNK_LINE_LF:
		return after_line(b, c);
	case CHUNK_DATA_CR:
		return c == '\r' ? CHUNK_DATA_LF : CHUNK_BAD;
	case CHUNK_DATA_LF:
		b->line = 0;
		return c == '\n' ? CHUNK_FIRST_DIGIT : CHUNK_BAD;
	default:
		if (b->trailers != NULL)
			buf_addc(b->trailers, c);
		return in_trailer(b->state, c);
	}
}

static enum http_body_result
next_chunked(struct http_body *b, const char *p, size_t n, size_t *used, struct str *out)
{
	size_t i = 0;

	while (i < n && b->state < CHUNK_END) {
		if (b->state == CHUNK_DATA) {
			size_t take = n - i;

			if ((uint64_t)take > (uint64_t)b->left)
				take = (size_t)b->left;
			*out = (struct str){ p + i, take };
			i += take;
			b->left -= (int64_t)take;
			if (b->left == 0)
				b->state = CHUNK_DATA_CR;
			break;
		}
		int state = after_byte(b, p[i]);

		b->state = state == CHUNK_BAD ? CHUNK_BAD + b->state : state;
		i++;
	}
	*used = i;
	if (b->state >= CHUNK_BAD)
		return HTTP_BODY_BAD;
	return b->state == CHUNK_END ? HTTP_BODY_DONE : HTTP_BODY_MORE;
}

enum http_body_result
http_body_next(struct http_body *b, const char *p, size_t n, size_t *used, struct str *out)
{
	*used = 0;
	*out = (struct str){ 0 };
	switch (b->framing) {
	case HTTP_BODY_LENGTH:
		if ((uint64_t)n > (uint64_t)b->left)
			n = (size_t)b->left;
		*used = n;
		*out = (struct str){ p, n };
		b->left -= (int64_t)n;
		return b->left == 0 ? HTTP_BODY_DONE : HTTP_BODY_MORE;
	case HTTP_BODY_CHUNKED:
		return next_chunked(b, p, n, used, out);
	case HTTP_BODY_UNTIL_CLOSE:
		*used = n;
		*out = (struct str){ p, n };
		return HTTP_BODY_MORE;
	default:
		return HTTP_BODY_DONE;
	}
}

const char *
http_body_why(const struct http_body *b)
{
	switch (b->state - CHUNK_BAD) {
	case CHUNK_FIRST_DIGIT:
	case CHUNK_DIGITS:
	case CHUNK_BLANKS:
		return "The size of a chunk is not a hexadecimal number that fits.";
	case CHUNK_EXTENSION:
		return "The extension of a chunk is too long or has a control character.";
	case CHUNK_LINE_LF:
		return "The line of a chunk's size does not end in CR LF.";
	case CHUNK_DATA_CR:
	case CHUNK_DATA_LF:
		return "A chunk does not end where its size says.";
	default:
		return "The trailer of a chunked body is malformed or larger than 8 KiB.";
	}
}
