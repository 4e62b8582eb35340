/* SPDX-License-Identifier: Apache-2.0
 *
 * leg: a SIP leg as a state table (RFC 3261 sections 13, 15; 3264). One function a state: everything that can happen while ringing is on one screen. Each function commits
 * the leg's record before it sends (house rule 1). Sig thread.
 *
 *   inbound:   new ── ring ─► ringing ── answer ─► answered ── ACK ─► up ── hang up ─► leaving ── reply ─► gone
 *   outbound:  new ── 1xx ──► ringing ──── 2xx (ACK sent at once) ──► up
 *   hanging:   we want to hang up but our 200 has no ACK yet (RFC 3261 section 15: no BYE before it)
 */
#include "call/call_int.h"

#define ACK_WAIT_MS   32000 /* 64*T1 */
#define RING_AGAIN_MS 60000
#define LATCH_MS      10000 /* how long the latch stays open after the ACK and at a re-INVITE */

static struct calls *all_of(struct leg *l)
{
	return l->call->all;
}
static int64_t now_of(struct leg *l)
{
	return l->call->all->now_ms;
}
struct leg *leg_get(struct calls *cs, handle h)
{
	return table_get(cs->legs, h);
}

static void timer_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct leg *l = arg;

	all_of(l)->now_ms = now_ms;
	base_enter(l->call->sid);
	leg_post(l, LE_TIMER, NULL);
	base_enter("");
}

struct leg *leg_new(struct call *c, handle at)
{
	handle h = at;
	struct leg *l = at ? table_add_at(c->all->legs, at) : table_add(c->all->legs, &h);

	if (!l)
		return NULL;
	l->h = h;
	l->call = c;
	l->ops = &leg_sip_ops;
	l->rtp_fd = l->rtcp_fd = -1;
	l->r.gen = handle_gen(h);
	l->r.state = LEG_NEW;
	l->r.kind = LEG_SIP;
	l->r.call = handle_slot(c->h);
	l->r.rnd = rand_u32();
	l->r.ssrc = rand_u32();
	l->r.media_thread = (uint8_t)(handle_slot(h) % (uint32_t)c->all->o.n_media);
	l->heard_sip_ms = c->all->now_ms;
	timer_init(&l->timer, timer_due, l);
	fsm_init(&l->fsm, &leg_fsm_type, LEG_NEW);
	c->leg = l;
	c->r.leg = handle_slot(h);
	return l;
}

void leg_free(struct leg *l)
{
	struct slab *s = all_of(l)->o.slab;
	struct text *t[] = {&l->r.invite, &l->r.answer, &l->r.offer_in, &l->r.sdp_local, &l->r.sdp_remote, &l->r.target};

	timer_stop(&l->timer);
	if (l->invite)
		sip_tx_set_owner(l->invite, 0);
	l->r.state = LEG_FREE;
	slab_write_leg(s, handle_slot(l->h), &l->r);
	slab_lines(s)[handle_slot(l->h)].gen = 0;
	for (size_t i = 0; i < N_ELEMENTS(t); i++)
		slab_drop(s, *t[i]);
	arena_free(l->arena);
	table_drop(all_of(l)->legs, l->h);
}

void leg_commit(struct leg *l)
{
	l->r.state = (uint8_t)l->fsm.state;
	l->r.local_cseq = l->dlg.local_cseq;
	l->r.remote_cseq = l->dlg.remote_cseq;
	slab_write_leg(all_of(l)->o.slab, handle_slot(l->h), &l->r);
}

static void leg_go(struct leg *l, enum leg_state s)
{
	char buf[64];
	struct out o = OUT(buf);

	out_f(&o, "leg: %s, %s", fsm_name(&l->fsm), leg_fsm_type.states[s].name);
	fsm_go(&l->fsm, s, now_of(l));
	call_note(l->call, TRACE_STATE, s, out_view(&o));
}

