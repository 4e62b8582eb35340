/* SPDX-License-Identifier: Apache-2.0
 *
 * tx: what the four state tables have in common: life (new, bin), matching (RFC 3261 sections 17.1.3 and 17.2.3), timers, retransmission, and the room's public functions on a
 * transaction. A transaction owns a copy of its request; what is printed later (answers, ACK for a refusal, CANCEL) is read from that copy. Sig thread.
 */
#include <stdlib.h>

#include "sip/sip_int.h"

const char *const sip_event_names[EV_N] = {
    [EV_REPEAT] = "repeat", [EV_1XX] = "1xx",     [EV_2XX] = "2xx", [EV_ERROR] = "3xx-6xx",       [EV_ACK] = "ack",
    [EV_CANCEL] = "cancel", [EV_RETRY] = "retry", [EV_END] = "end", [EV_TRANSPORT] = "transport",
};

bool sip_tx_is_server(const struct sip_tx *tx)
{
	return tx->fsm.type == &sip_ist || tx->fsm.type == &sip_nist;
}

/* ---- matching ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	return (a ^ (b + 0x9e3779b97f4a7c15ULL + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccdULL;
}

/* Server: branch, sent-by and method; of an old sender Call-ID, From tag and CSeq. Client: branch and method of CSeq. */
static uint64_t key_of(bool server, const struct sip_msg *m, enum sip_method method)
{
	uint64_t key = mix((uint64_t)method << 1 | (server ? 1 : 0), 0);

	if (!server)
		return mix(key, str_hash(m->branch));
	if (sip_cookie(m->branch))
		return mix(mix(key, str_hash(m->branch)), str_hash(m->sent_by));
	return mix(mix(mix(key, str_hash(m->call_id)), str_hash(m->from_tag)), m->cseq);
}

/* RFC 3261 section 17.2.3, second half: a sender of RFC 2543 makes no branch that can be trusted. An ACK bears the To tag that we gave. */
static bool same_2543(const struct sip_tx *tx, const struct sip_msg *m)
{
	struct str to_tag = tx->to_tag;

	if (m->method == SIP_ACK && !to_tag.n)
		to_tag = str_z(tx->local_tag);
	return !sip_cookie(tx->branch) && tx->cseq == m->cseq && str_eq(tx->call_id, m->call_id) && str_eq(tx->uri, m->uri) && str_eq(tx->via, m->via) &&
	       str_eq(tx->from_tag, m->from_tag) && str_eq(to_tag, m->to_tag);
}

static bool is_same(const struct sip_tx *tx, const struct sip_msg *m, enum sip_method method)
{
	if (!sip_tx_is_server(tx) || tx->method != method || (method == SIP_OTHER && !str_eq(tx->method_text, m->cseq_method_text)))
		return false;
	if (sip_cookie(m->branch))
		return str_eq(tx->branch, m->branch) && str_eq(tx->sent_by, m->sent_by);
	return same_2543(tx, m);
}

struct sip_tx *sip_tx_find_server(const struct sip *s, const struct sip_msg *m, enum sip_method method)
{
	struct sip_tx *tx;
	size_t at = 0;

	while ((tx = hash_next(s->by_key, key_of(true, m, method), &at)))
		if (is_same(tx, m, method))
			return tx;
	return NULL;
}

struct sip_tx *sip_tx_find_client(const struct sip *s, const struct sip_msg *m)
{
	struct sip_tx *tx;
	size_t at = 0;

	while ((tx = hash_next(s->by_key, key_of(false, m, m->cseq_method), &at)))
		if (!sip_tx_is_server(tx) && tx->method == m->cseq_method && str_eq(tx->branch, m->branch))
			return tx;
	return NULL;
}

/* ---- life ---- */

static void on_retry(struct timer *t, void *arg, int64_t now_ms)
{
	struct sip_tx *tx = arg;

	tx->sip->now_ms = now_ms;
	(void)!fsm_post(&tx->fsm, EV_RETRY, NULL, now_ms);
}

static void on_end(struct timer *t, void *arg, int64_t now_ms)
{
	struct sip_tx *tx = arg;

	tx->sip->now_ms = now_ms;
	(void)!fsm_post(&tx->fsm, EV_END, NULL, now_ms);
}

static void on_fail(struct timer *t, void *arg, int64_t now_ms)
{
	struct sip_tx *tx = arg;

	tx->sip->now_ms = now_ms;
	(void)!fsm_post(&tx->fsm, EV_TRANSPORT, NULL, now_ms);
}

