/* SPDX-License-Identifier: Apache-2.0
 *
 * net_accept: where TCP connections come from: accepted, made by us, or held over a restart by somebody else. Numbers them; a number is never given twice in
 * the life of the slab as far as can be helped (a record may name a connection long gone). Who holds sockets over a restart (on_conn) is told before a byte
 * is read. Without descriptors accepting rests for a moment: the backlog keeps the callers, and a spinning loop would starve the calls that live.
 */
#include "net/net_int.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define ACCEPT_TURN 64

struct listener {
	struct link link;
	struct net *net;
	int fd;
	uint8_t number;
	struct watch *watch;
};

static uint32_t next_number(struct net *n)
{
	do
		n->conn_top++;
	while (n->conn_top == 0 || conn_taken(n, n->conn_top));
	return n->conn_top;
}

static void tell(struct net *n, const struct flow *f, int fd)
{
	if (n->on_conn)
		n->on_conn(n->conn_arg, f, fd);
}

static int local_of(int fd, struct addr *ret)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	return getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ? -errno : net_addr_from_sock(&ss, ret);
}

static bool full(const struct net *n)
{
	if (n->n_conns < limit_of(LIMIT_TCP_CONNECTIONS))
		return false;
	count_add(COUNT_LIMIT_HIT, 1);
	return true;
}

/* ---- accepted ---- */
static void listens_interest(struct net *n)
{
	bool on = n->accepting && n->accept_rest.at_ms == 0;
	LINK_EACH (it, &n->listens) {
		(void)watch_set(container_of(it, struct listener, link)->watch, on ? WATCH_IN : 0);
	}
}

void accept_rest_h(struct timer *t, void *arg, int64_t now_ms)
{
	listens_interest(arg);
}

static void welcome(struct listener *l, int fd, const struct sockaddr_storage *peer)
{
	struct net *n = l->net;
	struct flow f = {.kind = FLOW_TCP, .listener = l->number};
	if (full(n) || net_addr_from_sock(peer, &f.peer) || local_of(fd, &f.local)) {
		close(fd);
		return;
	}
	f.conn = next_number(n);
	conn_options(fd);
	struct conn *c = conn_new(n, fd, &f, false);
	if (!c) {
		close(fd);
		return;
	}
	conn_await_frame(c);
	tell(n, &f, fd);
}

static void listen_h(void *arg, unsigned events)
{
	struct listener *l = arg;
	for (int i = 0; i < ACCEPT_TURN; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			welcome(l, fd, &ss);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			count_add(COUNT_LIMIT_HIT, 1);
			timer_set(l->net->own, &l->net->accept_rest, l->net->now_ms + ACCEPT_REST_MS);
			break;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			break; /* EAGAIN: all are in */
		}
	}
	listens_interest(l->net);
}

int net_add_listen(struct net *n, int fd, uint8_t number, const struct addr *local)
{
	struct listener *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct listener){.net = n, .fd = fd, .number = number, .watch = watch_new(n, fd, listen_h, l)};
	if (!l->watch) {
		free(l);
		return -EINVAL;
	}
	conn_options(fd); /* the buffer sizes are inherited */
	link_append(&n->listens, &l->link);
	listens_interest(n);
	return 0;
}

void net_accepting(struct net *n, bool on)
{
	n->accepting = on;
	listens_interest(n);
}

void listens_close(struct net *n)
{
	LINK_EACH_SAFE (it, &n->listens) {
		struct listener *l = container_of(it, struct listener, link);
		watch_free(l->watch);
		close(l->fd);
		link_drop(it);
		free(l);
	}
}

/* ---- held by somebody else ---- */
int net_add_conn(struct net *n, int fd, const struct flow *f)
{
	if (f->kind != FLOW_TCP || f->conn == 0)
		return -EINVAL;
	if (conn_taken(n, f->conn))
		return -EEXIST;
	conn_options(fd);
	if (!conn_new(n, fd, f, false))
		return -ENOMEM;
	if ((int32_t)(f->conn - n->conn_top) > 0)
		n->conn_top = f->conn;
	return 0;
}

/* ---- made by us ---- */
static int start_connect(int fd, struct flow *to)
{
	struct sockaddr_storage ss;
	int one = 1;
	conn_options(fd);
	if (to->local.family == to->peer.family && !addr_is_any(&to->local)) {
		struct addr from = to->local;
		from.port = 0; /* the listener has that one */
		(void)!setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		socklen_t len = net_addr_to_sock(&from, false, &ss);
		if (bind(fd, (struct sockaddr *)&ss, len) < 0)
			return -errno;
	}
	socklen_t len = net_addr_to_sock(&to->peer, false, &ss);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	return local_of(fd, &to->local);
}

int conn_connect(struct net *n, struct flow *to)
{
	struct flow f = *to;
	if ((f.peer.family != AF_INET && f.peer.family != AF_INET6) || f.peer.port == 0)
		return -EINVAL;
	if (full(n))
		return -EMFILE;
	int fd = socket(f.peer.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int err = start_connect(fd, &f);
	if (err == 0) {
		f.kind = FLOW_TCP;
		f.conn = next_number(n);
		err = conn_new(n, fd, &f, true) ? 0 : -ENOMEM;
	}
	if (err) {
		close(fd);
		return err;
	}
	*to = f;
	tell(n, &f, fd);
	return 0;
}