int leg_post(struct leg *l, enum leg_event e, const void *data)
{
	int err = fsm_post(&l->fsm, e, data, now_of(l));

	if (err && e != LE_TIMER) {
		char buf[96];
		struct out o = OUT(buf);
		out_f(&o, "leg: %s, %s, refused", fsm_name(&l->fsm), leg_fsm_type.event_names[e]);
		call_note(l->call, TRACE_NOTE, 0, out_view(&o));
	}
	return err;
}

/* Next deadline of the record. */
void leg_arm(struct leg *l)
{
	int64_t d[] = {l->r.ring_at_ms, l->r.quiet_at_ms, l->r.max_at_ms};
	int64_t at = 0;

	for (size_t i = 0; i < N_ELEMENTS(d); i++)
		if (d[i] && (!at || d[i] < at))
			at = d[i];
	if (at)
		timer_set(all_of(l)->o.wheel, &l->timer, MAX(at, now_of(l) + 1));
	else
		timer_stop(&l->timer);
}

void leg_tag(struct leg *l)
{
	struct sip_id id = {.h = l->h, .rnd = l->r.rnd, .node = (uint8_t)slab_head(all_of(l)->o.slab)->node};
	struct out o = OUT(l->tag);

	sip_id_print(slab_head(all_of(l)->o.slab)->key, SIP_ID_TAG, &id, &o);
	out_z(&o);
}

/* Contact user: the number that was dialled, as the peer wrote it, so that its later requests read like its first. */
struct str leg_contact(struct leg *l)
{
	struct sip_msg m;
	struct sip_uri u;

	if (l->r.uac)
		return STR("hookswitch");
	if (!sip_parse(slab_str(all_of(l)->o.slab, l->r.invite), &m) && !sip_uri_parse(m.uri, &u) && u.user.n)
		return u.user;
	return STR("hookswitch");
}

/* ---- what is sent. Each commits first. ---- */

static void reply(struct leg *l, struct sip_tx *tx, int status, struct str headers, bool with_sdp)
{
	struct sip_reply r = {.status = status, .to_tag = str_z(l->tag), .headers = headers};

	if (status < 300)
		r.contact_user = leg_contact(l);
	if (with_sdp) {
		r.content_type = STR("application/sdp");
		r.body = slab_str(all_of(l)->o.slab, l->r.sdp_local);
	}
	sip_tx_reply(tx, &r, now_of(l));
}

static void gone(struct leg *l)
{
	l->r.ring_at_ms = l->r.quiet_at_ms = l->r.max_at_ms = 0;
	l->r.req_open = 0;
	leg_go(l, LEG_GONE);
	leg_arm(l);
}

static void up(struct leg *l)
{
	struct calls *cs = all_of(l);

	l->r.ring_at_ms = 0;
	l->r.quiet_at_ms = now_of(l) + (int64_t)cs->o.params->quiet_s * 1000;
	l->r.max_at_ms = now_of(l) + (int64_t)cs->o.params->max_call_s * 1000;
}

static void ending(struct leg *l, int status)
{
	struct call *c = l->call;

	if (!c->r.status)
		c->r.status = (uint16_t)status;
	if (!c->r.ended_ms) {
		c->r.ended_ms = clock_utc_ms();
		c->r.ended_boot_ms = now_of(l);
	}
	call_state(c, CALL_ENDING);
	call_commit(c);
}

static void send_ring(struct leg *l)
{
	l->r.invite_status = 180;
	l->r.ring_at_ms = now_of(l) + RING_AGAIN_MS;
	leg_commit(l);
	leg_arm(l);
	reply(l, l->invite, 180, STR_NONE, false);
}

