/* SPDX-License-Identifier: Apache-2.0
 *
 * client: requests to services: the public face. Orders come from any thread through a mailbox, are carried out on the web thread (client_walk.c), and each ends in one `struct fetched`
 * in the mailbox of who asked, with a memfd: the body, and behind it the call's jar. An answer that finds that mailbox full waits here and is offered again; none is lost.
 *
 * Here: life of the client, the mail, the clock (one libuv timer behind a wheel), what happens at the end of a turn. Bounded: FETCH_OPEN_MAX orders from client_fetch to their answer.
 */
#include "web/inside.h"

#include "net/net.h"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAIL_BYTES (4u << 20)
#define LATE_MS    5
#define CA_BUNDLE  "/etc/ssl/certs/ca-certificates.crt"

enum order_kind { ORDER_FETCH, ORDER_DROP, ORDER_TRUST };
struct order {
	uint32_t kind, number, max_body;
	uint8_t method, trusted, sign, cached;
	uint8_t token[16];
	uint32_t n_url, n_form, n_cookies, n_accept; /* of the strings behind, in this order; ORDER_TRUST: n_url is that of the origins, each with a NUL */
	char text[];
};

/* ---- orders: any thread ---- */
static int post_order(struct client *c, const struct order *head, const struct str *texts, int n_texts)
{
	size_t n = sizeof(*head), at = n;
	for (int i = 0; i < n_texts; i++)
		n += texts[i].n;
	if (n > FETCH_ORDER_MAX)
		return -E2BIG;
	char *m = malloc(n);
	if (!m)
		return -ENOMEM;
	memcpy(m, head, sizeof(*head));
	for (int i = 0; i < n_texts; i++) {
		if (texts[i].n)
			memcpy(m + at, texts[i].p, texts[i].n);
		at += texts[i].n;
	}
	int err = mailbox_post(c->in, m, n);
	free(m);
	return err == -ENOSPC ? -EAGAIN : err;
}

int client_fetch(struct client *c, const struct fetch *f)
{
	struct str texts[] = {f->url, f->form, f->cookies, f->accept};
	struct order o = {.kind = ORDER_FETCH,
			  .number = f->number,
			  .max_body = f->max_body,
			  .method = (uint8_t)f->method,
			  .trusted = f->trusted,
			  .sign = f->sign,
			  .cached = f->cached};
	for (size_t i = 0; i < N_ELEMENTS(texts); i++)
		if (texts[i].n > FETCH_ORDER_MAX)
			return -E2BIG;
	memcpy(o.token, f->token, sizeof(o.token));
	o.n_url = (uint32_t)f->url.n;
	o.n_form = (uint32_t)f->form.n;
	o.n_cookies = (uint32_t)f->cookies.n;
	o.n_accept = (uint32_t)f->accept.n;
	if (c->n_jobs++ >= FETCH_OPEN_MAX) {
		c->n_jobs--;
		count_add(COUNT_LIMIT_HIT, 1);
		return -EAGAIN;
	}
	int err = post_order(c, &o, texts, N_ELEMENTS(texts));
	if (err)
		c->n_jobs--;
	return err;
}

/* A box that is full loses this: then the answer comes after all, and who asked does not wait for its number any more. */
void client_drop(struct client *c, const uint8_t token[16])
{
	struct order o = {.kind = ORDER_DROP};
	memcpy(o.token, token, sizeof(o.token));
	(void)!post_order(c, &o, NULL, 0);
}

int client_trust(struct client *c, const char *const *origins, int n)
{
	struct order o = {.kind = ORDER_TRUST};
	if (n > TRUST_MAX)
		return -E2BIG;
	struct str *texts = calloc((size_t)n + 1, sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		texts[i] = str_n(origins[i], strlen(origins[i]) + 1);
		o.n_url += (uint32_t)texts[i].n;
	}
	int err = post_order(c, &o, texts, n);
	free(texts);
	return err;
}

/* ---- the same on the web thread ---- */
static void post_up(struct client *c, struct fetched *r, int fd, bool *ret_full)
{
	r->tag = c->up_tag;
	int err = fd >= 0 ? mailbox_post_fd(c->up, r, sizeof(*r), fd) : mailbox_post(c->up, r, sizeof(*r));
	*ret_full = err != 0;
}

