/* SPDX-License-Identifier: Apache-2.0
 *
 * media_digits: digits both ways. In: one event a digit whatever is lost, repeated or overtaken, and across a restart at every point. Out: RFC 4733 as a phone
 * expects it, and tones where the peer takes no events, recognised by spandsp. Two engines against each other at the end.
 */
#include "media_rig.h"

static void event(struct rig *r, char digit, uint32_t ts, int ms, bool end)
{
	uint8_t body[4];
	struct rtp_event e = {.event = (uint8_t)rtp_digit_event(digit), .end = end, .volume = 10, .duration = (uint16_t)(ms * 8)};
	rtp_event_print(body, &e);
	rig_raw(r, &r->phone, 101, r->seq++, ts, r->ssrc, body, 4);
}

/* A digit of 100 ms; bit i of `lost`: packet i of eight is lost. */
static void press(struct rig *r, char digit, unsigned lost)
{
	uint32_t ts = r->ts;
	for (int i = 0; i < 8; i++) {
		if (lost & BIT(i))
			r->seq++;
		else
			event(r, digit, ts, MIN(20 * (i + 1), 100), i >= 5);
		rig_run(r, 20);
	}
	rig_run(r, 120);
	r->ts += 280 * 8;
}

static void assert_digits(const struct rig *r, const char *want)
{
	uint32_t number = 0;
	for (int i = 0; i < r->n_events; i++)
		if (r->events[i].kind == MEDIA_DIGIT) {
			if (want[number] != r->events[i].digit.digit)
				fail_msg("digit %u is %c, not %c", number + 1, r->events[i].digit.digit, want[number] ? want[number] : '-');
			number++;
			assert_int_equal(r->events[i].digit.number, number);
		}
	assert_int_equal(number, strlen(want));
	assert_int_equal(r->lines[SLOT].digit_n, number);
	if (number)
		assert_int_equal(r->lines[SLOT].digits[number % LINE_DIGITS], want[number - 1]);
}

static void test_in(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	for (const char *d = "0123456789*#ABCD0123456789"; *d; d++)
		press(r, *d, 0);
	assert_digits(r, "0123456789*#ABCD0123456789");
	assert_int_equal(rig_last(r, MEDIA_DIGIT)->digit.ms, 100);
	assert_int_equal(r->events[r->n_events - 1].slot, SLOT);
}

/* Whatever is lost of a digit, as long as one packet comes, it is one digit: all 255 cases. */
static void test_in_lossy(void **state)
{
	struct rig *r = *state;
	static char want[256];
	rig_start(r);
	for (unsigned lost = 0; lost < 255; lost++) {
		want[lost] = (char)('0' + lost % 10);
		press(r, want[lost], lost);
	}
	assert_digits(r, want);
}

static void test_in_edges(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	/* the same digit twice, the second begins before the end of the first was heard */
	event(r, '5', 1000, 20, false);
	event(r, '5', 2000, 20, false);
	assert_digits(r, "5");
	event(r, '5', 1000, 100, true); /* overtaken end of the first */
	assert_digits(r, "5");
	event(r, '5', 2000, 100, true);
	event(r, '5', 2000, 100, true);
	assert_digits(r, "55");
	event(r, '5', 1000, 100, true); /* and once more, much overtaken */
	assert_digits(r, "55");
	/* shorter than any phone's, and long: one digit each */
	event(r, '1', 3000, 10, true);
	for (int ms = 20; ms <= 3000; ms += 20) {
		event(r, '2', 4000, ms, false);
		rig_run(r, 20);
	}
	event(r, '2', 4000, 3000, true);
	assert_digits(r, "5512");
	assert_int_equal(rig_last(r, MEDIA_DIGIT)->digit.ms, 3000);
	/* a new source counts its time anew */
	r->ssrc++;
	event(r, '3', 100, 40, true);
	assert_digits(r, "55123");
	/* events that are no digits (flash), packets that are too short, strangers */
	uint8_t body[4] = {16, 0x80, 1, 0};
	rig_raw(r, &r->phone, 101, r->seq++, 9000, r->ssrc, body, 4);
	body[0] = 1;
	rig_raw(r, &r->phone, 101, r->seq++, 9500, r->ssrc, body, 3);
	struct addr stranger = rig_addr("203.0.113.9:5004");
	rig_raw(r, &stranger, 101, r->seq++, 9900, r->ssrc, body, 4);
	assert_digits(r, "55123");
}

