/* SPDX-License-Identifier: Apache-2.0
 *
 * media_rtcp: reports of a stream (RFC 3550 section 6): an SR or RR with SDES about each five seconds, half of that and half as much again by chance, so that the
 * reports of many streams do not come together; BYE at the end. What the peer reports is kept for the call's record. On media threads.
 */
#include "media/media_int.h"

#define EACH_MS 5000

/* Middle 32 bits of the NTP time, in 1/65536 s. The offset of our clock does not matter here: only differences are used. */
static uint32_t ntp_middle(const struct media *m, int64_t now_ms)
{
	int64_t utc = now_ms + m->utc_offset_ms;
	return (uint32_t)(((uint64_t)(utc / 1000) + 2208988800u) << 16) | (uint32_t)((utc % 1000) * 65536 / 1000);
}

void media_rtcp_in(struct media *m, struct stream *s, const struct addr *from, struct str bytes, int64_t now_ms)
{
	struct rtcp_info r;
	if (!latch_rtcp_ok(&s->latch, from)) {
		s->counts.strangers++;
		m->n_stranger++;
		return;
	}
	if (rtcp_parse(bytes, s->line->ssrc, &r) != 0) {
		s->counts.bad++;
		m->n_bad++;
		return;
	}
	s->line->heard_ms = s->quiet_from_ms = now_ms;
	s->quiet_told = false;
	if (r.sr) {
		s->peer_lsr = (uint32_t)(r.ntp >> 16);
		s->peer_lsr_at_ms = now_ms;
	}
	if (!r.has_report)
		return;
	s->counts.peer_lost = r.lost > 0 ? (uint32_t)r.lost : 0;
	s->counts.peer_jitter_us = (uint32_t)((uint64_t)r.jitter * 1000000 / AUDIO_HZ);
	int32_t rtt = (int32_t)(ntp_middle(m, now_ms) - r.lsr - r.dlsr);
	if (r.lsr && rtt >= 0)
		s->counts.rtt_us = (uint32_t)((uint64_t)(uint32_t)rtt * 1000000 >> 16);
}

void media_rtcp_send(struct media *m, struct stream *s, bool bye, int64_t now_ms)
{
	uint8_t out[256];
	const struct media_line *l = s->line;
	struct rtcp_report r = {
	    .ssrc = l->ssrc, .packets = l->packets_out, .octets = (uint32_t)l->octets_out, .utc_ms = now_ms + m->utc_offset_ms, .cname = s->cname};
	r.rtp_ts = l->ts0 + (uint32_t)((now_ms - l->start_ms) * SAMPLES_PER_MS);
	if (s->stats.started) {
		r.has_peer = true;
		r.peer_ssrc = s->stats.ssrc;
		r.ext_seq = s->stats.ext_seq;
		r.jitter = s->stats.jitter_q4 >> 4;
		r.lost = (int32_t)rtp_stats_lost(&s->stats);
		r.fraction_lost = rtp_stats_fraction(&s->stats);
		r.lsr = s->peer_lsr;
		r.dlsr = s->peer_lsr_at_ms ? (uint32_t)((now_ms - s->peer_lsr_at_ms) * 65536 / 1000) : 0;
	}
	size_t n = rtcp_print(out, sizeof(out), &r, bye);
	if (n)
		road_send(m, s, true, out, n);
}

void media_rtcp_tick(struct media *m, struct stream *s, int64_t now_ms)
{
	if (now_ms < s->rtcp_at_ms)
		return;
	if (s->rtcp_at_ms)
		media_rtcp_send(m, s, false, now_ms);
	s->rtcp_at_ms = now_ms + EACH_MS / 2 + (int64_t)(rand_u32() % EACH_MS);
}
