/* SPDX-License-Identifier: Apache-2.0
 *
 * clock: the time, for the loops and the edges; the rooms inside are told it. Random numbers from the kernel by a buffer of each thread, or from a
 * seed in tests; ids as people see them. Any thread.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/base.h"

static int64_t clock_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_boot_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

int64_t clock_utc_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t clock_utc_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Random bytes are taken from the kernel 256 at a time; a child of fork() must not hand out what its parent will. */
static _Thread_local struct {
	uint8_t bytes[256];
	size_t left;
	unsigned fork;
} pool;
static atomic_uint forks;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static atomic_bool seeded;
static atomic_uint_fast64_t seed_state;

static void in_child(void)
{
	atomic_fetch_add(&forks, 1);
}

static void watch_fork(void)
{
	ASSERT(pthread_atfork(NULL, NULL, in_child) == 0);
}

/* SplitMix64 (public domain, S. Vigna): for tests only. */
static uint64_t seeded_next(void)
{
	uint64_t z = atomic_fetch_add(&seed_state, 0x9e3779b97f4a7c15ULL) + 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void rand_seed(uint64_t seed)
{
	atomic_store(&seed_state, seed);
	atomic_store(&seeded, true);
}

static void kernel_bytes(void *p, size_t n)
{
	uint8_t *b = p;

	while (n) {
		ssize_t r = getrandom(b, n, 0);

		ASSERT(r > 0 || (r < 0 && errno == EINTR));
		b += r > 0 ? r : 0;
		n -= r > 0 ? (size_t)r : 0;
	}
}

void rand_bytes(void *p, size_t n)
{
	uint8_t *b = p;

	if (atomic_load_explicit(&seeded, memory_order_relaxed)) {
		for (size_t i = 0; i < n; i += 8) {
			uint64_t v = seeded_next();

			memcpy(b + i, &v, MIN(n - i, sizeof(v)));
		}
		return;
	}
	if (n > sizeof(pool.bytes)) {
		kernel_bytes(p, n);
		return;
	}
	if (n == 0)
		return;
	pthread_once(&fork_once, watch_fork);
	if (pool.left < n || pool.fork != atomic_load(&forks)) {
		kernel_bytes(pool.bytes, sizeof(pool.bytes));
		pool.left = sizeof(pool.bytes);
		pool.fork = atomic_load(&forks);
	}
	pool.left -= n;
	memcpy(b, pool.bytes + pool.left, n);
	explicit_bzero(pool.bytes + pool.left, n);
}

uint32_t rand_u32(void)
{
	uint32_t v;

	rand_bytes(&v, sizeof(v));
	return v;
}

void sid_print(const char prefix[2], const uint8_t sid[16], char ret[35])
{
	struct out o = {.p = ret, .cap = 34};

	out_str(&o, str_n(prefix, 2));
	out_hex(&o, sid, 16);
	ret[34] = 0;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int sid_parse(struct str s, const char prefix[2], uint8_t ret[16])
{
	uint8_t sid[16];

	if (s.n != 34 || memcmp(s.p, prefix, 2) != 0)
		return -EBADMSG;
	for (size_t i = 0; i < 16; i++) {
		int hi = hex_value(s.p[2 + 2 * i]), lo = hex_value(s.p[3 + 2 * i]);

		if (hi < 0 || lo < 0)
			return -EBADMSG;
		sid[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(ret, sid, sizeof(sid));
	return 0;
}
