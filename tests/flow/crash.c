/* SPDX-License-Identifier: Apache-2.0
 *
 * crash: flows through which a kill -9 goes: everything but the slab is dropped and adopted, then the call must go on as if nothing had been (house.md: the record before
 * the wire). "!" marks the kill in the ladders.
 */
#include "flow.h"

#include <stdio.h>

#include "keeper/keeper.h"

#define XML(verbs) "Content-Type: text/xml\n\n<Response>" verbs "</Response>"

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
 *  |---INVITE-------->|---run---------------->|
 *  |<--100, 180-------|!                      |   half through the CGI run
 *  |                  |---ask---------------->|
 *  |<--200------------|<--Echo----------------|
 *  |---ACK----------->|
 *  |---BYE----------->|
 *  |<--200------------|                             the script ran once */
static void half_through_a_run(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Echo/>"), 1000);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	world_run(w, 500);
	world_crash(w);
	assert_int_equal(world_calls(w), 1);
	a_wait(w, 200, 1000);
	a_ack(w);
	world_run(w, 100);
	a_request(w, "BYE", "", "");
	a_expect(w, 200);
	assert_int_equal(world_runs(w, "100"), 1);
}

/* Both die while the script runs: nobody knows how far it came, so it is not started a second time (11200, the spoken error). */
static void runner_and_worker_die_in_a_run(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Echo/>"), 1000);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	world_run(w, 500);
	world_runner_dies_unseen(w);
	world_crash(w);
	a_wait(w, 200, 2000);
	a_ack(w);
	a_wait_request(w, "BYE", 30000);
	a_answer(w, 200, "");
	assert_int_equal(world_runs(w, "100"), 1);
}

static void answer_came_while_it_was_dead(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Echo/>"), 20);
	a_invite(w, "100");
	world_crash(w);
	world_crash(w);
	a_wait(w, 200, 1000);
	a_ack(w);
	assert_int_equal(world_runs(w, "100"), 1);
}

/* Repeats of the INVITE after the crash find their transaction: no second call. */
static void repeated_invite_after_the_crash(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Echo/>"), 1000);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	world_crash(w);
	a_repeat(w);
	world_run(w, 50);
	assert_int_equal(world_calls(w), 1);
	a_wait(w, 200, 2000);
	world_crash(w); /* 200 is out, no ACK yet: it is repeated */
	a_wait(w, 200, 600);
	a_ack(w);
	world_run(w, 5000);
	a_expect_nothing(w);
	a_request(w, "BYE", "", "");
	a_expect(w, 200);
}

/* The prompt goes on at the sample where it was: the whole is as long as it would have been, sequence and timestamp never break. */
static void in_a_prompt(void **state)
{
	struct world *w = *state;
	struct heard h;

	world_service(w, "100", "cgi", XML("<Say>It is forty characters long, this text.</Say>"), 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	world_run(w, 700);
	world_crash(w);
	world_run(w, 300);
	world_crash(w);
	a_wait_request(w, "BYE", 3000);
	a_answer(w, 200, "");
	a_heard(w, &h);
	assert_int_equal(h.breaks, 0);
	assert_int_equal(h.ts_breaks, 0);
	assert_int_equal(h.ssrcs, 1);
	assert_in_range(h.packets - h.silent, 96, 102); /* 40 characters of 50 ms */
}

static void in_a_pause(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Say>a</Say><Pause length=\"5\"/><Hangup/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	world_run(w, 2000);
	int64_t at = world_now(w);
	world_crash(w);
	a_wait_request(w, "BYE", 5000);
	assert_in_range(world_now(w) - at, 2700, 3300);
	a_answer(w, 200, "");
}

static void in_echo_on_hold_and_back(void **state)
{
	struct world *w = *state;
	struct heard h;
	static const char hold[] = "v=0\r\no=a 1 9 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 "
				   "telephone-event/8000\r\na=inactive\r\n";

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_talk(w, true);
	world_run(w, 1000);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 30, 50);
	world_crash(w);
	a_forget(w);
	world_run(w, 1000);
	a_heard(w, &h);
	assert_in_range(h.packets - h.silent, 40, 51);
	assert_int_equal(h.breaks, 0);
	a_request(w, "INVITE", "", hold);
	assert_non_null(strstr(body_of(a_expect(w, 200)), "a=inactive"));
	world_crash(w); /* in the re-INVITE, before its ACK */
	a_wait(w, 200, 600);
	a_ack(w);
	a_forget(w);
	world_run(w, 500);
	a_heard(w, &h);
	assert_int_equal(h.packets, 0);
	a_request(w, "INVITE", "", NULL);
	a_wait(w, 200, 100);
	a_ack(w);
	world_run(w, 500);
	a_heard(w, &h);
	assert_in_range(h.packets, 20, 28);
	a_request(w, "BYE", "", "");
	a_wait(w, 200, 100);
}

