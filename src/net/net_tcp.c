/* SPDX-License-Identifier: Apache-2.0
 *
 * net_tcp: the life of a TCP connection. Bytes are looked at (MSG_PEEK) and taken out of the kernel (MSG_TRUNC) only when the user has said that its record is
 * written: a worker that dies in between leaves them to the next one. An incomplete frame stays in the kernel; SO_RCVLOWAT keeps the level-triggered poll quiet
 * until the rest is there. Out go whole frames or none: what does not fit waits in a bounded queue, so that a worker's death seldom tears a frame.
 * Deaths are told at the end of the turn (conns_reap), never inside a send. Where frames end is the user's business (RFC 3261 section 18.3).
 */
#include "net/net_int.h"

#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define STALLS_MAX 3 /* wake-ups without a new byte before the connection rests */
#define REST_MS    20

enum conn_state { CONN_CONNECTING, CONN_UP, CONN_DEAD };

struct conn {
	struct link bin, link; /* bin first; link: of net.conns or net.dying */
	struct net *net;
	enum conn_state state;
	int fd, lowat;
	struct flow flow;
	struct watch *watch;
	struct timer owes; /* the connection, or a whole frame, is due */
	struct timer rest; /* set: not reading for a moment */
	size_t seen;       /* bytes of the incomplete frame at the last look */
	int stalls;
	struct link out; /* of struct frame */
	size_t queued;
};

struct frame {
	struct link link;
	size_t n, at;
	char bytes[];
};

static uint64_t key_of(uint32_t number)
{
	return number * 0x9e3779b97f4a7c15ULL; /* numbers come in a row; spread them over the table */
}

static struct conn *find(const struct net *n, uint32_t number)
{
	struct conn *c;
	for (size_t at = 0; (c = hash_next(n->by_number, key_of(number), &at));)
		if (c->flow.conn == number)
			return c;
	return NULL;
}

bool conn_taken(const struct net *n, uint32_t number)
{
	return find(n, number) != NULL;
}

static void interest(struct conn *c)
{
	unsigned ev = c->state == CONN_CONNECTING || !link_alone(&c->out) ? WATCH_OUT : 0;
	if (c->state == CONN_UP && c->rest.at_ms == 0)
		ev |= WATCH_IN | WATCH_HUP;
	(void)watch_set(c->watch, ev);
}

/* The socket is shut, not only closed: whoever holds a copy of it over restarts must not keep the connection alive. */
static void doom(struct conn *c)
{
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	timer_stop(&c->owes);
	timer_stop(&c->rest);
	watch_free(c->watch);
	c->watch = NULL;
	shutdown(c->fd, SHUT_RDWR);
	hash_drop(c->net->by_number, key_of(c->flow.conn), c);
	link_drop(&c->link);
	link_append(&c->net->dying, &c->link);
}

/* ---- in ---- */
static void set_lowat(struct conn *c, size_t bytes)
{
	int v = (int)bytes;
	if (c->lowat != v && setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof(v)) == 0)
		c->lowat = v;
}

static bool consume(struct conn *c, size_t size)
{
	while (size) {
		ssize_t r = recv(c->fd, NULL, size, MSG_TRUNC | MSG_DONTWAIT);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false; /* reset in this very moment */
		size -= (size_t)r;
	}
	return true;
}

/* Hands over the frames in the first `total` bytes of the kernel's buffer; each is consumed before the next. Returns the bytes left over, -1 = dead. */
static ssize_t serve_frames(struct conn *c, size_t total, size_t *ret_need)
{
	struct net *n = c->net;
	size_t off = 0;
	while (off < total) {
		*ret_need = 0;
		ssize_t k = n->user.on_stream ? n->user.on_stream(n->user.arg, &c->flow, str_n(n->peek + off, total - off), ret_need) : -1;
		if (c->state == CONN_DEAD)
			return -1;
		if (k == 0)
			break;
		ASSERT(k < 0 || (size_t)k <= total - off);
		if (k < 0 || !consume(c, (size_t)k)) {
			doom(c);
			return -1;
		}
		off += (size_t)k;
		c->seen = 0;
		timer_stop(&c->owes);
	}
	return (ssize_t)(total - off);
}

