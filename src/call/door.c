/* SPDX-License-Identifier: Apache-2.0
 *
 * door: what sip tells call: new INVITEs become calls, requests in a dialog find their leg by the id in the To tag, replies and the ends of transactions go to the leg's
 * state table. RFC 3261 sections 8.2 (what is refused and how), 12.2.2 (CSeq order), 14.2 (re-INVITE). A request that was executed before a restart is answered from
 * the record. Sig thread.
 */
#include <sys/socket.h>

#include "call/call_int.h"

#define ALLOW STR("Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO\r\n")

static void refuse(struct calls *cs, struct sip_tx *tx, int status, struct str headers)
{
	char tag[SIP_ID_LEN + 1];
	struct out o = OUT(tag);
	struct sip_id id = {.h = 0, .rnd = rand_u32()};

	sip_id_print(slab_head(cs->o.slab)->key, SIP_ID_TAG, &id, &o);
	sip_tx_reply(tx, &(struct sip_reply){.status = status, .to_tag = out_view(&o), .headers = headers}, cs->now_ms);
}

/* ---- a new INVITE ---- */

/* What stands between an INVITE and a call; 0 = nothing. RFC 3261 8.2.2.3, 8.2.3. */
static int check_invite(struct calls *cs, const struct sip_msg *m, char *number, size_t cap, size_t *ret_n)
{
	struct sip_uri u;
	struct sdp offer;

	if (sip_get(m, HDR_REQUIRE).n)
		return 420;
	if (sip_get(m, HDR_CONTENT_ENCODING).n && m->body.n)
		return 415;
	int err = sip_uri_parse(m->uri, &u);
	if (err)
		return err == -EPROTONOSUPPORT ? 416 : 400;
	err = sip_user_decode(u.user, number, cap, ret_n);
	if (err)
		return err == -ENOSPC ? 414 : 400;
	int status = talk_check_offer(m, &offer);
	if (status)
		return status;
	if (offer.n_media) { /* is there anything in common? A trial answer says so before anything is promised */
		char buf[4096];
		struct out o = OUT(buf);
		struct sdp_agreed g;
		struct sdp_local l = {.rtp = {.family = AF_INET, .port = 4000, .ip = {127, 0, 0, 1}}};
		if (sdp_answer(&offer, &l, &o, &g))
			return 488;
	}
	return 0;
}

static void refuse_invite(struct calls *cs, struct sip_tx *tx, const struct sip_msg *m, int status)
{
	char buf[256];
	struct out o = OUT(buf);

	count_add(COUNT_CALLS_REFUSED, 1);
	if (status == 420) {
		OUT_STR(&o, "Unsupported: ");
		out_safe(&o, sip_get(m, HDR_REQUIRE));
		OUT_STR(&o, "\r\n");
	} else if (status == 415) {
		OUT_STR(&o, "Accept: application/sdp\r\n");
	} else if (status == 503) {
		OUT_STR(&o, "Retry-After: 5\r\n");
	}
	refuse(cs, tx, status, o.over ? STR_NONE : out_view(&o));
}

/* Room for one more: slots, mail, ports. */
static bool has_room(struct calls *cs)
{
	if (!cs->draining && calls_count(cs) < cs->o.params->max_calls && (!cs->o.out->room || cs->o.out->room(cs->o.out->arg)))
		return true;
	count_add(COUNT_LIMIT_HIT, 1);
	return false;
}

static bool fill(struct call *c, struct leg *l, const struct sip_msg *m, const struct flow *from, struct str number)
{
	struct slab *s = c->all->o.slab;
	struct sip_msg kept;

	l->r.flow = *from;
	l->r.invite_cseq = m->cseq;
	l->r.invite_open = 1;
	l->arena = NULL;
	if (slab_text(s, m->raw, &l->r.invite) || slab_text(s, number, &c->r.number))
		return false;
	leg_tag(l);
	if (sip_parse(slab_str(s, l->r.invite), &kept) || sip_dlg_from_invite(&l->dlg, &kept, str_z(l->tag), from))
		return false;
	if (facts_make(c, &kept, from))
		return false;
	if (!stream_take(l, &from->local))
		return true;
	if (c->all->now_ms - c->all->told_full_ms < 10000)
		return false;
	c->all->told_full_ms = c->all->now_ms;
	log_line(LOG_WARN, "a call is refused: no port for its sound is free just now; widen the range with --rtp if this comes often");
	return false;
}

