/* SPDX-License-Identifier: Apache-2.0
 *
 * web: flows in which a service of the web runs the call: requests, Redirect, Gather, sounds by URL, the fallback, slow services; and the kill -9 in each of them ("!" in the
 * ladders). The service is a script of the world (world_web); what it was asked is looked at afterwards.
 */
#include "flow.h"

#include <stdio.h>

#define S              "http://s.example"
#define DOC(verbs)     "<Response>" verbs "</Response>"
#define PAGE(p, verbs) world_web(w, S p, 200, "text/xml", DOC(verbs), 20)

static int setup(void **state)
{
	*state = world_new();
	return 0;
}
static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static void up(struct world *w)
{
	a_invite(w, "100");
	a_wait(w, 200, 5000);
	a_ack(w);
}
static void bye(struct world *w)
{
	a_wait_request(w, "BYE", 60000);
	a_answer(w, 200, "");
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}
static void is(struct world *w, const char *name, const char *value)
{
	const char *v = world_web_form(w, name);
	if (!value)
		assert_null(v);
	else if (!v || strcmp(v, value))
		fail_msg("%s is %s, not %s", name, v ? v : "not there", value);
}
/*  a                hookswitch            http://s.example/voice
 *  |---INVITE-------->|---POST CallSid=… ----->|
 *  |<--100, 180-------|                        |
 *  |<--200------------|<--Say, Gather----------|
 *  |   "Press."       |                        |
 *  |---4 2 #--------->|---POST Digits=42------>| /menu
 *  |<--BYE------------|<--Hangup---------------| */
static void a_menu(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Gather action=\"menu\"><Say>Press.</Say></Gather><Say>no</Say>");
	PAGE("/menu", "<Hangup/>");
	up(w);
	is(w, "Extension", "100");
	is(w, "CallStatus", "ringing");
	is(w, "CallerIdName", "Ann");
	is(w, "Direction", "inbound");
	assert_true(world_web_last(w, S "/voice")->trusted);
	assert_true(world_web_last(w, S "/voice")->sign);
	assert_false(world_web_last(w, S "/voice")->get);
	world_run(w, 1000);
	a_digit(w, '4');
	a_digit(w, '2');
	a_digit(w, '#');
	bye(w);
	assert_int_equal(world_web_asked(w, S "/menu"), 1);
	is(w, "Digits", "42");
	is(w, "FinishedOnKey", "#");
	is(w, "CallStatus", "in-progress");
	assert_true(world_web_last(w, S "/menu")->trusted);
}

/* ---- Redirect ---- */

/*  a                hookswitch            http://s.example
 *  |---INVITE-------->|---POST /voice------->|
 *  |<--180------------|<--Redirect GET b?x=1-|
 *  |   (rings on)     |---GET /b?x=1-------->|
 *  |<--200------------|<--Say----------------| */
static void redirect_rings_on(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/d/voice");
	PAGE("/d/voice", "<Redirect method=\"GET\">b?x=1</Redirect>");
	world_web(w, S "/d/b?x=1", 200, "text/xml", DOC("<Say>Hi.</Say>"), 1000);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	world_run(w, 500);
	a_expect_nothing(w);
	a_wait(w, 200, 1500);
	a_ack(w);
	bye(w);
	assert_true(world_web_last(w, S "/d/b?x=1")->get);
	is(w, "CallStatus", "ringing");
}

static void redirect_to_itself(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Redirect/>");
	up(w);
	bye(w);
	assert_int_equal(world_web_asked(w, S "/voice"), 101);
	assert_true(world_told(w, "error 11215"));
}

/* A pause between them takes time: the count begins anew. */
static void redirect_with_time(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Say>a</Say><Pause/><Redirect>/voice</Redirect>");
	up(w);
	a_talk(w, true); /* a phone that is not heard is asked whether it is there */
	world_run(w, 200000);
	assert_in_range(world_web_asked(w, S "/voice"), 105, 250);
	a_request(w, "BYE", "", "");
	a_wait(w, 200, 100);
	assert_false(world_told(w, "error 11215"));
}

