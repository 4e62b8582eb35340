/* SPDX-License-Identifier: Apache-2.0
 *
 * fsm: state machines from const tables. An event that the state does not accept is refused, counted and told to the hook; an edge that the table does
 * not name is our own mistake and ends the process. The handler of an event may free its machine: nothing here touches it afterwards. Each machine
 * belongs to one thread; the hook is set once, before there are threads.
 */
#include "base/base.h"

static fsm_hook_h *the_hook;
static _Thread_local struct {
	const struct fsm *f;
	int event;
} at_hand = {.event = -1}; /* so that an edge can be told with the event that caused it */

void fsm_set_hook(fsm_hook_h *h)
{
	the_hook = h;
}

void fsm_init(struct fsm *f, const struct fsm_type *type, int state)
{
	ASSERT(type->n_states <= 32 && type->n_events <= 32);
	ASSERT(state >= 0 && state < type->n_states);
	*f = (struct fsm){.type = type, .state = state};
}

int fsm_post(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	const struct fsm_state *s = &f->type->states[f->state];
	typeof(at_hand) outer = at_hand;

	ASSERT(event >= 0 && event < f->type->n_events);
	if (!(s->accepts & BIT(event))) {
		count_add(COUNT_FSM_REFUSED, 1);
		if (the_hook)
			the_hook(f, event, f->state, -1);
		return -EPROTO;
	}
	at_hand.f = f;
	at_hand.event = event;
	s->event(f, event, data, now_ms);
	at_hand = outer;
	return 0;
}

void fsm_go(struct fsm *f, int state, int64_t now_ms)
{
	int from = f->state;

	ASSERT(state >= 0 && state < f->type->n_states);
	ASSERT(f->type->states[from].goes_to & BIT(state));
	f->state = state;
	if (the_hook)
		the_hook(f, at_hand.f == f ? at_hand.event : -1, from, state);
	if (f->type->states[state].enter)
		f->type->states[state].enter(f, now_ms);
}

const char *fsm_name(const struct fsm *f)
{
	return f->type->states[f->state].name;
}
