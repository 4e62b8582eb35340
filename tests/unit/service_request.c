/* SPDX-License-Identifier: Apache-2.0
 *
 * service_request: the parameters of a call, the environment and the form of a CGI run with hostile values, and the header block of what a script prints.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "keeper/keeper.h"
#include "service/service.h"

static struct call_facts facts(void)
{
	return (struct call_facts){.sid = "CA0123456789abcdef0123456789abcdef",
				   .account = "AC00000000000000000000000000000001",
				   .from_uri = STR("sip:204@phone.example;tag=x"),
				   .to_uri = STR("sip:100@pbx.example"),
				   .from_user = STR("204"),
				   .to_user = STR("100"),
				   .host = STR("pbx.example"),
				   .display = STR("Ann"),
				   .extension = STR("100"),
				   .call_id = STR("abc@x"),
				   .source_ip = STR("192.0.2.7"),
				   .status = "ringing",
				   .direction = "inbound"};
}

static struct str value(const struct pair *p, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (str_eq(p[i].name, str_z(name)))
			return p[i].value;
	return STR_NONE;
}

#define HAS(p, n, name, v) assert_true(str_eq(value(p, n, name), STR(v)))

static void test_params(void **state)
{
	static const char *const order[] = {
	    "CallSid", "AccountSid",   "From",           "To",        "CallStatus", "ApiVersion", "Direction",   "ForwardedFrom", "Caller",
	    "Called",  "CallerIdName", "CallerIdNumber", "Extension", "SipDomain",  "SipCallId",  "SipSourceIp", "SipHeader_X-A", "SipHeader_User-to-User",
	    "Digits",  "A b"};
	struct arena *a = arena_new(1 << 16);
	struct call_facts f = facts();
	struct pair p[40];
	int n;

	f.x_headers = str_n("X-A\0one\0User-to-User\0\0", 22);
	f.forwarded_from = STR("sip:9@h");
	n = request_params(&f, STR("Digits=1%23&A+b=%7Ec%2&=x&&"), a, p, 40);
	assert_int_equal(n, N_ELEMENTS(order));
	for (int i = 0; i < n; i++)
		assert_true(str_eq(p[i].name, str_z(order[i])));
	HAS(p, n, "From", "sip:204@phone.example");
	HAS(p, n, "To", "sip:100@pbx.example");
	HAS(p, n, "Caller", "sip:204@phone.example");
	HAS(p, n, "CallerIdName", "Ann");
	HAS(p, n, "CallerIdNumber", "204");
	HAS(p, n, "Extension", "100");
	HAS(p, n, "ApiVersion", "2010-04-01");
	HAS(p, n, "SipHeader_X-A", "one");
	HAS(p, n, "Digits", "1#");
	HAS(p, n, "A b", "~c%2");
	assert_int_equal(request_params(&f, STR_NONE, a, p, 5), -E2BIG);
	arena_free(a);
}

static void test_params_shapes(void **state)
{
	static const struct {
		const char *user, *uri, *is;
	} cases[] = {{"+15551234567", "sip:+15551234567@h", "+15551234567"},
		     {"+1555x", "sip:+1555x@h", "sip:+1555x@h"},
		     {"+", "sip:+@h", "sip:+@h"},
		     {"5551234", "sip:5551234@h;user=phone", "sip:5551234@h"},
		     {"a;b?c", "sip:a;b?c@h?x=y", "sip:a;b?c@h"},
		     {"+1234567890123456", "sip:+1234567890123456@h", "sip:+1234567890123456@h"},
		     {"", "", ""}};
	struct arena *a = arena_new(1 << 16);
	struct pair p[40];

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct call_facts f = facts();
		int n;

		f.from_user = str_z(cases[i].user);
		f.from_uri = str_z(cases[i].uri);
		f.display = STR_NONE;
		n = request_params(&f, STR_NONE, a, p, 40);
		assert_int_equal(n, 15);
		assert_true(str_eq(value(p, n, "From"), str_z(cases[i].is)));
		assert_true(str_eq(value(p, n, "Caller"), str_z(cases[i].is)));
		assert_true(str_eq(value(p, n, "CallerIdNumber"), str_z(cases[i].user)));
	}
	arena_free(a);
}

static const char *env_of(const struct run_request *r, const char *name)
{
	size_t k = strlen(name);

	for (struct str rest = r->env; rest.n;) {
		struct str one = str_cut(rest, 0, &rest);

		if (one.n > k && memcmp(one.p, name, k) == 0 && one.p[k] == '=')
			return one.p + k + 1;
	}
	return NULL;
}

static void test_cgi_post(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct call_facts f = facts();
	struct number num = {.name = "100", .file = "100", .kind = SERVICE_CGI};
	struct run_request r = {0};
	struct pair p[40];
	char len[16];
	int n;

	f.display = str_n("() { :;}; echo\nX=\"1\" \0\x01\x7f \xc3\xa4", 27);
	f.x_headers = str_n("X-Proxy\0http://evil\0", 20);
	n = request_params(&f, STR_NONE, a, p, 40);
	assert_int_equal(request_cgi(p, n, &num, STR("step=2"), "POST", a, &r), 0);
	assert_int_equal(r.kind, RUN_CGI);
	assert_int_equal(r.n_args, 1);
	assert_true(str_eq(r.args[0], STR("100")));
	assert_string_equal(env_of(&r, "CALL_CALLERIDNAME"), "() { :;}; echoX=\"1\"  \xc3\xa4");
	assert_string_equal(env_of(&r, "CALL_SIPHEADER_X_PROXY"), "http://evil");
	assert_string_equal(env_of(&r, "CALL_EXTENSION"), "100");
	assert_string_equal(env_of(&r, "CALL_CALLSID"), f.sid);
	assert_string_equal(env_of(&r, "REQUEST_METHOD"), "POST");
	assert_string_equal(env_of(&r, "QUERY_STRING"), "step=2");
	assert_string_equal(env_of(&r, "SCRIPT_NAME"), "/100");
	assert_string_equal(env_of(&r, "PATH_INFO"), "");
	assert_string_equal(env_of(&r, "GATEWAY_INTERFACE"), "CGI/1.1");
	assert_string_equal(env_of(&r, "SERVER_NAME"), "pbx.example");
	assert_string_equal(env_of(&r, "REMOTE_ADDR"), "192.0.2.7");
	assert_string_equal(env_of(&r, "CONTENT_TYPE"), "application/x-www-form-urlencoded");
	snprintf(len, sizeof(len), "%zu", r.in.n);
	assert_string_equal(env_of(&r, "CONTENT_LENGTH"), len);
	assert_non_null(env_of(&r, "PATH"));
	assert_non_null(env_of(&r, "LANG"));
	assert_true(str_starts(r.in, STR("CallSid=CA0123456789abcdef0123456789abcdef&AccountSid=")));
	/* nothing but what is allowed, and every one NUL-ended */
	assert_int_equal(r.env.p[r.env.n - 1], 0);
	for (struct str rest = r.env; rest.n;) {
		struct str one = str_cut(rest, 0, &rest), v, name = str_cut(one, '=', &v);

		assert_non_null(v.p);
		assert_true(str_starts(name, STR("CALL_")) || str_starts(name, STR("SERVER_")) || str_starts(name, STR("CONTENT_")) ||
			    str_eq(name, STR("GATEWAY_INTERFACE")) || str_eq(name, STR("REMOTE_ADDR")) || str_eq(name, STR("REQUEST_METHOD")) ||
			    str_eq(name, STR("SCRIPT_NAME")) || str_eq(name, STR("PATH_INFO")) || str_eq(name, STR("QUERY_STRING")) ||
			    str_eq(name, STR("PATH")) || str_eq(name, STR("LANG")));
		for (size_t i = 0; i < v.n; i++)
			assert_true((unsigned char)v.p[i] >= 0x20 && v.p[i] != 0x7f);
	}
	arena_free(a);
}

