/* SPDX-License-Identifier: Apache-2.0
 *
 * request: asking a service for a document and taking its reply (house.md: mark, mail, send, mark). Number, token and deadline stand in the record before the message
 * leaves; a reply is applied only if the record waits for its token; a script is never started twice for one token. Sig thread, flat messages only.
 */
#include <unistd.h>

#include "verb/inside.h"

#define READ_WALL_MS 5000
#define SLACK_MS     3000 /* beyond the wall clock of the run, for the runner to tell */
#define PAIRS_MAX    256
#define TRACE_BODY   16384

/* ---- tokens ---- */

static uint64_t token_key(const uint8_t token[16])
{
	uint64_t k;

	memcpy(&k, token, sizeof(k));
	return k;
}

int request_watch(struct run *r)
{
	int err = r->hashed ? 0 : hash_put(r->v->tokens, token_key(call_app(r->c)->req_token), r);

	if (!err)
		r->hashed = true;
	return err;
}

void request_unwatch(struct run *r)
{
	if (r->hashed)
		hash_drop(r->v->tokens, token_key(call_app(r->c)->req_token), r);
	r->hashed = false;
}

struct run *request_find(struct verbs *v, const uint8_t token[16])
{
	struct run *r;

	for (size_t at = 0; (r = hash_next(v->tokens, token_key(token), &at));)
		if (memcmp(call_app(r->c)->req_token, token, 16) == 0)
			return r;
	return NULL;
}

/* ---- the runner's mailbox ---- */

int runner_tell(struct verbs *v, const struct ask *q)
{
	struct arena *a = arena_new(8192);
	struct run_request *m = a ? ask_build(q, a) : NULL;
	int err = m ? v->out->run(v->out->arg, m) : -ENOMEM;

	arena_free(a);
	return err;
}

void runner_taken(struct verbs *v, const uint8_t token[16], bool kill)
{
	struct ask q = {.kind = kill ? ASK_KILL : ASK_TAKEN, .token = token, .fd = -1};

	if (v->n_owed == 0 && runner_tell(v, &q) == 0)
		return;
	if (v->n_owed == OWED_MAX) { /* the runner forgets it by itself, later */
		count_add(COUNT_MAIL_FULL, 1);
		return;
	}
	memcpy(v->owed[v->n_owed].token, token, 16);
	v->owed[v->n_owed++].kill = kill;
	verbs_try_again(v);
}

void runner_pay(struct verbs *v)
{
	int done = 0;

	for (; done < v->n_owed; done++) {
		struct ask q = {.kind = v->owed[done].kill ? ASK_KILL : ASK_TAKEN, .token = v->owed[done].token, .fd = -1};

		if (runner_tell(v, &q) < 0)
			break;
	}
	memmove(v->owed, v->owed + done, (size_t)(v->n_owed - done) * sizeof(v->owed[0]));
	v->n_owed -= done;
	if (v->n_owed)
		verbs_try_again(v);
}

/* ---- asking ---- */

void request_trace(struct run *r, const char *method, struct str url, const struct pair *pairs, int n)
{
	char buf[8192];
	struct out o = OUT(buf);

	out_f(&o, "%s ", method);
	url_bare(&o, url);
	out_c(&o, '\n');
	for (int i = 0; i < n; i++) {
		if (i)
			out_c(&o, '&');
		out_url(&o, pairs[i].name);
		out_c(&o, '=');
		out_url(&o, pairs[i].value);
	}
	call_note(r->c, TRACE_REQUEST, call_app(r->c)->req_number, out_view(&o));
}