static int send_answer(struct leg *l)
{
	struct call *c = l->call;
	struct sip_msg m;
	struct sdp offer;

	if (sip_parse(slab_str(all_of(l)->o.slab, l->r.invite), &m))
		return -EBADMSG;
	int err = talk_check_offer(&m, &offer);
	if (!err)
		err = offer.n_media ? talk_answer(l, &offer) : talk_offer(l);
	if (err)
		return -EBADMSG;
	/* nothing fails below */
	leg_go(l, LEG_ANSWERED);
	up(l);
	l->r.invite_status = 200;
	l->r.ack_deadline_ms = now_of(l) + ACK_WAIT_MS;
	c->r.answered_ms = clock_utc_ms();
	c->r.answered_boot_ms = now_of(l);
	c->r.status = 200;
	call_state(c, CALL_UP);
	leg_commit(l);
	call_commit(c);
	leg_arm(l);
	stream_open(l, false);
	stream_start(l, l->r.ack_deadline_ms + LATCH_MS);
	reply(l, l->invite, 200, STR_NONE, true);
	call_tell(c, &(struct call_event){.kind = CALL_EV_ANSWERED});
	return 0;
}

static void send_final(struct leg *l, int status, struct str headers)
{
	l->r.invite_status = (uint16_t)status;
	gone(l);
	leg_commit(l);
	ending(l, status);
	if (l->invite)
		reply(l, l->invite, status, headers, false);
	stream_close(l);
}

static void send_bye(struct leg *l, const char *reason)
{
	char buf[160];
	struct out o = OUT(buf);

	l->dlg.local_cseq++;
	l->r.req_method = SIP_BYE;
	l->r.req_cseq = l->dlg.local_cseq;
	l->r.req_branch = rand_u32();
	l->r.req_open = 1;
	l->r.req_deadline_ms = now_of(l) + ACK_WAIT_MS;
	l->r.quiet_at_ms = l->r.max_at_ms = 0;
	leg_go(l, LEG_LEAVING);
	leg_commit(l);
	leg_arm(l);
	ending(l, l->call->r.status);
	stream_close(l);
	if (reason)
		out_f(&o, "Reason: SIP;cause=%d;text=\"%s\"\r\n", all_of(l)->draining ? 503 : 200, reason);
	sip_dlg_flow(&l->dlg, &l->dlg.flow);
	if (!sip_request(
		all_of(l)->o.sip,
		&(struct sip_request){.method = SIP_BYE, .dlg = &l->dlg, .cseq = l->r.req_cseq, .rnd = l->r.req_branch, .owner = l->h, .headers = out_view(&o)},
		now_of(l))) {
		gone(l); /* nobody can be told; our side is over all the same */
		leg_commit(l);
		if (!l->stream)
			call_over(l->call);
	}
}

/* Is the peer still there? A re-INVITE with the session as it is: an answer of any kind but 408 and 481 says yes (RFC 4028 has the same idea). */
static void send_probe(struct leg *l)
{
	l->dlg.local_cseq++;
	l->r.req_method = SIP_INVITE;
	l->r.req_cseq = l->dlg.local_cseq;
	l->r.req_branch = rand_u32();
	l->r.req_open = 1;
	l->r.probing = 1;
	l->r.quiet_at_ms = 0;
	leg_commit(l);
	leg_arm(l);
	call_note(l->call, TRACE_NOTE, 0, STR("nothing heard: asking whether the other side is still there"));
	sip_dlg_flow(&l->dlg, &l->dlg.flow);
	struct sip_request r = {.method = SIP_INVITE,
				.dlg = &l->dlg,
				.cseq = l->r.req_cseq,
				.rnd = l->r.req_branch,
				.owner = l->h,
				.contact_user = leg_contact(l),
				.content_type = STR("application/sdp"),
				.body = slab_str(all_of(l)->o.slab, l->r.sdp_local)};
	if (sip_request(all_of(l)->o.sip, &r, now_of(l)))
		return;
	l->r.req_open = l->r.probing = 0; /* it could not leave: asked again in a while */
	l->r.quiet_at_ms = now_of(l) + (int64_t)all_of(l)->o.params->quiet_s * 1000;
	leg_commit(l);
	leg_arm(l);
}

static void send_ack(struct leg *l, uint32_t cseq)
{
	sip_dlg_flow(&l->dlg, &l->dlg.flow);
	sip_ack(all_of(l)->o.sip, &(struct sip_request){.dlg = &l->dlg, .cseq = cseq, .rnd = l->r.req_branch, .owner = l->h}, now_of(l));
}

