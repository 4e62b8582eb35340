/* SPDX-License-Identifier: Apache-2.0
 *
 * web_words: the pure parts of the HTTP client: signatures by their vectors, overrides in a URL's fragment, a call's jar.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "web/inside.h"

static void signs(const char *token, const char *url, const char *form, const char *want)
{
	char got[64];
	assert_int_equal(sign_twilio(str_z(token), str_z(url), str_z(form), got, sizeof(got)), 0);
	assert_string_equal(got, want);
}

static void test_twilio(void **state)
{
	const char *url = "http://127.0.0.1:9/voice?a=b&c=%20d", *want = "E0fdfp7KiVCiVGoD78FEtj6e998=";
	char small[29], got[64], other[64];
	signs("tok", url, "CallSid=CA11111111111111111111111111111111&Digits=5&From=%2B2&To=%2B1", want);
	/* sorted by us, a repeated pair counts once, + is a space */
	signs("tok", url, "To=%2b1&From=%2B2&Digits=5&Digits=5&CallSid=CA11111111111111111111111111111111&", want);
	assert_int_equal(sign_twilio(STR("tok"), STR("http://a/"), STR("b=2&a=x+y&b=1"), got, sizeof(got)), 0);
	assert_int_equal(sign_twilio(STR("tok"), STR("http://a/ax yb1b2"), STR_NONE, other, sizeof(other)), 0);
	assert_string_equal(got, other);
	assert_int_equal(sign_twilio(STR("tok"), STR("http://a/"), STR("a=%4"), got, sizeof(got)), 0);
	assert_int_equal(sign_twilio(STR("tok"), STR("http://a/a%4"), STR_NONE, other, sizeof(other)), 0);
	assert_string_equal(got, other);
	assert_int_equal(sign_twilio(STR("tok"), STR("x"), STR_NONE, small, sizeof(small)), 0);
	assert_int_equal(sign_twilio(STR("tok"), STR("x"), STR_NONE, small, sizeof(small) - 1), -ENOSPC);
}

/* Expected values by another implementation of HMAC (Python's), over "id.timestamp.body". */
static void test_webhook(void **state)
{
	static const unsigned char key[] = {0x31, 0xf2, 0x53, 0x50, 0x9a, 0x3a, 0x99, 0xca, 0xcf, 0xd5, 0x7f, 0xda, 0x33, 0xd4, 0xa6, 0x6f};
	char a[64], b[64], small[20];
	assert_int_equal(sign_webhook(str_n(key, sizeof(key)), STR("msg_1"), 1614265330, STR("{}"), a, sizeof(a)), 0);
	assert_string_equal(a, "v1,xBr2kigEsWd+a2l2B+KTYZEXCvgUgt4OxaDxGt2YhkE=");
	assert_int_equal(sign_webhook(str_n(key, sizeof(key)), STR("msg_1"), 1614265331, STR("{}"), b, sizeof(b)), 0);
	assert_string_not_equal(a, b);
	assert_int_equal(sign_webhook(STR("k"), STR("i"), 1, STR(""), small, sizeof(small)), -ENOSPC);
	assert_int_equal(sign_webhook(STR("tok"), STR("id"), 1700000000, STR("a=b"), a, sizeof(a)), 0);
	assert_string_equal(a, "v1,cEy+8Xe9NBO44jxbuHiV3RLFXLTcoEjTvMa/10pC2gk=");
}

static void test_overrides(void **state)
{
	struct override o;
	override_parse(STR_NONE, &o);
	assert_int_equal(o.connect_ms, 5000);
	assert_int_equal(o.read_ms, 15000);
	assert_int_equal(o.total_ms, 15000);
	assert_int_equal(o.retries, 1);
	assert_int_equal(o.retry_on, FETCH_RETRY_CT);
	override_parse(STR("ct=100&rt=15000&tt=2000&rc=5&rp=4xx,5xx,rt&sni=y&e=dublin,ashburn"), &o);
	assert_int_equal(o.connect_ms, 100);
	assert_int_equal(o.read_ms, 15000);
	assert_int_equal(o.total_ms, 2000);
	assert_int_equal(o.retries, 5);
	assert_int_equal(o.retry_on, FETCH_RETRY_4XX | FETCH_RETRY_5XX | FETCH_RETRY_RT);
	assert_string_equal(o.warning, "");
	override_parse(STR("rp=all"), &o);
	assert_int_equal(o.retry_on, 15);
	override_parse(STR("section-2"), &o);
	assert_string_equal(o.warning, "");
	override_parse(STR(""), &o);
	assert_string_equal(o.warning, "");
}

