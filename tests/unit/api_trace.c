/* SPDX-License-Identifier: Apache-2.0
 *
 * api: who may ask, what routes there are, and the two views of a call: the ladder against a drawing (times are wild), the JSON against what was put in, byte for byte; with payloads of no
 * known form, of no UTF-8, empty ones, and calls mixed in one ring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/inside.h"

#include <jansson.h>

#define RING    (256 * 1024)
#define ACCOUNT "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TOKEN   "0123456789abcdef0123456789abcdef"
#define BASIC   "Basic QUNhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg=="

struct bench {
	void *ring;
	struct trace *writer;
	struct api *api;
};

static const uint8_t sid_a[16] = {0xa1}, sid_b[16] = {0xb2}, sid_none[16], sid_gone[16] = {0xcc};

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	b->ring = aligned_alloc(64, RING);
	assert_non_null(b->ring);
	memset(b->ring, 0, RING);
	b->writer = trace_open(b->ring, RING, true);
	assert_non_null(b->writer);
	struct api_opts o = {.trace_mem = b->ring, .trace_size = RING, .account = ACCOUNT, .token = TOKEN};
	b->api = api_new(&o);
	assert_non_null(b->api);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	api_free(b->api);
	trace_close(b->writer);
	free(b->ring);
	free(b);
	return 0;
}

static void put(struct bench *b, enum trace_kind k, const uint8_t sid[16], uint32_t code, const char *text)
{
	trace_put(b->writer, k, sid, code, str_z(text));
}

#define FLOW_IN  "udp 127.0.0.1:5070 > 127.0.0.1:5060\r\n"
#define FLOW_OUT "udp 127.0.0.1:5060 > 127.0.0.1:5070\r\n"
#define INVITE   "INVITE sip:100@127.0.0.1 SIP/2.0\r\nCSeq: 1 INVITE\r\nContent-Length: 5\r\n\r\nv=0\r\n"

static void play_call(struct bench *b)
{
	put(b, TRACE_NOTE, sid_none, 0, "of no call");
	put(b, TRACE_SIP_IN, sid_a, 0, FLOW_IN INVITE);
	put(b, TRACE_SIP_OUT, sid_a, 100, FLOW_OUT "SIP/2.0 100 Trying\r\nCSeq: 1 INVITE\r\n\r\n");
	put(b, TRACE_SIP_IN, sid_b, 0, FLOW_IN "INVITE sip:200@127.0.0.1 SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n");
	put(b, TRACE_SIP_IN, sid_a, 0, FLOW_IN INVITE);
	put(b, TRACE_STATE, sid_a, 0, "call: new, invite, ringing");
	put(b, TRACE_REQUEST, sid_a, 1, "POST services/100\nCALL_FROM=x\n");
	put(b, TRACE_REPLY, sid_a, 1, "200 text/xml 12 ms\nContent-Type: text/xml\n\n<Response><Say>caf\xc3\xa9</Say></Response>");
	put(b, TRACE_VERB, sid_a, 0, "Say \"caf\xc3\xa9\"");
	put(b, TRACE_SIP_OUT, sid_a, 200, FLOW_OUT "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n");
	put(b, TRACE_MEDIA, sid_a, 1, "play begins");
	put(b, TRACE_DIGIT, sid_a, 1, "5 120 ms");
	put(b, TRACE_DIGIT, sid_a, 1, "> 7");
	put(b, TRACE_ERROR, sid_a, 11200,
	    "the script ended with status 1 and said a sentence that is far longer than the column it is shown in: no such file\nstderr");
	put(b, TRACE_NOTE, sid_a, 0, "a \x1b[31mnote\tof a terminal's control");
	trace_put(b->writer, TRACE_REPLY, sid_a, 2, str_n("\xff\0\xfe raw", 7));
	trace_put(b->writer, TRACE_VERB, sid_a, 0, STR_NONE);
	put(b, TRACE_SIP_IN, sid_a, 0, "BYE sip:hookswitch@127.0.0.1 SIP/2.0\r\nCSeq: 2 BYE\r\n\r\n"); /* without a flow */
	put(b, TRACE_SIP_OUT, sid_a, 200, FLOW_OUT "SIP/2.0 200 OK\r\nVia: x\r\ncseq:2 BYE\r\n\r\n");
	put(b, TRACE_ERROR, sid_a, 12200, "warning 12200, line 3: Sai is no verb");
	put(b, TRACE_MEDIA, sid_a, 0, "in=100 lost=0 out=101");
}

