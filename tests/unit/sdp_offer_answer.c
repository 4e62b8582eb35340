/* SPDX-License-Identifier: Apache-2.0
 *
 * sdp_offer_answer: what phones write is read as they mean it; answers mirror the offer (RFC 3264); limits hold at the bound and one past it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include "sdp/sdp.h"

#define HEAD "v=0\r\no=- 1 7 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"

static struct sdp_local local(const char *host)
{
	struct sdp_local us = {.session = 11, .version = 12, .dir = SDP_SENDRECV};
	assert_int_equal(addr_parse(str_z(host), &us.rtp), 0);
	return us;
}

static int answer(const char *offer, char *buf, size_t cap, struct sdp_agreed *a)
{
	static struct sdp s;
	struct sdp_local us = local("198.51.100.9:40000");
	struct out o = {.p = buf, .cap = cap};
	int r = sdp_parse(str_z(offer), &s);
	if (r == 0)
		r = sdp_answer(&s, &us, &o, a);
	out_z(&o);
	return r;
}

static void assert_addr(const struct addr *a, const char *text)
{
	struct addr b;
	assert_int_equal(addr_parse(str_z(text), &b), 0);
	assert_true(addr_eq(a, &b));
}

static void test_plain(void **state)
{
	char buf[1024];
	struct sdp_agreed a;
	assert_int_equal(answer(HEAD "m=audio 5004 RTP/AVP 9 8 0 96\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
				     "a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=ptime:30\r\na=rtcp-mux\r\n",
				buf, sizeof(buf), &a),
			 0);
	assert_int_equal(a.codec, CODEC_PCMA); /* the first of the offer that we know */
	assert_int_equal(a.codec_pt, 8);
	assert_int_equal(a.dtmf_pt, 96);
	assert_int_equal(a.dtmf_pt_in, 96);
	assert_int_equal(a.dir, SDP_SENDRECV);
	assert_addr(&a.remote, "192.0.2.1:5004");
	assert_addr(&a.remote_rtcp, "192.0.2.1:5005");
	assert_string_equal(buf, "v=0\r\no=- 11 12 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 96\r\n"
				 "a=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\n");
}

static void test_static_without_rtpmap_and_lf(void **state)
{
	char buf[1024];
	struct sdp_agreed a;
	assert_int_equal(answer("v=0\no=u 1 1 IN IP4 h.example\nc=IN IP4 192.0.2.3\nm=audio 4000/1 RTP/AVP 18 0\n", buf, sizeof(buf), &a), 0);
	assert_int_equal(a.codec, CODEC_PCMU);
	assert_int_equal(a.dtmf_pt, 0);
	assert_null(strstr(buf, "telephone-event"));
	assert_addr(&a.remote, "192.0.2.3:4000");
}

static void test_dynamic_number(void **state)
{
	char buf[1024];
	struct sdp_agreed a;
	assert_int_equal(answer(HEAD "m=audio 5004 RTP/AVP 97 101\r\na=rtpmap:97 pcmu/8000/1\r\na=rtpmap:101 telephone-event/16000\r\n", buf, sizeof(buf), &a),
			 0);
	assert_int_equal(a.codec, CODEC_PCMU);
	assert_int_equal(a.codec_pt, 97);
	assert_int_equal(a.dtmf_pt, 0); /* its clock is not ours */
	assert_non_null(strstr(buf, "m=audio 40000 RTP/AVP 97\r\na=rtpmap:97 PCMU/8000\r\n"));
	assert_int_equal(answer(HEAD "m=audio 5004 RTP/AVP 97\r\na=rtpmap:97 PCMU/8000/2\r\n", buf, sizeof(buf), &a), -ENOTSUP);
}