/* The same view into our copy of the message. */
static struct str moved(struct str v, const struct sip_msg *m, const char *copy)
{
	return v.n ? str_n(copy + (v.p - m->raw.p), v.n) : STR_NONE;
}

static void take_views(struct sip_tx *tx, const struct sip_msg *m)
{
	tx->method_text = moved(m->method_text, m, tx->text);
	tx->uri = moved(m->uri, m, tx->text);
	tx->via = moved(m->via, m, tx->text);
	tx->branch = moved(m->branch, m, tx->text);
	tx->sent_by = moved(m->sent_by, m, tx->text);
	tx->call_id = moved(m->call_id, m, tx->text);
	tx->from_tag = moved(m->from_tag, m, tx->text);
	tx->to_tag = moved(m->to_tag, m, tx->text);
}

struct sip_tx *sip_tx_new(struct sip *s, const struct fsm_type *type, const struct sip_msg *m, const struct flow *f, int64_t now_ms)
{
	bool server = type == &sip_ist || type == &sip_nist;
	char *text = malloc(m->raw.n);
	handle h = 0;
	struct sip_tx *tx = text ? table_add(s->txs, &h) : NULL;
	uint64_t key = key_of(server, m, m->method);

	if (!tx || hash_put(s->by_key, key, tx)) {
		if (tx)
			table_drop(s->txs, h);
		free(text);
		return NULL;
	}
	memcpy(text, m->raw.p, m->raw.n);
	*tx = (struct sip_tx){.sip = s, .self = h, .key = key, .method = m->method, .cseq = m->cseq, .from = *f, .to = *f, .text = text, .n_text = m->raw.n};
	take_views(tx, m);
	link_init(&tx->bin);
	timer_init(&tx->retry, on_retry, tx);
	timer_init(&tx->end, on_end, tx);
	timer_init(&tx->fail, on_fail, tx);
	if (server)
		sip_reply_flow(m, f, &tx->to);
	fsm_init(&tx->fsm, type, 0);
	if (type->states[0].enter)
		type->states[0].enter(&tx->fsm, now_ms);
	return tx;
}

static void drop_owner(struct sip_tx *tx)
{
	if (tx->owner && tx->fsm.type == &sip_ist)
		hash_drop(tx->sip->by_owner, tx->owner, tx);
}

void sip_tx_bin(struct fsm *f, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);

	timer_stop(&tx->retry);
	timer_stop(&tx->end);
	timer_stop(&tx->fail);
	hash_drop(tx->sip->by_key, tx->key, tx);
	drop_owner(tx);
	link_append(&tx->sip->bin, &tx->bin);
}

/* ---- timers and sending ---- */

static int64_t first_of(const struct sip_tx *tx, enum sip_timer t)
{
	if (t == TIMER_N)
		return -1;
	return tx->from.kind == FLOW_TCP ? sip_timer_table[t].tcp_ms : sip_timer_table[t].udp_ms;
}

void sip_tx_arm(struct sip_tx *tx, enum sip_timer retry, enum sip_timer end, int64_t now_ms)
{
	int64_t retry_ms = first_of(tx, retry), end_ms = first_of(tx, end);

	timer_stop(&tx->retry);
	timer_stop(&tx->end);
	tx->interval_ms = retry_ms;
	if (retry_ms > 0)
		timer_set(tx->sip->o.wheel, &tx->retry, now_ms + retry_ms);
	if ((end == TIMER_B || end == TIMER_F) && tx->deadline_ms)
		timer_set(tx->sip->o.wheel, &tx->end, tx->deadline_ms);
	else if (end_ms >= 0)
		timer_set(tx->sip->o.wheel, &tx->end, now_ms + end_ms);
}

void sip_tx_again(struct sip_tx *tx, enum sip_timer retry, int64_t now_ms)
{
	tx->interval_ms = MIN(2 * tx->interval_ms, sip_timer_table[retry].max_ms);
	timer_set(tx->sip->o.wheel, &tx->retry, now_ms + tx->interval_ms);
}

void sip_tx_keep(struct sip_tx *tx, struct str bytes)
{
	char *copy = malloc(bytes.n);

	free(tx->last);
	tx->last = copy;
	tx->n_last = copy ? bytes.n : 0;
	if (copy)
		memcpy(copy, bytes.p, bytes.n);
}

/* RFC 3261 section 18.2.2: the connection that the request came by is gone; the answer goes by a new one to where the Via says that its sender listens. */
void sip_tx_reopen(struct sip_tx *tx)
{
	struct addr host;
	uint16_t port;

	sip_sent_by(tx->sent_by, &host, &port);
	tx->to.conn = 0;
	tx->to.peer.port = port ? port : 5060;
}