static void test_cgi_get(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct number num = {.name = "*9#", .file = "*9#", .kind = SERVICE_CGI};
	struct run_request r = {0};
	struct pair p[] = {{STR("From"), STR("+1 2")}, {STR("HTTP_PROXY\n"), STR("x")}};

	assert_int_equal(request_cgi(p, 2, &num, STR_NONE, "GET", a, &r), 0);
	assert_string_equal(env_of(&r, "REQUEST_METHOD"), "GET");
	assert_string_equal(env_of(&r, "SCRIPT_NAME"), "/*9#");
	assert_true(strncmp(env_of(&r, "QUERY_STRING"), "From=%2B1", 9) == 0);
	assert_null(env_of(&r, "HTTP_PROXY"));
	assert_string_equal(env_of(&r, "CALL_HTTP_PROXY_"), "x");
	assert_null(env_of(&r, "CONTENT_LENGTH"));
	assert_int_equal(r.in.n, 0);
	assert_int_equal(request_cgi(p, 1, &num, STR("a=b"), "GET", a, &r), 0);
	assert_true(strncmp(env_of(&r, "QUERY_STRING"), "a=b&From=", 9) == 0);
	arena_free(a);
}

static void test_cgi_limit(void **state)
{
	struct arena *a = arena_new(1 << 22);
	struct number num = {.name = "100", .file = "100"};
	struct run_request r = {0};
	size_t max = limit_of(LIMIT_CGI_FORM);
	char *big = malloc(max);
	struct pair p = {STR("CallerIdName"), str_n(big, max - 16 - 12)};

	memset(big, 'a', max);
	assert_int_equal(request_cgi(&p, 1, &num, STR_NONE, "POST", a, &r), 0);
	assert_int_equal(r.in.n, max - 16 + 1);
	p.value.n++;
	assert_int_equal(request_cgi(&p, 1, &num, STR_NONE, "POST", a, &r), -E2BIG);
	memset(big, '\n', max); /* three bytes each in the form */
	p.value.n = max / 2;
	assert_int_equal(request_cgi(&p, 1, &num, STR_NONE, "POST", a, &r), -E2BIG);
	free(big);
	arena_free(a);
}

