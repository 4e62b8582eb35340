/* SPDX-License-Identifier: Apache-2.0
 *
 * jitter: the buffer between the network and the ear, for codecs of one byte a sample (G.711). Packets of any length are laid on a grid of 20 ms frames
 * by their timestamp, so that order, repeats and the sender's packet length do not matter; frames are taken out by our clock. Pure function of packets and
 * time; on media threads; fixed memory.
 *
 * Times are in samples: the transit of a packet is its arrival minus its timestamp, the playout point minus the timestamp of what is played is `delay`. What
 * counts is how far transits are apart. They are kept as the least and the most of seven windows of 200 ms; `need` is the spread (leaving out the one worst
 * window: a single late packet is cheaper to conceal than to wait for) plus half a frame. Where sound is missing and the delay is below need, the buffer
 * gives "lost" without moving on, which deepens it; where it is above, the missing frames, or else every third frame, are passed over. Hence 1.4 s after jitter
 * ends the delay falls to its floor. Drift of the two clocks is followed the same way, since windows forget.
 */
#include <stdlib.h>
#include "rtp/rtp.h"

#define MS          (AUDIO_HZ / 1000) /* samples */
#define BLOCK       40                /* 5 ms: granularity of what is known to be there */
#define FULL        ((1u << (JB_BYTES / BLOCK)) - 1)
#define WINDOWS     7
#define WINDOW_MS   200
#define NEED_MIN    (20 * MS)
#define NEED_FIRST  (25 * MS) /* while too little is known; with it no frame has to be cut on a good line */
#define NEED_MAX    (300 * MS)
#define KNOWN       10         /* packets from which on it is not too little */
#define SLACK       (25 * MS)  /* more than a frame above need: room to cut one out */
#define FAR_ABOVE   (100 * MS) /* cut at once, as much as it takes */
#define CUT_EACH_MS 60
#define DRY         6        /* frames missing in a row, nothing behind them: the sender is silent */
#define LEAP        AUDIO_HZ /* transit changed by more: the timestamp was set anew */

struct window {
	int64_t least, most;
	int n;
};
struct slot {
	uint8_t mask, pt; /* blocks that are there */
	uint8_t bytes[JB_BYTES];
};
struct jb {
	bool started, dry, filling, odd_size;
	bool seam, joined; /* the next frame does not follow the last one given; the last did not */
	uint32_t ssrc, late, late_run, lost_run;
	uint16_t top_seq;
	uint32_t leap_ts;
	bool leap;
	int64_t ext_ts;   /* of the last packet taken, without wrap */
	int64_t transit;  /* of the same */
	int64_t play;     /* timestamp of the frame at head */
	int64_t start_at; /* filling: when the first frame is due, in samples of our clock */
	int64_t delay;    /* at the last get */
	int64_t cut_ms;   /* last time that a frame was passed over */
	struct window windows[WINDOWS];
	int64_t window_no;          /* now / WINDOW_MS of the newest */
	int head, n_known, n_slots; /* n_slots: those with anything in them */
	struct slot slots[JB_SLOTS];
};

struct jb *jb_new(void)
{
	return calloc(1, sizeof(struct jb));
}

void jb_free(struct jb *j)
{
	free(j);
}

static void clear_slots(struct jb *j)
{
	for (int i = 0; i < JB_SLOTS; i++)
		j->slots[i].mask = 0;
	j->n_slots = 0;
}

static void forget_transits(struct jb *j)
{
	for (int i = 0; i < WINDOWS; i++)
		j->windows[i].n = 0;
	j->n_known = 0;
}

void jb_reset(struct jb *j)
{
	j->started = j->dry = j->filling = j->seam = j->joined = j->odd_size = j->leap = false;
	j->late_run = j->lost_run = 0;
	j->delay = j->window_no = 0;
	clear_slots(j);
	forget_transits(j);
}

/* ---- what the network does ---- */

