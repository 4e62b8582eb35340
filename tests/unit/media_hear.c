/* SPDX-License-Identifier: Apache-2.0
 *
 * media_hear: what a stream takes in. Echo on a clean and on a bad line (5 % seeded loss, 60 ms of jitter: no frame of digital silence reaches the ear, and the delay
 * is back under 60 ms within 2 s), whom it hears (sprayed ports), the tap, quiet lines, reports.
 */
#include "media_rig.h"

#define N 160000 /* 20 s */
static int16_t speech[N], heard[N + 8000];

static int group_setup(void **state)
{
	rig_speech(speech, N, 5);
	return 0;
}

static bool is_dead(const int16_t *pcm)
{
	for (int i = 1; i < AUDIO_FRAME; i++)
		if (pcm[i] != pcm[0])
			return false;
	return true;
}

static void test_echo_clean(void **state)
{
	struct rig *r = *state;
	int at;
	rig_start(r);
	rig_on(r, MEDIA_ECHO, true);
	for (int i = 0; i < 200; i++) {
		rig_say(r, speech + 160 * i);
		rig_run(r, 20);
	}
	rig_heard(r, 0, CODEC_PCMU, heard, N);
	assert_true(rig_alike(speech, 20000, heard, 0, 1000, AUDIO_FRAME, &at) > 0.99);
	assert_true(at <= 60 * 8); /* it comes back within 60 ms */
	/* as bytes: what came is what goes */
	int found = 0;
	uint8_t body[160];
	media_encode(CODEC_PCMU, speech + 160 * 100, body, 160);
	for (int i = 0; i < r->n_sent; i++)
		found += memcmp(r->sent[i].body, body, 160) == 0;
	assert_int_equal(found, 1);
	assert_int_equal(r->lines[SLOT].packets_in, 200);
	assert_int_equal(r->lines[SLOT].lost_in, 0);
	assert_true(r->lines[SLOT].latched);
}

struct arrival {
	int64_t at;
	int i;
};

static int by_time(const void *a, const void *b)
{
	const struct arrival *x = a, *y = b;
	return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->i - y->i;
}

static void say_at(struct rig *r, int i)
{
	uint8_t body[160];
	media_encode(CODEC_PCMU, speech + 160 * i, body, 160);
	rig_raw(r, &r->phone, 0, (uint16_t)(65500 + i), 160 * (unsigned)i, 9, body, 160);
}

/* Correlation of one second of what was said from ms on with what is heard; *ret_ms = how much later. */
static double compare(int said_ms, int n_ms, int *ret_ms)
{
	int at;
	double c = rig_alike(speech + said_ms * 8, n_ms * 8, heard, said_ms * 8, (said_ms + 300) * 8, AUDIO_FRAME, &at);
	*ret_ms = at / 8 - said_ms;
	return c;
}

static void bad_line(struct rig *r, uint32_t seed)
{
	static struct arrival in[1000];
	int n = 0, next = 0, late;
	r->seed = seed;
	rig_start(r);
	rig_on(r, MEDIA_ECHO, true);
	int64_t t0 = r->now;
	for (int i = 0; i < 1000; i++) { /* 15 s of bad line, 5 s of a good one */
		bool bad = i < 750;
		if (!bad || rig_chance(r) % 100 >= 5)
			in[n++] = (struct arrival){t0 + 20 * i + (bad ? (int)(rig_chance(r) % 61) : 0), i};
	}
	qsort(in, (size_t)n, sizeof(in[0]), by_time);
	for (int ms = 0; ms < 20000; ms++) {
		for (; next < n && in[next].at <= r->now; next++)
			say_at(r, in[next].i);
		rig_run(r, 1);
	}
	int len = rig_heard(r, 0, CODEC_PCMU, heard, N);
	int first = 0;
	while (first < len && is_dead(heard + first))
		first += 160;
	assert_true(first <= 160 * 10);
	for (int i = first; i + 160 <= len; i += 160)
		if (is_dead(heard + i))
			fail_msg("seed %u: digital silence at %d ms", seed, i / 8);
	/* it is still that speech, once it has learned the line, and afterwards with little delay */
	assert_true(compare(17000, 2000, &late) >= 0.9);
	assert_true(late < 60);
	double sum = 0;
	for (int ms = 3000; ms < 15000; ms += 1000)
		sum += compare(ms, 1000, &late);
	assert_true(sum / 12 >= 0.9);
}

