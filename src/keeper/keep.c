/* SPDX-License-Identifier: Apache-2.0
 *
 * keep: the worker's end of the keeper's socket. Sig thread (keep_poison's lines: each by its thread; keep_is_poison: any).
 *
 * At start questions are asked and their answers waited for; what arrives in between (a stop, a new runner) is put aside and delivered by the next keep_read. The
 * descriptor for the loop is an epoll of the socket and of a counter that says something was put aside.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define ANSWER_MS 10000
#define CONN_MS   20
#define N_ASIDE   8

struct mail { /* a message with its descriptors */
	struct keep_msg m;
	int fds[LINK_FDS], n_fds;
};

struct keep {
	struct keep_user user;
	int link, epoll, event;
	pid_t pid;
	uint32_t seq;
	struct poison_page *poison;
	struct mail aside[N_ASIDE];
	int n_aside;
	struct mail answer;
};

static int watch(struct keep *k, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	return epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static int open_poison(struct keep *k)
{
	bool fresh;
	int fd, r = keep_memory(k, POISON_NAME, sizeof(struct poison_page), &fd, &fresh);
	if (r < 0)
		return r;
	k->poison = poison_map(fd);
	close(fd);
	if (!k->poison)
		return -ENOMEM;
	if (k->poison->dropped && !SHADOW_MEMORY)
		(void)prctl(PR_SET_DUMPABLE, 0); /* processes of the same user cannot look into this one */
	return 0;
}

struct keep *keep_open(int fd, const struct keep_user *u)
{
	struct ucred who;
	socklen_t n = sizeof(who);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return NULL;
	struct keep *k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	k->user = *u;
	k->link = fd;
	k->pid = who.pid;
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	k->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->epoll < 0 || k->event < 0 || watch(k, fd) < 0 || watch(k, k->event) < 0 || open_poison(k) < 0) {
		k->link = -1; /* stays the caller's */
		keep_close(k);
		return NULL;
	}
	return k;
}

void keep_close(struct keep *k)
{
	if (!k)
		return;
	for (int i = 0; i < k->n_aside; i++)
		link_close_fds(k->aside[i].fds, k->aside[i].n_fds);
	if (k->poison)
		munmap(k->poison, sizeof(*k->poison));
	int fds[] = {k->link, k->epoll, k->event};
	link_close_fds(fds, 3);
	free(k);
}

int keep_fd(const struct keep *k)
{
	return k->epoll;
}

pid_t keep_pid(const struct keep *k)
{
	return k->pid;
}

/* ---- what comes unasked ---- */
static void deliver_pairs(struct keep *k, struct mail *l)
{
	struct keep_pair got[KEEP_PAIRS_A_MESSAGE];
	int n = 0;
	for (int i = 0; i < l->n_fds / 2 && i < KEEP_PAIRS_A_MESSAGE; i++)
		got[n++] = (struct keep_pair){.port = l->m.pairs.ports[i], .rtp_fd = l->fds[2 * i], .rtcp_fd = l->fds[2 * i + 1]};
	if (k->user.on_pairs)
		k->user.on_pairs(k->user.arg, l->m.pairs.pool, got, n, l->m.pairs.exhausted);
	else
		link_close_fds(l->fds, l->n_fds);
}

static void deliver(struct keep *k, struct mail *l)
{
	if (l->m.type == KEEP_PAIRS) {
		deliver_pairs(k, l);
	} else if (l->m.type == KEEP_LINK && l->n_fds == 1 && k->user.on_runner) {
		k->user.on_runner(k->user.arg, l->fds[0]);
	} else {
		link_close_fds(l->fds, l->n_fds);
		if (l->m.type == KEEP_STOP && k->user.on_stop)
			k->user.on_stop(k->user.arg, (int)l->m.n);
	}
}

/* 1 = got one, 0 = none, -EPIPE = the keeper is gone. */
static int take_mail(struct keep *k, struct mail *ret)
{
	ssize_t r = link_recv(k->link, &ret->m, sizeof(ret->m), ret->fds, LINK_FDS, &ret->n_fds);
	if (r == -EAGAIN)
		return 0;
	if (r == (ssize_t)sizeof(ret->m))
		return 1;
	link_close_fds(ret->fds, ret->n_fds);
	return r > 0 ? -EPROTO : r == 0 ? -EPIPE : (int)r;
}

