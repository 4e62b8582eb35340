/* SPDX-License-Identifier: Apache-2.0
 *
 * media_rig: one engine, one stream in slot 3, and a phone that is a script: what the engine sends is kept and decoded, what the phone says is put in. No sockets,
 * no clock but rig.now. Sound is recognised by cross-correlation, not counted.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "media/media.h"
#include "rtp/rtp.h"

#define SLOT    3
#define GEN     9
#define N_LINES 8
#define SENT    8192

struct sent {
	int64_t at_ms;
	struct rtp_hdr h;
	struct addr to;
	uint8_t body[AUDIO_FRAME];
	size_t n;
};
struct rig {
	struct media *m;
	struct media_line lines[N_LINES];
	int64_t now;
	struct sent sent[SENT];
	int n_sent, n_rtcp;
	uint8_t rtcp[256];
	size_t rtcp_n;
	struct media_event events[4096];
	int n_events;
	struct addr phone;
	uint16_t seq; /* of the phone */
	uint32_t ts, ssrc, seed;
};

static inline struct addr rig_addr(const char *text)
{
	struct addr a;
	assert_int_equal(addr_parse(str_z(text), &a), 0);
	return a;
}

static inline uint32_t rig_chance(struct rig *r)
{
	r->seed = r->seed * 1664525u + 1013904223u;
	return r->seed >> 8;
}

static inline void rig_on_send(void *arg, uint32_t slot, int rtcp, const struct addr *to, const void *p, size_t n)
{
	struct rig *r = arg;
	assert_int_equal(slot, SLOT);
	if (rtcp) {
		r->n_rtcp++;
		r->rtcp_n = MIN(n, sizeof(r->rtcp));
		memcpy(r->rtcp, p, r->rtcp_n);
		return;
	}
	assert_true(r->n_sent < SENT);
	struct sent *s = &r->sent[r->n_sent++];
	assert_int_equal(rtp_parse(str_n(p, n), &s->h), 0);
	s->at_ms = r->now;
	s->to = *to;
	s->n = s->h.payload.n;
	assert_true(s->n <= sizeof(s->body));
	memcpy(s->body, s->h.payload.p, s->n);
}

static inline void rig_on_event(void *arg, const struct media_event *e)
{
	struct rig *r = arg;
	assert_true(r->n_events < (int)N_ELEMENTS(r->events));
	r->events[r->n_events++] = *e;
}

static inline void rig_boot(struct rig *r)
{
	struct media_opts o = {.lines = r->lines, .n_lines = N_LINES, .event = rig_on_event, .send = rig_on_send, .arg = r};
	r->m = media_new(&o, r->now);
	assert_non_null(r->m);
}

static inline int rig_setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	r->now = 1000;
	r->phone = rig_addr("192.0.2.5:5004");
	r->seq = 65530;
	r->ssrc = 0x1234;
	r->seed = 1;
	rig_boot(r);
	*state = r;
	return 0;
}

static inline int rig_teardown(void **state)
{
	struct rig *r = *state;
	media_free(r->m);
	free(r);
	return 0;
}

static inline struct media_cmd rig_cmd(enum media_cmd_kind kind)
{
	return (struct media_cmd){.kind = (uint16_t)kind, .slot = SLOT, .gen = GEN};
}

static inline void rig_do(struct rig *r, const struct media_cmd *c)
{
	media_do(r->m, c, -1, r->now);
}

static inline struct media_remote rig_remote(struct rig *r)
{
	struct media_remote m = {
	    .rtp = r->phone, .rtcp = r->phone, .sip_peer = r->phone, .codec = CODEC_PCMU, .dtmf_pt = 101, .dtmf_pt_in = 101, .latch_until_ms = r->now + 10000};
	m.rtcp.port++;
	m.sip_peer.port = 5060;
	return m;
}

static inline void rig_open(struct rig *r, bool adopt)
{
	struct media_cmd c = rig_cmd(MEDIA_OPEN);
	c.adopt = adopt;
	c.open.rtp_fd = c.open.rtcp_fd = -1;
	c.open.ssrc = 0xabcdef;
	c.open.quiet_ms = 60000;
	c.open.remote = rig_remote(r);
	rig_do(r, &c);
}

static inline void rig_start(struct rig *r)
{
	struct media_cmd c = rig_cmd(MEDIA_START);
	rig_open(r, false);
	rig_do(r, &c);
}

/* Steps of a millisecond, as the thread does it at the finest. */
static inline void rig_run(struct rig *r, int ms)
{
	while (ms-- > 0) {
		r->now++;
		media_tick(r->m, r->now);
	}
}

static inline void rig_raw(struct rig *r, const struct addr *from, uint8_t pt, uint16_t seq, uint32_t ts, uint32_t ssrc, const void *body, size_t n)
{
	uint8_t p[12 + 512];
	struct rtp_hdr h = {.pt = pt, .seq = seq, .ts = ts, .ssrc = ssrc};
	rtp_print_hdr(p, &h);
	assert_true(n <= 512);
	memcpy(p + 12, body, n);
	media_packet(r->m, SLOT, 0, from, str_n(p, 12 + n), r->now);
}