/* T stands for a time, U for a stamp; everything else is meant as it is. */
static const char ladder[] =
    "call     CAa1000000000000000000000000000000\n"
    "began    U\n"
    "flow     udp 127.0.0.1:5070 > 127.0.0.1:5060\n"
    "records  19\n"
    "\n"
    "    #         s   phone                                         hookswitch                                                         service\n"
    "    1     T   |--INVITE sip:100@127.0.0.1 +SDP------------------>|                                                                  |\n"
    "    2     T   |<--100 Trying-------------------------------------|                                                                  |\n"
    "    3     T   |--INVITE sip:100@127.0.0.1 +SDP (again)---------->|                                                                  |\n"
    "    4     T   |                                                  | [call: new, invite, ringing]                                     |\n"
    "    5     T   |                                                  |--POST services/100---------------------------------------------->|\n"
    "    6     T   |                                                  |<--200 text/xml 12 ms---------------------------------------------|\n"
    "    7     T   |                                                  | Say \"caf\xc3\xa9\"                                                       |\n"
    "    8     T   |<--200 OK +SDP------------------------------------|                                                                  |\n"
    "    9     T   |                                                  | ~ play begins                                                    |\n"
    "   10     T   |..digit 5 120 ms.................................>|                                                                  |\n"
    "   11     T   |<..digit 7........................................|                                                                  |\n"
    "   12     T   |                                                  | ! 11200 the script ended with status 1 and said a sentence tha.. |\n"
    "   13     T   |                                                  | # a \\x1b[31mnote\\x09of a terminal's control                      |\n"
    "   14     T   |                                                  |<--\\xff\\x00\\xfe raw-----------------------------------------------|\n"
    "   15     T   |                                                  |                                                                  |\n"
    "   16     T   |--BYE sip:hookswitch@127.0.0.1------------------->|                                                                  |\n"
    "   17     T   |<--200 OK (BYE)-----------------------------------|                                                                  |\n"
    "   18     T   |                                                  | ! warning 12200, line 3: Sai is no verb                          |\n"
    "\n"
    "trouble  11200 the script ended with status 1 and said a sentence that is far longer than the column it is shown in: no such file\n"
    "trouble  warning 12200, line 3: Sai is no verb\n"
    "media    in=100 lost=0 out=101\n"
    "bodies   with ?bodies=1\n";

/* The line with its time and stamp made wild. */
static void tame(struct str line, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};
	if (line.n > 18 && line.p[18] == '|') {
		out_f(&o, "%.*s     T   ", 5, line.p);
		for (size_t i = 5; i < 15; i++)
			assert_non_null(strchr(" 0123456789.", line.p[i]));
		line = str_skip(line, 18);
	} else if (str_starts(line, STR("began    2"))) {
		OUT_STR(&o, "began    U");
		line = STR_NONE;
	}
	out_str(&o, line);
	out_z(&o);
}

static void test_ladder(void **state)
{
	struct bench *b = *state;
	size_t n = 0;
	play_call(b);
	char *got = api_ladder(b->api->trace, sid_a, &n);
	assert_non_null(got);
	assert_int_equal(n, strlen(got));
	struct str have = str_n(got, n), want = STR(ladder);
	while (want.p && have.p) { /* line by line, so that a failure shows where */
		char line[400], wanted[400];
		tame(str_cut(have, '\n', &have), line, sizeof(line));
		assert_int_equal(str_zcpy(str_cut(want, '\n', &want), wanted, sizeof(wanted)), 0);
		assert_string_equal(line, wanted);
	}
	assert_null(have.p);
	assert_null(want.p);
	free(got);
}

static void test_last(void **state)
{
	struct bench *b = *state;
	uint8_t sid[16];
	size_t n;
	assert_int_equal(api_last_sid(b->api->trace, sid), -ENOENT);
	assert_null(api_ladder(b->api->trace, sid_none, &n));
	assert_null(api_trace_json(b->api->trace, sid_none, &n));
	play_call(b);
	put(b, TRACE_NOTE, sid_none, 0, "of no call");
	assert_int_equal(api_last_sid(b->api->trace, sid), 0);
	assert_memory_equal(sid, sid_a, 16);
	put(b, TRACE_NOTE, sid_b, 0, "later");
	char *got = api_ladder(b->api->trace, sid_none, &n);
	assert_non_null(got);
	assert_non_null(strstr(got, "CAb2000000000000000000000000000000"));
	assert_non_null(strstr(got, "records  2\n"));
	free(got);
	assert_null(api_ladder(b->api->trace, sid_gone, &n));
}

