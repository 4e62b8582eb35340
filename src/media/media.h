/* SPDX-License-Identifier: Apache-2.0
 *
 * media: what is heard. Streams (one a leg) on media threads: sockets, jitter buffer, codecs, plays, echo, digits, a 20 ms clock. Knows nothing of calls: a stream is
 * a number (the leg's slot in the slab) and a generation. Orders come as flat `struct media_cmd`, news leave as flat `struct media_event`; sound buffers are memfds.
 * A stream sends one packet each 20 ms from START to CLOSE; sequence number and timestamp follow from the clock, so that they go on after a restart.
 * In flow tests the same engine is driven by media_tick(now) and media_packet in one thread, without sockets.
 */
#pragma once
#include "base/base.h"

enum media_cmd_kind {
	MEDIA_OPEN,    /* a stream; nothing is sent yet but it listens */
	MEDIA_START,   /* the leg is answered: from now on a packet each 20 ms */
	MEDIA_REMOTE,  /* new address, codec, direction (re-INVITE) */
	MEDIA_PLAY,    /* a sound; replaces what is being played */
	MEDIA_STOP,    /* stop playing */
	MEDIA_ECHO,    /* on = 1: what comes in goes out */
	MEDIA_DIGITS,  /* send digits as telephone-events (or tones where there is none), 100 ms + 60 ms gap; 'w' = 500 ms, 'W' = 1 s */
	MEDIA_TYPED,   /* a digit came by INFO: into the ring like any other, once for its CSeq */
	MEDIA_TAP,     /* on = 1: what is heard is told in MEDIA_HEARD events, frame by frame */
	MEDIA_CLOSE,   /* ends the stream: RTCP BYE, sockets are given back by MEDIA_CLOSED */
	MEDIA_SOUND,   /* a sound buffer: the fd of a memfd with 16-bit samples at AUDIO_HZ comes with the message (mailbox_post_fd) */
	MEDIA_SOUND_DROP,
	MEDIA_QUIT,    /* the thread ends */
};
struct media_remote {
	struct addr rtp, rtcp, sip_peer; /* signalled addresses; sip_peer: the IP that SIP came from */
	uint8_t codec;                   /* enum codec_id */
	uint8_t codec_pt, dtmf_pt;       /* as we send; dtmf_pt 0 = none */
	uint8_t codec_pt_in, dtmf_pt_in; /* as they come */
	uint8_t dir;                     /* 0 sendrecv, 1 sendonly, 2 recvonly, 3 inactive: ours; recvonly and inactive: no RTP is sent */
	uint8_t relatch;                 /* 1: the latch opens again (new address) */
	int64_t latch_until_ms;          /* boottime */
};
struct media_cmd {
	uint16_t kind;
	uint16_t adopt;      /* OPEN: 1 = go on by the media line as it stands */
	uint32_t slot, gen;  /* of the stream */
	union {
		struct { int rtp_fd, rtcp_fd; uint16_t port; uint32_t ssrc; uint32_t quiet_ms; struct addr local; struct media_remote remote; } open; /* fds: borrowed until CLOSED. local: source address of what is sent when the socket is bound to a wildcard */
		struct media_remote remote;
		struct { uint32_t number; uint32_t sound, sound_gen; uint32_t pos, loop, loops; } play; /* loops: turns in all, 0 = endless; pos, loop: where to begin */
		struct { uint8_t on; } on;
		struct { char text[64]; } digits;
		struct {
			uint32_t cseq, ms;
			char digit;
		} typed;
		struct { uint32_t sound, sound_gen, n_samples; } sound;
		struct { int64_t latch_until_ms; } start;
	};
};
enum media_event_kind {
	MEDIA_DIGIT,    /* a digit came: number 1, 2, 3 …; it stands in the media line already */
	MEDIA_FINISHED, /* a play came to its end (not after STOP or replacement) */
	MEDIA_LOCKED,   /* latched to this source */
	MEDIA_QUIET,    /* neither RTP nor RTCP for quiet_ms; told once until something is heard again */
	MEDIA_HEARD,    /* TAP: one frame of samples */
	MEDIA_SENT,     /* all DIGITS are out */
	MEDIA_CLOSED,   /* stream is closed; counts for the record; the fds are free again */
};
struct media_counts {
	uint32_t packets_in, packets_out, lost, late, concealed, strangers, bad; uint32_t jitter_us; uint32_t octets_in, octets_out;
	uint32_t peer_lost, peer_jitter_us, rtt_us; /* as the peer's RTCP says */
};
struct media_event {
	uint16_t kind;
	uint16_t pad;
	uint32_t slot, gen;
	union {
		struct { uint32_t number; uint32_t ms; char digit; } digit; /* ms: how long it was pressed; 0 = not known (it came as a tone) */
		struct { uint32_t number; } finished; /* number of the PLAY */
		struct { struct addr from; } locked;
		struct { int16_t samples[AUDIO_FRAME]; uint8_t silent; } heard;
		struct media_counts counts;
	};
};