static void redirect_of_strange_method(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Redirect method=\"PUT\">b</Redirect>");
	PAGE("/b", "<Hangup/>");
	up(w);
	bye(w);
	assert_false(world_web_last(w, S "/b")->get);
	assert_true(world_told(w, "warning 13710"));
}

/* ---- requests ---- */

static void get_with_cookies(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	world_section(w, "100", "voice_method", "GET");
	PAGE("/voice", "<Redirect>/b</Redirect>");
	world_web_cookie(w, S "/voice", "jar one");
	PAGE("/b", "<Redirect>/c</Redirect>");
	PAGE("/c", "<Hangup/>");
	up(w);
	bye(w);
	assert_true(world_web_last(w, S "/voice")->get);
	assert_string_equal(world_web_last(w, S "/voice")->cookies, "");
	assert_string_equal(world_web_last(w, S "/b")->cookies, "jar one");
	assert_string_equal(world_web_last(w, S "/c")->cookies, "jar one");
	assert_memory_not_equal(world_web_last(w, S "/b")->token, world_web_last(w, S "/c")->token, 16);
}

/* Another origin is not trusted; a script of this machine is not run for the web. */
static void who_is_trusted(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	world_service(w, "101", "cgi", "Content-Type: text/xml\n\n" DOC("<Hangup/>"), 5);
	PAGE("/voice", "<Redirect>http://other.example/x</Redirect>");
	world_web(w, "http://other.example/x", 200, "text/xml", DOC("<Redirect>http://S.example:80/c</Redirect>"), 5);
	world_web(w, "http://S.example:80/c", 200, "text/xml", DOC("<Redirect>service:/101</Redirect>"), 5);
	up(w);
	bye(w);
	assert_true(world_web_last(w, S "/voice")->trusted);
	assert_false(world_web_last(w, "http://other.example/x")->trusted);
	assert_true(world_web_last(w, "http://S.example:80/c")->trusted);
	assert_int_equal(world_runs(w, "101"), 0);
	assert_true(world_told(w, "error 11100"));
}

/* From the scripts of this machine a document may lead into the web, and `?step=2` is the script itself. */
static void script_to_script_to_web(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", "Content-Type: text/xml\n\n" DOC("<Gather numDigits=\"1\" action=\"?step=2\"/>"), 5);
	up(w);
	world_run(w, 200);
	world_service(w, "100", "cgi", "Location: " S "/b\n\n", 5);
	PAGE("/b", "<Hangup/>");
	a_digit(w, '7');
	bye(w);
	assert_int_equal(world_runs(w, "100"), 2);
	assert_string_equal(world_env(w, "QUERY_STRING"), "step=2");
	assert_string_equal(world_env(w, "CALL_DIGITS"), "7");
	assert_true(world_web_last(w, S "/b")->get); /* 302 */
	assert_false(world_web_last(w, S "/b")->trusted);
}

static void body_is_a_sound(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_section(w, "100", "voice_url", S "/voice");
	world_web(w, S "/voice", 200, "audio/wav", "RIFF", 20);
	up(w);
	world_run(w, 400);
	world_crash(w); /* ! the bytes are asked for once more, by the same token */
	bye(w);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 48, 52);
	assert_int_equal(h.breaks, 0);
	assert_int_equal(world_web_asked(w, S "/voice"), 2);
}

/* ---- faults ---- */

static void fallback(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", "http://u:p@s.example/voice#rc=0");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_web(w, "http://u:p@s.example/voice#rc=0", 0, "11202", "", 20);
	PAGE("/help", "<Say>Help.</Say>");
	up(w);
	bye(w);
	is(w, "ErrorCode", "11202");
	is(w, "ErrorUrl", S "/voice");
	is(w, "Extension", "100");
	assert_int_equal(world_web_asked(w, S "/help"), 1);
	assert_true(world_told(w, "error 11202"));
	assert_false(world_told(w, "u:p@"));
}