static void take_bye(struct leg *l, const struct leg_in *in)
{
	l->dlg.remote_cseq = in->m->cseq;
	l->r.done_cseq = in->m->cseq;
	l->r.done_method = SIP_BYE;
	l->r.done_status = 200;
	l->call->r.hangup_by = PARTY_CALLER;
	gone(l);
	leg_commit(l);
	ending(l, 200);
	reply(l, in->tx, 200, STR_NONE, false);
	stream_close(l);
}

static void take_reinvite(struct leg *l, const struct leg_in *in)
{
	struct slab *s = all_of(l)->o.slab;
	struct sdp offer;
	struct text t;
	int status = talk_check_offer(in->m, &offer);

	if (!status && l->r.req_open && l->r.req_method == SIP_INVITE)
		status = 491; /* RFC 3261 14.2: our own re-INVITE is open */
	if (!status && slab_text(s, in->m->raw, &t))
		status = 503;
	if (!status) {
		status = offer.n_media ? talk_answer(l, &offer) : talk_offer(l) ? 503 : 0;
		if (status)
			slab_drop(s, t);
	}
	l->dlg.remote_cseq = in->m->cseq;
	if (status) {
		leg_commit(l);
		reply(l, in->tx, status, STR_NONE, false);
		return;
	}
	/* nothing fails below */
	slab_drop(s, l->r.offer_in);
	l->r.offer_in = t;
	l->r.invite_cseq = in->m->cseq;
	l->r.invite_status = 200;
	l->r.invite_open = 1;
	l->r.ack_deadline_ms = now_of(l) + ACK_WAIT_MS;
	l->r.flow = *in->from;
	l->dlg.flow = *in->from;
	struct sip_name_addr na;
	struct str contact = sip_get(in->m, HDR_CONTACT);
	if (contact.n && !sip_name_addr_parse(contact, &na) && !slab_text(s, na.uri, &t)) { /* target refresh, RFC 3261 12.2.2 */
		slab_drop(s, l->r.target);
		l->r.target = t;
		l->dlg.target = slab_str(s, t);
	}
	leg_commit(l);
	l->invite = in->tx;
	sip_tx_set_owner(in->tx, l->h);
	if (!l->r.offered)
		stream_remote(l, true, now_of(l) + LATCH_MS);
	reply(l, in->tx, 200, STR_NONE, true);
}

static void take_ack(struct leg *l, const struct leg_in *in)
{
	if (in->m->cseq != l->r.invite_cseq)
		return;
	if (l->r.offered && (!in->m->body.n || talk_agree(l, in->m->body))) {
		call_note(l->call, TRACE_ERROR, 0, STR("the ACK brings no answer to our offer"));
		l->r.offered = 0;
	} else if (l->r.media_peer.family || l->r.dir) {
		stream_remote(l, false, now_of(l) + LATCH_MS);
	}
	l->r.invite_open = 0;
	if (l->invite)
		sip_tx_acked(l->invite, now_of(l));
}

/* Deadlines while the leg is up. Returns true if the leg is being ended. */
static bool check_deadlines(struct leg *l)
{
	struct calls *cs = all_of(l);
	int64_t now = now_of(l), quiet = (int64_t)cs->o.params->quiet_s * 1000;

	if (l->r.max_at_ms && now >= l->r.max_at_ms) {
		l->call->r.hangup_by = PARTY_SYSTEM;
		send_bye(l, "the longest time a call may take is over");
		return true;
	}
	if (l->r.quiet_at_ms && now >= l->r.quiet_at_ms) {
		int64_t heard = MAX(slab_lines(cs->o.slab)[handle_slot(l->h)].heard_ms, l->heard_sip_ms);
		if (now - heard >= quiet) {
			send_probe(l);
			return false;
		}
		l->r.quiet_at_ms = heard + quiet;
		leg_commit(l);
	}
	return false;
}

