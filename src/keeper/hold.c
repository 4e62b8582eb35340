/* SPDX-License-Identifier: Apache-2.0
 *
 * hold: what outlives a worker, in fixed arrays: bound sockets, named memory, pairs of RTP ports, TCP connections. Keeper only; it makes, keeps and hands out, and looks
 * into none of it. What a dead worker had is marked as not taken; the next one takes what its living calls need, then the rest as if it were new.
 *
 * A pair of RTP ports wears a filter that drops all from before it is bound until a worker takes it off (socket(7), SO_ATTACH_FILTER): an idle port costs nothing
 * and no stray packet of an old call is heard in the next one.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define N_SOCKETS  64
#define N_MEMORIES 16
#define N_POOLS    8
#define N_PAIRS    16384
#define N_CONNS    4096
#define SWEEP_MS   5000 /* at most this often the whole range is tried again for ports that others have freed */
#define DRAIN_MAX  256

struct socket_held {
	struct addr asked, bound;
	int fd;
	uint8_t kind;
	bool taken;
};
struct memory_held {
	char name[32];
	uint64_t size;
	int fd;
};
struct pair_held {
	int rtp_fd, rtcp_fd;
	uint16_t port;
	uint8_t pool, range; /* range: of the pool when it was bound */
	bool taken, used;    /* used: a worker had it once */
};
struct pool_held {
	struct addr host;
	uint16_t low, high; /* 0: not named */
	uint32_t next;
	uint8_t range;
	int64_t swept_ms;
	uint16_t at[UINT16_MAX / 2 + 1]; /* by port / 2: 1 + place in pairs */
};
struct conn_held {
	struct flow flow;
	int fd;
};

static struct socket_held sockets[N_SOCKETS];
static struct memory_held memories[N_MEMORIES];
static struct pool_held pools[N_POOLS];
static struct pair_held pairs[N_PAIRS];
static struct conn_held conns[N_CONNS];
static uint32_t n_sockets, n_memories, n_pairs, n_conns;

void hold_new_worker(void)
{
	for (uint32_t i = 0; i < n_sockets; i++)
		sockets[i].taken = false;
	for (uint32_t i = 0; i < n_pairs; i++)
		pairs[i].taken = false;
}

static void close_pair(uint32_t i)
{
	close(pairs[i].rtp_fd);
	close(pairs[i].rtcp_fd);
	pools[pairs[i].pool].at[pairs[i].port / 2] = 0;
	pairs[i] = pairs[--n_pairs];
	if (i < n_pairs)
		pools[pairs[i].pool].at[pairs[i].port / 2] = (uint16_t)(i + 1);
}

void hold_ready(void)
{
	for (uint32_t i = 0; i < n_sockets;)
		if (!sockets[i].taken) {
			close(sockets[i].fd);
			sockets[i] = sockets[--n_sockets];
		} else {
			i++;
		}
	for (uint32_t i = 0; i < n_pairs;)
		if (!pairs[i].taken && pairs[i].range != pools[pairs[i].pool].range)
			close_pair(i);
		else
			i++;
}

void hold_done(void)
{
	for (uint32_t i = 0; i < n_sockets; i++)
		close(sockets[i].fd);
	for (uint32_t i = 0; i < n_memories; i++)
		close(memories[i].fd);
	for (uint32_t i = 0; i < n_conns; i++)
		close(conns[i].fd);
	while (n_pairs > 0)
		close_pair(n_pairs - 1);
	n_sockets = n_memories = n_conns = 0;
	memset(pools, 0, sizeof(pools));
}

/* ---- sockets ---- */
static socklen_t to_sockaddr(const struct addr *a, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->family == AF_INET6) {
		struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ret;
		s6->sin6_family = AF_INET6;
		s6->sin6_port = htons(a->port);
		s6->sin6_scope_id = a->scope;
		memcpy(&s6->sin6_addr, a->ip, 16);
		return sizeof(*s6);
	}
	struct sockaddr_in *s4 = (struct sockaddr_in *)ret;
	s4->sin_family = AF_INET;
	s4->sin_port = htons(a->port);
	memcpy(&s4->sin_addr, a->ip, 4);
	return sizeof(*s4);
}

static void learn_port(int fd, struct addr *a)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0)
		return;
	a->port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
}

static int set_on(int fd, int level, int option)
{
	int on = 1;
	return setsockopt(fd, level, option, &on, sizeof(on));
}

