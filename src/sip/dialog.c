/* SPDX-License-Identifier: Apache-2.0
 *
 * dialog: what RFC 3261 section 12 keeps about the two ends of a call, as plain data of views, and where requests go. No state machine stands here: call/ has it.
 */
#include "sip/sip_int.h"

#include <netinet/in.h>

/* First Contact and its URI. */
static int take_target(const struct sip_msg *m, struct str *ret)
{
	struct str rest = sip_get(m, HDR_CONTACT), one;
	struct sip_name_addr na;
	struct sip_uri u;

	if (!sip_list(&rest, &one) || sip_name_addr_parse(one, &na) || sip_uri_parse(na.uri, &u))
		return -EBADMSG;
	if (!u.host.n) /* tel: cannot be sent to */
		return -EBADMSG;
	*ret = na.uri;
	return 0;
}

/* Record-Route in the order of the headers, or from the last to the first. */
static int take_routes(struct sip_dlg *d, const struct sip_msg *m, bool reverse)
{
	const int max = (int)N_ELEMENTS(d->route);

	d->n_route = 0;
	for (const struct sip_hdr *h = NULL; (h = sip_next(m, HDR_RECORD_ROUTE, h));) {
		struct str rest = h->value, one;
		struct sip_name_addr na;

		while (sip_list(&rest, &one)) {
			if (sip_name_addr_parse(one, &na))
				return -EBADMSG;
			if (d->n_route == max)
				return -E2BIG;
			d->route[d->n_route++] = one;
		}
	}
	for (int i = 0; reverse && i < d->n_route / 2; i++) {
		struct str other = d->route[i];

		d->route[i] = d->route[d->n_route - 1 - i];
		d->route[d->n_route - 1 - i] = other;
	}
	return 0;
}

/* The value up to the end of its URI: parameters, the tag among them, are left behind. */
static struct str without_params(struct str value)
{
	struct sip_name_addr na;
	size_t n;

	if (sip_name_addr_parse(value, &na))
		return value;
	n = (size_t)(na.uri.p + na.uri.n - value.p);
	for (size_t i = n; i < value.n && value.p[i] != ';'; i++)
		if (value.p[i] == '>')
			return str_n(value.p, i + 1);
	return str_n(value.p, n);
}

int sip_dlg_from_invite(struct sip_dlg *d, const struct sip_msg *invite, struct str local_tag, const struct flow *from)
{
	struct sip_dlg n = {.call_id = invite->call_id, .local_tag = local_tag, .remote_tag = invite->from_tag, .remote_cseq = invite->cseq, .flow = *from};
	struct sip_uri u;
	int err = take_target(invite, &n.target);

	if (!err)
		err = take_routes(&n, invite, false);
	if (err)
		return err;
	n.local = without_params(invite->to);
	n.remote = without_params(invite->from);
	n.secure = sip_uri_parse(invite->uri, &u) == 0 && str_ieq(u.scheme, STR("sips"));
	*d = n;
	return 0;
}

int sip_dlg_from_reply(struct sip_dlg *d, const struct sip_msg *reply)
{
	struct sip_dlg n = *d;
	int err = take_target(reply, &n.target);

	if (!err)
		err = take_routes(&n, reply, true);
	if (err)
		return err;
	n.remote_tag = reply->to_tag;
	*d = n;
	return 0;
}

static bool in_net(const struct addr *a, const char *net)
{
	struct cidr c;

	return cidr_parse(str_z(net), &c) == 0 && cidr_has(&c, a);
}

/* Addresses that mean something else at the other side of a NAT. */
static bool is_private(const struct addr *a)
{
	static const char *const nets[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"};

	for (size_t i = 0; i < N_ELEMENTS(nets); i++)
		if (in_net(a, nets[i]))
			return true;
	return addr_is_loopback(a) || addr_is_any(a);
}

void sip_dlg_flow(const struct sip_dlg *d, struct flow *ret)
{
	struct str uri = d->target, transport;
	struct sip_name_addr na;
	struct sip_uri u;
	struct addr a;

	*ret = d->flow;
	if (d->flow.kind != FLOW_UDP)
		return;
	if (d->n_route && sip_name_addr_parse(d->route[0], &na) == 0)
		uri = na.uri;
	if (sip_uri_parse(uri, &u) || str_ieq(u.scheme, STR("sips")) || sip_uri_host(&u, &a) || a.family != d->flow.peer.family)
		return;
	if (is_private(&a) && !is_private(&d->flow.peer))
		return;
	if (addr_is_any(&a) || (addr_is_loopback(&a) && !addr_is_loopback(&d->flow.peer)))
		return;
	if (sip_param(u.params, STR("transport"), &transport) && !str_ieq(transport, STR("udp"))) {
		if (!str_ieq(transport, STR("tcp")))
			return;
		ret->kind = FLOW_TCP;
		ret->conn = 0;
	}
	a.scope = d->flow.peer.scope;
	ret->peer = a;
}
