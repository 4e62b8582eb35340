/* SPDX-License-Identifier: Apache-2.0
 *
 * rtp_packet: RTP headers (RFC 3550 section 5.1), telephone-events (RFC 4733 section 2.3) and the sequence bookkeeping of a source (RFC 3550
 * appendices A.1, A.3, A.8). Pure functions; on media threads. Whether a payload type is wanted and who may send is decided by media and by the latch.
 */
#include "rtp/rtp.h"
#include "rtp/wire.h"

#define HEAD         12
#define MAX_DROPOUT  3000 /* RFC 3550 A.1: a step ahead larger than this is a restart */
#define MAX_MISORDER 100

int rtp_parse(struct str in, struct rtp_hdr *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;
	if (in.n < HEAD || p[0] >> 6 != 2)
		return -EBADMSG;
	size_t at = HEAD + 4u * (p[0] & 0x0f), end = in.n;
	if (p[0] & 0x10) {
		if (at + 4 > end)
			return -EBADMSG;
		at += 4 + 4u * get16(p + at + 2);
	}
	if (at > end)
		return -EBADMSG;
	if (p[0] & 0x20) {
		/* the last byte counts itself */
		if (at == end || p[end - 1] == 0 || p[end - 1] > end - at)
			return -EBADMSG;
		end -= p[end - 1];
	}
	ret->marker = p[1] >> 7;
	ret->pt = p[1] & 0x7f;
	ret->seq = get16(p + 2);
	ret->ts = get32(p + 4);
	ret->ssrc = get32(p + 8);
	ret->payload = str_n(in.p + at, end - at);
	return 0;
}

void rtp_print_hdr(uint8_t out[12], const struct rtp_hdr *h)
{
	out[0] = 0x80;
	out[1] = (uint8_t)((h->marker ? 0x80 : 0) | (h->pt & 0x7f));
	put16(out + 2, h->seq);
	put32(out + 4, h->ts);
	put32(out + 8, h->ssrc);
}

int rtp_event_parse(struct str payload, struct rtp_event *ret)
{
	const uint8_t *p = (const uint8_t *)payload.p;
	if (payload.n < 4)
		return -EBADMSG;
	*ret = (struct rtp_event){.event = p[0], .end = p[1] >> 7, .volume = p[1] & 0x3f, .duration = get16(p + 2)};
	return 0;
}

void rtp_event_print(uint8_t out[4], const struct rtp_event *e)
{
	out[0] = e->event;
	out[1] = (uint8_t)((e->end ? 0x80 : 0) | (e->volume & 0x3f));
	put16(out + 2, e->duration);
}

static const char event_digits[16] = "0123456789*#ABCD";

char rtp_event_digit(uint8_t event)
{
	return event < sizeof(event_digits) ? event_digits[event] : 0;
}

int rtp_digit_event(char digit)
{
	if (digit >= 'a' && digit <= 'd')
		digit = (char)(digit - 'a' + 'A');
	const char *at = memchr(event_digits, digit, sizeof(event_digits));
	return at ? (int)(at - event_digits) : -EINVAL;
}

static void stats_start(struct rtp_stats *s, const struct rtp_hdr *h, int64_t transit)
{
	*s = (struct rtp_stats){.ssrc = h->ssrc, .base_seq = h->seq, .ext_seq = h->seq, .received = 1, .started = true, .transit = transit, .last_ts = h->ts};
}

static void stats_jitter(struct rtp_stats *s, const struct rtp_hdr *h, int64_t transit)
{
	if (h->ts == s->last_ts)
		return;
	int64_t d = transit - s->transit;
	d = (int32_t)d; /* a timestamp that wrapped is no jitter */
	if (d < 0)
		d = -d;
	/* A leap of the timestamp says nothing of the road; one second is more than any of ours. */
	if (d < AUDIO_HZ)
		s->jitter_q4 += (uint32_t)d - ((s->jitter_q4 + 8) >> 4);
	s->transit = transit;
	s->last_ts = h->ts;
}

void rtp_stats_add(struct rtp_stats *s, const struct rtp_hdr *h, int64_t arrival_ts)
{
	int64_t transit = arrival_ts - h->ts;
	int delta = (int16_t)(h->seq - (uint16_t)s->ext_seq);
	if (!s->started || s->ssrc != h->ssrc || delta > MAX_DROPOUT || delta < -MAX_MISORDER) {
		stats_start(s, h, transit);
		return;
	}
	if (delta == 0) {
		s->duplicates++;
		return;
	}
	s->received++;
	if (delta < 0) {
		s->late++;
		return;
	}
	s->ext_seq += (uint32_t)delta;
	stats_jitter(s, h, transit);
}

uint32_t rtp_stats_lost(const struct rtp_stats *s)
{
	uint32_t expected = s->started ? s->ext_seq - s->base_seq + 1 : 0;
	return expected > s->received ? expected - s->received : 0;
}

uint8_t rtp_stats_fraction(struct rtp_stats *s)
{
	uint32_t expected_all = s->started ? s->ext_seq - s->base_seq + 1 : 0;
	uint32_t expected = expected_all - s->expected_prior, received = s->received - s->received_prior;
	s->expected_prior = expected_all;
	s->received_prior = s->received;
	return expected == 0 || received >= expected ? 0 : (uint8_t)(((uint64_t)(expected - received) << 8) / expected);
}
