/* SPDX-License-Identifier: Apache-2.0
 *
 * params: what a service is told of a call: the parameters of the field (call-control 2.1) in a fixed order, the three of the seed always, then what the verb adds
 * (Digits …). Pure: views of the facts, copies in the arena. Sig thread. How they travel is cgi.c's matter (and the web's, later).
 */
#include "service/service.h"

struct pairs {
	struct pair *v;
	int n, cap;
	bool over;
};

static void add(struct pairs *p, struct str name, struct str value)
{
	if (p->n >= p->cap) {
		p->over = true;
		return;
	}
	p->v[p->n++] = (struct pair){name, value};
}

/* E.164: + and up to 15 digits. */
static bool is_e164(struct str s)
{
	if (s.n < 2 || s.n > 16 || s.p[0] != '+')
		return false;
	for (size_t i = 1; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

/* sip:user@host without parameters and headers. A ; or ? before the @ belongs to the user part (RFC 3261 25.1). */
static struct str bare_uri(struct str uri)
{
	size_t from = 0;

	for (size_t i = 0; i < uri.n; i++)
		if (uri.p[i] == '@')
			from = i;
	for (size_t i = from; i < uri.n; i++)
		if (uri.p[i] == ';' || uri.p[i] == '?')
			return str_n(uri.p, i);
	return uri;
}

static struct str party(struct str user, struct str uri)
{
	return is_e164(user) ? user : bare_uri(uri);
}

static int add_headers(struct pairs *p, struct str lines, struct arena *a)
{
	while (lines.n) {
		struct str value, name = str_cut(lines, 0, &value);
		struct str v = str_cut(value, 0, &lines);
		char *full = arena_alloc(a, name.n + 10);

		if (!full)
			return -ENOMEM;
		memcpy(full, "SipHeader_", 10);
		if (name.n)
			memcpy(full + 10, name.p, name.n);
		add(p, str_n(full, name.n + 10), v);
	}
	return 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A form-encoded piece as text. */
static struct str form_text(struct str s, struct arena *a)
{
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;

	if (!p)
		return STR_NONE;
	for (size_t i = 0; i < s.n; i++) {
		int hi = s.p[i] == '%' && i + 2 < s.n ? hex(s.p[i + 1]) : -1;
		int lo = hi >= 0 ? hex(s.p[i + 2]) : -1;

		if (lo >= 0) {
			p[n++] = (char)(hi << 4 | lo);
			i += 2;
		} else {
			p[n++] = s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	return str_n(p, n);
}

static int add_form(struct pairs *p, struct str form, struct arena *a)
{
	while (form.n) {
		struct str one = str_cut(form, '&', &form), value, name = str_cut(one, '=', &value);

		if (!name.n)
			continue;
		name = form_text(name, a);
		value = form_text(value, a);
		if (!name.p || !value.p)
			return -ENOMEM;
		add(p, name, value);
	}
	return 0;
}

int request_params(const struct call_facts *f, struct str extra_form, struct arena *a, struct pair *ret, int cap)
{
	struct pairs p = {.v = ret, .cap = cap};
	struct str from = party(f->from_user, f->from_uri), to = party(f->to_user, f->to_uri);
	int r;

	add(&p, STR("CallSid"), str_z(f->sid));
	add(&p, STR("AccountSid"), str_z(f->account));
	add(&p, STR("From"), from);
	add(&p, STR("To"), to);
	add(&p, STR("CallStatus"), str_z(f->status));
	add(&p, STR("ApiVersion"), STR("2010-04-01"));
	add(&p, STR("Direction"), str_z(f->direction));
	if (f->forwarded_from.n)
		add(&p, STR("ForwardedFrom"), f->forwarded_from);
	add(&p, STR("Caller"), from);
	add(&p, STR("Called"), to);
	add(&p, STR("CallerIdName"), f->display);
	add(&p, STR("CallerIdNumber"), f->from_user);
	add(&p, STR("Extension"), f->extension);
	add(&p, STR("SipDomain"), f->host);
	add(&p, STR("SipCallId"), f->call_id);
	add(&p, STR("SipSourceIp"), f->source_ip);
	r = add_headers(&p, f->x_headers, a);
	if (r == 0)
		r = add_form(&p, extra_form, a);
	if (r < 0)
		return r;
	return p.over ? -E2BIG : p.n;
}