static int mail_cgi(struct run *r, const struct number *num, struct str query, struct arena *a)
{
	const struct params *p = r->v->params;
	const struct app_record *app = call_app(r->c);
	struct ask q = {.kind = ASK_CGI, .token = app->req_token, .wall_ms = (uint32_t)p->cgi_wall_s * 1000, .fd = -1};
	struct run_request *m = ask_build(&q, a);
	struct pair *pairs = arena_alloc(a, PAIRS_MAX * sizeof(*pairs));
	struct call_facts f;
	int n, err;

	if (!m || !pairs)
		return -ENOMEM;
	call_facts(r->c, &f);
	n = request_params(&f, call_text(r->c, app->req_form), a, pairs, PAIRS_MAX);
	const char *method = app->req_method ? "GET" : p->cgi_method;

	err = n < 0 ? n : request_cgi(pairs, n, num, query, method, a, m);
	if (!err)
		err = r->v->out->run(r->v->out->arg, m);
	if (!err)
		request_trace(r, method, call_text(r->c, app->req_url), pairs, n);
	return err;
}

static int mail_read(struct run *r, const struct number *num)
{
	struct ask q = {.kind = ASK_READ, .token = call_app(r->c)->req_token, .arg = {str_z(num->file)}, .wall_ms = READ_WALL_MS, .fd = -1};
	int err = runner_tell(r->v, &q);

	if (!err)
		request_trace(r, "READ", call_text(r->c, call_app(r->c)->req_url), NULL, 0);
	return err;
}

static int mail_file(struct run *r, const struct number *num, struct str query)
{
	struct arena *a = arena_new(1 << 20);
	int err = -ENOMEM;

	memcpy(r->file, num->file, sizeof(r->file));
	r->kind = num->kind;
	if (a)
		err = num->kind == SERVICE_CGI ? mail_cgi(r, num, query, a) : mail_read(r, num);
	arena_free(a);
	return err;
}

/* The request of the record, to the runner or to the web. */
static enum step mail(struct run *r)
{
	struct app_record *app = call_app(r->c);
	char name[36];
	struct str query;
	const struct number *num = NULL;
	int err = -EAGAIN;

	r->unsent = false;
	if (app->req_kind == REQ_WEB) {
		err = web_mail(r);
	} else {
		if (url_service(call_text(r->c, app->req_url), name, &query) == 0)
			num = services_file(r->v->services, str_z(name));
		if (num && (num->kind == SERVICE_CGI) == (app->req_kind == REQ_CGI))
			err = mail_file(r, num, query);
		else if (services_listed(r->v->services))
			return run_error(r, 11200, "services/%s is gone", name);
	}
	if (err == -E2BIG || err == -EMSGSIZE) {
		char where[256];
		struct out o = OUT(where);

		request_where(r, &o);
		return run_error(r, 90007, "%s", out_z(&o));
	}
	if (err == -ENOMEM || err == -ENOSYS)
		return run_error(r, 12400, err == -ENOMEM ? "no memory" : "there is no way to the web");
	if (err) { /* busy, or just being started again: until the deadline */
		r->unsent = true;
		verbs_try_again(r->v);
	} else {
		count_add(COUNT_REQUESTS, 1);
	}
	return STEP_WAIT;
}

void request_clock(struct run *r)
{
	int64_t at = call_app(r->c)->req_deadline_ms;

	if (r->filler_at)
		at = MIN(at, r->filler_at);
	if (r->hedge_at)
		at = MIN(at, r->hedge_at);
	call_timer(r->c, at);
}

int request_mark(struct run *r, enum req_kind kind, int64_t wall_ms, const struct request *q)
{
	struct app_record *app = call_app(r->c);
	int err;

	request_unwatch(r);
	err = call_keep(r->c, &app->req_url, q->url);
	if (!err)
		err = call_keep(r->c, &app->req_form, q->form);
	if (err)
		return err;
	rand_bytes(app->req_token, sizeof(app->req_token));
	err = request_watch(r);
	if (err)
		return err;
	/* nothing fails below */
	app->req_number++;
	app->req_marked_ms = r->v->now_ms;
	app->req_kind = (uint8_t)kind;
	app->req_attempt = (uint8_t)(1 + q->hops);
	app->req_method = q->get;
	app->req_fallback = q->fallback;
	app->req_deadline_ms = r->v->now_ms + wall_ms + SLACK_MS;
	r->phase = AT_REQUEST;
	web_waits(r);
	call_commit(r->c);
	request_clock(r);
	return 0;
}