/* Every m= line of the offer is answered, in order; what we do not take has port 0. */
static void test_many_streams(void **state)
{
	char buf[2048];
	struct sdp_agreed a;
	assert_int_equal(answer(HEAD
				"m=video 5010 RTP/AVP 31 32\r\nm=audio 5008 RTP/SAVP 0\r\nm=audio 5004 RTP/AVP 0\r\nc=IN IP6 2001:db8::7\r\na=rtcp:7000\r\n"
				"m=audio 5006 RTP/AVP 0\r\nm=image 5012 udptl t38\r\n",
				buf, sizeof(buf), &a),
			 0);
	assert_int_equal(a.media, 2);
	assert_addr(&a.remote, "[2001:db8::7]:5004");
	assert_addr(&a.remote_rtcp, "[2001:db8::7]:7000");
	const char *want[] = {"m=video 0 RTP/AVP 31\r\n", "m=audio 0 RTP/SAVP 0\r\n", "m=audio 40000 RTP/AVP 0\r\n", "m=audio 0 RTP/AVP 0\r\n",
			      "m=image 0 udptl t38\r\n"};
	const char *at = buf;
	for (size_t i = 0; i < N_ELEMENTS(want); i++) {
		at = strstr(at, want[i]);
		assert_non_null(at);
		at++;
	}
	assert_int_equal(answer(HEAD "m=audio 5004 RTP/SAVP 0\r\n", buf, sizeof(buf), &a), -ENOTSUP);
	assert_int_equal(answer(HEAD "m=audio 0 RTP/AVP 0\r\n", buf, sizeof(buf), &a), -ENOTSUP);
	assert_int_equal(answer(HEAD, buf, sizeof(buf), &a), -ENOTSUP);
}

static void test_hold(void **state)
{
	static const struct {
		const char *conn, *dir;
		enum sdp_dir ours;
		bool remote;
	} forms[] = {
	    {"192.0.2.1", "sendrecv", SDP_SENDRECV, true}, {"192.0.2.1", "sendonly", SDP_RECVONLY, true}, {"192.0.2.1", "recvonly", SDP_SENDONLY, true},
	    {"192.0.2.1", "inactive", SDP_INACTIVE, true}, {"0.0.0.0", "sendrecv", SDP_RECVONLY, false},  {"0.0.0.0", "recvonly", SDP_INACTIVE, false},
	};
	for (size_t i = 0; i < N_ELEMENTS(forms); i++) {
		char offer[512], buf[1024], want[32];
		struct sdp_agreed a;
		/* once said by the media, once by the session */
		for (int session = 0; session < 2; session++) {
			snprintf(offer, sizeof(offer),
				 "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\na=%s\r\nm=audio 5004 RTP/AVP 0\r\n%s%s%s", forms[i].conn,
				 session ? forms[i].dir : "tool:x", session ? "" : "a=", session ? "" : forms[i].dir, session ? "" : "\r\n");
			assert_int_equal(answer(offer, buf, sizeof(buf), &a), 0);
			assert_int_equal(a.dir, forms[i].ours);
			assert_int_equal(a.remote.family != 0, forms[i].remote);
			snprintf(want, sizeof(want), "a=%s\r\n", sdp_dir_name(forms[i].ours));
			assert_non_null(strstr(buf, want));
		}
	}
}

