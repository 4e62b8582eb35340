/* SPDX-License-Identifier: Apache-2.0
 *
 * verb_rig: the interpreter with a call, a runner and media threads of paper. Every order leaves a word in `orders`; nothing has a thread or a clock. A crash is a
 * longjmp out of an order: what was committed, the texts, the runner and the media line are still there for the next interpreter.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call/call.h"
#include "keeper/keeper.h"
#include "media/media.h"
#include "service/service.h"
#include "verb/verb.h"
#include "web/web.h"

#define TEXTS_MAX 4096
#define JOBS_MAX  512
#define QUEUE_MAX 32

struct calls {
	int64_t now;
};
struct call {
	struct calls *all;
	struct call_record r, kept; /* kept: as committed */
	void *user;
	bool busy, over;
	struct call_event q[QUEUE_MAX];
	int qn;
	int64_t timer_at;
	bool playing, sending, echo;
	uint32_t line_number, line_pos, line_loop, line_digit;
	char line_digits[16];
};

struct job {
	enum run_kind kind;
	uint8_t token[16];
	char arg[2][300];
	char *in;
	size_t in_n;
	char query[128];
	bool due, taken, unknown;
	int made; /* how often it was carried out */
};

struct visit { /* a request to the web */
	uint8_t token[16];
	char url[256], form[2048];
	bool due, told;
};

static struct calls all;
static struct call the_call;
static char order_buf[1 << 16], trace_buf[1 << 18];
static struct out orders, traces;
static char *text_of_heap[TEXTS_MAX];
static uint32_t n_texts;
static struct job jobs[JOBS_MAX];
static int n_jobs;
static char sound_names[20000][300];
static int sounds_alive;
static struct job *answering;
static struct verbs *verbs;
static struct services *services;
static struct wheel *wheel;
static struct params params;
static struct call_facts facts_now;
static const char *(*script)(const struct job *j, int nth); /* what the CGI script prints; NULL = exit 1 */
static const char *(*file_of)(const char *name);            /* what a file holds; NULL = not there */
static struct visit visits[128];
static int n_visits, web_busy;
static const char *(*page_of)(const struct visit *v); /* what a URL answers; NULL = refused */
static const char *typed;                             /* keys that are pressed while the interpreter waits for something */
static int scripts_run, run_busy, media_busy;
static enum run_fault script_fault;
static int crash_at, points;
static jmp_buf crash;
static bool heap_full;

/* Something that lasts happens before or after this point. */
static inline void point(void)
{
	if (crash_at && ++points == crash_at)
		longjmp(crash, 1);
}

static inline void said(const char *fmt, ...) _printf_(1, 2);
static inline void said(const char *fmt, ...)
{
	va_list ap;

	if (orders.n)
		out_c(&orders, ' ');
	va_start(ap, fmt);
	out_vf(&orders, fmt, ap);
	va_end(ap);
}

/* ---- call/ ---- */

static inline void tell(struct call *c, struct call_event e)
{
	const struct call_user *u = verbs_call_user(verbs);

	assert_true(c->qn < QUEUE_MAX);
	c->q[c->qn++] = e;
	if (c->busy)
		return;
	c->busy = true;
	while (c->qn) {
		struct call_event first = c->q[0];

		memmove(c->q, c->q + 1, (size_t)--c->qn * sizeof(c->q[0]));
		u->on_event(u->arg, c, &first);
	}
	c->busy = false;
}

static inline void over(struct call *c, enum call_party by, int status)
{
	if (c->over)
		return;
	c->over = true;
	c->timer_at = 0;
	c->playing = c->sending = c->echo = false;
	c->r.state = CALL_OVER;
	c->r.status = c->r.status ? c->r.status : (uint16_t)status;
	c->r.ended_boot_ms = all.now;
	tell(c, (struct call_event){.kind = CALL_EV_ENDED, .status = c->r.status, .by = by});
}

