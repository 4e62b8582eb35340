/* SPDX-License-Identifier: Apache-2.0
 *
 * web: requests over the web: what is sent, whom it may trust, the call's cookies, the fallback after a fault, the hedge beside a slow service and the sentence that asks
 * the caller for patience. The record's request goes the way of all requests (request.c); the hedge and sounds have tokens of their own, which follow from the record's,
 * so that a worker that takes over sends them again under the same name. Sig thread, flat messages only.
 */
#include <unistd.h>

#include "verb/inside.h"

#define PAIRS_MAX       256
#define FILLER_AGAIN_MS 10000

/* ---- what the configuration says ---- */

static const struct number *number_of(struct run *r)
{
	struct str key = call_text(r->c, call_app(r->c)->number_key);
	const struct number *num;
	struct call_facts f;
	size_t at = 0;

	call_facts(r->c, &f);
	num = services_find(r->v->services, f.extension);
	if (!key.n || (num && str_eq(str_z(num->name), key)))
		return num;
	while ((num = services_each(r->v->services, &at)))
		if (str_eq(str_z(num->name), key))
			break;
	return num;
}

const struct number_web *run_web(struct run *r)
{
	const struct number *num = number_of(r);

	return num ? num->web : NULL;
}

bool web_trusts(struct run *r, struct str url)
{
	const struct number_web *w = run_web(r);

	return w && (url_same_origin(url, str_z(w->voice_url)) || url_same_origin(url, str_z(w->fallback_url)));
}

/* ---- answers beside the record's ---- */

static uint64_t token_key(const uint8_t token[16])
{
	uint64_t k;

	memcpy(&k, token, sizeof(k));
	return k;
}

int waited_on(struct run *r, struct waited *w, const uint8_t token[16])
{
	int err;

	waited_off(r, w);
	err = hash_put(r->v->waited, token_key(token), r);
	if (err)
		return err;
	memcpy(w->token, token, sizeof(w->token));
	w->on = true;
	return 0;
}

static void waited_end(struct run *r, struct waited *w)
{
	if (w->on)
		hash_drop(r->v->waited, token_key(w->token), r);
	w->on = false;
}

void waited_off(struct run *r, struct waited *w)
{
	bool was = w->on;

	waited_end(r, w);
	if (was)
		web_drop(r, w->token);
}

struct run *waited_find(struct verbs *v, const uint8_t token[16], struct waited **ret)
{
	struct run *r;

	for (size_t at = 0; (r = hash_next(v->waited, token_key(token), &at));) {
		struct waited *all[] = {&r->hedge, &r->media, &r->loser};

		for (size_t i = 0; i < N_ELEMENTS(all); i++)
			if (all[i]->on && memcmp(all[i]->token, token, sizeof(all[i]->token)) == 0) {
				*ret = all[i];
				return r;
			}
	}
	return NULL;
}

void token_derive(const struct run *r, const char *what, const void *more, size_t n, uint8_t ret[16])
{
	const uint8_t *key = call_app(r->c)->req_token;
	char text[64];
	struct out o = OUT(text);

	out_str(&o, str_z(what));
	out_str(&o, str_n(more, n));
	for (int i = 0; i < 2; i++) {
		uint64_t h;

		out_c(&o, (char)('0' + i));
		h = siphash(key, o.p, o.n);
		memcpy(ret + 8 * i, &h, sizeof(h));
	}
}

/* ---- asking ---- */

void web_drop(struct run *r, const uint8_t token[16])
{
	if (r->v->out->fetch_drop)
		r->v->out->fetch_drop(r->v->out->arg, token);
}

static int post(struct run *r, struct ask *q, struct str extra, struct arena *a)
{
	struct pair *pairs = arena_alloc(a, PAIRS_MAX * sizeof(*pairs));
	struct call_facts f;
	struct fetch *m;
	int n, err;

	if (!pairs)
		return -ENOMEM;
	call_facts(r->c, &f);
	n = request_params(&f, extra, a, pairs, PAIRS_MAX);
	if (n < 0)
		return n;
	q->kind = ASK_WEB;
	q->number = call_app(r->c)->req_number;
	q->form = request_form(pairs, n, a);
	q->cookies = call_text(r->c, call_app(r->c)->cookies);
	q->trusted = web_trusts(r, q->url);
	q->sign = true;
	m = q->form.p ? ask_build_web(q, a) : NULL;
	if (!m)
		return -ENOMEM;
	err = r->v->out->fetch ? r->v->out->fetch(r->v->out->arg, m) : -ENOSYS;
	if (!err)
		request_trace(r, q->get ? "GET" : "POST", q->url, pairs, n);
	return err;
}