static const char *kind_word(enum service_kind k)
{
	switch (k) {
	case SERVICE_CGI:
		return "cgi";
	case SERVICE_XML:
		return "xml";
	case SERVICE_TEXT:
		return "text";
	case SERVICE_SOUND:
		return "sound";
	case SERVICE_WEB:
		return "web";
	default:
		return "none";
	}
}

void request_where(struct run *r, struct out *o)
{
	const struct number_web *w = r->hedging ? run_web(r) : NULL;
	struct str url = w ? str_z(w->fallback_url) : call_text(r->c, call_app(r->c)->req_url), rest;
	char bare[1100];
	struct out b = OUT(bare);

	if (r->kind != SERVICE_WEB && !w) {
		out_f(o, "services/%s (%s)", r->file, kind_word(r->kind));
		return;
	}
	url_bare(&b, url);
	url = str_cut(out_view(&b), '?', &rest);
	out_safe(o, str_n(url.p, MIN(url.n, 200u)));
}

static void log_ran(struct run *r, uint32_t ms, int status, struct str type)
{
	char what[64], where[300];
	struct out o = OUT(what), w = OUT(where);
	int n = run_verbs(r);

	out_safe(&o, type);
	request_where(r, &w);
	if (!r->ran)
		log_line(LOG_INFO, "%s ran %s in %u ms: %d %s, %d %s", r->sid, out_z(&w), ms, status, out_z(&o), n, n == 1 ? "verb" : "verbs");
	r->ran = true;
}

/* A sound file answers: the document is ours and needs no asking. */
static enum step ask_sound(struct run *r, const struct number *num, struct str url)
{
	char doc[128];
	struct out o = OUT(doc);
	struct fault f;
	uint32_t code;

	OUT_STR(&o, "<Response><Play>");
	url_of_number(&o, num);
	OUT_STR(&o, ".wav</Play></Response>");
	memcpy(r->file, num->file, sizeof(r->file));
	r->kind = num->kind;
	code = run_document(r, STR("text/xml"), out_view(&o), 200, url, &f);
	if (code)
		return run_error(r, code, "services/%s: %s", num->file, f.text);
	log_ran(r, 0, 200, STR("audio/wav"));
	return STEP_AGAIN;
}

/* A document of the web may not have scripts of this machine run. */
static bool is_foreign(struct run *r)
{
	return url_is_web(call_text(r->c, call_app(r->c)->base_url));
}

enum step request_begin(struct run *r, const struct request *q)
{
	char name[36];
	struct str query;
	const struct number *num;

	if (url_is_web(q->url))
		return web_begin(r, q);
	if (url_service(q->url, name, &query) < 0)
		return run_error(r, 11100, "%.*s", (int)MIN(q->url.n, 200u), q->url.p ? q->url.p : "");
	if (!q->ours && is_foreign(r))
		return run_error(r, 11100, "a document of the web named %.*s; only services of this machine may", (int)MIN(q->url.n, 200u), q->url.p);
	num = services_file(r->v->services, str_z(name));
	if (!num)
		return run_error(r, 11200, "there is no services/%s", name);
	if (num->kind == SERVICE_BROKEN)
		return run_error(r, 90001, "number %s: %s", num->name, num->why);
	if (num->kind == SERVICE_WEB && num->web) {
		struct request there = *q;

		there.url = str_z(num->web->voice_url);
		there.get = num->web->voice_get;
		return web_begin(r, &there);
	}
	if (num->kind == SERVICE_SOUND)
		return ask_sound(r, num, q->url);
	if (request_mark(r, num->kind == SERVICE_CGI ? REQ_CGI : REQ_STATIC, num->kind == SERVICE_CGI ? (int64_t)r->v->params->cgi_wall_s * 1000 : READ_WALL_MS,
			 q) < 0)
		return run_error(r, 90003, "the memory of the calls is full");
	return mail(r);
}