int call_ring(struct call *c)
{
	assert_false(c->over);
	if (c->r.state == CALL_RINGING && !c->r.cause) { /* cause: has rung */
		c->r.cause = c->kept.cause = 1;
		said("ring");
	}
	return 0;
}

int call_answer(struct call *c)
{
	assert_false(c->over);
	if (c->r.state == CALL_UP)
		return 0;
	point();
	said("answer");
	c->r.state = CALL_UP;
	c->r.status = 200;
	c->r.answered_ms = 1;
	c->kept = c->r;
	point();
	tell(c, (struct call_event){.kind = CALL_EV_ANSWERED});
	return 0;
}

int call_reject(struct call *c, int status)
{
	if (c->over || c->r.state == CALL_UP)
		return -EPROTO;
	point();
	said("reject%d", status);
	over(c, PARTY_SERVICE, status);
	return 0;
}

void call_hangup(struct call *c, enum call_party by, const char *reason)
{
	if (c->over)
		return;
	point();
	said(by == PARTY_SYSTEM ? "hangup!" : "hangup");
	over(c, by, 480);
}

bool call_is_up(const struct call *c)
{
	return c->r.state == CALL_UP;
}

void call_commit(struct call *c)
{
	assert_false(c->over);
	point();
	c->kept = c->r;
	point();
}

int call_play(struct call *c, const struct play_order *p, uint32_t *ret_number)
{
	assert_true(call_is_up(c));
	*ret_number = ++c->r.app.play_number;
	call_commit(c);
	said("play'%s'", sound_names[p->sound]);
	if (p->pos)
		said("@%u", p->pos);
	if (p->loops > 1)
		said("x%u", p->loops - p->loop);
	assert_true(p->n_samples > 0);
	c->playing = true;
	c->line_number = *ret_number;
	c->line_pos = MAX(p->pos, p->n_samples / 2); /* where it would stand if the worker died now */
	c->line_loop = p->loop;
	point();
	return 0;
}

void call_play_stop(struct call *c)
{
	c->playing = false;
}

void call_play_at(const struct call *c, uint32_t *ret_pos, uint32_t *ret_loop)
{
	bool same = c->line_number == c->r.app.play_number;

	*ret_pos = same ? c->line_pos : 0;
	*ret_loop = same ? c->line_loop : 0;
}

void call_echo(struct call *c, bool on)
{
	point();
	said(on ? "echo" : "noecho");
	c->echo = on;
	point();
}

void call_tap(struct call *c, bool on) {}

int call_send_digits(struct call *c, struct str digits)
{
	point();
	said("send%.*s", STR_ARG(digits));
	c->sending = true;
	point();
	return 0;
}

uint32_t call_digits(const struct call *c)
{
	return c->line_digit;
}
char call_digit(const struct call *c, uint32_t number)
{
	return c->line_digits[number % 16];
}
void call_timer(struct call *c, int64_t at_ms)
{
	c->timer_at = at_ms;
}
struct app_record *call_app(struct call *c)
{
	return &c->r.app;
}
struct call_record *call_record_of(struct call *c)
{
	return &c->r;
}

int call_keep(struct call *c, struct text *t, struct str s)
{
	if (heap_full)
		return -ENOSPC;
	*t = (struct text){0};
	if (!s.n)
		return 0;
	assert_true(n_texts + 1 < TEXTS_MAX);
	n_texts++;
	text_of_heap[n_texts] = malloc(s.n);
	memcpy(text_of_heap[n_texts], s.p, s.n);
	*t = (struct text){n_texts, (uint32_t)s.n};
	return 0;
}

struct str call_text(const struct call *c, struct text t)
{
	return t.n ? str_n(text_of_heap[t.off], t.n) : STR_NONE;
}
void call_set_user(struct call *c, void *p)
{
	c->user = p;
}
void *call_user_of(const struct call *c)
{
	return c->user;
}
const uint8_t *call_sid(const struct call *c)
{
	return c->r.sid;
}
handle call_handle(const struct call *c)
{
	return 1;
}
struct call *call_get(struct calls *cs, handle h)
{
	return h == 1 ? &the_call : NULL;
}
void call_counts(const struct call *c, struct media_counts *ret)
{
	*ret = (struct media_counts){0};
}
void call_settled(struct call *c) {}
struct calls *call_all(struct call *c)
{
	return c->all;
}
int64_t calls_now(const struct calls *cs)
{
	return cs->now;
}