void keep_read(struct keep *k)
{
	uint64_t ignored;
	if (read(k->event, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
		log_line(LOG_ERROR, "keeper: event counter: %s", strerror(errno));
	while (k->n_aside > 0) {
		struct mail l = k->aside[0];
		k->n_aside--;
		memmove(&k->aside[0], &k->aside[1], (size_t)k->n_aside * sizeof(l));
		deliver(k, &l);
	}
	struct mail l;
	int r;
	while ((r = take_mail(k, &l)) > 0)
		deliver(k, &l);
	if (r < 0 && k->link >= 0 && epoll_ctl(k->epoll, EPOLL_CTL_DEL, k->link, NULL) == 0) { /* said once */
		log_line(LOG_ERROR, "keeper: the link is gone: %s", strerror(-r));
		if (k->user.on_stop)
			k->user.on_stop(k->user.arg, 2);
	}
}

/* ---- questions ---- */
static void put_aside(struct keep *k, const struct mail *l)
{
	if (k->n_aside == N_ASIDE) {
		log_line(LOG_ERROR, "keeper: too much at once while a question is open");
		link_close_fds((int *)(uintptr_t)l->fds, l->n_fds);
		return;
	}
	k->aside[k->n_aside++] = *l;
	uint64_t one = 1;
	if (write(k->event, &one, sizeof(one)) < 0)
		log_line(LOG_ERROR, "keeper: event counter: %s", strerror(errno));
}

/* Sends m and waits for the answer, which is k->answer; its descriptors are the caller's. Returns the answer's err. */
static int ask(struct keep *k, struct keep_msg *m)
{
	struct mail *l = &k->answer;
	m->seq = ++k->seq;
	int r = link_send(k->link, m, sizeof(*m), NULL, 0, true);
	int64_t until = clock_boot_ms() + ANSWER_MS;
	while (r == 0) {
		r = take_mail(k, l);
		if (r < 0)
			break;
		if (r > 0 && l->m.type == m->type && l->m.seq == m->seq) {
			if (l->m.err < 0)
				link_close_fds(l->fds, l->n_fds);
			return l->m.err;
		}
		if (r > 0)
			put_aside(k, l);
		int64_t left = until - clock_boot_ms();
		struct pollfd p = {.fd = k->link, .events = POLLIN};
		r = r > 0 ? 0 : left <= 0 || poll(&p, 1, (int)left) == 0 ? -ETIMEDOUT : 0;
	}
	return r;
}

/* An answer that has to bring exactly one descriptor. */
static int ask_fd(struct keep *k, struct keep_msg *m, int *ret_fd)
{
	int r = ask(k, m);
	if (r < 0)
		return r;
	if (k->answer.n_fds != 1) {
		link_close_fds(k->answer.fds, k->answer.n_fds);
		return -EPROTO;
	}
	*ret_fd = k->answer.fds[0];
	return 0;
}

int keep_socket(struct keep *k, enum keep_kind kind, const struct addr *a, int *ret_fd, struct addr *ret_bound, char *who, size_t cap)
{
	struct keep_msg m = {.type = KEEP_SOCKET, .socket = {.addr = *a, .kind = kind}};
	int r = ask_fd(k, &m, ret_fd);
	if (who && cap > 0) {
		who[0] = '\0';
		if (r == -EADDRINUSE) {
			struct out o = {.p = who, .cap = cap};
			k->answer.m.socket.who[sizeof(k->answer.m.socket.who) - 1] = '\0';
			out_str(&o, str_z(k->answer.m.socket.who));
			out_z(&o);
		}
	}
	if (r == 0)
		*ret_bound = k->answer.m.socket.addr;
	return r;
}

int keep_memory(struct keep *k, const char *name, size_t size, int *ret_fd, bool *ret_fresh)
{
	struct keep_msg m = {.type = KEEP_MEMORY, .memory.size = size};
	int r = str_zcpy(str_z(name), m.memory.name, sizeof(m.memory.name));
	if (r == 0)
		r = ask_fd(k, &m, ret_fd);
	if (r == 0)
		*ret_fresh = k->answer.m.memory.fresh;
	return r;
}

int keep_pool(struct keep *k, uint8_t pool, const struct addr *host, uint16_t low, uint16_t high)
{
	struct keep_msg m = {.type = KEEP_POOL, .pairs = {.host = *host, .low = low, .high = high, .pool = pool}};
	return ask(k, &m);
}

static int fetch_some(struct keep *k, uint8_t pool, const uint16_t *ports, int n, struct keep_pair *ret)
{
	struct keep_msg m = {.type = KEEP_FETCH, .n = (uint32_t)n, .pairs.pool = pool};
	memcpy(m.pairs.ports, ports, (size_t)n * sizeof(*ports));
	int r = ask(k, &m);
	if (r < 0)
		return r;
	int at = 0;
	for (int i = 0; i < n; i++) {
		bool has = k->answer.m.pairs.has[i] && at + 2 <= k->answer.n_fds;
		ret[i] = (struct keep_pair){.port = ports[i], .rtp_fd = has ? k->answer.fds[at] : -1, .rtcp_fd = has ? k->answer.fds[at + 1] : -1};
		at += has ? 2 : 0;
	}
	link_close_fds(k->answer.fds + at, k->answer.n_fds - at);
	return at / 2;
}

int keep_fetch_pairs(struct keep *k, uint8_t pool, const uint16_t *ports, int n, struct keep_pair *ret)
{
	int found = 0;
	for (int i = 0; i < n; i += KEEP_PAIRS_A_MESSAGE) {
		int r = fetch_some(k, pool, ports + i, MIN(n - i, KEEP_PAIRS_A_MESSAGE), ret + i);
		if (r < 0)
			return r;
		found += r;
	}
	return found > 0 || n == 0 ? 0 : -ENOENT;
}

int keep_fetch_conns(struct keep *k, void (*h)(void *arg, const struct flow *f, int fd), void *arg)
{
	for (uint32_t from = 0;;) {
		struct keep_msg m = {.type = KEEP_CONNS, .conns.from = from};
		int r = ask(k, &m);
		if (r < 0)
			return r;
		static struct mail l; /* h may ask in turn */
		l = k->answer;
		for (int i = 0; i < l.n_fds && i < KEEP_CONNS_A_MESSAGE; i++)
			h(arg, &l.m.conns.flows[i], l.fds[i]);
		from += (uint32_t)l.n_fds;
		if (!l.m.conns.more || l.n_fds == 0)
			return 0;
	}
}

/* ---- what needs no answer ---- */
int keep_want_pairs(struct keep *k, uint8_t pool, int n)
{
	if (n <= 0)
		return -EINVAL;
	struct keep_msg m = {.type = KEEP_WANT, .n = (uint32_t)MIN(n, KEEP_PAIRS_A_MESSAGE), .pairs.pool = pool};
	return link_send(k->link, &m, sizeof(m), NULL, 0, false);
}

/* Connections come and go faster than the keeper reads (a flood fills its socket): it is given a moment, for one that it is not told of ends with this worker, and one
 * that it is not told the end of stays open. The keeper never waits for us outside of questions, so the moment is that of a few of its turns. */
static int tell_conn(struct keep *k, const struct keep_msg *m, const int *fd)
{
	int r = link_send(k->link, m, sizeof(*m), fd, fd ? 1 : 0, false);
	struct pollfd p = {.fd = k->link, .events = POLLOUT};
	if (r == -EAGAIN && poll(&p, 1, CONN_MS) > 0)
		r = link_send(k->link, m, sizeof(*m), fd, fd ? 1 : 0, false);
	return r;
}

int keep_hold_conn(struct keep *k, const struct flow *f, int fd)
{
	struct keep_msg m = {.type = KEEP_HOLD, .flow = *f};
	return tell_conn(k, &m, &fd);
}

int keep_drop_conn(struct keep *k, const struct flow *f)
{
	struct keep_msg m = {.type = KEEP_DROP, .flow = *f};
	return tell_conn(k, &m, NULL);
}

int keep_ready(struct keep *k)
{
	struct keep_msg m = {.type = KEEP_READY};
	return link_send(k->link, &m, sizeof(m), NULL, 0, true);
}

/* ---- poison ---- */
struct poison_line *keep_poison(struct keep *k, int thread)
{
	ASSERT(thread >= 0 && thread < POISON_LINES);
	return &k->poison->lines[thread].line;
}

bool keep_is_poison(struct keep *k, uint32_t kind, uint64_t what, uint32_t step)
{
	return poison_is(k->poison, kind, what, step, clock_boot_ms);
}