/* The phone says a frame now. */
static inline void rig_say(struct rig *r, const int16_t *pcm)
{
	uint8_t body[AUDIO_FRAME];
	media_encode(CODEC_PCMU, pcm, body, AUDIO_FRAME);
	rig_raw(r, &r->phone, 0, r->seq++, r->ts, r->ssrc, body, sizeof(body));
	r->ts += AUDIO_FRAME;
}

static inline int rig_count(const struct rig *r, enum media_event_kind kind)
{
	int n = 0;
	for (int i = 0; i < r->n_events; i++)
		n += r->events[i].kind == kind;
	return n;
}

static inline const struct media_event *rig_last(const struct rig *r, enum media_event_kind kind)
{
	for (int i = r->n_events - 1; i >= 0; i--)
		if (r->events[i].kind == kind)
			return &r->events[i];
	fail_msg("no event of kind %d", kind);
	return NULL;
}

/* Something like speech: buzz of a wandering pitch through two resonances, syllables of 180 ms, from a seed. */
static inline void rig_speech(int16_t *pcm, int n, uint32_t seed)
{
	double y1 = 0, y2 = 0, z1 = 0, z2 = 0, phase = 0;
	for (int i = 0; i < n; i++) {
		if (i % 1440 == 0)
			seed = seed * 1664525u + 1013904223u;
		double f0 = 90 + (seed >> 8 & 63) + 10 * sin(i / 900.0), f1 = 350 + (seed >> 14 & 511), f2 = 1200 + (seed >> 20 & 1023);
		phase += f0 / AUDIO_HZ;
		double x = 0, env = 0.1 + 0.9 * sin(M_PI * (i % 1440) / 1440.0);
		if (phase >= 1) {
			phase -= 1;
			x = 1;
		}
		double y = x + 2 * 0.96 * cos(2 * M_PI * f1 / AUDIO_HZ) * y1 - 0.96 * 0.96 * y2;
		y2 = y1;
		y1 = y;
		double z = x + 2 * 0.94 * cos(2 * M_PI * f2 / AUDIO_HZ) * z1 - 0.94 * 0.94 * z2;
		z2 = z1;
		z1 = z;
		pcm[i] = (int16_t)(fmax(fmin(2500 * env * (y + z), 30000), -30000));
	}
}

/* Best normalised correlation of `a` (n samples) with b beginning at each `step`th of from … to; *ret_at where. Sound that passes in frames is late by whole frames. */
static inline double rig_alike(const int16_t *a, int n, const int16_t *b, int from, int to, int step, int *ret_at)
{
	double best = -1;
	for (int lag = from; lag <= to; lag += step) {
		double ab = 0, aa = 1, bb = 1;
		for (int i = 0; i < n; i++) {
			ab += (double)a[i] * b[lag + i];
			aa += (double)a[i] * a[i];
			bb += (double)b[lag + i] * b[lag + i];
		}
		double r = ab / sqrt(aa * bb);
		if (r > best) {
			best = r;
			*ret_at = lag;
		}
	}
	return best;
}

/* What the phone hears, laid out by sequence number from the first packet on: missing packets are zeros. Returns samples. */
static inline int rig_heard(const struct rig *r, int first, enum codec_id law, int16_t *pcm, int cap)
{
	int n = 0;
	memset(pcm, 0, (size_t)cap * sizeof(int16_t));
	for (int i = first; i < r->n_sent; i++) {
		int at = (uint16_t)(r->sent[i].h.seq - r->sent[first].h.seq) * AUDIO_FRAME;
		if (r->sent[i].n != AUDIO_FRAME || at + AUDIO_FRAME > cap)
			continue;
		media_decode(law, r->sent[i].body, pcm + at, AUDIO_FRAME);
		n = MAX(n, at + AUDIO_FRAME);
	}
	return n;
}

static inline void rig_sound(struct rig *r, uint32_t id, const int16_t *pcm, uint32_t n)
{
	struct media_cmd c = rig_cmd(MEDIA_SOUND);
	int fd = memfd_create("sound", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, pcm, n * sizeof(int16_t)), n * sizeof(int16_t));
	c.sound.sound = id;
	c.sound.sound_gen = 1;
	c.sound.n_samples = n;
	media_do(r->m, &c, fd, r->now);
	close(fd);
}

static inline void rig_play(struct rig *r, uint32_t number, uint32_t id, uint32_t pos, uint32_t loops)
{
	struct media_cmd c = rig_cmd(MEDIA_PLAY);
	c.play.number = number;
	c.play.sound = id;
	c.play.sound_gen = 1;
	c.play.pos = pos;
	c.play.loops = loops;
	rig_do(r, &c);
}

static inline void rig_on(struct rig *r, enum media_cmd_kind kind, bool on)
{
	struct media_cmd c = rig_cmd(kind);
	c.on.on = on;
	rig_do(r, &c);
}
