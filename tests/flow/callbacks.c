/* SPDX-License-Identifier: Apache-2.0
 *
 * callbacks: flows of status callbacks (call-control 2.2): which events, what they say, in which order; how they are tried again; and that a restart at each point between the record and the
 * mark ends in one outcome for one token. "!" marks the kill.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>

#include "verb/verb.h"

static int setup(void **state)
{
	struct world *w = world_new();

	*state = w;
	world_service(w, "100.xml", "xml", "<Response><Echo/></Response>", 5);
	world_section(w, "100", "status_callback", "http://cb/x");
	return 0;
}
static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static void all_events(struct world *w)
{
	world_section(w, "100", "status_callback_event", "initiated ringing answered completed");
}

static void call_and_end(struct world *w)
{
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	a_talk(w, true);
	world_run(w, 2500);
	a_talk(w, false);
	a_request(w, "BYE", "", "");
	a_wait(w, 200, 100);
	world_run(w, 500);
	assert_int_equal(world_calls(w), 0);
}

static const char *said(struct world *w, int i, const char *name)
{
	return form_of(desk_got(world_desk(w), i)->form, name);
}

static uint64_t number(const char *s)
{
	uint64_t v = UINT32_MAX;

	assert_non_null(s);
	assert_int_equal(str_u64(str_z(s), UINT32_MAX, &v), 0);
	return v;
}

static void only_the_end_unless_asked(void **state)
{
	struct world *w = *state;
	struct desk *d = world_desk(w);

	call_and_end(w);
	assert_int_equal(desk_gots(d), 1);
	assert_false(desk_got(d, 0)->get);
	assert_string_equal(desk_got(d, 0)->url, "http://cb/x");
	assert_string_equal(said(w, 0, "CallStatus"), "completed");
	assert_string_equal(said(w, 0, "CallbackSource"), "call-progress-events");
	assert_string_equal(said(w, 0, "SequenceNumber"), "0");
	assert_string_equal(said(w, 0, "Direction"), "inbound");
	assert_string_equal(said(w, 0, "Extension"), "100");
	assert_string_equal(said(w, 0, "CallDuration"), "3");
	assert_string_equal(said(w, 0, "Duration"), "1");
	assert_string_equal(said(w, 0, "SipResponseCode"), "200");
	assert_string_equal(said(w, 0, "HangupBy"), "caller");
	assert_in_range(number(said(w, 0, "RtpPacketsIn")), 115, 126);
	assert_in_range(number(said(w, 0, "RtpPacketsOut")), 115, 130);
	assert_string_equal(said(w, 0, "RtpPacketsLost"), "0");
	assert_non_null(said(w, 0, "RtpJitterMs"));
	assert_in_range((int)(strtod(said(w, 0, "AudioInMos"), NULL) * 100), 430, 450);
	assert_null(said(w, 0, "ErrorCode"));
	const char *t = said(w, 0, "Timestamp");
	assert_int_equal(strlen(t), strlen("Thu, 01 Jan 2026 00:00:00 +0000"));
	assert_string_equal(t + strlen(t) - 6, " +0000");
	assert_int_equal(desk_rows(d), 1);
	assert_int_equal(desk_row(d, 0)->state, OUTBOX_ANSWERED);
	assert_int_equal(desk_row(d, 0)->times, 1);
}

static void each_event_in_order(void **state)
{
	static const char *const status[] = {"initiated", "ringing", "in-progress", "completed"};
	struct world *w = *state;
	struct desk *d = world_desk(w);

	all_events(w);
	world_section(w, "100", "status_callback_method", "GET");
	call_and_end(w);
	assert_int_equal(desk_gots(d), 4);
	for (int i = 0; i < 4; i++) {
		char n[4] = {(char)('0' + i)};
		int at = 0;

		while (at < 4 && strcmp(said(w, at, "SequenceNumber"), n))
			at++;
		assert_in_range(at, 0, 3);
		assert_string_equal(said(w, at, "CallStatus"), status[i]);
		assert_true(desk_got(d, at)->get);
		assert_true((said(w, at, "CallDuration") != NULL) == (i == 3));
		assert_true((said(w, at, "HangupBy") != NULL) == (i == 3));
	}
}

static void final_words(void **state)
{
	static const struct {
		const char *doc, *status, *code, *by;
		int sip;
	} v[] = {
	    {"<Response><Reject reason=\"busy\"/></Response>", "busy", "486", "service", 486},
	    {"<Response><Reject/></Response>", "no-answer", "404", "service", 404},
	};
	struct world *w = *state;

	for (size_t i = 0; i < N_ELEMENTS(v); i++) {
		world_service(w, "100.xml", "xml", v[i].doc, 5);
		a_invite(w, "100");
		a_wait(w, v[i].sip, 1000);
		a_ack(w);
		world_run(w, 500);
		assert_int_equal(desk_gots(world_desk(w)), (int)i + 1);
		assert_string_equal(said(w, (int)i, "CallStatus"), v[i].status);
		assert_string_equal(said(w, (int)i, "SipResponseCode"), v[i].code);
		assert_string_equal(said(w, (int)i, "HangupBy"), v[i].by);
		assert_string_equal(said(w, (int)i, "CallDuration"), "0");
		assert_string_equal(said(w, (int)i, "Duration"), "0");
		assert_null(said(w, (int)i, "AudioInMos"));
	}
	world_service(w, "100.xml", "xml", "<Response><Pause length=\"9\"/></Response>", 5);
	a_invite(w, "100");
	a_wait(w, 180, 1000);
	a_cancel(w);
	a_wait(w, 487, 100);
	a_ack(w);
	world_run(w, 500);
	assert_string_equal(said(w, 2, "CallStatus"), "canceled");
	assert_string_equal(said(w, 2, "SipResponseCode"), "487");
	assert_string_equal(said(w, 2, "HangupBy"), "caller");
}

/* Down, then up: at once, and after 1, 5, 30 … s, always the same token and form; the call was over long before. */
static void tried_again_until_it_is_answered(void **state)
{
	static const int64_t after[] = {1000, 5000, 30000, 120000};
	struct world *w = *state;
	struct desk *d = world_desk(w);

	desk_says(d, 503, 10);
	call_and_end(w);
	world_run(w, 160000);
	assert_int_equal(desk_gots(d), 5);
	for (int i = 0; i < 4; i++) {
		assert_in_range(desk_got(d, i + 1)->at_ms - desk_got(d, i)->at_ms, after[i], after[i] + 100);
		assert_memory_equal(desk_got(d, i + 1)->token, desk_got(d, 0)->token, 16);
		assert_string_equal(desk_got(d, i + 1)->form, desk_got(d, 0)->form);
	}
	assert_int_equal(desk_row(d, 0)->state, OUTBOX_PENDING);
	desk_says(d, 200, 10);
	world_run(w, 600500);
	assert_int_equal(desk_gots(d), 6);
	assert_int_equal(desk_row(d, 0)->state, OUTBOX_ANSWERED);
	assert_int_equal(desk_row(d, 0)->times, 1);
}

