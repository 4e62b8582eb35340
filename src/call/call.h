/* SPDX-License-Identifier: Apache-2.0
 *
 * call: the only room that sees both sip and media. A call and its legs as objects, their records in the slab, adoption after a restart. A leg is an interface with one
 * implementation per kind (leg_sip.c); verbs speak to calls and legs through this header only. Sig thread. What a call tells upward goes by `struct call_user`.
 * Records: call_commit writes the call's record (with the interpreter's part); every function here that puts a packet on the wire commits first by itself.
 */
#pragma once
#include "base/base.h"

struct authed; struct sip; struct slab; struct wire; struct rtp_pool; struct media_cmd; struct media_event; struct media_counts; struct call_facts; struct sip_msg; struct flow;

enum call_state { CALL_FREE, CALL_RINGING, CALL_UP, CALL_ENDING, CALL_OVER, CALL_N_STATES };
enum leg_state { LEG_FREE, LEG_NEW, LEG_RINGING, LEG_ANSWERED, LEG_HANGING, LEG_UP, LEG_LEAVING, LEG_GONE, LEG_N_STATES };
enum leg_kind { LEG_SIP };
enum call_party { PARTY_NONE, PARTY_CALLER, PARTY_SERVICE, PARTY_SYSTEM };

struct calls; /* all of them */
struct call;

/* What the one above (verb/, or the small telephone of cli/) is told. Events of one call come one after the other, never inside another event of the same call. */
enum call_event_kind {
	CALL_EV_NEW,      /* inbound: record stands, 100 is sent; find a service */
	CALL_EV_PROGRESS, /* outbound: a provisional status came: status */
	CALL_EV_ANSWERED, /* media runs (ACK not awaited) */
	CALL_EV_PLAYED,   /* play `number` came to its end */
	CALL_EV_DIGIT,    /* digit number n is there: call_digit */
	CALL_EV_SENT,     /* digits ordered by call_send_digits are out */
	CALL_EV_TIMER,    /* call_timer is due */
	CALL_EV_HEARD,    /* a tapped frame */
	CALL_EV_ENDED,    /* over: status, by; last event */
	CALL_EV_ADOPTED,  /* after a restart: go on by the record */
};
struct call_event {
	enum call_event_kind kind;
	uint32_t number; char digit; int status; enum call_party by;
	const int16_t *samples; size_t n_samples;
};
struct call_user {
	void (*on_event)(void *arg, struct call *c, const struct call_event *e);
	void *arg;
};
/* What the sig thread may do to the outside besides the wire (house rule 10). Each 0 or -EAGAIN (no room: credits were reserved, so this refuses new calls only). */
struct call_out {
	int (*media)(void *arg, int thread, const struct media_cmd *c, int fd);
	void (*store)(void *arg, const struct call_record *r, const struct call_facts *f, bool end); /* a row: start, end; acknowledged by calls_stored */
	bool (*room)(void *arg);  /* is there room for one more call in every mailbox? */
	bool (*poison)(void *arg, handle call, uint32_t step); /* marks the step that begins; true = it has killed twice: end the call */
	void *arg;
};
struct calls_opts {
	struct slab *slab; struct sip *sip; struct wheel *wheel; struct trace *trace;
	const struct params *params;
	const struct call_user *user; const struct call_out *out;
	struct rtp_pool **pools; int n_pools;   /* one per host RTP is bound on */
	int (*pool_of)(void *arg, const struct addr *local); /* which pool for a SIP local address */
	void (*advertise)(void *arg, const struct flow *f, struct addr *ret); /* address for SDP and Contact */
	int64_t (*now)(void *arg); /* boottime of this turn; NULL = the clock */
	void *arg;
	int n_media;           /* media threads */
};
struct calls *calls_new(const struct calls_opts *o);
void calls_free(struct calls *cs);
const struct sip_user *calls_sip_user(struct calls *cs); /* to be given to sip_new (calls_set_sip after) */
void calls_set_sip(struct calls *cs, struct sip *s);
void calls_media_event(struct calls *cs, const struct media_event *e, int64_t now_ms);
void calls_stored(struct calls *cs, const uint8_t sid[16], bool end);   /* the store has the row */
void calls_turn(struct calls *cs, int64_t now_ms);                      /* end of turn: the bin */
/* Adoption: reads every record of the slab, makes calls, dialogs, transactions and streams anew; then tells CALL_EV_ADOPTED for each. fetch gives the held sockets of a port. Returns calls adopted. */
int calls_adopt(struct calls *cs, int (*fetch)(void *arg, uint8_t pool, const uint16_t *ports, int n, int *rtp_fds, int *rtcp_fds), void *arg, int64_t now_ms);
void calls_drain(struct calls *cs, int64_t now_ms);                     /* no new calls; on_idle when the last has ended */
void calls_end_all(struct calls *cs, int64_t now_ms);                   /* BYE with Reason to each */
uint32_t calls_count(const struct calls *cs);
const uint8_t *calls_sid_of(struct calls *cs, handle leg);              /* for sip's trace */
struct call *calls_by_sid(struct calls *cs, const uint8_t sid[16]);
int64_t calls_now(const struct calls *cs);                              /* boottime of this event */