static void fallback_fails_too(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_section(w, "100", "voice_url", S "/voice");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_web(w, S "/voice", 404, "text/html", "no", 20);
	world_web(w, S "/help", 0, "11203", "", 20);
	up(w);
	bye(w);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 100, 300); /* the sentence */
	assert_true(world_told(w, "error 11200"));
	assert_true(world_told(w, "error 11203"));
	assert_int_equal(world_web_asked(w, S "/voice"), 1);
	assert_int_equal(world_web_asked(w, S "/help"), 1);
}

/* A fault inside a document is one too; what is wrong there stands in ErrorUrl. The fallback's own fault ends it. */
static void fallback_of_a_document(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	world_section(w, "100", "voice_fallback_url", S "/help");
	PAGE("/voice", "<Say>a</Say><Play>missing</Play>");
	PAGE("/help", "<Play>missing too</Play>");
	up(w);
	bye(w);
	is(w, "ErrorCode", "13420");
	is(w, "ErrorUrl", S "/voice");
	assert_int_equal(world_web_asked(w, S "/help"), 1);
}

/* Main and fallback lead to each other for ever: the redirects are counted through. */
static void fallback_in_circles(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	world_section(w, "100", "voice_fallback_url", S "/help");
	PAGE("/voice", "<Dial>1</Dial>");
	PAGE("/help", "<Redirect>/voice</Redirect>");
	up(w);
	bye(w);
	assert_in_range(world_web_asked(w, S "/help"), 40, 60);
}

static void nonsense(void **state)
{
	static const struct {
		int status;
		const char *type, *body, *told;
	} v[] = {{200, "text/xml", "<Response>", "error 12100"},
		 {200, "text/xml", "<Html/>", "error 12102"},
		 {200, "image/png", "x", "error 12300"},
		 {200, "text/xml", "", "error 11770"},
		 {503, "text/xml", DOC(""), "error 11200"},
		 {0, "11210", "", "error 11210"},
		 {0, "11237", "", "error 11237"},
		 {0, "11215", "", "error 11215"},
		 {0, "11750", "", "error 11750"},
		 {200, "text/xml; charset=x", "<Response>\xff", "error 12100"}};

	for (size_t i = 0; i < N_ELEMENTS(v); i++) {
		struct world *w = *state;

		world_section(w, "100", "voice_url", S "/voice");
		world_web(w, S "/voice", v[i].status, v[i].type, v[i].body, 20);
		up(w);
		bye(w);
		if (!world_told(w, v[i].told))
			fail_msg("%s is not in the trace", v[i].told);
		world_free(w);
		*state = world_new();
	}
}

/* No answer ever: the worker's own clock ends it, whatever the client does. */
static void never_answers(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "");
	world_web(w, S "/voice", 200, "text/xml", DOC(""), 3600000);
	a_invite(w, "100");
	int64_t at = world_now(w);
	a_wait(w, 200, 30000);
	assert_in_range(world_now(w) - at, 15000, 19000);
	a_ack(w);
	bye(w);
	assert_true(world_told(w, "error 11203"));
}

/* ---- Gather ---- */

#define GATHER(attrs, prompt) PAGE("/voice", "<Gather action=\"/got\" " attrs ">" prompt "</Gather><Say>none</Say>")
static void gather_open(struct world *w)
{
	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/got", "<Hangup/>");
}

static void gather_times(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("timeout=\"2\"", "<Say>Ten chars.</Say><Pause/>");
	up(w);
	a_talk(w, true);
	int64_t at = world_now(w);
	world_run(w, 3000); /* half a second, a second; two run from then on */
	a_digit(w, '1');
	world_run(w, 1700);
	a_digit(w, '2');
	assert_int_equal(world_web_asked(w, S "/got"), 0);
	int64_t last = world_now(w);
	bye(w);
	assert_in_range(last - at, 4900, 5500);
	assert_in_range(world_now(w) - last, 1700, 2300);
	is(w, "Digits", "12");
	is(w, "FinishedOnKey", NULL);
}