static int drop_all(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = {.len = 1, .filter = &nothing};
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

static int bind_socket(int type, const struct addr *a, bool filtered)
{
	struct sockaddr_storage ss;
	socklen_t n = to_sockaddr(a, &ss);
	int fd = socket(a->family == AF_INET6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int only6 = !addr_is_any(a); /* [::] takes IPv4 as well, whatever this machine's default is */
	if ((a->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6)) < 0) ||
	    (type == SOCK_STREAM && set_on(fd, SOL_SOCKET, SO_REUSEADDR) < 0) || (filtered && drop_all(fd) < 0) || bind(fd, (struct sockaddr *)&ss, n) < 0) {
		int e = errno;
		close(fd);
		return -e;
	}
	return fd;
}

static int open_socket(enum keep_kind kind, const struct addr *a)
{
	int fd = bind_socket(kind == KEEP_UDP ? SOCK_DGRAM : SOCK_STREAM, a, false);
	if (fd < 0)
		return fd;
	if (kind == KEEP_LISTEN && listen(fd, 1024) < 0) {
		int e = errno;
		close(fd);
		return -e;
	}
	int bytes = 4 << 20; /* what arrives while no worker lives waits here */
	if (kind == KEEP_UDP && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return fd;
}

int hold_socket(enum keep_kind kind, const struct addr *a, struct addr *ret_bound, int *ret_fd)
{
	struct socket_held *s = NULL;
	for (uint32_t i = 0; i < n_sockets && !s; i++)
		if (!sockets[i].taken && sockets[i].kind == kind && addr_eq(&sockets[i].asked, a))
			s = &sockets[i];
	if (!s) {
		if (n_sockets == N_SOCKETS)
			return -ENOSPC;
		int fd = open_socket(kind, a);
		if (fd < 0)
			return fd;
		s = &sockets[n_sockets++];
		*s = (struct socket_held){.asked = *a, .bound = *a, .fd = fd, .kind = (uint8_t)kind};
		learn_port(fd, &s->bound);
	}
	s->taken = true;
	*ret_bound = s->bound;
	*ret_fd = s->fd;
	return 0;
}

/* ---- memory ---- */
static int new_memory(const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	/* sealed: nobody can make it shorter under our feet */
	if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int e = errno;
		close(fd);
		return -e;
	}
	return fd;
}

