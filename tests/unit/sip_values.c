/* SPDX-License-Identifier: Apache-2.0
 *
 * The insides of headers, URIs, ids, dialogs and what we print: tables of text, print-and-parse round trips, where an answer goes.
 */
#include "sip_fake.h"

static void eq(struct str s, const char *want)
{
	if (!str_eq(s, str_z(want)))
		fail_msg("got '%.*s', wanted '%s'", STR_ARG(s), want);
}

/* clang-format off */
static const struct {
	const char *text;
	int ret;
	const char *scheme, *user, *host, *params, *headers;
	int port;
} uris[] = {
	{"sip:100@127.0.0.1", 0, "sip", "100", "127.0.0.1", "", "", 0},
	{"sip:127.0.0.1:5080", 0, "sip", "", "127.0.0.1", "", "", 5080},
	{"SIPS:a:secret@h.example.org:5061;lr;x=y?Subject=a&b=c", 0, "SIPS", "a", "h.example.org", "lr;x=y", "Subject=a&b=c", 5061},
	{"sip:b@[2001:db8::1]:5070;transport=tcp", 0, "sip", "b", "[2001:db8::1]", "transport=tcp", "", 5070},
	{"sip:b@[::1]", 0, "sip", "b", "[::1]", "", "", 0},
	{"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com", 0, "sip",
	    "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*", "example.com", "", "", 0},
	{"sip:user;par=u%40example.net@example.com", 0, "sip", "user;par=u%40example.net", "example.com", "", "", 0},
	{"sip:sips%3Auser%40example.com@example.net", 0, "sip", "sips%3Auser%40example.com", "example.net", "", "", 0},
	{"sip:user@example.com?Route=%3Csip:example.com%3E", 0, "sip", "user", "example.com", "", "Route=%3Csip:example.com%3E", 0},
	{"sip:h;x=1?y=2", 0, "sip", "", "h", "x=1", "y=2", 0},
	{"tel:+358-555-1234567;phone-context=x", 0, "tel", "+358-555-1234567", "", "phone-context=x", "", 0},
	{"tel:*21#", 0, "tel", "*21#", "", "", "", 0},
	{"", -EBADMSG}, {"sip", -EBADMSG}, {"sip:", -EBADMSG}, {"sip:@h", -EBADMSG}, {"sip:a@", -EBADMSG}, {"sip:a@h:", -EBADMSG}, {"sip:a@h:0", -EBADMSG},
	{"sip:a@h:65536", -EBADMSG}, {"sip:a@h:5060x", -EBADMSG}, {"sip:a@[::1", -EBADMSG}, {"sip:a@[::g]", -EBADMSG}, {"sip:a@[]", -EBADMSG}, {"sip:a@[::1]x", -EBADMSG},
	{"sip:a@h ", -EBADMSG}, {"sip:a b@h", -EBADMSG}, {"sip:a%4@h", -EBADMSG}, {"sip:a%@h", -EBADMSG}, {"sip:a%zz@h", -EBADMSG}, {"sip:a@h;<", -EBADMSG},
	{"sip:a@h\r\n", -EBADMSG}, {"sip:a@b@h", -EBADMSG}, {"sip:a@h!", -EBADMSG}, {"sip:a@-h", -EBADMSG}, {"tel:", -EBADMSG}, {"tel:a b", -EBADMSG}, {"tel:1+2", -EBADMSG},
	{":a@h", -EBADMSG}, {"<sip:a@h>", -EBADMSG}, {"http://h", -EPROTONOSUPPORT}, {"isbn:2983792873", -EPROTONOSUPPORT}, {"soap.beep://h", -EPROTONOSUPPORT},
};
/* clang-format on */

static void test_uris(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(uris); i++) {
		struct sip_uri u = {0};
		int ret = sip_uri_parse(str_z(uris[i].text), &u);

		if (ret != uris[i].ret)
			fail_msg("%s: %d, wanted %d", uris[i].text, ret, uris[i].ret);
		if (ret)
			continue;
		eq(u.scheme, uris[i].scheme);
		eq(u.user, uris[i].user);
		eq(u.host, uris[i].host);
		eq(u.params, uris[i].params);
		eq(u.headers, uris[i].headers);
		assert_int_equal(u.port, uris[i].port);
	}
}

