/* SPDX-License-Identifier: Apache-2.0
 *
 * media_int: what the files of this room share. One engine belongs to one media thread; nothing in here is touched by two threads.
 */
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>
#include "media/media.h"
#include "rtp/rtp.h"

#define SAMPLES_PER_MS (AUDIO_HZ / 1000)

/* ---- conceal: what is heard where a frame is missing ---- */
#define CONCEAL_HISTORY 480
struct conceal {
	int16_t past[CONCEAL_HISTORY]; /* what was heard last, newest at the end */
	int16_t period[CONCEAL_HISTORY];
	int n_period, at; /* length of what is repeated, and where in it we are */
	int pitch;
	int step;    /* from what is repeated to what was heard last, smoothed out over the first samples */
	int lost;    /* samples made up in a row */
	bool any;    /* something was heard since the start */
	float floor; /* level of the background, rms */
	uint32_t noise;
};
void conceal_init(struct conceal *c);
/* A frame that came. seam: it does not follow the one before. Changes pcm only where it has to be joined; true = it did. */
bool conceal_good(struct conceal *c, int16_t *pcm, bool seam);
void conceal_lost(struct conceal *c, int16_t *pcm);

/* ---- sounds ---- */
struct sound {
	uint32_t id, gen, n_samples;
	const int16_t *samples;
	size_t map_n;
	int plays;    /* streams that play it */
	bool dropped; /* unmapped when the last of them is through */
};

/* ---- digits on their way out ---- */
#define DIGITS_MAX 128
struct digits_out {
	char queue[DIGITS_MAX];
	int n, at;
	char digit;               /* being sent; 0 = none */
	bool tone;                /* as sound, not as event */
	bool ordered;             /* by sig, which wants to be told of the end; an echo is not */
	int frame;                /* of the digit or pause */
	int64_t k0;               /* packet number of its first frame */
	uint16_t duration;        /* of the event, samples */
	float y1[2], y2[2], c[2]; /* two oscillators */
};

/* ---- digits on their way in ---- */
struct digits_in {
	bool on, sounding, unsure; /* sounding: adopted in the midst of a tone; unsure: between two words of the record */
	uint8_t event;
	uint32_t ts, ssrc;
	uint16_t duration;
	int64_t heard_ms, adopted_ms;
};

struct stream {
	struct link link; /* in the bucket of its phase */
	uint32_t slot, gen;
	struct media_line *line;
	int rtp_fd, rtcp_fd;
	struct addr local;
	bool wildcard; /* sockets bound to a wildcard: the source address is said with each packet */
	struct media_remote remote;
	struct latch latch;
	struct sockaddr_storage dst, dst_rtcp; /* where packets go, ready for the kernel; family 0 = nowhere yet */
	socklen_t dst_n, dst_rtcp_n;
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	size_t control_n;

	bool started, echo, tap, marked; /* marked: the first packet with the marker is out */
	int64_t phase_ms;                /* start_ms, or before START the time of OPEN */
	int64_t k_next;                  /* number of the next packet */
	uint32_t quiet_ms;
	bool quiet_told;
	int64_t quiet_from_ms;

	struct jb *jb;
	struct rtp_stats stats;
	struct conceal conceal;
	bool heard_any;
	struct dtmf_rx_state_s *tones; /* of spandsp: listens for digits as sound, where the peer has no events for them */
	int n_tones;                   /* frames it has heard */
	struct digits_in in;
	struct digits_out out;

	struct sound *sound; /* being played */
	uint32_t play_loops;

	int64_t rtcp_at_ms;
	uint32_t peer_lsr;      /* middle of the NTP time of the peer's last SR … */
	int64_t peer_lsr_at_ms; /* … and when it came */
	char cname[40];
	struct media_counts counts;
	uint32_t lost_before; /* of sources that ended */
};

struct media {
	struct media_opts o;
	struct stream **by_slot;
	struct link bucket[FRAME_MS]; /* streams by the phase of their frames */
	int64_t done_ms;              /* ticked up to here */
	int64_t utc_offset_ms;
	struct sound **sounds;
	int n_sounds, cap_sounds;
	uint32_t n_in, n_out, n_stranger, n_bad, n_concealed; /* since the last tick: told to the counters at its end */
};

static inline struct stream *media_stream(const struct media *m, uint32_t slot)
{
	return slot < m->o.n_lines ? m->by_slot[slot] : NULL;
}
static inline void media_tell(struct media *m, const struct media_event *e)
{
	m->o.event(m->o.arg, e);
}

/* media_road.c */
void road_send(struct media *m, struct stream *s, bool rtcp, const void *p, size_t n);
/* media_stream.c: destination of what is sent; from the latch when it is locked, else as signalled */
void stream_aim(struct stream *s);
/* media_digit.c */
void digit_in(struct media *m, struct stream *s, const struct rtp_hdr *h, int64_t now_ms);
void digit_typed(struct media *m, struct stream *s, uint32_t cseq, char digit, uint32_t ms);
void digit_in_tick(struct media *m, struct stream *s, int64_t now_ms);
/* Listens for tones if the peer has no other way to dial; an order, takes and gives back memory. */
void digit_tones_set(struct stream *s, bool on);
void digit_tones_in(struct media *m, struct stream *s, const int16_t *pcm, int64_t now_ms);
void digit_in_adopt(struct stream *s, int64_t now_ms);
void digit_out_put(struct stream *s, const char *text, size_t cap, bool ordered);
/* What packet k carries: 0 = no digit, sound goes on; else bytes of payload, with *ret_pt, *ret_ts, *ret_marker of an event set. */
size_t digit_out_frame(struct media *m, struct stream *s, int64_t k, uint8_t *payload, struct rtp_hdr *h);
/* media_rtcp.c */
void media_rtcp_in(struct media *m, struct stream *s, const struct addr *from, struct str bytes, int64_t now_ms);
void media_rtcp_tick(struct media *m, struct stream *s, int64_t now_ms);
void media_rtcp_send(struct media *m, struct stream *s, bool bye, int64_t now_ms);
/* media_sound.c */
void sound_put(struct media *m, uint32_t id, uint32_t gen, uint32_t n_samples, int fd);
void sound_drop(struct media *m, uint32_t id, uint32_t gen);
struct sound *sound_take(struct media *m, uint32_t id, uint32_t gen); /* NULL = unknown; sound_leave when done */
void sound_leave(struct media *m, struct sound *s);
void media_sounds_free(struct media *m);
/* media_stream.c: fds of a stream, for who polls them. false: no such stream */
bool media_fds(const struct media *m, uint32_t slot, uint32_t gen, int fds[2]);