static void gather_nothing(void **state)
{
	struct world *w = *state;
	struct heard h;

	gather_open(w);
	GATHER("timeout=\"2\"", "");
	up(w);
	a_talk(w, true);
	bye(w);
	a_heard(w, &h);
	assert_int_equal(world_web_asked(w, S "/got"), 0);
	assert_in_range(h.packets - h.silent, 9, 11); /* "none" */
}

static void gather_nothing_is_told(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("timeout=\"1\" actionOnEmptyResult=\"true\" method=\"GET\"", "");
	up(w);
	bye(w);
	is(w, "Digits", "");
	assert_true(world_web_last(w, S "/got")->get);
}

static void gather_lone_key(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("timeout=\"20\"", "<Say>Prompt that is long enough.</Say>");
	up(w);
	world_run(w, 200);
	int64_t at = world_now(w);
	a_digit(w, '#');
	bye(w);
	assert_true(world_now(w) - at < 2000);
	assert_int_equal(world_web_asked(w, S "/got"), 0);
}

static void gather_lone_key_is_told(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("finishOnKey=\"*\" actionOnEmptyResult=\"true\"", "");
	up(w);
	a_digit(w, '*');
	bye(w);
	is(w, "Digits", "");
	is(w, "FinishedOnKey", "*");
}

static void gather_no_key(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("finishOnKey=\"\" numDigits=\"3\"", "");
	up(w);
	world_run(w, 100);
	a_digit(w, '#');
	a_digit(w, '*');
	a_digit(w, 'A');
	bye(w);
	is(w, "Digits", "#*A");
}

/* The first digit cuts the prompt; nothing of it is heard any more. */
static void gather_barge_in(void **state)
{
	struct world *w = *state;
	struct heard h;

	gather_open(w);
	GATHER("", "<Say>This prompt would last for five seconds, forty and sixty and more characters of it, a hundred in the end.</Say>");
	up(w);
	a_talk(w, true);
	world_run(w, 1000);
	a_digit(w, '5');
	a_forget(w);
	world_run(w, 1000);
	a_heard(w, &h);
	assert_int_equal(h.packets - h.silent, 0);
	a_digit(w, '#');
	bye(w);
	is(w, "Digits", "5");
}

static void gather_may_not_be_cut(void **state)
{
	struct world *w = *state;
	struct heard h;

	gather_open(w);
	GATHER("bargeIn=\"false\" numDigits=\"1\"", "<Say>This prompt lasts two seconds, all of it.</Say>");
	up(w);
	a_talk(w, true);
	world_run(w, 300);
	a_digit(w, '5');
	a_digit(w, '6');
	bye(w);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 100, 108);
	is(w, "Digits", "5");
}

/* Typed before it, or while the service is asked: nobody's, but traced. */
static void digits_of_nobody(void **state)
{
	struct world *w = *state;

	gather_open(w);
	PAGE("/voice", "<Say>Twenty characters ok</Say><Gather action=\"/got\" numDigits=\"1\"/>");
	up(w);
	world_run(w, 100);
	a_digit(w, '9');
	world_run(w, 1500);
	a_digit(w, '4');
	bye(w);
	is(w, "Digits", "4");
	assert_int_equal(world_web_asked(w, S "/got"), 1);
}

static void gather_again_by_default(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice?a=b");
	world_web(w, S "/voice?a=b", 200, "text/xml", DOC("<Gather numDigits=\"1\"/>"), 20);
	up(w);
	world_run(w, 100);
	a_digit(w, '4');
	world_run(w, 100);
	is(w, "Digits", "4");
	assert_int_equal(world_web_asked(w, S "/voice?a=b"), 2);
	bye(w);
}

