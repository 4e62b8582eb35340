/* SPDX-License-Identifier: Apache-2.0
 *
 * media_digit: digits in and out (RFC 4733 section 2.5). On media threads.
 *
 * In: an event is one digit, told at its end packet, or when nothing was heard of it for a while or the next one begins. It stands in the media line before it
 * is told: first its character in the ring, then its RTP timestamp, then its number. The slot behind the last digit is kept empty, so that an adopting thread
 * sees a write that was cut short and completes it; end packets that still come are known by their timestamp.
 * Where the peer has no events, spandsp listens for the tones. A tone that sounds on while a thread
 * adopts the stream was counted by the one before.
 * Out: one packet each 20 ms, like sound: five updates, then the end three times, in what is also the pause before the next digit. Where the peer takes no
 * events, the pair of tones of Q.23 is sent, 10 dB below the reference level each.
 */
#include <math.h>
#include <spandsp.h>
#include "media/media_int.h"

#define GONE_MS     100             /* no update for so long: the end packets were lost */
#define STALE       (10 * AUDIO_HZ) /* timestamps further apart are not compared: the clock was set anew */
#define UNSURE_MS   300
#define TONE_FRAMES 3   /* a tone that is found so soon did not begin just now */
#define TONE_LEAST  100 /* rms; the standard's least tone is about 400 */
#define ON_FRAMES   5
#define GAP_FRAMES  3
#define TONE_PEAK   7164.0 /* -10 dBm0, where +3.17 dBm0 is full scale */
#define VOLUME      10     /* -dBm0 */

/* ---- in ---- */

static char digit_at(const struct media_line *l, uint32_t n)
{
	return l->digits[n % LINE_DIGITS];
}

/* The one place where a digit becomes a fact. */
static void record(struct media *m, struct stream *s, char c, uint32_t ts, uint32_t ms)
{
	struct media_line *l = s->line;
	uint32_t n = l->digit_n + 1;
	l->digits[n % LINE_DIGITS] = c;
	__atomic_store_n(&l->tele_ts, ts, __ATOMIC_RELEASE);
	__atomic_store_n(&l->digit_n, n, __ATOMIC_RELEASE);
	l->digits[(n + 1) % LINE_DIGITS] = 0;
	count_add(COUNT_DIGITS, 1);
	struct media_event e = {.kind = MEDIA_DIGIT, .slot = s->slot, .gen = s->gen};
	e.digit.number = n;
	e.digit.ms = ms;
	e.digit.digit = c;
	media_tell(m, &e);
}

static void take(struct media *m, struct stream *s)
{
	char c = rtp_event_digit(s->in.event);
	s->in.on = false;
	record(m, s, c, s->in.ts, s->in.duration / SAMPLES_PER_MS);
	if (s->echo)
		digit_out_put(s, &c, 1, false);
}

/* A write cut short by the end of the old thread: the digit counts, its timestamp may be missing. */
void digit_in_adopt(struct stream *s, int64_t now_ms)
{
	struct media_line *l = s->line;
	s->in.sounding = l->digit_n && l->tele_ts == 1;
	if (!digit_at(l, l->digit_n + 1))
		return;
	__atomic_store_n(&l->digit_n, l->digit_n + 1, __ATOMIC_RELEASE);
	l->digits[(l->digit_n + 1) % LINE_DIGITS] = 0;
	s->in.unsure = true;
	s->in.adopted_ms = now_ms;
}

/* Packets of a digit that was taken, or of one before it. */
static bool is_old(struct stream *s, uint32_t ts, char c, int64_t now_ms)
{
	const struct media_line *l = s->line;
	if (!l->digit_n)
		return false;
	if (s->in.unsure) {
		s->in.unsure = false;
		if (c == digit_at(l, l->digit_n) && now_ms - s->in.adopted_ms < UNSURE_MS) {
			s->line->tele_ts = ts;
			return true;
		}
	}
	int32_t d = (int32_t)(ts - l->tele_ts);
	return d <= 0 && d > -STALE && (d != 0 || c == digit_at(l, l->digit_n));
}

void digit_in(struct media *m, struct stream *s, const struct rtp_hdr *h, int64_t now_ms)
{
	struct rtp_event e;
	if (rtp_event_parse(h->payload, &e) != 0 || !rtp_event_digit(e.event))
		return;
	if (s->in.on && (s->in.ts != h->ts || s->in.event != e.event)) {
		if ((int32_t)(h->ts - s->in.ts) < 0 && (int32_t)(h->ts - s->in.ts) > -STALE)
			return; /* overtaken by the digit after it */
		take(m, s);
	}
	if (!s->in.on) {
		if (h->ssrc == s->in.ssrc && is_old(s, h->ts, rtp_event_digit(e.event), now_ms))
			return;
		s->in.on = true;
		s->in.ssrc = h->ssrc;
		s->in.event = e.event;
		s->in.ts = h->ts;
		s->in.duration = 0;
	}
	s->in.heard_ms = now_ms;
	s->in.duration = MAX(s->in.duration, e.duration);
	if (e.end)
		take(m, s);
}

/* RFC 6086 INFO: the packet's clock has no part in it, so the events' timestamp stays. */
void digit_typed(struct media *m, struct stream *s, uint32_t cseq, char digit, uint32_t ms)
{
	if (s->line->info_cseq == cseq)
		return;
	record(m, s, digit, s->line->tele_ts, ms);
	__atomic_store_n(&s->line->info_cseq, cseq, __ATOMIC_RELEASE);
}

void digit_in_tick(struct media *m, struct stream *s, int64_t now_ms)
{
	if (s->in.on && now_ms - s->in.heard_ms >= GONE_MS)
		take(m, s);
}

