/* SPDX-License-Identifier: Apache-2.0
 *
 * wires: what the rooms tell each other in the worker, on the sig thread: packets from net to sip (behind their poison line), orders from call and verb to media, store
 * and runner, and the news of those back to call and verb. Nothing is decided here but the end: SIGTERM, drain, done.
 */
#include "cli/cli_int.h"

#include <sys/socket.h>
#include <unistd.h>

#include "api/api.h"
#include "call/call.h"
#include "keeper/keeper.h"
#include "media/media.h"
#include "rtp/rtp.h"
#include "service/service.h"
#include "sip/sip.h"
#include "store/store.h"
#include "verb/verb.h"
#include "web/web.h"

#define BYE_GRACE_MS 5000 /* how long the answers to our BYEs are waited for at the end */
#define UP_ROOM      65536
#define STORE_ROOM   64

/* ---- poison: the cause stands in shared memory before the work begins; kind is written last ---- */

static void poison_mark(struct worker *w, uint32_t kind, uint64_t what, handle h, uint32_t step)
{
	__atomic_store_n(&w->line->kind, POISON_IDLE, __ATOMIC_RELEASE);
	w->line->what = what;
	w->line->handle = h;
	w->line->step = step;
	__atomic_store_n(&w->line->kind, kind, __ATOMIC_RELEASE);
}

static void poison_idle(struct worker *w)
{
	__atomic_store_n(&w->line->kind, POISON_IDLE, __ATOMIC_RELEASE);
}

/* ---- net → sip ---- */

static uint64_t packet_hash(const struct worker *w, const struct flow *from, struct str bytes)
{
	static const uint8_t key[16] = "hookswitch poiso"; /* must be the same in the next worker */
	uint64_t h[2] = {siphash(key, &from->peer.ip, sizeof(from->peer.ip)), siphash(key, bytes.p, bytes.n)};

	return siphash(key, h, sizeof(h));
}

/* False: it has killed twice. */
static bool packet_enter(struct worker *w, const struct flow *from, struct str bytes)
{
	uint64_t what = packet_hash(w, from, bytes);

	if (keep_is_poison(w->keep, POISON_DATAGRAM, what, 0)) {
		count_add(COUNT_SIP_BAD, 1);
		return false;
	}
	poison_mark(w, POISON_DATAGRAM, what, 0, 0);
	return true;
}

static void on_datagram(void *arg, const struct flow *from, struct str bytes)
{
	struct worker *w = arg;

	if (!packet_enter(w, from, bytes))
		return;
	sip_input(w->sip, from, bytes, net_now_ms(w->net));
	poison_idle(w);
}

/* RFC 5626 section 4.4.1: a double CRLF is a ping, answered by one; what else stands between messages is skipped. */
static bool stream_ping(struct worker *w, const struct flow *from, struct str frame)
{
	for (size_t i = 0; i < frame.n; i++)
		if (frame.p[i] != '\r' && frame.p[i] != '\n')
			return false;
	if (frame.n >= 4) {
		const struct wire *wire = net_wire(w->net);

		(void)!wire->send(wire->arg, from, "\r\n", 2);
	}
	return true;
}

static ssize_t on_stream(void *arg, const struct flow *from, struct str bytes, size_t *ret_need)
{
	struct worker *w = arg;
	size_t used = 0;

	while (used < bytes.n) {
		struct str rest = str_skip(bytes, used);
		ssize_t n = sip_frame(rest, ret_need);

		if (n < 0)
			return n;
		if (n == 0) {
			if (*ret_need)
				*ret_need += used;
			break;
		}
		struct str frame = str_n(rest.p, (size_t)n);

		used += (size_t)n;
		if (stream_ping(w, from, frame) || !packet_enter(w, from, frame))
			continue;
		sip_input(w->sip, from, frame, net_now_ms(w->net));
		poison_idle(w);
	}
	return (ssize_t)used;
}

