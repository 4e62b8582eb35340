/* SPDX-License-Identifier: Apache-2.0
 *
 * call_int: what the files of call/ share. A call owns its legs (one so far); a leg owns its dialog, its transactions' handles and its stream. Slots of calls and legs are
 * the slots of their records in the slab. Sig thread.
 */
#pragma once
#include "base/base.h"
#include "call/call.h"
#include "keeper/keeper.h"
#include "media/media.h"
#include "net/net.h"
#include "rtp/rtp.h"
#include "sdp/sdp.h"
#include "service/service.h"
#include "sip/sip.h"

#define EVENTS_MAX 32 /* waiting events of one call; digits beyond it are found in the media line */
#define DROPS_MAX  8

struct leg;

/* A leg is an interface: one implementation per kind. An order that does not fit the leg's state is refused by its state table. */
struct leg_ops {
	int (*ring)(struct leg *l);
	int (*answer)(struct leg *l);
	int (*reject)(struct leg *l, int status);
	void (*hangup)(struct leg *l, const char *reason);
};

enum leg_event {
	LE_RING, LE_ANSWER, LE_REJECT, LE_HANGUP, LE_ACK, LE_NO_ACK, LE_BYE, LE_CANCEL, LE_REINVITE, LE_REPLY, LE_TIMER, LE_N
};

struct leg {
	handle h;
	struct leg_record r;
	struct call *call;
	const struct leg_ops *ops;
	struct fsm fsm;          /* its state is r.state */
	struct sip_dlg dlg;      /* views into texts of the slab */
	struct arena *arena;     /* owns what dlg needs beyond them */
	char tag[SIP_ID_LEN + 1], call_id[SIP_ID_LEN + 1];
	struct sip_tx *invite;   /* open INVITE transaction: of the peer (inbound), ours (outbound) */
	struct timer timer;      /* the earliest of the record's deadlines */
	int rtp_fd, rtcp_fd;     /* -1 = none */
	bool stream;             /* opened on its media thread, CLOSED not yet come */
	int64_t heard_sip_ms;
	struct link bin;
};

struct call {
	handle h;
	struct call_record r;
	struct calls *all;
	struct leg *leg;
	struct timer timer;
	void *user;
	char sid[35];
	struct call_event events[EVENTS_MAX];
	uint32_t ev_first, ev_n;
	bool busy;               /* an event of this call is being handled */
	bool told_end;
	bool counted;
	struct media_counts counts; /* of its stream, when that has closed */
	struct text drops[DROPS_MAX]; /* texts to let go with the next commit */
	int n_drops;
	struct arena *arena;     /* facts */
	struct call_facts *facts;
	struct link bin;
};

struct calls {
	struct calls_opts o;
	struct table *calls, *legs;
	struct sip_user sip_user;
	struct link bin_calls;
	int64_t now_ms;
	bool draining;
	int64_t told_full_ms; /* when it was last said that ports are short: once in ten seconds */
	uint8_t account[16];
};

/* call.c */
struct call *call_new(struct calls *cs, enum call_dir dir, handle at);
void call_tell(struct call *c, const struct call_event *e); /* queues and, unless the call is busy, delivers */
void call_state(struct call *c, enum call_state s);         /* record only: the caller commits */
void call_over(struct call *c);                             /* its leg is gone and its stream closed */
void call_free(struct call *c);                             /* into the bin */
struct call *call_of(struct calls *cs, handle leg);
void call_now(struct calls *cs); /* stamps the time of this event: first thing at each door */
extern const char *const call_state_names[CALL_N_STATES];

/* leg.c: the state table of a SIP leg, and its commits */
extern const struct leg_ops leg_sip_ops;
extern const struct fsm_type leg_fsm_type;
struct leg *leg_new(struct call *c, handle at);
void leg_free(struct leg *l);
void leg_commit(struct leg *l);
int leg_post(struct leg *l, enum leg_event e, const void *data);
void leg_arm(struct leg *l);          /* the timer by the record's deadlines */
void leg_tag(struct leg *l);          /* l->tag by handle and r.rnd */
struct str leg_contact(struct leg *l);
struct leg *leg_get(struct calls *cs, handle h);

struct leg_hangup { const char *reason; };
struct leg_in { struct sip_tx *tx; const struct sip_msg *m; const struct flow *from; enum sip_why why; }; /* data of LE_BYE, LE_REINVITE, LE_ACK, LE_REPLY */

/* door.c: what sip tells */
void door_init(struct calls *cs);
int door_repeat(struct leg *l, struct sip_tx *tx, int64_t now_ms); /* answers a repeated INVITE from the record */

/* talk.c: SDP of a leg: both directions of offer and answer */
int talk_check_offer(const struct sip_msg *m, struct sdp *ret) _must_;  /* 0 = fits, else the SIP status; *ret->n_media == 0: no offer */
int talk_answer(struct leg *l, const struct sdp *offer) _must_;        /* fills sdp_local and what was agreed in the record; 0 or a SIP status */
int talk_offer(struct leg *l) _must_;                                  /* our offer into sdp_local */
int talk_agree(struct leg *l, struct str body) _must_;                 /* the peer's answer to our offer */

/* stream.c: the leg's stream on its media thread */
int stream_take(struct leg *l, const struct addr *local) _must_;       /* a pair of ports; -EAGAIN */
void stream_open(struct leg *l, bool adopt);
void stream_start(struct leg *l, int64_t latch_until_ms);
void stream_remote(struct leg *l, bool relatch, int64_t latch_until_ms);
void stream_typed(struct leg *l);
void stream_close(struct leg *l);
void stream_closed(struct leg *l);                                     /* MEDIA_CLOSED came */
void stream_do(struct leg *l, struct media_cmd *c);

/* facts.c */
int facts_make(struct call *c, const struct sip_msg *invite, const struct flow *from) _must_;