static void gather_digits_by_info(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("numDigits=\"2\"", "");
	up(w);
	world_run(w, 100);
	a_info(w, "Signal=8\r\nDuration=160\r\n");
	a_expect(w, 200);
	world_run(w, 300);
	a_info(w, "Signal=1\r\nDuration=160\r\n");
	a_expect(w, 200);
	bye(w);
	is(w, "Digits", "81");
}

/* ---- sounds of the web ---- */

static void play_by_url(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Play>a.mp3</Play><Play>http://other.example/b.wav</Play><Play loop=\"2\">a.mp3</Play>");
	world_web(w, S "/a.mp3", 200, "audio/mpeg", "ID3", 300);
	world_web(w, "http://other.example/b.wav", 200, "audio/x-wav", "RIFF", 300);
	up(w);
	world_run(w, 1000);
	world_web_cached(w, S "/a.mp3", true);
	bye(w);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 190, 210); /* four times one second */
	const struct asked *a = world_web_last(w, S "/a.mp3");
	assert_true(a->get && a->cached && a->trusted);
	assert_string_equal(a->form, "");
	assert_string_equal(a->cookies, "");
	assert_false(a->sign);
	assert_false(world_web_last(w, "http://other.example/b.wav")->trusted);
}

static void play_by_url_fails(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Play>a.mp3</Play>");
	world_web(w, S "/a.mp3", 0, "11200", "", 300);
	up(w);
	bye(w);
	assert_true(world_told(w, "error 13420"));
}

static void play_by_url_in_gather_is_text(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("", "<Play>a.mp3</Play>");
	world_web(w, S "/a.mp3", 200, "text/html", "<html>", 300);
	up(w);
	bye(w);
	assert_true(world_told(w, "error 13325"));
}

/* ---- slow services ---- */

#define SLOW(ms) world_web(w, S "/slow", 200, "text/xml", DOC("<Hangup/>"), ms)
static void filler(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_section(w, "100", "voice_url", S "/voice");
	world_section(w, "100", "filler_after_ms", "500");
	world_web(w, S "/voice", 200, "text/xml", DOC("<Say>a</Say><Redirect>/slow</Redirect>"), 2000);
	SLOW(4000);
	a_invite(w, "100");
	a_wait(w, 200, 3000); /* nothing is said before the answer */
	a_ack(w);
	world_run(w, 400);
	a_forget(w);
	bye(w);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 40, 55); /* "One moment, please." */
}

static void hedge_wins(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/slow");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_section(w, "100", "hedge_after_ms", "1000");
	SLOW(5000);
	PAGE("/help", "<Gather numDigits=\"1\" action=\"/slow\" timeout=\"20\"/>");
	int64_t at = world_now(w);
	up(w);
	assert_in_range(world_now(w) - at, 1000, 1500);
	is(w, "ErrorCode", "11203");
	is(w, "ErrorUrl", S "/slow");
	world_run(w, 6000);
	assert_true(world_told(w, "too late"));
	a_digit(w, '1'); /* with digits nobody else is asked */
	bye(w);
	assert_int_equal(world_web_asked(w, S "/help"), 1);
	assert_int_equal(world_web_asked(w, S "/slow"), 2);
}

static void hedge_loses(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/slow");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_section(w, "100", "hedge_after_ms", "1000");
	SLOW(1500);
	world_web(w, S "/slow", 200, "text/xml", DOC("<Say>ab</Say><Pause length=\"5\"/>"), 1500);
	world_web(w, S "/help", 200, "text/xml", DOC("<Reject/>"), 2000);
	up(w);
	bye(w);
	assert_true(world_told(w, "too late"));
}

