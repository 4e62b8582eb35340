/* SPDX-License-Identifier: Apache-2.0
 *
 * media_threads: one engine a thread. A turn: wait for packets, orders or the next frame; read packets into the engine; do orders; tick. Orders come by a
 * mailbox, news go to the mailbox of the sig thread; nothing else is shared, and the threads block nowhere but in epoll. A news item that the full mailbox
 * refuses is kept and posted again (sound for a tap is not: it is worth nothing later). Signals are left to the main thread.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "media/media_int.h"
#include "net/net.h"

#define ORDERS_BYTES (1 << 20)
#define BATCH        8 /* datagrams read by one call */
#define ROUNDS       8 /* such calls on one socket in one turn: the others want to be heard too */
#define DATAGRAM     2048
#define EVENTS       128
#define IDLE_MS      500
#define KEPT         512
#define MAIL         UINT64_MAX /* epoll: the mailbox */

struct thread {
	pthread_t id;
	struct media *m;
	struct mailbox *orders, *up;
	uint32_t up_tag;
	int epoll;
	bool quit;
	atomic_uint_fast64_t beat;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage from[BATCH];
	char data[BATCH][DATAGRAM];
	struct media_event kept[KEPT]; /* news that had no room */
	int n_kept;
};
struct media_threads {
	int n;
	struct thread *t;
};
struct letter {
	uint32_t tag;
	struct media_event event;
};
_Static_assert(offsetof(struct letter, event) == sizeof(uint32_t), "the event follows its tag without a gap");

/* ---- news ---- */

static bool post(struct thread *t, const struct media_event *e)
{
	struct letter l = {.tag = t->up_tag, .event = *e};
	return mailbox_post(t->up, &l, sizeof(l)) == 0;
}

static void on_event(void *arg, const struct media_event *e)
{
	struct thread *t = arg;
	if (t->n_kept == 0 && post(t, e)) /* order is kept: nothing overtakes what waits */
		return;
	if (e->kind == MEDIA_HEARD)
		return;
	if (t->n_kept < KEPT)
		t->kept[t->n_kept++] = *e;
	else
		log_line(LOG_ERROR, "media: news of kind %u for stream %u lost: nobody takes them", e->kind, e->slot);
}

static void post_kept(struct thread *t)
{
	int n = 0;
	while (n < t->n_kept && post(t, &t->kept[n]))
		n++;
	if (!n)
		return;
	memmove(t->kept, t->kept + n, (size_t)(t->n_kept - n) * sizeof(t->kept[0]));
	t->n_kept -= n;
}

/* ---- sockets ---- */

static void from_kernel(const struct sockaddr_storage *ss, struct addr *ret)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	memset(ret, 0, sizeof(*ret));
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *s4 = (const struct sockaddr_in *)ss;
		ret->family = AF_INET;
		ret->port = ntohs(s4->sin_port);
		memcpy(ret->ip, &s4->sin_addr, 4);
		return;
	}
	const struct sockaddr_in6 *s6 = (const struct sockaddr_in6 *)ss;
	ret->port = ntohs(s6->sin6_port);
	if (memcmp(&s6->sin6_addr, mapped, 12) == 0) {
		ret->family = AF_INET;
		memcpy(ret->ip, s6->sin6_addr.s6_addr + 12, 4);
		return;
	}
	ret->family = AF_INET6;
	ret->scope = s6->sin6_scope_id;
	memcpy(ret->ip, &s6->sin6_addr, 16);
}

/* Road of a packet, step 1: from the socket into the engine. */
static void thread_read(struct thread *t, uint32_t slot, int rtcp)
{
	const struct stream *s = media_stream(t->m, slot);
	if (!s)
		return; /* closed earlier in this turn */
	int fd = rtcp ? s->rtcp_fd : s->rtp_fd;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < BATCH; i++)
			t->msgs[i].msg_hdr.msg_namelen = sizeof(t->from[i]);
		int n = recvmmsg(fd, t->msgs, BATCH, MSG_DONTWAIT, NULL);
		int64_t now_ms = clock_boot_ms();
		for (int i = 0; i < n; i++) {
			struct addr from;
			from_kernel(&t->from[i], &from);
			if (!(t->msgs[i].msg_hdr.msg_flags & MSG_TRUNC))
				media_packet(t->m, slot, rtcp, &from, str_n(t->data[i], t->msgs[i].msg_len), now_ms);
		}
		if (n < BATCH) /* an error too: what ICMP said of an earlier packet is taken off the socket by being read */
			return;
	}
}

static void watch(struct thread *t, const struct media_cmd *c, bool on)
{
	int fds[2];
	if (!media_fds(t->m, c->slot, c->gen, fds))
		return;
	for (unsigned i = 0; i < 2; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)c->slot << 1 | i};
		if (fds[i] >= 0 && epoll_ctl(t->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fds[i], &e) != 0)
			log_line(LOG_ERROR, "media: socket %d of stream %u cannot be watched: errno %d", fds[i], c->slot, errno);
	}
}

/* ---- orders ---- */

