/* SPDX-License-Identifier: Apache-2.0
 *
 * first_call: flows of a call from its INVITE to its end: RFC 3261 sections 13 to 15, 17; RFC 3264; call-control rules. Time is virtual.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>

#include "keeper/keeper.h"

#define XML(verbs) "Content-Type: text/xml\n\n<?xml version=\"1.0\"?><Response>" verbs "</Response>"

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

/*  a                hookswitch            services/100
 *  |---INVITE-------->|                       |
 *  |<--100, 180-------|---run---------------->|
 *  |                  |<--Say-----------------|
 *  |<--200------------|
 *  |---ACK----------->|
 *  |<==speech=========|
 *  |<--BYE------------|   the document is over
 *  |---200----------->|                                     */
static void script_speaks_and_hangs_up(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_service(w, "100", "cgi", XML("<Say>Hello, this is a test.</Say>"), 30);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	a_expect_nothing(w);
	assert_string_equal(world_env(w, "CALL_CallStatus") ? world_env(w, "CALL_CallStatus") : world_env(w, "CALL_CALLSTATUS"), "ringing");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_wait_request(w, "BYE", 5000);
	a_answer(w, 200, "");
	world_run(w, 20);
	a_heard(w, &h);
	assert_int_equal(h.breaks, 0);
	assert_int_equal(h.ts_breaks, 0);
	assert_in_range(h.packets - h.silent, 50, 80); /* 26 characters of 50 ms */
	assert_int_equal(world_calls(w), 0);
	assert_int_equal(world_runs(w, "100"), 1);
}

/*  a                hookswitch
 *  |---INVITE-------->|
 *  |<--200------------|
 *  |---ACK----------->|
 *  |---BYE----------->|
 *  |<--200------------|
 *  |---BYE (again)--->|
 *  |<--200------------|                                     */
static void caller_hangs_up(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Pause length=\"1\"/><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 3000);
	a_ack(w);
	world_run(w, 500);
	a_request(w, "BYE", "", "");
	a_expect(w, 200);
	a_repeat(w);
	a_expect(w, 200);
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}

static void unknown_number_is_404(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response/>", 5);
	a_invite(w, "999");
	a_expect(w, 100);
	a_wait(w, 404, 1000);
	a_ack(w);
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}

/*  a                hookswitch            services/100 (slow)
 *  |---INVITE-------->|---run---------------->|
 *  |<--100, 180-------|
 *  |---CANCEL-------->|
 *  |<--200 (CANCEL)---|
 *  |<--487 (INVITE)---|
 *  |---ACK----------->|                                     */
static void cancel_while_ringing(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Say>late</Say>"), 5000);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	a_cancel(w);
	const char *one = a_wait(w, 487, 100);
	assert_non_null(one);
	a_ack(w);
	world_run(w, 6000);
	assert_int_equal(world_calls(w), 0);
}

static void late_cancel_changes_nothing(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_cancel(w);
	assert_string_equal(strstr(header_of(a_expect(w, 200), "CSeq"), " "), " CANCEL");
	a_ack(w);
	world_run(w, 200);
	assert_int_equal(world_calls(w), 1);
	a_request(w, "BYE", "", "");
	a_expect(w, 200);
}

static void reject_says_busy(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Reject reason=\"busy\"/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 486, 1000);
	a_ack(w);
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
	world_service(w, "100.xml", "xml", "<Response><Reject/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 404, 1000);
	a_ack(w);
}

static void first_pause_rings(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Pause length=\"3\"/><Hangup/></Response>", 5);
	a_invite(w, "100");
	a_expect(w, 100);
	a_wait(w, 180, 100);
	world_run(w, 2800);
	a_expect_nothing(w);
	a_wait(w, 200, 500);
	a_ack(w);
	a_wait_request(w, "BYE", 100);
	a_answer(w, 200, "");
}

static void empty_document_answers_and_ends(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", "Status: 204 No Content\n\n", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_wait_request(w, "BYE", 100);
	a_answer(w, 200, "");
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}