static void hedge_saves(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/slow");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_section(w, "100", "hedge_after_ms", "1000");
	world_web(w, S "/slow", 0, "11206", "", 1500);
	world_web(w, S "/help", 200, "text/xml", DOC("<Reject reason=\"busy\"/>"), 2000);
	a_invite(w, "100");
	a_wait(w, 486, 5000);
	assert_int_equal(world_web_asked(w, S "/help"), 1);
	assert_true(world_told(w, "11206"));
}

static void hedge_and_service_fail(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/slow");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_section(w, "100", "hedge_after_ms", "1000");
	world_web(w, S "/slow", 0, "11206", "", 1500);
	world_web(w, S "/help", 0, "11202", "", 1000);
	up(w);
	bye(w);
	assert_int_equal(world_web_asked(w, S "/help"), 1);
	assert_true(world_told(w, "error 11206"));
}

static void hedge_fails_first(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/slow");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_section(w, "100", "hedge_after_ms", "500");
	world_web(w, S "/slow", 200, "text/xml", DOC("<Reject reason=\"busy\"/>"), 2000);
	world_web(w, S "/help", 0, "11202", "", 100);
	a_invite(w, "100");
	a_wait(w, 486, 5000);
	assert_int_equal(world_web_asked(w, S "/help"), 1);
}

/* ---- and the worker dies ---- */

/* ! in a request: it goes out once more, by the same token. */
static void crash_in_a_request(void **state)
{
	struct world *w = *state;
	struct asked first;

	world_section(w, "100", "voice_url", S "/slow");
	SLOW(1000);
	a_invite(w, "100");
	world_run(w, 500);
	first = *world_web_last(w, S "/slow");
	world_crash(w);
	a_wait(w, 200, 1500);
	a_ack(w);
	bye(w);
	const struct asked *second = world_web_last(w, S "/slow");
	assert_int_equal(world_web_asked(w, S "/slow"), 2);
	assert_memory_equal(first.token, second->token, 16);
	assert_string_equal(first.form, second->form);
	assert_true(second->trusted);
}

/* ! while the hedge is asked too: both have the tokens they had. */
static void crash_in_a_hedge(void **state)
{
	struct world *w = *state;
	struct asked first;

	world_section(w, "100", "voice_url", S "/slow");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_section(w, "100", "hedge_after_ms", "300");
	SLOW(5000);
	world_web(w, S "/help", 200, "text/xml", DOC("<Hangup/>"), 1000);
	a_invite(w, "100");
	world_run(w, 800);
	first = *world_web_last(w, S "/help");
	world_crash(w);
	a_wait(w, 200, 3000);
	assert_memory_equal(first.token, world_web_last(w, S "/help")->token, 16);
	assert_int_equal(world_web_asked(w, S "/help"), 2);
	a_ack(w);
	bye(w);
}

/* ! in the fallback: it is still the fallback, its failure is the end. */
static void crash_in_the_fallback(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	world_section(w, "100", "voice_fallback_url", S "/help");
	world_web(w, S "/voice", 0, "11202", "", 20);
	world_web(w, S "/help", 0, "11203", "", 1000);
	a_invite(w, "100");
	world_run(w, 500);
	world_crash(w);
	a_wait(w, 200, 3000);
	a_ack(w);
	bye(w);
	is(w, "ErrorCode", "11202");
	assert_int_equal(world_web_asked(w, S "/help"), 2);
	assert_int_equal(world_web_asked(w, S "/voice"), 1);
}

/* ! digits half typed, again and again: none is lost, none doubled. */
static void crash_half_typed(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("", "<Say>Press.</Say>");
	up(w);
	a_digit(w, '1');
	world_crash(w);
	a_digit(w, '1');
	a_digit(w, '2');
	world_crash(w);
	world_crash(w);
	a_digit(w, '#');
	world_crash(w);
	bye(w);
	is(w, "Digits", "112");
	is(w, "FinishedOnKey", "#");
}

