/* SPDX-License-Identifier: Apache-2.0
 *
 * web: the web thread: its loop, the listening sockets, the connections and how long each may take. The HTTP itself is libwebsockets' (web_http.c is what it calls), running on our
 * libuv loop, so that the HTTP client can stand on the same one.
 *
 * Connections are accepted here and given to the library: their number is bounded (LIMIT_HTTP_CONNECTIONS; one past it is closed at once), and a sweep closes those that take
 * longer than they may for a request head, a body or for reading their answer, whatever trickles in meanwhile (the library's own timers start again with each byte).
 */
#include "web/inside.h"

#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"

#define PATIENCE_MS   10000
#define ANSWER_FACTOR 6 /* an answer may be megabytes */
#define ERRANDS_BYTES 4096

struct errand {
	web_errand_h *h;
	void *arg;
	sem_t *done;
};

struct door {
	uv_poll_t poll;
	struct thread *thread;
	int fd;
};

struct thread {
	struct web web; /* first: what web_http.c knows */
	uv_loop_t loop;
	uv_async_t stop;
	uv_timer_t sweep;
	struct mailbox *errands;
	uv_poll_t errand;
	pthread_t id;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	int64_t patience_ms;
	struct door *doors;
	int n_doors;
	bool resting; /* out of descriptors: doors stay shut until the next sweep */
};

static const struct lws_protocols protocols[] = {{.name = "http", .callback = web_http}, {0}};

static void on_lws_log(int level, const char *line)
{
	struct str s = str_trim(str_z(line));
	log_line(LOG_DEBUG, "web: %.*s", STR_ARG(s));
}

void conn_state(struct conn *c, enum conn_state s)
{
	c->state = s;
	c->since_ms = clock_boot_ms();
}

void conn_free(struct conn *c)
{
	link_drop(&c->link);
	c->web->n_conns--;
	arena_free(c->arena);
	free(c->body);
	free(c->answer.body);
	free(c);
}

static void addr_of(const struct sockaddr_storage *ss, struct addr *ret)
{
	*ret = (struct addr){0};
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
		ret->family = AF_INET;
		ret->port = ntohs(in->sin_port);
		memcpy(ret->ip, &in->sin_addr, 4);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
		bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
		ret->family = mapped ? AF_INET : AF_INET6;
		ret->port = ntohs(in6->sin6_port);
		ret->scope = mapped ? 0 : in6->sin6_scope_id;
		memcpy(ret->ip, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
	}
}

/* Takes fd over. */
static void adopt(struct thread *t, int fd, const struct sockaddr_storage *peer)
{
	struct conn *c = t->web.n_conns < limit_of(LIMIT_HTTP_CONNECTIONS) ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		count_add(COUNT_LIMIT_HIT, 1);
		close(fd);
		return;
	}
	c->web = &t->web;
	t->web.n_conns++;
	link_append(&t->web.conns, &c->link);
	conn_state(c, CONN_IDLE);
	addr_of(peer, &c->req.peer);
	c->wsi = lws_adopt_socket_vhost(t->vhost, fd); /* closes fd if it fails */
	if (c->wsi)
		lws_set_opaque_user_data(c->wsi, c);
	else
		conn_free(c);
}

