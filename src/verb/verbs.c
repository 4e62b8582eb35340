/* SPDX-License-Identifier: Apache-2.0
 *
 * verbs: the doors of the room: what a call tells, what the runner answers, the end of a turn. Here a call finds its service, and here the three log lines of a call
 * begin and end (the middle one: request.c). Sig thread. Runs are freed in verbs_turn, never under their own feet.
 */
#include <unistd.h>

#include "verb/inside.h"

#define FOLDER_WAIT_MS 10000 /* for the first listing after a start */
#define AGAIN_MS       20
#define LISTING_MAX    (1u << 20)

/* ---- runs ---- */

static struct run *run_new(struct verbs *v, struct call *c)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->v = v;
	r->c = c;
	sid_print("CA", call_sid(c), r->sid);
	r->told_at = -1;
	r->body_fd = r->media_fd = -1;
	link_init(&r->link);
	link_append(&v->runs, &r->link);
	call_set_user(c, r);
	return r;
}

static void run_free(struct run *r)
{
	link_drop(&r->link);
	if (r->body_fd >= 0)
		close(r->body_fd);
	if (r->media_fd >= 0)
		close(r->media_fd);
	document_free(r->doc);
	free(r->text);
	free(r);
}

/* ---- log ---- */

static void log_in(struct run *r, const struct call_facts *f)
{
	char name[128] = "";
	struct out o = OUT(name);
	struct str from = f->from_user.n ? f->from_user : f->from_uri;

	if (f->display.n) {
		OUT_STR(&o, " \"");
		out_safe(&o, str_n(f->display.p, MIN(f->display.n, 64u)));
		out_c(&o, '"');
	}
	log_line(LOG_INFO, "call %s from %.*s%s to %.*s", f->sid, (int)MIN(from.n, 100u), from.p ? from.p : "", out_z(&o), (int)MIN(f->extension.n, 100u),
		 f->extension.p ? f->extension.p : "");
}

static const char *party_word(enum call_party p)
{
	return p == PARTY_CALLER ? "caller" : p == PARTY_SERVICE ? "service" : p == PARTY_SYSTEM ? "system" : "nobody";
}

static void log_end(struct call *c, const struct call_event *e, int64_t now_ms)
{
	const struct call_record *rec = call_record_of(c);
	int64_t end = rec->ended_boot_ms ? rec->ended_boot_ms : now_ms, ms = MAX(end - rec->created_boot_ms, 0);
	char sid[35];

	sid_print("CA", call_sid(c), sid);
	log_line(LOG_INFO, "%s ended by %s after %lld.%lld s: %d", sid, party_word(e->by), (long long)(ms / 1000), (long long)(ms % 1000 / 100), e->status);
}

/* ---- a new call ---- */

static enum step refuse(struct run *r, int status)
{
	r->phase = AT_END;
	if (call_reject(r->c, status) < 0)
		call_hangup(r->c, PARTY_SYSTEM, NULL);
	return STEP_OVER;
}

static enum step no_service(struct run *r, struct str number)
{
	char buf[700], safe[128];
	struct out o = OUT(buf), s = OUT(safe);

	out_safe(&s, str_n(number.p, MIN(number.n, 40u)));
	out_z(&s);
	out_f(&o, "no service for %s: looked for services/%s, %s.xml, %s.txt, %s.wav, services/default", safe, safe, safe, safe, safe);
	call_note(r->c, TRACE_NOTE, 404, out_view(&o));
	log_line(LOG_WARN, "%s", out_z(&o));
	return refuse(r, 404);
}

static enum step find_service(struct run *r)
{
	struct call_facts f;
	char url[160];
	struct out o = OUT(url);

	call_facts(r->c, &f);
	const struct number *num = services_find(r->v->services, f.extension);