/* ! in the prompt: it goes on where it was, and can still be cut. */
static void crash_in_a_prompt(void **state)
{
	struct world *w = *state;
	struct heard h;

	gather_open(w);
	GATHER("numDigits=\"1\"", "<Say>Forty characters are two seconds of it.</Say><Pause/><Say>Ten chars.</Say>");
	up(w);
	a_talk(w, true);
	world_run(w, 1000);
	world_crash(w);
	world_run(w, 1500);
	world_crash(w);
	world_run(w, 1500);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 119, 125);
	assert_int_equal(h.breaks, 0);
	a_digit(w, '3');
	bye(w);
	is(w, "Digits", "3");
}

/* ! the timeout runs on while nobody is there. */
static void crash_in_the_timeout(void **state)
{
	struct world *w = *state;

	gather_open(w);
	GATHER("timeout=\"3\"", "");
	up(w);
	world_run(w, 1000);
	a_digit(w, '8');
	int64_t at = world_now(w);
	world_run(w, 1500);
	world_crash(w);
	bye(w);
	assert_in_range(world_now(w) - at, 2700, 3400);
	is(w, "Digits", "8");
}

/* ! while it is fetched, and while it is heard. */
static void crash_in_a_play_by_url(void **state)
{
	struct world *w = *state;
	struct heard h;
	struct asked first;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Pause/><Play>a.wav</Play>");
	world_web(w, S "/a.wav", 200, "audio/wav", "RIFF", 500);
	up(w);
	world_run(w, 300);
	first = *world_web_last(w, S "/a.wav");
	world_crash(w);
	world_run(w, 1000);
	world_crash(w);
	bye(w);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 48, 53);
	assert_int_equal(h.breaks, 0);
	assert_memory_equal(first.token, world_web_last(w, S "/a.wav")->token, 16);
}

static void crash_in_a_break(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Say>Ten chars.<break time=\"3s\"/>Ten chars.</Say>");
	up(w);
	int64_t at = world_now(w);
	world_run(w, 2000);
	world_crash(w);
	bye(w);
	assert_in_range(world_now(w) - at, 3900, 4500);
}

static void sentence_in_the_calls_language(void **state)
{
	struct world *w = *state;

	world_section(w, "100", "voice_url", S "/voice");
	PAGE("/voice", "<Say language=\"de-DE\">Hallo.</Say><Dial>1</Dial>");
	up(w);
	bye(w);
	assert_true(world_told(w, "Leider"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_menu),
	    T(redirect_rings_on),
	    T(redirect_to_itself),
	    T(redirect_with_time),
	    T(redirect_of_strange_method),
	    T(get_with_cookies),
	    T(who_is_trusted),
	    T(script_to_script_to_web),
	    T(body_is_a_sound),
	    T(fallback),
	    T(fallback_fails_too),
	    T(fallback_of_a_document),
	    T(fallback_in_circles),
	    T(nonsense),
	    T(never_answers),
	    T(gather_times),
	    T(gather_nothing),
	    T(gather_nothing_is_told),
	    T(gather_lone_key),
	    T(gather_lone_key_is_told),
	    T(gather_no_key),
	    T(gather_barge_in),
	    T(gather_may_not_be_cut),
	    T(digits_of_nobody),
	    T(gather_again_by_default),
	    T(gather_digits_by_info),
	    T(play_by_url),
	    T(play_by_url_fails),
	    T(play_by_url_in_gather_is_text),
	    T(filler),
	    T(hedge_wins),
	    T(hedge_loses),
	    T(hedge_saves),
	    T(hedge_and_service_fail),
	    T(hedge_fails_first),
	    T(crash_in_a_request),
	    T(crash_in_a_hedge),
	    T(crash_in_the_fallback),
	    T(crash_half_typed),
	    T(crash_in_a_prompt),
	    T(crash_in_the_timeout),
	    T(crash_in_a_play_by_url),
	    T(crash_in_a_break),
	    T(sentence_in_the_calls_language),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
