/* SPDX-License-Identifier: Apache-2.0
 *
 * print: messages of ours, written from fields into a bounded buffer (RFC 3261 sections 7, 8.1.1, 8.2.6, 9.1, 12.2.1.1, 17.1.1.3, 18.2; RFC 3581). Nothing received is
 * passed on but what the RFC tells us to copy: Via, From, To, Call-ID, CSeq, Record-Route, Timestamp, Route; their folds become spaces, so that no received byte can begin
 * a line of ours.
 */
#include "sip/sip_int.h"

#define ALLOW "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO\r\n"

void sip_print_value(struct out *o, struct str v)
{
	for (size_t i = 0, from = 0; i <= v.n; i++) {
		if (i < v.n && v.p[i] != '\r' && v.p[i] != '\n')
			continue;
		out_str(o, str_n(v.p + from, i - from));
		if (i < v.n)
			out_c(o, ' ');
		from = i + 1;
	}
}

static void line(struct out *o, const char *name, struct str value)
{
	out_str(o, str_z(name));
	OUT_STR(o, ": ");
	sip_print_value(o, value);
	OUT_STR(o, "\r\n");
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* User part of our own Contact: what RFC 3261 calls unreserved and user-unreserved stands, so do escapes that are there already (a number as a peer wrote it); the rest is escaped. */
static void print_user(struct out *o, struct str user)
{
	for (size_t i = 0; i < user.n; i++) {
		unsigned char c = (unsigned char)user.p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.!~*'()&=+$,;?/", c)) ||
			     (c == '%' && i + 2 < user.n && is_hex(user.p[i + 1]) && is_hex(user.p[i + 2]));

		if (plain)
			out_c(o, (char)c);
		else
			out_f(o, "%%%02X", c);
	}
}

static void print_where(const struct sip *s, const struct flow *f, struct out *o)
{
	struct addr a = f->local;

	if (s->o.advertise)
		s->o.advertise(s->o.arg, f, &a);
	if (a.family)
		addr_print(o, &a);
	else
		OUT_STR(o, "unknown.invalid"); /* a TCP connection being made: received= and the connection itself lead back */
}

static void print_contact(const struct sip *s, const struct flow *f, struct str user, struct out *o)
{
	if (!user.n)
		return;
	OUT_STR(o, "Contact: <sip:");
	print_user(o, user);
	out_c(o, '@');
	print_where(s, f, o);
	if (f->kind == FLOW_TCP)
		OUT_STR(o, ";transport=tcp");
	OUT_STR(o, ">\r\n");
}

static void print_body(struct str type, struct str body, struct out *o)
{
	if (body.n && type.n)
		line(o, "Content-Type", type);
	OUT_STR(o, "Content-Length: ");
	out_u64(o, body.n);
	OUT_STR(o, "\r\n\r\n");
	out_str(o, body);
}

/* The topmost Via with received= and rport= of this very packet; what the sender wrote there itself is left out. */
static void print_top_via(const struct sip_msg *m, const struct flow *from, struct out *o)
{
	struct str rest = STR_NONE, one, name, value;
	struct addr host;
	bool asked = false;
	uint16_t port;

	sip_print_value(o, str_trim(str_cut(m->via, ';', &rest)));
	while (sip_param_next(&rest, &one, &name, &value)) {
		if (str_ieq(name, STR("received")))
			continue;
		out_c(o, ';');
		if (str_ieq(name, STR("rport"))) {
			asked = true;
			OUT_STR(o, "rport=");
			out_u64(o, from->peer.port);
		} else {
			sip_print_value(o, one);
		}
	}
	sip_sent_by(m->sent_by, &host, &port);
	if (asked || !addr_eq_host(&host, &from->peer)) {
		OUT_STR(o, ";received=");
		addr_print_host(o, &from->peer);
	}
}

static void print_vias(const struct sip_msg *m, const struct flow *from, struct out *o)
{
	const struct sip_hdr *top = sip_next(m, HDR_VIA, NULL);

	for (const struct sip_hdr *h = top; h; h = sip_next(m, HDR_VIA, h)) {
		struct str rest = h->value, one;
		bool first = true;

		OUT_STR(o, "Via: ");
		while (sip_list(&rest, &one)) {
			if (!first)
				OUT_STR(o, ", ");
			if (first && h == top)
				print_top_via(m, from, o);
			else
				sip_print_value(o, one);
			first = false;
		}
		OUT_STR(o, "\r\n");
	}
}

void sip_tag_stateless(const struct sip *s, const struct sip_msg *m, char ret[SIP_TAG_STATELESS])
{
	struct out o = {.p = ret, .cap = SIP_TAG_STATELESS};
	uint64_t h[3] = {
	    siphash(s->o.key, m->call_id.n ? m->call_id.p : "", m->call_id.n),
	    siphash(s->o.key, m->from_tag.n ? m->from_tag.p : "", m->from_tag.n),
	    m->cseq,
	};

	h[0] = siphash(s->o.key, h, sizeof(h));
	out_hex(&o, &h[0], sizeof(h[0]));
	(void)out_z(&o);
}

static void print_to(const struct sip *s, const struct sip_msg *m, const struct sip_reply *r, struct out *o)
{
	char tag[SIP_TAG_STATELESS];

	OUT_STR(o, "To: ");
	sip_print_value(o, m->to);
	if (!m->to_tag.n && r->status != 100) {
		OUT_STR(o, ";tag=");
		if (r->to_tag.n) {
			out_str(o, r->to_tag);
		} else {
			sip_tag_stateless(s, m, tag);
			out_str(o, str_z(tag));
		}
	}
	OUT_STR(o, "\r\n");
}

static void print_copied(const struct sip *s, const struct sip_msg *m, const struct flow *from, const struct sip_reply *r, struct out *o)
{
	print_vias(m, from, o);
	if (m->from.n)
		line(o, "From", m->from);
	if (m->to.n)
		print_to(s, m, r, o);
	if (m->call_id.n)
		line(o, "Call-ID", m->call_id);
	if (sip_get(m, HDR_CSEQ).n)
		line(o, "CSeq", sip_get(m, HDR_CSEQ));
	if (r->status == 100 && sip_get(m, HDR_TIMESTAMP).n)
		line(o, "Timestamp", sip_get(m, HDR_TIMESTAMP));
	/* RFC 3261 section 12.1.1: in answers that make a dialog. */
	if (m->method == SIP_INVITE && !m->to_tag.n && r->status > 100 && r->status < 300)
		for (const struct sip_hdr *h = NULL; (h = sip_next(m, HDR_RECORD_ROUTE, h));)
			line(o, "Record-Route", h->value);
}

/* The one above says itself what is allowed. */
static bool has_allow(struct str headers)
{
	while (headers.n)
		if (str_istarts(str_cut(headers, '\n', &headers), STR("Allow:")))
			return true;
	return false;
}

/* brief: what a stranger gets, nothing about us. */
void sip_print_reply(const struct sip *s, const struct sip_msg *m, const struct flow *from, const struct sip_reply *r, bool brief, struct out *o)
{
	bool said = m->method == SIP_INVITE || m->method == SIP_OPTIONS;

	OUT_STR(o, "SIP/2.0 ");
	out_u64(o, (uint64_t)r->status);
	out_c(o, ' ');
	sip_print_value(o, r->reason.n ? r->reason : str_z(sip_reason(r->status)));
	OUT_STR(o, "\r\n");
	print_copied(s, m, from, r, o);
	if (!brief) {
		print_contact(s, from, r->contact_user, o);
		if ((r->status == 405 || (said && r->status > 100 && r->status < 300)) && !has_allow(r->headers))
			OUT_STR(o, ALLOW);
		line(o, "Server", str_z(s->o.product));
		out_str(o, r->headers);
	}
	print_body(r->content_type, r->body, o);
}

/* RFC 3261 section 18.2.2 and RFC 3581 section 4. */
void sip_reply_flow(const struct sip_msg *m, const struct flow *from, struct flow *ret)
{
	struct sip_via v;
	struct addr host;
	struct str value;
	uint16_t port;

	*ret = *from;
	if (from->kind != FLOW_UDP || sip_via_parse(m->via, &v) || sip_param(v.params, STR("rport"), &value))
		return;
	sip_sent_by(m->sent_by, &host, &port);
	ret->peer.port = port ? port : 5060;
}

static void print_head(const struct sip *s, enum sip_method method, struct str uri, const struct flow *f, struct str branch, struct out *o)
{
	out_str(o, str_z(sip_method_names[method]));
	out_c(o, ' ');
	sip_print_value(o, uri);
	OUT_STR(o, " SIP/2.0\r\nVia: SIP/2.0/");
	out_str(o, f->kind == FLOW_TCP ? STR("TCP ") : STR("UDP "));
	print_where(s, f, o);
	OUT_STR(o, ";branch=");
	out_str(o, branch);
	OUT_STR(o, ";rport\r\nMax-Forwards: 70\r\n");
}

static bool is_loose(struct str route, struct str *ret_uri)
{
	struct sip_name_addr na;
	struct sip_uri u;
	struct str v;

	if (sip_name_addr_parse(route, &na) || sip_uri_parse(na.uri, &u))
		return true;
	*ret_uri = na.uri;
	return sip_param(u.params, STR("lr"), &v);
}

static void print_party(struct out *o, const char *name, struct str who, struct str tag)
{
	out_str(o, str_z(name));
	OUT_STR(o, ": ");
	sip_print_value(o, who);
	if (tag.n) {
		OUT_STR(o, ";tag=");
		sip_print_value(o, tag);
	}
	OUT_STR(o, "\r\n");
}

void sip_print_request(const struct sip *s, const struct sip_request *r, struct str branch, struct out *o)
{
	const struct sip_dlg *d = r->dlg;
	struct str target = r->uri.n ? r->uri : d->target, first = STR_NONE;
	/* RFC 3261 section 12.2.1.1: a first route without ;lr is a strict router of RFC 2543; it wants itself in the Request-URI and the target last. */
	bool strict = d->n_route > 0 && !is_loose(d->route[0], &first);

	print_head(s, r->method, strict ? first : target, &d->flow, branch, o);
	for (int i = strict ? 1 : 0; i < d->n_route; i++)
		line(o, "Route", d->route[i]);
	if (strict) {
		OUT_STR(o, "Route: <");
		sip_print_value(o, target);
		OUT_STR(o, ">\r\n");
	}
	print_party(o, "From", d->local, d->local_tag);
	print_party(o, "To", d->remote, d->remote_tag);
	line(o, "Call-ID", d->call_id);
	OUT_STR(o, "CSeq: ");
	out_u64(o, r->cseq);
	out_c(o, ' ');
	out_str(o, str_z(sip_method_names[r->method]));
	OUT_STR(o, "\r\n");
	print_contact(s, &d->flow, r->contact_user, o);
	if (r->method == SIP_INVITE || r->method == SIP_OPTIONS)
		OUT_STR(o, ALLOW);
	line(o, "User-Agent", str_z(s->o.product));
	out_str(o, r->headers);
	print_body(r->content_type, r->body, o);
}

/* Same Request-URI, topmost Via, Route, From and Call-ID, same number of CSeq as the request. To: of the refusal for an ACK, of the request for a CANCEL. */
void sip_print_follow(const struct sip *s, const struct sip_msg *request, enum sip_method method, struct str to, struct out *o)
{
	out_str(o, str_z(sip_method_names[method]));
	out_c(o, ' ');
	out_str(o, request->uri);
	OUT_STR(o, " SIP/2.0\r\n");
	line(o, "Via", request->via);
	OUT_STR(o, "Max-Forwards: 70\r\n");
	for (const struct sip_hdr *h = NULL; (h = sip_next(request, HDR_ROUTE, h));)
		line(o, "Route", h->value);
	line(o, "From", request->from);
	line(o, "To", to);
	line(o, "Call-ID", request->call_id);
	OUT_STR(o, "CSeq: ");
	out_u64(o, request->cseq);
	out_c(o, ' ');
	out_str(o, str_z(sip_method_names[method]));
	OUT_STR(o, "\r\n");
	line(o, "User-Agent", str_z(s->o.product));
	print_body(STR_NONE, STR_NONE, o);
}