enum step request_to(struct run *r, struct str ref, struct str form, bool get)
{
	struct str base = call_text(r->c, call_app(r->c)->base_url);
	char url[2048];
	size_t n;

	ref = str_trim(ref);
	if (url_resolve(base, ref, url, sizeof(url), &n) < 0)
		return run_error(r, 11100, "%.*s", (int)MIN(ref.n, 200u), ref.p ? ref.p : "");
	return request_begin(r, &(struct request){.url = str_n(url, n), .form = form, .get = get});
}

/* ---- the reply ---- */

void reply_trace(struct run *r, int status, struct str type, const struct told *t, struct str body)
{
	size_t cap = MIN(body.n, (size_t)TRACE_BODY) + 256;
	struct out o = {.p = malloc(cap), .cap = cap};

	if (!o.p)
		return;
	out_f(&o, "%d %.*s %u ms %u bytes\n", status, (int)MIN(type.n, 100u), type.p ? type.p : "", t->wall_ms, t->n);
	out_str(&o, str_n(body.p, MIN(body.n, (size_t)TRACE_BODY)));
	call_note(r->c, TRACE_REPLY, call_app(r->c)->req_number, out_view(&o));
	free(o.p);
}

/* While the hedge is still asked, it may save what has failed here; when both have failed, the service's own fault is told. */
enum step request_fail(struct run *r, const struct told *t, uint32_t code, const char *why)
{
	char where[300];
	struct out o = OUT(where);

	count_add(COUNT_REQUESTS_FAILED, 1);
	stats_request(call_text(r->c, call_app(r->c)->number_key), t->wall_ms, true);
	request_where(r, &o);
	out_z(&o);
	if (r->hedging || r->hedge.on) {
		run_warn(r, code, 0, "%s after %u ms: %s", where, t->wall_ms, why);
		if (!r->hedging) {
			r->lost = code;
			request_unwatch(r);
			call_app(r->c)->req_deadline_ms = r->hedge_until;
			request_clock(r);
		}
		return STEP_WAIT;
	}
	return run_error(r, code, "%s after %u ms: %s", where, t->wall_ms, why);
}

/* Location of a script. 301, 302 and 303 into the web turn a POST into a GET without the form, as they do there. */
static enum step redirect(struct run *r, const struct told *t, const struct reply *rep)
{
	struct app_record *app = call_app(r->c);
	char url[1024];
	size_t n;
	int err = url_resolve(call_text(r->c, app->req_url), rep->location, url, sizeof(url), &n);
	struct request q = {.form = call_text(r->c, app->req_form), .get = app->req_method, .fallback = app->req_fallback, .hops = app->req_attempt};

	if (err)
		return request_fail(r, t, 11216, "its Location: is no place that can be asked");
	if (app->req_attempt > limit_of(LIMIT_REDIRECTS_FETCH)) {
		count_add(COUNT_LIMIT_HIT, 1);
		return request_fail(r, t, 11215, "ten in a row");
	}
	q.url = str_n(url, n);
	q.ours = !url_is_web(q.url);
	if (!q.ours && rep->status != 307 && rep->status != 308) {
		q.get = true;
		q.form = STR_NONE;
	}
	return request_begin(r, &q);
}

static enum step apply(struct run *r, const struct told *t, const struct reply *rep, int fd, size_t head)
{
	bool web = r->kind == SERVICE_WEB || r->hedging;
	bool audio = str_istarts(rep->type, STR("audio/")) && rep->status / 100 == 2 && rep->status != 204;
	char base[1024];
	struct out b = OUT(base);
	struct fault f;
	uint32_t code;