void call_facts(struct call *c, struct call_facts *ret)
{
	*ret = facts_now;
	ret->status = call_is_up(c) ? "in-progress" : "ringing";
}

void call_note(struct call *c, enum trace_kind k, uint32_t code, struct str payload)
{
	out_f(&traces, "[%s %u ", trace_table[k].name, code);
	out_str(&traces, str_n(payload.p, MIN(payload.n, 600u)));
	OUT_STR(&traces, "]\n");
}

/* ---- runner and media ---- */

static inline struct job *job_find(const uint8_t token[16])
{
	for (int i = 0; i < n_jobs; i++)
		if (!jobs[i].taken && memcmp(jobs[i].token, token, 16) == 0)
			return &jobs[i];
	return NULL;
}

static inline void job_copy(struct job *j, const struct run_request *q)
{
	for (int i = 0; i < q->n_args && i < 2; i++)
		snprintf(j->arg[i], sizeof(j->arg[i]), "%.*s", STR_ARG(q->args[i]));
	for (struct str rest = q->env; rest.n;) {
		struct str one = str_cut(rest, 0, &rest);

		if (str_starts(one, STR("QUERY_STRING=")))
			snprintf(j->query, sizeof(j->query), "%.*s", (int)one.n - 13, one.p + 13);
	}
	j->in = malloc(q->in.n + 1);
	if (q->in.n)
		memcpy(j->in, q->in.p, q->in.n);
	j->in_n = q->in.n;
	j->in[j->in_n] = 0;
}

static inline int fake_run(void *arg, const struct run_request *q)
{
	struct job *j = job_find(q->token);

	if (run_busy && run_busy-- > 0)
		return -EAGAIN;
	point();
	if (q->kind == RUN_TAKEN || q->kind == RUN_KILL) {
		if (j)
			j->taken = true;
		return 0;
	}
	if (!j) {
		assert_true(n_jobs < JOBS_MAX);
		j = &jobs[n_jobs++];
		*j = (struct job){.kind = q->kind, .unknown = q->kind == RUN_ASK};
		memcpy(j->token, q->token, 16);
		job_copy(j, q);
	}
	j->due = true;
	point();
	return 0;
}

/* A request that is sent again has the token it had. */
static inline int fake_fetch(void *arg, const struct fetch *f)
{
	struct visit *v = &visits[n_visits++];

	if (web_busy && web_busy-- > 0) {
		n_visits--;
		return -EAGAIN;
	}
	assert_true(n_visits <= (int)N_ELEMENTS(visits));
	point();
	if (str_starts(f->url, STR("http://own/")))
		assert_true(f->trusted);
	*v = (struct visit){.due = true};
	memcpy(v->token, f->token, 16);
	snprintf(v->url, sizeof(v->url), "%.*s", STR_ARG(f->url));
	snprintf(v->form, sizeof(v->form), "%.*s", (int)f->form.n, f->form.n ? f->form.p : "");
	for (struct visit *was = visits; was < v; was++)
		if (strcmp(was->url, v->url) == 0 && strcmp(was->form, v->form) == 0 && !was->told)
			assert_memory_equal(was->token, v->token, 16);
	point();
	return 0;
}
static inline void fake_fetch_drop(void *arg, const uint8_t token[16])
{
	for (int i = 0; i < n_visits; i++)
		if (memcmp(visits[i].token, token, 16) == 0)
			visits[i].due = false;
}