static void given_up_after_the_sixth(void **state)
{
	struct world *w = *state;
	struct desk *d = world_desk(w);

	desk_says(d, 500, 10);
	call_and_end(w);
	world_run(w, 757000);
	assert_int_equal(desk_gots(d), 6);
	assert_int_equal(desk_row(d, 0)->state, OUTBOX_FAILED);
	assert_int_equal(desk_row(d, 0)->times, 1);
	assert_int_equal(world_traced(w, TRACE_ERROR, 15003), 1);
	world_run(w, 700000);
	assert_int_equal(desk_gots(d), 6);
}

static void down_costs_the_call_nothing(void **state)
{
	struct world *w = *state;
	struct desk *d = world_desk(w);

	all_events(w);
	desk_says(d, 0, 10);
	int64_t at = world_now(w);
	call_and_end(w);
	assert_in_range(world_now(w) - at, 2500, 3200);
	desk_says(d, 200, 10);
	world_run(w, 40000);
	assert_int_equal(desk_rows(d), 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(desk_row(d, i)->state, OUTBOX_ANSWERED);
}

/* The box of the store is full for a while: the lines stay in the record, the slot with them. */
static void full_box(void **state)
{
	struct world *w = *state;
	struct desk *d = world_desk(w);

	all_events(w);
	desk_full(d, 30);
	call_and_end(w);
	world_run(w, 3000);
	assert_int_equal(desk_rows(d), 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(desk_row(d, i)->times, 1);
	assert_int_equal(desk_gots(d), 4);
}

/* Two hundred calls at once: no more than 64 on their way, all answered. */
static void many_at_once(void **state)
{
	struct world *w = *state;
	struct desk *d = world_desk(w);

	all_events(w);
	desk_hold(d, DESK_HOLDS_DUE);
	for (int i = 0; i < 40; i++)
		call_and_end(w);
	desk_says(d, 200, 3000);
	desk_hold(d, DESK_GOES);
	world_run(w, 100);
	assert_int_equal(desk_gots(d), 64);
	world_run(w, 10000);
	assert_int_equal(desk_gots(d), 160);
	for (int i = 0; i < 160; i++)
		assert_int_equal(desk_row(d, i)->times, 1);
}

static void a_full_minute_is_one(void **state)
{
	struct world *w = *state;

	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	world_run(w, 60500);
	a_request(w, "BYE", "", "");
	world_run(w, 500);
	assert_string_equal(said(w, 0, "CallDuration"), "61");
	assert_string_equal(said(w, 0, "Duration"), "2");
}

/* The kill at each point, at each event: every callback has one row, one number, one outcome; the server may have been asked twice, but with one token. */
static void one_outcome(struct world *w, int n, bool twice)
{
	struct desk *d = world_desk(w);
	bool seq[4] = {false};

	desk_hold(d, DESK_GOES);
	world_run(w, 3000);
	assert_int_equal(world_calls(w), 0);
	assert_int_equal(desk_rows(d), n);
	for (int i = 0; i < n; i++) {
		uint64_t s = number(form_of(desk_row(d, i)->form, "SequenceNumber"));

		assert_in_range(s, 0, n - 1);
		assert_false(seq[s]);
		seq[s] = true;
		assert_int_equal(desk_row(d, i)->state, OUTBOX_ANSWERED);
		assert_int_equal(desk_row(d, i)->times, 1);
		int gots = 0;
		for (int k = 0; k < desk_gots(d); k++)
			gots += !memcmp(desk_got(d, k)->token, desk_row(d, i)->token, 16);
		assert_in_range(gots, 1, twice ? 2 : 1);
	}
}

static void killed_at(void **state, enum desk_hold at, bool twice)
{
	static const int points[] = {0, 3, 10, 300, 2700};
	struct world *w;

	for (size_t i = 0; i < N_ELEMENTS(points); i++) {
		teardown(state);
		setup(state);
		w = *state;
		all_events(w);
		a_invite(w, "100");
		desk_hold(world_desk(w), at);
		if (points[i] < 100) {
			world_run(w, points[i]);
			world_crash(w);
		}
		a_wait(w, 200, 1000);
		a_ack(w);
		world_run(w, 300);
		if (points[i] == 300)
			world_crash(w);
		a_request(w, "BYE", "", "");
		a_wait(w, 200, 100);
		if (points[i] == 2700) {
			world_run(w, 100);
			world_crash(w);
		}
		one_outcome(w, 4, twice);
	}
}

static void killed_before_the_row(void **state)
{
	killed_at(state, DESK_HOLDS_ROWS, false);
}
static void killed_before_the_acknowledgement(void **state)
{
	killed_at(state, DESK_HOLDS_ACKS, true);
}
static void killed_before_it_is_due(void **state)
{
	killed_at(state, DESK_HOLDS_DUE, false);
}
static void killed_before_it_is_sent(void **state)
{
	killed_at(state, DESK_HOLDS_SENT, false);
}
static void killed_before_the_answer(void **state)
{
	killed_at(state, DESK_HOLDS_ANSWERS, true);
}
static void killed_before_the_mark(void **state)
{
	killed_at(state, DESK_HOLDS_MARKS, true);
}

/* What stood in the record only is put again at once, not when the call ends. */
static void put_again_while_the_call_lives(void **state)
{
	struct world *w = *state;
	struct desk *d = world_desk(w);

	all_events(w);
	desk_hold(d, DESK_HOLDS_ROWS);
	a_invite(w, "100");
	a_wait(w, 200, 1000);
	a_ack(w);
	world_run(w, 300);
	assert_int_equal(desk_rows(d), 0);
	world_crash(w);
	desk_hold(d, DESK_GOES);
	world_run(w, 300);
	assert_int_equal(world_calls(w), 1);
	assert_int_equal(desk_rows(d), 3);
	assert_int_equal(desk_gots(d), 3);
	a_request(w, "BYE", "", "");
	a_wait(w, 200, 100);
	one_outcome(w, 4, false);
}

/* After the restart nothing is known of the call any more but the row: it is sent with its token. */
static void row_outlives_its_call(void **state)
{
	struct world *w = *state;
	struct desk *d = world_desk(w);

	desk_hold(d, DESK_HOLDS_DUE);
	call_and_end(w);
	world_crash(w);
	assert_int_equal(desk_gots(d), 0);
	one_outcome(w, 1, false);
}

int main(void)
{
#define FLOW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {FLOW(only_the_end_unless_asked),
					   FLOW(each_event_in_order),
					   FLOW(final_words),
					   FLOW(tried_again_until_it_is_answered),
					   FLOW(given_up_after_the_sixth),
					   FLOW(down_costs_the_call_nothing),
					   FLOW(full_box),
					   FLOW(many_at_once),
					   FLOW(a_full_minute_is_one),
					   FLOW(killed_before_the_row),
					   FLOW(killed_before_the_acknowledgement),
					   FLOW(killed_before_it_is_due),
					   FLOW(killed_before_it_is_sent),
					   FLOW(killed_before_the_answer),
					   FLOW(killed_before_the_mark),
					   FLOW(put_again_while_the_call_lives),
					   FLOW(row_outlives_its_call)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
