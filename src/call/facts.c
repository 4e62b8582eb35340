/* SPDX-License-Identifier: Apache-2.0
 *
 * facts: what a service is told of a call, read once from the INVITE as it stands in the slab. Header values are an allow-list (house rule 6): X-…, User-to-User,
 * Remote-Party-ID and P-…; nothing else of the peer's message is handed on.
 */
#include "call/call_int.h"

#define X_HEADERS_MAX 8192 /* bytes of header names and values told to a service */

/* A URI reduced to scheme:user@host: no port, no parameters, no headers. */
static struct str plain_uri(struct arena *a, struct str uri, struct str *ret_user)
{
	struct sip_uri u;
	char user[256], buf[600];
	struct out o = OUT(buf);
	size_t n;

	*ret_user = STR_NONE;
	if (sip_uri_parse(uri, &u))
		return arena_str(a, uri.n < sizeof(buf) ? uri : STR("sip:invalid"));
	if (!sip_user_decode(u.user, user, sizeof(user), &n))
		*ret_user = arena_str(a, str_n(user, n));
	out_str(&o, u.scheme);
	out_c(&o, ':');
	if (u.user.n) {
		out_str(&o, u.user);
		if (u.host.n)
			out_c(&o, '@');
	}
	out_str(&o, u.host);
	return arena_str(a, out_view(&o));
}

/* Display name without quotes: backslash escapes undone, control bytes left out. */
static struct str plain_name(struct arena *a, struct str s)
{
	char buf[256];
	struct out o = OUT(buf);

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n)
			i++;
		if ((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f)
			out_c(&o, s.p[i]);
	}
	return arena_str(a, str_trim(out_view(&o)));
}

static bool is_told(const struct sip_hdr *h)
{
	return str_istarts(h->name, STR("X-")) || str_istarts(h->name, STR("P-")) || h->id == HDR_USER_TO_USER || h->id == HDR_REMOTE_PARTY_ID;
}

static struct str told_headers(struct arena *a, const struct sip_msg *m)
{
	char buf[X_HEADERS_MAX];
	struct out o = OUT(buf);

	for (int i = 0; i < m->n_hdr; i++) {
		if (!is_told(&m->hdr[i]) || o.n + m->hdr[i].name.n + m->hdr[i].value.n + 2 > sizeof(buf))
			continue;
		out_str(&o, m->hdr[i].name);
		out_c(&o, 0);
		for (size_t k = 0; k < m->hdr[i].value.n; k++)
			out_c(&o, (unsigned char)m->hdr[i].value.p[k] < 0x20 ? ' ' : m->hdr[i].value.p[k]);
		out_c(&o, 0);
	}
	return o.n ? arena_str(a, out_view(&o)) : STR_NONE;
}

static struct str forwarded_from(struct arena *a, const struct sip_msg *m)
{
	struct sip_name_addr na;
	struct str user, v = sip_get(m, HDR_DIVERSION);

	if (!v.n || sip_name_addr_parse(v, &na))
		return STR_NONE;
	struct str uri = plain_uri(a, na.uri, &user);
	return user.n && user.p[0] == '+' ? user : uri;
}

int facts_make(struct call *c, const struct sip_msg *m, const struct flow *from)
{
	struct arena *a = c->arena;
	struct call_facts *f = arena_alloc(a, sizeof(*f));
	struct sip_name_addr na;
	struct sip_uri u;
	char ip[64];
	struct out o = OUT(ip);

	if (!f)
		return -ENOMEM;
	memcpy(f->sid, c->sid, sizeof(f->sid));
	sid_print("AC", c->r.account, f->account);
	if (!sip_name_addr_parse(m->from, &na)) {
		f->from_uri = plain_uri(a, na.uri, &f->from_user);
		f->display = plain_name(a, na.display);
	}
	if (!sip_name_addr_parse(m->to, &na)) {
		f->to_uri = plain_uri(a, na.uri, &f->to_user);
		if (!sip_uri_parse(na.uri, &u))
			f->host = arena_str(a, u.host);
	}
	f->extension = call_text(c, c->r.number);
	f->call_id = arena_str(a, m->call_id);
	addr_print_host(&o, &from->peer);
	f->source_ip = arena_str(a, out_view(&o));
	f->x_headers = told_headers(a, m);
	f->forwarded_from = forwarded_from(a, m);
	c->facts = f;
	return 0;
}

static const char *status_word(const struct call *c)
{
	switch (c->r.state) {
	case CALL_RINGING:
		return "ringing";
	case CALL_UP:
		return "in-progress";
	default:
		break;
	}
	if (c->r.answered_ms)
		return "completed";
	if (c->r.hangup_by == PARTY_CALLER)
		return "canceled";
	return c->r.status == 486 || c->r.status == 600 ? "busy" : c->r.status == 480 || c->r.status == 408 || c->r.status == 404 ? "no-answer" : "failed";
}

void call_facts(struct call *c, struct call_facts *ret)
{
	*ret = c->facts ? *c->facts : (struct call_facts){0};
	ret->status = status_word(c);
	ret->direction = c->r.dir == CALL_INBOUND ? "inbound" : "outbound-api";
	ret->reached = c->r.answered_ms != 0;
}