static void test_offer_and_agree(void **state)
{
	char buf[1024];
	static struct sdp s;
	struct sdp_agreed a;
	struct out o = OUT(buf);
	struct sdp_local us = local("[2001:db8::1]:40002");
	assert_int_equal(sdp_offer(&us, &o), 0);
	assert_int_equal(sdp_parse(out_view(&o), &s), 0);
	assert_int_equal(s.n_media, 1);
	assert_int_equal(s.media[0].n_fmt, 3);
	assert_int_equal(s.version, 12);
	assert_addr(&s.media[0].conn, "2001:db8::1");
	/* the peer takes PCMA and calls events 99 */
	const char *peer = HEAD "m=audio 6000 RTP/AVP 8 99\r\na=rtpmap:99 telephone-event/8000\r\na=sendonly\r\n";
	assert_int_equal(sdp_parse(str_z(peer), &s), 0);
	assert_int_equal(sdp_agree(&s, &us, &a), 0);
	assert_int_equal(a.codec, CODEC_PCMA);
	assert_int_equal(a.dtmf_pt, 99);
	assert_int_equal(a.dtmf_pt_in, 101);
	assert_int_equal(a.dir, SDP_RECVONLY);
	assert_int_equal(sdp_parse(str_z(HEAD "m=audio 0 RTP/AVP 8\r\n"), &s), 0);
	assert_int_equal(sdp_agree(&s, &us, &a), -ENOTSUP);
	/* only what we offered counts */
	static const enum codec_id only[] = {CODEC_PCMU};
	us.codecs = only;
	us.n_codecs = 1;
	assert_int_equal(sdp_parse(str_z(peer), &s), 0);
	assert_int_equal(sdp_agree(&s, &us, &a), -ENOTSUP);
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
	    "",
	    "\r\n",
	    "v=1\r\n",
	    "o=- 1 1 IN IP4 1.2.3.4\r\nv=0\r\n",
	    "v=0\r\n",
	    "v=0\r\no=- 1 x IN IP4 1.2.3.4\r\n",
	    "v=0\r\no=- 1\r\n",
	    HEAD "m=audio\r\n",
	    HEAD "m=audio 70000 RTP/AVP 0\r\n",
	    HEAD "m=audio 5004 RTP/AVP\r\n",
	    HEAD "m=audio 5004 RTP/AVP 128\r\n",
	    HEAD "m=audio 5004 RTP/AVP x\r\n",
	    HEAD "m=audio -1 RTP/AVP 0\r\n",
	    HEAD "nonsense\r\n",
	    HEAD "c=IN\r\n",
	    HEAD "c=IN IP5 1.2.3.4\r\n",
	    HEAD "m=audio 5004 RTP/AVP 0\r\na=rtpmap:0\r\n",
	    HEAD "m=audio 5004 RTP/AVP 0\r\na=rtpmap:0 PCMU\r\n",
	    HEAD "v=0\r\n",
	};
	static struct sdp s;
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		if (sdp_parse(str_z(bad[i]), &s) != -EBADMSG)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(sdp_parse(STR(HEAD "a=x\0y\r\n"), &s), -EBADMSG);
}

static void test_limits(void **state)
{
	static struct sdp s;
	static char buf[1 << 17];
	for (int past = 0; past < 2; past++) {
		struct out o = OUT(buf);
		OUT_STR(&o, HEAD);
		for (int i = 0; i < SDP_MEDIA_MAX + past; i++)
			OUT_STR(&o, "m=audio 5004 RTP/AVP 0\r\n");
		uint64_t before = count_get(COUNT_LIMIT_HIT);
		assert_int_equal(sdp_parse(out_view(&o), &s), past ? -E2BIG : 0);
		assert_int_equal(count_get(COUNT_LIMIT_HIT) - before, past);
		o.n = 0;
		OUT_STR(&o, HEAD "m=audio 5004 RTP/AVP");
		for (int i = 0; i < SDP_FMT_MAX + past; i++) {
			out_c(&o, ' ');
			out_u64(&o, (uint64_t)i);
		}
		assert_int_equal(sdp_parse(out_view(&o), &s), past ? -E2BIG : 0);
		o.n = 0;
		OUT_STR(&o, HEAD "a=");
		while (o.n < limit_of(LIMIT_SDP) + (unsigned)past)
			out_c(&o, 'x');
		assert_false(o.over);
		assert_int_equal(sdp_parse(out_view(&o), &s), past ? -E2BIG : 0);
	}
	assert_int_equal(limit_of(LIMIT_SDP_MEDIA), SDP_MEDIA_MAX);
	assert_int_equal(limit_of(LIMIT_SDP_FORMATS), SDP_FMT_MAX);
}

/* No room: said, and nothing written past it. */
static void test_no_room(void **state)
{
	char buf[2048];
	struct sdp_agreed a;
	const char *offer = HEAD "m=audio 5004 RTP/AVP 0\r\n";
	assert_int_equal(answer(offer, buf, sizeof(buf), &a), 0);
	size_t n = strlen(buf);
	for (size_t cap = 1; cap < n; cap++)
		assert_int_equal(answer(offer, buf, cap, &a), -ENOSPC);
	/* an answer is a session description too */
	static struct sdp s;
	assert_int_equal(answer(offer, buf, sizeof(buf), &a), 0);
	assert_int_equal(sdp_parse(str_z(buf), &s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_plain),
	    cmocka_unit_test(test_static_without_rtpmap_and_lf),
	    cmocka_unit_test(test_dynamic_number),
	    cmocka_unit_test(test_many_streams),
	    cmocka_unit_test(test_hold),
	    cmocka_unit_test(test_offer_and_agree),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_no_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
