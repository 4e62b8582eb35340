/* SPDX-License-Identifier: Apache-2.0
 *
 * player: what the verbs that play have in common: ordering the play of the sound at hand, knowing its end, and where it stood when the worker died. Sig thread.
 * The state is VS_PLAYING from the commit that call_play makes with the play's number; the position within is in the media line.
 */
#include "verb/inside.h"

enum step player_play(struct run *r, uint32_t loops)
{
	struct app_record *app = call_app(r->c);
	struct play_order o = {.pos = r->pos, .loop = r->loop, .loops = loops};
	uint32_t number;
	int err;

	sound_numbers(&r->cur, &o);
	o.pos = MIN(o.pos, o.n_samples);
	r->pos = r->loop = 0;
	r->awaits = false;
	call_timer(r->c, 0);
	app->verb_state = VS_PLAYING;
	app->redirects = 0;
	err = call_play(r->c, &o, &number);
	if (err < 0)
		return run_error(r, 90008, "%s", strerror(-err));
	return STEP_WAIT;
}

bool player_ended(const struct run *r, const struct call_event *e)
{
	const struct app_record *app = call_app(r->c);

	return e->kind == CALL_EV_PLAYED && app->verb_state == VS_PLAYING && e->number == app->play_number;
}

void player_where(struct run *r)
{
	r->pos = r->loop = 0;
	if (call_app(r->c)->verb_state == VS_PLAYING)
		call_play_at(r->c, &r->pos, &r->loop);
}

uint32_t player_loops(struct run *r, const struct node *n, uint32_t code)
{
	struct str v = node_attr(n, STR("loop"));
	uint32_t max = (uint32_t)limit_of(LIMIT_LOOP);
	uint64_t loops = 1;

	if (v.p && str_u64(v, UINT32_MAX, &loops) < 0) {
		if (call_app(r->c)->verb_state == VS_NEW)
			run_warn(r, code, n->line, "loop=\"%.*s\" is no whole number; once", (int)MIN(v.n, 60u), v.p);
		loops = 1;
	}
	return loops == 0 || loops > max ? max : (uint32_t)loops;
}