static void test_uri_host(void **state)
{
	struct sip_uri u;
	struct addr a;

	assert_int_equal(sip_uri_parse(STR("sip:a@192.0.2.7"), &u), 0);
	assert_int_equal(sip_uri_host(&u, &a), 0);
	assert_int_equal(a.port, 5060);
	assert_int_equal(a.ip[3], 7);
	assert_int_equal(sip_uri_parse(STR("sips:a@[2001:db8::7]"), &u), 0);
	assert_int_equal(sip_uri_host(&u, &a), 0);
	assert_int_equal(a.port, 5061);
	assert_int_equal(a.family, AF_INET6);
	assert_int_equal(sip_uri_parse(STR("sip:a@example.org"), &u), 0);
	assert_int_equal(sip_uri_host(&u, &a), -EINVAL);
	assert_int_equal(sip_uri_parse(STR("tel:1"), &u), 0);
	assert_int_equal(sip_uri_host(&u, &a), -EINVAL);
}

static void decoded(const char *user, const char *want, int ret)
{
	char buf[4];
	size_t n = 99;

	assert_int_equal(sip_user_decode(str_z(user), buf, sizeof(buf), &n), ret);
	if (ret == 0)
		eq(str_n(buf, n), want);
	else
		assert_int_equal(n, 99);
}

static void test_user(void **state)
{
	decoded("100", "100", 0);
	decoded("%2a2%23", "*2#", 0);
	decoded("1;phone-context=x", "1", 0);
	decoded("1:secret", "1", 0);
	decoded("", "", 0);
	decoded("1234", "1234", 0);
	decoded("12345", "", -ENOSPC);
	decoded("%00", "", -EBADMSG);
	decoded("%4", "", -EBADMSG);
	decoded("%g0", "", -EBADMSG);
}

/* clang-format off */
static const struct {
	const char *text;
	int ret;
	const char *display, *uri, *params;
} names[] = {
	{"<sip:a@h>", 0, "", "sip:a@h", ""},
	{"sip:a@h;tag=1", 0, "", "sip:a@h", "tag=1"},
	{"<sip:a@h;x=y>;tag=1", 0, "", "sip:a@h;x=y", "tag=1"},
	{"\"A \\\" <b>, c\" <sip:a@h> ; tag=1", 0, "A \\\" <b>, c", "sip:a@h", " tag=1"},
	{"caller<sip:caller@example.com>;tag=323", 0, "caller", "sip:caller@example.com", "tag=323"},
	{"Bell, Alexander <sip:a@h>", 0, "Bell, Alexander", "sip:a@h", ""},
	{"\"\" <sip:a@h>", 0, "", "sip:a@h", ""},
	{"\"W, T\" < sip:t@h >", 0, "W, T", "sip:t@h", ""},
	{"*", 0, "", "*", ""},
	{"", -EBADMSG}, {"\"", -EBADMSG}, {"\"a", -EBADMSG}, {"\"a\\\"", -EBADMSG}, {"\"a\" sip:a@h", -EBADMSG}, {"<sip:a@h", -EBADMSG}, {"<>", -EBADMSG},
	{"<sip:a@h> x", -EBADMSG}, {"sip:a@h?x", -EBADMSG}, {"sip:a@h, sip:b@h", -EBADMSG}, {"a \"b\" <sip:a@h>", -EBADMSG}, {";tag=1", -EBADMSG},
};
/* clang-format on */

static void test_names(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		struct sip_name_addr na;
		int ret = sip_name_addr_parse(str_z(names[i].text), &na);

		if (ret != names[i].ret)
			fail_msg("%s: %d, wanted %d", names[i].text, ret, names[i].ret);
		if (ret)
			continue;
		eq(na.display, names[i].display);
		eq(na.uri, names[i].uri);
		eq(na.params, names[i].params);
	}
}