/* ---- the states ---- */

static struct leg *leg_of(struct fsm *f)
{
	return container_of(f, struct leg, fsm);
}

static void outbound_reply(struct leg *l, const struct leg_in *in)
{
	struct call *c = l->call;
	int status = in->m ? in->m->status : 408;

	if (status < 200) {
		if (l->fsm.state == LEG_NEW && status > 100) {
			leg_go(l, LEG_RINGING);
			leg_commit(l);
		}
		call_tell(c, &(struct call_event){.kind = CALL_EV_PROGRESS, .status = status});
		return;
	}
	if (status >= 300) {
		l->invite = NULL;
		l->r.invite_open = 0;
		gone(l);
		leg_commit(l);
		c->r.hangup_by = c->r.hangup_by ? c->r.hangup_by : PARTY_CALLER;
		ending(l, in->m ? status : 0);
		stream_close(l);
		return;
	}
	if (sip_dlg_from_reply(&l->dlg, in->m) || slab_text(all_of(l)->o.slab, in->m->raw, &l->r.answer))
		return;
	/* the dialog's views go over to the copy that stays */
	struct sip_msg kept;
	if (sip_parse(slab_str(all_of(l)->o.slab, l->r.answer), &kept) || sip_dlg_from_reply(&l->dlg, &kept))
		return;
	bool talks = !talk_agree(l, kept.body);
	l->invite = NULL; /* the transaction goes its own way (timer M); repeated 2xx come by owner */
	leg_go(l, LEG_UP);
	up(l);
	l->r.invite_status = (uint16_t)status;
	l->r.invite_open = 0;
	c->r.status = (uint16_t)status;
	c->r.answered_ms = clock_utc_ms();
	c->r.answered_boot_ms = now_of(l);
	call_state(c, CALL_UP);
	leg_commit(l);
	call_commit(c);
	leg_arm(l);
	send_ack(l, l->r.invite_cseq);
	if (!talks) {
		call_hangup(c, PARTY_SYSTEM, "no common codec");
		return;
	}
	stream_remote(l, false, now_of(l) + LATCH_MS);
	stream_start(l, now_of(l) + LATCH_MS);
	call_tell(c, &(struct call_event){.kind = CALL_EV_ANSWERED});
}

static void state_new(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct leg *l = leg_of(f);

	switch (event) {
	case LE_RING:
		if (l->fsm.state == LEG_NEW) {
			leg_go(l, LEG_RINGING);
			send_ring(l);
		}
		break;
	case LE_TIMER: /* ringing: the caller's patience, RFC 3261 13.3.1.1 */
		if (!l->r.uac && l->r.ring_at_ms)
			send_ring(l);
		break;
	case LE_ANSWER:
		if (send_answer(l))
			send_final(l, 488, STR_NONE);
		break;
	case LE_REJECT:
		send_final(l, *(const int *)data, STR_NONE);
		break;
	case LE_HANGUP:
		if (!l->r.uac) {
			send_final(l, 480, STR_NONE);
		} else if (l->invite) {
			sip_cancel(l->invite, now_ms);
		}
		break;
	case LE_CANCEL:
		l->call->r.hangup_by = PARTY_CALLER;
		send_final(l, 487, STR_NONE);
		break;
	case LE_BYE: /* an early dialog may be ended by BYE as well (RFC 3261 15.1.2) */
		l->call->r.hangup_by = PARTY_CALLER;
		reply(l, ((const struct leg_in *)data)->tx, 200, STR_NONE, false);
		send_final(l, 487, STR_NONE);
		break;
	case LE_NO_ACK: /* the INVITE's transaction ended under us (transport): nobody to answer */
		send_final(l, 408, STR_NONE);
		break;
	case LE_REPLY:
		outbound_reply(l, data);
		break;
	default:
		break;
	}
}