	if (!num)
		return no_service(r, f.extension);
	if (num->kind == SERVICE_BROKEN) {
		char text[256];
		struct out t = OUT(text);

		out_f(&t, "error 90001: number %s: two files for it: %s", num->name, num->why);
		call_note(r->c, TRACE_ERROR, 90001, out_view(&t));
		log_line(LOG_ERROR, "%s %s", f.sid, out_z(&t));
		return refuse(r, 500);
	}
	url_of_number(&o, num);
	(void)!call_keep(r->c, &call_app(r->c)->number_key, str_z(num->name));
	struct request q = {.url = out_view(&o), .ours = true};

	if (num->kind == SERVICE_WEB && num->web) {
		q.url = str_z(num->web->voice_url);
		q.get = num->web->voice_get;
	}
	callback_event(r->v, r->c, CALLBACK_INITIATED);
	enum step s = request_begin(r, &q);

	if (s == STEP_WAIT && r->phase == AT_REQUEST) {
		call_ring(r->c);
		callback_event(r->v, r->c, CALLBACK_RINGING);
	}
	return s;
}

static enum step new_call(struct run *r)
{
	if (services_listed(r->v->services))
		return find_service(r);
	r->phase = AT_FOLDER;
	call_timer(r->c, r->v->now_ms + FOLDER_WAIT_MS);
	call_ring(r->c);
	return STEP_WAIT;
}

/* ---- digits that nobody collects ---- */

void digits_drop(struct run *r, uint32_t upto)
{
	struct app_record *app = call_app(r->c);
	uint32_t from = app->digit_taken + 1;

	if (upto <= app->digit_taken)
		return;
	if (upto - app->digit_taken > LINE_DIGITS)
		from = upto - LINE_DIGITS + 1;
	for (uint32_t i = from; i <= upto; i++) {
		char d = call_digit(r->c, i);

		call_note(r->c, TRACE_DIGIT, i, str_n(&d, d ? 1 : 0));
	}
	app->digit_taken = upto;
	call_commit(r->c);
}

static void digit(struct run *r, uint32_t number)
{
	if (gather_open(r))
		run_go(r, gather_digits(r, number));
	else
		digits_drop(r, number);
}

/* ---- what a call tells ---- */

static enum step adopted(struct run *r)
{
	const struct app_record *app = call_app(r->c);

	callback_adopted(r->v, r->c);
	if (call_is_up(r->c)) /* the record may say so, and the worker have ended before it was told here */
		callback_event(r->v, r->c, CALLBACK_ANSWERED);
	else if (app->req_kind != REQ_NONE)
		callback_event(r->v, r->c, CALLBACK_RINGING);
	if (app->req_kind == REQ_NONE && app->doc_type.n)
		return run_resume(r);
	digits_drop(r, call_digits(r->c));
	if (app->req_kind == REQ_NONE)
		return new_call(r); /* the record was written, the request not */
	r->ran = app->doc_type.n != 0;
	return request_adopt(r);
}

static void ended(struct verbs *v, struct call *c, struct run *r, const struct call_event *e)
{
	log_end(c, e, v->now_ms);
	callback_over(v, c);
	call_set_user(c, NULL);
	if (!r)
		return;
	r->phase = AT_END;
	request_forget(r);
	sound_let(&r->cur);
	sound_let(&r->next);
	r->awaits = false;
	link_drop(&r->link);
	link_append(&v->bin, &r->link);
}

static void answered(struct run *r)
{
	if (r->busy)
		r->late_answer = true;
	else if (r->phase == AT_ANSWER)
		run_go(r, STEP_AGAIN);
}

static void due(struct run *r, const struct call_event *e)
{
	if (r->phase == AT_REQUEST)
		run_go(r, request_timer(r));
	else if (r->phase == AT_FOLDER)
		run_go(r, refuse(r, 503));
	else if (r->phase == AT_VERB && r->awaits)
		run_go(r, run_error(r, 90006, "a sound was ordered and did not come"));
	else
		run_go(r, run_event(r, e));
}

