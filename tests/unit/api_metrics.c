/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics: the text of /metrics is read by a strict parser of the format (each sample behind its HELP and TYPE, no name twice, labels escaped, buckets that rise and end in their count), then the
 * numbers in it are looked at; the table of services is full; /healthz says what it must, to anyone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/inside.h"
#include "service/service.h"

#define ACCOUNT "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TOKEN   "0123456789abcdef0123456789abcdef"
#define RING    65536
#define SAMPLES 8000

struct sample {
	char name[80], labels[200]; /* labels as printed, le= taken out */
	double le, value;
	bool bucket;
};
static struct sample samples[SAMPLES];
static int n_samples;
static struct api_facts facts;

static void tell_facts(void *arg, struct api_facts *ret)
{
	*ret = facts;
}

/* ---- the parser: fails the test at what the format does not allow ---- */

static bool is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';

		if (!letter && !(i && c >= '0' && c <= '9'))
			return false;
	}
	return s.n > 0;
}

static double value_of(struct str s)
{
	char buf[64], *end;

	assert_int_equal(str_zcpy(s, buf, sizeof(buf)), 0);
	if (!strcmp(buf, "+Inf"))
		return 1e300;
	double v = strtod(buf, &end);
	assert_true(end != buf && !*end);
	return v;
}

/* {name="value",…}; le goes into x->le. */
static struct str labels_read(struct str s, struct sample *x)
{
	struct out o = OUT(x->labels);

	s = str_skip(s, 1);
	for (;;) {
		struct str value, name = str_cut(s, '=', &value);
		char text[200];
		struct out t = OUT(text);
		size_t i = 1;

		assert_true(is_name(name));
		assert_true(value.n && value.p[0] == '"');
		for (; i < value.n && value.p[i] != '"'; i++) {
			if (value.p[i] == '\\') {
				i++;
				assert_true(i < value.n && strchr("\\\"n", value.p[i]));
			}
			out_c(&t, value.p[i]);
		}
		assert_true(i < value.n);
		if (str_eq(name, STR("le"))) {
			x->le = value_of(out_view(&t));
			x->bucket = true;
		} else {
			out_f(&o, "%.*s=%s;", STR_ARG(name), out_z(&t));
		}
		s = str_skip(value, i + 1);
		assert_true(s.n && (s.p[0] == ',' || s.p[0] == '}'));
		bool last = s.p[0] == '}';
		s = str_skip(s, 1);
		if (last)
			break;
	}
	out_z(&o);
	return s;
}

static void sample_read(struct str line, struct str family, struct str type)
{
	assert_true(n_samples < SAMPLES);
	struct sample *x = &samples[n_samples++];
	size_t n = 0;

	*x = (struct sample){0};
	while (n < line.n && line.p[n] != '{' && line.p[n] != ' ')
		n++;
	struct str name = str_n(line.p, n), rest = str_skip(line, n);

	assert_true(is_name(name));
	assert_int_equal(str_zcpy(name, x->name, sizeof(x->name)), 0);
	assert_true(str_starts(name, family));
	struct str tail = str_skip(name, family.n);
	if (str_eq(type, STR("histogram")))
		assert_true(str_eq(tail, STR("_bucket")) || str_eq(tail, STR("_sum")) || str_eq(tail, STR("_count")));
	else
		assert_int_equal(tail.n, 0);
	if (str_eq(type, STR("counter")))
		assert_memory_equal(name.p + name.n - 6, "_total", 6);
	if (rest.p[0] == '{')
		rest = labels_read(rest, x);
	assert_true(rest.n && rest.p[0] == ' ');
	x->value = value_of(str_skip(rest, 1));
	assert_true(x->value >= 0);
	assert_true(x->bucket == str_eq(tail, STR("_bucket")));
	for (int i = 0; i < n_samples - 1; i++)
		assert_true(strcmp(samples[i].name, x->name) || strcmp(samples[i].labels, x->labels) || samples[i].le != x->le);
}

static const struct sample *find(const char *name, const char *labels, double le)
{
	for (int i = 0; i < n_samples; i++)
		if (!strcmp(samples[i].name, name) && !strcmp(samples[i].labels, labels) &&
		    (le <= 0 || (samples[i].le > le * .999 && samples[i].le < le * 1.001)))
			return &samples[i];
	return NULL;
}