static void on_closed(void *arg, const struct flow *f)
{
	struct worker *w = arg;

	sip_flow_gone(w->sip, f, net_now_ms(w->net));
}

static void on_turn(void *arg, int64_t now_ms)
{
	struct worker *w = arg;

	sip_turn(w->sip, now_ms);
	calls_turn(w->calls, now_ms);
	verbs_turn(w->verbs, now_ms);
	wire_trust(w);
	w->n_calls = calls_count(w->calls);
	poison_idle(w); /* timers and the runner's news marked their calls; whatever ends us between two turns is nobody's doing */
	if (w->stops && (calls_count(w->calls) == 0 || w->stops > 1))
		net_stop(w->net);
}

const struct net_user *wire_net_user(struct worker *w)
{
	static struct net_user u = {.on_datagram = on_datagram, .on_stream = on_stream, .on_closed = on_closed, .on_turn = on_turn};

	u.arg = w;
	return &u;
}

void wire_conn(void *arg, const struct flow *f, int fd)
{
	struct worker *w = arg;
	int r = fd >= 0 ? keep_hold_conn(w->keep, f, fd) : keep_drop_conn(w->keep, f);

	if (r)
		log_line(LOG_WARN, "net: the keeper was not told of connection %u (%s): it ends with this worker", f->conn, strerror(-r));
}

void wire_held_conn(void *arg, const struct flow *f, int fd)
{
	struct worker *w = arg;

	if (net_add_conn(w->net, fd, f))
		close(fd);
}

/* ---- addresses ---- */

int wire_pool_of(void *arg, const struct addr *local)
{
	const struct worker *w = arg;
	int any = 0;

	for (int i = 0; i < w->n_pools; i++) {
		const struct addr *host = rtp_pool_host(w->pools[i]);

		if (addr_eq_host(host, local))
			return i;
		/* A wildcard of IPv6 takes IPv4 as well. */
		if (addr_is_any(host) && (host->family == local->family || host->family == AF_INET6))
			any = i;
	}
	return any;
}

void wire_advertise(void *arg, const struct flow *f, struct addr *ret)
{
	const struct worker *w = arg;

	*ret = f->local;
	if (!w->advertise.family)
		return;
	*ret = w->advertise;
	if (!ret->port)
		ret->port = f->local.port;
}

int64_t wire_now(void *arg)
{
	const struct worker *w = arg;

	return net_now_ms(w->net);
}

const uint8_t *wire_sid_of(void *arg, handle owner)
{
	const struct worker *w = arg;

	return calls_sid_of(w->calls, owner);
}

/* ---- the keeper ---- */

void wire_want_pairs(void *arg, uint8_t pool, int n)
{
	struct worker *w = arg;

	(void)!keep_want_pairs(w->keep, pool, MIN(n, 126));
}

int wire_fetch_pairs(void *arg, uint8_t pool, const uint16_t *ports, int n, int *rtp_fds, int *rtcp_fds)
{
	struct worker *w = arg;
	struct keep_pair pairs[126];
	int r = 0;

	for (int at = 0; at < n && !r; at += 126) {
		int some = MIN(n - at, 126);

		r = keep_fetch_pairs(w->keep, pool, ports + at, some, pairs);
		if (r == -ENOENT) /* some are gone: they are -1, the others are here */
			r = 0;
		for (int i = 0; i < some; i++) {
			rtp_fds[at + i] = r ? -1 : pairs[i].rtp_fd;
			rtcp_fds[at + i] = r ? -1 : pairs[i].rtcp_fd;
		}
	}
	return r;
}

static void on_pairs(void *arg, uint8_t pool, const struct keep_pair *pairs, int n, bool exhausted)
{
	struct worker *w = arg;
	struct rtp_pair given[126] = {0};

	ASSERT(pool < w->n_pools && n <= 126);
	for (int i = 0; i < n; i++)
		given[i] = (struct rtp_pair){.port = pairs[i].port, .rtp_fd = pairs[i].rtp_fd, .rtcp_fd = pairs[i].rtcp_fd};
	rtp_pool_give(w->pools[pool], given, n);
	w->pool_fed[pool] = true;
}

