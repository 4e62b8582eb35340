/* SPDX-License-Identifier: Apache-2.0
 *
 * service_numbers: listings of the services folder, and which file answers which number; the table of faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "service/service.h"

static const char *file_of(const struct services *s, const char *number)
{
	const struct number *n = services_find(s, str_z(number));

	return n ? n->kind == SERVICE_BROKEN ? n->why : n->file : "-";
}

static void test_find(void **state)
{
	struct services *s = services_new();

	assert_false(services_listed(s));
	assert_string_equal(file_of(s, "100"), "-");
	assert_int_equal(services_update(s, STR("100\tcgi\n200.xml\txml\n300.txt\ttxt\n*9#.wav\twav\nREADME.md\tbad-name\n../x\tcgi\n.x\tcgi\nln\tlink-out\n")),
			 0);
	assert_true(services_listed(s));
	assert_string_equal(file_of(s, "100"), "100");
	assert_string_equal(file_of(s, "200"), "200.xml");
	assert_string_equal(file_of(s, "300"), "300.txt");
	assert_string_equal(file_of(s, "*9#"), "*9#.wav");
	assert_string_equal(file_of(s, "200.xml"), "-");
	assert_string_equal(file_of(s, "../x"), "-");
	assert_string_equal(file_of(s, "ln"), "-");
	assert_string_equal(file_of(s, ""), "-");
	assert_int_equal(services_find(s, STR("200"))->kind, SERVICE_XML);
	assert_int_equal(services_find(s, STR("100"))->kind, SERVICE_CGI);
	services_free(s);
}

static void test_default_and_limit(void **state)
{
	struct services *s = services_new();
	char n32[] = "01234567890123456789012345678901", n33[] = "012345678901234567890123456789012", line[128];
	struct out o = OUT(line);

	out_f(&o, "default\tcgi\n%s\tcgi\n%s.xml\txml\n", n32, n33);
	assert_int_equal(services_update(s, out_view(&o)), 0);
	assert_string_equal(file_of(s, n32), n32);
	assert_string_equal(file_of(s, n33), "default");
	assert_string_equal(file_of(s, "a b"), "default");
	assert_string_equal(file_of(s, "100"), "default");
	services_free(s);
}

static void test_two_files(void **state)
{
	struct services *s = services_new();
	size_t at = 0;

	assert_int_equal(services_update(s, STR("100\tcgi\n100.xml\txml\n100.wav\twav\n101\tcgi\n")), 0);
	assert_int_equal(services_find(s, STR("100"))->kind, SERVICE_BROKEN);
	assert_non_null(strstr(file_of(s, "100"), "services/100 "));
	assert_non_null(strstr(file_of(s, "100"), "services/100.xml"));
	assert_non_null(strstr(file_of(s, "100"), "services/100.wav"));
	assert_string_equal(services_each(s, &at)->name, "100");
	assert_string_equal(services_each(s, &at)->name, "101");
	assert_null(services_each(s, &at));
	assert_int_equal(services_update(s, STR("100.xml\txml\n")), 0);
	assert_string_equal(file_of(s, "100"), "100.xml");
	assert_string_equal(file_of(s, "101"), "-");
	services_free(s);
}

static void test_many(void **state)
{
	struct services *s = services_new();
	size_t max = limit_of(LIMIT_NUMBERS), cap = (max + 2) * 16, at = 0, n = 0;
	struct out o = {.p = malloc(cap), .cap = cap};

	for (size_t i = 0; i < max + 1; i++)
		out_f(&o, "%05zu\tcgi\n", i);
	assert_int_equal(services_update(s, out_view(&o)), 0);
	while (services_each(s, &at))
		n++;
	assert_int_equal(n, max);
	assert_int_equal(services_update(s, STR("1\tcgi\n2\tcg")), 0); /* the last line was cut off */
	assert_string_equal(file_of(s, "1"), "1");
	assert_string_equal(file_of(s, "2"), "-");
	free(o.p);
	services_free(s);
}

static void test_faults(void **state)
{
	for (size_t i = 0; i < fault_n; i++) {
		assert_true(i == 0 || fault_table[i - 1].code < fault_table[i].code);
		assert_ptr_equal(fault_find(fault_table[i].code), &fault_table[i]);
		assert_true(fault_table[i].name[0] && fault_table[i].mend[0]);
	}
	assert_null(fault_find(1));
	assert_null(fault_find(99999));
	assert_int_equal(fault_find(12200)->level, FAULT_WARNING);
	assert_int_equal(fault_find(13420)->level, FAULT_ERROR);
	assert_int_equal(fault_find(13750)->level, FAULT_ERROR);
}

/* ---- sections ---- */

static struct number_conf section(const char *key, const char *pairs)
{
	struct number_conf c;
	struct str rest = str_z(pairs);

