/* SPDX-License-Identifier: Apache-2.0
 *
 * rtp_pool: pairs of bound UDP sockets, RTP on the even port, RTCP above (RFC 3550 section 11). Sockets are bound ahead of need by whoever may
 * (the keeper) and given here; this file hands them to legs and takes them back. Sig thread only. In the pool a socket wears a filter that drops all,
 * so that nothing sprayed at idle ports is queued for the next call; a pair put back rests five seconds, until what is on its way to the old call has
 * landed. The fds belong to their supplier: nothing is closed here.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "rtp/rtp.h"

#define REST_MS   5000
#define DRAIN_MAX 1024 /* datagrams: more than a socket buffer holds */
#define TOS_EF    0xb8 /* expedited forwarding (RFC 4594 section 4.1) */

struct idle {
	struct rtp_pair pair;
	int64_t ready_ms;
};
struct rtp_pool {
	uint8_t number;
	struct addr host;
	rtp_want_h *want;
	void *arg;
	bool asked, used_up;
	struct idle *ring; /* the oldest at `first`; those at rest stand behind those that were given before them */
	size_t first, n, cap;
};

struct rtp_pool *rtp_pool_new(uint8_t number, const struct addr *host, rtp_want_h *want, void *arg)
{
	struct rtp_pool *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	*p = (struct rtp_pool){.number = number, .host = *host, .want = want, .arg = arg};
	return p;
}

void rtp_pool_free(struct rtp_pool *p)
{
	if (!p)
		return;
	free(p->ring);
	free(p);
}

const struct addr *rtp_pool_host(const struct rtp_pool *p)
{
	return &p->host;
}

static bool grow(struct rtp_pool *p)
{
	size_t cap = p->cap ? 2 * p->cap : 2 * RTP_PORTION;
	struct idle *ring = calloc(cap, sizeof(*ring));
	if (!ring)
		return false;
	for (size_t i = 0; i < p->n; i++)
		ring[i] = p->ring[(p->first + i) % p->cap];
	free(p->ring);
	p->ring = ring;
	p->cap = cap;
	p->first = 0;
	return true;
}

static void append(struct rtp_pool *p, const struct rtp_pair *pair, int64_t ready_ms)
{
	if (p->n == p->cap && !grow(p)) {
		log_line(LOG_ERROR, "rtp: no memory to keep port %u", pair->port);
		return;
	}
	p->ring[(p->first + p->n++) % p->cap] = (struct idle){*pair, ready_ms};
}

/* Fresh pairs go in front: they need no rest and must not wait behind those that do. */
static void prepend(struct rtp_pool *p, const struct rtp_pair *pair)
{
	if (p->n == p->cap && !grow(p)) {
		log_line(LOG_ERROR, "rtp: no memory to keep port %u", pair->port);
		return;
	}
	p->first = (p->first + p->cap - 1) % p->cap;
	p->ring[p->first] = (struct idle){*pair, 0};
	p->n++;
}

void rtp_pool_give(struct rtp_pool *p, const struct rtp_pair *pairs, int n)
{
	p->asked = false;
	p->used_up = n == 0;
	for (int i = n - 1; i >= 0; i--)
		prepend(p, &pairs[i]);
}

static int drop_all(int fd)
{
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = {.len = 1, .filter = &code};
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) == 0 ? 0 : -errno;
}

static void drain(int fd)
{
	char c;
	for (int i = 0; i < DRAIN_MAX; i++)
		/* an error queued by ICMP comes out of recv once as well */
		if (recv(fd, &c, 1, MSG_DONTWAIT | MSG_TRUNC) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
}

static void open_up(int fd)
{
	int none = 0;
	if (setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)) != 0 && errno != ENOENT)
		log_line(LOG_WARN, "rtp: filter of fd %d stays: errno %d", fd, errno);
	drain(fd);
}

static bool is_ready(const struct rtp_pool *p, size_t i, int64_t now_ms)
{
	return i < p->n && p->ring[(p->first + i) % p->cap].ready_ms <= now_ms;
}

static void ask(struct rtp_pool *p, int64_t now_ms)
{
	if (is_ready(p, RTP_PORTION - 1, now_ms) || p->asked || p->used_up || !p->want)
		return;
	p->asked = true;
	p->want(p->arg, p->number, RTP_PORTION);
}

int rtp_pool_take(struct rtp_pool *p, struct rtp_pair *ret)
{
	int64_t now_ms = clock_boot_ms(); /* no packet road: a pair is taken and put once a call */
	ask(p, now_ms);
	if (!is_ready(p, 0, now_ms))
		return -EAGAIN;
	*ret = p->ring[p->first].pair;
	p->first = (p->first + 1) % p->cap;
	p->n--;
	open_up(ret->rtp_fd);
	open_up(ret->rtcp_fd);
	return 0;
}

void rtp_pool_put(struct rtp_pool *p, const struct rtp_pair *pair)
{
	drop_all(pair->rtp_fd);
	drop_all(pair->rtcp_fd);
	drain(pair->rtp_fd);
	drain(pair->rtcp_fd);
	append(p, pair, clock_boot_ms() + REST_MS);
}

/* ---- binding ---- */

static socklen_t to_sockaddr(const struct addr *a, uint16_t port, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == AF_INET6) {
		struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ss;
		s6->sin6_family = AF_INET6;
		s6->sin6_port = htons(port);
		s6->sin6_scope_id = a->scope;
		memcpy(&s6->sin6_addr, a->ip, 16);
		return sizeof(*s6);
	}
	struct sockaddr_in *s4 = (struct sockaddr_in *)ss;
	s4->sin_family = AF_INET;
	s4->sin_port = htons(port);
	memcpy(&s4->sin_addr, a->ip, 4);
	return sizeof(*s4);
}

/* The filter is put on before the bind: there is no moment at which a packet could get in. */
static int bind_one(const struct addr *host, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t n = to_sockaddr(host, port, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int tos = TOS_EF, only6 = !addr_is_any(host);
	int r = drop_all(fd);
	if (ss.ss_family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6));
		setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	}
	if (r == 0 && bind(fd, (struct sockaddr *)&ss, n) != 0)
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int rtp_bind_pair(const struct addr *host, uint16_t *port, uint16_t high, struct rtp_pair *ret)
{
	for (uint32_t at = (*port + 1u) & ~1u; at + 1 <= high; at += 2) {
		*port = (uint16_t)MIN(at + 2, 65535u);
		int rtp = bind_one(host, (uint16_t)at);
		if (rtp == -EADDRINUSE)
			continue;
		if (rtp < 0)
			return rtp;
		int rtcp = bind_one(host, (uint16_t)(at + 1));
		if (rtcp >= 0) {
			*ret = (struct rtp_pair){.port = (uint16_t)at, .rtp_fd = rtp, .rtcp_fd = rtcp};
			return 0;
		}
		close(rtp);
		if (rtcp != -EADDRINUSE)
			return rtcp;
	}
	return -EADDRINUSE;
}