/* 200 is out, its ACK is not here. ANSWERED and HANGING differ in what the ACK leads to. */
static void state_answered(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct leg *l = leg_of(f);
	bool hanging = l->fsm.state == LEG_HANGING;

	switch (event) {
	case LE_ACK:
		take_ack(l, data);
		if (l->r.invite_open)
			break;
		if (hanging) {
			send_bye(l, NULL);
		} else {
			leg_go(l, LEG_UP);
			leg_commit(l);
		}
		break;
	case LE_NO_ACK: /* RFC 3261 13.3.1.4: the session ends by BYE */
		l->r.invite_open = 0;
		l->call->r.hangup_by = PARTY_SYSTEM;
		send_bye(l, "no ACK");
		break;
	case LE_BYE:
		take_bye(l, data);
		break;
	case LE_HANGUP:
		if (!hanging) {
			leg_go(l, LEG_HANGING);
			leg_commit(l);
		}
		break;
	case LE_TIMER:
		check_deadlines(l);
		leg_arm(l);
		break;
	default:
		break;
	}
}

static void probe_reply(struct leg *l, const struct leg_in *in)
{
	int status = in->m ? in->m->status : 408;

	if (status < 200)
		return;
	if (status < 300)
		send_ack(l, in->m->cseq); /* each 2xx, repeated ones too */
	if (!l->r.req_open || !l->r.probing)
		return;
	l->r.req_open = l->r.probing = 0;
	if (status == 408 || status == 481) {
		l->call->r.hangup_by = PARTY_SYSTEM;
		send_bye(l, "nothing heard for too long");
		return;
	}
	l->heard_sip_ms = now_of(l);
	l->r.quiet_at_ms = now_of(l) + (int64_t)all_of(l)->o.params->quiet_s * 1000;
	leg_commit(l);
	leg_arm(l);
}

static void state_up(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct leg *l = leg_of(f);

	switch (event) {
	case LE_ACK: /* of a re-INVITE; or a repeated one */
		take_ack(l, data);
		leg_commit(l);
		break;
	case LE_NO_ACK: /* our 200 to a re-INVITE: the old session cannot be trusted (RFC 3261 14.2) */
		l->r.invite_open = 0;
		l->call->r.hangup_by = PARTY_SYSTEM;
		send_bye(l, "no ACK");
		break;
	case LE_REINVITE:
		take_reinvite(l, data);
		break;
	case LE_BYE:
		take_bye(l, data);
		break;
	case LE_HANGUP:
		send_bye(l, ((const struct leg_hangup *)data)->reason);
		break;
	case LE_REPLY:
		if (l->r.uac && !l->r.probing) { /* a repeated 200 to our INVITE: its ACK was lost */
			const struct leg_in *in = data;
			if (in->m && in->m->status / 100 == 2)
				send_ack(l, in->m->cseq);
			break;
		}
		probe_reply(l, data);
		break;
	case LE_TIMER:
		if (!check_deadlines(l))
			leg_arm(l);
		break;
	default:
		break;
	}
}

static void state_leaving(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct leg *l = leg_of(f);
	const struct leg_in *in = data;

	switch (event) {
	case LE_REPLY:
		if (in->m && in->m->status < 200)
			break;
		if (in->m && in->m->cseq_method == SIP_INVITE) { /* a late answer to the probe */
			if (in->m->status < 300)
				send_ack(l, in->m->cseq);
			break;
		}
		gone(l);
		leg_commit(l);
		if (!l->stream)
			call_over(l->call);
		break;
	case LE_BYE: /* both hung up at once */
		l->dlg.remote_cseq = in->m->cseq;
		l->r.done_cseq = in->m->cseq;
		l->r.done_method = SIP_BYE;
		l->r.done_status = 200;
		leg_commit(l);
		reply(l, in->tx, 200, STR_NONE, false);
		break;
	default:
		break;
	}
}

static void state_gone(struct fsm *f, int event, const void *data, int64_t now_ms) {}

static const char *const event_names[LE_N] = {"ring", "answer", "reject", "hang up", "ACK", "no ACK", "BYE", "CANCEL", "re-INVITE", "reply", "timer"};