static void new_invite(struct calls *cs, struct sip_tx *tx, const struct sip_msg *m, const struct flow *from)
{
	char number[256];
	size_t n = 0;
	int status = check_invite(cs, m, number, sizeof(number), &n);

	if (!status && !has_room(cs))
		status = 503;
	struct call *c = status ? NULL : call_new(cs, CALL_INBOUND, 0);
	if (!c) {
		refuse_invite(cs, tx, m, status ? status : 503);
		return;
	}
	struct leg *l = leg_new(c, 0);
	if (!l || !fill(c, l, m, from, str_n(number, n))) {
		refuse_invite(cs, tx, m, 503);
		call_free(c);
		return;
	}
	/* nothing fails below */
	l->invite = tx;
	sip_tx_set_owner(tx, l->h);
	leg_commit(l);
	call_commit(c);
	sip_tx_reply(tx, &(struct sip_reply){.status = 100}, cs->now_ms);
	if (cs->o.out->store) {
		struct call_facts f;
		call_facts(c, &f);
		cs->o.out->store(cs->o.out->arg, &c->r, &f, false);
	}
	call_tell(c, &(struct call_event){.kind = CALL_EV_NEW});
}

/* ---- in a dialog ---- */

/* The leg whose dialog this is; NULL = none of ours. RFC 3261 12.2.2. */
static struct leg *find_leg(struct calls *cs, const struct sip_msg *m)
{
	struct sip_id id;

	if (sip_id_parse(slab_head(cs->o.slab)->key, SIP_ID_TAG, m->to_tag, &id))
		return NULL;
	struct leg *l = leg_get(cs, id.h);
	if (!l || l->r.rnd != id.rnd || !str_eq(m->call_id, l->dlg.call_id) || !str_eq(m->from_tag, l->dlg.remote_tag))
		return NULL;
	return l;
}

static void answer_in_dialog(struct leg *l, struct sip_tx *tx, int status, struct str headers)
{
	sip_tx_reply(tx, &(struct sip_reply){.status = status, .to_tag = str_z(l->tag), .headers = headers}, l->call->all->now_ms);
}

/* The open INVITE's final status is said again, as it was. Used after adoption. */
int door_repeat(struct leg *l, struct sip_tx *tx, int64_t now_ms)
{
	struct sip_reply r = {.status = l->r.invite_status, .to_tag = str_z(l->tag)};

	if (r.status < 300) {
		r.contact_user = leg_contact(l);
		r.content_type = STR("application/sdp");
		r.body = slab_str(l->call->all->o.slab, l->r.sdp_local);
	}
	return sip_tx_reply(tx, &r, now_ms);
}

/* A digit by INFO: application/dtmf-relay (`Signal=5`, `Duration=160`) or application/dtmf (`5`). 0 = none. */
static char info_digit(const struct sip_msg *m, uint32_t *ret_ms)
{
	struct str rest, type = str_trim(str_cut(sip_get(m, HDR_CONTENT_TYPE), ';', &rest)), body = m->body, digit = STR_NONE;
	uint64_t ms = 0;

	if (str_ieq(type, STR("application/dtmf"))) {
		digit = str_trim(body);
	} else if (str_ieq(type, STR("application/dtmf-relay"))) {
		while (body.n) {
			struct str value, line = str_cut(body, '\n', &body), name = str_trim(str_cut(line, '=', &value));
			if (str_ieq(name, STR("Signal")))
				digit = str_trim(value);
			else if (str_ieq(name, STR("Duration")) && str_u64(str_trim(value), 60000, &ms))
				ms = 0;
		}
	}
	*ret_ms = (uint32_t)ms;
	char c = digit.n == 1 ? digit.p[0] : 0;
	return c >= 'a' && c <= 'd' ? (char)(c - 'a' + 'A') : rtp_digit_event(c) < 0 ? 0 : c;
}

/* RFC 6086: an empty INFO is a keepalive. */
static uint16_t take_info(struct leg *l, const struct sip_msg *m)
{
	uint32_t ms;
	char digit = info_digit(m, &ms);

	if (!digit)
		return m->body.n ? 415 : 200;
	l->r.info_cseq = m->cseq;
	l->r.info_digit = digit;
	l->r.info_ms = ms;
	return 200;
}

static void in_dialog_other(struct leg *l, struct sip_tx *tx, const struct sip_msg *m)
{
	l->dlg.remote_cseq = m->cseq;
	l->r.done_cseq = m->cseq;
	l->r.done_method = (uint8_t)m->method;
	switch (m->method) {
	case SIP_OPTIONS:
		l->r.done_status = 200;
		break;
	case SIP_INFO:
		l->r.done_status = take_info(l, m);
		break;
	case SIP_OTHER:
		l->r.done_status = 501;
		break;
	default:
		l->r.done_status = 405;
		break;
	}
	leg_commit(l);
	if (l->r.info_cseq == m->cseq)
		stream_typed(l);
	answer_in_dialog(l, tx, l->r.done_status, l->r.done_status == 415 ? STR("Accept: application/dtmf-relay, application/dtmf\r\n") : ALLOW);
}