/* The thread dies after each packet of a digit, and between two words of its record; the digit counts once. */
static void test_in_adopted(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	char want[12] = "";
	for (int dies = 0; dies < 8; dies++) {
		uint32_t ts = r->ts;
		for (int i = 0; i < 8; i++) {
			event(r, '7', ts, MIN(20 * (i + 1), 100), i >= 5);
			rig_run(r, 20);
			if (i == dies) {
				media_free(r->m);
				rig_boot(r);
				rig_open(r, true);
			}
		}
		rig_run(r, 200);
		r->ts += 3000;
		want[dies] = '7';
	}
	assert_digits(r, want);
	/* the character stands there, its number does not */
	struct media_line *l = &r->lines[SLOT];
	uint32_t ts = r->ts;
	event(r, '9', ts, 100, false);
	media_free(r->m);
	l->digits[9 % LINE_DIGITS] = '9';
	rig_boot(r);
	rig_open(r, true);
	assert_int_equal(l->digit_n, 9);
	event(r, '9', ts, 100, true);
	event(r, '9', ts, 100, true);
	assert_int_equal(l->digit_n, 9);
	rig_run(r, 500);
	event(r, '9', ts + 4000, 100, true);
	assert_int_equal(l->digit_n, 10);
}

static void dial(struct rig *r, const char *text)
{
	struct media_cmd c = rig_cmd(MEDIA_DIGITS);
	memcpy(c.digits.text, text, strlen(text) + 1);
	rig_do(r, &c);
}

static void test_out(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	rig_run(r, 100);
	int n = r->n_sent;
	dial(r, "1w#");
	rig_run(r, 2000);
	assert_int_equal(rig_count(r, MEDIA_SENT), 1);
	/* eight packets of one timestamp, the first with the marker, three ends; sound before and behind */
	assert_int_equal(r->sent[n - 1].h.pt, 0);
	for (int i = 0; i < 8; i++) {
		const struct sent *s = &r->sent[n + i];
		struct rtp_event e;
		assert_int_equal(s->h.pt, 101);
		assert_int_equal(s->h.marker, i == 0);
		assert_int_equal(s->h.ts, r->sent[n - 1].h.ts + 160);
		assert_int_equal((uint16_t)(s->h.seq - r->sent[n - 1].h.seq), i + 1);
		assert_int_equal(rtp_event_parse(str_n(s->body, s->n), &e), 0);
		assert_int_equal(e.event, 1);
		assert_int_equal(e.duration, MIN(160 * (i + 1), 800));
		assert_int_equal(e.end, i >= 5);
	}
	for (int i = 8; i < 8 + 25; i++) /* w: 500 ms */
		assert_int_equal(r->sent[n + i].h.pt, 0);
	assert_int_equal(r->sent[n + 8].h.ts, r->sent[n - 1].h.ts + 9 * 160);
	for (int i = 33; i < 41; i++)
		assert_int_equal(r->sent[n + i].h.pt, 101);
	assert_int_equal(r->sent[n + 33].body[0], 11);
	assert_int_equal(r->sent[n + 41].h.pt, 0);
}

static void test_out_as_tones(void **state)
{
	struct rig *r = *state;
	static int16_t pcm[160000];
	for (uint8_t law = CODEC_PCMU; law <= CODEC_PCMA; law++) {
		struct media_cmd c = rig_cmd(MEDIA_REMOTE);
		struct listener_report report;
		rig_start(r);
		r->n_sent = r->n_events = 0;
		c.remote = rig_remote(r);
		c.remote.codec = law;
		c.remote.codec_pt = c.remote.codec_pt_in = codec_table[law].pt;
		c.remote.dtmf_pt = 0;
		rig_do(r, &c);
		dial(r, "0123456789*#abcdW55");
		rig_run(r, 6000);
		assert_int_equal(rig_count(r, MEDIA_SENT), 1);
		int n = rig_heard(r, 0, law, pcm, (int)N_ELEMENTS(pcm));
		struct listener *l = listener_new();
		listener_put(l, pcm, (size_t)n);
		listener_report(l, &report);
		assert_string_equal(report.digits, "0123456789*#ABCD55");
		/* -10 dBm0 each: -13.17 dB below a full scale tone, which is 3.01 below 32768 rms; two of them 3.01 above one */
		assert_true(fabs(report.level_dbfs + 13.2) < 0.5);
		listener_free(l);
		c.kind = MEDIA_CLOSE;
		rig_do(r, &c);
	}
}