static void on_runner(void *arg, int fd)
{
	struct worker *w = arg;

	if (w->run_fd >= 0) {
		net_drop_fd(w->net, w->run_fd);
		close(w->run_fd);
	}
	w->run_fd = fd;
	if (net_add_fd(w->net, fd, wire_run_fd, w))
		log_line(LOG_ERROR, "runner: its new link cannot be watched");
	verbs_runner_gone(w->verbs, net_now_ms(w->net));
}

static void on_stop(void *arg, int nth)
{
	struct worker *w = arg;
	int64_t now = net_now_ms(w->net);

	w->stops = MAX(nth, w->stops + 1);
	sip_draining(w->sip, true, (int)w->p.drain_s);
	if (w->stops > 1) {
		log_line(LOG_INFO, "stopping at once: %u calls are ended", calls_count(w->calls));
		calls_end_all(w->calls, now);
		return;
	}
	log_line(LOG_INFO, "stopping: no new calls; those that live (%u) have %llu s", calls_count(w->calls), (unsigned long long)w->p.drain_s);
	calls_drain(w->calls, now);
	timer_set(w->wheel, &w->drain, now + (int64_t)w->p.drain_s * 1000);
}

/* Twice: first the calls are ended, then nothing is waited for any more. */
void wire_drain_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct worker *w = arg;

	if (w->ending) {
		w->stops = 2;
		return;
	}
	w->ending = true;
	calls_end_all(w->calls, now_ms);
	timer_set(w->wheel, t, now_ms + BYE_GRACE_MS);
}

const struct keep_user *wire_keep_user(struct worker *w)
{
	static struct keep_user u = {.on_pairs = on_pairs, .on_runner = on_runner, .on_stop = on_stop};

	u.arg = w;
	return &u;
}

void wire_keep_fd(void *arg, int fd)
{
	struct worker *w = arg;

	keep_read(w->keep);
}

/* ---- the runner ---- */

static void listing_take(struct worker *w, const struct run_answer *a, int fd)
{
	char *buf = malloc(a->n + 1);
	ssize_t n = buf && fd >= 0 ? pread(fd, buf, a->n, 0) : -1;

	if (n < 0)
		log_line(LOG_ERROR, "services: the listing cannot be read");
	else if (services_update(w->services, str_n(buf, (size_t)n)))
		log_line(LOG_ERROR, "services: no memory for the listing");
	free(buf);
	if (fd >= 0)
		close(fd);
}

void wire_run_fd(void *arg, int fd)
{
	struct worker *w = arg;
	struct run_answer a;
	int memfd, r;

	while ((r = run_take(fd, &a, &memfd)) > 0) {
		if (a.state == RUN_FOLDER)
			listing_take(w, &a, memfd);
		else
			verbs_run_answer(w->verbs, &a, memfd, net_now_ms(w->net));
	}
	if (r < 0) /* the keeper starts another one and hands over its link */
		net_drop_fd(w->net, fd);
}

static int out_run(void *arg, const struct run_request *r)
{
	struct worker *w = arg;

	return w->run_fd < 0 ? -EAGAIN : run_post(w->run_fd, r);
}

static int out_sound(void *arg, const struct media_cmd *c, int fd)
{
	struct worker *w = arg;
	int r = 0;

	for (int i = 0; i < w->n_media && !r; i++)
		r = media_threads_post(w->media, i, c, fd);
	return r;
}