static void order_fetch(struct client *c, const struct order *o, size_t n)
{
	struct job *j = calloc(1, sizeof(*j));
	char *text = malloc(n + 1);
	bool full;
	if (!j || !text) {
		struct fetched r = {.fault = 11200, .number = o->number, .why = "out of memory"};
		memcpy(r.token, o->token, sizeof(r.token));
		post_up(c, &r, -1, &full);
		c->n_jobs--;
		free(j);
		free(text);
		return;
	}
	memcpy(text, o->text, n);
	*j = (struct job){.c = c, .order = text, .fd = -1};
	j->f = (struct fetch){
	    .number = o->number, .method = (enum fetch_method)o->method, .trusted = o->trusted, .sign = o->sign, .cached = o->cached, .max_body = o->max_body};
	memcpy(j->f.token, o->token, sizeof(j->f.token));
	j->f.url = str_n(text, o->n_url);
	j->f.form = str_n(text + o->n_url, o->n_form);
	j->f.cookies = str_n(text + o->n_url + o->n_form, o->n_cookies);
	j->f.accept = str_n(text + o->n_url + o->n_form + o->n_cookies, o->n_accept);
	link_append(&c->jobs, &j->all);
	link_init(&j->queue);
	job_start(j);
}

static void order_drop(struct client *c, const uint8_t token[16])
{
	LINK_EACH_SAFE (l, &c->jobs) {
		struct job *j = container_of(l, struct job, all);
		if (memcmp(j->f.token, token, sizeof(j->f.token)) == 0)
			job_end(j);
	}
}

static int trust_set(struct client *c, const char *const *origins, int n)
{
	char(*list)[ORIGIN_CAP] = calloc((size_t)n + 1, sizeof(*list));
	CURLU *u = curl_url();
	int kept = 0;
	for (int i = 0; i < n && list && u; i++) {
		if (curl_url_set(u, CURLUPART_URL, origins[i], 0) == CURLUE_OK && origin_name(u, list[kept]) == 0)
			kept++;
		else
			log_line(LOG_WARN, "web: %s is no origin that could be trusted", origins[i]);
	}
	curl_url_cleanup(u);
	if (!list)
		return -ENOMEM;
	free(c->trusted);
	c->trusted = list;
	c->n_trusted = kept;
	return 0;
}

static void order_trust(struct client *c, const char *text, size_t n)
{
	const char *origins[TRUST_MAX];
	int n_origins = 0;
	for (const char *p = text; p < text + n && n_origins < TRUST_MAX; p += strlen(p) + 1)
		origins[n_origins++] = p;
	if (trust_set(c, origins, n_origins))
		log_line(LOG_ERROR, "web: out of memory: the trusted origins stay as they were");
}

static void on_mail(uv_poll_t *p, int status, int events)
{
	struct client *c = p->data;
	/* A bounded number a turn: connections are served in between. */
	for (int i = 0; i < 32; i++) {
		ssize_t n = mailbox_take(c->in, c->order, FETCH_ORDER_MAX, NULL);
		const struct order *o = (const struct order *)c->order;
		if (n <= 0)
			break;
		if (o->kind == ORDER_FETCH)
			order_fetch(c, o, (size_t)n - sizeof(*o));
		else if (o->kind == ORDER_DROP)
			order_drop(c, o->token);
		else
			order_trust(c, o->text, o->n_url);
	}
	client_turn(c);
}

/* ---- the end of a job ---- */
void job_drop_body(struct job *j)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
	j->c->body_bytes -= j->body_n;
	j->body_n = 0;
}

void job_end(struct job *j)
{
	struct client *c = j->c;
	if (j->state == JOB_DEAD)
		return;
	walk_leave(j);
	job_drop_body(j);
	timer_stop(&j->total);
	link_drop(&j->queue);
	j->state = JOB_DEAD;
	link_append(&c->bin, &j->queue);
}