	reply_trace(r, rep->status, rep->type, t, audio ? STR_NONE : rep->body);
	if (rep->location.n && (rep->status / 100 == 3 || !rep->body.n))
		return redirect(r, t, rep);
	if (audio && t->n - head > limit_of(LIMIT_AUDIO_BODY))
		return request_fail(r, t, 11750, "the sound is larger than 16 MiB");
	if (audio && rep->body.n) {
		r->body_fd = body_copy(fd, head, t->n - head);
		if (r->body_fd < 0) {
			r->body_fd = -1;
			return request_fail(r, t, 12400, "no memory for the sound");
		}
	}
	out_str(&b, web && t->url[0] ? str_z(t->url) : call_text(r->c, call_app(r->c)->req_url));
	code = run_document(r, rep->full_type, rep->body, rep->status, out_view(&b), &f);
	if (code) {
		char why[256];
		struct out w = OUT(why);

		if (f.line > 0)
			out_f(&w, "line %d: ", f.line);
		out_str(&w, str_z(f.text));
		return request_fail(r, t, code, out_z(&w));
	}
	/* nothing fails below */
	r->holds = audio && !web;
	web_won(r);
	stats_request(call_text(r->c, call_app(r->c)->number_key), t->wall_ms, false);
	log_ran(r, t->wall_ms, rep->status, rep->status == 204 ? STR("no content") : rep->type);
	run_lint(r);
	return STEP_AGAIN;
}

/* What was printed, by the rules of its kind. Only the first bytes are read: no document is longer, and a sound is not looked at here. */
enum step request_take(struct run *r, const struct told *t, int fd)
{
	size_t cap = limit_of(LIMIT_CGI_HEADER) + limit_of(LIMIT_DOCUMENT) + 1;
	char *buf = malloc(cap);
	ssize_t n = !buf ? -1 : fd >= 0 && t->n ? pread(fd, buf, MIN(cap, (size_t)t->n), 0) : 0;
	struct reply rep = {.status = 200};
	const char *why = "its answer cannot be read";
	uint32_t code = n < 0 ? 12400 : 0;
	enum step s;

	if (!code && (r->kind == SERVICE_WEB || r->hedging)) {
		struct str rest;

		rep.status = t->status;
		rep.full_type = str_z(t->type);
		rep.type = str_trim(str_cut(rep.full_type, ';', &rest));
		rep.body = str_n(buf, (size_t)n);
	} else if (!code && call_app(r->c)->req_kind == REQ_CGI) {
		code = reply_cgi(str_n(buf, (size_t)n), &rep, &why);
	} else if (!code) {
		rep.full_type = rep.type = r->kind == SERVICE_TEXT ? STR("text/plain") : STR("text/xml");
		rep.body = str_n(buf, (size_t)n);
	}
	if (code) {
		reply_trace(r, 0, STR_NONE, t, n > 0 ? str_n(buf, (size_t)n) : STR_NONE);
		s = request_fail(r, t, code, why);
	} else {
		s = apply(r, t, &rep, fd, rep.body.p ? (size_t)(rep.body.p - buf) : (size_t)n);
	}
	free(buf);
	return s;
}

/* The token has done its work: the record does not wait for it any more (it was committed so), the runner may forget it. */
enum step request_answer(struct run *r, const struct told *t, int fd)
{
	bool web = call_app(r->c)->req_kind == REQ_WEB;
	enum step s;

	if (t->state == TOLD_RUNNING)
		return STEP_WAIT;
	if (t->state == TOLD_UNKNOWN && t->since_ms < call_app(r->c)->req_marked_ms) /* it never reached the runner, so it was never started */
		return mail(r);
	if (t->state == TOLD_UNKNOWN) /* the runner is younger than the request: the one before may have started it */
		return request_runner_gone(r);
	request_unwatch(r);
	r->unsent = false;
	if (web)
		web_heard(r, t, fd);
	if (t->fault) {
		reply_trace(r, t->status, STR_NONE, t, STR_NONE);
		s = request_fail(r, t, t->fault, t->why);
	} else {
		s = request_take(r, t, fd);
	}
	if (!web && !r->holds)
		runner_taken(r->v, t->token, false);
	return s;
}