static void test_params(void **state)
{
	struct str v;

	assert_true(sip_param(STR(" a ; b = 1 ;c=\"x;d=2\";D=3"), STR("B"), &v));
	eq(v, "1");
	assert_true(sip_param(STR(";a;b=1"), STR("a"), &v));
	eq(v, "");
	assert_true(sip_param(STR("c=\"x;d=2\";d=3"), STR("d"), &v));
	eq(v, "3");
	assert_true(sip_param(STR("c=\"x;d=2\""), STR("c"), &v));
	eq(v, "x;d=2");
	assert_false(sip_param(STR("c=\"x;d=2"), STR("d"), &v));
	assert_false(sip_param(STR_NONE, STR("d"), &v));
}

/* Ids: round trip, each flipped character refused, kinds and keys kept apart. */
static void test_ids(void **state)
{
	const uint8_t other_key[16] = {1};

	rand_seed(7);
	for (int kind = SIP_ID_TAG; kind <= SIP_ID_CALL; kind++)
		for (int i = 0; i < 2000; i++) {
			struct sip_id id = {.h = handle_of(rand_u32(), rand_u32()), .rnd = rand_u32(), .node = (uint8_t)rand_u32()}, back;
			char text[SIP_ID_LEN + 8];
			struct out o = {.p = text, .cap = SIP_ID_LEN};
			struct str s;

			sip_id_print(test_key, (enum sip_id_kind)kind, &id, &o);
			assert_false(o.over);
			s = out_view(&o);
			assert_true(sip_token(s));
			assert_int_equal(sip_cookie(s), kind == SIP_ID_BRANCH);
			assert_int_equal(sip_id_parse(test_key, (enum sip_id_kind)kind, s, &back), 0);
			assert_true(back.h == id.h && back.rnd == id.rnd && back.node == id.node);
			for (int k = SIP_ID_TAG; k <= SIP_ID_CALL; k++)
				if (k != kind)
					assert_int_equal(sip_id_parse(test_key, (enum sip_id_kind)k, s, &back), -EBADMSG);
			assert_int_equal(sip_id_parse(other_key, (enum sip_id_kind)kind, s, &back), -EBADMSG);
			assert_int_equal(sip_id_parse(test_key, (enum sip_id_kind)kind, str_n(s.p, s.n - 1), &back), -EBADMSG);
			if (kind == SIP_ID_CALL) {
				memcpy(text + o.n, "@h.x", 4);
				assert_int_equal(sip_id_parse(test_key, SIP_ID_CALL, str_n(text, o.n + 4), &back), 0);
			}
			text[rand_u32() % s.n] ^= 1;
			assert_int_equal(sip_id_parse(test_key, (enum sip_id_kind)kind, s, &back), -EBADMSG);
		}
}

/* ---- where an answer goes and what its topmost Via says (18.2.2, RFC 3581) ---- */

/* clang-format off */
static const struct {
	const char *name, *via, *want;
	int port; /* of the destination; the source port is 5070 */
} vias[] = {
	{"rport", "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1;rport", "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1;rport=5070;received=127.0.0.1", 5070},
	{"no rport, same host", "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1", "SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bK1", 5062},
	{"no rport, other host", "SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1", "SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;received=127.0.0.1", 5062},
	{"a name without a port", "SIP/2.0/UDP phone.example.org;branch=z9hG4bK1", "SIP/2.0/UDP phone.example.org;branch=z9hG4bK1;received=127.0.0.1", 5060},
	{"claims", "SIP/2.0/UDP 127.0.0.1;received=6.6.6.6;rport=1;branch=z9hG4bK1;x=\"a;b\"",
	    "SIP/2.0/UDP 127.0.0.1;rport=5070;branch=z9hG4bK1;x=\"a;b\";received=127.0.0.1", 5070},
	{"IPv6 name", "SIP/2.0/UDP [::1]:5063;branch=z9hG4bK1", "SIP/2.0/UDP [::1]:5063;branch=z9hG4bK1;received=127.0.0.1", 5063},
	{"folds", "SIP / 2.0 / UDP  127.0.0.1:5062 ;\r\n branch=z9hG4bK1;\r\n\trport", "SIP / 2.0 / UDP  127.0.0.1:5062;branch=z9hG4bK1;rport=5070;received=127.0.0.1", 5070},
};
/* clang-format on */

