/* SPDX-License-Identifier: Apache-2.0
 *
 * sip_int: what the files of this room share and nobody else sees. The parser's line finder, Via, the printers, and the transaction as a struct.
 * A transaction is one of four const state tables (ict, nict, ist, nist); all four speak the same events, so that timers and the wire need not know which it is.
 */
#pragma once
#include "net/net.h"
#include "sip/sip.h"

/* ---- lines (lines.c) ---- */
#define SIP_LINES_MAX 512 /* header lines with their folds; one past it the message is refused */
struct sip_lines {
	uint32_t end[SIP_LINES_MAX]; /* where the LF of each line stands */
	int n;
	bool blank;                  /* the last line is the empty one that ends the headers */
};
void sip_lines_find(struct str in, struct sip_lines *ret); /* by what the CPU can */
void sip_lines_plain(struct str in, struct sip_lines *ret);
bool sip_lines_avx2(struct str in, struct sip_lines *ret); /* false = this CPU has no AVX2 */

/* ---- header table (header.c) ---- */
struct sip_hdr_info {
	const char *name;
	uint8_t n;     /* strlen(name) */
	char compact;  /* 0 = none */
	bool single;   /* twice in one message is an error (RFC 3261 section 7.3.1: not a list) */
};
extern const struct sip_hdr_info sip_hdr_table[HDR_N];
enum sip_hdr_id sip_hdr_find(struct str name);
enum sip_method sip_method_find(struct str text);

/* ---- values (value.c) ---- */
struct sip_via {
	struct str transport, sent_by, params;
};
int sip_via_parse(struct str in, struct sip_via *ret) _must_;
bool sip_token(struct str s);                /* one or more token characters */
bool sip_params_sound(struct str params);    /* no empty parameter (one at the end is forgiven); what stands behind the first semicolon */
/* Next parameter of ;a=b;c; name and value trimmed, quotes around the value kept. */
bool sip_param_next(struct str *rest, struct str *ret_one, struct str *ret_name, struct str *ret_value);
bool sip_quoted_end(struct str in, size_t at, size_t *ret_end); /* in.p[at] is the opening quote; *ret_end behind the closing one */
void sip_sent_by(struct str sent_by, struct addr *ret_host, uint16_t *ret_port); /* family 0 = a name; port 0 = not written */
bool sip_cookie(struct str branch);          /* made after RFC 3261: the branch alone names the transaction */

/* ---- timers (timers.c) ---- */
enum sip_timer {
	TIMER_T1, TIMER_T2, TIMER_T4, TIMER_A, TIMER_B, TIMER_C, TIMER_D, TIMER_E, TIMER_F, TIMER_G, TIMER_H, TIMER_I, TIMER_J, TIMER_K, TIMER_L, TIMER_M,
	TIMER_2XX, TIMER_CANCEL, TIMER_SERVE, TIMER_N
};
struct sip_timer_info {
	const char *name;
	int64_t udp_ms, tcp_ms; /* first value; -1 = never armed on this transport */
	int64_t max_ms;         /* it doubles up to here (0 = it does not repeat) */
	const char *section, *doc;
};
extern const struct sip_timer_info sip_timer_table[TIMER_N];

/* ---- transactions ---- */
enum sip_event {
	EV_REPEAT,    /* server: the same request again */
	EV_1XX,       /* client: received; server: the one above answers */
	EV_2XX,
	EV_ERROR,     /* 300 to 699 */
	EV_ACK,       /* server INVITE: ACK for a non-2xx came, or the one above saw that for a 2xx */
	EV_CANCEL,    /* server INVITE: CANCEL came; client INVITE: the one above gives up */
	EV_RETRY,     /* timer A, E, G or the 2xx timer */
	EV_END,       /* timer B, C, D, F, H, I, J, K, L or M */
	EV_TRANSPORT, /* client: the connection is gone */
	EV_N
};
enum { ICT_CALLING, ICT_GIVING_UP, ICT_PROCEEDING, ICT_CANCELLED, ICT_COMPLETED, ICT_ACCEPTED, ICT_DONE, ICT_N };
enum { NICT_TRYING, NICT_PROCEEDING, NICT_COMPLETED, NICT_DONE, NICT_N };
enum { IST_PROCEEDING, IST_COMPLETED, IST_CONFIRMED, IST_ACCEPTED, IST_ACKED, IST_DONE, IST_N };
enum { NIST_TRYING, NIST_PROCEEDING, NIST_COMPLETED, NIST_DONE, NIST_N };
extern const char *const sip_event_names[EV_N];
extern const struct fsm_type sip_ict, sip_nict, sip_ist, sip_nist;