/* The peer has no events: its tones are digits too, once each, also when the thread dies in the midst of one. */
static void test_in_as_tones(void **state)
{
	struct rig *r = *state;
	static int16_t pcm[160 * 8];
	for (int i = 0; i < 5 * 160; i++)
		pcm[i] = (int16_t)(6000 * sin(2 * M_PI * 770 * i / AUDIO_HZ) + 6000 * sin(2 * M_PI * 1336 * i / AUDIO_HZ)); /* 5, for 100 ms */
	for (int dies = -1; dies < 8; dies++) {
		struct media_cmd c = rig_cmd(MEDIA_REMOTE);
		r->n_events = 0;
		rig_start(r);
		c.remote = rig_remote(r);
		c.remote.dtmf_pt_in = 0;
		rig_do(r, &c);
		for (int press = 0; press < 2; press++)
			for (int f = 0; f < 8; f++) {
				rig_say(r, pcm + 160 * f);
				rig_run(r, 20);
				if (press == 0 && f == dies) {
					media_free(r->m);
					rig_boot(r);
					rig_open(r, true);
					rig_do(r, &c);
				}
			}
		rig_run(r, 200);
		assert_digits(r, "55");
		c.kind = MEDIA_CLOSE;
		rig_do(r, &c);
	}
}

static void test_queue(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	for (int i = 0; i < 5; i++)
		dial(r, "123456789012345678901234567890123456789012345678901234567890123"); /* 63; what is more than 128 is left out */
	rig_run(r, 128 * 160 + 40);
	assert_int_equal(rig_count(r, MEDIA_SENT), 1);
	int starts = 0;
	for (int i = 0; i < r->n_sent; i++)
		starts += r->sent[i].h.pt == 101 && r->sent[i].h.marker;
	assert_int_equal(starts, 128);
	dial(r, "1x!2"); /* only what can be dialled */
	rig_run(r, 400);
	assert_int_equal(rig_count(r, MEDIA_SENT), 2);
}

/* In Echo a digit is told and comes back as one; nobody is told that it was sent. */
static void test_echoed(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	rig_on(r, MEDIA_ECHO, true);
	press(r, '8', 0);
	rig_run(r, 300);
	assert_digits(r, "8");
	int events = 0;
	for (int i = 0; i < r->n_sent; i++)
		events += r->sent[i].h.pt == 101 && r->sent[i].body[0] == 8;
	assert_int_equal(events, 8);
	assert_int_equal(rig_count(r, MEDIA_SENT), 0);
}

/* What one engine dials, another hears. */
static void test_both_ends(void **state)
{
	struct rig *a = *state;
	void *other;
	assert_int_equal(rig_setup(&other), 0);
	struct rig *b = other;
	rig_start(a);
	rig_start(b);
	dial(a, "1122334455w66");
	for (int ms = 0; ms < 3000; ms++) {
		int n = a->n_sent;
		rig_run(a, 1);
		rig_run(b, 1);
		for (; n < a->n_sent; n++)
			rig_raw(b, &b->phone, a->sent[n].h.pt, a->sent[n].h.seq, a->sent[n].h.ts, a->sent[n].h.ssrc, a->sent[n].body, a->sent[n].n);
	}
	assert_digits(b, "112233445566");
	rig_teardown(&other);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {T(test_in),           T(test_in_lossy),    T(test_in_edges), T(test_in_adopted), T(test_out),
					   T(test_out_as_tones), T(test_in_as_tones), T(test_queue),    T(test_echoed),     T(test_both_ends)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