static const struct {
	const char *out;
	uint32_t code;
	int status;
	const char *type, *charset, *location, *body;
} replies[] = {
    {"Content-Type: text/xml\n\n<Response/>", 0, 200, "text/xml", "", "", "<Response/>"},
    {"Content-Type: text/xml\r\n\r\n<Response/>", 0, 200, "text/xml", "", "", "<Response/>"},
    {"content-type:TEXT/PLAIN; charset=\"iso-8859-1\"\nX-Y: z\n\nhello\n", 0, 200, "TEXT/PLAIN", "iso-8859-1", "", "hello\n"},
    {"Status: 204 No Content\n\n", 0, 204, "", "", "", ""},
    {"Status: 404 Not Found\nContent-Type: text/html\n\nno", 0, 404, "text/html", "", "", "no"},
    {"Location: ?step=2\n\n", 0, 200, "", "", "?step=2", ""},
    {"Content-Type: text/plain\n\n", 0, 200, "text/plain", "", "", ""},
    {"Content-Type: text/plain\n\n\n\nx", 0, 200, "text/plain", "", "", "\n\nx"},
    {"", 11200, 0, "", "", "", ""},
    {"hello", 11200, 0, "", "", "", ""},
    {"<Response/>\n", 11200, 0, "", "", "", ""},
    {"<?xml version=\"1.0\"?>\n<Response/>", 11200, 0, "", "", "", ""},
    {"Content-Type: text/xml\n<Response/>\n", 11200, 0, "", "", "", ""},
    {"Content-Type: text/xml\n", 11200, 0, "", "", "", ""},
    {"Content-Type: text/xml", 11200, 0, "", "", "", ""},
    {"\n<Response/>", 11200, 0, "", "", "", ""},
    {"Status: abc\n\n", 11200, 0, "", "", "", ""},
    {"Status: 99\n\n", 11200, 0, "", "", "", ""},
    {"Status: 600\n\n", 11200, 0, "", "", "", ""},
    {": x\n\n", 11200, 0, "", "", "", ""},
    {"A B: x\n\n", 11200, 0, "", "", "", ""},
};

