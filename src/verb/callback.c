/* SPDX-License-Identifier: Apache-2.0
 *
 * callback: status callbacks (call-control 2.2). What has happened is written into the call's record first (one line of app.callbacks: token, event, number, stamp, where to), then goes
 * as a row into the outbox of the store; when the store has it, the line is taken out of the record. The outbox says when a row is due; it is sent through the web with the row's token
 * and marked: answered, again later, or finally failed, which is warning 15003. A call never waits for any of it, and most are over before it is sent.
 *
 * Sig thread. The record remembers which events were ordered, so that a restart at any point repeats none and forgets none; the token is the same in all repeats, in the record, in the
 * table and on the wire. Nothing here grows: lines stand in records, rows in the table, and the outbox tells no more than CALLBACKS_MAX at once.
 */
#include <time.h>

#include "verb/inside.h"

#define CALLBACKS_MAX 64
#define LINES_MAX     8192
#define FORM_MAX      49152
#define PAIRS_MAX     256
#define BUSY_MS       1000 /* the web had no room */

static const struct {
	const char *word, *status; /* status NULL: the call's final one */
} events[] = {{"initiated", "initiated"}, {"ringing", "ringing"}, {"answered", "in-progress"}, {"completed", NULL}};

static const uint32_t again_after_ms[] = {1000, 5000, 30000, 120000, 600000};
#define ATTEMPTS (N_ELEMENTS(again_after_ms) + 1)

struct due { /* told by the outbox */
	uint8_t sid[16];
	char url[200]; /* for people */
	bool marked;   /* mark waits for room */
	struct outbox_mark mark;
};
struct callbacks {
	struct due due[CALLBACKS_MAX];
	int n;
	handle *owed; /* calls with lines that found no room */
	size_t n_owed, cap_owed;
};

struct callbacks *callbacks_new(void)
{
	return calloc(1, sizeof(struct callbacks));
}

void callbacks_free(struct callbacks *cb)
{
	if (cb)
		free(cb->owed);
	free(cb);
}

/* ---- a line of the record: TOKEN EVENT NUMBER UTC METHOD URL ---- */

struct line {
	uint8_t token[16];
	uint64_t event, number, utc_ms;
	bool get;
	struct str url;
};

static void line_print(struct out *o, const struct line *l)
{
	out_hex(o, l->token, sizeof(l->token));
	out_f(o, " %llu %llu %llu %s ", (unsigned long long)l->event, (unsigned long long)l->number, (unsigned long long)l->utc_ms, l->get ? "GET" : "POST");
	out_str(o, l->url);
	out_c(o, '\n');
}

static bool line_read(struct str s, struct line *ret)
{
	struct str token = str_cut(s, ' ', &s), event = str_cut(s, ' ', &s), number = str_cut(s, ' ', &s), utc = str_cut(s, ' ', &s),
		   method = str_cut(s, ' ', &s);
	char sid[35] = "CA";

	if (token.n != 32 || str_u64(event, N_ELEMENTS(events) - 1, &ret->event) || str_u64(number, UINT32_MAX, &ret->number) ||
	    str_u64(utc, INT64_MAX, &ret->utc_ms))
		return false;
	memcpy(sid + 2, token.p, 32);
	ret->get = str_eq(method, STR("GET"));
	ret->url = s;
	return !sid_parse(str_n(sid, 34), "CA", ret->token);
}

/* ---- the form ---- */

static void add(struct out *o, const char *name, const char *value)
{
	if (o->n)
		out_c(o, '&');
	out_str(o, str_z(name));
	out_c(o, '=');
	out_url(o, str_z(value));
}
static void add_n(struct out *o, const char *name, uint64_t value)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%llu", (unsigned long long)value);
	add(o, name, buf);
}

static void add_stamp(struct out *o, uint64_t utc_ms)
{
	time_t t = (time_t)(utc_ms / 1000);
	struct tm tm;
	char buf[64];

	if (gmtime_r(&t, &tm) && strftime(buf, sizeof(buf), "%a, %d %b %Y %H:%M:%S +0000", &tm)) /* RFC 2822; the program never leaves the C locale */
		add(o, "Timestamp", buf);
}