static const struct fsm_state states[LEG_N_STATES] = {
    [LEG_FREE] = {.name = "free", .event = state_gone},
    [LEG_NEW] = {.name = "new",
		 .event = state_new,
		 .accepts = BIT(LE_RING) | BIT(LE_ANSWER) | BIT(LE_REJECT) | BIT(LE_HANGUP) | BIT(LE_CANCEL) | BIT(LE_BYE) | BIT(LE_NO_ACK) | BIT(LE_REPLY) |
			    BIT(LE_TIMER),
		 .goes_to = BIT(LEG_RINGING) | BIT(LEG_ANSWERED) | BIT(LEG_UP) | BIT(LEG_GONE)},
    [LEG_RINGING] = {.name = "ringing",
		     .event = state_new,
		     .accepts = BIT(LE_RING) | BIT(LE_ANSWER) | BIT(LE_REJECT) | BIT(LE_HANGUP) | BIT(LE_CANCEL) | BIT(LE_BYE) | BIT(LE_NO_ACK) |
				BIT(LE_REPLY) | BIT(LE_TIMER),
		     .goes_to = BIT(LEG_ANSWERED) | BIT(LEG_UP) | BIT(LEG_GONE)},
    [LEG_ANSWERED] = {.name = "answered",
		      .event = state_answered,
		      .accepts = BIT(LE_ACK) | BIT(LE_NO_ACK) | BIT(LE_BYE) | BIT(LE_HANGUP) | BIT(LE_TIMER),
		      .goes_to = BIT(LEG_UP) | BIT(LEG_HANGING) | BIT(LEG_LEAVING) | BIT(LEG_GONE)},
    [LEG_HANGING] = {.name = "hanging",
		     .event = state_answered,
		     .accepts = BIT(LE_ACK) | BIT(LE_NO_ACK) | BIT(LE_BYE) | BIT(LE_HANGUP) | BIT(LE_TIMER),
		     .goes_to = BIT(LEG_LEAVING) | BIT(LEG_GONE)},
    [LEG_UP] = {.name = "up",
		.event = state_up,
		.accepts = BIT(LE_ACK) | BIT(LE_NO_ACK) | BIT(LE_REINVITE) | BIT(LE_BYE) | BIT(LE_HANGUP) | BIT(LE_REPLY) | BIT(LE_TIMER),
		.goes_to = BIT(LEG_LEAVING) | BIT(LEG_GONE)},
    [LEG_LEAVING] = {.name = "leaving",
		     .event = state_leaving,
		     .accepts = BIT(LE_REPLY) | BIT(LE_BYE) | BIT(LE_ACK) | BIT(LE_NO_ACK) | BIT(LE_TIMER),
		     .goes_to = BIT(LEG_GONE)},
    [LEG_GONE] = {.name = "gone", .event = state_gone, .accepts = BIT(LE_ACK) | BIT(LE_NO_ACK) | BIT(LE_REPLY) | BIT(LE_TIMER)},
};
_Static_assert(LEG_N_STATES <= 32 && LE_N <= 32, "masks are 32 bits");
const struct fsm_type leg_fsm_type = {.name = "leg", .states = states, .n_states = LEG_N_STATES, .event_names = event_names, .n_events = LE_N};

/* ---- orders ---- */

static int sip_ring(struct leg *l)
{
	return leg_post(l, LE_RING, NULL);
}
static int sip_leg_answer(struct leg *l)
{
	return leg_post(l, LE_ANSWER, NULL);
}
static int sip_leg_reject(struct leg *l, int status)
{
	return leg_post(l, LE_REJECT, &status);
}
static void sip_hangup(struct leg *l, const char *reason)
{
	leg_post(l, LE_HANGUP, &(struct leg_hangup){reason});
}

const struct leg_ops leg_sip_ops = {.ring = sip_ring, .answer = sip_leg_answer, .reject = sip_leg_reject, .hangup = sip_hangup};
