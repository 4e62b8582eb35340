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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_menu, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