struct sip_tx {
	struct fsm fsm;
	struct sip *sip;
	handle self, owner;
	struct link bin;              /* in sip->bin once it is done */
	uint64_t key;                 /* it stands under in sip->by_key */
	enum sip_method method;
	uint32_t cseq;
	struct flow from;             /* server: where the request came from; client: where it went */
	struct flow to;               /* where our bytes go */
	char *text;                   /* the request, owned; the views below stand in it */
	size_t n_text;
	struct str method_text, uri, via, branch, sent_by, call_id, from_tag, to_tag;
	char local_tag[SIP_ID_LEN + 1]; /* server: the To tag of our answer */
	char *last;                   /* server: last answer; client INVITE: ACK of a refusal; owned, may be NULL */
	size_t n_last;
	int64_t interval_ms;          /* of the repeating timer */
	int64_t deadline_ms;          /* client: instead of timer B or F; 0 = none */
	struct timer retry, end, fail;
};
struct sip {
	struct sip_opts o;
	struct table *txs;
	struct hash *by_key;   /* all transactions: client by branch, server by RFC 3261 17.2.3 */
	struct hash *by_owner; /* server INVITE transactions that have an owner */
	struct link bin;
	int64_t now_ms;        /* as last told */
	int retry_after_s;     /* > 0: draining */
	/* A request is traced when its owner is known: before the first thing sent because of it, at latest when the one above has returned. */
	const struct sip_msg *in_msg;
	const struct flow *in_from;
	struct sip_tx *in_tx;
	char *buf, *trace_buf; /* LIMIT_SIP_MESSAGE each, and room for the trace's first line */
	size_t cap;
};
static inline struct sip_tx *sip_tx_of(struct fsm *f) { return container_of(f, struct sip_tx, fsm); }

/* tx.c: what the four tables do */
struct sip_tx *sip_tx_new(struct sip *s, const struct fsm_type *type, const struct sip_msg *m, const struct flow *f, int64_t now_ms); /* copies the message; NULL = no room */
bool sip_tx_is_server(const struct sip_tx *tx);
struct sip_tx *sip_tx_find_server(const struct sip *s, const struct sip_msg *m, enum sip_method method);
struct sip_tx *sip_tx_find_client(const struct sip *s, const struct sip_msg *m);
void sip_tx_arm(struct sip_tx *tx, enum sip_timer retry, enum sip_timer end, int64_t now_ms); /* TIMER_N = none; stops what ran */
void sip_tx_again(struct sip_tx *tx, enum sip_timer retry, int64_t now_ms);                   /* doubles the interval up to its maximum */
void sip_tx_keep(struct sip_tx *tx, struct str bytes);       /* for retransmission; without memory the old bytes go */
void sip_tx_send(struct sip_tx *tx, struct str bytes);
void sip_tx_reopen(struct sip_tx *tx);                       /* server: its connection is gone */
void sip_tx_send_text(struct sip_tx *tx);
void sip_tx_send_last(struct sip_tx *tx);
void sip_tx_bin(struct fsm *f, int64_t now_ms);              /* enter of each DONE */
void sip_tx_tell(struct sip_tx *tx, const struct sip_msg *m, enum sip_why why); /* client: on_reply */
void sip_tx_ended(struct sip_tx *tx, enum sip_why why);      /* server INVITE: on_tx_end */
void sip_tx_send_ack(struct sip_tx *tx, const struct sip_msg *reply);
void sip_tx_send_cancel(struct sip_tx *tx, int64_t now_ms);

/* send.c: the wire and the trace */
int sip_send(struct sip *s, struct flow *to, struct str bytes, handle owner); /* a TCP flow without a connection gets one; what the wire said */
void sip_trace_in(struct sip *s, const struct sip_msg *m, const struct flow *from, handle owner);
void sip_trace_pending(struct sip *s);
handle sip_owner_of(const struct sip *s, const struct sip_msg *m); /* of a request in a dialog: the handle in our To tag */

/* print.c */
void sip_print_value(struct out *o, struct str v); /* folds become spaces: nothing received can begin a line of ours */
void sip_print_reply(const struct sip *s, const struct sip_msg *m, const struct flow *from, const struct sip_reply *r, bool brief, struct out *o);
void sip_print_request(const struct sip *s, const struct sip_request *r, struct str branch, struct out *o);
void sip_print_follow(const struct sip *s, const struct sip_msg *request, enum sip_method method, struct str to, struct out *o); /* ACK for a refusal, CANCEL */
void sip_reply_flow(const struct sip_msg *m, const struct flow *from, struct flow *ret);
#define SIP_TAG_STATELESS 17
void sip_tag_stateless(const struct sip *s, const struct sip_msg *m, char ret[SIP_TAG_STATELESS]); /* the same for the same request: RFC 3261 8.2.7 */
