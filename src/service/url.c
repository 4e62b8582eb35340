/* SPDX-License-Identifier: Apache-2.0
 *
 * url: taking URLs apart and resolving a reference against a base (RFC 3986 sections 3 and 5) for the schemes there are: service:/NAME?query, http, https. Pure.
 * A service: URL has no host and one path segment, so that no document can name a file outside the services folder: what climbs or descends is refused, not
 * straightened. A fragment is kept in the text (connection overrides live there) and never sent.
 */
#include "service/service.h"

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 3986 3.1; n of the scheme without the colon, 0 = there is none. */
static size_t scheme_n(struct str s)
{
	if (!s.n || !is_alpha(s.p[0]))
		return 0;
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == ':')
			return i;
		if (!is_alpha(s.p[i]) && !is_digit(s.p[i]) && s.p[i] != '+' && s.p[i] != '-' && s.p[i] != '.')
			return 0;
	}
	return 0;
}

static bool bytes_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

struct parts { /* RFC 3986 appendix B; p == NULL: not there */
	struct str scheme, authority, path, query, fragment;
};

static struct parts split(struct str s)
{
	struct parts p = {0};
	size_t n = scheme_n(s), i;

	if (n) {
		p.scheme = str_n(s.p, n);
		s = str_skip(s, n + 1);
	}
	s = str_cut(s, '#', &p.fragment);
	s = str_cut(s, '?', &p.query);
	if (str_starts(s, STR("//"))) {
		s = str_skip(s, 2);
		for (i = 0; i < s.n && s.p[i] != '/'; i++)
			;
		p.authority = str_n(s.p ? s.p : "", i);
		s = str_skip(s, i);
	}
	p.path = s;
	return p;
}

static int host_read(struct str a, struct url *u)
{
	struct str rest;
	uint64_t port;
	const char *at = str_find(a, '@');

	while (at) { /* user:password@ is the web's matter: it stays in the text */
		a = str_skip(a, (size_t)(at - a.p) + 1);
		at = str_find(a, '@');
	}
	if (a.n && a.p[0] == '[') {
		u->host = str_cut(str_skip(a, 1), ']', &rest);
		if (!rest.p || (rest.n && rest.p[0] != ':'))
			return -EINVAL;
		rest = str_skip(rest, 1);
	} else {
		u->host = str_cut(a, ':', &rest);
	}
	u->port = str_ieq(u->scheme, STR("https")) ? 443 : 80;
	if (!u->host.n)
		return -EINVAL;
	if (rest.n && (str_u64(rest, 65535, &port) < 0 || port == 0))
		return -EINVAL;
	if (rest.n)
		u->port = (uint16_t)port;
	return 0;
}