	assert_int_equal(number_conf_open(str_z(key), &c), 0);
	while (rest.n) {
		struct str v, one = str_cut(rest, ';', &rest), k = str_cut(one, '=', &v);
		const struct number_key *i = number_key_find(k);

		assert_non_null(i);
		assert_int_equal(number_conf_set(&c, i, v), 0);
	}
	return c;
}

/* KIND name url|file fallback callback, of what answers. */
static const char *answers(const struct services *s, const char *number)
{
	static const char *const kinds[] = {"none", "cgi", "xml", "text", "sound", "broken", "web"};
	static char buf[4000];
	struct out o = OUT(buf);
	const struct number *n = services_find(s, str_z(number));

	if (!n)
		return "-";
	out_f(&o, "%s %s %s", kinds[n->kind], n->name, n->kind == SERVICE_WEB ? n->web->voice_url : n->file);
	if (n->web)
		out_f(&o, " [%s|%s]", n->web->fallback_url, n->web->status_callback);
	return out_z(&o);
}

static void test_sections(void **state)
{
	struct services *s = services_new();
	struct number_conf v[] = {section("100", "voice_url=http://a/100;status_callback=http://a/cb"),
				  section("101", "status_callback=http://a/101;voice_fallback_url=service:/sorry"),
				  section("2...", "voice_url=https://b/2;voice_method=GET"),
				  section("23\xe2\x80\xa6", "voice_url=https://b/23"),
				  section("3...", "status_callback=http://a/3"),
				  section("**...", "voice_url=http://a/stars"),
				  section("777", "status_callback=http://a/777")};

	services_web_default(s, 1500, 0);
	assert_int_equal(services_configure(s, v, N_ELEMENTS(v)), 0);
	assert_false(services_listed(s));
	assert_int_equal(services_edition(s), 0);
	assert_string_equal(answers(s, "101"), "-"); /* it only lends, and there is nobody yet */
	assert_int_equal(services_update(s, STR("100\tcgi\n101\tcgi\n200.xml\txml\n3\tcgi\n34\tcgi\ndefault\tcgi\n9.url\turl\thttp://c/9#ct=100\n")), 0);
	assert_string_equal(answers(s, "100"), "web 100 http://a/100 [|http://a/cb]"); /* the section beats the file */
	assert_string_equal(services_file(s, STR("100"))->file, "100");
	assert_string_equal(answers(s, "101"), "cgi 101 101 [service:/sorry|http://a/101]");
	assert_string_equal(answers(s, "200"), "xml 200 200.xml"); /* the number itself beats a prefix; that lends nothing */
	assert_string_equal(answers(s, "201"), "web 2\xe2\x80\xa6 https://b/2 [|]");
	assert_string_equal(answers(s, "2"), "web 2\xe2\x80\xa6 https://b/2 [|]");
	assert_string_equal(answers(s, "2345"), "web 23\xe2\x80\xa6 https://b/23 [|]");
	assert_string_equal(answers(s, "23\xe2\x80\xa6"), "web 23\xe2\x80\xa6 https://b/23 [|]"); /* by its name */
	assert_string_equal(answers(s, "24\xe2\x80\xa6"), "-");
	assert_string_equal(answers(s, "34"), "cgi 34 34 [|http://a/3]");
	assert_string_equal(answers(s, "35"), "cgi default default [|http://a/3]");
	assert_string_equal(answers(s, "777"), "cgi default default [|http://a/777]");
	assert_string_equal(answers(s, "**5"), "web **\xe2\x80\xa6 http://a/stars [|]"); /* * is a digit */
	assert_string_equal(answers(s, "*5"), "cgi default default");
	assert_string_equal(answers(s, "9"), "web 9 http://c/9#ct=100 [|]");
	assert_true(services_find(s, STR("201"))->web->voice_get);
	assert_int_equal(services_find(s, STR("9"))->web->filler_after_ms, 1500);
	assert_int_equal(services_find(s, STR("9"))->web->callback_events, BIT(CALLBACK_COMPLETED));
	services_free(s);
}

static void test_configure_again(void **state)
{
	struct services *s = services_new();
	struct number_conf v[] = {section("default", "voice_url=http://a/d;filler_after_ms=7"), section("5", "voice_url=http://a/5"),
				  section("5", "voice_url=http://a/6")};
	uint32_t edition;
	size_t at = 0, n = 0;

	assert_int_equal(services_configure(s, v, 2), 0);
	assert_int_equal(services_update(s, STR("default\tcgi\n6\tcgi\n")), 0);
	edition = services_edition(s);
	assert_string_equal(answers(s, "7"), "web default http://a/d [|]");
	assert_int_equal(services_find(s, STR("7"))->web->filler_after_ms, 7);
	assert_int_equal(services_configure(s, v, 3), -EEXIST); /* whole or not at all */
	assert_string_equal(answers(s, "5"), "web 5 http://a/5 [|]");
	assert_int_equal(services_edition(s), edition);
	while (services_each(s, &at))
		n++;
	assert_int_equal(n, 3);
	assert_int_equal(services_configure(s, NULL, 0), 0);
	assert_int_not_equal(services_edition(s), edition);
	assert_string_equal(answers(s, "5"), "cgi default default");
	assert_string_equal(answers(s, "6"), "cgi 6 6");
	services_free(s);
}