static void test_via(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < N_ELEMENTS(vias); i++) {
		char buf[1024], want[512];
		struct out o = OUT(buf);

		out_f(&o,
		      "OPTIONS sip:h SIP/2.0\r\nVia: %s, SIP/2.0/TCP second;branch=2\r\nVia: SIP/2.0/UDP third\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n"
		      "Call-ID: %zu\r\nCSeq: 1 OPTIONS\r\n\r\n",
		      vias[i].via, i);
		input(w, out_view(&o));
		expect(w, "<OPTIONS");
		reply(w, 200);
		expect(w, ">200");
		snprintf(want, sizeof(want), "\r\nVia: %s, SIP/2.0/TCP second;branch=2\r\nVia: SIP/2.0/UDP third\r\n", vias[i].want);
		assert_sent(w, want);
		if (w->sent_to.peer.port != vias[i].port)
			fail_msg("%s: went to port %d, wanted %d", vias[i].name, w->sent_to.peer.port, vias[i].port);
		run(w, 40000);
	}
}

/* ---- answers ---- */

static void test_reply_text(void **state)
{
	struct world *w = *state;
	struct sip_reply r = {.status = 200,
			      .to_tag = STR("our"),
			      .contact_user = STR("a#b/%%23%"),
			      .headers = STR("X-Mine: 1\r\n"),
			      .content_type = STR("application/sdp"),
			      .body = STR("v=0\r\n")};
	const char *more = "Timestamp: 54\r\nRecord-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\nSubject: private\r\n";

	ask(w, ASK(.method = "INVITE", .more = more));
	assert_int_equal(sip_tx_reply(w->tx, &(struct sip_reply){.status = 100}, w->now_ms), 0);
	assert_sent(w, "SIP/2.0 100 Trying\r\n");
	assert_sent(w, "Timestamp: 54\r\n");
	assert_sent(w, "To: <sip:100@127.0.0.1>\r\n");
	assert_sent(w, "Content-Length: 0\r\n\r\n");
	assert_false(sent_has(w, "Record-Route"));
	assert_int_equal(sip_tx_reply(w->tx, &r, w->now_ms), 0);
	assert_sent(w, "Record-Route: <sip:p1;lr>,   <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n");
	assert_sent(w, "Contact: <sip:a%23b/%25%23%25@127.0.0.1:5060>\r\n");
	assert_sent(w, "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO\r\n");
	assert_sent(w, "Server: Hookswitch test\r\nX-Mine: 1\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n");
	assert_false(sent_has(w, "Timestamp"));
	assert_false(sent_has(w, "private"));
	sip_tx_acked(w->tx, w->now_ms);
	ask(w, ASK(.method = "REGISTER", .branch = "z9hG4bKr"));
	assert_int_equal(sip_tx_reply(w->tx, &(struct sip_reply){.status = 405}, w->now_ms), 0);
	assert_sent(w, "SIP/2.0 405 Method Not Allowed\r\n");
	assert_sent(w, "Allow: INVITE");
	ask(w, ASK(.method = "OPTIONS", .branch = "z9hG4bKr2"));
	assert_int_equal(sip_tx_reply(w->tx, &(struct sip_reply){.status = 200, .headers = STR("X: y\r\nAllow: INVITE\r\n")}, w->now_ms), 0);
	assert_sent(w, "X: y\r\nAllow: INVITE\r\n");
	assert_false(sent_has(w, "BYE"));
	assert_false(sent_has(w, "Contact"));
	ask(w, ASK(.method = "INVITE", .branch = "z9hG4bKx", .to_tag = "our", .cseq = 2, .more = more)); /* re-INVITE: no Record-Route, the tag stands */
	assert_int_equal(sip_tx_reply(w->tx, &(struct sip_reply){.status = 488, .reason = STR("No\r\nInjected: x"), .to_tag = STR("our")}, w->now_ms), 0);
	assert_sent(w, "SIP/2.0 488 No  Injected: x\r\n");
	assert_sent(w, ";tag=our\r\n");
	assert_false(sent_has(w, "Record-Route"));
	ask(w, ASK(.method = "INVITE", .branch = "z9hG4bKy", .to_tag = "our", .cseq = 3, .more = more));
	reply(w, 200);
	assert_sent(w, "SIP/2.0 200 OK\r\n");
	assert_false(sent_has(w, "Record-Route"));
	sip_tx_acked(w->tx, w->now_ms);
	w->flow = &w->tcp;
	ask(w, ASK(.method = "INVITE", .branch = "z9hG4bKt"));
	reply(w, 180);
	assert_sent(w, "Contact: <sip:100@127.0.0.1:5060;transport=tcp>\r\n");
	reply(w, 486);
}