static int ask_web(struct run *r, const uint8_t token[16], struct str url, struct str extra, bool get)
{
	struct arena *a = arena_new(1 << 20);
	struct ask q = {.token = token, .url = url, .get = get, .fd = -1};
	int err = a ? post(r, &q, extra, a) : -ENOMEM;

	arena_free(a);
	return err;
}

/* A worker that has just taken over does not know yet whom the folder trusts. */
bool web_knows(struct run *r)
{
	return services_listed(r->v->services) || number_of(r);
}

int web_mail(struct run *r)
{
	const struct app_record *app = call_app(r->c);

	r->kind = SERVICE_WEB;
	if (!web_knows(r))
		return -EAGAIN;
	return ask_web(r, app->req_token, call_text(r->c, app->req_url), call_text(r->c, app->req_form), app->req_method);
}

int web_again(struct run *r)
{
	int err = request_watch(r);

	return err ? err : web_mail(r);
}

enum step web_begin(struct run *r, const struct request *q)
{
	r->kind = SERVICE_WEB;
	if (request_mark(r, REQ_WEB, WEB_WALL_MS, q) < 0)
		return run_error(r, 90003, "the memory of the calls is full");
	return request_retry(r);
}

/* The jar of the call stands behind the body. It is committed with what is done next. */
static void jar_keep(struct run *r, const struct told *t, int fd)
{
	char *buf = fd >= 0 && t->cookies_n && t->cookies_n <= limit_of(LIMIT_CALL_TEXT) ? malloc(t->cookies_n) : NULL;

	if (!buf)
		return;
	if (pread(fd, buf, t->cookies_n, (off_t)t->n) != (ssize_t)t->cookies_n || call_keep(r->c, &call_app(r->c)->cookies, str_n(buf, t->cookies_n)) < 0)
		call_note(r->c, TRACE_NOTE, 0, STR("there is no room for the call's cookies: they stay as they were"));
	free(buf);
}

void web_heard(struct run *r, const struct told *t, int fd)
{
	struct str what, code = str_cut(str_z(t->why), ':', &what);
	uint64_t n;

	jar_keep(r, t, fd);
	if (!t->fault && what.n && str_u64(code, UINT32_MAX, &n) == 0)
		run_warn(r, (uint32_t)n, 0, "%.*s", STR_ARG(str_trim(what)));
}

/* ---- the fallback ---- */

/* What was told beside the parameters, and what went wrong. */
static struct str error_form(struct str form, uint32_t code, struct str url, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};
	char bare[2048];
	struct out b = OUT(bare);

	url_bare(&b, url);
	if (form.n && form.n < cap / 2) {
		out_str(&o, form);
		out_c(&o, '&');
	}
	out_f(&o, "ErrorCode=%u&ErrorUrl=", code);
	out_url(&o, out_view(&b));
	return out_view(&o);
}

bool web_fallback(struct run *r, uint32_t code, enum step *ret)
{
	struct app_record *app = call_app(r->c);
	const struct number_web *w = run_web(r);
	const struct fault_info *fi = fault_find(code);
	bool asking = r->phase == AT_REQUEST;
	struct str url = call_text(r->c, asking ? app->req_url : app->base_url);
	char form[8192];

	if (!w || !w->fallback_url[0] || app->req_fallback || (fi && fi->level == FAULT_WARNING))
		return false;
	app->req_fallback = 1; /* whatever fails from here on is not tried again */
	app->redirects++;
	(void)!call_keep(r->c, &app->error_url, url);
	request_unwatch(r);
	waited_off(r, &r->hedge);
	run_let_go(r);
	struct str f = error_form(asking ? call_text(r->c, app->req_form) : STR_NONE, code, url, form, sizeof(form));

	*ret = request_begin(r, &(struct request){.url = str_z(w->fallback_url), .form = f, .get = w->fallback_get, .fallback = true, .ours = true});
	return true;
}

/* ---- slow services ---- */

static bool has_param(struct str form, struct str name)
{
	while (form.n) {
		struct str value, one = str_cut(form, '&', &form);

		if (str_eq(str_cut(one, '=', &value), name))
			return true;
	}
	return false;
}