static void job_free(struct job *j)
{
	link_drop(&j->all);
	link_drop(&j->queue);
	carry_free_job(j);
	curl_url_cleanup(j->url);
	free(j->url_text);
	curl_free(j->host);
	free(j->base_text);
	free(j->order);
	j->c->n_jobs--;
	free(j);
}

/* The jar as it is now, from the engine of libcurl if there was an exchange. */
static size_t jar_text(struct job *j, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};
	struct curl_slist *cookies = NULL;
	struct jar_lines l = {j->f.cookies};
	struct str line;
	if (j->easy)
		curl_easy_getinfo(j->easy, CURLINFO_COOKIELIST, &cookies);
	jar_print(&j->jar, cookies, &o);
	curl_slist_free_all(cookies);
	while (!j->easy && jar_cookie_next(&l, &line) && cap - o.n > line.n) {
		out_str(&o, line);
		out_c(&o, '\n');
	}
	return o.n;
}

static void add_jar(struct job *j)
{
	char buf[JAR_MAX];
	size_t n = j->f.cached ? 0 : jar_text(j, buf, sizeof(buf));
	if (n && j->fd < 0)
		j->fd = memfd_create("fetched", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (n && j->fd >= 0 && pwrite(j->fd, buf, n, j->body_n) == (ssize_t)n)
		j->r.cookies_n = (uint32_t)n;
}

static void offer(struct job *j)
{
	bool full;
	post_up(j->c, &j->r, j->fd, &full);
	if (full) {
		link_append(&j->c->late, &j->queue);
		timer_set(j->c->wheel, &j->c->late_timer, clock_boot_ms() + LATE_MS);
		return;
	}
	j->fd = -1; /* theirs now */
	job_end(j);
}

void job_tell(struct job *j)
{
	struct fetched *r = &j->r;
	walk_leave(j);
	timer_stop(&j->total);
	j->state = JOB_TELLING;
	if (r->fault)
		job_drop_body(j);
	memcpy(r->token, j->f.token, sizeof(r->token));
	r->number = j->f.number;
	r->total_ms = (uint32_t)(clock_boot_ms() - j->start_ms);
	r->n = r->fault ? 0 : j->from_cache_n + j->body_n;
	if (r->fault == 0 && j->over.warning[0])
		(void)!str_zcpy(str_z(j->over.warning), r->why, sizeof(r->why));
	add_jar(j);
	offer(j);
}

static void on_late(struct timer *t, void *arg, int64_t now_ms)
{
	struct client *c = arg;
	struct link again;
	link_init(&again);
	while (!link_alone(&c->late)) {
		struct link *l = c->late.next;
		link_drop(l);
		link_append(&again, l);
	}
	while (!link_alone(&again)) {
		struct job *j = container_of(again.next, struct job, queue);
		link_drop(&j->queue);
		offer(j);
	}
}

/* ---- turns ---- */
static void on_clock(uv_timer_t *t)
{
	struct client *c = t->data;
	wheel_run(c->wheel, clock_boot_ms());
	client_turn(c);
}

void client_turn(struct client *c)
{
	if (c->closing)
		return;
	carry_work(c);
	walk_ready(c);
	while (!link_alone(&c->bin))
		job_free(container_of(c->bin.next, struct job, queue));
	int64_t next = wheel_next_ms(c->wheel), now = clock_boot_ms();
	if (c->kick)
		next = now;
	if (next == INT64_MAX)
		uv_timer_stop(&c->clock);
	else
		uv_timer_start(&c->clock, on_clock, (uint64_t)MAX(next - now, 0), 0);
}

/* ---- life ---- */
static void client_free(struct client *c)
{
	if (c->in)
		mailbox_free(c->in);
	if (c->wheel)
		wheel_free(c->wheel);
	if (c->origins)
		hash_free(c->origins);
	cache_close(&c->cache);
	free(c->order);
	free(c->trusted);
	free(c->allow);
	free(c);
}

void client_handle_closed(struct client *c)
{
	if (--c->n_handles == 0 && c->closing)
		sem_post(c->closed);
}

static void on_closed(uv_handle_t *h)
{
	client_handle_closed(h->data);
}

static int handles_open(struct client *c)
{
	int err = uv_poll_init(c->loop, &c->mail, mailbox_fd(c->in));
	if (err)
		return err;
	c->mail.data = c->clock.data = c;
	uv_timer_init(c->loop, &c->clock);
	c->n_handles += 2;
	return uv_poll_start(&c->mail, UV_READABLE, on_mail);
}

struct opening {
	struct client *c;
	const struct client_opts *o;
	int err;
};

static void open_here(uv_loop_t *loop, void *arg)
{
	struct opening *op = arg;
	struct client *c = op->c;
	c->loop = loop;
	op->err = handles_open(c);
	if (op->err == 0)
		op->err = where_open(c, op->o->dns_servers);
	if (op->err == 0)
		op->err = carry_open(c);
	if (op->err == 0)
		op->err = trust_set(c, op->o->trusted, op->o->n_trusted);
	if (op->err == 0)
		client_turn(c);
}

static int client_new(struct web *w, const struct client_opts *o, struct client **ret)
{
	struct client *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct client){.web = w, .up = o->up, .up_tag = o->up_tag};
	struct link *lists[] = {&c->ears, &c->jobs, &c->bin, &c->late, &c->ready};
	for (size_t i = 0; i < N_ELEMENTS(lists); i++)
		link_init(lists[i]);
	timer_init(&c->late_timer, on_late, c);
	c->in = mailbox_new(MAIL_BYTES);
	c->wheel = wheel_new(clock_boot_ms());
	c->origins = hash_new(2 * FETCH_OPEN_MAX);
	c->order = malloc(FETCH_ORDER_MAX);
	c->allow = calloc((size_t)o->n_allow + 1, sizeof(*c->allow));
	int err = c->in && c->wheel && c->origins && c->order && c->allow ? cache_open(&c->cache, o->cache_bytes) : -ENOMEM;
	if (err == 0 && (str_zcpy(str_z(o->product ? o->product : "hookswitch"), c->product, sizeof(c->product)) ||
			 str_zcpy(str_z(o->auth_token), c->auth_token, sizeof(c->auth_token)) ||
			 str_zcpy(str_z(o->ca_bundle ? o->ca_bundle : CA_BUNDLE), c->ca_bundle, sizeof(c->ca_bundle))))
		err = -EINVAL;
	if (err) {
		client_free(c);
		return err;
	}
	if (o->n_allow)
		memcpy(c->allow, o->allow, (size_t)o->n_allow * sizeof(*c->allow));
	c->n_allow = o->n_allow;
	*ret = c;
	return 0;
}