/* Folds and bare CR in what we must copy cannot begin a line of ours. */
static void test_copied_folds(void **state)
{
	struct world *w = *state;
	struct sip_msg m;

	input(w, STR("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: \"a\rEvil: 1\" <sip:a@h>\r\n ;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: "
		     "1\r\nCSeq: 1\r\n OPTIONS\r\n\r\n"));
	reply(w, 200);
	assert_sent(w, "From: \"a Evil: 1\" <sip:a@h>   ;tag=1\r\n");
	assert_int_equal(sip_parse(str_n(w->sent, w->n_sent), &m), 0);
	eq(m.from_tag, "1");
	assert_int_equal(m.cseq, 1);
}

/* ---- dialogs ---- */

static struct sip_dlg dialog_of(struct world *w, const char *invite)
{
	struct sip_dlg d;

	assert_int_equal(sip_parse(str_z(invite), &w->got), 0);
	assert_int_equal(sip_dlg_from_invite(&d, &w->got, STR("our"), &w->udp), 0);
	return d;
}

#define INVITE_WITH(more)                                                                                                                                      \
	"INVITE sip:100@us SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\r\nFrom: \"P\" <sip:p@h>;x=1;tag=ph\r\nTo: sip:100@us\r\nCall-ID: "      \
	"c\r\nCSeq: 5 INVITE\r\n" more "\r\n"

static void test_dialog_uas(void **state)
{
	struct world *w = *state;
	struct sip_dlg d = dialog_of(
	    w, INVITE_WITH(
		   "Contact: \"P, Q\" <sip:p@127.0.0.1:5099;x=y>;q=1\r\nRecord-Route: <sip:127.0.0.1:5091;lr>, <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n"));
	struct sip_request r = {.method = SIP_BYE, .dlg = &d, .cseq = 1, .rnd = 3};
	struct sip_msg m;
	struct flow f;

	eq(d.target, "sip:p@127.0.0.1:5099;x=y");
	eq(d.local, "sip:100@us");
	eq(d.remote, "\"P\" <sip:p@h>");
	eq(d.remote_tag, "ph");
	assert_int_equal(d.remote_cseq, 5);
	assert_int_equal(d.n_route, 3);
	sip_dlg_flow(&d, &f);
	assert_int_equal(f.peer.port, 5091); /* the first route */
	d.flow = f;
	assert_non_null(sip_request(w->sip, &r, w->now_ms));
	assert_int_equal(w->sent_to.peer.port, 5091);
	assert_sent(w, "BYE sip:p@127.0.0.1:5099;x=y SIP/2.0\r\n");
	assert_sent(w, "Route: <sip:127.0.0.1:5091;lr>\r\nRoute: <sip:p2;lr>\r\nRoute: <sip:p3;lr>\r\n");
	assert_sent(w, "From: sip:100@us;tag=our\r\nTo: \"P\" <sip:p@h>;tag=ph\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n");
	assert_int_equal(sip_parse(str_n(w->sent, w->n_sent), &m), 0);
	assert_int_equal(m.error, 0);
	eq(m.from_tag, "our");
	eq(m.to_tag, "ph");
	d.route[0] = STR("<sip:strict.example.org>"); /* a router of RFC 2543 */
	r.rnd = 4;
	assert_non_null(sip_request(w->sip, &r, w->now_ms));
	assert_sent(w, "BYE sip:strict.example.org SIP/2.0\r\n");
	assert_sent(w, "Route: <sip:p2;lr>\r\nRoute: <sip:p3;lr>\r\nRoute: <sip:p@127.0.0.1:5099;x=y>\r\n");
}

