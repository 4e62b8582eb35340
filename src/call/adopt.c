/* SPDX-License-Identifier: Apache-2.0
 *
 * adopt: the way back after a restart (house.md: the record before the wire). Every record of the slab is read; calls, dialogs, transactions and streams are made from it; then
 * each call is told to go on. What was told to a peer and is not acknowledged yet is told again; what the peer was not told is as if it had not happened.
 */
#include "call/call_int.h"

/* A pair of records that belong together; false = half a birth or half a burial: neither was told to anybody. */
static bool read_pair(struct calls *cs, uint32_t slot, struct call_record *cr, struct leg_record *lr)
{
	struct slab *s = cs->o.slab;

	if (slab_read_call(s, slot, cr) || cr->state == CALL_FREE)
		return false;
	if (!slab_read_leg(s, cr->leg, lr) && lr->state != LEG_FREE && lr->call == slot && !lr->uac)
		return true;
	cr->state = CALL_FREE;
	slab_write_call(s, slot, cr);
	return false;
}

static void keep_texts(struct slab *s, const struct call_record *c, const struct leg_record *l)
{
	const struct text t[] = {c->number,      c->app.doc,       c->app.doc_type,   c->app.base_url,  c->app.req_url, c->app.req_form,
				 c->app.cookies, c->app.error_url, c->app.number_key, c->app.callbacks, l->invite,      l->answer,
				 l->offer_in,    l->sdp_local,     l->sdp_remote,     l->target};

	for (size_t i = 0; i < N_ELEMENTS(t); i++)
		slab_keep(s, t[i]);
}

/* Objects from records; no packet, no mail. NULL = the text does not parse any more (cannot be: it did once). */
static struct leg *rebuild(struct calls *cs, uint32_t slot, const struct call_record *cr, const struct leg_record *lr)
{
	struct sip_msg m;
	struct call *c = call_new(cs, cr->dir, handle_of(slot, cr->gen));

	if (!c)
		return NULL;
	c->r = *cr;
	sid_print("CA", c->r.sid, c->sid);
	struct leg *l = leg_new(c, handle_of(cr->leg, lr->gen));
	ASSERT(l);
	l->r = *lr;
	fsm_init(&l->fsm, &leg_fsm_type, lr->state);
	leg_tag(l);
	if (sip_parse(slab_str(cs->o.slab, lr->invite), &m) || sip_dlg_from_invite(&l->dlg, &m, str_z(l->tag), &lr->flow) || facts_make(c, &m, &lr->flow)) {
		log_line(LOG_ERROR, "%s: its INVITE cannot be read again; the call is given up", c->sid);
		call_free(c);
		return NULL;
	}
	if (lr->target.n)
		l->dlg.target = slab_str(cs->o.slab, lr->target);
	l->dlg.local_cseq = lr->local_cseq;
	l->dlg.remote_cseq = lr->remote_cseq;
	return l;
}

struct fetching {
	int (*fetch)(void *arg, uint8_t pool, const uint16_t *ports, int n, int *rtp_fds, int *rtcp_fds);
	void *arg;
};

#define FETCH_MAX 126 /* pairs a message of the keeper carries */

static void fetch_batch(const struct fetching *f, struct leg **legs, int n, uint8_t pool)
{
	uint16_t ports[FETCH_MAX];
	int rtp[FETCH_MAX], rtcp[FETCH_MAX];

	for (int i = 0; i < n; i++)
		ports[i] = legs[i]->r.rtp_port;
	if (n == 0 || f->fetch(f->arg, pool, ports, n, rtp, rtcp))
		return;
	for (int i = 0; i < n; i++) {
		legs[i]->rtp_fd = rtp[i];
		legs[i]->rtcp_fd = rtcp[i];
	}
}