static void begin_run(struct verbs *v, struct call *c, const struct call_event *e)
{
	struct run *r = run_new(v, c);
	struct call_facts f;

	call_facts(c, &f);
	if (e->kind == CALL_EV_NEW)
		log_in(r, &f);
	if (!r) {
		log_line(LOG_ERROR, "%s: no memory for the call", f.sid);
		if (call_is_up(c) || call_reject(c, 503) < 0)
			call_hangup(c, PARTY_SYSTEM, "no memory");
		return;
	}
	run_go(r, e->kind == CALL_EV_NEW ? new_call(r) : adopted(r));
}

static void on_event(void *arg, struct call *c, const struct call_event *e)
{
	struct verbs *v = arg;
	struct run *r = call_user_of(c);

	v->now_ms = calls_now(call_all(c));
	if (e->kind == CALL_EV_NEW || e->kind == CALL_EV_ADOPTED) {
		begin_run(v, c, e);
		return;
	}
	if (e->kind == CALL_EV_ENDED) {
		ended(v, c, r, e);
		return;
	}
	if (!r)
		return;
	switch (e->kind) {
	case CALL_EV_ANSWERED:
		callback_event(v, c, CALLBACK_ANSWERED);
		answered(r);
		break;
	case CALL_EV_DIGIT:
		digit(r, e->number);
		break;
	case CALL_EV_TIMER:
		due(r, e);
		break;
	case CALL_EV_PLAYED:
	case CALL_EV_SENT:
		run_go(r, run_event(r, e));
		break;
	default: /* progress and heard frames are the small telephone's */
		break;
	}
}

/* ---- what the runner tells ---- */

/* A new listing is there: sounds of the folder may be others now, and calls that came before the first one can go on. */
static void folder_news(struct verbs *v)
{
	if (v->edition == services_edition(v->services))
		return;
	v->edition = services_edition(v->services);
	soundbox_folder_changed(v->sounds);
	LINK_EACH_SAFE (l, &v->runs) {
		struct run *r = container_of(l, struct run, link);

		if (r->phase != AT_FOLDER)
			continue;
		base_enter(r->sid);
		call_timer(r->c, 0);
		run_go(r, find_service(r));
	}
	base_enter("");
}

static void folder(struct verbs *v, const struct told *t, int fd)
{
	size_t n = MIN(t->n, LISTING_MAX);
	char *buf = malloc(n + 1);
	ssize_t got = buf && fd >= 0 && n ? pread(fd, buf, n, 0) : 0;

	if (!buf || got < 0 || services_update(v->services, str_n(buf, (size_t)got)) < 0)
		log_line(LOG_ERROR, "the listing of the services folder could not be read");
	free(buf);
	folder_news(v);
}

static bool is_waited_for(const struct run *r)
{
	return r->phase == AT_REQUEST && call_app(r->c)->req_kind != REQ_NONE;
}

static void late(struct verbs *v, const struct told *t)
{
	static const uint8_t nobody[16];

	trace_put(v->trace, TRACE_NOTE, nobody, 0, STR("the runner answered for a token that nobody waits for"));
	if (t->state == TOLD_DONE)
		runner_taken(v, t->token, false);
}

void verbs_run_answer(struct verbs *v, const struct run_answer *a, int fd, int64_t now_ms)
{
	struct told t;
	struct run *r;

	v->now_ms = now_ms;
	told_read(a, &t);
	if (t.state == TOLD_FOLDER) {
		folder(v, &t, fd);
	} else if (soundbox_answer(v->sounds, &t, fd)) {
		return; /* the fd is its */
	} else if ((r = request_find(v, t.token)) != NULL) {
		base_enter(r->sid);
		if (is_waited_for(r))
			run_go(r, request_answer(r, &t, fd));
		else
			run_go(r, body_answer(r, &t, fd));
		base_enter("");
	} else {
		late(v, &t);
	}
	if (fd >= 0)
		close(fd);
}

/* ---- what the web tells ---- */

