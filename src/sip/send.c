/* SPDX-License-Identifier: Apache-2.0
 *
 * send: the two ends of the room's road: bytes to the wire, and each message in and out to the trace. A trace record's payload is one line
 * "udp 127.0.0.1:5070 > 127.0.0.1:5060" (sender first) CRLF, then the message as it stood on the wire; its code is the status, 0 for a request.
 */
#include "sip/sip_int.h"

#define TRACE_LINE 160

static void trace(struct sip *s, enum trace_kind kind, const struct flow *f, handle owner, int status, struct str bytes)
{
	struct out o = {.p = s->trace_buf, .cap = s->cap + TRACE_LINE};
	const struct addr *a = kind == TRACE_SIP_IN ? &f->peer : &f->local, *b = kind == TRACE_SIP_IN ? &f->local : &f->peer;
	static const uint8_t nobody[16];
	const uint8_t *sid = owner && s->o.sid_of ? s->o.sid_of(s->o.arg, owner) : NULL;

	if (!s->o.trace)
		return;
	out_str(&o, f->kind == FLOW_TCP ? STR("tcp ") : STR("udp "));
	addr_print(&o, a);
	OUT_STR(&o, " > ");
	addr_print(&o, b);
	OUT_STR(&o, "\r\n");
	out_str(&o, bytes);
	trace_put(s->o.trace, kind, sid ? sid : nobody, (uint32_t)status, out_view(&o));
}

handle sip_owner_of(const struct sip *s, const struct sip_msg *m)
{
	struct sip_id id;

	return sip_id_parse(s->o.key, SIP_ID_TAG, m->to_tag, &id) == 0 ? id.h : 0;
}

void sip_trace_in(struct sip *s, const struct sip_msg *m, const struct flow *from, handle owner)
{
	trace(s, TRACE_SIP_IN, from, owner, m->status, m->raw);
}

void sip_trace_pending(struct sip *s)
{
	const struct sip_msg *m = s->in_msg;
	handle owner;

	if (!m)
		return;
	s->in_msg = NULL;
	owner = s->in_tx && s->in_tx->owner ? s->in_tx->owner : sip_owner_of(s, m);
	sip_trace_in(s, m, s->in_from, owner);
}

static int status_of(struct str bytes)
{
	uint64_t v = 0;

	if (!str_starts(bytes, STR("SIP/2.0 ")) || bytes.n < 11 || str_u64(str_n(bytes.p + 8, 3), 699, &v))
		return 0;
	return (int)v;
}

int sip_send(struct sip *s, struct flow *to, struct str bytes, handle owner)
{
	const struct wire *w = s->o.wire;
	int err = 0;

	sip_trace_pending(s);
	if (to->kind == FLOW_TCP && !to->conn)
		err = w->connect ? w->connect(w->arg, to) : -ENOTCONN;
	if (err)
		return err;
	count_add(COUNT_SIP_OUT, 1);
	trace(s, TRACE_SIP_OUT, to, owner, status_of(bytes), bytes);
	return w->send(w->arg, to, bytes.p, bytes.n);
}