void sip_tx_send(struct sip_tx *tx, struct str bytes)
{
	bool fresh = !tx->to.conn;
	int err = sip_send(tx->sip, &tx->to, bytes, tx->owner);

	if (err != -ENOTCONN || tx->to.kind != FLOW_TCP || !sip_tx_is_server(tx)) {
		/* The one above is told in a later turn: never from within its own call. */
		if (err && err != -EAGAIN && tx->to.kind == FLOW_TCP && !sip_tx_is_server(tx))
			timer_set(tx->sip->o.wheel, &tx->fail, tx->sip->now_ms);
		return;
	}
	sip_tx_reopen(tx);
	if (!fresh)
		(void)!sip_send(tx->sip, &tx->to, bytes, tx->owner);
}

void sip_tx_send_text(struct sip_tx *tx)
{
	sip_tx_send(tx, str_n(tx->text, tx->n_text));
}

void sip_tx_send_last(struct sip_tx *tx)
{
	if (tx->last)
		sip_tx_send(tx, str_n(tx->last, tx->n_last));
}

void sip_tx_tell(struct sip_tx *tx, const struct sip_msg *m, enum sip_why why)
{
	const struct sip_user *u = tx->sip->o.user;

	if (tx->method != SIP_CANCEL) /* ours alone: the INVITE it belongs to tells */
		u->on_reply(u->arg, tx, m, why);
}

void sip_tx_ended(struct sip_tx *tx, enum sip_why why)
{
	const struct sip_user *u = tx->sip->o.user;

	u->on_tx_end(u->arg, tx, why);
}

/* RFC 3261 section 17.1.1.3 */
void sip_tx_send_ack(struct sip_tx *tx, const struct sip_msg *reply)
{
	struct sip *s = tx->sip;
	struct out o = {.p = s->buf, .cap = s->cap};
	struct sip_msg m;

	if (sip_parse(str_n(tx->text, tx->n_text), &m))
		return;
	sip_print_follow(s, &m, SIP_ACK, reply->to, &o);
	if (o.over)
		return;
	sip_tx_keep(tx, out_view(&o));
	sip_tx_send(tx, out_view(&o));
}

/* RFC 3261 section 9.1: a transaction of its own, by the same road. Without room for one the INVITE ends by its timer. */
void sip_tx_send_cancel(struct sip_tx *tx, int64_t now_ms)
{
	struct sip *s = tx->sip;
	struct out o = {.p = s->buf, .cap = s->cap};
	struct sip_tx *cancel;
	struct sip_msg m;

	if (sip_parse(str_n(tx->text, tx->n_text), &m))
		return;
	sip_print_follow(s, &m, SIP_CANCEL, m.to, &o);
	if (o.over || sip_parse(out_view(&o), &m))
		return;
	cancel = sip_tx_new(s, &sip_nict, &m, &tx->to, now_ms);
	if (!cancel)
		return;
	cancel->owner = tx->owner;
	sip_tx_send_text(cancel);
}

/* ---- the one above: server ---- */

static int event_of(int status)
{
	return status < 200 ? EV_1XX : status < 300 ? EV_2XX : EV_ERROR;
}

/* The To tag of this answer: what an ACK of an old sender is matched by. */
static void note_tag(struct sip_tx *tx, const struct sip_msg *m, const struct sip_reply *r)
{
	char tag[SIP_TAG_STATELESS];

	if (r->status == 100)
		return;
	if (!r->to_tag.n)
		sip_tag_stateless(tx->sip, m, tag);
	if (str_zcpy(r->to_tag.n ? r->to_tag : str_z(tag), tx->local_tag, sizeof(tx->local_tag)))
		tx->local_tag[0] = '\0';
}

int sip_tx_reply(struct sip_tx *tx, const struct sip_reply *r, int64_t now_ms)
{
	struct sip *s = tx->sip;
	struct out o = {.p = s->buf, .cap = s->cap};
	int event = event_of(r->status);
	struct sip_msg m;
	struct str bytes;

	s->now_ms = now_ms;
	if (!sip_tx_is_server(tx) || !(tx->fsm.type->states[tx->fsm.state].accepts & BIT(event)))
		return fsm_post(&tx->fsm, event, NULL, now_ms);
	if (sip_parse(str_n(tx->text, tx->n_text), &m))
		return -EBADMSG;
	sip_print_reply(s, &m, &tx->from, r, false, &o);
	if (o.over)
		return -EMSGSIZE;
	note_tag(tx, &m, r);
	bytes = out_view(&o);
	return fsm_post(&tx->fsm, event, &bytes, now_ms);
}