static void test_echo_bad_line(void **state)
{
	struct rig *r = *state;
	for (uint32_t seed = 1; seed <= 10; seed++) {
		r->n_sent = r->n_events = 0;
		bad_line(r, seed);
		struct media_cmd c = rig_cmd(MEDIA_CLOSE);
		rig_do(r, &c);
		const struct media_counts *k = &rig_last(r, MEDIA_CLOSED)->counts;
		assert_true(k->concealed >= 20 && k->concealed < 130);
		assert_true(k->lost >= 15 && k->lost < 80);
	}
}

/* The sender falls silent: what is heard fades to noise within 100 ms, and is never dead. */
static void test_fade_to_noise(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	rig_on(r, MEDIA_ECHO, true);
	for (int i = 0; i < 50; i++) {
		rig_say(r, speech + 160 * i);
		rig_run(r, 20);
	}
	int n = r->n_sent;
	rig_run(r, 2000);
	rig_heard(r, n, CODEC_PCMU, heard, N);
	for (int i = 0; i < 98; i++)
		assert_false(is_dead(heard + 160 * i));
	for (int i = 160 * 8; i < 160 * 98; i++)
		assert_true(abs(heard[i]) < 300);
}

/* Others send to our port, from other hosts and from other ports, before and after the lock: never heard. */
static void test_spray(void **state)
{
	struct rig *r = *state;
	static int16_t noise[160];
	uint8_t loud[160];
	rig_start(r);
	rig_on(r, MEDIA_ECHO, true);
	for (int i = 0; i < 160; i++)
		noise[i] = (int16_t)(i & 1 ? 20000 : -20000);
	media_encode(CODEC_PCMU, noise, loud, 160);
	struct addr nat = rig_addr("192.0.2.5:33000");
	for (int i = 0; i < 200; i++) {
		for (int k = 0; k < 5; k++) {
			struct addr stranger = rig_addr("203.0.113.66:5004");
			stranger.port = (uint16_t)(stranger.port + k);
			rig_raw(r, &stranger, 0, (uint16_t)i, 160 * (unsigned)i, 77, loud, 160);
		}
		if (i >= 20) { /* the phone, behind NAT: its IP is that of its SIP, the port is not as signalled */
			uint8_t body[160];
			media_encode(CODEC_PCMU, speech + 160 * i, body, 160);
			rig_raw(r, &nat, 0, (uint16_t)i, 160 * (unsigned)i, 5, body, 160);
		}
		if (i >= 100) { /* once it is locked, its own host from another port is a stranger too */
			struct addr near_by = rig_addr("192.0.2.5:33002");
			rig_raw(r, &near_by, 0, (uint16_t)i, 160 * (unsigned)i, 5, loud, 160);
		}
		rig_run(r, 20);
		assert_true(addr_eq(&r->sent[r->n_sent - 1].to, i < 23 ? &r->phone : &nat));
	}
	rig_heard(r, 0, CODEC_PCMU, heard, N);
	for (int i = 0; i < 200 * 160; i++)
		assert_true(abs(heard[i]) < 19000);
	assert_int_equal(rig_count(r, MEDIA_LOCKED), 1);
	assert_true(addr_eq(&rig_last(r, MEDIA_LOCKED)->locked.from, &nat));
	assert_true(addr_eq(&r->lines[SLOT].remote, &nat));
	struct media_cmd c = rig_cmd(MEDIA_CLOSE);
	rig_do(r, &c);
	assert_int_equal(rig_last(r, MEDIA_CLOSED)->counts.strangers, 1100);
}

/* re-INVITE with a new address: the old source is not heard any more, the new one is, from its first packet. */
static void test_relatch(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	for (int i = 0; i < 10; i++) {
		rig_say(r, speech);
		rig_run(r, 20);
	}
	uint32_t in = r->lines[SLOT].packets_in;
	struct addr old = r->phone;
	r->phone = rig_addr("198.51.100.7:7000");
	struct media_cmd c = rig_cmd(MEDIA_REMOTE);
	c.remote = rig_remote(r);
	c.remote.relatch = 1;
	rig_do(r, &c);
	assert_false(r->lines[SLOT].latched);
	rig_raw(r, &old, 0, r->seq, r->ts, r->ssrc, speech, 160);
	assert_int_equal(r->lines[SLOT].packets_in, in);
	rig_run(r, 20);
	assert_true(addr_eq(&r->sent[r->n_sent - 1].to, &r->phone));
	for (int i = 0; i < 4; i++)
		rig_say(r, speech);
	assert_int_equal(r->lines[SLOT].packets_in, in + 4);
	assert_true(r->lines[SLOT].latched);
	assert_int_equal(rig_count(r, MEDIA_LOCKED), 2);
}

