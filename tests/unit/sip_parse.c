/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser: a table of messages with what they deserve, line ends by AVX2 against the plain way on every alignment, damaged messages, stream frames, limits, and whatever
 * lies in the corpora folder (HOOKSWITCH_CORPORA, default ../shared/corpora beside the source).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sip/sip_int.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define VIA    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK77\r\n"
#define FROM   "From: <sip:a@example.org>;tag=1\r\n"
#define TO     "To: <sip:b@example.org>\r\n"
#define ID     "Call-ID: c1@example.org\r\n"
#define CSEQ   "CSeq: 1 INVITE\r\n"
#define INVITE "INVITE sip:b@example.org SIP/2.0\r\n"
#define GOOD   INVITE VIA FROM TO ID CSEQ
#define OK     "SIP/2.0 200 OK\r\n"

/* clang-format off */
static const struct {
	const char *name, *text;
	int ret, error;
} messages[] = {
	{"plain", GOOD "\r\n", 0, 0},
	{"empty", "", -EBADMSG, 0},
	{"line ends alone", "\r\n\r\n", -EBADMSG, 0},
	{"line ends in front", "\r\n\r\n" GOOD "\r\n", 0, 0},
	{"bare LF", "INVITE sip:b@example.org SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>\nCall-ID: 1\nCSeq: 1 INVITE\n\n", 0, 0},
	{"compact forms", INVITE "v: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\ni: 1\r\n" CSEQ "l: 0\r\n\r\n", 0, 0},
	{"names in any case", INVITE "vIA: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFROM: <sip:a@h>;tag=1\r\nto: <sip:b@h>\r\ncAlL-iD: 1\r\ncseq: 1 INVITE\r\n\r\n", 0, 0},
	{"space before the colon", INVITE "Via  : SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom\t: <sip:a@h>;tag=1\r\n" TO ID CSEQ "\r\n", 0, 0},
	{"folds everywhere",
	    "INVITE sip:b@h SIP/2.0\r\nTO :\r\n sip:b@h ;   tag    = 1918181833n\r\nfrom   : \"J R \\\\\\\"\"       <sip:j@h>\r\n  ;\r\n  tag = 98asjd8\r\nCall-ID: w@h\r\n"
	    "cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\ns :\r\nv:  SIP  / 2.0  / TCP     s.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
	    " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\nMaX-fOrWaRdS: 0068\r\n\r\n", 0, 0},
	{"unknown method", "RE%47IST%45R sip:h SIP/2.0\r\n" VIA FROM TO ID "CSeq: 1 RE%47IST%45R\r\n\r\n", 0, 0},
	{"no branch", INVITE "Via: SIP/2.0/UDP h\r\n" FROM TO ID CSEQ "\r\n", 0, 0},
	{"no From tag", INVITE VIA "From: sip:a@h\r\n" TO ID CSEQ "\r\n", 0, 0},
	{"commas and brackets in quotes", INVITE VIA "From: \"A, <b> \\\" c\" <sip:a@h>;tag=1\r\n" TO ID CSEQ "\r\n", 0, 0},
	{"bare words with a comma", INVITE VIA "From: Bell, Alexander <sip:a@h>;tag=1\r\n" TO ID CSEQ "\r\n", 0, 0},
	{"other schemes in From and To", INVITE VIA "From: <http://www.example.com>;tag=1\r\nTo: isbn:2983792873\r\n" ID CSEQ "\r\n", 0, 0},
	{"white space inside <>", INVITE VIA FROM "To: \"W, T\" < sip:t@h >\r\n" ID CSEQ "\r\n", 0, 0},
	{"trailing white space in the request line", "INVITE  sip:b@example.org  SIP/2.0  \r\n" VIA FROM TO ID CSEQ "\r\n", 0, 0},
	{"IPv6", "INVITE sip:b@[2001:db8::1]:5070 SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::2]:5062;branch=z9hG4bK1\r\n" FROM TO ID CSEQ "\r\n", 0, 0},
	{"tel", "INVITE tel:+358-555-1234567;phone-context=x SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 0},
	{"largest CSeq", INVITE VIA FROM TO ID "CSeq: 2147483647 INVITE\r\n\r\n", 0, 0},
	{"body longer than said", GOOD "Content-Length: 2\r\n\r\nabcd", 0, 0},
	{"Max-Forwards 0", GOOD "Max-Forwards: 0\r\n\r\n", 0, 0},
	{"one semicolon too many behind the Via", INVITE "Via: SIP/2.0/UDP h;branch=z9hG4bK1;\r\n" FROM TO ID CSEQ "\r\n", 0, 0},

	{"version 7", "INVITE sip:b@h SIP/7.0\r\nVia: SIP/7.0/UDP h;branch=z9hG4bK1\r\n" FROM TO ID CSEQ "\r\n", 0, 505},
	{"unknown scheme", "INVITE nobodyKnowsThisScheme:opaque SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 416},
	{"scheme with slashes", "INVITE soap.beep://192.0.2.103:3002 SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 416},
	{"Request-URI in <>", "INVITE <sip:b@h> SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 400},
	{"space within the Request-URI", "INVITE sip:b@h; lr SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 400},
	{"bad escape in the Request-URI", "INVITE sip:b%zz@h SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 400},
	{"Content-Length too large", GOOD "Content-Length: 5\r\n\r\nabcd", 0, 400},
	{"Content-Length negative", GOOD "Content-Length: -999\r\n\r\nabcd", 0, 400},
	{"Content-Length no number", GOOD "Content-Length: 4x\r\n\r\nabcd", 0, 400},
	{"Content-Length beyond all numbers", GOOD "Content-Length: 99999999999999999999999\r\n\r\nabcd", 0, 400},
	{"Max-Forwards 256", GOOD "Max-Forwards: 256\r\n\r\n", 0, 400},
	{"Max-Forwards no number", GOOD "Max-Forwards: many\r\n\r\n", 0, 400},
	{"two From", GOOD FROM "\r\n", 0, 400},
	{"two To", GOOD TO "\r\n", 0, 400},
	{"two Call-ID", GOOD "i: 2\r\n\r\n", 0, 400},
	{"two CSeq", GOOD CSEQ "\r\n", 0, 400},
	{"two Max-Forwards", GOOD "Max-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n", 0, 400},
	{"two Content-Length", GOOD "Content-Length: 0\r\nl: 0\r\n\r\n", 0, 400},
	{"CSeq of another method", INVITE VIA FROM TO ID "CSeq: 1 OPTIONS\r\n\r\n", 0, 400},
	{"CSeq of an unknown method", "NEWMETHOD sip:b@h SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 400},
	{"open quote in To", INVITE VIA FROM "To: \"Mr. J. User <sip:j@h>\r\n" ID CSEQ "\r\n", 0, 400},
	{"open bracket in From", INVITE VIA "From: <sip:a@h;tag=1\r\n" TO ID CSEQ "\r\n", 0, 400},
	{"question mark in a bare To", INVITE VIA FROM "To: sip:b@h?Route=x\r\n" ID CSEQ "\r\n", 0, 400},
	{"empty parameters in the Via", INVITE "Via: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n" FROM TO ID CSEQ "\r\n", 0, 400},
	{"a line without a colon", GOOD "what is this\r\n\r\n", 0, 400},
	{"a line without a name", GOOD ": value\r\n\r\n", 0, 400},
	{"fold before the first header", INVITE " folded\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 400},
	{"no empty line", GOOD, 0, 400},

	{"CSeq one past", INVITE VIA FROM TO ID "CSeq: 2147483648 INVITE\r\n\r\n", -EBADMSG, 400},
	{"CSeq far past", INVITE VIA FROM TO ID "CSeq: 36893488147419103232 INVITE\r\n\r\n", -EBADMSG, 400},
	{"CSeq without a method", INVITE VIA FROM TO ID "CSeq: 1\r\n\r\n", -EBADMSG, 400},
	{"CSeq without a space", INVITE VIA FROM TO ID "CSeq: 1INVITE\r\n\r\n", -EBADMSG, 400},
	{"no From", INVITE VIA TO ID CSEQ "\r\n", -EBADMSG, 400},
	{"no To", INVITE VIA FROM ID CSEQ "\r\n", -EBADMSG, 400},
	{"no Call-ID", INVITE VIA FROM TO CSEQ "\r\n", -EBADMSG, 400},
	{"no CSeq", INVITE VIA FROM TO ID "\r\n", -EBADMSG, 400},
	{"empty Call-ID", INVITE VIA FROM TO "Call-ID:\r\n" CSEQ "\r\n", -EBADMSG, 400},
	{"no Via", INVITE FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"Via of nothing", INVITE "Via: \r\n" FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"Via without a host", INVITE "Via: SIP/2.0/UDP ;branch=z9hG4bK1\r\n" FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"HTTP", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", -EBADMSG, 0},
	{"no version", "INVITE sip:b@h\r\n" VIA FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"no URI", "INVITE SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"method of no token", "INV(TE sip:b@h SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n", -EBADMSG, 0},

	{"answer", OK VIA FROM TO ID CSEQ "\r\n", 0, 0},
	{"answer without a reason", "SIP/2.0 200\r\n" VIA FROM TO ID CSEQ "\r\n", 0, 0},
	{"answer with an empty reason", "SIP/2.0 200 \r\n" VIA FROM TO ID CSEQ "\r\n", 0, 0},
	{"status beyond all numbers", "SIP/2.0 4294967301 no\r\n" VIA FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"status 700", "SIP/2.0 700 no\r\n" VIA FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"status 99", "SIP/2.0 099 no\r\n" VIA FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"answer of version 3", "SIP/3.0 200 OK\r\n" VIA FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"answer with CSeq past", OK VIA FROM TO ID "CSeq: 9292394834772304023312 OPTIONS\r\n\r\n", -EBADMSG, 0},
	{"answer with two From", OK VIA FROM FROM TO ID CSEQ "\r\n", -EBADMSG, 0},
	{"answer without To", OK VIA FROM ID CSEQ "\r\n", -EBADMSG, 0},
};
/* clang-format on */

static void test_table(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(messages); i++) {
		struct str in = str_z(messages[i].text);
		char *exact = malloc(in.n ? in.n : 1); /* so that the sanitizer sees a byte too far */
		struct sip_msg m;
		int ret;

		memcpy(exact, in.p, in.n);
		ret = sip_parse(str_n(exact, in.n), &m);
		if (ret != messages[i].ret || m.error != messages[i].error)
			fail_msg("%s: returned %d error %d (%s), wanted %d and %d", messages[i].name, ret, m.error, m.why ? m.why : "", messages[i].ret,
				 messages[i].error);
		assert_true(!m.error == !m.why);
		free(exact);
	}
}

static void eq(struct str s, const char *want)
{
	if (!str_eq(s, str_z(want)))
		fail_msg("got '%.*s', wanted '%s'", STR_ARG(s), want);
}

static void test_views(void **state)
{
	struct sip_msg m;
	const struct sip_hdr *h;
	struct str rest, one;

	assert_int_equal(
	    sip_parse(
		STR("\r\nINVITE sip:1%2300@example.org;x=y SIP/2.0\r\n"
		    "Via: SIP/2.0/UDP [::1]:5062 ; rport ; branch=z9hG4bKabc , SIP/2.0/TCP two\r\nVia: SIP/2.0/TCP three\r\n"
		    "From: \"Al, <x>\" <sip:a@example.org>;tag=ft\r\nTo: sip:b@example.org;tag=tt\r\nCall-ID: id\r\nCSeq: 7 INVITE\r\nMax-Forwards: 69\r\n"
		    "Subject: first\r\n second\r\nX-Mine: 1\r\nContact: <sip:a@h1>, \"b,c\" <sip:b@h2,x>;q=1,\r\n <sip:c@h3>\r\nContent-Length: "
		    "4\r\n\r\nbodyGARBAGE"),
		&m),
	    0);
	assert_true(m.is_request);
	assert_int_equal(m.method, SIP_INVITE);
	eq(m.method_text, "INVITE");
	eq(m.uri, "sip:1%2300@example.org;x=y");
	eq(m.via, "SIP/2.0/UDP [::1]:5062 ; rport ; branch=z9hG4bKabc");
	eq(m.sent_by, "[::1]:5062");
	eq(m.branch, "z9hG4bKabc");
	eq(m.from_tag, "ft");
	eq(m.to_tag, "tt");
	eq(m.call_id, "id");
	assert_int_equal(m.cseq, 7);
	assert_int_equal(m.max_forwards, 69);
	eq(m.body, "body");
	assert_true(m.raw.p[m.raw.n - 1] == 'y');
	eq(sip_get(&m, HDR_SUBJECT), "first\r\n second");
	assert_null(sip_get(&m, HDR_EXPIRES).p);
	h = sip_next(&m, HDR_VIA, NULL);
	h = sip_next(&m, HDR_VIA, h);
	eq(h->value, "SIP/2.0/TCP three");
	assert_null(sip_next(&m, HDR_VIA, h));
	h = sip_next(&m, HDR_OTHER, NULL);
	eq(h->name, "X-Mine");
	rest = sip_get(&m, HDR_CONTACT);
	assert_true(sip_list(&rest, &one));
	eq(one, "<sip:a@h1>");
	assert_true(sip_list(&rest, &one));
	eq(one, "\"b,c\" <sip:b@h2,x>;q=1");
	assert_true(sip_list(&rest, &one));
	eq(one, "<sip:c@h3>");
	assert_false(sip_list(&rest, &one));
	assert_int_equal(sip_parse(STR("SIP/2.0 486 Busy  Here\r\n" VIA FROM TO ID "CSeq: 3 BYE\r\n\r\n"), &m), 0);
	assert_false(m.is_request);
	assert_int_equal(m.status, 486);
	assert_int_equal(m.method, SIP_BYE);
	eq(m.reason, "Busy  Here");
	assert_int_equal(m.max_forwards, -1);
}

/* Each header by its name and, where it has one, its compact form. */
static void test_names(void **state)
{
	for (int i = 1; i < HDR_N; i++) {
		const struct sip_hdr_info *h = &sip_hdr_table[i];
		char upper[40];

		assert_non_null(h->name);
		for (size_t k = 0; k <= h->n; k++)
			upper[k] = h->name[k] >= 'a' && h->name[k] <= 'z' ? (char)(h->name[k] - 32) : h->name[k];
		assert_int_equal(sip_hdr_find(str_z(h->name)), i);
		assert_int_equal(sip_hdr_find(str_z(upper)), i);
		if (h->compact)
			assert_int_equal(sip_hdr_find(str_n(&h->compact, 1)), i);
	}
	assert_int_equal(sip_hdr_find(STR("Vi")), HDR_OTHER);
	assert_int_equal(sip_hdr_find(STR("z")), HDR_OTHER);
	assert_int_equal(sip_method_find(STR("INVITE")), SIP_INVITE);
	assert_int_equal(sip_method_find(STR("invite")), SIP_OTHER);
	assert_string_equal(sip_reason(486), "Busy Here");
	assert_string_equal(sip_reason(499), "Request Failed");
}

/* ---- limits: at them and one past ---- */

static size_t fill_headers(char *buf, size_t cap, int n)
{
	struct out o = {.p = buf, .cap = cap};

	OUT_STR(&o, GOOD);
	for (int i = 5; i < n; i++)
		OUT_STR(&o, "X: y\r\n");
	OUT_STR(&o, "\r\n");
	assert_false(o.over);
	return o.n;
}

static void test_limits(void **state)
{
	size_t cap = limit_of(LIMIT_SIP_MESSAGE) + 4096;
	char *buf = malloc(cap);
	struct out o = {.p = buf, .cap = cap};
	struct sip_msg m;

	assert_int_equal(limit_of(LIMIT_SIP_HEADERS), SIP_HDR_MAX);
	assert_int_equal(sip_parse(str_n(buf, fill_headers(buf, cap, SIP_HDR_MAX)), &m), 0);
	assert_int_equal(m.error, 0);
	assert_int_equal(m.n_hdr, SIP_HDR_MAX);
	assert_int_equal(sip_parse(str_n(buf, fill_headers(buf, cap, SIP_HDR_MAX + 1)), &m), 0);
	assert_int_equal(m.error, 400);
	assert_int_equal(m.n_hdr, SIP_HDR_MAX);
	for (size_t past = 0; past < 2; past++) { /* the URI: "sip:" and "@h" count */
		o.n = 0;
		OUT_STR(&o, "INVITE sip:");
		for (size_t i = 0; i < limit_of(LIMIT_SIP_URI) - 6 + past; i++)
			out_c(&o, 'u');
		OUT_STR(&o, "@h SIP/2.0\r\n" VIA FROM TO ID CSEQ "\r\n");
		assert_int_equal(sip_parse(out_view(&o), &m), 0);
		assert_int_equal(m.error, past ? 414 : 0);
	}
	for (size_t past = 0; past < 2; past++) { /* the whole message */
		o.n = 0;
		OUT_STR(&o, GOOD "\r\n");
		while (o.n < limit_of(LIMIT_SIP_MESSAGE) + past)
			out_c(&o, 'b');
		assert_int_equal(sip_parse(out_view(&o), &m), 0);
		assert_int_equal(m.error, past ? 513 : 0);
	}
	o.n = 0; /* lines: folds of one header */
	OUT_STR(&o, GOOD "X: 1\r\n");
	for (int i = 0; i < SIP_LINES_MAX; i++)
		OUT_STR(&o, " 2\r\n");
	OUT_STR(&o, "\r\n");
	assert_int_equal(sip_parse(out_view(&o), &m), 0);
	assert_int_equal(m.error, 400);
	free(buf);
}

/* ---- line ends ---- */

static void same_lines(struct str in)
{
	struct sip_lines a, b;

	sip_lines_plain(in, &a);
	if (!sip_lines_avx2(in, &b))
		return;
	assert_int_equal(a.n, b.n);
	assert_int_equal(a.blank, b.blank);
	assert_memory_equal(a.end, b.end, (size_t)a.n * sizeof(a.end[0]));
}

/* A line end on each place of two blocks, at each alignment of the first byte: the prototype's bug stood on the 32nd. */
static void test_alignments(void **state)
{
	char *buf = aligned_alloc(64, 512);

	for (size_t align = 0; align < 64; align++)
		for (size_t at = 0; at < 96; at++)
			for (size_t gap = 1; gap <= 33; gap++) {
				struct str in = str_n(buf + align, 200);

				memset(buf, 'x', 512);
				buf[align + at] = '\n';
				buf[align + at + gap] = '\n';
				buf[align + 160] = '\r';
				buf[align + 161] = '\n';
				same_lines(in);
			}
	for (size_t n = 0; n < 200; n++) { /* every length, ended by the end of memory */
		char *exact = malloc(n ? n : 1);

		memset(exact, 'x', n);
		if (n)
			exact[n - 1] = '\n';
		same_lines(str_n(exact, n));
		free(exact);
	}
	free(buf);
}

/* ---- damage ---- */

static volatile unsigned char sink;

static void touch(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		sink ^= (unsigned char)s.p[i];
}

static void inside(struct str whole, struct str view)
{
	if (view.n) {
		assert_true(view.p >= whole.p && view.p + view.n <= whole.p + whole.n);
		touch(view);
	}
}

static int parse_any(struct str in)
{
	struct sip_name_addr na;
	struct sip_uri u;
	struct sip_msg m;
	struct str rest, one;
	struct addr a;
	char buf[64];
	size_t n;
	int ret = sip_parse(in, &m);

	inside(in, m.raw);
	inside(in, m.uri);
	inside(in, m.via);
	inside(in, m.branch);
	inside(in, m.sent_by);
	inside(in, m.from);
	inside(in, m.from_tag);
	inside(in, m.to_tag);
	inside(in, m.call_id);
	inside(in, m.body);
	inside(in, m.reason);
	for (int i = 0; i < m.n_hdr; i++) {
		inside(in, m.hdr[i].name);
		inside(in, m.hdr[i].value);
		for (rest = m.hdr[i].value; sip_list(&rest, &one);) {
			inside(in, one);
			if (sip_name_addr_parse(one, &na))
				continue;
			inside(in, na.display);
			inside(in, na.uri);
			if (sip_param(na.params, STR("tag"), &one))
				inside(in, one);
			if (sip_uri_parse(na.uri, &u) == 0) {
				inside(in, u.host);
				(void)!sip_uri_host(&u, &a);
				(void)!sip_user_decode(u.user, buf, sizeof(buf), &n);
			}
		}
	}
	if (ret == 0 && !m.error)
		assert_true(m.via.n && m.from.n && m.to.n && m.call_id.n && m.cseq <= INT32_MAX);
	return ret;
}

#define WHOLE                                                                                                                                                  \
	GOOD "Max-Forwards: 70\r\nContact: \"x, y\" <sip:a@192.0.2.1:5060;transport=udp>;q=1, <tel:+1>\r\nSubject: a\r\n b\r\nRecord-Route: <sip:p;lr>\r\n"    \
	     "Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n"

/* Cut everywhere, bits flipped everywhere, and 60,000 random damages: no crash, no view outside, both line finders agree. */
static void test_damage(void **state)
{
	const struct str whole = STR(WHOLE);
	char *copy = malloc(whole.n);
	int parsed = 0, n = 0;

	rand_seed(4475);
	for (size_t cut = 0; cut <= whole.n; cut++) {
		char *exact = malloc(cut ? cut : 1);

		memcpy(exact, whole.p, cut);
		parse_any(str_n(exact, cut));
		same_lines(str_n(exact, cut));
		free(exact);
	}
	for (size_t i = 0; i < whole.n * 8; i++, n++) {
		memcpy(copy, whole.p, whole.n);
		copy[i / 8] = (char)(copy[i / 8] ^ 1 << i % 8);
		parsed += parse_any(str_n(copy, whole.n)) == 0;
	}
	for (int i = 0; i < 60000; i++, n++) {
		static const char hot[] = "\r\n\t :;,<>\"\\@%=/?[]&\0x";
		size_t len = 1 + rand_u32() % whole.n;

		memcpy(copy, whole.p, whole.n);
		for (uint32_t k = rand_u32() % 6 + 1; k; k--)
			copy[rand_u32() % len] = k & 1 ? hot[rand_u32() % (sizeof(hot) - 1)] : (char)rand_u32();
		parsed += parse_any(str_n(copy, len)) == 0;
		same_lines(str_n(copy, len));
	}
	print_message("%d damaged messages, %d of them still parsed\n", n, parsed);
	assert_in_range(parsed, 1, n - 1);
	free(copy);
}

/* ---- streams ---- */

static void test_frames(void **state)
{
	const struct str one = STR(GOOD "Content-Length: 4\r\n\r\nbody");
	char two[2048];
	struct out o = OUT(two);
	size_t need;

	out_str(&o, one);
	OUT_STR(&o, GOOD "l : \r\n 0\r\n\r\n");
	for (size_t n = 1; n < one.n; n++) {
		assert_int_equal(sip_frame(str_n(two, n), &need), 0);
		if (n >= one.n - 4)
			assert_int_equal(need, one.n);
		else
			assert_int_equal(need, 0);
	}
	assert_int_equal(sip_frame(out_view(&o), &need), one.n);
	assert_int_equal(sip_frame(str_skip(out_view(&o), one.n), &need), o.n - one.n);
	/* Keepalive: a ping is a frame; what may become one is held back. */
	for (size_t n = 1; n < 4; n++) {
		assert_int_equal(sip_frame(str_n("\r\n\r\n", n), &need), 0);
		assert_int_equal(need, 4);
	}
	assert_int_equal(sip_frame(STR("\r\n\r\n"), &need), 4);
	assert_int_equal(sip_frame(STR("\r\n\r\n\r\nINVITE"), &need), 4);
	assert_int_equal(sip_frame(STR("\r\nINVITE"), &need), 2);
	assert_int_equal(sip_frame(STR("GET / HTTP/1.1\r\n"), &need), -EBADMSG);
	assert_int_equal(sip_frame(STR(GOOD "Content-Length: -1\r\n\r\n"), &need), -EBADMSG);
	assert_int_equal(sip_frame(STR(GOOD "Content-Length: 1\r\nl: 2\r\n\r\n"), &need), -EBADMSG);
	assert_int_equal(sip_frame(STR(GOOD "Content-Length: 0\r\nl: 0\r\n\r\n"), &need), sizeof(GOOD "Content-Length: 0\r\nl: 0\r\n\r\n") - 1);
	assert_int_equal(sip_frame(STR(GOOD "\r\nX"), &need), sizeof(GOOD "\r\n") - 1); /* without a Content-Length there is no body */
	assert_int_equal(sip_frame(STR(GOOD "Content-Length: 65536\r\n\r\n"), &need), -EMSGSIZE);
	assert_int_equal(sip_frame(STR(GOOD "Content-Length: 4294967295\r\n\r\n"), &need), -EMSGSIZE);
}

/* A stream that never ends its headers: held up to the limit, closed one past it. */
static void test_frame_limit(void **state)
{
	size_t max = limit_of(LIMIT_SIP_MESSAGE), need;
	char *buf = malloc(max + 1);

	memset(buf, 'x', max + 1);
	memcpy(buf, INVITE "X: ", sizeof(INVITE "X: ") - 1);
	assert_int_equal(sip_frame(str_n(buf, max), &need), 0);
	assert_int_equal(sip_frame(str_n(buf, max + 1), &need), -EMSGSIZE);
	for (size_t i = sizeof(INVITE) - 1; i + 2 < 4096; i += 2)
		memcpy(buf + i, "x\n", 2);
	assert_int_equal(sip_frame(str_n(buf, 4096), &need), -EMSGSIZE);
	free(buf);
}

/* ---- corpora ---- */

static void take_file(const char *path, int *good, int *bad)
{
	FILE *f = fopen(path, "rb");
	char *buf = malloc(70000);
	size_t n = f ? fread(buf, 1, 70000, f) : 0;
	char *exact = malloc(n ? n : 1);
	size_t need;

	memcpy(exact, buf, n);
	if (parse_any(str_n(exact, n)) == 0)
		++*good;
	else
		++*bad;
	(void)sip_frame(str_n(exact, n), &need);
	same_lines(str_n(exact, n));
	if (f)
		fclose(f);
	free(exact);
	free(buf);
}

static void test_corpora(void **state)
{
	static const char *const folders[] = {"rfc4475", "sofia-sip", "kamailio-sip"};
	const char *root = getenv("HOOKSWITCH_CORPORA");
	char beside[512];
	int total = 0;

	if (!root) {
		const char *here = strstr(__FILE__, "tests/unit/");

		snprintf(beside, sizeof(beside), "%.*s../shared/corpora", here ? (int)(here - __FILE__) : 0, __FILE__);
		root = beside;
	}
	for (size_t i = 0; i < N_ELEMENTS(folders); i++) {
		char path[1024];
		struct dirent *e;
		int good = 0, bad = 0;
		DIR *d;

		snprintf(path, sizeof(path), "%s/%s", root, folders[i]);
		d = opendir(path);
		if (!d) {
			print_message("corpora: %s is not there: skipped\n", path);
			continue;
		}
		while ((e = readdir(d))) {
			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s/%s", root, folders[i], e->d_name);
			take_file(path, &good, &bad);
		}
		closedir(d);
		print_message("corpora: %s: %d parsed, %d dropped\n", folders[i], good, bad);
		total += good + bad;
	}
	if (!total)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),  cmocka_unit_test(test_views),       cmocka_unit_test(test_names),
	    cmocka_unit_test(test_limits), cmocka_unit_test(test_alignments),  cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_frames), cmocka_unit_test(test_frame_limit), cmocka_unit_test(test_corpora),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