void sip_tx_acked(struct sip_tx *invite, int64_t now_ms)
{
	if (!invite)
		return;
	invite->sip->now_ms = now_ms;
	if (invite->fsm.type == &sip_ist && invite->fsm.state == IST_ACCEPTED)
		(void)!fsm_post(&invite->fsm, EV_ACK, NULL, now_ms);
}

void sip_tx_set_owner(struct sip_tx *tx, handle h)
{
	drop_owner(tx);
	tx->owner = h;
	if (h && tx->fsm.type == &sip_ist && tx->fsm.state != IST_DONE && hash_put(tx->sip->by_owner, h, tx))
		tx->owner = 0; /* no memory: its 2xx will not be acknowledged, and timer L ends the call */
}

handle sip_tx_owner(const struct sip_tx *tx)
{
	return tx->owner;
}

enum sip_method sip_tx_method(const struct sip_tx *tx)
{
	return tx->method;
}

uint32_t sip_tx_cseq(const struct sip_tx *tx)
{
	return tx->cseq;
}

const struct flow *sip_tx_flow(const struct sip_tx *tx)
{
	return sip_tx_is_server(tx) ? &tx->from : &tx->to;
}

struct sip_tx *sip_invite_of(struct sip *s, handle owner)
{
	const uint32_t open = BIT(IST_PROCEEDING) | BIT(IST_ACCEPTED) | BIT(IST_COMPLETED);
	struct sip_tx *tx;
	size_t at = 0;

	while (owner && (tx = hash_next(s->by_owner, owner, &at)))
		if (tx->owner == owner && BIT(tx->fsm.state) & open)
			return tx;
	return NULL;
}

struct sip_tx *sip_tx_adopt(struct sip *s, struct str request, const struct flow *from, handle owner, int64_t now_ms)
{
	struct sip_msg m;
	struct sip_tx *tx;

	s->now_ms = now_ms;
	if (sip_parse(request, &m) || !m.is_request || m.method == SIP_ACK)
		return NULL;
	tx = sip_tx_new(s, m.method == SIP_INVITE ? &sip_ist : &sip_nist, &m, from, now_ms);
	if (tx)
		sip_tx_set_owner(tx, owner);
	return tx;
}

/* ---- the one above: client ---- */

/* Requests that were given the same random number still differ in their branch, as RFC 3261 section 8.1.1.7 wants; the same request always has the same. */
static void print_branch(const struct sip *s, const struct sip_request *r, struct out *o)
{
	struct sip_id id = {.h = r->owner, .node = s->o.node};

	id.rnd = r->rnd ^ r->cseq * 0x9e3779b1u ^ (uint32_t)r->method * 0x85ebca6bu;
	sip_id_print(s->o.key, SIP_ID_BRANCH, &id, o);
}

static struct str print(struct sip *s, const struct sip_request *r)
{
	struct out o = {.p = s->buf, .cap = s->cap};
	char text[SIP_ID_LEN];
	struct out branch = OUT(text);

	print_branch(s, r, &branch);
	sip_print_request(s, r, out_view(&branch), &o);
	return o.over ? STR_NONE : out_view(&o);
}

struct sip_tx *sip_request(struct sip *s, const struct sip_request *r, int64_t now_ms)
{
	struct str bytes = print(s, r);
	struct sip_msg m;
	struct sip_tx *tx;

	s->now_ms = now_ms;
	if (!bytes.n || r->method == SIP_ACK || r->method == SIP_CANCEL || sip_parse(bytes, &m) || m.error)
		return NULL;
	tx = sip_tx_new(s, r->method == SIP_INVITE ? &sip_ict : &sip_nict, &m, &r->dlg->flow, now_ms);
	if (!tx)
		return NULL;
	tx->owner = r->owner;
	tx->deadline_ms = r->deadline_ms;
	if (r->deadline_ms)
		timer_set(s->o.wheel, &tx->end, r->deadline_ms);
	sip_tx_send_text(tx);
	return tx;
}

int sip_ack(struct sip *s, const struct sip_request *r, int64_t now_ms)
{
	struct sip_request ack = *r;
	struct flow to = r->dlg->flow;
	struct str bytes;

	s->now_ms = now_ms;
	ack.method = SIP_ACK;
	bytes = print(s, &ack);
	return bytes.n ? sip_send(s, &to, bytes, r->owner) : -EMSGSIZE;
}

int sip_cancel(struct sip_tx *invite, int64_t now_ms)
{
	invite->sip->now_ms = now_ms;
	return fsm_post(&invite->fsm, EV_CANCEL, NULL, now_ms);
}
