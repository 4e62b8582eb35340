/* SPDX-License-Identifier: Apache-2.0
 *
 * pause: <Pause length>. As the first verb of a document it lets a call ring that is not answered yet; later it answers. Its end is a deadline in the record, so
 * that a restart neither shortens nor lengthens it. Sig thread.
 */
#include "verb/inside.h"

#define LENGTH_MAX 14400

static enum step pause_begin(struct run *r, const struct node *n)
{
	struct app_record *app = call_app(r->c);
	struct str v = node_attr(n, STR("length"));
	uint64_t s = 1;

	if (!call_is_up(r->c) && !run_is_first(r))
		return run_answer_first(r);
	if (v.p && str_u64(v, LENGTH_MAX, &s) < 0) {
		run_warn(r, 13910, n->line, "length=\"%.*s\"; one second", (int)MIN(v.n, 60u), v.p);
		s = 1;
	}
	if (s == 0)
		return STEP_NEXT;
	app->verb_state = VS_PAUSE;
	app->redirects = 0;
	app->deadline_ms = r->v->now_ms + (int64_t)s * 1000;
	call_commit(r->c);
	if (!call_is_up(r->c))
		call_ring(r->c);
	call_timer(r->c, app->deadline_ms);
	return STEP_WAIT;
}

static enum step pause_event(struct run *r, const struct node *n, const struct call_event *e)
{
	if (e->kind == CALL_EV_TIMER && r->v->now_ms >= call_app(r->c)->deadline_ms)
		return STEP_NEXT;
	return STEP_WAIT;
}

static enum step pause_resume(struct run *r, const struct node *n)
{
	int64_t at = call_app(r->c)->deadline_ms;

	if (at <= r->v->now_ms)
		return STEP_NEXT;
	call_timer(r->c, at);
	return STEP_WAIT;
}

const struct verb_impl verb_pause = {.name = "Pause", .begin = pause_begin, .event = pause_event, .resume = pause_resume};