static void on_door(uv_poll_t *p, int status, int events)
{
	struct door *d = p->data;
	/* A bounded number a turn, so that those inside are served too. */
	for (int i = 0; i < 16; i++) {
		struct sockaddr_storage ss = {0};
		socklen_t n = sizeof(ss);
		int fd = accept4(d->fd, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			adopt(d->thread, fd, &ss);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* Else the loop would turn on the same readable socket for ever. */
			d->thread->resting = true;
			uv_poll_stop(p);
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void doors_open(struct thread *t)
{
	for (int i = 0; i < t->n_doors; i++)
		uv_poll_start(&t->doors[i].poll, UV_READABLE, on_door);
	t->resting = false;
}

static void on_sweep(uv_timer_t *timer)
{
	struct thread *t = timer->data;
	int64_t now = clock_boot_ms();
	LINK_EACH_SAFE (l, &t->web.conns) {
		struct conn *c = container_of(l, struct conn, link);
		int64_t may = c->state == CONN_ANSWER ? t->patience_ms * ANSWER_FACTOR : t->patience_ms;
		if (c->killed || now - c->since_ms < may)
			continue;
		c->killed = true;
		/* At once (we are inside none of its callbacks here): a kill that is only noted would be put off by the next byte. Its handle is closed later in
		 * the loop; conn_free is called then. */
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	}
	if (t->resting)
		doors_open(t);
}

static void on_errand(uv_poll_t *p, int status, int events)
{
	struct thread *t = p->data;
	struct errand e;
	if (mailbox_take(t->errands, &e, sizeof(e), NULL) <= 0)
		return;
	e.h(&t->loop, e.arg);
	sem_post(e.done);
}

/* The pointers of the message are good: who sends it waits. */
void web_errand(struct web *w, web_errand_h *h, void *arg)
{
	struct thread *t = container_of(w, struct thread, web);
	sem_t done;
	struct errand e = {.h = h, .arg = arg, .done = &done};
	sem_init(&done, 0, 0);
	int err = mailbox_post(t->errands, &e, sizeof(e));
	ASSERT(err == 0);
	while (sem_wait(&done) && errno == EINTR)
		;
	sem_destroy(&done);
}

static int open_errands(struct thread *t)
{
	t->errands = mailbox_new(ERRANDS_BYTES);
	if (!t->errands)
		return -ENOMEM;
	int err = uv_poll_init(&t->loop, &t->errand, mailbox_fd(t->errands));
	if (err) {
		mailbox_free(t->errands);
		t->errands = NULL;
		return err;
	}
	t->errand.data = t;
	return uv_poll_start(&t->errand, UV_READABLE, on_errand);
}

static void on_stop(uv_async_t *a)
{
	uv_stop(a->loop);
}

static void close_all(struct thread *t)
{
	for (int i = 0; i < t->n_doors; i++)
		uv_close((uv_handle_t *)&t->doors[i].poll, NULL);
	if (t->errands)
		uv_close((uv_handle_t *)&t->errand, NULL);
	uv_close((uv_handle_t *)&t->sweep, NULL);
	uv_close((uv_handle_t *)&t->stop, NULL);
	/* With a foreign loop the library lets go in two steps: it closes its handles, and after the loop has seen that, its memory is freed. */
	lws_context_destroy(t->lws);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	lws_context_destroy(t->lws);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	uv_loop_close(&t->loop);
	mailbox_free(t->errands);
}

static void *web_thread(void *arg)
{
	struct thread *t = arg;
	uv_run(&t->loop, UV_RUN_DEFAULT);
	close_all(t);
	return NULL;
}

static int open_lws(struct thread *t)
{
	void *loops[] = {&t->loop};
	struct lws_context_creation_info i = {
	    .port = CONTEXT_PORT_NO_LISTEN,
	    .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
	    .foreign_loops = loops,
	    .gid = (gid_t)-1,
	    .uid = (uid_t)-1,
	    .max_http_header_data2 = WEB_HEAD_MAX,
	    .max_http_header_pool2 = (unsigned)limit_of(LIMIT_HTTP_CONNECTIONS),
	    .fd_limit_per_thread = (unsigned)limit_of(LIMIT_HTTP_CONNECTIONS) + 16,
	    .server_string = t->web.product,
	};
	lws_set_log_level(LLL_ERR | LLL_WARN | LLL_NOTICE, on_lws_log);
	t->lws = lws_create_context(&i);
	if (!t->lws)
		return -EIO;
	i.protocols = protocols;
	i.vhost_name = "hookswitch";
	i.keepalive_timeout = (int)(t->patience_ms + 999) / 1000;
	t->vhost = lws_create_vhost(t->lws, &i);
	return t->vhost ? 0 : -EIO;
}

static int open_doors(struct thread *t, const struct web_opts *o)
{
	t->doors = calloc((size_t)o->n_listen, sizeof(*t->doors));
	if (!t->doors)
		return -ENOMEM;
	for (int i = 0; i < o->n_listen; i++) {
		struct door *d = &t->doors[i];
		*d = (struct door){.thread = t, .fd = o->listen_fds[i]};
		int err = uv_poll_init(&t->loop, &d->poll, d->fd);
		if (err)
			return err;
		d->poll.data = d;
		t->n_doors++;
	}
	doors_open(t);
	return 0;
}

static int start_thread(struct thread *t)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&t->id, NULL, web_thread, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int web_start(const struct web_opts *o, struct web **ret)
{
	struct thread *t = calloc(1, sizeof(*t));
	int64_t tick;
	int err;
	if (!t)
		return -ENOMEM;
	t->web = (struct web){.product = o->product ? o->product : "hookswitch", .handler = o->handler, .arg = o->arg};
	t->patience_ms = o->patience_ms ? o->patience_ms : PATIENCE_MS;
	tick = MIN(t->patience_ms / 4 + 1, 1000);
	link_init(&t->web.conns);
	err = uv_loop_init(&t->loop);
	if (err) {
		free(t);
		return err;
	}
	uv_async_init(&t->loop, &t->stop, on_stop);
	uv_timer_init(&t->loop, &t->sweep);
	t->sweep.data = t;
	uv_timer_start(&t->sweep, on_sweep, (uint64_t)tick, (uint64_t)tick);
	err = open_errands(t);
	if (err == 0)
		err = open_lws(t);
	if (err == 0)
		err = open_doors(t, o);
	if (err == 0)
		err = start_thread(t);
	if (err) {
		close_all(t);
		free(t->doors);
		free(t);
		return err;
	}
	*ret = &t->web;
	return 0;
}

void web_stop(struct web *w)
{
	if (!w)
		return;
	struct thread *t = container_of(w, struct thread, web);
	uv_async_send(&t->stop);
	pthread_join(t->id, NULL);
	free(t->doors);
	free(t);
}
