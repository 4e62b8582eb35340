/* SPDX-License-Identifier: Apache-2.0
 *
 * media_play: what a stream sends. One packet each 20 ms with numbers by the clock, late ticks and restarts included; plays are recognised at the other end, and a
 * wrong sound is not; hold, loops, replacement, sounds dropped while they are played.
 */
#include "media_rig.h"

#define N 16000
static int16_t speech[N], other[N], heard[10 * N];

static int group_setup(void **state)
{
	rig_speech(speech, N, 1);
	rig_speech(other, N, 77);
	return 0;
}

/* Each packet follows the one before as the clock says. */
static void assert_by_clock(const struct rig *r, int from)
{
	for (int i = from + 1; i < r->n_sent; i++) {
		uint16_t step = (uint16_t)(r->sent[i].h.seq - r->sent[i - 1].h.seq);
		assert_true(step >= 1);
		assert_int_equal(r->sent[i].h.ts - r->sent[i - 1].h.ts, 160u * step);
		assert_int_equal(r->sent[i].h.ssrc, r->sent[0].h.ssrc);
	}
}

static void test_silence_each_20_ms(void **state)
{
	struct rig *r = *state;
	rig_open(r, false);
	rig_run(r, 500);
	assert_int_equal(r->n_sent, 0); /* not answered */
	struct media_cmd c = rig_cmd(MEDIA_START);
	rig_do(r, &c);
	int64_t begin = r->now;
	rig_run(r, 2000);
	assert_int_equal(r->n_sent, 100);
	assert_by_clock(r, 0);
	assert_true(r->sent[0].h.marker);
	assert_false(r->sent[1].h.marker);
	assert_int_equal(r->sent[0].h.ssrc, 0xabcdef);
	assert_true(addr_eq(&r->sent[0].to, &r->phone));
	for (int i = 0; i < 100; i++) {
		assert_int_equal(r->sent[i].at_ms - begin, 1 + 20 * i);
		assert_int_equal(r->sent[i].n, 160);
		assert_int_equal(r->sent[i].body[7], 0xff);
	}
	assert_int_equal(r->lines[SLOT].packets_out, 100);
	assert_int_equal(r->lines[SLOT].octets_out, 16000);
	assert_int_equal(r->lines[SLOT].gen, GEN);
}

static void check_play(struct rig *r, uint8_t law)
{
	int at;
	struct media_cmd c = rig_cmd(MEDIA_REMOTE);
	rig_sound(r, 1, speech, N);
	rig_start(r);
	c.remote = rig_remote(r);
	c.remote.codec = law;
	c.remote.codec_pt = c.remote.codec_pt_in = codec_table[law].pt;
	rig_do(r, &c);
	rig_run(r, 100);
	int first = r->n_sent;
	rig_play(r, 5, 1, 0, 1);
	rig_run(r, 3000);
	assert_int_equal(r->sent[first].h.pt, codec_table[law].pt);
	rig_heard(r, first, law, heard, 10 * N);
	assert_true(rig_alike(speech, N, heard, 0, 400, 1, &at) > 0.99);
	assert_true(rig_alike(other, N, heard, 0, 400, 1, &at) < 0.5);
	/* its length, ± 40 ms: silence behind it */
	for (int i = N + 320; i < N + 4000; i++)
		assert_true(abs(heard[i]) <= 8);
	assert_int_equal(rig_count(r, MEDIA_FINISHED), 1);
	assert_int_equal(rig_last(r, MEDIA_FINISHED)->finished.number, 5);
	assert_int_equal(r->lines[SLOT].playing, 0);
	assert_int_equal(r->lines[SLOT].play_pos, N);
}

static void test_play_pcmu(void **state)
{
	check_play(*state, CODEC_PCMU);
}

static void test_play_pcma(void **state)
{
	check_play(*state, CODEC_PCMA);
}