static void add_end(struct out *o, struct call *c)
{
	static const char *const parties[] = {"", "caller", "service", "system"};
	const struct call_record *r = call_record_of(c);
	int64_t ms = r->answered_boot_ms ? MAX(r->ended_boot_ms - r->answered_boot_ms, 0) : 0;
	uint64_t s = (uint64_t)(ms + 999) / 1000;
	struct media_counts n;
	char mos[16];

	add_n(o, "CallDuration", s);
	add_n(o, "Duration", (s + 59) / 60);
	if (r->status)
		add_n(o, "SipResponseCode", r->status);
	if (r->hangup_by && r->hangup_by < N_ELEMENTS(parties))
		add(o, "HangupBy", parties[r->hangup_by]);
	if (!r->answered_ms)
		return;
	call_counts(c, &n);
	add_n(o, "RtpPacketsIn", n.packets_in);
	add_n(o, "RtpPacketsOut", n.packets_out);
	add_n(o, "RtpPacketsLost", n.lost);
	add_n(o, "RtpJitterMs", (n.jitter_us + 500) / 1000);
	if (n.packets_in) { /* of one who never spoke nothing can be said */
		snprintf(mos, sizeof(mos), "%.2f", mos_estimate(n.packets_in, n.lost, n.jitter_us, n.rtt_us));
		add(o, "AudioInMos", mos);
	}
}

static struct str form_of(struct call *c, const struct line *l, struct arena *a)
{
	struct pair *pairs = arena_alloc(a, PAIRS_MAX * sizeof(*pairs));
	struct call_facts f;
	char more[1024];
	struct out o = OUT(more);
	int n;

	if (!pairs)
		return STR_NONE;
	call_facts(c, &f);
	if (events[l->event].status)
		f.status = events[l->event].status;
	add_stamp(&o, l->utc_ms);
	add(&o, "CallbackSource", "call-progress-events");
	add_n(&o, "SequenceNumber", l->number);
	if (l->event == CALLBACK_COMPLETED)
		add_end(&o, c);
	n = request_params(&f, out_view(&o), a, pairs, PAIRS_MAX);
	if (n < 0)
		return STR_NONE;
	struct str form = request_form(pairs, n, a);
	if (form.n <= FORM_MAX)
		return form;
	f.x_headers = STR_NONE; /* what is told of the call counts more than what a phone adds to it */
	n = request_params(&f, out_view(&o), a, pairs, PAIRS_MAX);
	return n < 0 ? STR_NONE : request_form(pairs, n, a);
}

/* ---- record → outbox ---- */

static void owe(struct verbs *v, struct call *c)
{
	struct callbacks *cb = v->callbacks;

	for (size_t i = 0; i < cb->n_owed; i++)
		if (cb->owed[i] == call_handle(c))
			return;
	if (cb->n_owed == cb->cap_owed) {
		size_t cap = cb->cap_owed ? cb->cap_owed * 2 : 16;
		handle *h = realloc(cb->owed, cap * sizeof(*h));

		if (!h) {
			log_line(LOG_ERROR, "%s: no memory for its status callbacks; they are sent after the next start", base_at());
			return;
		}
		cb->owed = h;
		cb->cap_owed = cap;
	}
	cb->owed[cb->n_owed++] = call_handle(c);
	verbs_try_again(v);
}

static void put(struct verbs *v, struct call *c, const struct line *l)
{
	struct arena *a = arena_new(1 << 20);
	struct outbox_post p = {.owner = call_handle(c), .made_ms = (int64_t)l->utc_ms, .get = l->get, .url = l->url};

	memcpy(p.token, l->token, sizeof(p.token));
	memcpy(p.sid, call_sid(c), sizeof(p.sid));
	memcpy(p.account, call_record_of(c)->account, sizeof(p.account));
	if (a)
		p.form = form_of(c, l, a);
	if (!p.form.p || v->out->outbox_put(v->out->arg, &p))
		owe(v, c);
	arena_free(a);
}

