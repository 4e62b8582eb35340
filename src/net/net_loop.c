/* SPDX-License-Identifier: Apache-2.0
 *
 * net_loop: the event loop of the sig thread, the only file here that knows libuv. A turn is: bytes and connections as they come (libuv's poll), then the
 * timers, then the mail (net_add_fd), then the obituaries of connections, then the batch of datagrams leaves, then on_turn, then the bin. All user code
 * runs inside a turn, so that nothing which it sends or drops has to wait for the next event. The time is taken once a turn (boottime).
 */
#include "net/net_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <uv.h>

struct loop {
	uv_loop_t uv;
	uv_check_t check;
	uv_timer_t alarm;
};

struct watch {
	uv_poll_t poll; /* first: uv_close gives it back */
	struct net *net;
	watch_h *h;
	void *arg;
	unsigned events;
};

/* A descriptor of net_add_fd. It is only marked when it becomes readable; its owner is called after the timers. */
struct fd_seat {
	struct link bin, link; /* bin first */
	struct net *net;
	int fd;
	bool ready;
	struct watch *watch;
	net_fd_h *h;
	void *arg;
};

struct signal_seat {
	uv_signal_t signal; /* first: uv_close gives it back */
	struct link link;
	struct net *net;
	void (*h)(void *arg, int signum);
	void *arg;
};

static void turn(struct net *n);

void net_wake(struct net *n)
{
	if (n->awake)
		return;
	n->awake = true;
	n->now_ms = clock_boot_ms();
}

/* ---- watches ---- */
static void closed_h(uv_handle_t *h)
{
	free(h); /* libuv's own bin: called when the loop has let go of it */
}

static void poll_h(uv_poll_t *p, int status, int events)
{
	struct watch *w = container_of(p, struct watch, poll);
	unsigned ev = 0;
	net_wake(w->net);
	if (status < 0) {
		w->events = 0; /* libuv has stopped it */
		w->h(w->arg, WATCH_ERR);
		return;
	}
	ev |= events & UV_READABLE ? WATCH_IN : 0;
	ev |= events & UV_WRITABLE ? WATCH_OUT : 0;
	ev |= events & UV_DISCONNECT ? WATCH_HUP : 0;
	w->h(w->arg, ev);
}

struct watch *watch_new(struct net *n, int fd, watch_h *h, void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->net = n;
	w->h = h;
	w->arg = arg;
	if (uv_poll_init(&n->loop->uv, &w->poll, fd)) {
		free(w);
		return NULL;
	}
	return w;
}

int watch_set(struct watch *w, unsigned events)
{
	int uv = 0;
	if (w->events == events)
		return 0;
	w->events = events;
	uv |= events & WATCH_IN ? UV_READABLE : 0;
	uv |= events & WATCH_OUT ? UV_WRITABLE : 0;
	uv |= events & WATCH_HUP ? UV_DISCONNECT : 0;
	return uv ? uv_poll_start(&w->poll, uv, poll_h) : uv_poll_stop(&w->poll);
}

void watch_free(struct watch *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->poll, closed_h); /* stops at once */
}

/* ---- other people's descriptors ---- */
static void seat_h(void *arg, unsigned events)
{
	struct fd_seat *s = arg;
	s->ready = true;
	if (events & WATCH_ERR)
		(void)watch_set(s->watch, WATCH_IN); /* its owner reads the error and drops it */
}

int net_add_fd(struct net *n, int fd, net_fd_h *h, void *arg)
{
	struct fd_seat *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct fd_seat){.net = n, .fd = fd, .h = h, .arg = arg, .watch = watch_new(n, fd, seat_h, s)};
	if (!s->watch || watch_set(s->watch, WATCH_IN)) {
		watch_free(s->watch);
		free(s);
		return -EINVAL;
	}
	link_init(&s->bin);
	link_append(&n->fds, &s->link);
	return 0;
}

static void seat_drop(struct fd_seat *s)
{
	watch_free(s->watch);
	s->watch = NULL;
	s->ready = false;
	link_drop(&s->link);
	net_bin(s->net, &s->bin);
}

void net_drop_fd(struct net *n, int fd)
{
	LINK_EACH (it, &n->fds) {
		struct fd_seat *s = container_of(it, struct fd_seat, link);
		if (s->fd == fd) {
			seat_drop(s);
			return;
		}
	}
}

/* A handler may drop any descriptor, its own too, and add others: after each call the walk begins anew. */
static void seats_serve(struct net *n)
{
	struct link *it = n->fds.next;
	while (it != &n->fds) {
		struct fd_seat *s = container_of(it, struct fd_seat, link);
		it = it->next;
		if (!s->ready)
			continue;
		s->ready = false;
		s->h(s->arg, s->fd);
		it = n->fds.next;
	}
}

/* ---- signals ---- */
static void signal_h(uv_signal_t *sig, int signum)
{
	struct signal_seat *s = container_of(sig, struct signal_seat, signal);
	net_wake(s->net);
	s->h(s->arg, signum);
}

int net_add_signal(struct net *n, int signum, void (*h)(void *arg, int signum), void *arg)
{
	struct signal_seat *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->net = n;
	s->h = h;
	s->arg = arg;
	int err = uv_signal_init(&n->loop->uv, &s->signal);
	if (err) {
		free(s);
		return err;
	}
	link_append(&n->signals, &s->link);
	return uv_signal_start(&s->signal, signal_h, signum); /* a refused one is closed with the loop */
}

