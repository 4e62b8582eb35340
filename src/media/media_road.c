/* SPDX-License-Identifier: Apache-2.0
 *
 * media_road: the road of a packet, from the socket's thread in (media_packet) to the wire (road_send), and the clock that drives the way out (media_tick). On
 * the media thread that owns the engine: no lock, no memory asked for, nothing formatted. RFC 3550 section 5, RFC 3551, RFC 4733.
 *
 * Packet k of a stream is due at start_ms + 20 k and carries sequence seq0 + k and timestamp ts0 + 160 k, always. A late tick sends the five newest that are
 * due (a busy machine costs no sound: phones buffer as much); the numbers of those before are left out, so the peer sees loss, never a long burst or a break. A play moves on by what is sent.
 * What is heard before a source is locked, by whom, is the latch's matter (rtp/latch.c); the locked source passes without asking it.
 */
#include "media/media_int.h"

#define CATCH_UP 5  /* frames of one stream in one tick */
#define PT_NOISE 13 /* comfort noise (RFC 3389): a sign of life, no sound */

/* ---- in ---- */

static void locked_now(struct media *m, struct stream *s)
{
	struct media_event e = {.kind = MEDIA_LOCKED, .slot = s->slot, .gen = s->gen};
	stream_aim(s);
	e.locked.from = s->latch.locked;
	media_tell(m, &e);
}

static bool may_enter(struct media *m, struct stream *s, const struct addr *from, const struct rtp_hdr *h, int64_t now_ms)
{
	if (s->latch.is_locked && addr_eq(&s->latch.locked, from))
		return true;
	enum latch_verdict v = latch_judge(&s->latch, from, h, now_ms);
	if (v == LATCH_LOCKED_NOW)
		locked_now(m, s);
	if (v != LATCH_DROP)
		return true;
	s->counts.strangers++;
	m->n_stranger++;
	return false;
}

static void note(struct media *m, struct stream *s, const struct rtp_hdr *h, size_t n, int64_t now_ms)
{
	struct media_line *l = s->line;
	if (s->stats.started && s->stats.ssrc != h->ssrc)
		s->lost_before += rtp_stats_lost(&s->stats);
	rtp_stats_add(&s->stats, h, now_ms * SAMPLES_PER_MS);
	l->peer_ssrc = h->ssrc;
	l->packets_in++;
	l->lost_in = s->lost_before + rtp_stats_lost(&s->stats);
	l->heard_ms = s->quiet_from_ms = now_ms;
	s->quiet_told = false;
	s->counts.octets_in += (uint32_t)n;
	m->n_in++;
}

void media_packet(struct media *m, uint32_t slot, int rtcp, const struct addr *from, struct str bytes, int64_t now_ms)
{
	struct stream *s = media_stream(m, slot);
	struct rtp_hdr h;
	if (!s)
		return;
	if (rtcp) {
		media_rtcp_in(m, s, from, bytes, now_ms);
		return;
	}
	bool parsed = rtp_parse(bytes, &h) == 0;
	bool sound = parsed && h.pt == s->remote.codec_pt_in, event = parsed && s->remote.dtmf_pt_in && h.pt == s->remote.dtmf_pt_in;
	if (!sound && !event && !(parsed && h.pt == PT_NOISE)) {
		s->counts.bad++;
		m->n_bad++;
		return;
	}
	if (!may_enter(m, s, from, &h, now_ms))
		return;
	note(m, s, &h, h.payload.n, now_ms);
	if (event)
		digit_in(m, s, &h, now_ms);
	else if (sound && s->remote.dir != 1 && s->remote.dir != 3) /* sendonly, inactive: we said that we do not listen */
		jb_put(s->jb, &h, now_ms);
}

/* ---- out ---- */