static void put_all(struct verbs *v, struct call *c)
{
	char buf[LINES_MAX];
	struct out o = OUT(buf);
	struct str rest;
	struct line l;

	out_str(&o, call_text(c, call_app(c)->callbacks)); /* the text may go while we walk */
	for (rest = out_view(&o); rest.n;)
		if (line_read(str_cut(rest, '\n', &rest), &l))
			put(v, c, &l);
}

static const struct number_web *web_of(struct verbs *v, struct call *c)
{
	struct call_facts f;
	const struct number *n;

	call_facts(c, &f);
	n = services_find(v->services, f.extension);
	return n && n->web && *n->web->status_callback ? n->web : NULL;
}

/* Once for each event of a call. The call goes on in any case. */
void callback_event(struct verbs *v, struct call *c, enum callback_event e)
{
	struct app_record *app = call_app(c);
	const struct call_record *r = call_record_of(c);
	const struct number_web *web = app->callback_seq & BIT(e) || !v->out->outbox_put ? NULL : web_of(v, c);
	char buf[LINES_MAX];
	struct out o = OUT(buf);
	struct line l = {.event = e, .number = (uint64_t)__builtin_popcount(app->callback_seq)};

	if (!web || !(web->callback_events & BIT(e)))
		return;
	rand_bytes(l.token, sizeof(l.token));
	l.utc_ms = (uint64_t)(r->created_ms + MAX((r->ended_boot_ms ? r->ended_boot_ms : v->now_ms) - r->created_boot_ms, 0));
	l.get = web->callback_get;
	l.url = str_z(web->status_callback);
	out_str(&o, call_text(c, app->callbacks));
	line_print(&o, &l);
	if (o.over || call_keep(c, &app->callbacks, out_view(&o)))
		log_line(LOG_WARN, "%s: the memory of the calls is full: its status callback does not outlive this worker until it is stored", base_at());
	app->callback_seq |= BIT(e);
	call_commit(c);
	put(v, c, &l);
}

void callback_adopted(struct verbs *v, struct call *c)
{
	if (call_app(c)->callbacks.n && v->out->outbox_put)
		put_all(v, c);
}

void callback_over(struct verbs *v, struct call *c)
{
	struct media_counts n;

	call_counts(c, &n);
	if (n.packets_in)
		stats_media(n.packets_in, n.lost, n.concealed, n.jitter_us);
	callback_adopted(v, c); /* lines of before: told of the end again after a restart, or still owed */
	callback_event(v, c, CALLBACK_COMPLETED);
}

void verbs_outbox_kept(struct verbs *v, handle owner, const uint8_t token[16], int64_t now_ms)
{
	struct call *c = call_get(v->calls, owner);
	char buf[LINES_MAX];
	struct out o = OUT(buf);
	struct line l;
	bool found = false;

	v->now_ms = now_ms;
	if (!c)
		return;
	struct app_record *app = call_app(c);
	for (struct str rest = call_text(c, app->callbacks); rest.n;) {
		struct str one = str_cut(rest, '\n', &rest);

		if (line_read(one, &l) && !memcmp(l.token, token, 16)) {
			found = true;
			continue;
		}
		out_str(&o, one);
		out_c(&o, '\n');
	}
	if (!found)
		return;
	if (call_keep(c, &app->callbacks, out_view(&o))) {
		owe(v, c); /* put again, and acknowledged again, when there may be room */
		return;
	}
	call_commit(c);
	call_settled(c);
}

/* ---- outbox → web → outbox ---- */

static void mark_or_wait(struct verbs *v, struct due *d)
{
	struct callbacks *cb = v->callbacks;

	d->marked = true;
	if (v->out->outbox_mark(v->out->arg, &d->mark)) {
		verbs_try_again(v);
		return;
	}
	*d = cb->due[--cb->n];
}

static void give_up(struct verbs *v, struct due *d, const char *why)
{
	char text[512];
	struct out o = OUT(text);

	out_f(&o, "warning 15003: status callback to %s: %s; it was tried %u times and is given up", d->url, why, MIN(d->mark.attempt, (uint16_t)ATTEMPTS));
	trace_put(v->trace, TRACE_ERROR, d->sid, 15003, out_view(&o));
	char sid[35];
	sid_print("CA", d->sid, sid);
	log_line(LOG_WARN, "%s %s", sid, out_z(&o));
	d->mark.state = OUTBOX_FAILED;
}