/* Sockets of the living, pool by pool. */
static void fetch_sockets(struct calls *cs, const struct fetching *f)
{
	struct leg *batch[FETCH_MAX], *l;
	handle h;

	for (int pool = 0; pool < cs->o.n_pools; pool++) {
		int n = 0;
		for (uint32_t at = 0; (l = table_each(cs->legs, &at, &h));) {
			if (l->r.rtp_pool != pool || l->r.rtp_port == 0 || l->fsm.state == LEG_GONE)
				continue;
			batch[n++] = l;
			if (n == FETCH_MAX) {
				fetch_batch(f, batch, n, (uint8_t)pool);
				n = 0;
			}
		}
		fetch_batch(f, batch, n, (uint8_t)pool);
	}
}

/* Requests in flight, both ways. */
static void adopt_transactions(struct leg *l)
{
	struct calls *cs = l->call->all;

	if (l->r.invite_open) {
		struct text t = l->r.offer_in.n ? l->r.offer_in : l->r.invite;
		l->invite = sip_tx_adopt(cs->o.sip, slab_str(cs->o.slab, t), &l->r.flow, l->h, cs->now_ms);
		if (l->invite && l->r.invite_status >= 200)
			door_repeat(l, l->invite, cs->now_ms);
	}
	if (!l->r.req_open)
		return;
	struct sip_request r = {.method = l->r.req_method, .dlg = &l->dlg, .cseq = l->r.req_cseq, .rnd = l->r.req_branch, .owner = l->h};
	sip_dlg_flow(&l->dlg, &l->dlg.flow);
	if (l->r.req_method == SIP_INVITE) {
		r.contact_user = leg_contact(l);
		r.content_type = STR("application/sdp");
		r.body = slab_str(cs->o.slab, l->r.sdp_local);
	}
	if (!sip_request(cs->o.sip, &r, cs->now_ms))
		leg_post(l, LE_REPLY, &(struct leg_in){.why = SIP_WHY_TRANSPORT});
}

static bool is_talking(const struct leg *l)
{
	return l->fsm.state == LEG_ANSWERED || l->fsm.state == LEG_HANGING || l->fsm.state == LEG_UP;
}

static void go_on(struct leg *l)
{
	struct call *c = l->call;
	struct calls *cs = c->all;

	base_enter(c->sid);
	call_note(c, TRACE_NOTE, (uint32_t)slab_head(cs->o.slab)->restarts, STR("taken over by a new worker"));
	if (is_talking(l)) {
		stream_open(l, true);
		stream_typed(l);
	}
	adopt_transactions(l);
	leg_arm(l);
	if (c->r.state == CALL_OVER)
		c->r.state = CALL_ENDING; /* over, but the store has not said that it has the row: it is told again, and keeps one */
	if (l->fsm.state == LEG_GONE)
		stream_closed(l);
	else if (c->r.state < CALL_ENDING)
		call_tell(c, &(struct call_event){.kind = CALL_EV_ADOPTED});
	base_enter("");
}

int calls_adopt(struct calls *cs, int (*fetch)(void *, uint8_t, const uint16_t *, int, int *, int *), void *arg, int64_t now_ms)
{
	struct slab *s = cs->o.slab;
	struct call_record cr;
	struct leg_record lr;
	handle h;
	struct leg *l;
	int n = 0;

	cs->now_ms = now_ms;
	for (uint32_t slot = 0; slot < slab_head(s)->n_calls; slot++) {
		if (!read_pair(cs, slot, &cr, &lr))
			continue;
		keep_texts(s, &cr, &lr);
		n += rebuild(cs, slot, &cr, &lr) != NULL;
	}
	for (uint32_t slot = 0; slot < slab_head(s)->n_legs; slot++)
		if (!slab_read_leg(s, slot, &lr) && lr.state != LEG_FREE && !leg_get(cs, handle_of(slot, lr.gen))) {
			lr.state = LEG_FREE; /* half a birth: its call was never written */
			slab_write_leg(s, slot, &lr);
		}
	slab_sweep(s);
	fetch_sockets(cs, &(struct fetching){fetch, arg});
	for (uint32_t at = 0; (l = table_each(cs->legs, &at, &h));)
		go_on(l);
	count_add(COUNT_ADOPTED, (uint64_t)n);
	return n;
}