static void test_bodies(void **state)
{
	struct bench *b = *state;
	size_t n;
	play_call(b);
	char *got = api_ladder_bodies(b->api->trace, sid_a, &n);
	assert_non_null(got);
	assert_non_null(strstr(got, "-- 1 sip_in, code 0, "));
	assert_non_null(strstr(got, "\n    INVITE sip:100@127.0.0.1 SIP/2.0\n    CSeq: 1 INVITE\n    Content-Length: 5\n    \n    v=0\n"));
	assert_non_null(strstr(got, "\n    <Response><Say>caf\xc3\xa9</Say></Response>\n"));
	assert_non_null(strstr(got, "\n    stderr\n"));
	assert_non_null(strstr(got, "(no text;"));
	assert_null(strchr(got, '\x1b'));
	assert_null(strchr(got, '\r'));
	free(got);
}

static void test_json(void **state)
{
	struct bench *b = *state;
	size_t n;
	play_call(b);
	char *got = api_trace_json(b->api->trace, sid_a, &n);
	assert_non_null(got);
	json_t *all = json_loadb(got, n, 0, NULL), *r;
	assert_non_null(all);
	assert_int_equal(json_array_size(all), 19);
	r = json_array_get(all, 0);
	assert_int_equal(json_integer_value(json_object_get(r, "number")), 2);
	assert_string_equal(json_string_value(json_object_get(r, "kind")), "sip_in");
	assert_string_equal(json_string_value(json_object_get(r, "sid")), "CAa1000000000000000000000000000000");
	assert_string_equal(json_string_value(json_object_get(r, "payload")), FLOW_IN INVITE);
	assert_int_equal(strlen(json_string_value(json_object_get(r, "utc"))), strlen("2026-01-01T00:00:00.000000Z"));
	r = json_array_get(all, 11);
	assert_int_equal(json_integer_value(json_object_get(r, "code")), 11200);
	r = json_array_get(all, 13); /* no UTF-8 */
	assert_null(json_object_get(r, "payload"));
	assert_string_equal(json_string_value(json_object_get(r, "payload_base64")), "/wD+IHJhdw==");
	r = json_array_get(all, 14);
	assert_string_equal(json_string_value(json_object_get(r, "payload")), "");
	json_decref(all);
	free(got);
}

/* Any bytes under any kind are drawn, in rows of one width. */
static void test_any_bytes(void **state)
{
	struct bench *b = *state;
	char p[600];
	rand_seed(20260101);
	for (int i = 0; i < 400; i++) {
		size_t n = rand_u32() % (i % 4 ? 60 : sizeof(p));
		rand_bytes(p, n);
		for (size_t k = 0; i % 2 && k < n; k++)
			p[k] = "udp >\r\n: SIP/2.0CSeq,\xc3\xa9\xe2\x82"[(uint8_t)p[k] % 26];
		trace_put(b->writer, i % TRACE_N, sid_a, rand_u32() % 3, str_n(p, n));
	}
	size_t n;
	char *got = api_ladder_bodies(b->api->trace, sid_a, &n), *json = api_trace_json(b->api->trace, sid_a, &n);
	assert_non_null(got);
	assert_non_null(json);
	for (struct str rest = str_z(got), line; rest.p;) {
		line = str_cut(rest, '\n', &rest);
		if (line.n <= 18 || line.p[18] != '|' || !strchr("0123456789", line.p[14])) /* no row */
			continue;
		size_t width = 0;
		for (size_t len; (len = str_utf8(line)); line = str_skip(line, len))
			width++;
		assert_int_equal(line.n, 0);
		assert_int_equal(width, 137);
	}
	json_t *all = json_loads(json, JSON_ALLOW_NUL, NULL);
	assert_int_equal(json_array_size(all), 400);
	json_decref(all);
	free(got);
	free(json);
}

/* The ring goes round: what is left of the call is shown. */
static void test_overwritten(void **state)
{
	struct bench *b = *state;
	char p[1000];
	size_t n;
	memset(p, 'x', sizeof(p));
	put(b, TRACE_NOTE, sid_gone, 0, "first");
	for (int i = 0; i < 1000; i++)
		trace_put(b->writer, TRACE_NOTE, sid_b, 0, str_n(p, sizeof(p)));
	assert_null(api_ladder(b->api->trace, sid_gone, &n));
	char *got = api_ladder(b->api->trace, sid_b, &n);
	assert_non_null(got);
	free(got);
}

static struct web_answer ask(struct bench *b, const char *method, const char *path, const char *query, const char *authorization, const char *accept)
{
	struct web_answer a = {0};
	struct web_request r = {
	    .method = str_z(method), .path = str_z(path), .query = str_z(query), .authorization = str_z(authorization), .accept = str_z(accept)};
	api_handle(b->api, &r, &a);
	assert_non_null(a.body);
	return a;
}

static void expect(struct bench *b, const char *method, const char *path, const char *query, const char *authorization, int status, const char *part)
{
	struct web_answer a = ask(b, method, path, query, authorization, NULL);
	if (a.status != status || !memmem(a.body, a.n, part, strlen(part)))
		fail_msg("%s %s?%s: %d %.*s", method, path, query ? query : "", a.status, (int)a.n, a.body);
	assert_true((a.status == 401) == (a.challenge != NULL));
	assert_true((a.status == 405) == (a.allow != NULL));
	free(a.body);
}

