/* SPDX-License-Identifier: Apache-2.0
 *
 * media_threads: the real thing on loopback: two threads, streams on pooled sockets that call each other, a play that is recognised at the other end in time, digits,
 * orders for all of it through mailboxes, the sockets free again at the end. Also built with TSan. Waits are for events, each with a bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "media/media.h"
#include "net/net.h"
#include "rtp/rtp.h"

#define PAIRS   8 /* of streams: 2 i calls 2 i + 1 */
#define STREAMS (2 * PAIRS)
#define N       8000
#define TAG     0x55aa

struct letter {
	uint32_t tag;
	struct media_event e;
};
struct town {
	struct mailbox *up;
	struct media_threads *t;
	struct media_line *lines;
	struct rtp_pair pair[STREAMS];
	int16_t *heard[STREAMS];
	int n_heard[STREAMS], finished[STREAMS], sent[STREAMS], closed[STREAMS], locked[STREAMS];
	char digits[STREAMS][32];
	struct media_counts counts[STREAMS];
};
static int16_t tune[N];

static void post(struct town *w, struct media_cmd *c, int slot, int fd)
{
	c->slot = (uint32_t)slot;
	c->gen = (uint32_t)slot + 100;
	assert_int_equal(media_threads_post(w->t, slot % 2, c, fd), 0);
}

static void take(struct town *w)
{
	struct letter l;
	struct pollfd p = {.fd = mailbox_fd(w->up), .events = POLLIN};
	assert_int_equal(poll(&p, 1, 5000), 1); /* frames come each 20 ms; nothing for 5 s is a failure */
	while (mailbox_take(w->up, &l, sizeof(l), NULL) > 0) {
		uint32_t i = l.e.slot;
		assert_int_equal(l.tag, TAG);
		assert_true(i < STREAMS);
		assert_int_equal(l.e.gen, i + 100);
		size_t n = strlen(w->digits[i]);
		switch (l.e.kind) {
		case MEDIA_HEARD:
			if (w->n_heard[i] + AUDIO_FRAME <= 4 * N) {
				memcpy(w->heard[i] + w->n_heard[i], l.e.heard.samples, sizeof(l.e.heard.samples));
				w->n_heard[i] += AUDIO_FRAME;
			}
			break;
		case MEDIA_DIGIT:
			assert_int_equal(l.e.digit.number, n + 1);
			w->digits[i][n] = l.e.digit.digit;
			break;
		case MEDIA_FINISHED:
			w->finished[i]++;
			break;
		case MEDIA_SENT:
			w->sent[i]++;
			break;
		case MEDIA_LOCKED:
			w->locked[i]++;
			break;
		case MEDIA_CLOSED:
			w->closed[i]++;
			w->counts[i] = l.e.counts;
			break;
		}
	}
}

static int all(const int *flags)
{
	int n = 0;
	for (int i = 0; i < STREAMS; i++)
		n += flags[i] > 0;
	return n;
}

static double alike(const int16_t *a, const int16_t *b, int n, int to)
{
	double best = -1;
	for (int lag = 0; lag <= to; lag += AUDIO_FRAME) {
		double ab = 0, aa = 1, bb = 1;
		for (int i = 0; i < n; i++) {
			ab += (double)a[i] * b[lag + i];
			aa += (double)a[i] * a[i];
			bb += (double)b[lag + i] * b[lag + i];
		}
		best = fmax(best, ab / sqrt(aa * bb));
	}
	return best;
}

static void open_all(struct town *w, const char *bind_to, const char *host)
{
	struct addr any, local;
	uint16_t port = 30000;
	assert_int_equal(addr_parse(str_z(bind_to), &any), 0);
	assert_int_equal(addr_parse(str_z(host), &local), 0);
	struct rtp_pool *pool = rtp_pool_new(0, &any, NULL, NULL);
	for (int i = 0; i < STREAMS; i++)
		assert_int_equal(rtp_bind_pair(&any, &port, 65535, &w->pair[i]), 0);
	rtp_pool_give(pool, w->pair, STREAMS);
	for (int i = 0; i < STREAMS; i++)
		assert_int_equal(rtp_pool_take(pool, &w->pair[i]), 0);
	rtp_pool_free(pool);
	for (int i = 0; i < STREAMS; i++) {
		struct media_cmd c = {.kind = MEDIA_OPEN};
		c.open.rtp_fd = w->pair[i].rtp_fd;
		c.open.rtcp_fd = w->pair[i].rtcp_fd;
		c.open.ssrc = 1000 + (uint32_t)i;
		c.open.local = local;
		c.open.remote = (struct media_remote){.rtp = local,
						      .rtcp = local,
						      .sip_peer = local,
						      .codec = CODEC_PCMA,
						      .codec_pt = 8,
						      .codec_pt_in = 8,
						      .dtmf_pt = 101,
						      .dtmf_pt_in = 101,
						      .latch_until_ms = clock_boot_ms() + 10000};
		c.open.remote.rtp.port = w->pair[i ^ 1].port;
		c.open.remote.rtcp.port = (uint16_t)(w->pair[i ^ 1].port + 1);
		post(w, &c, i, -1);
		c = (struct media_cmd){.kind = MEDIA_TAP, .on.on = 1};
		post(w, &c, i, -1);
		c = (struct media_cmd){.kind = MEDIA_START};
		post(w, &c, i, -1);
	}
}

static void send_sound(struct town *w)
{
	struct media_cmd c = {.kind = MEDIA_SOUND, .sound = {.sound = 1, .sound_gen = 1, .n_samples = N}};
	int fd = memfd_create("tune", MFD_CLOEXEC);
	assert_int_equal(write(fd, tune, sizeof(tune)), sizeof(tune));
	for (int t = 0; t < 2; t++)
		assert_int_equal(media_threads_post(w->t, t, &c, fd), 0);
	close(fd);
}