/*  a                hookswitch
 *  |<--200------------|
 *  |  (ACK lost)      |
 *  |<--200 … ---------|  at 0.5, 1, 2, 4, 4 … s
 *  |<--BYE------------|  after 64*T1                         */
static void lost_ack_ends_by_bye(void **state)
{
	struct world *w = *state;
	int n = 0;

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	world_jump(w, 31000);
	for (n = 0; n < 10; n++) /* 0.5 1.5 3.5 7.5 11.5 15.5 19.5 23.5 27.5 s … */
		if (!a_comes(w, 200))
			break;
	assert_in_range(n, 9, 10);
	a_wait_request(w, "BYE", 3000);
	a_answer(w, 200, "");
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}

static void repeated_invite_is_not_a_second_call(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Echo/>"), 200);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	a_repeat(w);
	a_expect(w, 180);
	a_wait(w, 200, 500);
	a_repeat(w);
	a_expect(w, 200);
	a_ack(w);
	assert_int_equal(world_calls(w), 1);
	assert_int_equal(world_runs(w, "100"), 1);
}

static const char hold_sdp[] = "v=0\r\no=a 1 9 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 "
			       "telephone-event/8000\r\na=sendonly\r\n";

/*  a                hookswitch
 *  |---INVITE (sendonly)-->|
 *  |<--200 (recvonly)------|   no RTP while held
 *  |---ACK---------------->|
 *  |---INVITE (sendrecv)-->|
 *  |<--200 (sendrecv)------|   RTP again, sequence by the clock   */
static void hold_and_back(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	world_run(w, 300);
	a_request(w, "INVITE", "", hold_sdp);
	assert_non_null(strstr(body_of(a_expect(w, 200)), "a=recvonly"));
	a_ack(w);
	world_run(w, 100);
	a_forget(w);
	world_run(w, 1000);
	a_heard(w, &h);
	assert_int_equal(h.packets, 0);
	a_request(w, "INVITE", "", NULL);
	assert_non_null(strstr(body_of(a_expect(w, 200)), "a=sendrecv"));
	a_ack(w);
	world_run(w, 1000);
	a_heard(w, &h);
	assert_in_range(h.packets, 47, 52);
	assert_int_equal(h.breaks, 0);
	a_request(w, "BYE", "", "");
	a_expect(w, 200);
}

static void offer_in_ack(void **state)
{
	struct world *w = *state;
	struct heard h;
	char sdp[512];

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite_with(w, "100", "", NULL);
	assert_non_null(strstr(body_of(a_wait(w, 200, 1000)), "m=audio "));
	snprintf(sdp, sizeof(sdp), "v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n");
	a_send(w,
	       "ACK sip:100@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKack1;rport\r\nMax-Forwards: 70\r\nFrom: \"Ann\" "
	       "<sip:204@127.0.0.1>;tag=$TAG\r\n"
	       "To: <sip:100@127.0.0.1>$TOTAG\r\nCall-ID: $CALLID\r\nCSeq: 1 ACK\r\nContent-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
	       strlen(sdp), sdp);
	world_run(w, 500);
	a_heard(w, &h);
	assert_in_range(h.packets, 20, 30);
}

static void failed_script_is_spoken(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_service(w, "100", "cgi", "", 5);
	world_fault(w, RUN_EXIT, "Traceback: NameError");
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_wait_request(w, "BYE", 30000);
	a_answer(w, 200, "");
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 20, 1000);
}

static void dead_runner_is_11200(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Echo/>"), 5000);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	world_runner_dies(w);
	a_wait(w, 200, 1000);
	a_ack(w);
	a_wait_request(w, "BYE", 30000);
	a_answer(w, 200, "");
}

