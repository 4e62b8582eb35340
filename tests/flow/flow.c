/* SPDX-License-Identifier: Apache-2.0
 *
 * flow: the world of flow.h: wires the real rooms to scripted ends. The slab is a memfd, so that world_crash can drop everything else and adopt, as a new worker does.
 */
#include "flow.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "call/call.h"
#include "keeper/keeper.h"
#include "media/media.h"
#include "net/net.h"
#include "rtp/rtp.h"
#include "service/service.h"
#include "verb/verb.h"
#include "desk.h"
#include "web/web.h"

#define STEP_MS   5
#define MSG_MAX   8192
#define INBOX_MAX 256
#define RUNS_MAX  64
#define FILES_MAX 32
#define PAIRS     512
#define SITES_MAX 16
#define ASKS_MAX  64

struct run {
	uint8_t token[16];
	int64_t due_ms;
	struct run_answer answer;
	char file[64];
	char *body;
	size_t n;
	bool told, done;
};
struct file {
	char name[64], kind[16];
	char *answer;
	int latency_ms, runs;
};

struct site { /* what a URL answers */
	char url[1024], type[128], jar[1024];
	char *body;
	int status, latency_ms, asked;
	bool cached;
	struct asked last;
};
struct fetching {
	int64_t due_ms;
	struct site *site;
	struct fetched f;
};

struct world {
	int64_t now;
	struct params p;
	int slab_fd, dummy_fd;
	struct slab_sizes sizes;
	struct slab *slab;
	struct wheel *wheel;
	struct gate gate;
	struct wire wire;
	struct sip *sip;
	struct rtp_pool *pool;
	struct calls *calls;
	struct services *services;
	struct verbs *verbs;
	struct media *media;
	struct mailbox *up, *down;
	struct verb_out verb_out;
	struct call_out call_out;
	_Alignas(64) char trace_mem[1 << 20];
	struct trace *trace;
	/* scripted ends */
	struct run runs[RUNS_MAX];
	struct file files[FILES_MAX];
	int n_files;
	struct site sites[SITES_MAX];
	int n_sites;
	struct fetching asks[ASKS_MAX];
	struct asked *asked; /* last with a form */
	char param[2048];
	char env[16384];
	int next_fault;
	int64_t runner_since;
	char next_line[200];
	struct {
		uint8_t sid[16];
		bool end;
	} stored[64];
	int n_stored;
	struct desk *desk;
	struct number_conf sections[8];
	int n_sections;
	/* the phone */
	char inbox[INBOX_MAX][MSG_MAX];
	int in_first, in_n;
	char last[MSG_MAX], scratch[MSG_MAX], from_us[MSG_MAX];
	char call_id[64], tag[32], to_tag[80], branch[64], target[256], number[64];
	uint32_t cseq, invite_cseq;
	bool tcp, talking;
	struct addr rtp_to;
	uint16_t seq;
	uint32_t ts;
	int64_t talk_at;
	char digit;
	int digit_step;
	struct heard heard;
	bool heard_any;
	uint32_t last_ts, ssrc;
};

/* ---- outside: SIP ---- */

static int wire_send(void *arg, const struct flow *to, const void *p, size_t n)
{
	struct world *w = arg;

	assert_true(w->in_n < INBOX_MAX);
	assert_true(n < MSG_MAX);
	char *m = w->inbox[(w->in_first + w->in_n++) % INBOX_MAX];
	memcpy(m, p, n);
	m[n] = 0;
	return 0;
}
static int wire_connect(void *arg, struct flow *to)
{
	return -EHOSTUNREACH;
}

static struct flow phone_flow(const struct world *w)
{
	struct flow f = {.kind = w->tcp ? FLOW_TCP : FLOW_UDP,
			 .conn = w->tcp ? 1 : 0,
			 .local = {AF_INET, 5060, 0, {127, 0, 0, 1}},
			 .peer = {AF_INET, 5070, 0, {127, 0, 0, 1}}};
	return f;
}

/* ---- outside: media ---- */

