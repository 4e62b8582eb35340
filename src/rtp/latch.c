/* SPDX-License-Identifier: Apache-2.0
 *
 * latch: whom a stream hears and answers. Symmetric RTP (RFC 4961) lets a phone behind NAT send from an address that its SDP did not name; taking
 * whatever comes first would give the call to anyone who sprays ports (RTP bleed). So: only the signalled address, or the IP that SIP came from, is a
 * candidate; a candidate has 500 ms from its first packet to show 4 valid ones of one SSRC, in sequence; then it is locked, and nobody else is heard
 * until the next offer moves the call. Pure function of the packet and the time; on media threads. The caller judges only packets that are valid RTP.
 */
#include "rtp/rtp.h"

#define WINDOW_MS 500
#define ENOUGH    4
#define GAP_MAX   16 /* steps in sequence that still count as "consecutive": loss at the start of a call is common */

void latch_init(struct latch *l, const struct addr *signalled, const struct addr *sip_peer, int64_t open_until_ms)
{
	*l = (struct latch){.open_until_ms = open_until_ms};
	if (signalled && !addr_is_any(signalled))
		l->signalled = *signalled;
	if (sip_peer && !addr_is_any(sip_peer))
		l->sip_peer = *sip_peer;
}

static bool is_signalled(const struct latch *l, const struct addr *from)
{
	return l->signalled.family && addr_eq(&l->signalled, from);
}

/* Once the time for learning is over only the signalled address is left: packets go there anyway. */
static bool may_be(const struct latch *l, const struct addr *from, int64_t now_ms)
{
	if (is_signalled(l, from))
		return true;
	return now_ms < l->open_until_ms && l->sip_peer.family && addr_eq_host(&l->sip_peer, from);
}

static enum latch_verdict begin(struct latch *l, const struct addr *from, const struct rtp_hdr *h, int64_t now_ms)
{
	l->candidate = *from;
	l->window_ms = now_ms + WINDOW_MS;
	l->ssrc = h->ssrc;
	l->seq = h->seq;
	l->n = 1;
	return LATCH_TAKE;
}

static enum latch_verdict count_packet(struct latch *l, const struct addr *from, const struct rtp_hdr *h)
{
	int step = (int16_t)(h->seq - l->seq);
	if (h->ssrc != l->ssrc || step > GAP_MAX || step < -GAP_MAX) {
		l->ssrc = h->ssrc;
		l->seq = h->seq;
		l->n = 1;
		return LATCH_TAKE;
	}
	if (step <= 0)
		return LATCH_TAKE; /* repeated or overtaken: heard, but proves nothing new */
	l->seq = h->seq;
	if (++l->n < ENOUGH)
		return LATCH_TAKE;
	l->is_locked = true;
	l->locked = *from;
	return LATCH_LOCKED_NOW;
}

enum latch_verdict latch_judge(struct latch *l, const struct addr *from, const struct rtp_hdr *h, int64_t now_ms)
{
	if (l->is_locked)
		return addr_eq(&l->locked, from) ? LATCH_TAKE : LATCH_DROP;
	if (!may_be(l, from, now_ms))
		return LATCH_DROP;
	if (!l->window_ms || now_ms >= l->window_ms)
		return begin(l, from, h, now_ms);
	if (addr_eq(&l->candidate, from))
		return count_packet(l, from, h);
	/* The signalled address is always preferred; a second source on the SIP host has to wait until the window of the first is over. */
	return is_signalled(l, from) ? begin(l, from, h, now_ms) : LATCH_DROP;
}

bool latch_rtcp_ok(const struct latch *l, const struct addr *from)
{
	if (l->is_locked)
		return addr_eq_host(&l->locked, from);
	return (l->signalled.family && addr_eq_host(&l->signalled, from)) || (l->sip_peer.family && addr_eq_host(&l->sip_peer, from));
}