static double number(const char *name, const char *labels)
{
	const struct sample *x = find(name, labels, 0);

	if (!x)
		fail_msg("no %s{%s}", name, labels);
	return x->value;
}

static void check_buckets(void)
{
	for (int i = 0; i < n_samples; i++) {
		const struct sample *x = &samples[i], *y = x + 1;

		if (!x->bucket)
			continue;
		if (x->le < 1e299) {
			assert_true(i + 1 < n_samples && y->bucket && !strcmp(x->name, y->name) && !strcmp(x->labels, y->labels));
			assert_true(y->le > x->le && y->value >= x->value);
		} else {
			char count[100];
			snprintf(count, sizeof(count), "%.*s_count", (int)strlen(x->name) - 7, x->name);
			assert_true(number(count, x->labels) == x->value);
		}
	}
}

static void parse(struct str text)
{
	char families[200][80];
	int n_families = 0;
	struct str family = STR_NONE, type = STR_NONE;

	n_samples = 0;
	assert_true(text.n && text.p[text.n - 1] == '\n');
	while (text.n) {
		struct str line = str_cut(text, '\n', &text), rest;

		if (str_starts(line, STR("# HELP "))) {
			assert_true(n_families < 200);
			family = str_cut(str_skip(line, 7), ' ', &rest);
			assert_true(is_name(family) && rest.n > 3);
			type = STR_NONE;
			for (int i = 0; i < n_families; i++)
				assert_false(str_eq(str_z(families[i]), family));
			assert_int_equal(str_zcpy(family, families[n_families++], 80), 0);
		} else if (str_starts(line, STR("# TYPE "))) {
			assert_true(str_eq(str_cut(str_skip(line, 7), ' ', &type), family));
			assert_true(str_eq(type, STR("counter")) || str_eq(type, STR("gauge")) || str_eq(type, STR("histogram")));
		} else {
			assert_true(type.n > 0);
			sample_read(line, family, type);
		}
	}
	check_buckets();
}

/* ---- asking ---- */

static struct api *api;
static char ring[RING] __attribute__((aligned(64)));

static int ask(const char *method, const char *path, bool token, struct str *ret_body)
{
	static struct web_answer w;
	struct web_request r = {.method = str_z(method), .path = str_z(path), .authorization = token ? STR("Bearer " TOKEN) : STR_NONE};

	free(w.body);
	w = (struct web_answer){0};
	api_handle(api, &r, &w);
	*ret_body = str_n(w.body, w.n);
	return w.status;
}

static void scrape(void)
{
	struct str body;

	assert_int_equal(ask("GET", "/metrics", true, &body), 200);
	parse(body);
}

static int open_api(void **state)
{
	struct api_opts o = {.trace_mem = ring, .trace_size = RING, .account = ACCOUNT, .token = TOKEN, .version = "1.2\"3", .facts = tell_facts};
	struct trace *t = trace_open(ring, RING, true);

	trace_close(t);
	api = api_new(&o);
	return api ? 0 : -1;
}
static int close_api(void **state)
{
	struct str none;

	(void)ask("GET", "/nothing", false, &none);
	api_free(api);
	return 0;
}

/* ---- tests ---- */