static inline int fake_sound(void *arg, const struct media_cmd *c, int fd)
{
	struct job *j = answering;

	if (c->kind == MEDIA_SOUND_DROP) {
		sounds_alive--;
		return 0;
	}
	assert_true(c->kind == MEDIA_SOUND && fd >= 0 && c->sound.n_samples > 0);
	if (j)
		snprintf(sound_names[c->sound.sound], 300, "%s", j->kind == RUN_SPEAK ? j->in : j->arg[1][0] ? j->arg[1] : j->arg[0]);
	if (media_busy && media_busy-- > 0)
		return -EAGAIN;
	sounds_alive++;
	return 0;
}

static inline int memfd_of(const char *p, size_t n)
{
	int fd = memfd_create("x", MFD_CLOEXEC);

	for (size_t done = 0; p && done < n;)
		done += (size_t)write(fd, p + done, n - done);
	if (!p)
		assert_int_equal(ftruncate(fd, (off_t)n), 0);
	return fd;
}

static inline void carry_out(struct job *j, struct run_answer *a, int *fd)
{
	const char *text = NULL;
	uint32_t samples = 0;

	a->state = RUN_DONE;
	a->wall_ms = 12;
	if (j->kind == RUN_CGI) {
		if (j->made++ == 0)
			scripts_run++;
		text = script ? script(j, scripts_run) : NULL;
		a->fault = script_fault ? script_fault : text ? RUN_OK : RUN_EXIT;
		a->code = 1;
		snprintf(a->last_line, sizeof(a->last_line), "boom");
	} else if (j->kind == RUN_READ) {
		text = file_of ? file_of(j->arg[0]) : NULL;
		a->fault = text ? RUN_OK : RUN_NOT_FOUND;
	} else {
		a->fault = j->kind == RUN_DECODE && strstr(j->arg[1], "missing") ? RUN_NOT_FOUND : strstr(j->arg[1], "broken") ? RUN_BAD_SOUND : RUN_OK;
		if (strstr(j->in, "unspeakable"))
			a->fault = RUN_SYSTEM;
		samples = a->fault || (j->in_n && strstr(j->in, "silent")) ? 0 : 1000;
	}
	a->n = text ? (uint32_t)strlen(text) : samples;
	*fd = a->fault ? -1 : text ? memfd_of(text, a->n) : memfd_of(NULL, samples * 2);
}

static inline bool answer_one(void)
{
	for (int i = 0; i < n_jobs; i++) {
		struct job *j = &jobs[i];
		struct run_answer a = {.kind = (uint8_t)j->kind};
		int fd = -1;

		if (!j->due || j->taken)
			continue;
		j->due = false;
		memcpy(a.token, j->token, 16);
		answering = j;
		if (j->unknown) {
			a.state = RUN_UNKNOWN;
			j->taken = true;
		} else {
			carry_out(j, &a, &fd);
		}
		verbs_run_answer(verbs, &a, fd, all.now);
		answering = NULL;
		return true;
	}
	return false;
}

static inline bool answer_visit(void)
{
	for (int i = 0; i < n_visits; i++) {
		struct visit *v = &visits[i];
		struct fetched f = {.total_ms = 7, .attempts = 1, .status = 200};
		const char *text;

		if (!v->due)
			continue;
		v->due = false;
		v->told = true;
		text = page_of ? page_of(v) : NULL;
		memcpy(f.token, v->token, 16);
		snprintf(f.type, sizeof(f.type), strstr(v->url, ".wav") ? "audio/wav" : "text/xml");
		snprintf(f.url, sizeof(f.url), "%s", v->url);
		f.n = text ? (uint32_t)strlen(text) : 0;
		if (!text) {
			f.fault = 11202;
			f.status = 0;
		}
		verbs_fetched(verbs, &f, text ? memfd_of(text, f.n) : -1, all.now);
		return true;
	}
	return false;
}

/* ---- the test's hands ---- */

static inline void rig_verbs(void)
{
	static const struct verb_out out = {.run = fake_run, .sound = fake_sound, .fetch = fake_fetch, .fetch_drop = fake_fetch_drop};
	struct verbs_opts o = {.params = &params, .services = services, .out = &out, .wheel = wheel, .version = "0"};

	verbs = verbs_new(&o);
	assert_non_null(verbs);
	verbs_set_calls(verbs, &all);
}