static void test_token(void **state)
{
	struct bench *b = *state;
	static const char *const wrong[] = {
	    NULL,
	    "",
	    "Basic",
	    "Basic ",
	    "Bearer",
	    "Bearer ",
	    "Bearer " TOKEN "0",
	    "Bearer 0123456789abcdef0123456789abcdee",
	    "Bearer 0123456789abcdef",
	    "Digest " TOKEN,
	    TOKEN,
	    "Basic " TOKEN,
	    "Basic QUNiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYjowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==", /* another account */
	    "Basic Og==",
	    "Basic !!!!",
	    "Basic QUNhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE6", /* no password */
	    "Basic MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", /* the token without an account */
	    "Bearer " TOKEN TOKEN,
	};
	play_call(b);
	for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
		expect(b, "GET", "/calls/last/trace", NULL, wrong[i], 401, "token");
		expect(b, "GET", "/no/such/place", NULL, wrong[i], 401, "token"); /* a stranger learns no paths */
		expect(b, "POST", "/calls/last/trace", NULL, wrong[i], 401, "token");
	}
	expect(b, "GET", "/calls/last/trace", NULL, "Bearer " TOKEN, 200, "INVITE");
	expect(b, "GET", "/calls/last/trace", NULL, "bearer  " TOKEN " ", 200, "INVITE");
	expect(b, "GET", "/calls/last/trace", NULL, BASIC, 200, "INVITE");
	char longer[400];
	struct out o = OUT(longer);
	OUT_STR(&o, "Basic ");
	for (int i = 0; i < 300; i++)
		out_c(&o, 'A');
	expect(b, "GET", "/routes", NULL, out_z(&o), 401, "token");
	/* An api without a token lets nobody in. */
	struct api_opts none = {.trace_mem = b->ring, .trace_size = RING, .account = ACCOUNT};
	struct api *was = b->api;
	b->api = api_new(&none);
	expect(b, "GET", "/routes", NULL, "Bearer ", 401, "token");
	expect(b, "GET", "/routes", NULL, "Bearer", 401, "token");
	api_free(b->api);
	b->api = was;
}

static void test_routes(void **state)
{
	struct bench *b = *state;
	play_call(b);
	expect(b, "GET", "/routes", NULL, BASIC, 200, "/calls/{CallSid}/trace");
	expect(b, "GET", "/calls/CAa1000000000000000000000000000000/trace", NULL, BASIC, 200, "100 Trying");
	expect(b, "HEAD", "/calls/CAa1000000000000000000000000000000/trace", NULL, BASIC, 200, "100 Trying");
	expect(b, "GET", "/calls/CAa1000000000000000000000000000000/trace", "bodies=1", BASIC, 200, "Content-Length: 5");
	expect(b, "GET", "/calls/CAa1000000000000000000000000000000/trace", "x=1&format=json", BASIC, 200, "\"payload\":");
	expect(b, "GET", "/calls/last/trace.json", NULL, BASIC, 200, "\"payload\":");
	expect(b, "GET", "/calls/CAcc000000000000000000000000000000/trace", NULL, BASIC, 404, "No trace");
	expect(b, "GET", "/calls/100/trace", NULL, BASIC, 404, "no CallSid");
	expect(b, "GET", "/calls/100/trace", "format=json", BASIC, 404, "\"code\":20404");
	expect(b, "GET", "/calls//trace", NULL, BASIC, 404, "Nothing");
	expect(b, "GET", "/calls/last/trace/", NULL, BASIC, 404, "Nothing");
	expect(b, "GET", "/calls/last", NULL, BASIC, 404, "Nothing");
	expect(b, "GET", "/", NULL, BASIC, 404, "Nothing");
	expect(b, "GET", "", NULL, BASIC, 404, "Nothing");
	expect(b, "POST", "/calls/last/trace", NULL, BASIC, 405, "read");
	expect(b, "DELETE", "/routes", NULL, BASIC, 405, "read");
	struct web_answer a = ask(b, "GET", "/calls/last/trace", NULL, BASIC, "text/html, application/json;q=0.5");
	assert_string_equal(a.type, "application/json");
	free(a.body);
	a = ask(b, "GET", "/calls/last/trace", NULL, BASIC, "*/*");
	assert_string_equal(a.type, "text/plain; charset=utf-8");
	free(a.body);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_ladder),    TEST(test_last),        TEST(test_bodies), TEST(test_json),
	    TEST(test_any_bytes), TEST(test_overwritten), TEST(test_token),  TEST(test_routes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
