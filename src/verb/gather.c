/* SPDX-License-Identifier: Apache-2.0
 *
 * gather: <Gather> (call-control 2.5), digits. Its prompts are verbs one level deeper in the path, run like any others; the first digit cuts them (bargeIn) and brings the path
 * back here. Digits are taken by their number in the media line, once each, also over a restart: what was taken stands in the record (app.gather) before anything is done
 * with it. A finish key stands behind the digits, so that a worker that takes over knows that they are whole. Speech is not recognised by this version. Sig thread.
 */
#include "verb/inside.h"

#define TIMEOUT_MAX 86400
_Static_assert(sizeof(((struct app_record *)0)->gather) >= 122, "gather: LIMIT_GATHER digits and the key that ends them");
#define DIGITS_MAX limit_of(LIMIT_GATHER)

struct terms {
	int64_t timeout_ms;
	uint64_t n_digits;
	char finish; /* 0 = no key ends it */
	bool on_empty, barge, digits, speech;
};

bool gather_may_hold(struct str name)
{
	return str_eq(name, STR("Say")) || str_eq(name, STR("Play")) || str_eq(name, STR("Pause"));
}

bool gather_open(const struct run *r)
{
	const struct app_record *app = call_app(r->c);

	return r->phase == AT_VERB && run_in_gather(r) && (app->path_n > 1 || app->verb_state == VS_LISTEN);
}

/* ---- attributes; they are told of once, when the verb begins ---- */

static void bad(struct run *r, const struct node *n, uint32_t code, const char *name, struct str v)
{
	if (r)
		run_warn(r, code, n->line, "%s=\"%.*s\"", name, (int)MIN(v.n, 60u), v.p ? v.p : "");
}

static bool flag(struct run *r, const struct node *n, const char *name, bool dflt)
{
	struct str v = node_attr(n, str_z(name));

	if (!v.p || str_ieq(v, STR("true")) || str_ieq(v, STR("false")))
		return v.p ? str_ieq(v, STR("true")) : dflt;
	bad(r, n, 12200, name, v);
	return dflt;
}

static uint64_t number(struct run *r, const struct node *n, const char *name, uint64_t dflt, uint64_t max, uint32_t code)
{
	struct str v = node_attr(n, str_z(name));
	uint64_t x = dflt;

	if (v.p && (str_u64(v, max, &x) < 0 || x == 0)) {
		bad(r, n, code, name, v);
		return dflt;
	}
	return x;
}

static char finish_key(struct run *r, const struct node *n)
{
	struct str v = node_attr(n, STR("finishOnKey"));

	if (!v.p)
		return '#';
	if (!v.n)
		return 0;
	if (v.n == 1 && v.p[0] && strchr("0123456789*#", v.p[0]))
		return v.p[0];
	bad(r, n, 13310, "finishOnKey", v);
	return '#';
}

static void input(struct run *r, const struct node *n, struct terms *t)
{
	struct str all = node_attr(n, STR("input")), v = all;

	t->digits = !all.p;
	while (v.n) {
		struct str one = str_cut(v, ' ', &v);

		if (str_eq(one, STR("dtmf")))
			t->digits = true;
		else if (str_eq(one, STR("speech")))
			t->speech = true;
		else if (one.n)
			bad(r, n, 13330, "input", all);
	}
	if (!t->digits && !t->speech)
		t->digits = true;
}

/* r NULL: they were told of already. */
static void terms_read(struct run *r, const struct node *n, struct terms *t)
{
	*t = (struct terms){.finish = finish_key(r, n)};
	t->timeout_ms = (int64_t)number(r, n, "timeout", 5, TIMEOUT_MAX, 13313) * 1000;
	t->n_digits = MIN(number(r, n, "numDigits", DIGITS_MAX, UINT32_MAX, 13314), DIGITS_MAX);
	t->on_empty = flag(r, n, "actionOnEmptyResult", false);
	t->barge = flag(r, n, "bargeIn", true);
	input(r, n, t);
	if (r)
		(void)method_get(r, n, 13312);
	if (r && t->speech)
		run_warn(r, 13330, n->line, "speech is not recognised by this version%s", t->digits ? "; digits are" : ", and no digits are asked for");
}

static bool whole(const struct app_record *app, const struct terms *t)
{
	return app->gather[app->gather_n] || app->gather_n >= t->n_digits;
}

/* ---- the verb ---- */

static enum step gather_prepare(struct run *r, const struct node *n)
{
	const struct node *k = n->child;
	const struct verb_impl *impl;

	while (k && !gather_may_hold(k->name))
		k = k->next;
	impl = k ? verb_impl_find(k->name) : NULL;
	return impl && impl->prepare ? impl->prepare(r, k) : STEP_WAIT;
}

