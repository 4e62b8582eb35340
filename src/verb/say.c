/* SPDX-License-Identifier: Apache-2.0
 *
 * say: <Say> (call-control 2.5). The text is cut into pieces; the first is ordered before the call is answered, each next one while the one before is heard. piece
 * and loop stand in the record; the pieces follow from the text. Voices of others are mapped to ours and never fail. A break of SSML is a piece that
 * is waited for instead of played; other elements are text by then (ssml.c). Sig thread.
 */
#include "verb/inside.h"

#define TEXT_ROOM 131072 /* bytes of a text before it is cut */

static const char *const men[] = {"man",     "kal",       "Matthew", "Joey", "Justin",  "Kevin",  "Stephen", "Brian",  "Russell", "Geraint",
				  "Hans",    "Daniel",    "Mathieu", "Remi", "Enrique", "Miguel", "Giorgio", "Takumi", "Maxim",   "Ruben",
				  "Ricardo", "Cristiano", "Jacek",   "Jan",  "Karl",    "Mads",   "Arthur",  "Gregory"};

static bool is_man(struct str v)
{
	for (size_t i = 0; i < N_ELEMENTS(men); i++)
		if (str_ieq(v, str_z(men[i])))
			return true;
	return false;
}

static bool is_woman(struct str v)
{
	return str_ieq(v, STR("slt")) || str_ieq(v, STR("woman")) || str_ieq(v, STR("alice"));
}

static bool is_vendors(struct str v)
{
	return str_istarts(v, STR("Polly.")) || str_istarts(v, STR("Google.")) || str_istarts(v, STR("Azure."));
}

bool voice_known(struct str v)
{
	return is_man(v) || is_woman(v) || is_vendors(v);
}

/* Ours, by the name that the field uses. Without a name, or with one that says nothing, the configured voice. */
static struct str voice_of(struct run *r, const struct node *n, bool warn)
{
	struct str v = node_attr(n, STR("voice")), rest, dflt = r->v->params->voice[0] ? str_z(r->v->params->voice) : STR("slt");
	bool vendor = is_vendors(v);

	if (vendor) {
		str_cut(v, '.', &rest);
		v = str_cut(rest, '-', &rest);
	}
	if (!v.n)
		return dflt;
	if (is_man(v))
		return STR("kal");
	if (is_woman(v))
		return STR("slt");
	if (!vendor && warn)
		run_warn(r, 13520, n->line, "voice=\"%.*s\"", (int)MIN(v.n, 60u), v.p);
	return dflt;
}

bool language_ok(struct str l)
{
	bool good = l.n >= 2 && l.n <= 15;

	for (size_t i = 0; i < l.n && good; i++)
		good = (l.p[i] >= 'a' && l.p[i] <= 'z') || (l.p[i] >= 'A' && l.p[i] <= 'Z') || (l.p[i] >= '0' && l.p[i] <= '9') || l.p[i] == '-';
	return good;
}

static struct str language_of(struct run *r, const struct node *n, bool warn)
{
	struct str l = node_attr(n, STR("language"));

	if (language_ok(l))
		return l;
	if (l.n && warn)
		run_warn(r, 13521, n->line, "language=\"%.*s\"", (int)MIN(l.n, 60u), l.p);
	return str_z(r->v->params->language);
}

static int text_make(struct run *r, const struct node *n, bool warn)
{
	size_t cap = n->child ? MIN(4 * n->text.n + 8192, (size_t)TEXT_ROOM) : n->text.n + 1;
	struct out o = {.p = r->text ? NULL : malloc(cap), .cap = cap};
	bool cut;

	if (r->text)
		return 0;
	r->text = malloc(cap);
	if (!r->text || !o.p) {
		free(r->text);
		free(o.p);
		r->text = NULL;
		return -ENOMEM;
	}
	if (n->child)
		ssml_text(n, language_of(r, n, false), &o);
	r->text_n = text_fold(n->child ? out_view(&o) : n->text, r->text, cap, limit_of(LIMIT_SAY_TEXT), &cut);
	free(o.p);
	if (cut && warn)
		run_warn(r, 13511, n->line, "%zu bytes are spoken", r->text_n);
	return 0;
}

static bool piece_at(struct run *r, uint32_t i, struct str *ret)
{
	return text_piece(str_n(r->text, r->text_n), i, ret);
}

/* Orders the piece; nothing if there is none. */
static int piece_want(struct run *r, const struct node *n, struct sound_ref *ref, uint32_t piece)
{
	struct sound_order o = {.kind = ASK_SPEAK, .arg = {voice_of(r, n, false), language_of(r, n, false)}, .fd = -1};

	uint32_t ms;

	if (!piece_at(r, piece, &o.in) || ssml_break(o.in, &ms))
		return 0;
	return sound_want(r, ref, &o);
}

