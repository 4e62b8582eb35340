/* SPDX-License-Identifier: Apache-2.0
 *
 * base_param: the table of parameters, each row by itself and all values at their ends; the table of limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

static struct params p;

static int set(const char *section, const char *name, const char *value, bool first)
{
	const struct param_info *i = param_find(str_z(section), str_z(name));

	assert_non_null(i);
	return param_set(&p, i, value, first);
}

static void test_defaults(void **state)
{
	params_init(&p);
	assert_int_equal(p.n_sip, 1);
	assert_string_equal(p.sip[0], "127.0.0.1:5060");
	assert_string_equal(p.http, "127.0.0.1:8080");
	assert_string_equal(p.advertise, "");
	assert_string_equal(p.data, "./var");
	assert_string_equal(p.services, "./services");
	assert_string_equal(p.sounds, "/usr/share/asterisk/sounds/en");
	assert_int_equal(p.n_allow, 0);
	assert_string_equal(p.language, "en-US");
	assert_string_equal(p.voice, "");
	assert_true(p.rtp_low == 10000 && p.rtp_high == 19999);
	assert_true(p.max_calls == 2000 && p.max_call_s == 14400 && p.drain_s == 30 && p.quiet_s == 60 && p.media_threads == 0 && p.trace_mb == 64);
	assert_true(p.cgi_wall_s == 15 && p.cgi_cpu_s == 10 && p.cgi_as_mb == 2048 && p.cgi_data_mb == 256 && p.cgi_files == 64 && p.cgi_procs == 64);
	assert_string_equal(p.cgi_method, "POST");
	assert_true(p.reject_status == 404);
	assert_int_equal(p.log, LOG_INFO);
}

static void test_rows(void **state)
{
	char value[32];

	params_init(&p);
	for (size_t i = 0; i < param_n; i++) {
		const struct param_info *x = &param_table[i];

		assert_true(x->section[0] && x->name[0] && x->dflt && x->unit[0] && x->doc[0] && x->allowed[0]);
		assert_int_equal(x->doc[strlen(x->doc) - 1], '.');
		assert_ptr_equal(param_find(str_z(x->section), str_z(x->name)), x); /* no name twice */
		for (size_t k = 0; k < i; k++)
			if (x->option && param_table[k].option)
				assert_string_not_equal(x->option, param_table[k].option);
		if (x->type != PARAM_NUMBER)
			continue;
		for (int k = 0; k < 4; k++) {
			uint64_t v = (uint64_t[]){x->min, x->max, x->min - 1, x->max + 1}[k], was;
			uint64_t *field = (uint64_t *)((char *)&p + x->offset);

			if (k == 2 && x->min == 0)
				continue;
			was = *field;
			snprintf(value, sizeof(value), "%llu", (unsigned long long)v);
			assert_int_equal(param_set(&p, x, value, true), k < 2 ? 0 : -ERANGE);
			assert_true(*field == (k < 2 ? v : was));
		}
		assert_int_equal(param_set(&p, x, "", true), -EINVAL);
		assert_int_equal(param_set(&p, x, "-1", true), -EINVAL);
		assert_int_equal(param_set(&p, x, "7x", true), -EINVAL);
		assert_int_equal(param_set(&p, x, "99999999999999999999", true), -ERANGE);
	}
	assert_null(param_find(STR("cgi"), STR("nothing")));
	assert_null(param_find(STR("nothing"), STR("wall_s")));
	assert_null(param_find(STR_NONE, STR_NONE));
}

static void test_texts(void **state)
{
	static const struct {
		const char *section, *name, *value;
		int r;
	} cases[] = {
	    {"listen", "http", "[::1]:0", 0},
	    {"listen", "http", "127.0.0.1", -EINVAL}, /* no port said */
	    {"listen", "http", "::1", -EINVAL},
	    {"listen", "http", "[::1]", -EINVAL},
	    {"listen", "http", "localhost:80", -EINVAL},
	    {"listen", "http", "", -EINVAL},
	    {"listen", "advertise", "192.0.2.1", 0},
	    {"listen", "advertise", "[2001:db8::1]:5060", 0},
	    {"listen", "advertise", "", 0},
	    {"listen", "advertise", "0.0.0.0", -EINVAL},
	    {"listen", "advertise", "example.com", -EINVAL},
	    {"paths", "data", "/a b", 0},
	    {"paths", "data", "", -EINVAL},
	    {"paths", "data", "a\nb", -EINVAL},
	    {"access", "user", "_sip-1", 0},
	    {"access", "user", "", 0},
	    {"access", "user", "-r", -EINVAL},
	    {"access", "user", "a b", -EINVAL},
	    {"access", "user", "0123456789012345678901234567890", 0},
	    {"access", "user", "01234567890123456789012345678901", -ENOSPC},
	    {"speech", "language", "de", 0},
	    {"speech", "language", "", -EINVAL},
	    {"speech", "language", "de_DE", -EINVAL},
	    {"speech", "voice", "kal", 0},
	    {"speech", "voice", "alice", -EINVAL},
	    {"cgi", "method", "GET", 0},
	    {"cgi", "method", "get", -EINVAL},
	    {"cgi", "method", "PUT", -EINVAL},
	    {"log", "level", "debug", 0},
	    {"log", "level", "verbose", -EINVAL},
	};

	params_init(&p);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		const struct param_info *x = param_find(str_z(cases[i].section), str_z(cases[i].name));
		struct params was = p;

		assert_int_equal(set(cases[i].section, cases[i].name, cases[i].value, true), cases[i].r);
		if (cases[i].r)
			assert_memory_equal(&was, &p, sizeof(p));
		else if (x->type == PARAM_TEXT)
			assert_string_equal((char *)&p + x->offset, cases[i].value);
	}
	assert_int_equal(p.log, LOG_DEBUG);
}