static inline void listing(const char *text)
{
	struct run_answer a = {.state = RUN_FOLDER, .n = (uint32_t)strlen(text)};

	verbs_run_answer(verbs, &a, memfd_of(text, a.n), all.now);
}

static inline void rig_open(const char *files)
{
	params_init(&params);
	all.now = 1000;
	orders = OUT(order_buf);
	traces = OUT(trace_buf);
	wheel = wheel_new(all.now);
	services = services_new();
	the_call = (struct call){.all = &all, .r = {.state = CALL_RINGING, .sid = {1}, .created_boot_ms = all.now}};
	the_call.kept = the_call.r;
	facts_now = (struct call_facts){.sid = "CA01000000000000000000000000000000",
					.account = "AC1",
					.from_uri = STR("sip:204@h"),
					.from_user = STR("204"),
					.to_uri = STR("sip:100@h"),
					.to_user = STR("100"),
					.host = STR("h"),
					.display = STR("Ann"),
					.extension = STR("100"),
					.call_id = STR("x"),
					.source_ip = STR("127.0.0.1"),
					.direction = "inbound"};
	n_jobs = n_visits = web_busy = 0;
	page_of = NULL;
	typed = NULL;
	n_texts = 0;
	scripts_run = run_busy = media_busy = sounds_alive = 0;
	script = NULL;
	file_of = NULL;
	script_fault = RUN_OK;
	crash_at = points = 0;
	heap_full = false;
	rig_verbs();
	if (files)
		listing(files);
}

static inline void rig_close(void)
{
	verbs_free(verbs);
	services_free(services);
	wheel_free(wheel);
	for (uint32_t i = 1; i <= n_texts; i++)
		free(text_of_heap[i]);
	for (int i = 0; i < n_jobs; i++)
		free(jobs[i].in);
}

static inline void come_in(void)
{
	tell(&the_call, (struct call_event){.kind = CALL_EV_NEW});
}

/* One thing that the outside does next; false = it waits for the caller. */
static inline bool go_on(void)
{
	struct call *c = &the_call;

	verbs_turn(verbs, all.now);
	if (answer_one() || answer_visit())
		return true;
	if (c->over)
		return false;
	if (wheel_next_ms(wheel) != INT64_MAX) {
		all.now += 20;
		wheel_run(wheel, all.now);
		return true;
	}
	if (c->playing) {
		c->playing = false;
		tell(c, (struct call_event){.kind = CALL_EV_PLAYED, .number = c->line_number});
		return true;
	}
	if (c->sending) {
		c->sending = false;
		tell(c, (struct call_event){.kind = CALL_EV_SENT});
		return true;
	}
	if (c->timer_at && typed && *typed) {
		c->line_digits[++c->line_digit % 16] = *typed++;
		tell(c, (struct call_event){.kind = CALL_EV_DIGIT, .number = c->line_digit});
		return true;
	}
	if (c->timer_at) {
		int64_t at = c->timer_at;

		said("wait%lld", (long long)MAX(at - all.now, 0));
		all.now = MAX(at, all.now);
		c->timer_at = 0;
		tell(c, (struct call_event){.kind = CALL_EV_TIMER});
		return true;
	}
	return false;
}

static inline void run_out(void)
{
	for (int i = 0; i < 20000 && go_on(); i++)
		;
}

static inline void adopt(void)
{
	struct call *c = &the_call;

	verbs_free(verbs);
	rig_verbs();
	c->r = c->kept;
	c->user = NULL;
	c->qn = 0;
	c->busy = c->playing = c->sending = c->echo = false;
	c->timer_at = 0;
	for (int i = 0; i < n_jobs; i++)
		jobs[i].due = false; /* what was on its way to the old worker is lost */
	for (int i = 0; i < n_visits; i++)
		visits[i].due = false;
	if (!c->over)
		tell(c, (struct call_event){.kind = CALL_EV_ADOPTED});
}