/* Waits for the rest of a frame of which `left` bytes are here. */
static void await_rest(struct conn *c, size_t left, size_t need)
{
	if (left >= PEEK_MAX || need > PEEK_MAX) {
		count_add(COUNT_LIMIT_HIT, 1);
		doom(c);
		return;
	}
	set_lowat(c, MAX(need, left + 1));
	if (c->owes.at_ms == 0)
		conn_await_frame(c);
	/* The kernel may call in spite of SO_RCVLOWAT, when memory is short or the window small: then it would call again and again. */
	c->stalls = left == c->seen ? c->stalls + 1 : 0;
	c->seen = left;
	if (c->stalls >= STALLS_MAX) {
		timer_set(c->net->own, &c->rest, c->net->now_ms + REST_MS);
		interest(c);
	}
}

/* One look a turn; if more is there the poll calls again. */
static void conn_read(struct conn *c, bool hung_up)
{
	size_t need = 0;
	ssize_t total = recv(c->fd, c->net->peek, PEEK_MAX, MSG_PEEK | MSG_DONTWAIT);
	if (total < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (total <= 0) {
		doom(c);
		return;
	}
	ssize_t left = serve_frames(c, (size_t)total, &need);
	if (left < 0)
		return;
	if (left == 0 || (total == PEEK_MAX && left < total)) {
		c->stalls = 0;
		set_lowat(c, 1);
	} else if (hung_up) {
		doom(c); /* the rest of this frame will never come */
	} else {
		await_rest(c, (size_t)left, need);
	}
}

static void owes_h(struct timer *t, void *arg, int64_t now_ms)
{
	doom(arg);
}

static void rest_h(struct timer *t, void *arg, int64_t now_ms)
{
	struct conn *c = arg;
	c->stalls = 0;
	interest(c);
}

void conn_await_frame(struct conn *c)
{
	timer_set(c->net->own, &c->owes, c->net->now_ms + WHOLE_MS);
}

/* ---- out ---- */
/* Whether the kernel would take all of a frame at once. What cannot be known (an old kernel) is tried. */
static bool kernel_has_room(const struct conn *c, size_t size)
{
	uint32_t mem[SK_MEMINFO_VARS];
	socklen_t len = sizeof(mem);
	if (getsockopt(c->fd, SOL_SOCKET, SO_MEMINFO, mem, &len) < 0 || len < sizeof(mem))
		return true;
	size_t cost = size + size / 4 + 4096; /* the kernel counts its own heads and pages too */
	return mem[SK_MEMINFO_WMEM_QUEUED] + cost <= mem[SK_MEMINFO_SNDBUF];
}

/* Bytes that went, 0 = none now, -1 = dead. */
static ssize_t push(struct conn *c, const char *p, size_t size)
{
	ssize_t r = send(c->fd, p, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r >= 0)
		return r;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	doom(c);
	return -1;
}

static void conn_flush(struct conn *c)
{
	bool first = true;
	while (!link_alone(&c->out)) {
		struct frame *f = container_of(c->out.next, struct frame, link);
		/* The first goes as far as it can, else a frame larger than the kernel's buffer would never leave. */
		if (!first && !kernel_has_room(c, f->n))
			break;
		ssize_t r = push(c, f->bytes + f->at, f->n - f->at);
		if (r < 0)
			return;
		f->at += (size_t)r;
		c->queued -= (size_t)r;
		if (f->at < f->n)
			break;
		link_drop(&f->link);
		free(f);
		first = false;
	}
	interest(c);
}

static int enqueue(struct conn *c, const char *p, size_t size)
{
	struct frame *f = c->queued + size <= CONN_QUEUE ? malloc(sizeof(*f) + size) : NULL;
	if (!f) {
		count_add(COUNT_LIMIT_HIT, 1);
		doom(c); /* a stream with a hole in it is of no use */
		return -ENOTCONN;
	}
	f->n = size;
	f->at = 0;
	memcpy(f->bytes, p, size);
	link_append(&c->out, &f->link);
	c->queued += size;
	interest(c);
	return 0;
}

int conn_send(struct net *n, const struct flow *to, const void *p, size_t size)
{
	struct conn *c = find(n, to->conn);
	ssize_t r = 0;
	/* The peer is compared as well: a record may outlive its connection, and must never speak into somebody else's. */
	if (!c || !addr_eq(&c->flow.peer, &to->peer))
		return -ENOTCONN;
	if (c->state == CONN_UP && link_alone(&c->out) && kernel_has_room(c, size))
		r = push(c, p, size);
	if (r < 0)
		return -ENOTCONN;
	return (size_t)r == size ? 0 : enqueue(c, (const char *)p + r, size - (size_t)r);
}

/* ---- life ---- */
static void settle_connect(struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err) {
		doom(c);
		return;
	}
	c->state = CONN_UP;
	timer_stop(&c->owes);
	conn_flush(c);
}