static int hex(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The one segment of a service: path, decoded. */
static int segment(struct str path, char *buf, size_t cap)
{
	size_t n = 0;

	if (path.n < 2 || path.p[0] != '/')
		return -EINVAL;
	for (size_t i = 1; i < path.n; i++) {
		int c = (unsigned char)path.p[i];

		if (c == '%') {
			if (i + 2 >= path.n || hex(path.p[i + 1]) < 0 || hex(path.p[i + 2]) < 0)
				return -EINVAL;
			c = hex(path.p[i + 1]) << 4 | hex(path.p[i + 2]);
			i += 2;
		}
		if (c == '/' || c < 0x20)
			return -EPERM;
		if (n + 1 >= cap)
			return -EINVAL;
		buf[n++] = (char)c;
	}
	buf[n] = 0;
	return buf[0] == '.' ? -EPERM : 0; /* dot files, "." and ".." */
}

int url_parse(struct str s, struct url *ret)
{
	struct parts p = split(s);
	struct url u = {.scheme = p.scheme, .path = p.path, .query = p.query, .fragment = p.fragment};
	char name[128];
	int r;

	if (!bytes_ok(s) || !p.scheme.n)
		return -EINVAL;
	if (str_ieq(p.scheme, STR("service"))) {
		if (p.authority.p)
			return -EINVAL;
		r = segment(p.path, name, sizeof(name));
	} else if (str_ieq(p.scheme, STR("http")) || str_ieq(p.scheme, STR("https"))) {
		r = host_read(p.authority, &u);
	} else {
		return -EPROTONOSUPPORT;
	}
	if (r == 0)
		*ret = u;
	return r;
}

int url_service(struct str url, char name[36], struct str *ret_query)
{
	struct url u;
	int r = url_parse(url, &u);

	if (r < 0 || !str_ieq(u.scheme, STR("service")))
		return -EINVAL;
	if (segment(u.path, name, 36) < 0)
		return -EINVAL;
	*ret_query = u.query;
	return 0;
}

void url_of_number(struct out *o, const struct number *num)
{
	OUT_STR(o, "service:/");
	for (const char *p = num->name; *p; p++) {
		if (*p == '#')
			OUT_STR(o, "%23");
		else
			out_c(o, *p);
	}
}

/* RFC 3986 5.2.4 on the out buffer: path holds what is to be cleaned, the result is written behind what stands in o. */
static void dots_drop(struct out *o, struct str path)
{
	size_t base = o->n;

	while (path.n) {
		struct str seg;
		size_t n = 1;

		for (; n < path.n && path.p[n] != '/'; n++)
			;
		seg = path.p[0] == '/' ? str_n(path.p + 1, n - 1) : str_n(path.p, n);
		if (str_eq(seg, STR(".")) || str_eq(seg, STR(".."))) {
			if (seg.n == 2) {
				while (o->n > base && o->p[o->n - 1] != '/')
					o->n--;
				if (o->n > base)
					o->n--;
			}
			if (n == path.n)
				out_c(o, '/');
		} else {
			out_str(o, str_n(path.p, n));
		}
		path = str_skip(path, n);
	}
}

static bool climbs(struct str path)
{
	for (struct str rest = path; rest.n;) {
		struct str seg = str_cut(rest, '/', &rest);

		if (str_eq(seg, STR("..")))
			return true;
	}
	return false;
}

/* RFC 3986 5.2.3: the base's path up to its last slash, then the reference. */
static int merge(const struct parts *base, struct str ref, char *buf, size_t cap, struct str *ret)
{
	struct out o = {.p = buf, .cap = cap};
	size_t n = base->path.n;

	while (n && base->path.p[n - 1] != '/')
		n--;
	if (!n)
		out_c(&o, '/');
	out_str(&o, str_n(base->path.p, n));
	out_str(&o, ref);
	*ret = out_view(&o);
	return o.over ? -ENOSPC : 0;
}

static void print_parts(struct out *o, const struct parts *p)
{
	out_str(o, p->scheme);
	out_c(o, ':');
	if (p->authority.p) {
		OUT_STR(o, "//");
		out_str(o, p->authority);
	}
	dots_drop(o, p->path);
	if (p->query.p) {
		out_c(o, '?');
		out_str(o, p->query);
	}
	if (p->fragment.p) {
		out_c(o, '#');
		out_str(o, p->fragment);
	}
}

/* RFC 3986 5.2.2. */
static int transform(const struct parts *b, struct parts *r, char *room, size_t cap)
{
	if (r->scheme.p)
		return 0;
	r->scheme = b->scheme;
	if (r->authority.p)
		return 0;
	r->authority = b->authority;
	if (!r->path.n) {
		r->path = b->path;
		if (!r->query.p)
			r->query = b->query;
		return 0;
	}
	if (r->path.p[0] == '/')
		return 0;
	return merge(b, r->path, room, cap, &r->path);
}

int url_resolve(struct str base, struct str ref, char *buf, size_t cap, size_t *ret_n)
{
	char room[2048];
	struct parts b, r;
	struct url u;
	struct out o = {.p = buf, .cap = cap};
	int err;

	ref = str_trim(ref);
	if (!bytes_ok(ref))
		return -EINVAL;
	b = split(base);
	r = split(ref);
	if (!r.scheme.p && !b.scheme.n)
		return -EINVAL;
	if (str_ieq(r.scheme.p ? r.scheme : b.scheme, STR("service")) && climbs(r.path))
		return -EPERM;
	err = transform(&b, &r, room, sizeof(room));
	if (err < 0)
		return err;
	print_parts(&o, &r);
	if (o.over)
		return -ENOSPC;
	err = url_parse(out_view(&o), &u);
	if (err == 0)
		*ret_n = o.n;
	return err;
}

/* ---- of the web ---- */

bool url_is_web(struct str url)
{
	struct url u;

	return url_parse(url, &u) == 0 && !str_ieq(u.scheme, STR("service"));
}

bool url_same_origin(struct str a, struct str b)
{
	struct url x, y;

	if (!url_is_web(a) || !url_is_web(b) || url_parse(a, &x) < 0 || url_parse(b, &y) < 0)
		return false;
	return str_ieq(x.scheme, y.scheme) && str_ieq(x.host, y.host) && x.port == y.port;
}

/* user:password@ stands before the last @ of the authority, as host_read has it. */
void url_bare(struct out *o, struct str url)
{
	struct parts p = split(url);
	const char *at;

	while (p.authority.n && (at = str_find(p.authority, '@')))
		p.authority = str_skip(p.authority, (size_t)(at - p.authority.p) + 1);
	if (p.scheme.n) {
		out_str(o, p.scheme);
		out_c(o, ':');
	}
	if (p.authority.p) {
		OUT_STR(o, "//");
		out_str(o, p.authority);
	}
	out_str(o, p.path);
	if (p.query.p) {
		out_c(o, '?');
		out_str(o, p.query);
	}
}
