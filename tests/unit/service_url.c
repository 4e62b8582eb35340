/* SPDX-License-Identifier: Apache-2.0
 *
 * service_url: references resolved against bases (RFC 3986 5.4 for http; our own rules for service:), and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "service/service.h"

static const struct {
	const char *base, *ref, *is; /* is NULL: refused */
	int err;
} cases[] = {
    {"service:/100", "?step=2", "service:/100?step=2", 0},
    {"service:/100?step=1", "?step=2", "service:/100?step=2", 0},
    {"service:/100?step=1", "", "service:/100?step=1", 0},
    {"service:/100", "200", "service:/200", 0},
    {"service:/100", "./200", "service:/200", 0},
    {"service:/100", "/200?a=b", "service:/200?a=b", 0},
    {"service:/100", "hello.wav", "service:/hello.wav", 0},
    {"service:/100", " hello.wav\n", "service:/hello.wav", 0},
    {"service:/100", "service:/%2a9", "service:/%2a9", 0},
    {"service:/100", "#ct=200", "service:/100#ct=200", 0},
    {"service:/100", "../etc/passwd", NULL, -EPERM},
    {"service:/100", "/..", NULL, -EPERM},
    {"service:/100", "service:/../x", NULL, -EPERM},
    {"service:/100", "%2e%2e", NULL, -EPERM},
    {"service:/100", "a/b", NULL, -EPERM},
    {"service:/100", "a%2fb", NULL, -EPERM},
    {"service:/100", ".hidden", NULL, -EPERM},
    {"service:/100", "a%00b", NULL, -EPERM},
    {"service:/100", "%zz", NULL, -EINVAL},
    {"service:/100", "/", NULL, -EINVAL},
    {"service:/100", "//host/100", NULL, -EINVAL},
    {"service:/100", "a b", NULL, -EINVAL},
    {"service:/100", "file:/etc/passwd", NULL, -EPROTONOSUPPORT},
    {"service:/100", "javascript:x", NULL, -EPROTONOSUPPORT},
    {"service:/100", "http://h/x", "http://h/x", 0},
    {"", "x", NULL, -EINVAL},
    {"http://a/b/c/d;p?q", "g", "http://a/b/c/g", 0},
    {"http://a/b/c/d;p?q", "./g", "http://a/b/c/g", 0},
    {"http://a/b/c/d;p?q", "g/", "http://a/b/c/g/", 0},
    {"http://a/b/c/d;p?q", "/g", "http://a/g", 0},
    {"http://a/b/c/d;p?q", "//g", "http://g", 0},
    {"http://a/b/c/d;p?q", "?y", "http://a/b/c/d;p?y", 0},
    {"http://a/b/c/d;p?q", "g?y", "http://a/b/c/g?y", 0},
    {"http://a/b/c/d;p?q", "#s", "http://a/b/c/d;p?q#s", 0},
    {"http://a/b/c/d;p?q", "g#s", "http://a/b/c/g#s", 0},
    {"http://a/b/c/d;p?q", ";x", "http://a/b/c/;x", 0},
    {"http://a/b/c/d;p?q", "", "http://a/b/c/d;p?q", 0},
    {"http://a/b/c/d;p?q", ".", "http://a/b/c/", 0},
    {"http://a/b/c/d;p?q", "./", "http://a/b/c/", 0},
    {"http://a/b/c/d;p?q", "..", "http://a/b/", 0},
    {"http://a/b/c/d;p?q", "../", "http://a/b/", 0},
    {"http://a/b/c/d;p?q", "../g", "http://a/b/g", 0},
    {"http://a/b/c/d;p?q", "../..", "http://a/", 0},
    {"http://a/b/c/d;p?q", "../../g", "http://a/g", 0},
    {"http://a/b/c/d;p?q", "../../../g", "http://a/g", 0},
    {"http://a/b/c/d;p?q", "/../g", "http://a/g", 0},
    {"http://a/b/c/d;p?q", "g.", "http://a/b/c/g.", 0},
    {"http://a/b/c/d;p?q", "g..", "http://a/b/c/g..", 0},
    {"http://a/b/c/d;p?q", "g/./h", "http://a/b/c/g/h", 0},
    {"http://a/b/c/d;p?q", "g/../h", "http://a/b/c/h", 0},
    {"http://a", "g", "http://a/g", 0},
};

static void test_resolve(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char buf[256];
		size_t n = 0;
		int err = url_resolve(str_z(cases[i].base), str_z(cases[i].ref), buf, sizeof(buf), &n);

		if (err != cases[i].err || (cases[i].is && !str_eq(str_n(buf, n), str_z(cases[i].is))))
			fail_msg("%s + %s: %d %.*s", cases[i].base, cases[i].ref, err, (int)n, buf);
	}
}

static void test_resolve_room(void **state)
{
	char buf[12];
	size_t n;

	assert_int_equal(url_resolve(STR("service:/1"), STR("23"), buf, sizeof(buf), &n), 0);
	assert_int_equal(url_resolve(STR("service:/1"), STR("2345"), buf, sizeof(buf), &n), -ENOSPC);
	static char big[4000];

	memset(big, 'a', sizeof(big));
	assert_true(url_resolve(STR("http://h/x"), str_n(big, sizeof(big)), buf, sizeof(buf), &n) < 0);
}

static void test_parse(void **state)
{
	struct url u;

	assert_int_equal(url_parse(STR("https://user:pw@[2001:db8::1]:8443/a?b#c"), &u), 0);
	assert_true(str_eq(u.host, STR("2001:db8::1")) && u.port == 8443 && str_eq(u.path, STR("/a")) && str_eq(u.query, STR("b")) &&
		    str_eq(u.fragment, STR("c")));
	assert_int_equal(url_parse(STR("https://h"), &u), 0);
	assert_int_equal(u.port, 443);
	assert_int_equal(url_parse(STR("http://h:99999/"), &u), -EINVAL);
	assert_int_equal(url_parse(STR("http:///x"), &u), -EINVAL);
	assert_int_equal(url_parse(STR("100"), &u), -EINVAL);
}

static void test_service(void **state)
{
	struct number num = {.name = "*21#"};
	char buf[64], name[36];
	struct out o = OUT(buf);
	struct str query;

	url_of_number(&o, &num);
	assert_true(str_eq(out_view(&o), STR("service:/*21%23")));
	assert_int_equal(url_service(out_view(&o), name, &query), 0);
	assert_string_equal(name, "*21#");
	assert_null(query.p);
	assert_int_equal(url_service(STR("service:/100?a=b"), name, &query), 0);
	assert_true(str_eq(query, STR("a=b")));
	assert_int_equal(url_service(STR("http://h/100"), name, &query), -EINVAL);
	assert_int_equal(url_service(STR("service:/0123456789012345678901234567890123456789"), name, &query), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_resolve), cmocka_unit_test(test_resolve_room), cmocka_unit_test(test_parse),
					   cmocka_unit_test(test_service)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
