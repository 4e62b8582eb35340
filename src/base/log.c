/* SPDX-License-Identifier: Apache-2.0
 *
 * log: lines for people on stderr. A line is formatted by the thread that has something to say and copied into a bounded ring under a mutex that is
 * held for that copy only; a writer thread empties the ring by write(2), so a terminal or pipe that does not take them stops nobody. A line that
 * finds no room is dropped and counted, and the writer says how many were. Before log_open, after log_close and in a child of fork(), which has no
 * writer, lines go straight to stderr. Lines: HH:MM:SS.mmm (UTC) level [call] text.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/inside.h"

#define RING      (1u << 18)
#define LINE      2048
#define PIECE     4096 /* PIPE_BUF: what a pipe that is writable takes without blocking */
#define LINGER_MS 2000 /* how long log_close waits for somebody who does not read */

static atomic_int max_level = LOG_INFO;
static atomic_uint_fast64_t dropped;
static atomic_bool ring_on;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t some;
	pthread_t writer;
	bool closing;
	bool writing;        /* the writer has bytes of the ring in hand */
	uint64_t head, tail; /* positions, never reset while open */
	uint64_t told;       /* drops that the log itself has told of */
	char ring[RING];
} lg = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER};

static const char *const level_names[] = {[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

const char *log_level_name(enum log_level l)
{
	ASSERT(l <= LOG_DEBUG);
	return level_names[l];
}

int log_level_parse(struct str s, enum log_level *ret)
{
	for (size_t i = 0; i < N_ELEMENTS(level_names); i++)
		if (str_eq(s, str_z(level_names[i]))) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
	return atomic_load_explicit(&dropped, memory_order_relaxed);
}

/* Writes what stderr takes. How many bytes are done with: written, or (an error other than "not now") given up. 0 = not within wait_ms. */
static size_t write_some(const char *p, size_t n, int wait_ms)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t r;

	if (poll(&fd, 1, wait_ms) <= 0)
		return 0;
	r = write(STDERR_FILENO, p, MIN(n, (size_t)PIECE));
	if (r > 0)
		return (size_t)r;
	return r < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
}

/* Without the ring: to its end, but not for ever if nobody reads. */
static void write_now(struct str s)
{
	int64_t end = clock_boot_ms() + LINGER_MS;

	while (s.n && clock_boot_ms() < end)
		s = str_skip(s, write_some(s.p, s.n, 100));
	if (s.n)
		atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
}

static void write_head(struct out *o, enum log_level l)
{
	int64_t ms = clock_utc_ms();
	int64_t s = ms / 1000 % 86400;
	struct str call = str_z(base_at());

	out_f(o, "%02d:%02d:%02d.%03d %s ", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60), (int)(ms % 1000), log_level_name(l));
	if (call.n) {
		OUT_STR(o, "[");
		out_safe(o, str_n(call.p, MIN(call.n, 10u))); /* "CA" and eight digits tell calls apart for people */
		OUT_STR(o, "] ");
	}
}

static void put(struct str line)
{
	pthread_mutex_lock(&lg.lock);
	if (line.n > RING - (lg.head - lg.tail)) {
		atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
	} else {
		size_t at = lg.head % RING;
		size_t n = MIN(line.n, RING - at);

		memcpy(lg.ring + at, line.p, n);
		memcpy(lg.ring, line.p + n, line.n - n);
		lg.head += line.n;
		pthread_cond_signal(&lg.some);
	}
	pthread_mutex_unlock(&lg.lock);
}

void log_line(enum log_level l, const char *fmt, ...)
{
	char text[LINE / 2], buf[LINE];
	struct out t = OUT(text), o = OUT(buf);
	va_list ap;

	if ((int)l > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	va_start(ap, fmt);
	out_vf(&t, fmt, ap);
	va_end(ap);
	o.cap -= sizeof(" …\n"); /* room for the end */
	write_head(&o, l);
	out_safe(&o, out_view(&t));
	o.cap = sizeof(buf);
	if (t.over || o.over) {
		o.over = false;
		OUT_STR(&o, " …");
	}
	out_c(&o, '\n');
	if (atomic_load(&ring_on))
		put(out_view(&o));
	else
		write_now(out_view(&o));
}

static void tell_drops(void)
{
	uint64_t n = log_dropped();
	char buf[128];
	struct out o = OUT(buf);

	if (n == lg.told)
		return;
	write_head(&o, LOG_WARN);
	out_f(&o, "log: %llu lines dropped\n", (unsigned long long)(n - lg.told));
	lg.told = n;
	(void)write_some(o.p, o.n, 0);
}

/* One piece of the ring, without the lock: nobody overwrites what is before the tail has moved. */
static void empty_some(int64_t *give_up_ms)
{
	size_t at = lg.tail % RING;
	size_t n = MIN(lg.head - lg.tail, RING - at);
	size_t done;

	lg.writing = true;
	pthread_mutex_unlock(&lg.lock);
	done = write_some(lg.ring + at, n, 100);
	pthread_mutex_lock(&lg.lock);
	lg.writing = false;
	lg.tail += done;
	if (done)
		*give_up_ms = clock_boot_ms() + LINGER_MS;
	else if (lg.closing && clock_boot_ms() > *give_up_ms)
		lg.tail = lg.head;
	if (done && lg.tail == lg.head)
		tell_drops();
}

static void *writer_main(void *arg)
{
	int64_t give_up_ms = clock_boot_ms() + LINGER_MS;

	pthread_mutex_lock(&lg.lock);
	while (!lg.closing || lg.tail != lg.head) {
		if (lg.tail == lg.head)
			pthread_cond_wait(&lg.some, &lg.lock);
		else
			empty_some(&give_up_ms);
	}
	pthread_mutex_unlock(&lg.lock);
	return arg;
}

static void in_child(void)
{
	atomic_store(&ring_on, false);
}

static void watch_fork(void)
{
	ASSERT(pthread_atfork(NULL, NULL, in_child) == 0);
}

int log_open(enum log_level level)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigset_t all, before;
	int r;

	ASSERT(!atomic_load(&ring_on));
	pthread_once(&once, watch_fork);
	log_set_level(level);
	lg.closing = false;
	lg.told = log_dropped();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the other threads; SIGPIPE then comes as EPIPE */
	r = pthread_create(&lg.writer, NULL, writer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return -r;
	atomic_store(&ring_on, true);
	return 0;
}

void log_close(void)
{
	if (!atomic_exchange(&ring_on, false))
		return;
	pthread_mutex_lock(&lg.lock);
	lg.closing = true;
	pthread_cond_signal(&lg.some);
	pthread_mutex_unlock(&lg.lock);
	pthread_join(lg.writer, NULL);
}

void log_rescue(void)
{
	for (int i = 0; i < 100 && atomic_load(&ring_on); i++) {
		bool empty = false;

		if (pthread_mutex_trylock(&lg.lock) == 0) {
			empty = lg.tail == lg.head && !lg.writing;
			pthread_mutex_unlock(&lg.lock);
		}
		if (empty)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}