static void other_methods(void **state)
{
	struct world *w = *state;
	const char *m;
	static const struct {
		const char *method;
		int status;
	} t[] = {{"OPTIONS", 200}, {"REGISTER", 405}, {"SUBSCRIBE", 405}, {"BYE", 481}, {"FROBNICATE", 501}, {"INFO", 481}, {"MESSAGE", 405}};

	for (size_t i = 0; i < N_ELEMENTS(t); i++) {
		a_send(w,
		       "%s sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKo%zu;rport\r\nMax-Forwards: 70\r\nFrom: "
		       "<sip:a@x>;tag=1\r\nTo: <sip:b@y>\r\n"
		       "Call-ID: o%zu\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
		       t[i].method, i, i, t[i].method);
		m = a_expect(w, t[i].status);
		if (t[i].status == 405)
			assert_non_null(strstr(header_of(m, "Allow"), "INVITE"));
	}
}

static void ringing_is_repeated_each_minute(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Pause length=\"150\"/><Hangup/></Response>", 5);
	a_invite(w, "100");
	a_expect(w, 100);
	a_wait(w, 180, 100);
	world_jump(w, 59000);
	a_expect_nothing(w);
	world_jump(w, 1500);
	a_expect(w, 180);
	world_jump(w, 60000);
	a_expect(w, 180);
}

/*  a                hookswitch
 *  |   (silence)      |
 *  |<--INVITE---------|  quiet_s: are you there?
 *  |---200----------->|
 *  |<--ACK------------|
 *  |   (silence)      |
 *  |<--INVITE … ------|  no answer for 64*T1
 *  |<--BYE------------|                                     */
static void silence_is_probed_then_ended(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	world_jump(w, 59000);
	a_expect_nothing(w);
	a_wait_request(w, "INVITE", 2000);
	a_answer(w, 200, hold_sdp);
	a_expect_request(w, "ACK");
	world_jump(w, 58000);
	a_expect_nothing(w);
	a_wait_request(w, "INVITE", 3000);
	a_wait_request(w, "BYE", 40000);
	a_answer(w, 481, "");
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}

static void longest_call(void **state)
{
	struct world *w = *state;

	world_params(w)->max_call_s = 10;
	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	world_jump(w, 9500);
	a_expect_nothing(w);
	world_jump(w, 700);
	assert_non_null(strstr(header_of(a_expect_request(w, "BYE"), "Reason"), "longest"));
	a_answer(w, 200, "");
}

static void hang_up_waits_for_the_ack(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Hangup/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	world_run(w, 300);
	a_expect_nothing(w); /* RFC 3261 section 15: no BYE before the ACK */
	a_ack(w);
	a_wait_request(w, "BYE", 50);
	a_answer(w, 200, "");
	world_run(w, 50);
	assert_int_equal(world_calls(w), 0);
}

static void refusals(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *extra, *body;
		int status;
	} t[] = {
	    {"Require: 100rel\r\n", NULL, 420},
	    {"", "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n", 488},
	    {"", "v=0\r\nthis is no sdp", 400},
	};

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	for (size_t i = 0; i < N_ELEMENTS(t); i++) {
		a_invite_with(w, "100", t[i].extra, t[i].body);
		a_expect(w, t[i].status);
		a_ack(w);
	}
	world_params(w)->max_calls = 1;
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_invite(w, "100");
	assert_string_not_equal(header_of(a_expect(w, 503), "Retry-After"), "");
}

int main(void)
{
#define FLOW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {FLOW(script_speaks_and_hangs_up),
					   FLOW(caller_hangs_up),
					   FLOW(unknown_number_is_404),
					   FLOW(cancel_while_ringing),
					   FLOW(late_cancel_changes_nothing),
					   FLOW(reject_says_busy),
					   FLOW(first_pause_rings),
					   FLOW(empty_document_answers_and_ends),
					   FLOW(lost_ack_ends_by_bye),
					   FLOW(repeated_invite_is_not_a_second_call),
					   FLOW(hold_and_back),
					   FLOW(offer_in_ack),
					   FLOW(failed_script_is_spoken),
					   FLOW(dead_runner_is_11200),
					   FLOW(other_methods),
					   FLOW(ringing_is_repeated_each_minute),
					   FLOW(silence_is_probed_then_ended),
					   FLOW(longest_call),
					   FLOW(hang_up_waits_for_the_ack),
					   FLOW(refusals)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