static void late_web(struct verbs *v)
{
	static const uint8_t nobody[16];

	trace_put(v->trace, TRACE_NOTE, nobody, 0, STR("the web answered for a token that nobody waits for"));
}

void verbs_fetched(struct verbs *v, const struct fetched *f, int fd, int64_t now_ms)
{
	struct waited *w = NULL;
	struct told t;
	struct run *r;

	v->now_ms = now_ms;
	told_read_web(f, &t);
	if ((r = request_find(v, t.token)) != NULL) {
		base_enter(r->sid);
		if (is_waited_for(r) && call_app(r->c)->req_kind == REQ_WEB)
			run_go(r, request_answer(r, &t, fd));
		else
			run_go(r, body_fetched(r, &t, fd));
		base_enter("");
	} else if ((r = waited_find(v, t.token, &w)) != NULL) {
		base_enter(r->sid);
		run_go(r, waited_answer(r, w, &t, fd));
		base_enter("");
	} else if (!callback_fetched(v, &t)) {
		late_web(v);
	}
	if (fd >= 0)
		close(fd);
}

void verbs_runner_gone(struct verbs *v, int64_t now_ms)
{
	v->now_ms = now_ms;
	v->n_owed = 0; /* the new one knows of nothing */
	LINK_EACH_SAFE (l, &v->runs) {
		struct run *r = container_of(l, struct run, link);

		r->holds = false;
		base_enter(r->sid);
		if (is_waited_for(r))
			run_go(r, request_runner_gone(r));
	}
	base_enter("");
	soundbox_runner_gone(v->sounds);
}

/* ---- time ---- */

void verbs_try_again(struct verbs *v)
{
	if (v->again.at_ms == 0)
		timer_set(v->wheel, &v->again, v->now_ms + AGAIN_MS);
}

static void again_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct verbs *v = arg;

	v->now_ms = now_ms;
	timer_stop(t);
	runner_pay(v);
	callbacks_retry(v);
	LINK_EACH_SAFE (l, &v->runs) {
		struct run *r = container_of(l, struct run, link);

		base_enter(r->sid);
		if (r->unsent && is_waited_for(r))
			run_go(r, request_retry(r));
		remote_retry(r);
	}
	base_enter("");
	soundbox_retry(v->sounds);
}

static void bin_empty(struct verbs *v)
{
	while (!link_alone(&v->bin))
		run_free(container_of(v->bin.next, struct run, link));
}

void verbs_turn(struct verbs *v, int64_t now_ms)
{
	v->now_ms = now_ms;
	folder_news(v); /* whoever took the listing */
	bin_empty(v);
}

/* ---- the room ---- */

struct verbs *verbs_new(const struct verbs_opts *o)
{
	struct verbs *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->params = o->params;
	v->services = o->services;
	v->out = o->out;
	v->trace = o->trace;
	v->wheel = o->wheel;
	v->version = o->version;
	v->user = (struct call_user){.on_event = on_event, .arg = v};
	link_init(&v->runs);
	link_init(&v->bin);
	timer_init(&v->again, again_due, v);
	v->sounds = soundbox_new(v);
	v->callbacks = callbacks_new();
	v->tokens = hash_new(1 << 20);
	v->waited = hash_new(1 << 20);
	if (v->sounds && v->tokens && v->waited && v->callbacks)
		return v;
	verbs_free(v);
	return NULL;
}

void verbs_free(struct verbs *v)
{
	if (!v)
		return;
	timer_stop(&v->again);
	while (!link_alone(&v->runs))
		run_free(container_of(v->runs.next, struct run, link));
	bin_empty(v);
	soundbox_free(v->sounds);
	callbacks_free(v->callbacks);
	hash_free(v->tokens);
	hash_free(v->waited);
	free(v);
}

const struct call_user *verbs_call_user(struct verbs *v)
{
	return &v->user;
}

void verbs_set_calls(struct verbs *v, struct calls *cs)
{
	v->calls = cs;
}
