/* SPDX-License-Identifier: Apache-2.0
 *
 * play: <Play> (call-control 2.5). A bare name is looked up in the sounds folder with one suffix after the other, a name with a suffix or a service: URL in
 * the services folder, a URL of the web is fetched (remote.c); `digits` sends digits instead. Turns are counted by media: gapless. Sig thread.
 */
#include "verb/inside.h"

#define DIGITS_MAX 63

static const char *const suffixes[] = {".wav", ".flac", ".ogg", ".mp3", ".aiff", ""};

/* A sound's name may go down into subfolders, never up, and never begin at the root. */
static bool name_ok(struct str s)
{
	if (s.n > 200 || s.p[0] == '/')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f || (s.p[i] == '.' && (i == 0 || s.p[i - 1] == '/')))
			return false;
	return true;
}

struct target {
	struct sound_order order;
	char file[256], url[2048];
	struct str web;  /* URL of a sound of the web */
	const char *why; /* it is none: a sentence */
};

static void target_sound(const struct run *r, struct str text, struct target *t)
{
	struct out o = OUT(t->file);

	t->why = "it is no name of a sound";
	if (!name_ok(text))
		return;
	out_str(&o, text);
	out_str(&o, str_z(suffixes[r->suffix]));
	t->order.arg[0] = STR("sounds");
	t->order.arg[1] = out_view(&o);
	t->why = NULL;
}

static void target_service(struct run *r, struct str text, struct target *t)
{
	struct str query;
	size_t n;
	struct str base = call_text(r->c, call_app(r->c)->base_url);
	char name[36];
	struct url u;

	t->why = "it is no name of a file in the services folder, and no URL";
	if (url_resolve(base.n && !str_eq(base, STR("error:")) ? base : STR("service:/"), text, t->url, sizeof(t->url), &n) < 0 ||
	    url_parse(str_n(t->url, n), &u) < 0)
		return;
	if (!str_ieq(u.scheme, STR("service"))) {
		t->web = str_n(t->url, n);
		t->why = NULL;
		return;
	}
	if (url_is_web(base)) {
		t->why = "a document of the web may not name files of this machine";
		return;
	}
	if (url_service(str_n(t->url, n), name, &query) < 0 || str_zcpy(str_z(name), t->file, sizeof(t->file)) < 0)
		return;
	t->order.arg[0] = STR("services");
	t->order.arg[1] = str_z(t->file);
	t->why = NULL;
}

static bool is_bare(struct str text)
{
	return !str_find(text, '.') && !str_find(text, ':') && !str_find(text, '?');
}

static void target_read(struct run *r, const struct node *n, struct target *t)
{
	struct str text = n->text;

	memset(t, 0, sizeof(*t));
	t->order = (struct sound_order){.kind = ASK_DECODE, .fd = -1};
	if (!text.n) {
		t->why = "the element is empty";
	} else if (is_bare(text)) {
		target_sound(r, text, t);
	} else {
		target_service(r, text, t);
	}
}

static enum step bad_target(struct run *r, const struct node *n, const char *why)
{
	char buf[160];
	struct out o = OUT(buf);

	out_safe(&o, str_n(n->text.p, MIN(n->text.n, 100u)));
	return run_error(r, run_in_gather(r) ? 13325 : 13420, "line %d: %s: %s", n->line, out_z(&o), why);
}

static enum step play_prepare(struct run *r, const struct node *n)
{
	struct target t;
	int err;

	if (node_attr(n, STR("digits")).n || r->cur.s)
		return STEP_WAIT;
	target_read(r, n, &t);
	if (t.why)
		return bad_target(r, n, t.why);
	if (t.web.n)
		return remote_want(r, t.web);
	err = sound_want(r, &r->cur, &t.order);
	if (err)
		return run_error(r, err == -ENOMEM ? 12400 : 90004, "line %d: %s", n->line, strerror(-err));
	return STEP_WAIT;
}

/* It is not the sound's fault when there is no room for it. */
static enum step sound_refused(struct run *r, const struct node *n)
{
	uint32_t fault;
	const char *why = sound_why(&r->cur, &fault);

	return fault == 90004 ? run_error(r, fault, "line %d: %s", n->line, why) : bad_target(r, n, why);
}

static enum step remote_failed(struct run *r, const struct node *n)
{
	char why[240];
	struct out o = OUT(why);

	out_f(&o, "%u: %s", r->media_fault, r->media_why);
	return bad_target(r, n, out_z(&o));
}

static enum step play_on(struct run *r, const struct node *n)
{
	struct play_order o;
	enum step ordered = play_prepare(r, n);

	if (ordered != STEP_WAIT)
		return ordered;
	if (r->remote_state == REMOTE_FAILED)
		return remote_failed(r, n);
	while (sound_state(&r->cur) == SOUND_FAILED) {
		enum step s;

		if (!is_bare(n->text) || !sound_missing(&r->cur) || r->suffix + 1 == (int)N_ELEMENTS(suffixes))
			return sound_refused(r, n);
		r->suffix++;
		sound_let(&r->cur);
		s = play_prepare(r, n);
		if (s != STEP_WAIT)
			return s;
	}
	if (sound_state(&r->cur) != SOUND_READY)
		return run_await(r);
	sound_numbers(&r->cur, &o);
	return o.n_samples ? player_play(r, player_loops(r, n, 13410)) : STEP_NEXT;
}

static bool digits_ok(struct str d)
{
	for (size_t i = 0; i < d.n; i++)
		if (!d.p[i] || !strchr("0123456789*#ABCDwW", d.p[i]))
			return false;
	return d.n <= DIGITS_MAX;
}

/* Sent at most once: the state is committed before the order, and a worker that takes over goes on with the next verb. */
static enum step send_digits(struct run *r, const struct node *n, struct str digits)
{
	struct app_record *app = call_app(r->c);

	if (!digits_ok(digits)) {
		run_warn(r, 13430, n->line, "digits=\"%.*s\" is not sent", (int)MIN(digits.n, 100u), digits.p);
		return STEP_NEXT;
	}
	app->verb_state = VS_DIGITS;
	app->redirects = 0;
	app->deadline_ms = r->v->now_ms + 5000 + 1000 * (int64_t)digits.n;
	call_commit(r->c);
	if (call_send_digits(r->c, digits) < 0) {
		run_warn(r, 13430, n->line, "digits=\"%.*s\" cannot be sent", STR_ARG(digits));
		return STEP_NEXT;
	}
	call_timer(r->c, app->deadline_ms);
	return STEP_WAIT;
}

static enum step play_begin(struct run *r, const struct node *n)
{
	struct str digits = node_attr(n, STR("digits"));

	return digits.n ? send_digits(r, n, digits) : play_on(r, n);
}

static enum step play_event(struct run *r, const struct node *n, const struct call_event *e)
{
	if (player_ended(r, e))
		return STEP_NEXT;
	if (call_app(r->c)->verb_state == VS_DIGITS && (e->kind == CALL_EV_SENT || e->kind == CALL_EV_TIMER))
		return STEP_NEXT;
	return STEP_WAIT;
}

static enum step play_resume(struct run *r, const struct node *n)
{
	if (call_app(r->c)->verb_state == VS_DIGITS) {
		call_note(r->c, TRACE_NOTE, 0, STR("the digits may have been sent before the restart: they are not sent again"));
		return STEP_NEXT;
	}
	player_where(r);
	return play_begin(r, n);
}

const struct verb_impl verb_play = {.name = "Play", .prepare = play_prepare, .begin = play_begin, .event = play_event, .resume = play_resume, .sound = play_on};