/* ---- the turn ---- */
static void alarm_h(uv_timer_t *t)
{
	turn(t->data);
}

static void check_h(uv_check_t *c)
{
	turn(c->data);
}

static void set_alarm(struct net *n)
{
	int64_t next = wheel_next_ms(n->own);
	if (n->wheel)
		next = MIN(next, wheel_next_ms(n->wheel));
	if (next == INT64_MAX) {
		uv_timer_stop(&n->loop->alarm);
		return;
	}
	/* One millisecond at least: an alarm that rings early must not make the loop spin. */
	uv_update_time(&n->loop->uv);
	uv_timer_start(&n->loop->alarm, alarm_h, (uint64_t)MAX(next - n->now_ms, 1), 0);
}

static void empty_bin(struct net *n)
{
	while (!link_alone(&n->bin)) {
		struct link *l = n->bin.next;
		link_drop(l);
		free(l);
	}
}

static void turn(struct net *n)
{
	net_wake(n);
	wheel_run(n->own, n->now_ms);
	if (n->wheel)
		wheel_run(n->wheel, n->now_ms);
	seats_serve(n);
	conns_reap(n);
	udp_flush(n);
	if (n->user.on_turn) {
		n->user.on_turn(n->user.arg, n->now_ms);
		conns_reap(n);
		udp_flush(n); /* what on_turn itself had to say */
	}
	empty_bin(n);
	set_alarm(n);
	n->awake = false;
}

int net_run(struct net *n)
{
	turn(n); /* what was sent and set before the first event */
	int err = uv_run(&n->loop->uv, UV_RUN_DEFAULT);
	return MIN(err, 0);
}

void net_stop(struct net *n)
{
	uv_stop(&n->loop->uv);
}

int64_t net_now_ms(const struct net *n)
{
	return n->now_ms;
}

/* ---- the wire ---- */
static int wire_send(void *arg, const struct flow *to, const void *p, size_t size)
{
	switch (to->kind) {
	case FLOW_UDP:
		return udp_send(arg, to, p, size);
	case FLOW_TCP:
		return conn_send(arg, to, p, size);
	default:
		return -EINVAL;
	}
}

static int wire_connect(void *arg, struct flow *to)
{
	return conn_connect(arg, to);
}

const struct wire *net_wire(struct net *n)
{
	return &n->wire;
}

/* ---- life ---- */
static int loop_open(struct net *n)
{
	struct loop *l = n->loop = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	int err = uv_loop_init(&l->uv);
	if (err) {
		free(l);
		n->loop = NULL;
		return err;
	}
	uv_check_init(&l->uv, &l->check);
	uv_timer_init(&l->uv, &l->alarm);
	l->check.data = l->alarm.data = n;
	return uv_check_start(&l->check, check_h);
}

static void loop_close(struct loop *l)
{
	if (!l)
		return;
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->alarm, NULL);
	while (uv_run(&l->uv, UV_RUN_NOWAIT))
		;
	ASSERT(uv_loop_close(&l->uv) == 0); /* a watch that nobody freed */
	free(l);
}

struct net *net_open(const struct net_opts *o)
{
	struct net *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->user = *o->user;
	n->on_conn = o->on_conn;
	n->conn_arg = o->arg;
	n->wheel = o->wheel;
	n->wire = (struct wire){.send = wire_send, .connect = wire_connect, .arg = n};
	n->accepting = true;
	n->now_ms = clock_boot_ms();
	/* A record may name a connection of the worker before; its number must not come again. Four milliseconds a number is faster than connections come. */
	n->conn_top = (uint32_t)(n->now_ms / 4);
	struct link *heads[] = {&n->udps, &n->listens, &n->conns, &n->dying, &n->fds, &n->signals, &n->bin};
	for (size_t i = 0; i < N_ELEMENTS(heads); i++)
		link_init(heads[i]);
	timer_init(&n->accept_rest, accept_rest_h, n);
	n->own = wheel_new(n->now_ms);
	n->by_number = hash_new(limit_of(LIMIT_TCP_CONNECTIONS));
	n->peek = malloc(PEEK_MAX);
	if (!n->own || !n->by_number || !n->peek || loop_open(n) || udp_open(n) || dns_open(n)) {
		net_close(n);
		return NULL;
	}
	return n;
}

/* Connections of a holder (on_conn) stay up: only our descriptors are closed. Answers of net_resolve still due are not given. */
void net_close(struct net *n)
{
	if (!n)
		return;
	dns_close(n);
	listens_close(n);
	conns_close(n);
	udp_close(n);
	LINK_EACH_SAFE (it, &n->fds) {
		seat_drop(container_of(it, struct fd_seat, link));
	}
	LINK_EACH_SAFE (it, &n->signals) {
		struct signal_seat *s = container_of(it, struct signal_seat, link);
		link_drop(&s->link);
		uv_close((uv_handle_t *)&s->signal, closed_h);
	}
	empty_bin(n);
	loop_close(n->loop);
	timer_stop(&n->accept_rest);
	wheel_free(n->own);
	hash_free(n->by_number);
	free(n->peek);
	free(n);
}