int hold_given(const char *name, int fd)
{
	struct stat st;
	if (n_memories == N_MEMORIES || fstat(fd, &st) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -EINVAL;
	struct memory_held *m = &memories[n_memories++];
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->size = (uint64_t)st.st_size;
	m->fd = fd;
	return 0;
}

int hold_memory(const char *name, uint64_t size, bool *ret_fresh, int *ret_fd)
{
	struct memory_held *m = NULL;
	for (uint32_t i = 0; i < n_memories; i++)
		if (strcmp(memories[i].name, name) == 0)
			m = &memories[i];
	*ret_fresh = false;
	if (!m || m->size != size) {
		if (!m && n_memories == N_MEMORIES)
			return -ENOSPC;
		int fd = new_memory(name, size);
		if (fd < 0)
			return fd;
		if (m)
			close(m->fd);
		else
			m = &memories[n_memories++];
		snprintf(m->name, sizeof(m->name), "%s", name);
		m->size = size;
		m->fd = fd;
		*ret_fresh = true;
	}
	*ret_fd = m->fd;
	return 0;
}

/* ---- pairs ---- */
int hold_pool(uint8_t pool, const struct addr *host, uint16_t low, uint16_t high)
{
	if (pool >= N_POOLS || low == 0 || low > high)
		return -EINVAL;
	struct pool_held *p = &pools[pool];
	if (p->low == low && p->high == high && addr_eq_host(&p->host, host) && p->host.family == host->family)
		return 0;
	p->host = *host;
	p->low = low;
	p->high = high;
	p->next = low + (low & 1u);
	p->range++;
	p->swept_ms = 0;
	return 0;
}

static void drain(int fd)
{
	for (int i = 0; i < DRAIN_MAX; i++)
		if (recv(fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) < 0 && errno == EAGAIN)
			return;
}

static void hand_out(struct pair_held *h, struct keep_msg *m, int i, int *fds)
{
	h->taken = h->used = true;
	m->pairs.ports[i] = h->port;
	m->pairs.has[i] = 1;
	fds[0] = h->rtp_fd;
	fds[1] = h->rtcp_fd;
}

int hold_fetch(struct keep_msg *m, int *fds)
{
	int n_fds = 0;
	for (uint32_t i = 0; i < m->n; i++) {
		uint16_t at = m->pairs.pool < N_POOLS ? pools[m->pairs.pool].at[m->pairs.ports[i] / 2] : 0;
		m->pairs.has[i] = 0;
		if (at == 0 || pairs[at - 1].taken || pairs[at - 1].port != m->pairs.ports[i])
			continue;
		hand_out(&pairs[at - 1], m, (int)i, fds + n_fds);
		n_fds += 2;
	}
	return n_fds;
}

static struct pair_held *bind_pair(uint8_t pool, uint16_t port)
{
	if (n_pairs == N_PAIRS)
		return NULL;
	struct addr a = pools[pool].host;
	a.port = port;
	int rtp = bind_socket(SOCK_DGRAM, &a, true);
	if (rtp < 0)
		return NULL;
	a.port++;
	int rtcp = bind_socket(SOCK_DGRAM, &a, true);
	if (rtcp < 0) {
		close(rtp);
		return NULL;
	}
	struct pair_held *h = &pairs[n_pairs++];
	*h = (struct pair_held){.rtp_fd = rtp, .rtcp_fd = rtcp, .port = port, .pool = pool, .range = pools[pool].range};
	pools[pool].at[port / 2] = (uint16_t)n_pairs;
	return h;
}

/* Next pair that is bound now; NULL = the range is used up for the moment. */
static struct pair_held *next_new(uint8_t pool)
{
	struct pool_held *p = &pools[pool];
	for (;;) {
		if (p->next + 1 > p->high) {
			int64_t now = clock_boot_ms();
			if (p->swept_ms != 0 && now - p->swept_ms < SWEEP_MS)
				return NULL;
			p->swept_ms = now;
			p->next = p->low + (p->low & 1u);
			if (p->next + 1 > p->high)
				return NULL;
		}
		uint16_t port = (uint16_t)p->next;
		p->next += 2;
		struct pair_held *h = p->at[port / 2] == 0 ? bind_pair(pool, port) : NULL;
		if (h)
			return h;
	}
}

int hold_want(uint8_t pool, int n, struct keep_msg *m, int *fds)
{
	int got = 0;
	m->pairs.pool = pool;
	m->pairs.exhausted = 0;
	if (pool < N_POOLS && pools[pool].low != 0) {
		const struct pool_held *p = &pools[pool];
		for (uint32_t i = 0; i < n_pairs && got < n; i++) {
			struct pair_held *h = &pairs[i];
			if (h->taken || h->pool != pool || h->range != p->range)
				continue;
			if (h->used && (drop_all(h->rtp_fd) < 0 || drop_all(h->rtcp_fd) < 0))
				continue;
			if (h->used) {
				drain(h->rtp_fd);
				drain(h->rtcp_fd);
			}
			hand_out(h, m, got, fds + 2 * got);
			got++;
		}
		for (struct pair_held *h; got < n && (h = next_new(pool)); got++)
			hand_out(h, m, got, fds + 2 * got);
	}
	m->pairs.exhausted = got < n;
	m->n = (uint32_t)got;
	return 2 * got;
}

void hold_untake(const struct keep_msg *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		uint16_t at = pools[m->pairs.pool].at[m->pairs.ports[i] / 2];
		if (m->pairs.has[i] && at != 0)
			pairs[at - 1].taken = false;
	}
}

/* ---- TCP connections ---- */
static struct conn_held *find_conn(const struct flow *f)
{
	for (uint32_t i = 0; i < n_conns; i++)
		if (conns[i].flow.conn == f->conn)
			return &conns[i];
	return NULL;
}

int hold_conn(const struct flow *f, int fd)
{
	struct conn_held *c = find_conn(f);
	if (c) {
		close(c->fd);
	} else if (n_conns == N_CONNS) {
		close(fd);
		return -ENOSPC;
	} else {
		c = &conns[n_conns++];
	}
	*c = (struct conn_held){.flow = *f, .fd = fd};
	return 0;
}

void hold_drop_conn(const struct flow *f)
{
	struct conn_held *c = find_conn(f);
	if (!c)
		return;
	close(c->fd);
	*c = conns[--n_conns];
}

int hold_conns(struct keep_msg *m, int *fds)
{
	uint32_t from = MIN(m->conns.from, n_conns);
	m->n = MIN(n_conns - from, (uint32_t)KEEP_CONNS_A_MESSAGE);
	for (uint32_t i = 0; i < m->n; i++) {
		m->conns.flows[i] = conns[from + i].flow;
		fds[i] = conns[from + i].fd;
	}
	m->conns.more = from + m->n < n_conns;
	return (int)m->n;
}
