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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_default_and_limit), cmocka_unit_test(test_two_files),
					   cmocka_unit_test(test_many), cmocka_unit_test(test_faults)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