static void test_override_warnings(void **state)
{
	static const char *const bad[] = {"ct=99", "ct=10001", "rt=15001", "tt=15001", "tt=0",      "rc=6", "rc=-1",
					  "rc=",   "rp=",      "rp=6xx",   "rp=ct,",   "sni=maybe", "x=1",  "ct=5s"};
	struct override o;
	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		override_parse(str_z(bad[i]), &o);
		if (!str_starts(str_z(o.warning), STR("11243: ")))
			print_error("%s: %s\n", bad[i], o.warning);
		assert_true(str_starts(str_z(o.warning), STR("11243: ")));
		assert_int_equal(o.connect_ms, 5000);
		assert_int_equal(o.read_ms, 15000);
		assert_int_equal(o.total_ms, 15000);
		assert_int_equal(o.retries, 1);
		assert_int_equal(o.retry_on, FETCH_RETRY_CT);
	}
	override_parse(STR("e=atlantis&rc=2"), &o);
	assert_true(str_starts(str_z(o.warning), STR("11240: ")));
	assert_int_equal(o.retries, 2); /* what is good beside it counts */
}

static void test_jar(void **state)
{
	static struct jar j, k;
	struct curl_slist *cookies = curl_slist_append(NULL, "h.test\tFALSE\t/\tFALSE\t0\tid\t42");
	cookies = curl_slist_append(cookies, "#HttpOnly_h.test\tFALSE\t/\tFALSE\t0\tx\ty");
	char buf[1000];
	struct out o = OUT(buf);
	assert_int_equal(jar_remember(&j, "http://a:80", "u\t\n%", "p:@ss"), 0);
	jar_cred(&j, "http://a:80")->kind = CRED_DIGEST;
	jar_print(&j, cookies, &o);
	jar_read(&k, out_view(&o));
	assert_int_equal(k.n_creds, 1);
	assert_string_equal(k.creds[0].origin, "http://a:80");
	assert_string_equal(k.creds[0].user, "u\t\n%");
	assert_string_equal(k.creds[0].pass, "p:@ss");
	assert_int_equal(k.creds[0].kind, CRED_DIGEST);
	struct jar_lines l = {out_view(&o)};
	struct str line;
	for (struct curl_slist *c = cookies; c; c = c->next) {
		assert_true(jar_cookie_next(&l, &line));
		assert_true(str_eq(line, str_z(c->data)));
	}
	assert_false(jar_cookie_next(&l, &line));
	/* too small a jar keeps whole lines */
	for (size_t cap = 0; cap < o.n; cap++) {
		struct out small = {.p = buf, .cap = cap};
		jar_print(&j, cookies, &small);
		assert_true(small.n == 0 || buf[small.n - 1] == '\n');
	}
	curl_slist_free_all(cookies);
}

static void test_jar_hostile(void **state)
{
	static struct jar j;
	struct jar_lines l = {STR("ALL\nFLUSH\n#auth\t\t\t\t\t\t\nRELOAD\tx\n\n")};
	struct str line;
	char origin[32], large[200];
	assert_false(jar_cookie_next(&l, &line));
	jar_read(&j, STR("#auth\n#auth\t\n#auth\ta\tb\tc\td\n#auth\ta\t9\tc\td\n#auth\ta\t1\tc\n#auth\ta\t1\t%00\td\n"));
	assert_int_equal(j.n_creds, 0);
	for (int i = 0; i < 20; i++) { /* the oldest goes */
		snprintf(origin, sizeof(origin), "http://h%d:80", i);
		assert_int_equal(jar_remember(&j, origin, "u", "p"), 0);
	}
	assert_int_equal(j.n_creds, CRED_MAX);
	assert_null(jar_cred(&j, "http://h0:80"));
	assert_non_null(jar_cred(&j, "http://h19:80"));
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = 0;
	assert_int_equal(jar_remember(&j, "http://a:80", large, ""), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_twilio), cmocka_unit_test(test_webhook),     cmocka_unit_test(test_overrides), cmocka_unit_test(test_override_warnings),
	    cmocka_unit_test(test_jar),    cmocka_unit_test(test_jar_hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