/* ---- an outbound call (the small telephone; Dial later) ---- */
struct call_dial { struct str uri, from_user, display; struct flow flow; struct str headers; };
struct call *call_dial(struct calls *cs, const struct call_dial *d, int64_t now_ms) _must_;

/* ---- what a verb may order ---- */
int call_ring(struct call *c);                       /* 180 (repeated each minute while it rings) */
int call_answer(struct call *c);                     /* 200; nothing if it is up already. CALL_EV_ANSWERED comes, maybe later */
int call_reject(struct call *c, int status);         /* final non-2xx before the answer */
void call_hangup(struct call *c, enum call_party by, const char *reason); /* BYE, or 480/CANCEL before the answer. reason: text of the Reason header */
bool call_is_up(const struct call *c);
struct play_order { uint32_t sound, sound_gen, n_samples; uint32_t pos, loop, loops; };
int call_play(struct call *c, const struct play_order *p, uint32_t *ret_number); /* number: of this play; stands in app.play_number too */
void call_play_stop(struct call *c);
/* How far the play in the record has come (media line); for adoption. */
void call_play_at(const struct call *c, uint32_t *ret_pos, uint32_t *ret_loop);
void call_echo(struct call *c, bool on);
void call_tap(struct call *c, bool on);
int call_send_digits(struct call *c, struct str digits);
uint32_t call_digits(const struct call *c);          /* number of the last digit heard */
char call_digit(const struct call *c, uint32_t number); /* 0 = not there (any more) */
void call_timer(struct call *c, int64_t at_ms);      /* boottime; one timer; 0 stops it */
struct app_record *call_app(struct call *c);         /* the interpreter's part of the record; call_commit after a change that must last */
struct call_record *call_record_of(struct call *c);
void call_commit(struct call *c);
int call_keep(struct call *c, struct text *t, struct str s) _must_; /* puts s into the heap and names it in *t (the old one is dropped after the next commit) */
struct str call_text(const struct call *c, struct text t);
void call_set_user(struct call *c, void *p);         /* the interpreter's run-time object */
void *call_user_of(const struct call *c);
const uint8_t *call_sid(const struct call *c);
handle call_handle(const struct call *c);
struct call *call_get(struct calls *cs, handle h);
struct calls *call_all(struct call *c);
/* What its stream counted: as told when it closed, or, after a restart in between, what the media line still knows. All 0: nothing was heard of it. */
void call_counts(const struct call *c, struct media_counts *ret);
void call_settled(struct call *c); /* app.callbacks is empty: the slot of a call that is over is free, if its row is stored as well */
/* Facts for the request; views live as long as the call. */
void call_facts(struct call *c, struct call_facts *ret);
void call_note(struct call *c, enum trace_kind k, uint32_t code, struct str payload); /* trace record with this call's sid */
