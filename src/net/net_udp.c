/* SPDX-License-Identifier: Apache-2.0
 *
 * net_udp: datagrams in batches. Reads up to 64 by recvmmsg, at most 256 a turn and socket, so that a flood does not starve the rest. A wildcard socket
 * learns by PKTINFO (RFC 3542, ip(7)) which of our addresses a packet came to, and answers leave from that address: a phone drops an answer that comes from
 * another one. Sends are gathered and leave by sendmmsg at the end of the turn; what the kernel does not take waits in the same bounded queue for POLLOUT.
 * Whether the bytes are SIP is the user's business.
 */
#include "net/net_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH         64
#define READ_TURN     256
#define DATAGRAM_MAX  65507
#define IN_STRIDE     (65536 + 192) /* no power of two: the heads of 64 buffers would share one cache line set */
#define QUEUE_PACKETS 1024
#define QUEUE_BYTES   (1 << 20)

union ctl {
	char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct cmsghdr align;
};

/* Buffers of recvmmsg, shared by all sockets of the loop. */
struct udp_in {
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage name[BATCH];
	union ctl ctl[BATCH];
	char bytes[]; /* BATCH * IN_STRIDE */
};

struct packet {
	uint32_t off, n;
	struct addr local, peer; /* local.family 0: the kernel chooses */
};

struct udp {
	struct link link;
	struct net *net;
	int fd;
	uint8_t listener;
	bool any, v6, dual; /* bound to all addresses; an IPv6 socket; … that takes IPv4 as well */
	struct addr local;
	struct watch *watch;
	uint32_t head, tail; /* of queue */
	uint32_t bytes_tail; /* of bytes */
	struct packet queue[QUEUE_PACKETS];
	char bytes[QUEUE_BYTES];
};

/* ---- in ---- */
static void learn_local(const struct udp *u, struct msghdr *m, struct flow *f)
{
	f->local = u->local;
	if (!u->any)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct sockaddr_storage ss = {0};
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo pi;
			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			/* spec_dst: our own address even if the packet was a broadcast */
			((struct sockaddr_in *)&ss)->sin_addr = pi.ipi_spec_dst;
			ss.ss_family = AF_INET;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi;
			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			if (IN6_IS_ADDR_MULTICAST(&pi.ipi6_addr))
				continue;
			((struct sockaddr_in6 *)&ss)->sin6_addr = pi.ipi6_addr;
			if (IN6_IS_ADDR_LINKLOCAL(&pi.ipi6_addr))
				((struct sockaddr_in6 *)&ss)->sin6_scope_id = pi.ipi6_ifindex;
			ss.ss_family = AF_INET6;
		}
		if (ss.ss_family && net_addr_from_sock(&ss, &f->local) == 0)
			f->local.port = u->local.port;
	}
}

static int receive(struct udp *u, struct udp_in *in)
{
	for (int i = 0; i < BATCH; i++) {
		in->iov[i] = (struct iovec){in->bytes + (size_t)i * IN_STRIDE, DATAGRAM_MAX + 1};
		in->msg[i].msg_hdr = (struct msghdr){.msg_iov = &in->iov[i],
						     .msg_iovlen = 1,
						     .msg_name = &in->name[i],
						     .msg_namelen = sizeof(in->name[i]),
						     .msg_control = &in->ctl[i],
						     .msg_controllen = sizeof(in->ctl[i])};
	}
	return recvmmsg(u->fd, in->msg, BATCH, MSG_DONTWAIT, NULL);
}

static void deliver(struct udp *u, struct mmsghdr *m)
{
	struct flow f = {.kind = FLOW_UDP, .listener = u->listener};
	if (m->msg_hdr.msg_flags & MSG_TRUNC || net_addr_from_sock(m->msg_hdr.msg_name, &f.peer) || f.peer.port == 0) {
		count_add(COUNT_SIP_BAD, 1); /* longer than UDP can carry, or a source that cannot be answered */
		return;
	}
	learn_local(u, &m->msg_hdr, &f);
	if (u->net->user.on_datagram)
		u->net->user.on_datagram(u->net->user.arg, &f, str_n(m->msg_hdr.msg_iov->iov_base, m->msg_len));
}

static void read_batches(struct udp *u)
{
	struct udp_in *in = u->net->in;
	for (int got = 0; got < READ_TURN;) {
		int r = receive(u, in);
		for (int i = 0; i < r; i++)
			deliver(u, &in->msg[i]);
		if (r < BATCH)
			return; /* empty; an error was that of an earlier send (ICMP) and is gone by being read */
		got += r;
	}
}

/* ---- out ---- */
static bool fits(const struct udp *u, const struct addr *peer)
{
	return peer->family == AF_INET6 ? u->v6 : !u->v6 || u->dual;
}

/* The socket of the flow's listener; for a flow that no packet made, the one that can best reach the peer. */
static struct udp *pick(struct net *n, const struct flow *to)
{
	struct udp *best = NULL;
	int best_score = -1;
	LINK_EACH (it, &n->udps) {
		struct udp *u = container_of(it, struct udp, link);
		if (!fits(u, &to->peer))
			continue;
		int score = (u->any || addr_is_loopback(&u->local) == addr_is_loopback(&to->peer) ? 2 : 0) + (u->listener == to->listener ? 1 : 0);
		if (to->local.family && (u->any || addr_eq_host(&u->local, &to->local)) && u->local.port == to->local.port)
			score += 4;
		if (score > best_score) {
			best = u;
			best_score = score;
		}
	}
	return best;
}