static void test_reply(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(replies); i++) {
		struct reply r = {0};
		const char *why = NULL;
		uint32_t code = reply_cgi(str_z(replies[i].out), &r, &why);

		if (code != replies[i].code)
			fail_msg("%s: %u", replies[i].out, code);
		if (code) {
			assert_true(why && why[0]);
			continue;
		}
		assert_int_equal(r.status, replies[i].status);
		assert_true(str_eq(r.type, str_z(replies[i].type)) && str_eq(r.charset, str_z(replies[i].charset)));
		assert_true(str_eq(r.location, str_z(replies[i].location)) && str_eq(r.body, str_z(replies[i].body)));
	}
}

static void test_reply_limit(void **state)
{
	size_t max = limit_of(LIMIT_CGI_HEADER), n = max + 100;
	char *buf = malloc(n);
	struct reply r;
	const char *why;

	memset(buf, 'a', n);
	memcpy(buf, "Content-Type: text/plain\nX: ", 28);
	buf[max - 2] = '\n';
	buf[max - 1] = '\n';
	assert_int_equal(reply_cgi(str_n(buf, n), &r, &why), 0);
	assert_int_equal(r.body.n, 100);
	buf[max - 2] = 'a';
	buf[max] = '\n';
	assert_int_equal(reply_cgi(str_n(buf, n), &r, &why), 11200);
	free(buf);
}

static void test_told(void **state)
{
	static const struct {
		uint8_t fault;
		uint32_t code;
		const char *say;
	} cases[] = {{RUN_EXIT, 11200, "exit status 3: boom"},
		     {RUN_SIGNAL, 11200, "signal (3): boom"},
		     {RUN_WALL, 11203, "too long"},
		     {RUN_CPU, 11203, "processor"},
		     {RUN_OUTPUT, 11200, "more than"},
		     {RUN_NOT_FOUND, 11200, "not there"},
		     {RUN_NOT_EXECUTABLE, 11200, "chmod +x"},
		     {RUN_BAD_INTERPRETER, 11200, "CR LF"},
		     {RUN_FULL, 11200, "at once"},
		     {RUN_BAD_SOUND, 90002, "no sound"},
		     {RUN_SYSTEM, 11200, "refused"}};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct run_answer a = {.state = RUN_DONE, .fault = cases[i].fault, .code = 3, .last_line = "boom"};
		struct told t;

		told_read(&a, &t);
		assert_int_equal(t.state, TOLD_DONE);
		assert_int_equal(t.fault, cases[i].code);
		assert_non_null(strstr(t.why, cases[i].say));
		assert_non_null(strstr(t.why, "boom"));
	}
	struct run_answer full = {.state = RUN_DONE, .fault = RUN_OK, .n = 7, .wall_ms = 9};
	struct told t;

	memset(full.last_line, 'x', sizeof(full.last_line)); /* no NUL */
	told_read(&full, &t);
	assert_true(t.fault == 0 && t.n == 7 && t.wall_ms == 9);
	full.fault = RUN_EXIT;
	told_read(&full, &t);
	assert_true(strlen(t.why) > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_params),      cmocka_unit_test(test_params_shapes), cmocka_unit_test(test_cgi_post),
					   cmocka_unit_test(test_cgi_get),     cmocka_unit_test(test_cgi_limit),     cmocka_unit_test(test_reply),
					   cmocka_unit_test(test_reply_limit), cmocka_unit_test(test_told)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
