/* SPDX-License-Identifier: Apache-2.0
 *
 * sip: the room's door, and the road of a received message to the logic above: sip_input → request_in (gate, sound, known?) → serve → on_request; or reply_in → the transaction →
 * on_reply. Sig thread. RFC 3261 sections 8.2, 9.2, 17.2.3, 18.
 */
#include <stdlib.h>

#include "sip/sip_int.h"

#define TRACE_LINE         160
#define RETRY_AFTER_FULL_S 5

static void free_tx(struct sip *s, struct sip_tx *tx)
{
	free(tx->text);
	free(tx->last);
	tx->text = tx->last = NULL;
	table_drop(s->txs, tx->self);
}

struct sip *sip_new(const struct sip_opts *o)
{
	struct sip *s = calloc(1, sizeof(*s));
	size_t max = limit_of(LIMIT_TRANSACTIONS);

	if (!s)
		return NULL;
	s->o = *o;
	s->cap = limit_of(LIMIT_SIP_MESSAGE);
	link_init(&s->bin);
	s->txs = table_new((uint32_t)max, sizeof(struct sip_tx));
	s->by_key = hash_new(max);
	s->by_owner = hash_new(max);
	s->buf = malloc(s->cap);
	s->trace_buf = malloc(s->cap + TRACE_LINE);
	if (s->txs && s->by_key && s->by_owner && s->buf && s->trace_buf)
		return s;
	sip_free(s);
	return NULL;
}

void sip_free(struct sip *s)
{
	struct sip_tx *tx;
	uint32_t at = 0;
	handle h;

	if (!s)
		return;
	while (s->txs && (tx = table_each(s->txs, &at, &h))) {
		timer_stop(&tx->retry);
		timer_stop(&tx->end);
		timer_stop(&tx->fail);
		free(tx->text);
		free(tx->last);
	}
	table_free(s->txs);
	hash_free(s->by_key);
	hash_free(s->by_owner);
	free(s->buf);
	free(s->trace_buf);
	free(s);
}

void sip_turn(struct sip *s, int64_t now_ms)
{
	s->now_ms = now_ms;
	while (!link_alone(&s->bin)) {
		struct sip_tx *tx = container_of(s->bin.next, struct sip_tx, bin);

		link_drop(&tx->bin);
		free_tx(s, tx);
	}
}

void sip_draining(struct sip *s, bool on, int retry_after_s)
{
	s->retry_after_s = on ? MAX(retry_after_s, 1) : 0;
}

size_t sip_tx_count(const struct sip *s)
{
	return table_count(s->txs);
}

/* ---- stateless answers ---- */

void sip_answer(struct sip *s, const struct sip_msg *m, const struct flow *from, const struct sip_reply *r)
{
	struct out o = {.p = s->buf, .cap = s->cap};
	struct flow to;

	sip_reply_flow(m, from, &to);
	sip_print_reply(s, m, from, r, false, &o);
	if (!o.over)
		(void)!sip_send(s, &to, out_view(&o), sip_owner_of(s, m));
}

static void answer_busy(struct sip *s, const struct sip_msg *m, const struct flow *from, int retry_after_s)
{
	char text[48];
	struct out o = OUT(text);

	OUT_STR(&o, "Retry-After: ");
	out_u64(&o, (uint64_t)retry_after_s);
	OUT_STR(&o, "\r\n");
	sip_answer(s, m, from, &(struct sip_reply){.status = 503, .headers = out_view(&o)});
}

/* A stranger learns that this door is shut, at no greater length than he asked: nothing is amplified towards a forged source. Neither his message nor this answer is traced: he
 * could wash everything else out of the ring. */
static void deny(struct sip *s, const struct sip_msg *m, const struct flow *from)
{
	struct out o = {.p = s->buf, .cap = MIN(s->cap, m->raw.n)};
	struct flow to;

	s->in_msg = NULL;
	count_add(COUNT_SIP_DENIED, 1);
	if (m->error || m->method == SIP_ACK)
		return;
	sip_reply_flow(m, from, &to);
	sip_print_reply(s, m, from, &(struct sip_reply){.status = 403}, true, &o);
	if (o.over)
		return;
	count_add(COUNT_SIP_OUT, 1);
	(void)!s->o.wire->send(s->o.wire->arg, &to, o.p, o.n);
}

static void refuse(struct sip *s, const struct sip_msg *m, const struct flow *from)
{
	count_add(COUNT_SIP_BAD, 1);
	if (m->error && m->method != SIP_ACK)
		sip_answer(s, m, from, &(struct sip_reply){.status = m->error});
}

/* ---- requests ---- */

/* RFC 3261 section 17.1.1.3 and 13.2.2.4: the ACK of a refusal belongs to its transaction, that of a 2xx to the dialog. */
static void ack_in(struct sip *s, const struct authed *who, const struct sip_msg *m, const struct flow *from, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_find_server(s, m, SIP_INVITE);
	char tag[SIP_TAG_STATELESS];

	s->in_tx = tx;
	if (tx && BIT(tx->fsm.state) & (BIT(IST_COMPLETED) | BIT(IST_CONFIRMED))) {
		(void)!fsm_post(&tx->fsm, EV_ACK, m, now_ms);
		return;
	}
	sip_tag_stateless(s, m, tag);
	if (str_eq(m->to_tag, str_z(tag))) /* of a stateless refusal */
		return;
	s->o.user->on_request(s->o.user->arg, who, NULL, m, from);
}

