/* SPDX-License-Identifier: Apache-2.0
 *
 * sip: messages, URIs, the four transactions (RFC 3261 section 17, RFC 6026) and what a dialog needs (section 12), on the sig thread. Knows nothing of calls or
 * media. It sends only when told: the record of the one above stands before sip_tx_reply or sip_request is called (house rule 1). In particular 100 is not automatic.
 *
 * Parsing is index-only: a struct sip_msg holds views into the bytes as received, which are never written.
 */
#pragma once
#include "base/base.h"

struct wire;  /* net/ */
struct gate;
struct authed;

/* ---- messages ---- */
enum sip_method {
	SIP_INVITE, SIP_ACK, SIP_BYE, SIP_CANCEL, SIP_OPTIONS, SIP_REGISTER, SIP_INFO, SIP_PRACK, SIP_UPDATE, SIP_SUBSCRIBE, SIP_NOTIFY, SIP_REFER, SIP_MESSAGE,
	SIP_PUBLISH, SIP_OTHER, SIP_N_METHODS
};
extern const char *const sip_method_names[SIP_N_METHODS]; /* SIP_OTHER: "?" */

enum sip_hdr_id {
	HDR_OTHER, HDR_VIA, HDR_FROM, HDR_TO, HDR_CALL_ID, HDR_CSEQ, HDR_CONTACT, HDR_MAX_FORWARDS, HDR_ROUTE, HDR_RECORD_ROUTE, HDR_CONTENT_TYPE,
	HDR_CONTENT_LENGTH, HDR_CONTENT_ENCODING, HDR_CONTENT_DISPOSITION, HDR_ALLOW, HDR_SUPPORTED, HDR_REQUIRE, HDR_PROXY_REQUIRE, HDR_UNSUPPORTED,
	HDR_ACCEPT, HDR_EXPIRES, HDR_USER_AGENT, HDR_SERVER, HDR_REASON, HDR_RETRY_AFTER, HDR_SUBJECT, HDR_DATE, HDR_TIMESTAMP, HDR_AUTHORIZATION,
	HDR_PROXY_AUTHORIZATION, HDR_WWW_AUTHENTICATE, HDR_PROXY_AUTHENTICATE, HDR_DIVERSION, HDR_HISTORY_INFO, HDR_P_ASSERTED_IDENTITY,
	HDR_P_PREFERRED_IDENTITY, HDR_REMOTE_PARTY_ID, HDR_PRIVACY, HDR_USER_TO_USER, HDR_EVENT, HDR_REFER_TO, HDR_REPLACES, HDR_SESSION_EXPIRES, HDR_MIN_SE,
	HDR_RSEQ, HDR_RACK, HDR_WARNING, HDR_N
};
struct sip_hdr {
	uint8_t id;           /* enum sip_hdr_id; compact forms are resolved */
	struct str name, value; /* as written; value trimmed, may hold folds (CRLF + space) */
};
#define SIP_HDR_MAX 128 /* = LIMIT_SIP_HEADERS */
struct sip_msg {
	struct str raw;       /* the whole message */
	bool is_request;
	enum sip_method method; /* of a request; of a response: of its CSeq */
	struct str method_text, uri; /* request line */
	int status;           /* status line */
	struct str reason;
	struct sip_hdr hdr[SIP_HDR_MAX];
	int n_hdr;
	/* The essentials, checked to be there and well-formed: */
	struct str via;       /* topmost Via value (one, without what follows a comma) */
	struct str branch, sent_by; /* of it */
	struct str call_id, from, to; /* values */
	struct str from_tag, to_tag;  /* n == 0: none */
	uint32_t cseq;
	enum sip_method cseq_method;
	struct str cseq_method_text;
	int max_forwards;     /* -1 = not there */
	struct str body;      /* by Content-Length; the rest of a datagram if there is none */
	int error;            /* 0, or the status that a request deserves although it could be parsed (400, 505, 416, 413 …) */
	const char *why;      /* then: a sentence */
};
/* One message, whole. 0; -EBADMSG = not SIP or without the essentials: drop it (then *ret may still be enough for a stateless 400: ret->error != 0). */
int sip_parse(struct str in, struct sip_msg *ret) _must_;
/* Stream framing (RFC 3261 section 18.3): bytes of the first message at the start of `in`, leading CRLFs counted as a frame of their own (keepalive, RFC 5626 section 3.5.1).
 * 0 = need more (*ret_need: bytes in all if known, else 0); -EBADMSG, -EMSGSIZE = close the connection. */