static void set_source(const struct udp *u, const struct packet *p, union ctl *ctl, struct msghdr *m)
{
	struct sockaddr_storage ss;
	if (!u->any || p->local.family != p->peer.family || addr_is_any(&p->local))
		return;
	net_addr_to_sock(&p->local, u->v6, &ss);
	memset(ctl, 0, sizeof(*ctl));
	m->msg_control = ctl;
	m->msg_controllen = u->v6 ? sizeof(ctl->v6) : sizeof(ctl->v4);
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	if (u->v6) {
		struct in6_pktinfo pi = {.ipi6_addr = ((struct sockaddr_in6 *)&ss)->sin6_addr, .ipi6_ifindex = p->local.scope};
		*c = (struct cmsghdr){.cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(pi))};
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
	} else {
		struct in_pktinfo pi = {.ipi_spec_dst = ((struct sockaddr_in *)&ss)->sin_addr};
		*c = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(pi))};
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
	}
}

/* Up to BATCH packets; as sendmmsg. */
static int send_batch(struct udp *u)
{
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage name[BATCH];
	union ctl ctl[BATCH];
	unsigned n = MIN(u->tail - u->head, BATCH);
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &u->queue[u->head + i];
		iov[i] = (struct iovec){u->bytes + p->off, p->n};
		msg[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1, .msg_name = &name[i]};
		msg[i].msg_hdr.msg_namelen = net_addr_to_sock(&p->peer, u->v6, &name[i]);
		set_source(u, p, &ctl[i], &msg[i].msg_hdr);
	}
	return sendmmsg(u->fd, msg, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void flush(struct udp *u)
{
	while (u->head < u->tail) {
		int r = send_batch(u);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			break;
		u->head += r > 0 ? (uint32_t)r : 1; /* the first cannot go (no route …): best effort, the transaction repeats it or gives up */
	}
	if (u->head == u->tail)
		u->head = u->tail = u->bytes_tail = 0;
	(void)watch_set(u->watch, WATCH_IN | (u->tail ? WATCH_OUT : 0));
}

/* Moves what waits to the front of both arrays. */
static void close_ranks(struct udp *u)
{
	uint32_t base = u->queue[u->head].off;
	memmove(u->bytes, u->bytes + base, u->bytes_tail - base);
	memmove(u->queue, u->queue + u->head, (u->tail - u->head) * sizeof(u->queue[0]));
	u->bytes_tail -= base;
	u->tail -= u->head;
	u->head = 0;
	for (uint32_t i = 0; i < u->tail; i++)
		u->queue[i].off -= base;
}

static bool has_room(const struct udp *u, size_t size)
{
	return u->tail < QUEUE_PACKETS && size <= QUEUE_BYTES - u->bytes_tail;
}

int udp_send(struct net *n, const struct flow *to, const void *p, size_t size)
{
	struct udp *u = pick(n, to);
	if (!u)
		return -EHOSTUNREACH;
	if (size > DATAGRAM_MAX)
		return -EMSGSIZE;
	if (!has_room(u, size)) {
		flush(u);
		if (u->head)
			close_ranks(u);
		if (!has_room(u, size))
			return -EAGAIN;
	}
	u->queue[u->tail++] = (struct packet){.off = u->bytes_tail, .n = (uint32_t)size, .local = to->local, .peer = to->peer};
	memcpy(u->bytes + u->bytes_tail, p, size);
	u->bytes_tail += (uint32_t)size;
	return 0;
}

void udp_flush(struct net *n)
{
	LINK_EACH (it, &n->udps) {
		struct udp *u = container_of(it, struct udp, link);
		if (u->tail)
			flush(u);
	}
}

/* ---- life ---- */
static void udp_h(void *arg, unsigned events)
{
	struct udp *u = arg;
	if (events & WATCH_ERR)
		(void)watch_set(u->watch, WATCH_IN | (u->tail ? WATCH_OUT : 0));
	if (events & (WATCH_IN | WATCH_ERR))
		read_batches(u);
	if (events & WATCH_OUT)
		flush(u);
}

int net_add_udp(struct net *n, int fd, uint8_t listener, const struct addr *local)
{
	struct udp *u = calloc(1, sizeof(*u));
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	int v6only = 1, err = -ENOMEM;
	if (!u)
		return err;
	u->net = n;
	u->fd = fd;
	u->listener = listener;
	u->local = *local;
	u->any = addr_is_any(local);
	u->v6 = local->family == AF_INET6;
	if (u->local.port == 0 && getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
		u->local.port = ntohs(u->v6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
	len = sizeof(v6only);
	u->dual = u->v6 && u->any && getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &len) == 0 && !v6only;
	err = u->any ? net_want_pktinfo(fd, local->family) : 0;
	u->watch = err ? NULL : watch_new(n, fd, udp_h, u);
	if (!u->watch || watch_set(u->watch, WATCH_IN)) {
		watch_free(u->watch);
		free(u);
		return err ? err : -EINVAL;
	}
	link_append(&n->udps, &u->link);
	return 0;
}

int udp_open(struct net *n)
{
	n->in = malloc(sizeof(*n->in) + (size_t)BATCH * IN_STRIDE);
	return n->in ? 0 : -ENOMEM;
}

void udp_close(struct net *n)
{
	udp_flush(n); /* the last words of an orderly end */
	LINK_EACH_SAFE (it, &n->udps) {
		struct udp *u = container_of(it, struct udp, link);
		watch_free(u->watch);
		close(u->fd);
		link_drop(it);
		free(u);
	}
	free(n->in);
}