static void media_sent(void *arg, uint32_t slot, int rtcp, const struct addr *to, const void *p, size_t n)
{
	struct world *w = arg;
	struct rtp_hdr h;
	struct heard *a = &w->heard;

	if (rtcp || rtp_parse(str_n(p, n), &h))
		return;
	if (h.pt > 95)
		return;
	if (w->heard_any) {
		a->breaks += (uint16_t)(h.seq - a->last_seq) != 1;
		a->ts_breaks += h.ts - w->last_ts != (uint32_t)(uint16_t)(h.seq - a->last_seq) * codec_table[CODEC_PCMU].frame_samples;
		a->ssrcs += h.ssrc != w->ssrc;
	} else {
		a->first_seq = h.seq;
		a->first_ms = w->now;
		a->ssrcs = 1;
	}
	w->heard_any = true;
	w->last_ts = h.ts;
	w->ssrc = h.ssrc;
	a->last_seq = h.seq;
	a->last_ms = w->now;
	a->packets++;
	bool silent = true;
	for (size_t i = 0; i < h.payload.n; i++)
		silent = silent && ((uint8_t)h.payload.p[i] | 0x80) >= 0xf0;
	a->silent += silent;
}
/* Both ways by mailbox, as between threads: nobody is called back inside his own call. */
static void media_event(void *arg, const struct media_event *e)
{
	struct world *w = arg;
	assert_int_equal(mailbox_post(w->up, e, sizeof(*e)), 0);
}
static int out_media(void *arg, int thread, const struct media_cmd *c, int fd)
{
	struct world *w = arg;
	return fd < 0 ? mailbox_post(w->down, c, sizeof(*c)) : mailbox_post_fd(w->down, c, sizeof(*c), fd);
}
static void mail_turn(struct world *w)
{
	struct media_cmd c;
	struct media_event e;
	int fd;

	for (;;) {
		if (mailbox_take(w->down, &c, sizeof(c), &fd) > 0)
			media_do(w->media, &c, fd, w->now);
		else if (mailbox_take(w->up, &e, sizeof(e), NULL) > 0)
			calls_media_event(w->calls, &e, w->now);
		else
			return;
	}
}
static int out_sound(void *arg, const struct media_cmd *c, int fd)
{
	return out_media(arg, 0, c, fd < 0 ? -1 : dup(fd));
}

/* ---- outside: the store acknowledges in the next step ---- */

static void out_store(void *arg, const struct call_record *r, const struct call_facts *f, bool end)
{
	struct world *w = arg;
	assert_true(w->n_stored < 64);
	memcpy(w->stored[w->n_stored].sid, r->sid, 16);
	w->stored[w->n_stored++].end = end;
}

static int out_outbox_put(void *arg, const struct outbox_post *p)
{
	return desk_put(((struct world *)arg)->desk, p);
}
static int out_outbox_mark(void *arg, const struct outbox_mark *m)
{
	return desk_mark(((struct world *)arg)->desk, m);
}

/* ---- outside: the runner ---- */