static void learn(struct jb *j, int64_t transit, int64_t now_ms)
{
	int64_t no = now_ms / WINDOW_MS;
	if (no - j->window_no >= WINDOWS)
		forget_transits(j);
	else
		for (int64_t i = j->window_no + 1; i <= no; i++)
			j->windows[i % WINDOWS].n = 0;
	j->window_no = MAX(no, j->window_no);
	struct window *w = &j->windows[j->window_no % WINDOWS];
	if (w->n++ == 0)
		w->least = w->most = transit;
	w->least = MIN(w->least, transit);
	w->most = MAX(w->most, transit);
	j->n_known = MIN(j->n_known + 1, KNOWN);
	j->transit = transit;
}

/* The fastest way known, and how much later than that a packet has to be reckoned with. */
static int64_t least_transit(const struct jb *j, int64_t *ret_need)
{
	int64_t least = INT64_MAX, worst = INT64_MIN, second = INT64_MIN;
	for (int i = 0; i < WINDOWS; i++) {
		const struct window *w = &j->windows[i];
		if (!w->n)
			continue;
		least = MIN(least, w->least);
		if (w->most > worst) {
			second = worst;
			worst = w->most;
		} else {
			second = MAX(second, w->most);
		}
	}
	if (worst == INT64_MIN)
		least = worst = j->transit;
	int64_t spread = (second == INT64_MIN ? worst : second) - least;
	int64_t need = spread + (j->odd_size ? 20 : 10) * MS;
	*ret_need = MIN(MAX(need, j->n_known < KNOWN ? NEED_FIRST : NEED_MIN), NEED_MAX);
	return least;
}

/* ---- in ---- */

/* Sound begins (anew) with this packet: it is due when one that took the fastest way would have waited `need`. */
static void anchor(struct jb *j, int64_t ext, int64_t transit, int64_t now_ms)
{
	int64_t need, least = least_transit(j, &need);
	clear_slots(j);
	j->play = ext;
	j->start_at = ext + MAX(least + need, transit);
	j->filling = j->seam = true;
	j->dry = false;
	j->late_run = j->lost_run = 0;
	j->cut_ms = now_ms;
}

static void store_block(struct jb *j, int64_t off, const char *p, uint8_t pt)
{
	struct slot *s = &j->slots[(j->head + off / JB_BYTES) % JB_SLOTS];
	unsigned block = (unsigned)(off % JB_BYTES) / BLOCK;
	if (s->mask & BIT(block))
		return; /* a repeat */
	if (!s->mask)
		j->n_slots++;
	s->mask |= (uint8_t)BIT(block);
	s->pt = pt;
	memcpy(s->bytes + block * BLOCK, p, BLOCK);
}

static void advance(struct jb *j)
{
	if (j->slots[j->head].mask)
		j->n_slots--;
	j->slots[j->head].mask = 0;
	j->head = (j->head + 1) % JB_SLOTS;
	j->play += JB_BYTES;
}

static void store(struct jb *j, const struct rtp_hdr *h, int64_t ext)
{
	int64_t off = ext - j->play, end = off + (int64_t)h->payload.n;
	off = (off >= 0 ? off + BLOCK / 2 : off - BLOCK / 2) / BLOCK * BLOCK; /* a sender off our grid by less than a block is laid on it */
	if (end <= 0) {
		j->late++;
		j->late_run++;
		return;
	}
	j->late_run = 0;
	/* Nobody took frames out for long: the oldest make room. */
	for (; end > (JB_SLOTS - 1) * JB_BYTES; end -= JB_BYTES, off -= JB_BYTES)
		advance(j);
	for (size_t i = 0; i + BLOCK <= h->payload.n; i += BLOCK, off += BLOCK)
		if (off >= 0)
			store_block(j, off, h->payload.p + i, h->pt);
	if (h->payload.n != JB_BYTES)
		j->odd_size = true;
}

/* A timestamp that leaps without a word of explanation is believed when the next packet goes on from there. */
static bool leap_confirmed(struct jb *j, const struct rtp_hdr *h)
{
	bool sure = h->marker || j->dry || (j->leap && h->ts == j->leap_ts);
	j->leap = !sure;
	j->leap_ts = h->ts + (uint32_t)h->payload.n;
	return sure;
}