ssize_t sip_frame(struct str in, size_t *ret_need);
struct str sip_get(const struct sip_msg *m, enum sip_hdr_id id);       /* first value; n == 0, p == NULL: not there */
const struct sip_hdr *sip_next(const struct sip_msg *m, enum sip_hdr_id id, const struct sip_hdr *after); /* after NULL = first */
/* Next element of a comma-separated header value, quotes and <> respected: while (sip_list(&rest, &one)) */
bool sip_list(struct str *rest, struct str *ret_one);

struct sip_uri {
	struct str scheme, user, password, host, params, headers; /* user as written (escaped); host: IPv6 keeps its brackets; of tel: user and params alone */
	uint16_t port; /* 0 = not written */
};
int sip_uri_parse(struct str in, struct sip_uri *ret) _must_; /* sip: sips: tel:; -EBADMSG, -EPROTONOSUPPORT (other scheme) */
int sip_uri_host(const struct sip_uri *u, struct addr *ret) _must_;  /* literal address and port (default by scheme); -EINVAL = it is a name */
/* Unescaped user part, without its ";params" and password. -EBADMSG (bad escape, NUL), -ENOSPC */
int sip_user_decode(struct str user, char *buf, size_t cap, size_t *ret_n) _must_;
struct sip_name_addr {
	struct str display; /* without quotes, escapes as written */
	struct str uri, params; /* params behind '>' (or behind a bare URI) */
};
int sip_name_addr_parse(struct str in, struct sip_name_addr *ret) _must_;
/* Value of a ;name=value parameter. false = not there; a flag has an empty value. */
bool sip_param(struct str params, struct str name, struct str *ret_value);
const char *sip_reason(int status); /* the RFC's phrase */

/* ---- ids: local tag, branch and Call-ID carry node · slot · generation · 32 random bits, with a keyed check: any edge can route them without a look-up. ---- */
struct sip_id {
	handle h;
	uint32_t rnd;
	uint8_t node;
};
enum sip_id_kind { SIP_ID_TAG, SIP_ID_BRANCH, SIP_ID_CALL };
#define SIP_ID_LEN 40 /* at most */
void sip_id_print(const uint8_t key[16], enum sip_id_kind kind, const struct sip_id *id, struct out *o);
int sip_id_parse(const uint8_t key[16], enum sip_id_kind kind, struct str s, struct sip_id *ret) _must_; /* -EBADMSG = not ours */

/* ---- dialog: plain data. Views must outlive it (they stand in the slab or the arena of the leg). ---- */
struct sip_dlg {
	struct str call_id, local_tag, remote_tag;
	struct str local, remote;  /* From/To value as we send it / as the peer knows itself, without tag */
	struct str target;         /* remote target URI */
	struct str route[16];      /* route set in the order of sending, each a name-addr */
	int n_route;
	uint32_t local_cseq, remote_cseq;
	struct flow flow;          /* where requests go */
	bool secure;
};
/* RFC 3261 12.1.1: we are UAS. local_tag is ours. -EBADMSG = no usable Contact, …; -E2BIG = too many routes. flow = where the INVITE came from. */
int sip_dlg_from_invite(struct sip_dlg *d, const struct sip_msg *invite, struct str local_tag, const struct flow *from) _must_;
/* RFC 3261 12.1.2: we are UAC; d was filled with our side before. */
int sip_dlg_from_reply(struct sip_dlg *d, const struct sip_msg *reply) _must_;
/* Where a request of this dialog goes: the first route or the target if that is a literal address we can reach better than the flow; the flow for names, TCP and
 * a peer behind NAT (its Contact is private and the source is not, or not the same family). */
void sip_dlg_flow(const struct sip_dlg *d, struct flow *ret);