static enum step no_room(struct run *r, int err)
{
	return err == -ENOMEM ? run_error(r, 12400, "no memory") : run_error(r, 90004, "the cache is full of sounds in use");
}

static enum step say_prepare(struct run *r, const struct node *n)
{
	bool fresh = call_app(r->c)->verb_state == VS_NEW && !r->text;
	int err = text_make(r, n, fresh);

	if (fresh && !err) {
		voice_of(r, n, true);
		language_of(r, n, true);
		if (!r->text_n)
			run_warn(r, 13512, n->line, "nothing is spoken");
	}
	if (!err)
		err = piece_want(r, n, &r->cur, call_app(r->c)->piece);
	return err ? no_room(r, err) : STEP_WAIT;
}

/* On to the next piece or turn; false = all is said. */
static bool piece_next(struct run *r, const struct node *n)
{
	struct app_record *app = call_app(r->c);
	struct str p;

	app->verb_state = VS_SOUND;
	app->piece++;
	if (r->said < limit_of(LIMIT_SAY_SECONDS) * AUDIO_HZ && piece_at(r, app->piece, &p))
		return true;
	r->said = 0;
	app->piece = 0;
	app->loop++;
	return app->loop < player_loops(r, n, 13510) && piece_at(r, 0, &p);
}

/* What will be played after the piece at hand. */
static void order_ahead(struct run *r, const struct node *n)
{
	const struct app_record *app = call_app(r->c);
	struct str p;
	uint32_t next = piece_at(r, app->piece + 1, &p) ? app->piece + 1 : 0;

	if (next || app->loop + 1 < player_loops(r, n, 13510))
		(void)!piece_want(r, n, &r->next, next); /* no room now: it is asked for again when its turn comes */
}

static bool rested(const struct run *r)
{
	const struct app_record *app = call_app(r->c);

	return app->verb_state == VS_BREAK && r->v->now_ms >= app->deadline_ms;
}

/* A break: nothing is played until its time has passed. */
static enum step rest(struct run *r, const struct node *n, uint32_t ms)
{
	struct app_record *app = call_app(r->c);

	if (app->verb_state != VS_BREAK) {
		r->said += (uint64_t)ms * AUDIO_HZ / 1000;
		app->verb_state = VS_BREAK;
		app->deadline_ms = r->v->now_ms + ms;
		call_commit(r->c);
	}
	r->awaits = false;
	order_ahead(r, n);
	call_timer(r->c, app->deadline_ms);
	return STEP_WAIT;
}

/* Plays the piece at hand, or waits for it. Empty pieces are passed over. */
static enum step say_on(struct run *r, const struct node *n)
{
	struct str p;
	uint32_t ms;

	for (;;) {
		if (piece_at(r, call_app(r->c)->piece, &p) && ssml_break(p, &ms) && !rested(r))
			return rest(r, n, ms);

		struct play_order o = {0};
		uint32_t fault;
		int err;

		if (sound_state(&r->cur) == SOUND_FAILED)
			return run_error(r, 90005, "line %d: %s", n->line, sound_why(&r->cur, &fault));
		if (sound_state(&r->cur) != SOUND_READY && !rested(r))
			return run_await(r);
		if (!rested(r))
			sound_numbers(&r->cur, &o);
		r->said += o.n_samples;
		if (o.n_samples) {
			enum step s = player_play(r, 1);

			if (s == STEP_WAIT)
				order_ahead(r, n);
			return s;
		}
		if (!piece_next(r, n))
			return STEP_NEXT;
		err = piece_want(r, n, &r->cur, call_app(r->c)->piece);
		if (err)
			return no_room(r, err);
	}
}

static enum step say_begin(struct run *r, const struct node *n)
{
	enum step s = say_prepare(r, n);

	if (s != STEP_WAIT)
		return s;
	player_loops(r, n, 13510);
	return r->text_n ? say_on(r, n) : STEP_NEXT;
}

static enum step say_event(struct run *r, const struct node *n, const struct call_event *e)
{
	int err;

	if (!player_ended(r, e) && !(e->kind == CALL_EV_TIMER && rested(r)))
		return STEP_WAIT;
	if (!piece_next(r, n))
		return STEP_NEXT;
	call_commit(r->c);
	sound_move(&r->cur, &r->next);
	err = piece_want(r, n, &r->cur, call_app(r->c)->piece);
	return err ? no_room(r, err) : say_on(r, n);
}

static enum step say_resume(struct run *r, const struct node *n)
{
	player_where(r);
	return say_begin(r, n);
}

static enum step say_sound(struct run *r, const struct node *n)
{
	return say_on(r, n);
}

const struct verb_impl verb_say = {.name = "Say", .prepare = say_prepare, .begin = say_begin, .event = say_event, .resume = say_resume, .sound = say_sound};