int client_open(struct web *w, const struct client_opts *o, struct client **ret)
{
	struct opening op = {.o = o};
	int err = client_new(w, o, &op.c);
	if (err)
		return err;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		client_free(op.c);
		return -EIO;
	}
	web_errand(w, open_here, &op);
	if (op.err) {
		client_close(op.c);
		return op.err;
	}
	*ret = op.c;
	return 0;
}

static void close_here(uv_loop_t *loop, void *arg)
{
	struct client *c = arg;
	c->closing = true;
	LINK_EACH_SAFE (l, &c->jobs)
		job_end(container_of(l, struct job, all));
	walk_ready(c);
	while (!link_alone(&c->bin))
		job_free(container_of(c->bin.next, struct job, queue));
	carry_close(c);
	where_close(c);
	LINK_EACH_SAFE (l, &c->ears) {
		struct ear *e = container_of(l, struct ear, link);
		(void)ear_set(c, e, e->fd, e->dns, 0);
	}
	if (c->mail.data) {
		uv_close((uv_handle_t *)&c->mail, on_closed);
		uv_close((uv_handle_t *)&c->clock, on_closed);
	}
	if (c->n_handles == 0)
		sem_post(c->closed); /* nothing was open; else the last handle's end says so */
}

void client_close(struct client *c)
{
	sem_t closed;
	if (!c)
		return;
	sem_init(&closed, 0, 0);
	c->closed = &closed;
	web_errand(c->web, close_here, c);
	while (sem_wait(&closed) && errno == EINTR)
		;
	sem_destroy(&closed);
	client_free(c);
	ares_library_cleanup();
	curl_global_cleanup();
}
