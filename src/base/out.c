/* SPDX-License-Identifier: Apache-2.0
 *
 * out: the bounded writer. A piece that does not fit is cut and `over` latched; from then on nothing more is written, so that what stands there is
 * always a prefix of what was meant. Any thread, one writer at a time. Knows the escapes of forms (WHATWG application/x-www-form-urlencoded), JSON
 * (RFC 8259 section 7) and of terminals; knows nothing of SIP.
 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const char hex_lower[] = "0123456789abcdef", hex_upper[] = "0123456789ABCDEF";

void out_str(struct out *o, struct str s)
{
	size_t n = s.n;

	if (o->over)
		return;
	if (n > o->cap - o->n) {
		n = o->cap - o->n;
		o->over = true;
	}
	if (n) {
		memcpy(o->p + o->n, s.p, n);
		o->n += n;
	}
}

void out_c(struct out *o, char c)
{
	if (o->over || o->n == o->cap)
		o->over = true;
	else
		o->p[o->n++] = c;
}

void out_u64(struct out *o, uint64_t v)
{
	char b[20];
	size_t at = sizeof(b);

	do
		b[--at] = (char)('0' + v % 10);
	while (v /= 10);
	out_str(o, str_n(b + at, sizeof(b) - at));
}

void out_hex(struct out *o, const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		out_str(o, str_n((char[]){hex_lower[b[i] >> 4], hex_lower[b[i] & 15]}, 2));
}

void out_f(struct out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	out_vf(o, fmt, ap);
	va_end(ap);
}

void out_vf(struct out *o, const char *fmt, va_list ap)
{
	size_t room = o->cap - o->n;
	char tail[512];
	va_list again;
	int n;

	if (o->over)
		return;
	va_copy(again, ap);
	n = vsnprintf(room ? o->p + o->n : NULL, room, fmt, ap);
	if (n >= 0 && (size_t)n < room) {
		o->n += (size_t)n;
	} else if (n >= 0 && (size_t)n < sizeof(tail)) {
		/* vsnprintf spent the last byte on its NUL: once more, so that a text that just fits is not cut */
		vsnprintf(tail, sizeof(tail), fmt, again);
		out_str(o, str_n(tail, (size_t)n));
	} else {
		if (n >= 0 && room)
			o->n = o->cap - 1;
		o->over = true;
	}
	va_end(again);
}

void out_url(struct out *o, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_' || c == '*')
			out_c(o, (char)c);
		else if (c == ' ')
			out_c(o, '+');
		else
			out_str(o, str_n((char[]){'%', hex_upper[c >> 4], hex_upper[c & 15]}, 3));
	}
}

static void json_ascii(struct out *o, unsigned char c)
{
	static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (size_t i = 0; i + 1 < sizeof(named); i += 2)
		if ((unsigned char)named[i] == c) {
			out_str(o, str_n((char[]){'\\', named[i + 1]}, 2));
			return;
		}
	if (c < 0x20 || c == 0x7f)
		out_str(o, str_n((char[]){'\\', 'u', '0', '0', hex_lower[c >> 4], hex_lower[c & 15]}, 6));
	else
		out_c(o, (char)c);
}

void out_json(struct out *o, struct str s)
{
	while (s.n) {
		size_t n = str_utf8(s);

		if (n == 0)
			OUT_STR(o, "\xef\xbf\xbd"); /* U+FFFD */
		else if (n == 1)
			json_ascii(o, (unsigned char)s.p[0]);
		else
			out_str(o, str_n(s.p, n));
		s = str_skip(s, n ? n : 1);
	}
}

void out_safe(struct out *o, struct str s)
{
	while (s.n) {
		size_t n = str_utf8(s);
		unsigned char c = (unsigned char)s.p[0];
		/* U+0080 … U+009F are control characters too, and terminals obey some of them */
		bool c1 = n == 2 && c == 0xc2 && (unsigned char)s.p[1] < 0xa0;

		if (n == 0 || c1 || (n == 1 && (c < 0x20 || c == 0x7f))) {
			out_str(o, str_n((char[]){'\\', 'x', hex_lower[c >> 4], hex_lower[c & 15]}, 4));
			n = 1;
		} else {
			out_str(o, str_n(s.p, n));
		}
		s = str_skip(s, n);
	}
}

const char *out_z(struct out *o)
{
	if (!o->cap)
		return "";
	if (o->n == o->cap) {
		o->n--;
		o->over = true;
	}
	o->p[o->n] = 0;
	return o->p;
}