static void refused_dialog(struct world *w, const char *invite, int want)
{
	struct sip_dlg d;

	assert_int_equal(sip_parse(str_z(invite), &w->got), 0);
	assert_int_equal(sip_dlg_from_invite(&d, &w->got, STR("our"), &w->udp), want);
}

static void test_dialog_refused(void **state)
{
	struct world *w = *state;
	char buf[2048];
	struct out o = OUT(buf);

	refused_dialog(w, INVITE_WITH(""), -EBADMSG);
	refused_dialog(w, INVITE_WITH("Contact: *\r\n"), -EBADMSG);
	refused_dialog(w, INVITE_WITH("Contact: <tel:+1>\r\n"), -EBADMSG);
	refused_dialog(w, INVITE_WITH("Contact: <http://h>\r\n"), -EBADMSG);
	refused_dialog(w, INVITE_WITH("Contact: <sip:a@h>\r\nRecord-Route: <sip:p\r\n"), -EBADMSG);
	for (int n = 16; n <= 17; n++) {
		o.n = 0;
		out_f(&o, "%s", INVITE_WITH("Contact: <sip:a@h>\r\n"));
		o.n -= 2;
		for (int i = 0; i < n; i++)
			OUT_STR(&o, "Record-Route: <sip:p;lr>\r\n");
		OUT_STR(&o, "\r\n");
		refused_dialog(w, out_z(&o), n == 16 ? 0 : -E2BIG);
	}
}

/* clang-format off */
static const struct {
	const char *name, *source, *target;
	const char *want; /* peer of the flow */
	int kind;
} roads[] = {
	{"literal", "192.0.2.1:5070", "sip:a@192.0.2.9:5080", "192.0.2.9:5080", FLOW_UDP},
	{"default port", "192.0.2.1:5070", "sip:a@192.0.2.9", "192.0.2.9:5060", FLOW_UDP},
	{"a name", "192.0.2.1:5070", "sip:a@example.org", "192.0.2.1:5070", FLOW_UDP},
	{"behind NAT", "192.0.2.1:5070", "sip:a@192.168.1.5:5060", "192.0.2.1:5070", FLOW_UDP},
	{"both private", "10.0.0.1:5070", "sip:a@192.168.1.5:5061", "192.168.1.5:5061", FLOW_UDP},
	{"other family", "192.0.2.1:5070", "sip:a@[2001:db8::1]", "192.0.2.1:5070", FLOW_UDP},
	{"loopback from outside", "10.0.0.1:5070", "sip:a@127.0.0.1", "10.0.0.1:5070", FLOW_UDP},
	{"loopback", "127.0.0.1:5070", "sip:a@127.0.0.1:5071", "127.0.0.1:5071", FLOW_UDP},
	{"nowhere", "10.0.0.1:5070", "sip:a@0.0.0.0", "10.0.0.1:5070", FLOW_UDP},
	{"wants TCP", "192.0.2.1:5070", "sip:a@192.0.2.9;transport=TCP", "192.0.2.9:5060", FLOW_TCP},
	{"wants TLS", "192.0.2.1:5070", "sip:a@192.0.2.9;transport=tls", "192.0.2.1:5070", FLOW_UDP},
	{"sips", "192.0.2.1:5070", "sips:a@192.0.2.9", "192.0.2.1:5070", FLOW_UDP},
};
/* clang-format on */

static void test_dialog_flow(void **state)
{
	struct flow f;

	for (size_t i = 0; i < N_ELEMENTS(roads); i++) {
		struct sip_dlg d = {.target = str_z(roads[i].target), .flow = {.kind = FLOW_UDP, .peer = v4(roads[i].source)}};
		char buf[64];
		struct out o = OUT(buf);

		sip_dlg_flow(&d, &f);
		addr_print(&o, &f.peer);
		if (!str_eq(out_view(&o), str_z(roads[i].want)) || f.kind != roads[i].kind)
			fail_msg("%s: %.*s kind %d", roads[i].name, STR_ARG(out_view(&o)), f.kind);
		d.flow.kind = FLOW_TCP; /* a connection is stayed with */
		sip_dlg_flow(&d, &f);
		assert_memory_equal(&f, &d.flow, sizeof(f));
	}
}

/* ---- requests ---- */

