/* SPDX-License-Identifier: Apache-2.0
 *
 * jar: what a call keeps between its requests, as one opaque text: cookies (RFC 6265) as lines of Netscape's cookie file, which is what libcurl reads and writes, and lines of our own
 * with the credentials that a URL brought and the scheme the origin asked for: "#auth <TAB> origin <TAB> kind <TAB> user <TAB> password", percent-encoded. Pure, any thread.
 * Which cookie goes where is libcurl's business; credentials go to the origin they were named for and nowhere else.
 */
#include "web/inside.h"

static const struct str mark = {"#auth\t", 6};

bool jar_cookie_next(struct jar_lines *l, struct str *ret_line)
{
	while (l->rest.p) {
		struct str line = str_cut(l->rest, '\n', &l->rest);
		unsigned tabs = 0;
		for (size_t i = 0; i < line.n; i++)
			tabs += line.p[i] == '\t';
		/* seven fields: anything else could be one of libcurl's commands (ALL, FLUSH …) */
		if (tabs != 6 || str_starts(line, mark) || str_find(line, '\0') || str_find(line, '\r'))
			continue;
		*ret_line = line;
		return true;
	}
	return false;
}

static int hex_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static int undo(struct str s, char *to, size_t cap)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n && n + 1 < cap; i++) {
		int hi = s.p[i] == '%' && s.n - i > 2 ? hex_of(s.p[i + 1]) : -1;
		int lo = hi >= 0 ? hex_of(s.p[i + 2]) : -1;
		to[n++] = lo >= 0 ? (char)(hi << 4 | lo) : s.p[i] == '+' ? ' ' : s.p[i];
		i += lo >= 0 ? 2 : 0;
		if (!to[n - 1] || (i + 1 < s.n && n + 1 >= cap))
			return -EBADMSG;
	}
	to[n] = 0;
	return 0;
}

static bool cred_read(struct str line, struct cred *c)
{
	struct str kind, user, pass, rest, origin = str_cut(str_skip(line, mark.n), '\t', &rest);
	uint64_t k;
	kind = str_cut(rest, '\t', &rest);
	user = str_cut(rest, '\t', &pass);
	if (!pass.p || str_u64(kind, CRED_DIGEST, &k) || str_zcpy(origin, c->origin, sizeof(c->origin)))
		return false;
	c->kind = (enum cred_kind)k;
	return undo(user, c->user, sizeof(c->user)) == 0 && undo(pass, c->pass, sizeof(c->pass)) == 0;
}

void jar_read(struct jar *j, struct str text)
{
	j->n_creds = 0;
	for (struct str rest = text; rest.p && j->n_creds < CRED_MAX;) {
		struct str line = str_cut(rest, '\n', &rest);
		if (str_starts(line, mark))
			j->n_creds += cred_read(line, &j->creds[j->n_creds]);
	}
}

struct cred *jar_cred(struct jar *j, const char *origin)
{
	for (int i = 0; i < j->n_creds; i++)
		if (str_eq(str_z(j->creds[i].origin), str_z(origin)))
			return &j->creds[i];
	return NULL;
}

int jar_remember(struct jar *j, const char *origin, const char *user, const char *pass)
{
	struct cred *c = jar_cred(j, origin), fresh = {0};
	if (str_zcpy(str_z(origin), fresh.origin, sizeof(fresh.origin)) || str_zcpy(str_z(user), fresh.user, sizeof(fresh.user)) ||
	    str_zcpy(str_z(pass), fresh.pass, sizeof(fresh.pass)))
		return -E2BIG;
	if (c && str_eq(str_z(c->user), str_z(user)) && str_eq(str_z(c->pass), str_z(pass)))
		return 0;
	if (!c && j->n_creds == CRED_MAX) { /* the oldest goes */
		memmove(j->creds, j->creds + 1, sizeof(j->creds) - sizeof(j->creds[0]));
		j->n_creds--;
	}
	if (!c)
		c = &j->creds[j->n_creds++];
	*c = fresh;
	return 0;
}

/* Whole lines only: one that does not fit is left out, and those behind it. */
void jar_print(const struct jar *j, const struct curl_slist *cookies, struct out *o)
{
	size_t whole = o->n;
	for (int i = 0; i < j->n_creds && !o->over; i++) {
		const struct cred *c = &j->creds[i];
		out_f(o, "%s%s\t%d\t", mark.p, c->origin, (int)c->kind);
		out_url(o, str_z(c->user));
		out_c(o, '\t');
		out_url(o, str_z(c->pass));
		out_c(o, '\n');
		whole = o->over ? whole : o->n;
	}
	for (; cookies && !o->over; cookies = cookies->next) {
		out_str(o, str_z(cookies->data));
		out_c(o, '\n');
		whole = o->over ? whole : o->n;
	}
	o->n = whole;
}