static int memfd_of(const void *p, size_t n)
{
	int fd = memfd_create("flow", MFD_CLOEXEC);
	assert_true(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	return fd;
}

static struct run *run_find(struct world *w, const uint8_t *token)
{
	for (int i = 0; i < RUNS_MAX; i++)
		if ((w->runs[i].due_ms || w->runs[i].done) && memcmp(w->runs[i].token, token, 16) == 0)
			return &w->runs[i];
	return NULL;
}
static struct run *run_add(struct world *w, const struct run_request *r)
{
	for (int i = 0; i < RUNS_MAX; i++)
		if (!w->runs[i].due_ms && !w->runs[i].done) {
			struct run *x = &w->runs[i];
			*x = (struct run){.due_ms = w->now + 1, .answer = {.kind = (uint8_t)r->kind, .state = RUN_DONE}};
			memcpy(x->token, r->token, 16);
			memcpy(x->answer.token, r->token, 16);
			return x;
		}
	fail_msg("too many runs");
	return NULL;
}
static struct file *file_find(struct world *w, const char *name)
{
	for (int i = 0; i < w->n_files; i++)
		if (strcmp(w->files[i].name, name) == 0)
			return &w->files[i];
	return NULL;
}
/* Speech of the flows: 50 ms a character, a saw, so that it is not silent. */
static void speak(struct run *x, size_t chars)
{
	size_t n = MIN(chars * 400, 8000u * 60);
	int16_t *s = calloc(n, sizeof(*s));
	for (size_t i = 0; i < n; i++)
		s[i] = (int16_t)((int)(i % 20) * 600 - 6000);
	x->body = (char *)s;
	x->n = n * 2;
	x->answer.n = (uint32_t)n;
}
static void run_start(struct world *w, struct run *x, const struct run_request *r)
{
	char name[64];
	int arg = r->kind == RUN_DECODE ? 1 : 0;

	if (r->kind == RUN_SPEAK) {
		speak(x, r->in.n);
		return;
	}
	if (r->kind == RUN_DECODE && str_eq(r->args[0], STR("body"))) {
		speak(x, 20);
		return;
	}
	assert_int_equal(str_zcpy(r->args[arg], name, sizeof(name)), 0);
	struct file *f = file_find(w, name);
	if (!f) {
		x->answer.fault = RUN_NOT_FOUND;
		return;
	}
	f->runs++;
	snprintf(x->file, sizeof(x->file), "%s", name);
	x->due_ms = w->now + MAX(1, f->latency_ms);
	if (r->kind == RUN_CGI) {
		size_t n = MIN(r->env.n, sizeof(w->env) - 2);
		memcpy(w->env, r->env.p, n);
		w->env[n] = w->env[n + 1] = 0;
	}
	if (r->kind == RUN_DECODE) {
		speak(x, 40);
		return;
	}
	if (w->next_fault) {
		x->answer.fault = (uint8_t)w->next_fault;
		snprintf(x->answer.last_line, sizeof(x->answer.last_line), "%s", w->next_line);
		w->next_fault = 0;
		return;
	}
	x->body = strdup(f->answer);
	x->n = strlen(f->answer);
	x->answer.n = (uint32_t)x->n;
}
static int out_run(void *arg, const struct run_request *r)
{
	struct world *w = arg;
	struct run *x = run_find(w, r->token);

	switch (r->kind) {
	case RUN_TAKEN:
	case RUN_KILL:
		if (x) {
			free(x->body);
			*x = (struct run){0};
		}
		break;
	case RUN_ASK:
		if (x) {
			x->told = false;
		} else {
			x = run_add(w, r);
			x->answer.state = RUN_UNKNOWN;
		}
		break;
	default:
		if (x)
			x->told = false; /* never started twice */
		else
			run_start(w, run_add(w, r), r);
		break;
	}
	if (r->fd >= 0 && r->kind == RUN_DECODE)
		(void)0; /* the caller's */
	return 0;
}
static void run_turn(struct world *w)
{
	for (int i = 0; i < RUNS_MAX; i++) {
		struct run *x = &w->runs[i];
		if (!x->due_ms || x->due_ms > w->now || x->told)
			continue;
		x->told = x->done = true;
		struct run_answer a = x->answer;
		if (a.state == RUN_UNKNOWN) {
			*x = (struct run){0};
			a.since_ms = w->runner_since;
		}
		verbs_run_answer(w->verbs, &a, x->body ? memfd_of(x->body, x->n) : -1, w->now);
	}
}

/* ---- outside: the web ---- */

static struct site *site_find(struct world *w, struct str url)
{
	for (int i = 0; i < w->n_sites; i++)
		if (str_eq(str_z(w->sites[i].url), url))
			return &w->sites[i];
	return NULL;
}
static struct site *site_add(struct world *w, const char *url)
{
	struct site *s = site_find(w, str_z(url));
	if (s)
		return s;
	assert_true(w->n_sites < SITES_MAX);
	s = &w->sites[w->n_sites++];
	snprintf(s->url, sizeof(s->url), "%s", url);
	return s;
}
static void note_ask(struct world *w, struct site *s, const struct fetch *f)
{
	struct asked *a = &s->last;
	*a = (struct asked){.get = f->method == FETCH_GET, .trusted = f->trusted, .cached = f->cached, .sign = f->sign};
	memcpy(a->token, f->token, 16);
	assert_int_equal(str_zcpy(f->url, a->url, sizeof(a->url)), 0);
	assert_int_equal(str_zcpy(f->form, a->form, sizeof(a->form)), 0);
	assert_int_equal(str_zcpy(f->cookies, a->cookies, sizeof(a->cookies)), 0);
	if (f->form.n)
		w->asked = a;
	s->asked++;
}
static int out_fetch(void *arg, const struct fetch *f)
{
	struct world *w = arg;
	struct site *s = site_find(w, f->url);
	if (!s && desk_fetch(w->desk, f, w->now))
		return 0;
	if (!s) {
		char z[1024] = "";
		(void)!str_zcpy(f->url, z, sizeof(z));
		s = site_add(w, z);
		snprintf(s->type, sizeof(s->type), "11210");
	}
	note_ask(w, s, f);
	for (int i = 0; i < ASKS_MAX; i++) {
		struct fetching *x = &w->asks[i];
		if (x->due_ms)
			continue;
		*x = (struct fetching){.due_ms = w->now + MAX(1, s->latency_ms), .site = s};
		x->f.number = f->number;
		memcpy(x->f.token, f->token, 16);
		return 0;
	}
	return -EAGAIN;
}
static void out_fetch_drop(void *arg, const uint8_t token[16])
{
	struct world *w = arg;
	for (int i = 0; i < ASKS_MAX; i++)
		if (w->asks[i].due_ms && memcmp(w->asks[i].f.token, token, 16) == 0)
			w->asks[i].due_ms = 0;
}
static void web_tell(struct world *w, struct fetching *x)
{
	struct site *s = x->site;
	struct fetched f = x->f;
	int fd = -1;
	x->due_ms = 0;
	f.total_ms = (uint32_t)s->latency_ms;
	f.attempts = 1;
	if (!s->status) {
		f.fault = (uint32_t)strtoul(s->type, NULL, 10);
		snprintf(f.why, sizeof(f.why), "it failed by script");
	} else {
		f.status = (uint16_t)s->status;
		f.from_cache = s->cached;
		f.n = (uint32_t)strlen(s->body);
		f.cookies_n = (uint32_t)strlen(s->jar);
		snprintf(f.type, sizeof(f.type), "%s", s->type);
		snprintf(f.url, sizeof(f.url), "%s", s->url);
		fd = memfd_of(s->body, f.n);
		assert_int_equal(write(fd, s->jar, f.cookies_n), f.cookies_n);
	}
	verbs_fetched(w->verbs, &f, fd, w->now);
}
static void web_turn(struct world *w)
{
	for (int i = 0; i < ASKS_MAX; i++)
		if (w->asks[i].due_ms && w->asks[i].due_ms <= w->now)
			web_tell(w, &w->asks[i]);
}
void world_web(struct world *w, const char *url, int status, const char *type, const char *body, int latency_ms)
{
	struct site *s = site_add(w, url);
	free(s->body);
	s->body = strdup(body);
	s->status = status;
	s->latency_ms = latency_ms;
	snprintf(s->type, sizeof(s->type), "%s", type);
}
void world_web_cookie(struct world *w, const char *url, const char *jar)
{
	struct site *s = site_add(w, url);
	snprintf(s->jar, sizeof(s->jar), "%s", jar);
}
void world_web_cached(struct world *w, const char *url, bool on)
{
	site_add(w, url)->cached = on;
}
int world_web_asked(const struct world *w, const char *url)
{
	const struct site *s = site_find((struct world *)w, str_z(url));
	return s ? s->asked : 0;
}
const struct asked *world_web_last(const struct world *w, const char *url)
{
	const struct site *s = site_find((struct world *)w, str_z(url));
	return s && s->asked ? &s->last : NULL;
}
const char *world_web_form(const struct world *w, const char *name)
{
	struct world *m = (struct world *)w;
	struct str form = str_z(w->asked ? w->asked->form : "");
	while (form.n) {
		struct str v, one = str_cut(form, '&', &form), n = str_cut(one, '=', &v);
		size_t at = 0;
		if (!str_eq(n, str_z(name)))
			continue;
		for (size_t i = 0; i < v.n && at + 1 < sizeof(m->param); i++) {
			char hex[3] = {0};
			if (v.p[i] == '%' && i + 2 < v.n) {
				memcpy(hex, v.p + i + 1, 2);
				m->param[at++] = (char)strtoul(hex, NULL, 16);
				i += 2;
			} else {
				m->param[at++] = v.p[i] == '+' ? ' ' : v.p[i];
			}
		}
		m->param[at] = 0;
		return m->param;
	}
	return NULL;
}
bool world_told(const struct world *w, const char *text)
{
	struct trace *t = trace_open((void *)w->trace_mem, sizeof(w->trace_mem), false);
	uint64_t at = 0;
	struct trace_rec rec;
	static char buf[TRACE_PAYLOAD + 1];
	bool hit = false;
	int r;
	while (!hit && (r = trace_read(t, &at, &rec, buf, sizeof(buf) - 1)))
		if (r > 0) {
			buf[rec.n] = 0;
			hit = memmem(buf, rec.n, text, strlen(text)) != NULL;
		}
	trace_close(t);
	return hit;
}
/* ---- the world ---- */

static int pool_of(void *arg, const struct addr *local)
{
	return 0;
}
static void advertise(void *arg, const struct flow *f, struct addr *ret)
{
	*ret = f->local;
}
static int64_t now_of(void *arg)
{
	return ((struct world *)arg)->now;
}
static const uint8_t *sid_of(void *arg, handle h)
{
	struct world *w = arg;
	return w->calls ? calls_sid_of(w->calls, h) : NULL;
}
static int fetch(void *arg, uint8_t pool, const uint16_t *ports, int n, int *rtp, int *rtcp)
{
	struct world *w = arg;
	for (int i = 0; i < n; i++)
		rtp[i] = rtcp[i] = w->dummy_fd;
	return 0;
}
static void want(void *arg, uint8_t pool, int n) {}

static void listing(struct world *w)
{
	char buf[4096];
	struct out o = OUT(buf);

	for (int i = 0; i < w->n_files; i++)
		out_f(&o, "%s\t%s\n", w->files[i].name, w->files[i].kind);
	assert_int_equal(services_update(w->services, out_view(&o)), 0);
}

static void boot(struct world *w, bool fresh)
{
	struct rtp_pair pairs[PAIRS];

	assert_int_equal(slab_open(dup(w->slab_fd), &w->sizes, fresh, &w->slab), 0);
	w->wheel = wheel_new(w->now);
	w->trace = trace_open(w->trace_mem, sizeof(w->trace_mem), true);
	w->wire = (struct wire){.send = wire_send, .connect = wire_connect, .arg = w};
	assert_int_equal(gate_init(&w->gate, &w->p, slab_head(w->slab)->account), 0);
	w->pool = rtp_pool_new(0, &(struct addr){AF_INET, 0, 0, {127, 0, 0, 1}}, want, w);
	for (int i = 0; i < PAIRS; i++)
		pairs[i] = (struct rtp_pair){(uint16_t)(20000 + 2 * i), w->dummy_fd, w->dummy_fd};
	rtp_pool_give(w->pool, pairs, PAIRS);
	w->services = services_new();
	listing(w);
	assert_int_equal(services_configure(w->services, w->sections, w->n_sections), 0);
	w->verb_out = (struct verb_out){.run = out_run,
					.sound = out_sound,
					.fetch = out_fetch,
					.fetch_drop = out_fetch_drop,
					.outbox_put = out_outbox_put,
					.outbox_mark = out_outbox_mark,
					.arg = w};
	w->verbs = verbs_new(
	    &(struct verbs_opts){.params = &w->p, .services = w->services, .out = &w->verb_out, .trace = w->trace, .wheel = w->wheel, .version = "flow"});
	w->up = mailbox_new(1 << 20);
	w->down = mailbox_new(1 << 20);
	w->media = media_new(&(struct media_opts){.lines = slab_lines(w->slab), .n_lines = w->sizes.n_legs, .event = media_event, .send = media_sent, .arg = w},
			     w->now);
	w->call_out = (struct call_out){.media = out_media, .store = out_store, .arg = w};
	w->calls = calls_new(&(struct calls_opts){.slab = w->slab,
						  .wheel = w->wheel,
						  .trace = w->trace,
						  .params = &w->p,
						  .user = verbs_call_user(w->verbs),
						  .out = &w->call_out,
						  .pools = &w->pool,
						  .n_pools = 1,
						  .pool_of = pool_of,
						  .advertise = advertise,
						  .now = now_of,
						  .arg = w,
						  .n_media = 1});
	w->sip = sip_new(&(struct sip_opts){.wire = &w->wire,
					    .wheel = w->wheel,
					    .user = calls_sip_user(w->calls),
					    .gate = &w->gate,
					    .trace = w->trace,
					    .key = slab_head(w->slab)->key,
					    .product = "flow",
					    .advertise = advertise,
					    .arg = w,
					    .sid_of = sid_of});
	assert_non_null(w->verbs);
	assert_non_null(w->media);
	assert_non_null(w->calls);
	assert_non_null(w->sip);
	calls_set_sip(w->calls, w->sip);
	verbs_set_calls(w->verbs, w->calls);
	if (!fresh) {
		slab_head(w->slab)->restarts++;
		calls_adopt(w->calls, fetch, w, w->now);
	}
}

static void shut(struct world *w)
{
	sip_free(w->sip);
	calls_free(w->calls);
	verbs_free(w->verbs);
	services_free(w->services);
	media_free(w->media);
	mailbox_free(w->up);
	mailbox_free(w->down);
	rtp_pool_free(w->pool);
	wheel_free(w->wheel);
	trace_close(w->trace);
	slab_close(w->slab);
}

struct world *world_new(void)
{
	struct world *w = aligned_alloc(64, sizeof(*w));

	assert_non_null(w);
	memset(w, 0, sizeof(*w));
	rand_seed(4711);
	params_init(&w->p);
	w->now = 1000000;
	w->sizes = (struct slab_sizes){.n_calls = 64, .n_legs = 64, .heap_bytes = 4 << 20};
	w->slab_fd = memfd_create("slab", MFD_CLOEXEC);
	assert_int_equal(ftruncate(w->slab_fd, (off_t)slab_bytes(&w->sizes)), 0);
	w->dummy_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	w->desk = desk_new();
	boot(w, true);
	return w;
}

void world_free(struct world *w)
{
	shut(w);
	for (int i = 0; i < RUNS_MAX; i++)
		free(w->runs[i].body);
	for (int i = 0; i < w->n_files; i++)
		free(w->files[i].answer);
	for (int i = 0; i < w->n_sites; i++)
		free(w->sites[i].body);
	close(w->slab_fd);
	close(w->dummy_fd);
	desk_free(w->desk);
	free(w);
}

void world_crash(struct world *w)
{
	shut(w);
	w->n_stored = 0; /* what was in the store's mailbox is gone with it */
	desk_crash(w->desk);
	for (int i = 0; i < RUNS_MAX; i++)
		if (w->runs[i].due_ms && !w->runs[i].done)
			w->runs[i].told = true; /* an answer goes to the worker that asked; the next one has to ask */
	memset(w->asks, 0, sizeof(w->asks));    /* the web thread is of the worker */
	boot(w, false);
	mail_turn(w);
}

static void store_turn(struct world *w)
{
	int n = w->n_stored;

	w->n_stored = 0;
	for (int i = 0; i < n; i++)
		calls_stored(w->calls, w->stored[i].sid, w->stored[i].end);
	desk_turn(w->desk, w->verbs, w->now);
}

static void phone_turn(struct world *w);

static void turn(struct world *w)
{
	wheel_run(w->wheel, w->now);
	run_turn(w);
	web_turn(w);
	mail_turn(w);
	sip_turn(w->sip, w->now);
	calls_turn(w->calls, w->now);
	verbs_turn(w->verbs, w->now);
}

void world_run(struct world *w, int64_t ms)
{
	for (int64_t end = w->now + ms; w->now < end;) {
		w->now += STEP_MS;
		phone_turn(w);
		media_tick(w->media, w->now);
		store_turn(w); /* never within the event itself: the real one takes a commit */
		turn(w);
	}
}

void world_jump(struct world *w, int64_t ms)
{
	for (int64_t end = w->now + ms; w->now < end;) {
		int64_t next = MIN(wheel_next_ms(w->wheel), end);
		w->now = MAX(next, w->now + 1);
		turn(w);
	}
	media_tick(w->media, w->now);
	turn(w);
}

int64_t world_now(const struct world *w)
{
	return w->now;
}
struct params *world_params(struct world *w)
{
	return &w->p;
}
uint32_t world_calls(const struct world *w)
{
	return calls_count(w->calls);
}
void world_tcp(struct world *w, bool on)
{
	w->tcp = on;
}

void world_service(struct world *w, const char *file, const char *kind, const char *answer, int latency_ms)
{
	struct file *f = file_find(w, file);

	if (!f) {
		assert_true(w->n_files < FILES_MAX);
		f = &w->files[w->n_files++];
	}
	free(f->answer);
	*f = (struct file){.answer = strdup(answer), .latency_ms = latency_ms, .runs = f->runs};
	snprintf(f->name, sizeof(f->name), "%s", file);
	snprintf(f->kind, sizeof(f->kind), "%s", kind);
	listing(w);
}
void world_section(struct world *w, const char *number, const char *key, const char *value)
{
	struct number_conf *c = w->sections;

	while (c < w->sections + w->n_sections && strcmp(c->key, number))
		c++;
	if (c == w->sections + w->n_sections) {
		assert_true(w->n_sections < (int)N_ELEMENTS(w->sections));
		assert_int_equal(number_conf_open(str_z(number), c), 0);
		w->n_sections++;
	}
	assert_int_equal(number_conf_set(c, number_key_find(str_z(key)), str_z(value)), 0);
	assert_int_equal(services_configure(w->services, w->sections, w->n_sections), 0);
}
int world_traced(struct world *w, enum trace_kind kind, uint32_t code)
{
	struct trace *t = trace_open(w->trace_mem, sizeof(w->trace_mem), false);
	struct trace_rec rec;
	uint64_t at = 0;
	int n = 0, r;
	char buf[16];

	while ((r = trace_read(t, &at, &rec, buf, sizeof(buf))) != 0)
		n += r == 1 && rec.kind == kind && rec.code == code;
	trace_close(t);
	return n;
}
struct desk *world_desk(struct world *w)
{
	return w->desk;
}
int world_runs(const struct world *w, const char *file)
{
	return file_find((struct world *)w, file)->runs;
}
const char *world_env(const struct world *w, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = w->env; *p; p += strlen(p) + 1)
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return p + n + 1;
	return NULL;
}
void world_fault(struct world *w, int fault, const char *last_line)
{
	w->next_fault = fault;
	snprintf(w->next_line, sizeof(w->next_line), "%s", last_line);
}
void world_runner_dies_unseen(struct world *w)
{
	w->runner_since = w->now;
	for (int i = 0; i < RUNS_MAX; i++) {
		free(w->runs[i].body);
		w->runs[i] = (struct run){0};
	}
}
void world_runner_dies(struct world *w)
{
	world_runner_dies_unseen(w);
	verbs_runner_gone(w->verbs, w->now);
}