static void conn_h(void *arg, unsigned events)
{
	struct conn *c = arg;
	if (events & WATCH_ERR)
		doom(c);
	else if (c->state == CONN_CONNECTING)
		settle_connect(c);
	else if (events & WATCH_OUT)
		conn_flush(c);
	if (c->state == CONN_UP && events & (WATCH_IN | WATCH_HUP))
		conn_read(c, events & WATCH_HUP);
}

struct sockopt {
	int level, name, value;
};

static const struct sockopt options[] = {
    {SOL_SOCKET, SO_RCVBUF, CONN_RCVBUF},
    {SOL_SOCKET, SO_SNDBUF, CONN_SNDBUF},
    /* an adopted socket may wait for a frame that its last worker knew of */
    {SOL_SOCKET, SO_RCVLOWAT, 1},
    {SOL_SOCKET, SO_KEEPALIVE, 1},
    {IPPROTO_TCP, TCP_NODELAY, 1},
    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
    {IPPROTO_TCP, TCP_KEEPINTVL, 15},
    {IPPROTO_TCP, TCP_KEEPCNT, 4},
    /* 64*T1: longer no transaction waits */
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 32000},
};

void conn_options(int fd)
{
	for (size_t i = 0; i < N_ELEMENTS(options); i++)
		(void)!setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
	(void)!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct conn *conn_new(struct net *n, int fd, const struct flow *f, bool connecting)
{
	struct conn *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	*c = (struct conn){.net = n, .fd = fd, .lowat = 1, .flow = *f, .state = connecting ? CONN_CONNECTING : CONN_UP};
	link_init(&c->bin);
	link_init(&c->link);
	link_init(&c->out);
	timer_init(&c->owes, owes_h, c);
	timer_init(&c->rest, rest_h, c);
	c->watch = watch_new(n, fd, conn_h, c);
	if (!c->watch || hash_put(n->by_number, key_of(f->conn), c)) {
		watch_free(c->watch);
		free(c);
		return NULL;
	}
	link_append(&n->conns, &c->link);
	n->n_conns++;
	if (connecting)
		timer_set(n->own, &c->owes, n->now_ms + CONNECT_MS);
	interest(c);
	return c;
}

static void bury(struct conn *c)
{
	close(c->fd);
	LINK_EACH_SAFE (it, &c->out) {
		free(container_of(it, struct frame, link));
	}
	link_drop(&c->link);
	c->net->n_conns--;
	net_bin(c->net, &c->bin);
}

void conns_reap(struct net *n)
{
	while (!link_alone(&n->dying)) {
		struct conn *c = container_of(n->dying.next, struct conn, link);
		if (n->user.on_closed)
			n->user.on_closed(n->user.arg, &c->flow);
		if (n->on_conn)
			n->on_conn(n->conn_arg, &c->flow, -1);
		bury(c);
	}
}

void conns_close(struct net *n)
{
	LINK_EACH_SAFE (it, &n->dying) {
		bury(container_of(it, struct conn, link));
	}
	LINK_EACH_SAFE (jt, &n->conns) {
		struct conn *c = container_of(jt, struct conn, link);
		timer_stop(&c->owes);
		timer_stop(&c->rest);
		watch_free(c->watch);
		bury(c);
	}
}