/* What is heard in this frame, for echo and tap: as bytes if they can be passed on as they came (pcm is filled as well). */
enum heard { HEARD_NOTHING, HEARD_BYTES, HEARD_PCM };
static enum heard hear(struct media *m, struct stream *s, uint8_t *bytes, int16_t *pcm, int64_t now_ms)
{
	size_t n;
	uint8_t pt;
	enum jb_got got = jb_get(s->jb, now_ms, bytes, &n, &pt);
	if (got == JB_LOST) {
		s->counts.concealed++;
		m->n_concealed++;
	}
	s->heard_any |= got == JB_FRAME;
	if (!s->echo && !s->tap && !s->tones)
		return HEARD_NOTHING;
	if (got == JB_FRAME) {
		media_decode(s->remote.codec, bytes, pcm, AUDIO_FRAME);
		bool changed = conceal_good(&s->conceal, pcm, jb_joined(s->jb));
		if (s->tones)
			digit_tones_in(m, s, pcm, now_ms);
		return changed ? HEARD_PCM : HEARD_BYTES;
	}
	if (!s->heard_any)
		return HEARD_NOTHING;
	conceal_lost(&s->conceal, pcm); /* lost, or the sender is silent: sound fades to noise, never to nothing */
	return HEARD_PCM;
}

static void tell_heard(struct media *m, const struct stream *s, const int16_t *pcm, bool silent)
{
	struct media_event e = {.kind = MEDIA_HEARD, .slot = s->slot, .gen = s->gen};
	if (!silent)
		memcpy(e.heard.samples, pcm, sizeof(e.heard.samples));
	e.heard.silent = silent;
	media_tell(m, &e);
}

/* The next frame of the play; false = it is through. The position is moved on when the frame is sent. */
static bool play_frame(struct stream *s, uint32_t *pos, uint32_t *loop, uint8_t *bytes)
{
	int16_t pcm[AUDIO_FRAME];
	const struct sound *sound = s->sound;
	int n = 0;
	while (n < AUDIO_FRAME) {
		if (*pos >= sound->n_samples) {
			(*loop)++;
			if (s->play_loops && *loop >= s->play_loops)
				break;
			*pos = 0;
		}
		int part = (int)MIN((uint32_t)(AUDIO_FRAME - n), sound->n_samples - *pos);
		memcpy(pcm + n, sound->samples + *pos, (size_t)part * sizeof(int16_t));
		n += part;
		*pos += (uint32_t)part;
	}
	memset(pcm + n, 0, (size_t)(AUDIO_FRAME - n) * sizeof(int16_t));
	media_encode(s->remote.codec, pcm, bytes, AUDIO_FRAME);
	return n == AUDIO_FRAME;
}

static void play_end(struct media *m, struct stream *s)
{
	struct media_event e = {.kind = MEDIA_FINISHED, .slot = s->slot, .gen = s->gen};
	sound_leave(m, s->sound);
	s->sound = NULL;
	s->line->playing = 0;
	e.finished.number = s->line->play_number;
	media_tell(m, &e);
}

