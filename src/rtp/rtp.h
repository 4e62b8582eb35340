/* SPDX-License-Identifier: Apache-2.0
 *
 * rtp: packets of RFC 3550 and 4733, the jitter buffer, the latch that decides whom we hear, and the pool of port pairs. Everything but the pool is a pure
 * function of bytes and the time it is told; runs on media threads (the pool: on the sig thread). No lock, no malloc after a stream is open.
 */
#pragma once
#include "base/base.h"

struct rtp_hdr {
	uint8_t pt;
	bool marker;
	uint16_t seq;
	uint32_t ts, ssrc;
	struct str payload; /* without header, CSRCs, extension and padding */
};
int rtp_parse(struct str in, struct rtp_hdr *ret) _must_;            /* -EBADMSG */
void rtp_print_hdr(uint8_t out[12], const struct rtp_hdr *h);
/* RTCP compound packet: what we use of it. */
struct rtcp_info {
	bool sr, bye;
	uint32_t ssrc;
	uint64_t ntp; uint32_t rtp_ts, packets, octets; /* of an SR */
	bool has_report;   /* a report block about our_ssrc was in it */
	uint8_t fraction_lost; int32_t lost; uint32_t ext_seq, jitter, lsr, dlsr;
};
int rtcp_parse(struct str in, uint32_t our_ssrc, struct rtcp_info *ret) _must_;
struct rtcp_report {
	uint32_t ssrc, packets, octets, rtp_ts; int64_t utc_ms;
	bool has_peer; uint32_t peer_ssrc, ext_seq, jitter, lsr, dlsr; uint8_t fraction_lost; int32_t lost;
	const char *cname;
};
size_t rtcp_print(uint8_t *out, size_t cap, const struct rtcp_report *r, bool bye); /* SR (or RR if no packets) + SDES [+ BYE]; 0 = no room */

/* telephone-event (RFC 4733 section 2.3) */
struct rtp_event { uint8_t event; bool end; uint8_t volume; uint16_t duration; };
int rtp_event_parse(struct str payload, struct rtp_event *ret) _must_;
void rtp_event_print(uint8_t out[4], const struct rtp_event *e);
char rtp_event_digit(uint8_t event); /* '0'..'9' '*' '#' 'A'..'D'; 0 = other */
int rtp_digit_event(char digit);     /* -EINVAL */

/* Sequence bookkeeping of what comes in (RFC 3550 A.1, A.3, A.8). */
struct rtp_stats {
	uint32_t ssrc, base_seq, ext_seq, received, expected_prior, received_prior, jitter_q4;
	int64_t transit; bool started; uint32_t duplicates, late;
	uint32_t last_ts; /* packets of one event share a timestamp and say nothing of jitter */
};
void rtp_stats_add(struct rtp_stats *s, const struct rtp_hdr *h, int64_t arrival_ts);
uint32_t rtp_stats_lost(const struct rtp_stats *s);
uint8_t rtp_stats_fraction(struct rtp_stats *s); /* since the last call */

/* ---- jitter buffer: frames of one codec, put in when they come, taken out every frame_ms. Adapts its depth to the jitter seen and comes back down. ---- */
#define JB_SLOTS 64
#define JB_BYTES 160
enum jb_got { JB_FRAME, JB_LOST, JB_EMPTY }; /* LOST: conceal; EMPTY: nothing to expect now (silence suppression, before the first packet) */
struct jb; /* fixed memory, no malloc after jb_new */
struct jb *jb_new(void);
void jb_free(struct jb *j);
void jb_reset(struct jb *j); /* new SSRC, new codec, latch moved */
void jb_put(struct jb *j, const struct rtp_hdr *h, int64_t now_ms);
enum jb_got jb_get(struct jb *j, int64_t now_ms, uint8_t ret_frame[JB_BYTES], size_t *ret_n, uint8_t *ret_pt);
int jb_delay_ms(const struct jb *j); /* what it adds: how long a packet that came the fastest way waits before it is heard */
bool jb_joined(const struct jb *j);  /* the frame last given does not follow the one before (sound was cut out to catch up, or a talkspurt begins): smooth the seam */
uint32_t jb_late(const struct jb *j); /* packets that came after their time, over the life of the buffer */

/* ---- latch: whom we hear and answer (house.md, issue of the first call). Candidates are the signalled address, or the IP that SIP came from (any port). From a
 * candidate's first packet a window of 500 ms is open; 4 valid packets of one source and SSRC lock it. Windows open until open_until_ms. ---- */
enum latch_verdict { LATCH_DROP, LATCH_TAKE, LATCH_LOCKED_NOW };
struct latch {
	struct addr signalled, sip_peer, locked, candidate;
	int64_t open_until_ms, window_ms; /* window_ms: end of the candidate's window, 0 = none */
	uint32_t ssrc; uint16_t seq; uint8_t n; bool is_locked;
};
void latch_init(struct latch *l, const struct addr *signalled, const struct addr *sip_peer, int64_t open_until_ms);
enum latch_verdict latch_judge(struct latch *l, const struct addr *from, const struct rtp_hdr *h, int64_t now_ms);
bool latch_rtcp_ok(const struct latch *l, const struct addr *from); /* same host as the locked (or, before, a candidate) source */

/* ---- port pool: pairs of bound sockets (RTP even, RTCP above), given ahead of need in portions by the owner of the sockets. Sig thread. ---- */
struct rtp_pair { uint16_t port; int rtp_fd, rtcp_fd; };
struct rtp_pool;
/* want: called when fewer than a portion are left; the supplier answers (now or later) by rtp_pool_give. */
typedef void rtp_want_h(void *arg, uint8_t pool, int n_pairs);
struct rtp_pool *rtp_pool_new(uint8_t number, const struct addr *host, rtp_want_h *want, void *arg);
void rtp_pool_free(struct rtp_pool *p);
#define RTP_PORTION 256
/* The first portion is asked for by the first take; an answer of 0 pairs says that the range is used up, and nothing more is asked for. */
void rtp_pool_give(struct rtp_pool *p, const struct rtp_pair *pairs, int n);
int rtp_pool_take(struct rtp_pool *p, struct rtp_pair *ret) _must_; /* drop-all filter is off and the sockets are drained; -EAGAIN = none left just now */
void rtp_pool_put(struct rtp_pool *p, const struct rtp_pair *pair); /* filter on again; not handed out for 5 s (stray packets of the old call) */
const struct addr *rtp_pool_host(const struct rtp_pool *p);
/* Binds one pair on host with the drop-all filter on; first even port at or after *port up to high; *port moves behind it. -EADDRINUSE = range used up. */
int rtp_bind_pair(const struct addr *host, uint16_t *port, uint16_t high, struct rtp_pair *ret) _must_;