/* ---- what may come instead ---- */

enum step request_adopt(struct run *r)
{
	struct app_record *app = call_app(r->c);
	struct ask q = {.kind = ASK_STATE, .token = app->req_token, .fd = -1};
	struct str query;
	char name[36] = "";

	r->phase = AT_REQUEST;
	r->kind = app->req_kind == REQ_CGI ? SERVICE_CGI : app->req_kind == REQ_WEB ? SERVICE_WEB : SERVICE_XML;
	if (url_service(call_text(r->c, app->req_url), name, &query) == 0)
		memcpy(r->file, name, sizeof(name));
	if (request_watch(r) < 0)
		return run_error(r, 12400, "no memory");
	app->req_deadline_ms = MAX(app->req_deadline_ms, r->v->now_ms + SLACK_MS + (app->req_kind == REQ_WEB ? WEB_WALL_MS : 0));
	web_waits(r);
	request_clock(r);
	if (!call_is_up(r->c))
		call_ring(r->c);
	if (app->req_kind != REQ_CGI)
		return mail(r);
	if (runner_tell(r->v, &q) < 0) {
		r->unsent = true;
		verbs_try_again(r->v);
	}
	return STEP_WAIT;
}

/* A script's request that is not known to have left is asked for by its token: if the runner does not know it, it is mailed (request_answer). */
enum step request_retry(struct run *r)
{
	struct ask q = {.kind = ASK_STATE, .token = call_app(r->c)->req_token, .fd = -1};

	if (call_app(r->c)->req_kind != REQ_CGI)
		return mail(r);
	r->unsent = runner_tell(r->v, &q) < 0;
	if (r->unsent)
		verbs_try_again(r->v);
	return STEP_WAIT;
}

enum step request_runner_gone(struct run *r)
{
	struct told t = {0};

	if (call_app(r->c)->req_kind == REQ_WEB)
		return STEP_WAIT;
	if (r->unsent || call_app(r->c)->req_kind != REQ_CGI)
		return mail(r);
	request_unwatch(r);
	return request_fail(r, &t, 11200, "the runner ended while it ran; it is not started twice");
}

static enum step out_of_time(struct run *r)
{
	struct app_record *app = call_app(r->c);
	bool unsent = r->unsent, web = app->req_kind == REQ_WEB;
	struct told t = {.wall_ms = web ? WEB_WALL_MS : (uint32_t)(r->v->params->cgi_wall_s * 1000)};
	uint8_t token[16];
	enum step s;

	memcpy(token, app->req_token, sizeof(token));
	request_unwatch(r);
	r->unsent = false;
	waited_off(r, &r->hedge);
	if (r->lost) { /* its fallback was asked, and did not answer either */
		app->req_fallback = 1;
		s = request_fail(r, &t, r->lost, "and the fallback did not answer");
	} else {
		s = unsent ? request_fail(r, &t, web ? 11205 : 90006, "it could not be asked") : request_fail(r, &t, 11203, "no answer came");
	}
	if (web)
		web_drop(r, token);
	else
		runner_taken(r->v, token, true);
	return s;
}

enum step request_timer(struct run *r)
{
	web_due(r);
	if (r->v->now_ms >= call_app(r->c)->req_deadline_ms)
		return out_of_time(r);
	request_clock(r);
	return STEP_WAIT;
}

void request_forget(struct run *r)
{
	const struct app_record *app = call_app(r->c);

	request_unwatch(r);
	if (app->req_kind == REQ_WEB)
		web_drop(r, app->req_token);
	else if (app->req_kind != REQ_NONE && !r->unsent)
		runner_taken(r->v, app->req_token, true);
	else if (r->holds)
		runner_taken(r->v, app->req_token, false);
	r->holds = false;
	waited_off(r, &r->hedge);
	waited_off(r, &r->loser);
	remote_let(r);
}
