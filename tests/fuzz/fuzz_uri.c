/* SPDX-License-Identifier: Apache-2.0
 *
 * URIs, name-addrs, lists, parameters, user parts on whatever bytes. A URI that parses is parsed again from its parts and must say the same.
 */
#include "sip/sip_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const struct sip_uri *u, struct out *o)
{
	out_str(o, u->scheme);
	out_c(o, ':');
	if (u->host.n && u->user.n) {
		out_str(o, u->user);
		if (u->password.p) {
			out_c(o, ':');
			out_str(o, u->password);
		}
		out_c(o, '@');
	}
	out_str(o, u->host.n ? u->host : u->user);
	if (u->port) {
		out_c(o, ':');
		out_u64(o, u->port);
	}
	if (u->params.n) {
		out_c(o, ';');
		out_str(o, u->params);
	}
	if (u->headers.n) {
		out_c(o, '?');
		out_str(o, u->headers);
	}
}

static void one_uri(struct str in)
{
	char buf[8192], user[64];
	struct out o = OUT(buf);
	struct sip_uri u, again;
	struct str v;
	struct addr a;
	size_t n = 0;

	if (in.n > sizeof(buf) / 2 || sip_uri_parse(in, &u))
		return;
	print(&u, &o);
	ASSERT(!o.over);
	ASSERT(sip_uri_parse(out_view(&o), &again) == 0);
	ASSERT(str_eq(u.user, again.user) && str_eq(u.host, again.host) && str_eq(u.params, again.params) && str_eq(u.headers, again.headers) &&
	       u.port == again.port);
	if (sip_uri_host(&u, &a) == 0)
		ASSERT(a.family && a.port);
	if (sip_user_decode(u.user, user, sizeof(user), &n) == 0)
		ASSERT(n <= sizeof(user) && !memchr(user, 0, n));
	(void)sip_param(u.params, STR("transport"), &v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_n(data, size), rest = in, one, v, name;
	struct sip_name_addr na;
	struct sip_via via;
	struct addr host;
	uint16_t port;

	one_uri(in);
	while (sip_list(&rest, &one))
		if (sip_name_addr_parse(one, &na) == 0) {
			one_uri(na.uri);
			(void)sip_param(na.params, STR("tag"), &v);
		}
	for (rest = in; sip_param_next(&rest, &one, &name, &v);)
		ASSERT(name.n <= one.n && v.n <= one.n);
	(void)sip_params_sound(in);
	if (sip_via_parse(in, &via) == 0)
		sip_sent_by(via.sent_by, &host, &port);
	return 0;
}