static void in_dialog(struct calls *cs, struct sip_tx *tx, const struct sip_msg *m, const struct flow *from)
{
	struct leg *l = find_leg(cs, m);
	struct leg_in in = {.tx = tx, .m = m, .from = from};

	if (!l) {
		if (tx)
			refuse(cs, tx, 481, STR_NONE);
		return;
	}
	base_enter(l->call->sid);
	l->heard_sip_ms = cs->now_ms;
	if (!tx) {
		leg_post(l, LE_ACK, &in);
		return;
	}
	sip_tx_set_owner(tx, l->h);
	if (m->cseq == l->r.done_cseq && m->method == l->r.done_method) {
		count_add(COUNT_SIP_REPEATED, 1);
		answer_in_dialog(l, tx, l->r.done_status, STR_NONE);
	} else if (m->cseq < l->dlg.remote_cseq) {
		answer_in_dialog(l, tx, 500, STR_NONE); /* RFC 3261 12.2.2: out of order */
	} else if (m->method == SIP_INVITE) {
		if (l->r.invite_open && l->fsm.state == LEG_UP)
			answer_in_dialog(l, tx, 500, STR("Retry-After: 2\r\n")); /* 14.2: the last one is still open */
		else if (leg_post(l, LE_REINVITE, &in))
			answer_in_dialog(l, tx, l->fsm.state == LEG_ANSWERED ? 491 : 481, STR_NONE);
	} else if (m->method == SIP_BYE) {
		if (leg_post(l, LE_BYE, &in))
			answer_in_dialog(l, tx, 481, STR_NONE);
	} else if (l->fsm.state == LEG_GONE) {
		answer_in_dialog(l, tx, 481, STR_NONE);
	} else {
		in_dialog_other(l, tx, m);
	}
}

/* ---- struct sip_user ---- */

static void on_request(void *arg, const struct authed *who, struct sip_tx *tx, const struct sip_msg *m, const struct flow *from)
{
	struct calls *cs = arg;

	ASSERT(who);
	call_now(cs);
	if (m->to_tag.n || m->method == SIP_ACK) {
		in_dialog(cs, tx, m, from);
	} else if (m->method == SIP_INVITE) {
		new_invite(cs, tx, m, from);
	} else if (m->method == SIP_OPTIONS && sip_get(m, HDR_REQUIRE).n) {
		refuse_invite(cs, tx, m, 420);
	} else if (m->method == SIP_OPTIONS) {
		refuse(cs, tx, 200, STR("Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO\r\nAccept: application/sdp\r\n"));
	} else if (m->method == SIP_BYE || m->method == SIP_INFO || m->method == SIP_UPDATE || m->method == SIP_PRACK || m->method == SIP_NOTIFY) {
		refuse(cs, tx, 481, STR_NONE);
	} else {
		refuse(cs, tx, m->method == SIP_OTHER ? 501 : 405, ALLOW);
	}
	base_enter("");
}

static void on_cancel(void *arg, struct sip_tx *invite, const struct sip_msg *m)
{
	struct calls *cs = arg;
	struct leg *l = leg_get(cs, sip_tx_owner(invite));

	call_now(cs);
	if (l)
		leg_post(l, LE_CANCEL, NULL);
}

static void on_reply(void *arg, struct sip_tx *tx, const struct sip_msg *m, enum sip_why why)
{
	struct calls *cs = arg;
	struct leg *l = leg_get(cs, sip_tx_owner(tx));

	call_now(cs);
	if (!l)
		return;
	l->heard_sip_ms = m ? cs->now_ms : l->heard_sip_ms;
	leg_post(l, LE_REPLY, &(struct leg_in){.tx = tx, .m = m, .why = why});
}

static void on_tx_end(void *arg, struct sip_tx *tx, enum sip_why why)
{
	struct calls *cs = arg;
	struct leg *l = leg_get(cs, sip_tx_owner(tx));

	call_now(cs);
	if (!l || l->invite != tx)
		return;
	l->invite = NULL;
	if (why != SIP_WHY_DONE && l->r.invite_open) {
		leg_post(l, LE_NO_ACK, NULL);
	} else if (l->r.invite_open) {
		l->r.invite_open = 0;
		leg_commit(l);
	}
}

void door_init(struct calls *cs)
{
	cs->sip_user = (struct sip_user){.on_request = on_request, .on_cancel = on_cancel, .on_reply = on_reply, .on_tx_end = on_tx_end, .arg = cs};
}