static void test_numbers(void **state)
{
	facts = (struct api_facts){.calls = 3, .outbox_pending = 7, .outbox_in_flight = 2, .boxes = {{"sig", 4096}, {"store", 77}}, .n_boxes = 2};
	double before;

	scrape();
	before = number("hookswitch_calls_total", "");
	count_add(COUNT_CALLS, 5);
	stats_request(STR("100"), 4, false);
	stats_request(STR("100"), 5, false);
	stats_request(STR("100"), 6, true);
	stats_request(STR("100"), 15001, true);
	stats_request(STR("2\xe2\x80\xa6"), 100, false);
	stats_media(100, 7, 3, 1500);
	stats_media(50, 0, 0, 900000);
	scrape();
	assert_true(number("hookswitch_calls_total", "") == before + 5);
	assert_true(number("hookswitch_calls_living", "") == 3);
	assert_true(number("hookswitch_outbox_pending", "") == 7);
	assert_true(number("hookswitch_outbox_in_flight", "") == 2);
	assert_true(number("hookswitch_mailbox_room_bytes", "box=sig;") == 4096);
	assert_true(number("hookswitch_mailbox_room_bytes", "box=store;") == 77);
	assert_true(number("hookswitch_service_requests_total", "service=100;result=ok;") == 2);
	assert_true(number("hookswitch_service_requests_total", "service=100;result=failed;") == 2);
	assert_true(number("hookswitch_service_requests_total", "service=2\xe2\x80\xa6;result=ok;") == 1);
	assert_true(find("hookswitch_service_request_seconds_bucket", "service=100;", 0.005)->value == 2);
	assert_true(find("hookswitch_service_request_seconds_bucket", "service=100;", 0.01)->value == 3);
	assert_true(find("hookswitch_service_request_seconds_bucket", "service=100;", 15)->value == 3);
	assert_true(number("hookswitch_service_request_seconds_count", "service=100;") == 4);
	assert_true(number("hookswitch_service_request_seconds_sum", "service=100;") > 15.015 &&
		    number("hookswitch_service_request_seconds_sum", "service=100;") < 15.017);
	assert_true(number("hookswitch_media_packets_total", "") == 150);
	assert_true(number("hookswitch_media_lost_packets_total", "") == 7);
	assert_true(number("hookswitch_media_concealed_frames_total", "") == 3);
	assert_true(find("hookswitch_media_jitter_seconds_bucket", "", 0.001)->value == 0);
	assert_true(find("hookswitch_media_jitter_seconds_bucket", "", 0.002)->value == 1);
	assert_true(number("hookswitch_media_jitter_seconds_count", "") == 2);
	assert_true(number("hookswitch_build_info", "version=1.2\"3;") == 1);
	for (int i = 0; i < COUNT_N; i++) {
		char name[80];
		snprintf(name, sizeof(name), "hookswitch_%s_total", count_table[i].name);
		(void)number(name, "");
	}
	assert_true(number("process_resident_memory_bytes", "") > 1e6);
	assert_true(number("process_open_fds", "") >= 3 && number("process_open_fds", "") <= number("process_max_fds", ""));
	double start = number("process_start_time_seconds", ""), now = (double)clock_utc_ms() / 1000;
	assert_true(start > now - 3600 && start < now + 1);
	assert_true(number("process_threads", "") >= 1);
}

static void test_table_is_bounded(void **state)
{
	char name[80];
	struct stats_service s;
	int n = 0;

	for (int i = 0; i < 3 * STATS_SERVICES; i++) {
		snprintf(name, sizeof(name), "n%05d", i);
		stats_request(str_z(name), 1, false);
	}
	stats_request(STR("a name that is much longer than any number can be, and then some"), 1, false);
	for (size_t at = 0; stats_each(&at, &s); n++)
		if (!strcmp(s.name, "other"))
			assert_true(s.ok >= 2 * STATS_SERVICES);
	assert_int_equal(n, STATS_SERVICES + 1);
	scrape();
	assert_true(number("hookswitch_service_requests_total", "service=other;result=ok;") >= 2 * STATS_SERVICES);
}

static void test_health(void **state)
{
	struct str body;

	facts = (struct api_facts){0};
	assert_int_equal(ask("GET", "/healthz", false, &body), 200);
	assert_true(str_eq(body, STR("ok\n")));
	facts.store_failing = true;
	assert_int_equal(ask("GET", "/healthz", true, &body), 200);
	facts.store_full = true;
	assert_int_equal(ask("HEAD", "/healthz", false, &body), 503);
	facts = (struct api_facts){.draining = true};
	assert_int_equal(ask("GET", "/healthz", false, &body), 503);
	assert_true(str_eq(body, STR("draining\n")));
	assert_int_equal(ask("POST", "/healthz", false, &body), 405);
	assert_int_equal(ask("GET", "/metrics", false, &body), 401);
	assert_int_equal(ask("POST", "/metrics", false, &body), 401);
	assert_int_equal(ask("GET", "/healthz/x", false, &body), 401);
	assert_int_equal(ask("POST", "/metrics", true, &body), 405);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_table_is_bounded), cmocka_unit_test(test_health)};

	return cmocka_run_group_tests(tests, open_api, close_api);
}