static void test_path_bound(void **state)
{
	char path[300];

	params_init(&p);
	memset(path, 'x', sizeof(path));
	path[255] = 0;
	assert_int_equal(set("paths", "data", path, true), 0);
	path[255] = 'x';
	path[256] = 0;
	assert_int_equal(set("paths", "data", path, true), -ENOSPC);
	assert_int_equal(strlen(p.data), 255);
}

static void test_lists(void **state)
{
	char value[32];

	params_init(&p);
	assert_int_equal(set("listen", "sip", "[::]:5070", true), 0);                        /* replaces the default … */
	assert_int_equal(set("listen", "sip", " 10.0.0.1:5060 , 10.0.0.2:5060 ", false), 0); /* … and the next ones add */
	assert_int_equal(p.n_sip, 3);
	assert_string_equal(p.sip[0], "[::]:5070");
	assert_string_equal(p.sip[1], "10.0.0.1:5060");
	assert_string_equal(p.sip[2], "10.0.0.2:5060");
	assert_int_equal(set("listen", "sip", "10.0.0.3:5060,nonsense", false), -EINVAL); /* whole or not at all */
	assert_int_equal(set("listen", "sip", "10.0.0.3:5060,", false), -EINVAL);
	assert_int_equal(set("listen", "sip", ",", false), -EINVAL);
	assert_int_equal(set("listen", "sip", "", true), -EINVAL); /* one at least */
	assert_int_equal(p.n_sip, 3);
	for (int i = 3; i < PARAM_SIP_MAX; i++)
		assert_int_equal(set("listen", "sip", "10.0.0.3:5060", false), 0);
	assert_int_equal(set("listen", "sip", "10.0.0.3:5060", false), -ENOSPC);
	assert_int_equal(p.n_sip, PARAM_SIP_MAX);
	for (int i = 0; i < PARAM_NET_MAX; i++) {
		snprintf(value, sizeof(value), "10.%d.0.0/16", i);
		assert_int_equal(set("access", "allow", value, i == 0), 0);
	}
	assert_int_equal(set("access", "allow", "::/0", false), -ENOSPC);
	assert_int_equal(set("access", "allow", "10.0.0.0/33", true), -EINVAL);
	assert_int_equal(p.n_allow, PARAM_NET_MAX);
	assert_string_equal(p.allow[15], "10.15.0.0/16");
	assert_int_equal(set("access", "allow", "", true), 0);
	assert_int_equal(p.n_allow, 0);
}

static void test_range(void **state)
{
	static const struct {
		const char *value;
		int r;
	} cases[] = {
	    {"1024-65535", 0}, {"30000-30001", 0}, {"1023-2000", -ERANGE}, {"2000-65536", -ERANGE},     {"3000-2000", -ERANGE}, {"3000-3000", -ERANGE},
	    {"3000", -EINVAL}, {"3000-", -EINVAL}, {"-3000", -EINVAL},     {"2000-3000-4000", -EINVAL}, {"", -EINVAL},
	};

	params_init(&p);
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct params was = p;

		assert_int_equal(set("media", "rtp", cases[i].value, true), cases[i].r);
		if (cases[i].r)
			assert_memory_equal(&was, &p, sizeof(p));
	}
	assert_true(p.rtp_low == 30000 && p.rtp_high == 30001);
}

static void test_limits(void **state)
{
	for (int i = 0; i < LIMIT_N; i++) {
		const struct limit_info *l = &limit_table[i];

		assert_true(l->name[0] && l->value > 0 && l->unit[0] && l->over[0]);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(l->name, limit_table[k].name);
	}
	assert_true(limit_of(LIMIT_SIP_MESSAGE) == 65535);
	assert_true(limit_of(LIMIT_SIP_MESSAGE) <= TRACE_PAYLOAD && limit_of(LIMIT_DOCUMENT) <= TRACE_PAYLOAD); /* the trace holds them whole */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults), cmocka_unit_test(test_rows),  cmocka_unit_test(test_texts),  cmocka_unit_test(test_path_bound),
	    cmocka_unit_test(test_lists),    cmocka_unit_test(test_range), cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