static void calls(const char *bind_to, const char *host)
{
	struct town *w = calloc(1, sizeof(*w));
	w->up = mailbox_new(1 << 20);
	w->lines = calloc(STREAMS, sizeof(*w->lines));
	for (int i = 0; i < STREAMS; i++)
		w->heard[i] = calloc(4 * N, sizeof(int16_t));
	w->t = media_threads_start(2, w->lines, STREAMS, w->up, TAG);
	assert_non_null(w->t);
	assert_int_equal(media_threads_count(w->t), 2);
	uint64_t beat = media_threads_beat(w->t, 1);
	send_sound(w);
	open_all(w, bind_to, host);
	while (all(w->locked) < STREAMS)
		take(w);
	for (int i = 0; i < STREAMS; i++) {
		w->n_heard[i] = 0;
		struct media_cmd c = {.kind = MEDIA_PLAY, .play = {.number = 1, .sound = 1, .sound_gen = 1, .loops = 1}};
		post(w, &c, i, -1);
	}
	while (all(w->finished) < STREAMS)
		take(w);
	for (int i = 0; i < STREAMS; i++) {
		struct media_cmd c = {.kind = MEDIA_DIGITS, .digits.text = "12#"};
		post(w, &c, i, -1);
	}
	while (all(w->sent) < STREAMS || strlen(w->digits[0]) < 3)
		take(w);
	for (int i = 0; i < STREAMS; i++) {
		struct media_cmd c = {.kind = MEDIA_CLOSE};
		post(w, &c, i, -1);
	}
	while (all(w->closed) < STREAMS)
		take(w);
	assert_true(media_threads_beat(w->t, 1) > beat);
	media_threads_stop(w->t);
	for (int i = 0; i < STREAMS; i++) {
		assert_string_equal(w->digits[i], "12#");
		assert_int_equal(w->finished[i], 1);
		assert_true(w->counts[i].packets_in > 60);
		assert_int_equal(w->counts[i].strangers, 0);
		assert_int_equal(w->counts[i].bad, 0);
		double like = 0;
		for (int part = 0; part < 8; part++) /* in pieces of 100 ms: a frame lost to a busy machine shifts what is behind it, by whole frames */
			like += alike(tune + part * N / 10, w->heard[i] + part * N / 10, N / 10, 4000) / 8;
		if (like < 0.9)
			fail_msg("stream %d: %.2f", i, like);
		assert_int_equal(w->lines[i].gen, 0);
		close(w->pair[i].rtp_fd);
		close(w->pair[i].rtcp_fd);
		free(w->heard[i]);
	}
	mailbox_free(w->up);
	free(w->lines);
	free(w);
}

static void test_calls(void **state)
{
	calls("127.0.0.1:0", "127.0.0.1:0");
}

/* Sockets on the wildcard: packets leave from the address that was named, or the other side would not know them. */
static void test_calls_from_wildcard(void **state)
{
	calls("0.0.0.0:0", "127.0.0.77:0");
}

static void test_calls_ipv6(void **state)
{
	struct addr a = {.family = AF_INET6, .ip = {[15] = 1}};
	struct rtp_pair p;
	uint16_t port = 30000;
	if (rtp_bind_pair(&a, &port, 65535, &p) == -EADDRNOTAVAIL)
		skip(); /* a machine without IPv6 */
	close(p.rtp_fd);
	close(p.rtcp_fd);
	calls("[::1]:0", "[::1]:0");
	calls("[::]:0", "[::1]:0");
	calls("[::]:0", "127.0.0.1:0"); /* IPv4 on a socket for both */
}

/* The sig thread does not read: nothing is lost but sound, and the threads end when told. */
static void test_mailbox_full(void **state)
{
	struct media_line *lines = calloc(64, sizeof(*lines));
	struct mailbox *up = mailbox_new(4096);
	struct media_threads *t = media_threads_start(1, lines, 64, up, TAG);
	struct letter l;
	assert_non_null(t);
	for (uint32_t i = 0; i < 64; i++) {
		struct media_cmd c = {.kind = MEDIA_CLOSE, .slot = i, .gen = 1}; /* nobody there: answered all the same */
		assert_int_equal(media_threads_post(t, 0, &c, -1), 0);
	}
	for (uint32_t i = 0; i < 64;) {
		struct pollfd p = {.fd = mailbox_fd(up), .events = POLLIN};
		assert_int_equal(poll(&p, 1, 5000), 1);
		while (mailbox_take(up, &l, sizeof(l), NULL) > 0) {
			assert_int_equal(l.e.kind, MEDIA_CLOSED);
			assert_int_equal(l.e.slot, i++);
		}
	}
	media_threads_stop(t);
	mailbox_free(up);
	free(lines);
}

static int group_setup(void **state)
{
	uint32_t seed = 3;
	double f = 300;
	for (int i = 0; i < N; i++) { /* noise bursts on a wandering tone: alike to itself only */
		seed = seed * 1664525u + 1013904223u;
		f += (double)(int32_t)seed / 2147483648.0 * 8;
		tune[i] = (int16_t)(8000 * sin(i * f / AUDIO_HZ) + (double)(int32_t)seed / 1048576.0);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_calls_from_wildcard), cmocka_unit_test(test_calls_ipv6),
					   cmocka_unit_test(test_mailbox_full)};
	return cmocka_run_group_tests(tests, group_setup, NULL);
}