static void thread_orders(struct thread *t)
{
	struct media_cmd c;
	int fd;
	while (mailbox_take(t->orders, &c, sizeof(c), &fd) > 0) {
		if (c.kind == MEDIA_QUIT)
			t->quit = true;
		if (c.kind == MEDIA_CLOSE)
			watch(t, &c, false);
		media_do(t->m, &c, fd, clock_boot_ms());
		if (c.kind == MEDIA_OPEN)
			watch(t, &c, true);
		if (fd >= 0)
			close(fd);
	}
}

/* ---- the turn ---- */

/* Until the next frame is due, to the microsecond: the milliseconds of epoll_wait would make each frame late by up to one. */
static int thread_wait(struct thread *t, struct epoll_event *events)
{
	struct timespec now, left;
	clock_gettime(CLOCK_BOOTTIME, &now);
	int64_t now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	int64_t next_ms = MIN(media_next_ms(t->m), now_us / 1000 + (t->n_kept ? FRAME_MS : IDLE_MS));
	int64_t us = MAX(next_ms * 1000 - now_us, 0);
	left = (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	int n = epoll_pwait2(t->epoll, events, EVENTS, &left, NULL);
	if (n < 0 && errno == ENOSYS)
		n = epoll_wait(t->epoll, events, EVENTS, (int)((us + 999) / 1000));
	return n;
}

static void *thread_run(void *arg)
{
	struct thread *t = arg;
	struct epoll_event events[EVENTS];
	prctl(PR_SET_NAME, "media");
	prctl(PR_SET_TIMERSLACK, 20000); /* ns */
	while (!t->quit) {
		int n = thread_wait(t, events);
		bool mail = false;
		for (int i = 0; i < n; i++)
			if (events[i].data.u64 == MAIL)
				mail = true;
			else
				thread_read(t, (uint32_t)(events[i].data.u64 >> 1), (int)(events[i].data.u64 & 1));
		if (mail)
			thread_orders(t);
		media_tick(t->m, clock_boot_ms());
		if (t->n_kept)
			post_kept(t);
		atomic_fetch_add_explicit(&t->beat, 1, memory_order_relaxed);
	}
	return NULL;
}

static void thread_done(struct thread *t)
{
	media_free(t->m);
	mailbox_free(t->orders);
	if (t->epoll >= 0)
		close(t->epoll);
}

static int thread_init(struct thread *t, struct media_line *lines, uint32_t n_lines, struct mailbox *up, uint32_t up_tag)
{
	struct media_opts o = {.lines = lines, .n_lines = n_lines, .event = on_event, .arg = t};
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = MAIL};
	t->up = up;
	t->up_tag = up_tag;
	t->m = media_new(&o, clock_boot_ms());
	t->orders = mailbox_new(ORDERS_BYTES);
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < BATCH; i++) {
		t->iov[i] = (struct iovec){.iov_base = t->data[i], .iov_len = DATAGRAM};
		t->msgs[i].msg_hdr = (struct msghdr){.msg_name = &t->from[i], .msg_iov = &t->iov[i], .msg_iovlen = 1};
	}
	if (!t->m || !t->orders || t->epoll < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, mailbox_fd(t->orders), &e) != 0) {
		thread_done(t);
		return -ENOMEM;
	}
	return 0;
}

static int thread_start(struct thread *t)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&t->id, NULL, thread_run, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

struct media_threads *media_threads_start(int n, struct media_line *lines, uint32_t n_lines, struct mailbox *up, uint32_t up_tag)
{
	struct media_threads *all = calloc(1, sizeof(*all));
	if (!all || !(all->t = calloc((size_t)n, sizeof(*all->t)))) {
		free(all);
		return NULL;
	}
	for (; all->n < n; all->n++) {
		struct thread *t = &all->t[all->n];
		if (thread_init(t, lines, n_lines, up, up_tag) == 0) {
			if (thread_start(t) == 0)
				continue;
			thread_done(t);
		}
		media_threads_stop(all);
		return NULL;
	}
	return all;
}

int media_threads_post(struct media_threads *t, int thread, const struct media_cmd *c, int fd)
{
	ASSERT(thread >= 0 && thread < t->n);
	int own = fd < 0 ? -1 : dup(fd);
	if (fd >= 0 && own < 0)
		return -errno;
	int r = mailbox_post_fd(t->t[thread].orders, c, sizeof(*c), own);
	if (r != 0 && own >= 0)
		close(own);
	return r;
}

void media_threads_stop(struct media_threads *t)
{
	struct media_cmd quit = {.kind = MEDIA_QUIT};
	if (!t)
		return;
	for (int i = 0; i < t->n; i++)
		while (mailbox_post(t->t[i].orders, &quit, sizeof(quit)) != 0)
			usleep(1000); /* full of orders: it is being emptied */
	for (int i = 0; i < t->n; i++) {
		pthread_join(t->t[i].id, NULL);
		thread_done(&t->t[i]);
	}
	free(t->t);
	free(t);
}

int media_threads_count(const struct media_threads *t)
{
	return t->n;
}

uint64_t media_threads_beat(const struct media_threads *t, int thread)
{
	return atomic_load_explicit(&t->t[thread].beat, memory_order_relaxed);
}
