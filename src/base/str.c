/* SPDX-License-Identifier: Apache-2.0
 *
 * str: views on bytes. Pure functions for any thread; nothing here writes to what a view shows, and a view of no bytes may have p == NULL.
 * ASCII only where case is folded (RFC 3261 7.3.1: tokens are case-insensitive, and they are ASCII); UTF-8 is judged by RFC 3629.
 */
#include <string.h>

#include "base/base.h"

static unsigned char fold(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? u + 32 : u;
}

bool str_ieq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (fold(a.p[i]) != fold(b.p[i]))
			return false;
	return true;
}

bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

bool str_istarts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_ieq(str_n(s.p, prefix.n), prefix);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	while (s.n && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	return s;
}

struct str str_skip(struct str s, size_t n)
{
	n = MIN(n, s.n);
	if (n) {
		s.p += n;
		s.n -= n;
	}
	return s;
}

const char *str_find(struct str s, char c)
{
	return s.n ? memchr(s.p, c, s.n) : NULL;
}

struct str str_cut(struct str s, char sep, struct str *rest)
{
	const char *at = str_find(s, sep);

	if (!at) {
		*rest = STR_NONE;
		return s;
	}
	*rest = str_skip(s, (size_t)(at - s.p) + 1);
	return str_n(s.p, (size_t)(at - s.p));
}

int str_u64(struct str s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	bool big = false;

	if (s.n < 1 || s.n > 20)
		return -EBADMSG;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - (unsigned)'0';

		if (d > 9)
			return -EBADMSG;
		big = big || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v);
	}
	if (big || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int str_zcpy(struct str s, char *buf, size_t cap)
{
	if (s.n >= cap)
		return -ENOSPC;
	if (str_find(s, 0))
		return -EBADMSG;
	if (s.n)
		memcpy(buf, s.p, s.n);
	buf[s.n] = 0;
	return 0;
}

size_t str_utf8(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned lo = 0x80, hi = 0xbf;
	size_t n;

	if (!s.n)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (s.n < n)
		return 0;
	/* the second byte rules out overlong forms, surrogates and what lies above U+10FFFF */
	lo = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : lo;
	hi = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : hi;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}