/* RFC 3261 section 9.2 */
static void cancel_in(struct sip *s, const struct sip_msg *m, const struct flow *from, int64_t now_ms)
{
	struct sip_tx *invite = sip_tx_find_server(s, m, SIP_INVITE), *tx;
	struct sip_reply ok = {.status = 200};

	s->in_tx = invite;
	if (!invite)
		return sip_answer(s, m, from, &(struct sip_reply){.status = 481});
	tx = sip_tx_new(s, &sip_nist, m, from, now_ms);
	if (tx)
		tx->owner = invite->owner;
	if (invite->fsm.state == IST_PROCEEDING)
		(void)!fsm_post(&invite->fsm, EV_CANCEL, m, now_ms);
	ok.to_tag = str_z(invite->local_tag);
	if (tx)
		(void)!sip_tx_reply(tx, &ok, now_ms);
	else
		sip_answer(s, m, from, &ok);
}

static void serve(struct sip *s, const struct authed *who, const struct sip_msg *m, const struct flow *from, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_new(s, m->method == SIP_INVITE ? &sip_ist : &sip_nist, m, from, now_ms);

	s->in_tx = tx;
	if (!tx) {
		count_add(COUNT_LIMIT_HIT, 1);
		return answer_busy(s, m, from, RETRY_AFTER_FULL_S);
	}
	s->o.user->on_request(s->o.user->arg, who, tx, m, from);
}

static void request_in(struct sip *s, const struct sip_msg *m, int err, const struct flow *from, int64_t now_ms)
{
	const struct authed *who = gate_check(s->o.gate, &from->peer);
	struct sip_tx *tx;

	if (!who)
		return deny(s, m, from);
	if (err || m->error)
		return refuse(s, m, from);
	if (m->method == SIP_ACK)
		return ack_in(s, who, m, from, now_ms);
	tx = sip_tx_find_server(s, m, m->method);
	if (tx) {
		s->in_tx = tx;
		count_add(COUNT_SIP_REPEATED, 1);
		(void)!fsm_post(&tx->fsm, EV_REPEAT, m, now_ms);
	} else if (m->method == SIP_CANCEL) {
		cancel_in(s, m, from, now_ms);
	} else if (s->retry_after_s && !m->to_tag.n && (m->method == SIP_INVITE || m->method == SIP_OPTIONS)) {
		answer_busy(s, m, from, s->retry_after_s);
	} else {
		serve(s, who, m, from, now_ms);
	}
}

/* ---- answers to requests of ours ---- */

/* RFC 3261 section 8.1.3.3: an answer with a second Via went astray, we put in one. */
static bool is_ours(const struct sip_msg *m)
{
	const struct sip_hdr *top = sip_next(m, HDR_VIA, NULL);
	struct str rest = top->value, one;

	return sip_list(&rest, &one) && !sip_list(&rest, &one) && !sip_next(m, HDR_VIA, top);
}

static void reply_in(struct sip *s, const struct sip_msg *m, const struct flow *from, int64_t now_ms)
{
	struct sip_tx *tx = is_ours(m) ? sip_tx_find_client(s, m) : NULL;
	int event = m->status < 200 ? EV_1XX : m->status < 300 ? EV_2XX : EV_ERROR;

	sip_trace_in(s, m, from, tx ? tx->owner : 0);
	if (tx)
		(void)!fsm_post(&tx->fsm, event, m, now_ms);
}

void sip_input(struct sip *s, const struct flow *from, struct str bytes, int64_t now_ms)
{
	struct sip_msg m;
	int err;

	s->now_ms = now_ms;
	if (!str_trim(bytes).n) { /* keepalive; RFC 5626 section 4.4.1 */
		if (from->kind == FLOW_TCP && bytes.n == 4)
			(void)!s->o.wire->send(s->o.wire->arg, from, "\r\n", 2);
		return;
	}
	count_add(COUNT_SIP_IN, 1);
	err = sip_parse(bytes, &m);
	if (!m.is_request) {
		if (err)
			count_add(COUNT_SIP_BAD, 1);
		else
			reply_in(s, &m, from, now_ms);
		return;
	}
	s->in_msg = &m;
	s->in_from = from;
	s->in_tx = NULL;
	request_in(s, &m, err, from, now_ms);
	sip_trace_pending(s);
}

void sip_flow_gone(struct sip *s, const struct flow *f, int64_t now_ms)
{
	struct sip_tx *tx;
	uint32_t at = 0;
	handle h;

	s->now_ms = now_ms;
	if (f->kind != FLOW_TCP || !f->conn)
		return;
	while ((tx = table_each(s->txs, &at, &h))) {
		if (tx->to.kind != FLOW_TCP || tx->to.conn != f->conn || !link_alone(&tx->bin))
			continue;
		if (sip_tx_is_server(tx))
			sip_tx_reopen(tx);
		else if (tx->fsm.type->states[tx->fsm.state].accepts & BIT(EV_TRANSPORT))
			(void)!fsm_post(&tx->fsm, EV_TRANSPORT, NULL, now_ms);
	}
}