static void outcome(struct verbs *v, struct due *d, uint16_t attempt, const char *fault)
{
	d->mark.attempt = attempt;
	if (!fault) {
		d->mark.state = OUTBOX_ANSWERED;
	} else if (attempt >= ATTEMPTS) {
		give_up(v, d, fault);
	} else {
		d->mark.state = OUTBOX_PENDING;
		d->mark.after_ms = again_after_ms[attempt - 1];
	}
	mark_or_wait(v, d);
}

static void trace_request(struct verbs *v, const struct outbox_post *p)
{
	char buf[8192];
	struct out o = OUT(buf);

	out_f(&o, "%s ", p->get ? "GET" : "POST");
	url_bare(&o, p->url);
	out_c(&o, '\n');
	out_str(&o, str_n(p->form.p, MIN(p->form.n, sizeof(buf) - o.n)));
	trace_put(v->trace, TRACE_REQUEST, p->sid, 0, out_view(&o));
}

static int send_out(struct verbs *v, const struct outbox_post *p)
{
	struct arena *a = arena_new(8192);
	struct ask q = {.kind = ASK_WEB, .token = p->token, .fd = -1, .url = p->url, .form = p->form, .get = p->get, .trusted = true, .sign = true};
	struct fetch *f = a ? ask_build_web(&q, a) : NULL;
	int err = !v->out->fetch ? -EAGAIN : f ? v->out->fetch(v->out->arg, f) : -ENOMEM;

	arena_free(a);
	return err;
}

void verbs_outbox_due(struct verbs *v, const struct outbox_post *p, int64_t now_ms)
{
	struct callbacks *cb = v->callbacks;
	struct due *d = &cb->due[cb->n];
	struct out o = {.p = d->url, .cap = sizeof(d->url)};
	int err;

	v->now_ms = now_ms;
	ASSERT(cb->n < CALLBACKS_MAX); /* the outbox tells no more at once */
	cb->n++;
	*d = (struct due){.mark = {.attempt = p->attempt}};
	memcpy(d->sid, p->sid, sizeof(d->sid));
	memcpy(d->mark.token, p->token, sizeof(d->mark.token));
	url_bare(&o, p->url);
	out_z(&o);
	if (p->attempt >= ATTEMPTS) {
		outcome(v, d, p->attempt, "it is a day old");
		return;
	}
	err = send_out(v, p);
	if (!err) {
		trace_request(v, p);
		return;
	}
	if (err == -E2BIG) {
		outcome(v, d, ATTEMPTS, "it is too large");
		return;
	}
	d->mark.after_ms = BUSY_MS;
	mark_or_wait(v, d);
}

bool callback_fetched(struct verbs *v, const struct told *t)
{
	struct callbacks *cb = v->callbacks;
	char buf[512];
	struct out o = OUT(buf);
	struct due *d = NULL;

	for (int i = 0; i < cb->n && !d; i++)
		if (!cb->due[i].marked && !memcmp(cb->due[i].mark.token, t->token, sizeof(t->token)))
			d = &cb->due[i];
	if (!d)
		return false;
	out_f(&o, "%u %.100s %u ms", t->status, t->type, t->wall_ms);
	if (t->fault)
		out_f(&o, " %s", t->why);
	trace_put(v->trace, TRACE_REPLY, d->sid, 0, out_view(&o));
	d->mark.status = t->status;
	outcome(v, d, (uint16_t)(d->mark.attempt + 1), t->fault ? *t->why ? t->why : "no answer" : NULL);
	return true;
}

/* What found no room. */
void callbacks_retry(struct verbs *v)
{
	struct callbacks *cb = v->callbacks;
	size_t n = cb->n_owed;

	for (int i = cb->n - 1; i >= 0; i--)
		if (cb->due[i].marked)
			mark_or_wait(v, &cb->due[i]);
	cb->n_owed = 0; /* put_all may owe them again; the list is as long as before then, so it is not moved */
	for (size_t i = 0; i < n; i++) {
		struct call *c = call_get(v->calls, cb->owed[i]);

		if (c)
			put_all(v, c);
	}
}