/* ---- transactions ---- */
struct sip;
struct sip_tx;
enum sip_why { SIP_WHY_DONE, SIP_WHY_TIMEOUT, SIP_WHY_TRANSPORT };
struct sip_user {
	/* A request that is not a retransmission and has passed the gate. ACK for a 2xx: tx is NULL. CANCEL never comes here. m lives until this returns. */
	void (*on_request)(void *arg, const struct authed *who, struct sip_tx *tx, const struct sip_msg *m, const struct flow *from);
	/* The peer cancels this INVITE, which has no final status yet. Its CANCEL is answered 200 after this returns; the one above sends 487. */
	void (*on_cancel)(void *arg, struct sip_tx *invite, const struct sip_msg *m);
	/* To a request of ours. Each 2xx to INVITE comes here, repeated ones too (the one above sends ACK). m NULL: no answer (why). */
	void (*on_reply)(void *arg, struct sip_tx *tx, const struct sip_msg *m, enum sip_why why);
	/* Server INVITE only: its end. DONE = acknowledged (sip_tx_acked told us, or ACK to a non-2xx came); TIMEOUT = no ACK in 64*T1 (timer H/L). tx is freed after. */
	void (*on_tx_end)(void *arg, struct sip_tx *tx, enum sip_why why);
	void *arg;
};
struct sip_opts {
	const struct wire *wire;
	struct wheel *wheel;
	const struct sip_user *user;
	const struct gate *gate;
	struct trace *trace;   /* may be NULL */
	const uint8_t *key;    /* 16 bytes, of the slab */
	uint8_t node;
	const char *product;   /* Server and User-Agent */
	/* Address to write into Via and Contact for packets of this flow (advertise=, or flow->local). */
	void (*advertise)(void *arg, const struct flow *f, struct addr *ret);
	void *arg;
	/* The CallSid a message belongs to, for the trace; may be NULL. Called with the owner of the transaction or, for requests in a dialog, the handle in the To tag. */
	const uint8_t *(*sid_of)(void *arg, handle owner);
};
struct sip *sip_new(const struct sip_opts *o);
void sip_free(struct sip *s);
void sip_input(struct sip *s, const struct flow *from, struct str bytes, int64_t now_ms); /* one datagram, or one frame of a stream */
void sip_turn(struct sip *s, int64_t now_ms);                                              /* empties the bin; once a turn */
void sip_flow_gone(struct sip *s, const struct flow *f, int64_t now_ms);
void sip_draining(struct sip *s, bool on, int retry_after_s); /* on: new INVITEs and OPTIONS get 503 statelessly */

struct sip_reply {
	int status;
	struct str reason;       /* n == 0: the RFC's phrase */
	struct str to_tag;       /* ours; n == 0 only for 100 and stateless answers */
	struct str contact_user; /* Contact is <sip:USER@advertised>; what may not stand in a user part is escaped, %XX stays; n == 0: no Contact */
	struct str headers;      /* further lines, each with CRLF: from us alone, never copied from a peer. Allow is written here unless it stands in them */
	struct str content_type, body;
};
/* The one above has written its record. Sends, keeps the bytes for retransmission; a 2xx to INVITE is repeated until sip_tx_acked (RFC 6026, 13.3.1.4). -E… only for a wrong state (refused, traced). */
int sip_tx_reply(struct sip_tx *tx, const struct sip_reply *r, int64_t now_ms);
void sip_tx_acked(struct sip_tx *invite, int64_t now_ms); /* the ACK for its 2xx came; NULL (no open INVITE) and other states: nothing happens */
void sip_tx_set_owner(struct sip_tx *tx, handle h);
handle sip_tx_owner(const struct sip_tx *tx);
enum sip_method sip_tx_method(const struct sip_tx *tx);
uint32_t sip_tx_cseq(const struct sip_tx *tx);
const struct flow *sip_tx_flow(const struct sip_tx *tx); /* server: where the request came from; client: where it went, with the connection that was made for it */
/* Adoption: the server transaction of a request as it was received; sends nothing. If its final status was sent before, call sip_tx_reply with it again: that repeats it. */
struct sip_tx *sip_tx_adopt(struct sip *s, struct str request, const struct flow *from, handle owner, int64_t now_ms);

struct sip_request {
	enum sip_method method;
	const struct sip_dlg *dlg;
	uint32_t cseq;
	uint32_t rnd;            /* random part of the branch: the same again sends the same request again */
	handle owner;
	struct str contact_user, headers, content_type, body;
	struct str uri;          /* request URI; n == 0: dlg->target */
	int64_t deadline_ms;     /* boottime, in place of timer B or F; 0 = by the timer (64*T1) */
};
/* Sends by dlg's flow; NULL = no memory or no room (nothing was sent). ACK: use sip_ack. CANCEL: sip_cancel. */
struct sip_tx *sip_request(struct sip *s, const struct sip_request *r, int64_t now_ms) _must_;
int sip_ack(struct sip *s, const struct sip_request *r, int64_t now_ms);   /* for a 2xx: no transaction; method and deadline ignored */
int sip_cancel(struct sip_tx *invite, int64_t now_ms);                     /* waits for a provisional answer if there was none (9.1) */
/* Stateless answer to a request that gets no transaction (405, 503 …): once, no larger than needed. */
void sip_answer(struct sip *s, const struct sip_msg *m, const struct flow *from, const struct sip_reply *r);
struct sip_tx *sip_invite_of(struct sip *s, handle owner); /* the open server INVITE transaction of this owner; NULL = none */
size_t sip_tx_count(const struct sip *s);
