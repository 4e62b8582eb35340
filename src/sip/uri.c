/* SPDX-License-Identifier: Apache-2.0
 *
 * uri: sip:, sips: and tel: (RFC 3261 section 19.1, RFC 3966). Views only; escapes stay as written until sip_user_decode. The host keeps the brackets of an
 * IPv6 address. Names are not looked up here.
 */
#include "sip/sip_int.h"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* No control byte, no white space, no bracket or quote, and each % leads two hex digits. */
static bool is_sound(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= 0x20 || c == 0x7f || c == '<' || c == '>' || c == '"')
			return false;
		if (c == '%' && (i + 2 >= s.n || hex_value(s.p[i + 1]) < 0 || hex_value(s.p[i + 2]) < 0))
			return false;
	}
	return true;
}

static bool is_host(struct str h)
{
	if (!h.n)
		return false;
	if (h.p[0] == '[') {
		struct addr a;

		return h.n > 2 && h.p[h.n - 1] == ']' && addr_parse(str_n(h.p + 1, h.n - 2), &a) == 0 && a.family != 0;
	}
	for (size_t i = 0; i < h.n; i++)
		if (!is_alnum(h.p[i]) && h.p[i] != '-' && h.p[i] != '.' && h.p[i] != '_')
			return false;
	return h.p[0] != '.' && h.p[0] != '-';
}

/* host [":" port], all of it. */
static int take_hostport(struct str s, struct sip_uri *u)
{
	size_t n = 0;
	uint64_t port;

	if (s.n && s.p[0] == '[') {
		while (n < s.n && s.p[n] != ']')
			n++;
		n = MIN(n + 1, s.n);
	} else {
		while (n < s.n && s.p[n] != ':')
			n++;
	}
	u->host = str_n(s.p, n);
	if (!is_host(u->host))
		return -EBADMSG;
	s = str_skip(s, n);
	if (!s.n)
		return 0;
	if (s.p[0] != ':' || str_u64(str_skip(s, 1), 65535, &port) || port == 0)
		return -EBADMSG;
	u->port = (uint16_t)port;
	return 0;
}

static int parse_sip(struct str rest, struct sip_uri *u)
{
	const char *at = str_find(rest, '@');
	size_t n = 0;

	if (at) { /* the user part may hold ? ; / , and is ended by the first @ (RFC 4475 section 3.1.1.2) */
		struct str info = str_n(rest.p, (size_t)(at - rest.p));

		rest = str_skip(rest, info.n + 1);
		u->user = str_cut(info, ':', &u->password);
		if (!u->user.n)
			return -EBADMSG;
	}
	while (n < rest.n && rest.p[n] != ';' && rest.p[n] != '?')
		n++;
	if (take_hostport(str_n(rest.p, n), u))
		return -EBADMSG;
	rest = str_skip(rest, n);
	if (rest.n && rest.p[0] == ';') {
		const char *q = str_find(rest, '?');

		n = q ? (size_t)(q - rest.p) : rest.n;
		u->params = str_n(rest.p + 1, n - 1);
		rest = str_skip(rest, n);
	}
	if (rest.n)
		u->headers = str_skip(rest, 1);
	return 0;
}

/* RFC 3966: digits with visual separators, + in front of a global number; * and # in local ones. */
static int parse_tel(struct str rest, struct sip_uri *u)
{
	u->user = str_cut(rest, ';', &u->params);
	for (size_t i = 0; i < u->user.n; i++) {
		char c = u->user.p[i];

		if (!is_alnum(c) && c != '-' && c != '.' && c != '(' && c != ')' && c != '*' && c != '#' && c != '%' && !(c == '+' && i == 0))
			return -EBADMSG;
	}
	return u->user.n ? 0 : -EBADMSG;
}

static bool is_scheme(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '+' && s.p[i] != '-' && s.p[i] != '.')
			return false;
	return s.n > 0;
}

int sip_uri_parse(struct str in, struct sip_uri *ret)
{
	struct sip_uri u = {0};
	struct str rest = STR_NONE;
	int err;

	u.scheme = str_cut(in, ':', &rest);
	if (!rest.p || !is_scheme(u.scheme))
		return -EBADMSG;
	if (str_ieq(u.scheme, STR("sip")) || str_ieq(u.scheme, STR("sips")))
		err = is_sound(rest) ? parse_sip(rest, &u) : -EBADMSG;
	else if (str_ieq(u.scheme, STR("tel")))
		err = is_sound(rest) ? parse_tel(rest, &u) : -EBADMSG;
	else
		err = -EPROTONOSUPPORT;
	if (!err)
		*ret = u;
	return err;
}

int sip_uri_host(const struct sip_uri *u, struct addr *ret)
{
	struct str host = u->host;
	struct addr a;

	if (host.n > 2 && host.p[0] == '[')
		host = str_n(host.p + 1, host.n - 2);
	if (!host.n || addr_parse(host, &a))
		return -EINVAL;
	a.port = u->port ? u->port : str_ieq(u->scheme, STR("sips")) ? 5061 : 5060;
	*ret = a;
	return 0;
}

int sip_user_decode(struct str user, char *buf, size_t cap, size_t *ret_n)
{
	size_t n = 0;

	for (size_t i = 0; i < user.n && user.p[i] != ';' && user.p[i] != ':'; i++) {
		char c = user.p[i];

		if (c == '%') {
			if (i + 2 >= user.n || hex_value(user.p[i + 1]) < 0 || hex_value(user.p[i + 2]) < 0)
				return -EBADMSG;
			c = (char)(hex_value(user.p[i + 1]) << 4 | hex_value(user.p[i + 2]));
			i += 2;
		}
		if (c == '\0')
			return -EBADMSG;
		if (n >= cap)
			return -ENOSPC;
		buf[n++] = c;
	}
	*ret_n = n;
	return 0;
}