static void test_request_text(void **state)
{
	struct world *w = *state;
	struct sip_dlg d = our_dialog(w);
	struct sip_request r = {.method = SIP_INVITE,
				.dlg = &d,
				.cseq = 1,
				.rnd = 5,
				.owner = 0x700000002,
				.contact_user = STR("us"),
				.headers = STR("X-Mine: 1\r\n"),
				.content_type = STR("application/sdp"),
				.body = STR("v=0\r\n")};
	struct sip_id id;
	struct sip_msg m;
	char branch[64];

	assert_non_null(sip_request(w->sip, &r, w->now_ms));
	assert_int_equal(sip_parse(str_n(w->sent, w->n_sent), &m), 0);
	assert_int_equal(m.error, 0);
	assert_int_equal(m.max_forwards, 70);
	eq(m.sent_by, "127.0.0.1:5060");
	eq(m.uri, "sip:peer@127.0.0.1:5070");
	eq(m.body, "v=0\r\n");
	eq(m.to, "<sip:peer@127.0.0.1>");
	eq(sip_get(&m, HDR_CONTACT), "<sip:us@127.0.0.1:5060>");
	eq(sip_get(&m, HDR_USER_AGENT), "Hookswitch test");
	assert_int_equal(sip_id_parse(test_key, SIP_ID_BRANCH, m.branch, &id), 0);
	assert_true(id.h == 0x700000002 && id.node == 3);
	assert_int_equal(str_zcpy(m.branch, branch, sizeof(branch)), 0);
	r.method = SIP_INFO; /* the same random number: another request still has another branch */
	assert_non_null(sip_request(w->sip, &r, w->now_ms));
	assert_false(sent_has(w, branch));
	r.method = SIP_INVITE;
	r.cseq = 2;
	assert_non_null(sip_request(w->sip, &r, w->now_ms));
	assert_false(sent_has(w, branch));
	r.cseq = 1;
	assert_non_null(sip_request(w->sip, &r, w->now_ms));
	assert_sent(w, branch);
	r.uri = STR("sip:bad uri@h");
	w->said.n = 0;
	assert_null(sip_request(w->sip, &r, w->now_ms));
	r.uri = STR_NONE;
	r.method = SIP_ACK;
	assert_null(sip_request(w->sip, &r, w->now_ms));
	expect(w, "");
}

/* A body that does not fit: nothing is sent, nothing is kept. */
static void test_too_large(void **state)
{
	struct world *w = *state;
	struct sip_dlg d = our_dialog(w);
	char *body = malloc(limit_of(LIMIT_SIP_MESSAGE));
	struct str big = str_n(body, limit_of(LIMIT_SIP_MESSAGE));

	memset(body, 'b', big.n);
	assert_null(sip_request(w->sip, &(struct sip_request){.method = SIP_INFO, .dlg = &d, .cseq = 1, .body = big}, w->now_ms));
	ask(w, ASK(.method = "INFO"));
	assert_int_equal(sip_tx_reply(w->tx, &(struct sip_reply){.status = 200, .body = big}, w->now_ms), -EMSGSIZE);
	expect(w, "<INFO");
	reply(w, 200);
	expect(w, ">200");
	free(body);
}

static void test_timer_table(void **state)
{
	for (int i = 0; i < TIMER_N; i++) {
		const struct sip_timer_info *t = &sip_timer_table[i];

		assert_non_null(t->name);
		print_message("  %-6s udp %6ld ms  tcp %6ld ms  up to %5ld ms  %-12s %s\n", t->name, (long)t->udp_ms, (long)t->tcp_ms, (long)t->max_ms,
			      t->section, t->doc);
	}
}

static int setup(void **state)
{
	*state = world_new();
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_uris),
	    cmocka_unit_test(test_uri_host),
	    cmocka_unit_test(test_user),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_params),
	    cmocka_unit_test(test_ids),
	    T(test_via),
	    T(test_reply_text),
	    T(test_copied_folds),
	    T(test_dialog_uas),
	    T(test_dialog_refused),
	    cmocka_unit_test(test_dialog_flow),
	    T(test_request_text),
	    T(test_too_large),
	    cmocka_unit_test(test_timer_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