void web_waits(struct run *r)
{
	const struct app_record *app = call_app(r->c);
	const struct number_web *w = run_web(r);
	uint64_t filler = w ? w->filler_after_ms : r->v->params->filler_after_ms;
	uint64_t hedge = w ? w->hedge_after_ms : r->v->params->hedge_after_ms;
	struct str form = call_text(r->c, app->req_form);

	waited_off(r, &r->hedge);
	r->lost = 0;
	r->filler_at = r->hedge_at = 0;
	if (filler && call_is_up(r->c))
		r->filler_at = r->v->now_ms + (int64_t)filler;
	if (hedge && w && url_is_web(str_z(w->fallback_url)) && app->req_kind == REQ_WEB && !app->req_fallback && !has_param(form, STR("Digits")) &&
	    !has_param(form, STR("RecordingUrl")))
		r->hedge_at = r->v->now_ms + (int64_t)hedge;
}

static void hedge_send(struct run *r)
{
	const struct app_record *app = call_app(r->c);
	const struct number_web *w = run_web(r);
	char buf[8192];
	struct str form = error_form(call_text(r->c, app->req_form), 11203, call_text(r->c, app->req_url), buf, sizeof(buf));
	uint8_t token[16];

	token_derive(r, "hedge", NULL, 0, token);
	if (!w || waited_on(r, &r->hedge, token) < 0)
		return;
	if (ask_web(r, token, str_z(w->fallback_url), form, w->fallback_get) < 0)
		waited_end(r, &r->hedge); /* no room: then without */
	r->hedge_until = r->v->now_ms + WEB_WALL_MS;
}

static enum step hedge_answer(struct run *r, const struct told *t, int fd)
{
	struct app_record *app = call_app(r->c);
	uint32_t before = app->req_number;
	enum step s;

	r->hedging = true;
	app->req_fallback = 1;
	if (t->fault) {
		reply_trace(r, t->status, STR_NONE, t, STR_NONE);
		s = request_fail(r, t, t->fault, t->why);
	} else {
		web_heard(r, t, fd);
		s = request_take(r, t, fd);
	}
	r->hedging = false;
	if (app->req_kind == REQ_NONE || app->req_number != before)
		return s; /* it won */
	if (r->lost)      /* both have failed: req_fallback stands, so that the caller is told */
		return run_error(r, r->lost, "neither the service nor its fallback gave a document");
	app->req_fallback = 0;
	return STEP_WAIT;
}

/* A document came. Who was asked for one too is still heard, for the trace. */
void web_won(struct run *r)
{
	const uint8_t *token = r->hedging ? call_app(r->c)->req_token : r->hedge.token;
	bool other = r->hedging ? r->hashed : r->hedge.on;

	if (r->hedging)
		request_unwatch(r);
	waited_end(r, &r->hedge);
	r->filler_at = r->hedge_at = 0;
	r->lost = 0;
	if (other && waited_on(r, &r->loser, token) < 0)
		web_drop(r, token);
}

/* ---- patience ---- */

static void filler_begin(struct run *r)
{
	struct str l = run_language(r);
	struct sound_order o = {.kind = ASK_SPEAK, .arg = {r->v->params->voice[0] ? str_z(r->v->params->voice) : STR("slt"), l}, .fd = -1};

	o.in = sentence_of(SENTENCE_WAIT, l);
	if (sound_want(r, &r->cur, &o) < 0)
		return;
	r->awaits = true;
	filler_sound(r);
}

enum step filler_sound(struct run *r)
{
	struct play_order o = {.loops = 1};
	uint32_t number;

	if (sound_state(&r->cur) == SOUND_FAILED) {
		r->awaits = false;
		sound_let(&r->cur);
	} else if (sound_state(&r->cur) == SOUND_READY) {
		r->awaits = false;
		sound_numbers(&r->cur, &o);
		r->filling = o.n_samples && call_play(r->c, &o, &number) == 0;
	}
	return STEP_WAIT;
}

void filler_stop(struct run *r)
{
	if (r->filling)
		call_play_stop(r->c);
	r->filling = false;
}

void web_due(struct run *r)
{
	int64_t now = r->v->now_ms;

	if (r->filler_at && now >= r->filler_at) {
		r->filler_at = now + FILLER_AGAIN_MS;
		filler_begin(r);
	}
	if (r->hedge_at && now >= r->hedge_at) {
		r->hedge_at = 0;
		hedge_send(r);
	}
}

/* ---- what is told beside the record's request ---- */

enum step waited_answer(struct run *r, struct waited *w, const struct told *t, int fd)
{
	waited_end(r, w);
	if (w == &r->loser) {
		reply_trace(r, t->status, str_z(t->type), t, STR("(too late: another answer was taken)"));
		return STEP_WAIT;
	}
	if (w == &r->media) {
		remote_told(r, t, fd);
		return r->awaits && r->phase == AT_VERB ? run_sound(r) : STEP_WAIT;
	}
	return hedge_answer(r, t, fd);
}