/* Our BYE is out and unanswered: it is sent again with the same branch and CSeq. */
static void in_our_bye(void **state)
{
	struct world *w = *state;
	char branch[256], cseq[64];

	world_service(w, "100.xml", "xml", "<Response><Hangup/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	const char *m = a_wait_request(w, "BYE", 100);
	snprintf(branch, sizeof(branch), "%s", header_of(m, "Via"));
	snprintf(cseq, sizeof(cseq), "%s", header_of(m, "CSeq"));
	world_crash(w);
	m = a_wait_request(w, "BYE", 1000);
	assert_string_equal(header_of(m, "Via"), branch);
	assert_string_equal(header_of(m, "CSeq"), cseq);
	a_answer(w, 200, "");
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}

/* The caller's BYE was executed, its 200 lost with the worker: the repeat gets it from the record. */
static void bye_answered_from_the_record(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_request(w, "BYE", "", "");
	a_expect(w, 200);
	world_crash(w);
	a_repeat(w);
	a_wait(w, 200, 50);
	world_run(w, 100);
	assert_int_equal(world_calls(w), 0);
}

static void cancelled_call_stays_cancelled(void **state)
{
	struct world *w = *state;

	world_service(w, "100", "cgi", XML("<Echo/>"), 3000);
	a_invite(w, "100");
	a_expect(w, 100);
	a_expect(w, 180);
	a_cancel(w);
	world_crash(w);
	a_wait(w, 487, 100);
	a_ack(w);
	world_run(w, 4000);
	assert_int_equal(world_calls(w), 0);
}

/* A digit is taken once, also when its packets go on behind the crash (same RTP timestamp). */
static void digits_once(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_talk(w, true);
	world_run(w, 300);
	uint64_t before = count_get(COUNT_DIGITS);
	a_digit(w, '1');
	world_crash(w);
	a_digit(w, '2');
	assert_int_equal(count_get(COUNT_DIGITS) - before, 2);
}

/* The same by INFO: told to the stream again after the restart, which knows it by its CSeq; a repeat of the INFO is answered from the record. */
static void digits_by_info_once(void **state)
{
	struct world *w = *state;

	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	uint64_t before = count_get(COUNT_DIGITS);
	for (int i = 0; i < 3; i++) {
		a_info(w, "Signal=5\r\nDuration=160\r\n");
		a_expect(w, 200);
		world_crash(w);
		a_repeat(w);
		a_wait(w, 200, 50);
		world_run(w, 50);
		assert_int_equal(count_get(COUNT_DIGITS) - before, i + 1);
	}
	a_info(w, "Signal=Q\r\n");
	assert_non_null(strstr(header_of(a_expect(w, 415), "Accept"), "dtmf-relay"));
}

int main(void)
{
#define FLOW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {FLOW(half_through_a_run),
					   FLOW(runner_and_worker_die_in_a_run),
					   FLOW(answer_came_while_it_was_dead),
					   FLOW(repeated_invite_after_the_crash),
					   FLOW(in_a_prompt),
					   FLOW(in_a_pause),
					   FLOW(in_echo_on_hold_and_back),
					   FLOW(in_our_bye),
					   FLOW(bye_answered_from_the_record),
					   FLOW(cancelled_call_stays_cancelled),
					   FLOW(digits_once),
					   FLOW(digits_by_info_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