static enum step gather_begin(struct run *r, const struct node *n)
{
	struct app_record *app = call_app(r->c);
	struct terms t;

	terms_read(r, n, &t);
	digits_drop(r, call_digits(r->c)); /* typed before: they are nobody's */
	if (!t.digits)
		return STEP_NEXT;
	memset(app->gather, 0, sizeof(app->gather));
	app->gather_n = 0;
	app->path_n = 2;
	app->path[1] = 0;
	app->verb_state = VS_NEW;
	call_commit(r->c);
	return STEP_AGAIN;
}

/* What was entered leaves for the action; nothing was: the next verb. */
static enum step finish(struct run *r, const struct node *n, const struct terms *t)
{
	struct app_record *app = call_app(r->c);
	char key = app->gather[app->gather_n], form[3 * sizeof(app->gather) + 64];
	struct out o = OUT(form);

	if (app->gather_n == 0 && !t->on_empty)
		return STEP_NEXT;
	OUT_STR(&o, "Digits=");
	out_url(&o, str_n(app->gather, app->gather_n));
	if (key) {
		OUT_STR(&o, "&FinishedOnKey=");
		out_url(&o, str_n(&key, 1));
	}
	run_let_go(r);
	return request_to(r, node_attr(n, STR("action")), out_view(&o), str_ieq(node_attr(n, STR("method")), STR("GET")));
}

/* The record is changed; from here on it waits for keys, or is done. */
static enum step listen(struct run *r, const struct node *n, const struct terms *t)
{
	struct app_record *app = call_app(r->c);

	app->path_n = 1;
	app->verb_state = VS_LISTEN;
	app->loop = app->piece = 0;
	app->redirects = 0;
	app->deadline_ms = r->v->now_ms + t->timeout_ms;
	call_commit(r->c);
	if (whole(app, t))
		return finish(r, n, t);
	call_timer(r->c, app->deadline_ms);
	return STEP_WAIT;
}

enum step gather_listen(struct run *r)
{
	const struct node *n = run_outer(r);
	struct terms t;

	terms_read(NULL, n, &t);
	run_let_go(r);
	return listen(r, n, &t);
}

/* One by one, until they are whole; what comes behind is not for this Gather. */
static bool take(struct run *r, const struct terms *t, uint32_t upto)
{
	struct app_record *app = call_app(r->c);
	bool any = false;

	if (upto - app->digit_taken > LINE_DIGITS)
		app->digit_taken = upto - LINE_DIGITS;
	while (app->digit_taken < upto && !whole(app, t)) {
		char d = call_digit(r->c, ++app->digit_taken);

		call_note(r->c, TRACE_DIGIT, app->digit_taken, str_n(&d, d ? 1 : 0));
		if (!d)
			continue;
		any = true;
		app->gather[app->gather_n] = d;
		if (d != t->finish)
			app->gather_n++;
	}
	return any;
}

enum step gather_digits(struct run *r, uint32_t upto)
{
	struct app_record *app = call_app(r->c);
	const struct node *n = run_outer(r);
	struct terms t;

	terms_read(NULL, n, &t);
	if (upto <= app->digit_taken)
		return STEP_WAIT;
	if (whole(app, &t)) { /* while the prompts that may not be cut go on */
		digits_drop(r, upto);
		return STEP_WAIT;
	}
	if (!take(r, &t, upto) || (app->path_n > 1 && !t.barge)) {
		call_commit(r->c);
		return STEP_WAIT;
	}
	if (app->path_n > 1) {
		call_play_stop(r->c);
		run_let_go(r);
	}
	return listen(r, n, &t);
}

static enum step gather_event(struct run *r, const struct node *n, const struct call_event *e)
{
	const struct app_record *app = call_app(r->c);
	struct terms t;

	if (e->kind != CALL_EV_TIMER || app->verb_state != VS_LISTEN || r->v->now_ms < app->deadline_ms)
		return STEP_WAIT;
	terms_read(NULL, n, &t);
	return finish(r, n, &t);
}

static enum step gather_resume(struct run *r, const struct node *n)
{
	const struct app_record *app = call_app(r->c);
	struct terms t;

	terms_read(NULL, n, &t);
	if (whole(app, &t) || app->deadline_ms <= r->v->now_ms)
		return finish(r, n, &t);
	call_timer(r->c, app->deadline_ms);
	return STEP_WAIT;
}

const struct verb_impl verb_gather = {.name = "Gather", .prepare = gather_prepare, .begin = gather_begin, .event = gather_event, .resume = gather_resume};