/* ---- the phone ---- */

const char *header_of(const char *msg, const char *name)
{
	static char buf[1024];
	size_t n = strlen(name);

	for (const char *p = strstr(msg, "\r\n"); p && strncmp(p, "\r\n\r\n", 4); p = strstr(p + 2, "\r\n"))
		if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':') {
			const char *v = p + 3 + n, *e = strstr(v, "\r\n");
			while (*v == ' ')
				v++;
			snprintf(buf, sizeof(buf), "%.*s", (int)(e - v), v);
			return buf;
		}
	buf[0] = 0;
	return buf;
}
const char *body_of(const char *msg)
{
	const char *p = strstr(msg, "\r\n\r\n");
	return p ? p + 4 : "";
}

static void deliver(struct world *w, const char *m)
{
	struct flow f = phone_flow(w);
	sip_input(w->sip, &f, str_z(m), w->now);
	turn(w);
}

static void learn(struct world *w, const char *m)
{
	const char *t = strstr(header_of(m, "To"), ";tag=");
	if (t)
		snprintf(w->to_tag, sizeof(w->to_tag), "%s", t);
	const char *c = header_of(m, "Contact");
	if (*c == '<')
		snprintf(w->target, sizeof(w->target), "%.*s", (int)strcspn(c + 1, ">"), c + 1);
	const char *port = strstr(body_of(m), "m=audio ");
	uint64_t v;
	if (port && !str_u64(str_n(port + 8, strspn(port + 8, "0123456789")), 65535, &v))
		w->rtp_to = (struct addr){AF_INET, (uint16_t)v, 0, {127, 0, 0, 1}};
}

