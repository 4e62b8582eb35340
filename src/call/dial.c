/* SPDX-License-Identifier: Apache-2.0
 *
 * dial: an outbound call: our offer in an INVITE of our own (RFC 3261 section 13.2). The rest of its life is in leg.c. The small telephone uses it; Dial will.
 */
#include <sys/socket.h>

#include "call/call_int.h"

/* The texts of the dialog we begin: in the leg's arena. */
static int our_side(struct leg *l, const struct call_dial *d)
{
	struct calls *cs = l->call->all;
	char buf[600];
	struct out o = OUT(buf);
	struct addr us;

	l->arena = arena_new(16384);
	if (!l->arena)
		return -ENOMEM;
	leg_tag(l);
	cs->o.advertise(cs->o.arg, &d->flow, &us);
	if (d->display.n)
		out_f(&o, "\"%.*s\" ", STR_ARG(d->display));
	out_f(&o, "<sip:%.*s@", STR_ARG(d->from_user));
	if (us.family == AF_INET6)
		out_c(&o, '[');
	addr_print_host(&o, &us);
	if (us.family == AF_INET6)
		out_c(&o, ']');
	out_c(&o, '>');
	l->dlg.local = arena_str(l->arena, out_view(&o));
	o = OUT(buf);
	out_f(&o, "<%.*s>", STR_ARG(d->uri));
	l->dlg.remote = arena_str(l->arena, out_view(&o));
	l->dlg.target = arena_str(l->arena, d->uri);
	struct sip_id id = {.h = l->h, .rnd = rand_u32(), .node = (uint8_t)slab_head(cs->o.slab)->node};
	o = OUT(l->call_id);
	sip_id_print(slab_head(cs->o.slab)->key, SIP_ID_CALL, &id, &o);
	out_z(&o);
	l->dlg.call_id = str_z(l->call_id);
	l->dlg.local_tag = str_z(l->tag);
	l->dlg.flow = d->flow;
	l->dlg.local_cseq = 1;
	return o.over || !l->dlg.local.p || !l->dlg.remote.p || !l->dlg.target.p ? -EINVAL : 0;
}

struct call *call_dial(struct calls *cs, const struct call_dial *d, int64_t now_ms)
{
	cs->now_ms = now_ms;
	struct call *c = call_new(cs, CALL_OUTBOUND, 0);
	struct leg *l = c ? leg_new(c, 0) : NULL;

	if (!l) {
		if (c)
			call_free(c);
		return NULL;
	}
	l->r.uac = 1;
	l->r.flow = d->flow;
	l->r.invite_cseq = 1;
	l->r.invite_open = 1;
	if (our_side(l, d) || stream_take(l, &d->flow.local) || talk_offer(l) || slab_text(cs->o.slab, d->uri, &c->r.number)) {
		stream_close(l);
		call_free(c);
		return NULL;
	}
	l->r.offered = 0;
	/* nothing fails below but the sending itself */
	leg_commit(l);
	call_commit(c);
	stream_open(l, false);
	l->r.req_branch = rand_u32();
	struct sip_request r = {.method = SIP_INVITE,
				.dlg = &l->dlg,
				.cseq = 1,
				.rnd = l->r.req_branch,
				.owner = l->h,
				.contact_user = d->from_user,
				.headers = d->headers,
				.content_type = STR("application/sdp"),
				.body = slab_str(cs->o.slab, l->r.sdp_local)};
	l->invite = sip_request(cs->o.sip, &r, now_ms);
	if (!l->invite)
		leg_post(l, LE_REPLY, &(struct leg_in){.why = SIP_WHY_TRANSPORT});
	return c;
}