void jb_put(struct jb *j, const struct rtp_hdr *h, int64_t now_ms)
{
	if (h->payload.n < BLOCK || h->payload.n > (JB_SLOTS / 2) * JB_BYTES)
		return;
	if (j->started && j->ssrc != h->ssrc)
		jb_reset(j);
	bool fresh = !j->started, older = !fresh && (int16_t)(h->seq - j->top_seq) <= 0;
	int64_t ext = fresh ? (int64_t)h->ts : j->ext_ts + (int32_t)(h->ts - (uint32_t)j->ext_ts);
	int64_t transit = now_ms * MS - ext;
	bool leap = !fresh && (transit - j->transit > LEAP || transit - j->transit < -LEAP);
	if (leap && !leap_confirmed(j, h))
		return;
	if (j->dry && older && j->late_run < 3) {
		j->late++; /* of the talkspurt that was given up */
		j->late_run++;
		return;
	}
	if (fresh || leap)
		forget_transits(j);
	learn(j, transit, now_ms);
	if (fresh || leap || j->dry)
		anchor(j, ext, transit, now_ms);
	j->started = true;
	j->ssrc = h->ssrc;
	j->ext_ts = ext;
	if (!older)
		j->top_seq = h->seq;
	store(j, h, ext);
}

/* ---- out ---- */

/* Goes on with the frame i ahead, if it is there. */
static bool pass_over(struct jb *j, int64_t i)
{
	if (i <= 0 || i >= JB_SLOTS || j->slots[(j->head + i) % JB_SLOTS].mask != FULL)
		return false;
	while (i-- > 0)
		advance(j);
	j->seam = true;
	return true;
}

/* Waits less from now on, if there is reason to. True: the head was moved to a frame that is there. */
static bool catch_up(struct jb *j, int64_t excess, bool full, int64_t now_ms)
{
	bool moved = false;
	int64_t most = MIN(excess / JB_BYTES, JB_SLOTS - 1);
	if (excess > FAR_ABOVE) /* all that is too much, at once */
		for (int64_t i = most; i > 0 && !moved; i--)
			moved = pass_over(j, i);
	else if (!full) /* what is missing anyway */
		for (int64_t i = 1; i <= most && !moved; i++)
			moved = pass_over(j, i);
	else if (excess > SLACK && now_ms - j->cut_ms >= CUT_EACH_MS)
		moved = pass_over(j, 1);
	if (moved)
		j->cut_ms = now_ms;
	return moved;
}

static enum jb_got missing(struct jb *j, int64_t excess)
{
	if (j->n_slots == 0 && j->lost_run >= DRY) {
		j->dry = true;
		return JB_EMPTY;
	}
	j->lost_run++;
	if (excess >= 0)
		advance(j); /* else the moment is used to wait longer from now on */
	return JB_LOST;
}

enum jb_got jb_get(struct jb *j, int64_t now_ms, uint8_t ret_frame[JB_BYTES], size_t *ret_n, uint8_t *ret_pt)
{
	int64_t now = now_ms * MS, need, least;
	if (!j->started || j->dry || (j->filling && now < j->start_at))
		return JB_EMPTY;
	j->filling = false;
	least = least_transit(j, &need);
	int64_t excess = now - j->play - least - need;
	bool full = j->slots[j->head].mask == FULL;
	full |= catch_up(j, excess, full, now_ms);
	j->delay = now - j->play - least;
	if (!full)
		return missing(j, now - j->play - least - need);
	memcpy(ret_frame, j->slots[j->head].bytes, JB_BYTES);
	*ret_n = JB_BYTES;
	*ret_pt = j->slots[j->head].pt;
	advance(j);
	j->joined = j->seam || j->lost_run;
	j->seam = false;
	j->lost_run = 0;
	return JB_FRAME;
}

int jb_delay_ms(const struct jb *j)
{
	return j->started && !j->dry ? (int)(j->delay / MS) : 0;
}

bool jb_joined(const struct jb *j)
{
	return j->joined;
}

uint32_t jb_late(const struct jb *j)
{
	return j->late;
}