void digit_tones_set(struct stream *s, bool on)
{
	if (on && !s->tones) {
		s->tones = dtmf_rx_init(NULL, NULL, NULL);
	} else if (!on && s->tones) {
		dtmf_rx_free(s->tones);
		s->tones = NULL;
	}
}

static bool is_loud(const int16_t *pcm)
{
	int64_t e = 0;
	for (int i = 0; i < AUDIO_FRAME; i++)
		e += pcm[i] * pcm[i];
	return e > (int64_t)AUDIO_FRAME * TONE_LEAST * TONE_LEAST;
}

/* tele_ts has no timestamp to hold here: it says whether a tone is sounding. */
void digit_tones_in(struct media *m, struct stream *s, const int16_t *pcm, int64_t now_ms)
{
	char found[8];
	dtmf_rx(s->tones, pcm, AUDIO_FRAME);
	size_t n = dtmf_rx_get(s->tones, found, sizeof(found) - 1);
	bool tone = dtmf_rx_status(s->tones) && is_loud(pcm); /* the detector itself lags by a frame */
	if (!tone || ++s->n_tones > TONE_FRAMES)
		s->in.sounding = false;
	for (size_t i = 0; i < n; i++)
		if (!s->in.sounding || found[i] != digit_at(s->line, s->line->digit_n))
			record(m, s, found[i], 1, 0);
	s->line->tele_ts = tone;
}

/* ---- out ---- */

void digit_out_put(struct stream *s, const char *text, size_t cap, bool ordered)
{
	struct digits_out *d = &s->out;
	d->ordered |= ordered;
	if (d->at > 0) {
		memmove(d->queue, d->queue + d->at, (size_t)(d->n - d->at));
		d->n -= d->at;
		d->at = 0;
	}
	for (size_t i = 0; i < cap && text[i] && d->n < DIGITS_MAX; i++)
		if (text[i] == 'w' || text[i] == 'W' || rtp_digit_event(text[i]) >= 0)
			d->queue[d->n++] = text[i];
}

static void tone_start(struct digits_out *d)
{
	static const int rows[4] = {697, 770, 852, 941}, columns[4] = {1209, 1336, 1477, 1633};
	static const char keys[] = "123A456B789C*0#D";
	const char *at = memchr(keys, d->digit, sizeof(keys) - 1);
	int i = at ? (int)(at - keys) : 0, hz[2] = {rows[i / 4], columns[i % 4]};
	for (int k = 0; k < 2; k++) {
		double w = 2 * M_PI * hz[k] / AUDIO_HZ;
		d->c[k] = (float)(2 * cos(w));
		d->y1[k] = 0;
		d->y2[k] = (float)(-TONE_PEAK * sin(w));
	}
}

static size_t tone_frame(struct stream *s, uint8_t *payload)
{
	struct digits_out *d = &s->out;
	int16_t pcm[AUDIO_FRAME];
	for (int i = 0; i < AUDIO_FRAME; i++) {
		float sum = 0;
		for (int k = 0; k < 2 && d->frame < ON_FRAMES; k++) {
			sum += d->y1[k];
			float y = d->c[k] * d->y1[k] - d->y2[k];
			d->y2[k] = d->y1[k];
			d->y1[k] = y;
		}
		pcm[i] = (int16_t)lrintf(sum);
	}
	media_encode(s->remote.codec, pcm, payload, AUDIO_FRAME);
	return AUDIO_FRAME;
}

static size_t event_frame(struct stream *s, int64_t k, uint8_t *payload, struct rtp_hdr *h)
{
	struct digits_out *d = &s->out;
	if (d->frame < ON_FRAMES)
		d->duration = (uint16_t)((k - d->k0 + 1) * AUDIO_FRAME);
	struct rtp_event e = {.event = (uint8_t)rtp_digit_event(d->digit), .end = d->frame >= ON_FRAMES, .volume = VOLUME, .duration = d->duration};
	rtp_event_print(payload, &e);
	h->pt = s->remote.dtmf_pt;
	h->ts = s->line->ts0 + (uint32_t)(d->k0 * AUDIO_FRAME);
	h->marker = d->frame == 0;
	return 4;
}

static int frames_of(char c)
{
	return c == 'w' ? 500 / FRAME_MS : c == 'W' ? 1000 / FRAME_MS : ON_FRAMES + GAP_FRAMES;
}

static void next_digit(struct stream *s, int64_t k)
{
	struct digits_out *d = &s->out;
	d->digit = d->queue[d->at++];
	if (d->digit >= 'a' && d->digit <= 'd')
		d->digit = (char)(d->digit - 'a' + 'A');
	d->tone = !s->remote.dtmf_pt;
	d->frame = 0;
	d->k0 = k;
	if (d->tone && d->digit != 'w' && d->digit != 'W')
		tone_start(d);
}

size_t digit_out_frame(struct media *m, struct stream *s, int64_t k, uint8_t *payload, struct rtp_hdr *h)
{
	struct digits_out *d = &s->out;
	size_t n = 0;
	if (!d->digit) {
		if (d->at == d->n)
			return 0;
		next_digit(s, k);
	}
	if (d->digit != 'w' && d->digit != 'W')
		n = d->tone ? tone_frame(s, payload) : event_frame(s, k, payload, h);
	if (++d->frame >= frames_of(d->digit)) {
		d->digit = 0;
		if (d->at == d->n) {
			d->at = d->n = 0;
			if (d->ordered)
				media_tell(m, &(struct media_event){.kind = MEDIA_SENT, .slot = s->slot, .gen = s->gen});
			d->ordered = false;
		}
	}
	return n;
}
