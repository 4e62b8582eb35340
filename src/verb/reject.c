/* SPDX-License-Identifier: Apache-2.0
 *
 * reject: <Reject reason>. The only verb that refuses a call: 486 for busy, else the configured status. After the answer it just ends the call. Sig thread.
 */
#include "verb/inside.h"

static enum step reject_begin(struct run *r, const struct node *n)
{
	struct str reason = node_attr(n, STR("reason"));
	bool busy = str_eq(reason, STR("busy"));

	if (reason.p && !busy && !str_eq(reason, STR("rejected")))
		run_warn(r, 13810, n->line, "reason=\"%.*s\"; rejected", (int)MIN(reason.n, 60u), reason.p);
	if (call_is_up(r->c))
		return run_end(r, PARTY_SERVICE, NULL);
	r->phase = AT_END;
	run_let_go(r);
	if (call_reject(r->c, busy ? 486 : (int)r->v->params->reject_status) < 0)
		call_hangup(r->c, PARTY_SERVICE, NULL);
	return STEP_OVER;
}

const struct verb_impl verb_reject = {.name = "Reject", .begin = reject_begin};