static int set(struct number_conf *c, const char *key, const char *value)
{
	return number_conf_set(c, number_key_find(str_z(key)), str_z(value));
}

static void test_section_values(void **state)
{
	char n32[] = "01234567890123456789012345678901...", n33[] = "012345678901234567890123456789012", url[1100] = "http://h/";
	struct number_conf c;

	assert_int_equal(number_conf_open(str_z(n32), &c), 0);
	assert_int_equal(strlen(c.key), 35);
	assert_int_equal(number_conf_open(str_z(n33), &c), -EINVAL);
	assert_int_equal(number_conf_open(STR(""), &c), -EINVAL);
	assert_int_equal(number_conf_open(STR("..."), &c), -EINVAL);
	assert_int_equal(number_conf_open(STR("1 2"), &c), -EINVAL);
	assert_int_equal(number_conf_open(STR("1...2"), &c), -EINVAL);
	assert_int_equal(number_conf_open(STR("100"), &c), 0);
	assert_non_null(number_conf_lacks(&c));
	assert_int_equal(set(&c, "voice_url", "ftp://x/"), -EINVAL);
	assert_int_equal(set(&c, "voice_url", "/relative"), -EINVAL);
	assert_int_equal(set(&c, "voice_url", "http:///x"), -EINVAL);
	assert_int_equal(set(&c, "voice_url", "http://h/a b"), -EINVAL);
	assert_int_equal(set(&c, "voice_url", "service:/200"), -EINVAL);
	memset(url + 9, 'a', 1001 - 9);
	assert_int_equal(set(&c, "voice_url", url), -ENOSPC);
	assert_int_equal(set(&c, "voice_method", "PUT"), -EINVAL);
	assert_int_equal(set(&c, "voice_method", "GET"), 0);
	assert_non_null(number_conf_lacks(&c));
	url[1000] = 0;
	assert_int_equal(set(&c, "voice_url", url), 0);
	assert_null(number_conf_lacks(&c));
	assert_int_equal(set(&c, "voice_url", "http://again/"), -EEXIST);
	assert_string_equal(c.web.voice_url, url);
	assert_int_equal(set(&c, "voice_fallback_url", "service:/sorry"), 0);
	assert_int_equal(set(&c, "status_callback_event", "initiated, gone"), -EINVAL);
	assert_int_equal(set(&c, "status_callback_event", ", "), -EINVAL);
	assert_int_equal(set(&c, "status_callback_event", "initiated,answered ringing"), 0);
	assert_int_equal(c.web.callback_events, BIT(CALLBACK_INITIATED) | BIT(CALLBACK_ANSWERED) | BIT(CALLBACK_RINGING));
	assert_non_null(number_conf_lacks(&c));
	assert_int_equal(set(&c, "filler_after_ms", "60001"), -ERANGE);
	assert_int_equal(set(&c, "filler_after_ms", "1s"), -EINVAL);
	assert_int_equal(set(&c, "filler_after_ms", "60000"), 0);
}

static void test_url_files(void **state)
{
	struct services *s = services_new();

	assert_int_equal(services_update(s, STR("1.url\turl\thttp://a/1\n2.url\turl\t\n3.url\turl\tservice:/1\n4.url\turl\n5.url\turl\thttp://a/5\n5\tcgi\n")),
			 0);
	assert_string_equal(answers(s, "1"), "web 1 http://a/1 [|]");
	assert_string_equal(answers(s, "2"), "-");
	assert_string_equal(answers(s, "3"), "-");
	assert_string_equal(answers(s, "4"), "-");
	assert_int_equal(services_find(s, STR("5"))->kind, SERVICE_BROKEN);
	assert_int_equal(services_update(s, STR("1.url\turl\thttp://a/2\n")), 0);
	assert_string_equal(answers(s, "1"), "web 1 http://a/2 [|]");
	services_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find),
					   cmocka_unit_test(test_default_and_limit),
					   cmocka_unit_test(test_two_files),
					   cmocka_unit_test(test_many),
					   cmocka_unit_test(test_faults),
					   cmocka_unit_test(test_sections),
					   cmocka_unit_test(test_configure_again),
					   cmocka_unit_test(test_section_values),
					   cmocka_unit_test(test_url_files)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