void road_send(struct media *m, struct stream *s, bool rtcp, const void *p, size_t n)
{
	if (m->o.send) {
		const struct addr *to = rtcp ? &s->line->remote_rtcp : &s->line->remote;
		if (to->family)
			m->o.send(m->o.arg, s->slot, rtcp, to, p, n);
		return;
	}
	struct iovec v = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
	struct msghdr h = {
	    .msg_name = rtcp ? &s->dst_rtcp : &s->dst,
	    .msg_namelen = rtcp ? s->dst_rtcp_n : s->dst_n,
	    .msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = s->control_n ? s->control : NULL,
	    .msg_controllen = s->control_n,
	};
	int fd = rtcp ? s->rtcp_fd : s->rtp_fd;
	/* A packet that the kernel does not take is lost like any other; ECONNREFUSED of an earlier one is reported by this call and clears itself. */
	if (h.msg_namelen && sendmsg(fd, &h, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED)
		(void)!sendmsg(fd, &h, MSG_DONTWAIT);
}

static void send_frame(struct media *m, struct stream *s, struct rtp_hdr *h, uint8_t *packet, size_t n)
{
	struct media_line *l = s->line;
	if (s->remote.dir == 2 || s->remote.dir == 3) /* held: the clock goes on, nothing is sent */
		return;
	h->marker |= !s->marked;
	s->marked = true;
	rtp_print_hdr(packet, h);
	road_send(m, s, false, packet, 12 + n);
	l->packets_out++;
	l->octets_out += n;
	m->n_out++;
}

/* Frame k: what came in is taken from the jitter buffer, and what is to be said is chosen: a digit, a play, the echo, or silence. */
static void one_frame(struct media *m, struct stream *s, int64_t k, int64_t now_ms)
{
	uint8_t packet[12 + AUDIO_FRAME], bytes[JB_BYTES];
	int16_t pcm[AUDIO_FRAME];
	struct media_line *l = s->line;
	struct rtp_hdr h = {.pt = s->remote.codec_pt, .seq = (uint16_t)(l->seq0 + k), .ts = l->ts0 + (uint32_t)(k * AUDIO_FRAME), .ssrc = l->ssrc};
	enum heard heard = hear(m, s, bytes, pcm, now_ms);
	uint32_t pos = l->play_pos, loop = l->play_loop;
	bool more = true;
	size_t n = digit_out_frame(m, s, k, packet + 12, &h);
	if (!n) {
		n = AUDIO_FRAME;
		if (s->sound)
			more = play_frame(s, &pos, &loop, packet + 12);
		else if (s->echo && heard == HEARD_BYTES)
			memcpy(packet + 12, bytes, AUDIO_FRAME);
		else if (s->echo && heard == HEARD_PCM)
			media_encode(s->remote.codec, pcm, packet + 12, AUDIO_FRAME);
		else
			memset(packet + 12, s->remote.codec == CODEC_PCMA ? 0xd5 : 0xff, AUDIO_FRAME);
	}
	send_frame(m, s, &h, packet, n);
	l->play_loop = loop;
	l->play_pos = pos;
	if (!more)
		play_end(m, s);
	if (s->tap)
		tell_heard(m, s, pcm, heard == HEARD_NOTHING);
}

static void look_for_quiet(struct media *m, struct stream *s, int64_t now_ms)
{
	if (!s->quiet_ms || s->quiet_told || now_ms - s->quiet_from_ms < s->quiet_ms)
		return;
	s->quiet_told = true;
	media_tell(m, &(struct media_event){.kind = MEDIA_QUIET, .slot = s->slot, .gen = s->gen});
}

static void stream_tick(struct media *m, struct stream *s, int64_t now_ms)
{
	digit_in_tick(m, s, now_ms);
	if (!s->started || now_ms < s->phase_ms)
		return;
	int64_t due = (now_ms - s->phase_ms) / FRAME_MS;
	s->k_next = MAX(s->k_next, due - CATCH_UP + 1);
	while (s->k_next <= due)
		one_frame(m, s, s->k_next++, now_ms);
	media_rtcp_tick(m, s, now_ms);
	look_for_quiet(m, s, now_ms);
}

static void tell_counters(struct media *m)
{
	struct {
		uint32_t *n;
		enum count count;
	} all[] = {{&m->n_in, COUNT_RTP_IN},
		   {&m->n_out, COUNT_RTP_OUT},
		   {&m->n_stranger, COUNT_RTP_STRANGER},
		   {&m->n_bad, COUNT_RTP_BAD},
		   {&m->n_concealed, COUNT_RTP_CONCEALED}};
	for (size_t i = 0; i < N_ELEMENTS(all); i++)
		if (*all[i].n) {
			count_add(all[i].count, *all[i].n);
			*all[i].n = 0;
		}
}

void media_tick(struct media *m, int64_t now_ms)
{
	for (int64_t t = MAX(m->done_ms, now_ms - FRAME_MS) + 1; t <= now_ms; t++)
		LINK_EACH (it, &m->bucket[t % FRAME_MS])
			stream_tick(m, container_of(it, struct stream, link), now_ms);
	m->done_ms = MAX(m->done_ms, now_ms);
	tell_counters(m);
}

int64_t media_next_ms(const struct media *m)
{
	for (int64_t t = m->done_ms + 1; t <= m->done_ms + FRAME_MS; t++)
		if (!link_alone(&m->bucket[t % FRAME_MS]))
			return t;
	return INT64_MAX;
}