static void test_tap(void **state)
{
	struct rig *r = *state;
	static int16_t tapped[N];
	int n = 0, at;
	rig_start(r);
	rig_on(r, MEDIA_TAP, true);
	rig_run(r, 200);
	assert_int_equal(rig_count(r, MEDIA_HEARD), 10);
	assert_true(rig_last(r, MEDIA_HEARD)->heard.silent);
	for (int i = 0; i < 100; i++) {
		rig_say(r, speech + 160 * i);
		rig_run(r, 20);
	}
	for (int i = 0; i < r->n_events; i++)
		if (r->events[i].kind == MEDIA_HEARD) {
			memcpy(tapped + n, r->events[i].heard.samples, sizeof(r->events[i].heard.samples));
			n += 160;
		}
	assert_int_equal(n, 110 * 160);
	assert_true(rig_alike(speech, 8000, tapped, 1600, 2400, AUDIO_FRAME, &at) > 0.99);
	rig_on(r, MEDIA_TAP, false);
	int before = r->n_events;
	rig_run(r, 100);
	assert_int_equal(r->n_events, before);
}

static void test_quiet(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	rig_run(r, 59000);
	assert_int_equal(rig_count(r, MEDIA_QUIET), 0);
	rig_run(r, 2000);
	assert_int_equal(rig_count(r, MEDIA_QUIET), 1);
	r->n_sent = 0;
	rig_run(r, 100000);
	assert_int_equal(rig_count(r, MEDIA_QUIET), 1);
	/* a report is a sign of life; that of a stranger is none */
	uint8_t p[128];
	struct rtcp_report report = {.ssrc = 5};
	size_t n = rtcp_print(p, sizeof(p), &report, false);
	struct addr from = rig_addr("192.0.2.5:5005"), stranger = rig_addr("203.0.113.1:5005");
	media_packet(r->m, SLOT, 1, &stranger, str_n(p, n), r->now);
	r->n_sent = 0;
	rig_run(r, 61000);
	assert_int_equal(rig_count(r, MEDIA_QUIET), 1);
	media_packet(r->m, SLOT, 1, &from, str_n(p, n), r->now);
	r->n_sent = 0;
	rig_run(r, 61000);
	assert_int_equal(rig_count(r, MEDIA_QUIET), 2);
}

static void test_reports(void **state)
{
	struct rig *r = *state;
	struct rtcp_info info;
	rig_start(r);
	for (int i = 0; i < 500; i++) {
		if (i % 10 != 3) /* the network loses each tenth */
			rig_say(r, speech);
		else
			r->seq++, r->ts += 160;
		rig_run(r, 20);
	}
	assert_in_range(r->n_rtcp, 1, 4); /* in 10 s: each 2.5 to 7.5 s */
	assert_int_equal(rtcp_parse(str_n(r->rtcp, r->rtcp_n), 0x1234, &info), 0);
	assert_true(info.sr && info.has_report);
	assert_in_range(info.fraction_lost, 20, 30); /* of 256 */
	assert_int_equal(info.ssrc, 0xabcdef);
	/* the phone answers our report 100 ms later, having held it for 40: 60 ms on the road */
	struct rtcp_report back = {.ssrc = 0x1234, .packets = 1, .has_peer = true, .peer_ssrc = 0xabcdef, .lost = 7, .jitter = 80, .utc_ms = 1};
	r->n_rtcp = 0;
	while (!r->n_rtcp)
		rig_run(r, 1);
	assert_int_equal(rtcp_parse(str_n(r->rtcp, r->rtcp_n), 0, &info), 0);
	back.lsr = (uint32_t)(info.ntp >> 16);
	back.dlsr = 40 * 65536 / 1000;
	rig_run(r, 100);
	uint8_t p[128];
	size_t n = rtcp_print(p, sizeof(p), &back, false);
	struct addr from = rig_addr("192.0.2.5:5005");
	media_packet(r->m, SLOT, 1, &from, str_n(p, n), r->now);
	media_packet(r->m, SLOT, 1, &from, str_n(p, n - 5), r->now); /* cut off */
	struct media_cmd c = rig_cmd(MEDIA_CLOSE);
	rig_do(r, &c);
	const struct media_counts *k = &rig_last(r, MEDIA_CLOSED)->counts;
	assert_in_range(k->rtt_us, 59000, 61000);
	assert_int_equal(k->peer_lost, 7);
	assert_int_equal(k->peer_jitter_us, 10000);
	assert_int_equal(k->bad, 1);
	assert_in_range(k->lost, 49, 50);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {T(test_echo_clean), T(test_echo_bad_line), T(test_fade_to_noise), T(test_spray),
					   T(test_relatch),    T(test_tap),           T(test_quiet),         T(test_reports)};
	return cmocka_run_group_tests(tests, group_setup, NULL);
}