static void test_loops_stop_replace(void **state)
{
	struct rig *r = *state;
	rig_sound(r, 1, speech, 1000); /* not a whole number of frames */
	rig_start(r);
	rig_play(r, 1, 1, 0, 3);
	rig_run(r, 1000);
	rig_heard(r, 0, CODEC_PCMU, heard, 10 * N);
	for (int turn = 0; turn < 3; turn++) {
		int at;
		assert_true(rig_alike(speech, 1000, heard + 1000 * turn, 0, 0, 1, &at) > 0.99);
	}
	assert_true(abs(heard[3100]) <= 8);
	assert_int_equal(rig_count(r, MEDIA_FINISHED), 1);
	/* endless, then replaced, then stopped: none of them "finished" */
	rig_play(r, 2, 1, 0, 0);
	rig_run(r, 5000);
	assert_int_equal(r->lines[SLOT].playing, 1);
	assert_true(r->lines[SLOT].play_loop > 30);
	rig_play(r, 3, 1, 0, 0);
	assert_int_equal(r->lines[SLOT].play_number, 3);
	assert_int_equal(r->lines[SLOT].play_loop, 0);
	struct media_cmd c = rig_cmd(MEDIA_STOP);
	rig_do(r, &c);
	assert_int_equal(r->lines[SLOT].playing, 0);
	int n = r->n_sent;
	rig_run(r, 100);
	assert_int_equal(r->sent[n].body[0], 0xff);
	assert_int_equal(rig_count(r, MEDIA_FINISHED), 1);
	/* what nobody knows is finished at once */
	rig_play(r, 4, 99, 0, 1);
	assert_int_equal(rig_count(r, MEDIA_FINISHED), 2);
	assert_int_equal(rig_last(r, MEDIA_FINISHED)->finished.number, 4);
	rig_play(r, 5, 1, 5000, 1); /* beyond its end: through with the next frame */
	rig_run(r, 20);
	assert_int_equal(rig_count(r, MEDIA_FINISHED), 3);
}

static void test_sound_dropped_while_played(void **state)
{
	struct rig *r = *state;
	int at;
	struct media_cmd c = rig_cmd(MEDIA_SOUND_DROP);
	rig_sound(r, 1, speech, N);
	rig_start(r);
	rig_play(r, 1, 1, 0, 1);
	rig_run(r, 400);
	c.sound.sound = 1;
	c.sound.sound_gen = 1;
	rig_do(r, &c);
	rig_sound(r, 1, other, N); /* the same number again */
	rig_run(r, 2000);
	rig_heard(r, 0, CODEC_PCMU, heard, 10 * N);
	assert_true(rig_alike(speech, N, heard, 0, 0, 1, &at) > 0.99);
	assert_int_equal(rig_count(r, MEDIA_FINISHED), 1);
	int first = r->n_sent;
	rig_play(r, 2, 1, 0, 1);
	rig_run(r, 2100);
	rig_heard(r, first, CODEC_PCMU, heard, 10 * N);
	assert_true(rig_alike(other, N, heard, 0, 0, 1, &at) > 0.99);
}

/* The file is shorter than the order says: refused, not read past its end. */
static void test_short_file(void **state)
{
	struct rig *r = *state;
	struct media_cmd c = rig_cmd(MEDIA_SOUND);
	int fd = memfd_create("sound", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 1000), 0);
	c.sound.sound = 7;
	c.sound.sound_gen = 1;
	c.sound.n_samples = 100000;
	media_do(r->m, &c, fd, r->now);
	close(fd);
	rig_start(r);
	rig_play(r, 1, 7, 0, 1);
	assert_int_equal(rig_count(r, MEDIA_FINISHED), 1);
}

static void test_late_ticks(void **state)
{
	struct rig *r = *state;
	rig_sound(r, 1, speech, N);
	rig_start(r);
	rig_play(r, 1, 1, 0, 1);
	rig_run(r, 200);
	int n = r->n_sent;
	uint32_t pos = r->lines[SLOT].play_pos;
	assert_int_equal(pos, n * 160);
	r->now += 500; /* the thread was away */
	media_tick(r->m, r->now);
	assert_int_equal(r->n_sent, n + 5); /* no burst */
	assert_int_equal(r->lines[SLOT].play_pos, pos + 5 * 160);
	assert_int_equal((uint16_t)(r->sent[n].h.seq - r->sent[n - 1].h.seq), 21);
	rig_run(r, 200);
	assert_int_equal(r->n_sent, n + 15);
	assert_by_clock(r, 0);
	/* numbers are those of the clock */
	const struct sent *last = &r->sent[r->n_sent - 1];
	int64_t k = (last->at_ms - r->lines[SLOT].start_ms) / 20;
	assert_int_equal(last->h.seq, (uint16_t)(r->lines[SLOT].seq0 + k));
	assert_int_equal(last->h.ts, r->lines[SLOT].ts0 + 160 * (uint32_t)k);
}