static const char *offer(struct world *w)
{
	static char buf[512];
	snprintf(buf, sizeof(buf),
		 "v=0\r\no=a 1 %u IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
		 "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n",
		 w->cseq + 1);
	return buf;
}

static void print_request(struct world *w, const char *method, uint32_t cseq, const char *extra, const char *body)
{
	const char *via = w->tcp ? "TCP" : "UDP";
	snprintf(w->last, sizeof(w->last),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:5070;branch=%s;rport\r\nMax-Forwards: 70\r\nFrom: \"Ann\" <sip:204@127.0.0.1>;tag=%s\r\nTo: "
		 "<sip:%s@127.0.0.1>%s\r\n"
		 "Call-ID: %s\r\nCSeq: %u %s\r\nContact: <sip:204@127.0.0.1:5070>\r\n%s%sContent-Length: %zu\r\n\r\n%s",
		 method, w->target, via, w->branch, w->tag, w->number, w->to_tag, w->call_id, cseq, method, extra,
		 *body ? "Content-Type: application/sdp\r\n" : "", strlen(body), body);
}

void a_invite_with(struct world *w, const char *number, const char *extra, const char *body)
{
	snprintf(w->call_id, sizeof(w->call_id), "%08x@a", rand_u32());
	snprintf(w->tag, sizeof(w->tag), "%08x", rand_u32());
	snprintf(w->branch, sizeof(w->branch), "z9hG4bK%08x", rand_u32());
	snprintf(w->number, sizeof(w->number), "%s", number);
	snprintf(w->target, sizeof(w->target), "sip:%s@127.0.0.1:5060", number);
	w->to_tag[0] = 0;
	w->invite_cseq = ++w->cseq;
	print_request(w, "INVITE", w->cseq, extra, body ? body : "");
	deliver(w, w->last);
}
void a_invite(struct world *w, const char *number)
{
	a_invite_with(w, number, "", offer(w));
}
void a_repeat(struct world *w)
{
	deliver(w, w->last);
}
void a_ack(struct world *w)
{
	char keep[MSG_MAX];
	memcpy(keep, w->last, sizeof(keep));
	snprintf(w->branch, sizeof(w->branch), "z9hG4bK%08x", rand_u32());
	print_request(w, "ACK", w->invite_cseq, "", "");
	deliver(w, w->last);
	memcpy(w->last, keep, sizeof(keep));
}
void a_request(struct world *w, const char *method, const char *extra, const char *body)
{
	snprintf(w->branch, sizeof(w->branch), "z9hG4bK%08x", rand_u32());
	w->cseq++;
	if (strcmp(method, "INVITE") == 0)
		w->invite_cseq = w->cseq;
	print_request(w, method, w->cseq, extra, body ? body : offer(w));
	deliver(w, w->last);
}
void a_info(struct world *w, const char *dtmf_relay)
{
	snprintf(w->branch, sizeof(w->branch), "z9hG4bK%08x", rand_u32());
	print_request(w, "INFO", ++w->cseq, "Content-Type: application/dtmf-relay\r\n", "");
	char *end = strstr(w->last, "Content-Length: 0");
	snprintf(end, sizeof(w->last) - (size_t)(end - w->last), "Content-Length: %zu\r\n\r\n%s", strlen(dtmf_relay), dtmf_relay);
	deliver(w, w->last);
}
void a_cancel(struct world *w)
{
	print_request(w, "CANCEL", w->invite_cseq, "", "");
	deliver(w, w->last);
}
void a_send(struct world *w, const char *fmt, ...)
{
	char buf[MSG_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	struct out o = OUT(w->last);
	const struct {
		const char *name, *value;
	} v[] = {{"$CALLID", w->call_id}, {"$TAG", w->tag}, {"$TOTAG", w->to_tag}, {"$BRANCH", w->branch}};
	for (const char *p = buf; *p;) {
		size_t i, n = 0;
		for (i = 0; i < N_ELEMENTS(v); i++)
			if (strncmp(p, v[i].name, n = strlen(v[i].name)) == 0)
				break;
		if (i < N_ELEMENTS(v)) {
			out_str(&o, str_z(v[i].value));
			p += n;
		} else {
			out_c(&o, *p++);
		}
	}
	deliver(w, out_z(&o));
}
void a_answer(struct world *w, int status, const char *body)
{
	char m[MSG_MAX], via[1024], from[1024], to[1024], id[1024], cseq[1024];
	snprintf(via, sizeof(via), "%s", header_of(w->from_us, "Via"));
	snprintf(from, sizeof(from), "%s", header_of(w->from_us, "From"));
	snprintf(to, sizeof(to), "%s", header_of(w->from_us, "To"));
	snprintf(id, sizeof(id), "%s", header_of(w->from_us, "Call-ID"));
	snprintf(cseq, sizeof(cseq), "%s", header_of(w->from_us, "CSeq"));
	snprintf(
	    m, sizeof(m),
	    "SIP/2.0 %d X\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:204@127.0.0.1:5070>\r\n%sContent-Length: %zu\r\n\r\n%s",
	    status, via, from, to, id, cseq, *body ? "Content-Type: application/sdp\r\n" : "", strlen(body), body);
	deliver(w, m);
}

static const char *pop(struct world *w)
{
	if (!w->in_n)
		return NULL;
	memcpy(w->scratch, w->inbox[w->in_first], MSG_MAX);
	w->in_first = (w->in_first + 1) % INBOX_MAX;
	w->in_n--;
	if (strncmp(w->scratch, "SIP/2.0 2", 9) == 0 || strncmp(w->scratch, "SIP/2.0 18", 10) == 0)
		learn(w, w->scratch);
	if (strncmp(w->scratch, "SIP/2.0", 7))
		memcpy(w->from_us, w->scratch, MSG_MAX);
	return w->scratch;
}
static bool is_status(const char *m, int status)
{
	char want_line[16];
	snprintf(want_line, sizeof(want_line), "SIP/2.0 %d", status);
	return strncmp(m, want_line, strlen(want_line)) == 0;
}
const char *a_expect(struct world *w, int status)
{
	const char *m = pop(w);
	if (!m || !is_status(m, status))
		fail_msg("expected %d, came %.60s", status, m ? m : "nothing");
	return m;
}
bool a_comes(struct world *w, int status)
{
	bool hit = w->in_n && is_status(w->inbox[w->in_first], status);
	if (hit)
		pop(w);
	return hit;
}
const char *a_expect_request(struct world *w, const char *method)
{
	const char *m = pop(w);
	if (!m || strncmp(m, method, strlen(method)))
		fail_msg("expected %s, came %.60s", method, m ? m : "nothing");
	return m;
}
void a_expect_nothing(struct world *w)
{
	const char *m = pop(w);
	if (m)
		fail_msg("expected nothing, came %.60s", m);
}
static const char *wait_for(struct world *w, int status, const char *method, int64_t ms)
{
	for (int64_t end = w->now + ms;;) {
		for (const char *m; (m = pop(w));)
			if (method ? strncmp(m, method, strlen(method)) == 0 : is_status(m, status))
				return m;
		if (w->now >= end)
			fail_msg("%s %d did not come in %lld ms", method ? method : "", status, (long long)ms);
		world_run(w, STEP_MS);
	}
}
const char *a_wait(struct world *w, int status, int64_t ms)
{
	return wait_for(w, status, NULL, ms);
}
const char *a_wait_request(struct world *w, const char *method, int64_t ms)
{
	return wait_for(w, 0, method, ms);
}

/* Which stream has this port: the flows have few calls, the port numbers are the pool's. */
static void rtp_in(struct world *w, const uint8_t *pkt, size_t n)
{
	const struct addr from = {AF_INET, 40000, 0, {127, 0, 0, 1}};
	for (uint32_t i = 0; i < w->sizes.n_legs; i++) {
		struct leg_record r;
		if (!slab_read_leg(w->slab, i, &r) && r.state != LEG_FREE && r.rtp_port == w->rtp_to.port) {
			media_packet(w->media, i, 0, &from, str_n(pkt, n), w->now);
			return;
		}
	}
}
static void phone_turn(struct world *w)
{
	uint8_t pkt[172];

	if (!w->talking || w->now < w->talk_at)
		return;
	w->talk_at = w->now + 20;
	w->seq++;
	w->ts += 160;
	if (w->digit) {
		uint32_t ts = w->ts - 160u * (uint32_t)w->digit_step;
		rtp_print_hdr(pkt, &(struct rtp_hdr){.pt = 101, .marker = w->digit_step == 0, .seq = w->seq, .ts = ts, .ssrc = 99});
		rtp_event_print(pkt + 12, &(struct rtp_event){.event = (uint8_t)rtp_digit_event(w->digit),
							      .end = w->digit_step >= 5,
							      .volume = 10,
							      .duration = (uint16_t)MIN(800, 160 * (w->digit_step + 1))});
		rtp_in(w, pkt, 16);
		if (++w->digit_step == 8)
			w->digit = 0;
		return;
	}
	rtp_print_hdr(pkt, &(struct rtp_hdr){.pt = 0, .seq = w->seq, .ts = w->ts, .ssrc = 99});
	for (int i = 0; i < 160; i++)
		pkt[12 + i] = (uint8_t)(0x20 + (i + w->seq) % 40);
	rtp_in(w, pkt, 172);
}
void a_talk(struct world *w, bool on)
{
	w->talking = on;
}
void a_digit(struct world *w, char d)
{
	w->talking = true;
	w->digit = d;
	w->digit_step = 0;
	for (int i = 0; i < 200 && w->digit; i++)
		world_run(w, STEP_MS);
	world_run(w, 40);
}
void a_heard(const struct world *w, struct heard *ret)
{
	*ret = w->heard;
}
void a_forget(struct world *w)
{
	w->heard = (struct heard){0};
	w->heard_any = false;
}