/* The times of [web] stand before what the URL's own fragment says: of two the later one counts. */
static int fetch_timed(struct worker *w, const struct fetch *f)
{
	struct fetch timed = *f;
	struct str own, bare = str_cut(f->url, '#', &own);
	size_t cap = f->url.n + 128;
	struct out o = {.p = malloc(cap), .cap = cap};
	int r;

	if (!o.p)
		return -ENOMEM;
	out_str(&o, bare);
	out_f(&o, "#ct=%llu&rt=%llu&tt=%llu&rc=%llu", (unsigned long long)w->p.web_connect_ms, (unsigned long long)w->p.web_read_ms,
	      (unsigned long long)w->p.web_total_ms, (unsigned long long)w->p.web_retries);
	if (own.n)
		out_c(&o, '&');
	out_str(&o, own);
	timed.url = out_view(&o);
	r = client_fetch(w->client, &timed);
	free(o.p);
	return r;
}

static int out_fetch(void *arg, const struct fetch *f)
{
	struct worker *w = arg;

	return w->client ? fetch_timed(w, f) : -EAGAIN;
}

static void out_fetch_drop(void *arg, const uint8_t token[16])
{
	struct worker *w = arg;

	if (w->client)
		client_drop(w->client, token);
}

/* Origins that the operator named: whoever's reply names them, they may be asked. */
void wire_trust(struct worker *w)
{
	const char *urls[1024];
	const struct number *num;
	int n = 0;

	if (!w->client || w->trusted == services_edition(w->services) + 1)
		return;
	w->trusted = services_edition(w->services) + 1;
	for (size_t at = 0; (num = services_each(w->services, &at)) && n + 2 <= (int)N_ELEMENTS(urls);) {
		if (num->web && num->web->voice_url[0])
			urls[n++] = num->web->voice_url;
		if (num->web && num->web->fallback_url[0])
			urls[n++] = num->web->fallback_url;
	}
	if (client_trust(w->client, urls, n))
		log_line(LOG_WARN, "web: the origins of the numbers could not be told to the client; replies that name them may be refused");
}

static int out_outbox_put(void *arg, const struct outbox_post *p)
{
	struct worker *w = arg;
	struct store_post *m = calloc(1, sizeof(*m) + p->url.n + p->form.n);
	int r;

	if (!m)
		return -EAGAIN;
	m->get = p->get;
	m->attempt = p->attempt;
	m->owner = p->owner;
	m->made_ms = p->made_ms;
	memcpy(m->token, p->token, sizeof(m->token));
	memcpy(m->sid, p->sid, sizeof(m->sid));
	memcpy(m->account, p->account, sizeof(m->account));
	m->n_url = (uint32_t)p->url.n;
	m->n_form = (uint32_t)p->form.n;
	memcpy(m->text, p->url.p, p->url.n);
	memcpy(m->text + p->url.n, p->form.p, p->form.n);
	r = store_post_put(w->store, m);
	free(m);
	return r;
}

static int out_outbox_mark(void *arg, const struct outbox_mark *k)
{
	static const uint8_t states[] = {[OUTBOX_PENDING] = POST_PENDING, [OUTBOX_ANSWERED] = POST_ANSWERED, [OUTBOX_FAILED] = POST_FAILED};
	struct worker *w = arg;
	struct store_mark m = {.state = states[k->state], .attempt = k->attempt, .status = k->status, .after_ms = k->after_ms};

	memcpy(m.token, k->token, sizeof(m.token));
	return store_post_mark(w->store, &m);
}

const struct verb_out *wire_verb_out(struct worker *w)
{
	static struct verb_out o = {
	    .run = out_run, .sound = out_sound, .fetch = out_fetch, .fetch_drop = out_fetch_drop, .outbox_put = out_outbox_put, .outbox_mark = out_outbox_mark};

	o.arg = w;
	return &o;
}

/* ---- api: on the web thread ---- */

void wire_facts(void *arg, struct api_facts *ret)
{
	struct worker *w = arg;
	struct store_facts s;

	store_facts(w->store, &s);
	*ret = (struct api_facts){.calls = w->n_calls,
				  .draining = w->stops > 0,
				  .store_failing = s.failing,
				  .store_full = store_room(w->store) < STORE_ROOM,
				  .outbox_pending = s.pending,
				  .outbox_in_flight = s.in_flight,
				  .boxes = {{"sig", mailbox_room(w->up)}, {"store", s.room_bytes}},
				  .n_boxes = 2};
}