/* kill -9 and adoption from the line alone, at every phase within a frame. */
static void test_adopt(void **state)
{
	struct rig *r = *state;
	for (int phase = 0; phase < 20; phase++) {
		int at;
		r->n_sent = r->n_events = 0;
		rig_sound(r, 1, speech, N);
		rig_start(r);
		struct addr nat = rig_addr("192.0.2.5:9999");
		for (int i = 0; i < 5; i++)
			rig_raw(r, &nat, 0, (uint16_t)i, 160 * (unsigned)i, 5, speech, 160);
		rig_play(r, 4, 1, 0, 1);
		rig_run(r, 600 + phase);
		int n = r->n_sent;
		media_free(r->m); /* what dies here is memory of the thread; the line stays */
		r->now += 37;
		rig_boot(r);
		rig_sound(r, 1, speech, N);
		rig_open(r, true);
		uint32_t pos = r->lines[SLOT].play_pos;
		assert_int_equal(r->lines[SLOT].play_number, 4);
		assert_int_equal(pos, 160 * n);
		rig_play(r, 4, 1, pos, 1);
		rig_run(r, 2000);
		assert_by_clock(r, 0);
		uint16_t step = (uint16_t)(r->sent[n].h.seq - r->sent[n - 1].h.seq);
		assert_in_range(step, 2, 4); /* what fell into the hole, no more */
		assert_false(r->sent[n].h.marker);
		assert_true(addr_eq(&r->sent[n].to, &nat)); /* still locked */
		rig_heard(r, n, CODEC_PCMU, heard, 10 * N);
		assert_true(rig_alike(speech + pos, 8000, heard, 0, 0, 1, &at) > 0.99);
		assert_int_equal(rig_count(r, MEDIA_FINISHED), 1);
		struct media_cmd c = rig_cmd(MEDIA_CLOSE);
		rig_do(r, &c);
		media_free(r->m);
		rig_boot(r);
	}
}

static void test_hold(void **state)
{
	struct rig *r = *state;
	rig_start(r);
	rig_run(r, 200);
	int n = r->n_sent;
	uint16_t seq = r->sent[n - 1].h.seq;
	struct media_cmd c = rig_cmd(MEDIA_REMOTE);
	c.remote = rig_remote(r);
	c.remote.dir = 2;
	rig_do(r, &c);
	rig_run(r, 1000);
	assert_int_equal(r->n_sent, n);
	c.remote.dir = 0;
	rig_do(r, &c);
	rig_run(r, 20);
	assert_int_equal((uint16_t)(r->sent[n].h.seq - seq), 51);
}

static void test_close_and_strays(void **state)
{
	struct rig *r = *state;
	struct media_cmd c = rig_cmd(MEDIA_CLOSE);
	rig_start(r);
	rig_run(r, 1000);
	c.gen = GEN + 1; /* another generation: not this stream, but its sender gets an answer */
	rig_do(r, &c);
	assert_int_equal(rig_count(r, MEDIA_CLOSED), 1);
	assert_int_equal(rig_last(r, MEDIA_CLOSED)->gen, GEN + 1);
	rig_run(r, 20);
	assert_int_equal(r->n_sent, 51);
	c.gen = GEN;
	rig_do(r, &c);
	assert_int_equal(rig_count(r, MEDIA_CLOSED), 2);
	assert_int_equal(rig_last(r, MEDIA_CLOSED)->counts.packets_out, 51);
	struct rtcp_info info;
	assert_int_equal(rtcp_parse(str_n(r->rtcp, r->rtcp_n), 1, &info), 0);
	assert_true(info.bye);
	assert_int_equal(info.packets, 51);
	assert_int_equal(r->lines[SLOT].gen, 0);
	rig_run(r, 100);
	assert_int_equal(r->n_sent, 51);
	rig_say(r, speech); /* nobody there */
	c = rig_cmd(MEDIA_ECHO);
	rig_do(r, &c);
	c.slot = N_LINES + 5;
	rig_do(r, &c);
	c.kind = MEDIA_OPEN;
	rig_do(r, &c);
}

static void test_next(void **state)
{
	struct rig *r = *state;
	assert_true(media_next_ms(r->m) == INT64_MAX);
	rig_start(r);
	rig_run(r, 1);
	for (int i = 0; i < 5; i++) {
		int64_t next = media_next_ms(r->m);
		assert_int_equal(next, r->lines[SLOT].start_ms + 20 * (i + 1));
		rig_run(r, (int)(next - r->now));
		assert_int_equal(r->n_sent, i + 2);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {T(test_silence_each_20_ms),
					   T(test_play_pcmu),
					   T(test_play_pcma),
					   T(test_loops_stop_replace),
					   T(test_sound_dropped_while_played),
					   T(test_short_file),
					   T(test_late_ticks),
					   T(test_adopt),
					   T(test_hold),
					   T(test_close_and_strays),
					   T(test_next)};
	return cmocka_run_group_tests(tests, group_setup, NULL);
}