/* ---- the engine: one a thread. ---- */
struct media;
struct media_opts {
	struct media_line *lines; /* n_lines of the slab: the stream in slot i writes lines[i] */
	uint32_t n_lines;
	void (*event)(void *arg, const struct media_event *e);
	/* How packets leave: NULL = by the stream's sockets. Tests give their own. rtcp: 0 RTP, 1 RTCP. */
	void (*send)(void *arg, uint32_t slot, int rtcp, const struct addr *to, const void *p, size_t n);
	void *arg;
};
struct media *media_new(const struct media_opts *o, int64_t now_ms);
void media_free(struct media *m);
void media_do(struct media *m, const struct media_cmd *c, int fd, int64_t now_ms);  /* fd: of MEDIA_SOUND, else -1 */
void media_packet(struct media *m, uint32_t slot, int rtcp, const struct addr *from, struct str bytes, int64_t now_ms);
void media_tick(struct media *m, int64_t now_ms); /* plays what is due up to now; call at least every 20 ms; catches up without a burst (skips, sequence follows the clock) */
int64_t media_next_ms(const struct media *m);     /* when the next frame of any stream is due */

/* ---- threads: one engine each, with epoll on the sockets. ---- */
struct media_threads;
struct mailbox;
/* up: the mailbox of the sig thread; each message there is one struct media_event preceded by a uint32_t tag `up_tag` (so that one mailbox can serve several senders). */
struct media_threads *media_threads_start(int n, struct media_line *lines, uint32_t n_lines, struct mailbox *up, uint32_t up_tag);
int media_threads_post(struct media_threads *t, int thread, const struct media_cmd *c, int fd) _must_; /* MEDIA_SOUND is to be posted to each thread that plays it; the fd is dup'ed */
void media_threads_stop(struct media_threads *t); /* joins */
int media_threads_count(const struct media_threads *t);
uint64_t media_threads_beat(const struct media_threads *t, int thread); /* turns done: a watchdog looks whether it moves */

/* ---- pieces that others use ---- */
/* G.711; not named after it: spandsp exports g711_encode and g711_decode. */
void media_decode(enum codec_id law, const uint8_t *in, int16_t *out, size_t n);
void media_encode(enum codec_id law, const int16_t *in, uint8_t *out, size_t n);
/* Listening: what a frame sequence holds; for `hookswitch call` and tests. Energy-based voice activity, DTMF (spandsp) and single tones. */
struct listener;
struct listener_report { double speech_s, silence_s, tone_s; int tone_hz; double level_dbfs; char digits[128]; };
struct listener *listener_new(void);
void listener_free(struct listener *l);
void listener_put(struct listener *l, const int16_t *samples, size_t n);
void listener_report(const struct listener *l, struct listener_report *ret);