/* ---- media and store ---- */

static int out_media(void *arg, int thread, const struct media_cmd *c, int fd)
{
	struct worker *w = arg;

	return media_threads_post(w->media, thread, c, fd);
}

static void text_put(struct str s, char *ret, size_t cap)
{
	struct out o = {.p = ret, .cap = cap};

	out_safe(&o, s);
	out_z(&o);
}

static void out_store(void *arg, const struct call_record *r, const struct call_facts *f, bool end)
{
	struct worker *w = arg;
	struct store_call row = {.end = end,
				 .dir = r->dir,
				 .hangup_by = r->hangup_by,
				 .status = r->status,
				 .cause = r->cause,
				 .created_ms = r->created_ms,
				 .answered_ms = r->answered_ms,
				 .ended_ms = r->ended_ms};

	memcpy(row.sid, r->sid, sizeof(row.sid));
	memcpy(row.account, r->account, sizeof(row.account));
	if (end && r->answered_boot_ms)
		row.duration_ms = r->ended_boot_ms - r->answered_boot_ms;
	text_put(f->from_uri, row.from, sizeof(row.from));
	text_put(f->to_uri, row.to, sizeof(row.to));
	text_put(str_z(f->status), row.call_status, sizeof(row.call_status));
	if (store_call_put(w->store, &row))
		log_line(LOG_ERROR, "store: a row found no room; it is written after the next start");
}

static bool out_room(void *arg)
{
	struct worker *w = arg;

	return store_room(w->store) >= STORE_ROOM && mailbox_room(w->up) >= UP_ROOM;
}

static bool out_poison(void *arg, handle call, uint32_t step)
{
	struct worker *w = arg;

	poison_mark(w, POISON_CALL, call, call, step);
	return keep_is_poison(w->keep, POISON_CALL, call, step);
}

const struct call_out *wire_call_out(struct worker *w)
{
	static struct call_out o = {.media = out_media, .store = out_store, .room = out_room, .poison = out_poison};

	o.arg = w;
	return &o;
}

static void outbox_due(struct worker *w, const struct store_post *m)
{
	struct outbox_post p = {
	    .made_ms = m->made_ms, .get = m->get, .attempt = m->attempt, .url = str_n(m->text, m->n_url), .form = str_n(m->text + m->n_url, m->n_form)};

	memcpy(p.token, m->token, sizeof(p.token));
	memcpy(p.sid, m->sid, sizeof(p.sid));
	memcpy(p.account, m->account, sizeof(p.account));
	verbs_outbox_due(w->verbs, &p, net_now_ms(w->net));
}

void wire_mail_fd(void *arg, int fd)
{
	struct worker *w = arg;
	static union {
		uint32_t tag;
		struct store_ack ack;
		struct store_post post;
		struct fetched fetched;
		char bytes[STORE_POST_MAX]; /* the largest of all */
	} m;
	struct media_event e;
	ssize_t n;
	int memfd;

	while ((n = mailbox_take(w->up, &m, sizeof(m), &memfd)) > 0) {
		switch (m.tag) {
		case MAIL_WEB:
			verbs_fetched(w->verbs, &m.fetched, memfd, net_now_ms(w->net));
			break;
		case MAIL_STORE + STORE_ROWS:
			calls_stored(w->calls, m.ack.sid, m.ack.end);
			break;
		case MAIL_STORE + STORE_KEPT:
			verbs_outbox_kept(w->verbs, m.ack.owner, m.ack.token, net_now_ms(w->net));
			break;
		case MAIL_STORE + STORE_DUE:
			outbox_due(w, &m.post);
			break;
		default:
			memset(&e, 0, sizeof(e));
			memcpy(&e, m.bytes + sizeof(m.tag), MIN((size_t)n - sizeof(m.tag), sizeof(e)));
			calls_media_event(w->calls, &e, net_now_ms(w->net));
			break;
		}
		poison_idle(w);
	}
}
