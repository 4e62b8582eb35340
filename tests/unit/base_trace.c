/* SPDX-License-Identifier: Apache-2.0
 *
 * base_trace: the trace ring. What is read is compared with all that was put: it must be the unbroken end of it. The writer dies at each of its steps
 * (by longjmp out of trace_put) and for real (kill -9 at any instruction), another goes on; a reader runs beside a writer that overtakes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/inside.h"

static uint64_t rnd_state = 1;
static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(rnd_state >> 33) % n;
}

static char pattern[TRACE_PAYLOAD + 64];

/* The payload of a record follows from its number and length. */
static struct str payload(uint64_t number, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pattern[i] = (char)(number * 31 + i * 7);
	return str_n(pattern, n);
}

static bool payload_right(uint64_t number, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (char)(number * 31 + i * 7))
			return false;
	return true;
}

static void *ring_new(size_t size)
{
	void *p = aligned_alloc(64, size);

	assert_non_null(p);
	memset(p, 0, size);
	return p;
}

/* Reads all; the numbers must be without gap and the payloads right. How many; *last gets the last number. */
static unsigned read_all(const struct trace *t, uint64_t *last)
{
	static char buf[TRACE_PAYLOAD];
	struct trace_rec rec;
	uint64_t cursor = 0, number = 0;
	unsigned n = 0;
	int r;

	while ((r = trace_read(t, &cursor, &rec, buf, sizeof(buf))) == 1) {
		assert_true(number == 0 || rec.number == number + 1);
		assert_int_equal(rec.version, TRACE_VERSION);
		assert_int_equal(rec.code, rec.n);
		assert_true(payload_right(rec.number, buf, rec.n));
		number = rec.number;
		n++;
	}
	assert_int_equal(r, 0);
	*last = number;
	return n;
}

static void test_one(void **state)
{
	uint8_t sid[16] = {1, 2, 3};
	void *mem = ring_new(4096);
	struct trace *r = trace_open(mem, 4096, false), *w;
	struct trace_rec rec;
	uint64_t cursor = 0;
	char buf[8];

	assert_int_equal(trace_read(r, &cursor, &rec, buf, sizeof(buf)), 0); /* no ring yet */
	trace_put(NULL, TRACE_NOTE, NULL, 0, STR("x"));
	w = trace_open(mem, 4096, true);
	assert_int_equal(trace_read(r, &cursor, &rec, buf, sizeof(buf)), 0);
	trace_put(w, TRACE_SIP_IN, sid, 200, STR("12345678"));
	trace_put(w, TRACE_NOTE, NULL, 7, STR("123456789"));
	trace_put(w, TRACE_DIGIT, sid, 1, STR_NONE);
	assert_int_equal(trace_read(r, &cursor, &rec, buf, sizeof(buf)), 1);
	assert_int_equal(rec.kind, TRACE_SIP_IN);
	assert_int_equal(rec.number, 1);
	assert_int_equal(rec.code, 200);
	assert_int_equal(rec.n, 8);
	assert_memory_equal(buf, "12345678", 8);
	assert_memory_equal(rec.sid, sid, 16);
	assert_true(rec.utc_us / 1000000 - clock_utc_ms() / 1000 <= 1 && clock_utc_ms() / 1000 - rec.utc_us / 1000000 < 60);
	assert_int_equal(trace_read(r, &cursor, &rec, buf, sizeof(buf)), 1);
	assert_int_equal(rec.number, 2);
	assert_int_equal(rec.n, 8); /* cut at what buf holds */
	assert_int_equal(rec.sid[0], 0);
	assert_int_equal(trace_read(r, &cursor, &rec, NULL, 0), 1);
	assert_int_equal(rec.n, 0);
	assert_int_equal(trace_read(r, &cursor, &rec, buf, sizeof(buf)), 0);
	trace_close(r);
	trace_close(w);
	free(mem);
}

static void test_table(void **state)
{
	for (int i = 0; i < TRACE_N; i++)
		assert_true(trace_table[i].name[0] && trace_table[i].doc[0] && trace_table[i].payload[0]);
}

/* All sizes of ring (so that the end comes at each distance from a record) and of payload. */
static void test_wrap(void **state)
{
	for (size_t size = 4096; size < 4096 + 200; size += 1) {
		size_t whole = (size + 63) & ~(size_t)63;
		void *mem = ring_new(whole);
		struct trace *t = trace_open(mem, size, true);
		uint64_t last;

		for (unsigned i = 1; i <= 300; i++) {
			size_t n = rnd(300);
			unsigned got;

			trace_put(t, (enum trace_kind)rnd(TRACE_N), NULL, (uint32_t)n, payload(i, n));
			got = read_all(t, &last);
			assert_true(last == i);
			assert_true(got == i || got >= (size - 64 - 352) / 352); /* the ring is used, not emptied */
		}
		trace_close(t);
		free(mem);
	}
}

static void test_bounds(void **state)
{
	size_t size = 1 << 20;
	void *mem = ring_new(size);
	struct trace *t = trace_open(mem, size, true);
	static char buf[TRACE_PAYLOAD + 64];
	struct trace_rec rec;
	uint64_t cursor = 0;

	trace_put(t, TRACE_NOTE, NULL, 0, payload(1, TRACE_PAYLOAD));
	trace_put(t, TRACE_NOTE, NULL, 0, payload(2, TRACE_PAYLOAD + 1));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(trace_read(t, &cursor, &rec, buf, sizeof(buf)), 1);
		assert_int_equal(rec.n, TRACE_PAYLOAD);
		assert_true(payload_right(rec.number, buf, rec.n));
	}
	trace_close(t);
	t = trace_open(mem, 4096, true); /* of another size: begun anew */
	cursor = 0;
	assert_int_equal(trace_read(t, &cursor, &rec, buf, sizeof(buf)), 0);
	trace_put(t, TRACE_NOTE, NULL, 0, payload(1, 5000)); /* a quarter of the ring at most */
	assert_int_equal(trace_read(t, &cursor, &rec, buf, sizeof(buf)), 1);
	assert_int_equal(rec.n, (4096 - 64) / 4);
	trace_close(t);
	free(mem);
}

static void test_overrun(void **state)
{
	void *mem = ring_new(4096);
	struct trace *t = trace_open(mem, 4096, true);
	struct trace_rec rec;
	uint64_t cursor = 0, ahead = 1 << 20;
	char buf[512];

	for (unsigned i = 1; i <= 10; i++)
		trace_put(t, TRACE_NOTE, NULL, 100, payload(i, 100));
	assert_int_equal(trace_read(t, &cursor, &rec, buf, sizeof(buf)), 1);
	for (unsigned i = 11; i <= 200; i++)
		trace_put(t, TRACE_NOTE, NULL, 100, payload(i, 100));
	assert_int_equal(trace_read(t, &cursor, &rec, buf, sizeof(buf)), -EAGAIN);
	assert_int_equal(trace_read(t, &cursor, &rec, buf, sizeof(buf)), 1);
	assert_true(rec.number > 150); /* the oldest that is left */
	assert_true(payload_right(rec.number, buf, rec.n));
	/* a cursor of a ring that was begun anew since */
	assert_int_equal(trace_read(t, &ahead, &rec, buf, sizeof(buf)), -EAGAIN);
	assert_int_equal(trace_read(t, &ahead, &rec, buf, sizeof(buf)), 1);
	trace_close(t);
	free(mem);
}

static struct trace *faster;
static unsigned faster_n;

static void overtake(enum trace_step s)
{
	if (s != TRACE_STEP_READ)
		return;
	trace_step_hook = NULL;
	for (unsigned i = 0; i < faster_n; i++)
		trace_put(faster, TRACE_NOTE, NULL, 100, STR("another text that is as long as the first one, or not much shorter than that"));
}

/* The writer comes by between the reader's look and its copy: the record is whole, or the reader is told. */
static void test_overtaken(void **state)
{
	for (faster_n = 0; faster_n < 100; faster_n++) {
		void *mem = ring_new(4096);
		struct trace_rec rec;
		uint64_t cursor = 0;
		char buf[512];
		int r;

		faster = trace_open(mem, 4096, true);
		for (unsigned i = 1; i <= 20; i++)
			trace_put(faster, TRACE_NOTE, NULL, 100, payload(i, 100));
		trace_step_hook = overtake;
		r = trace_read(faster, &cursor, &rec, buf, sizeof(buf));
		trace_step_hook = NULL;
		assert_int_equal(r, faster_n <= 7 ? 1 : -EAGAIN); /* 20 of 152 bytes and 7 of 128 fill the 4032 */
		if (r == 1)
			assert_true(rec.number == 1 && rec.n == 100 && payload_right(1, buf, 100));
		trace_close(faster);
		free(mem);
	}
}

static jmp_buf dead;
static int die_at;

static void die(enum trace_step s)
{
	if ((int)s == die_at)
		longjmp(dead, 1);
}

static void test_crash_at_steps(void **state)
{
	size_t size = 4096 + 24;
	void *mem = ring_new(4096 + 64);
	uint64_t last;
	volatile uint64_t number = 0;
	volatile unsigned died = 0;

	for (volatile int round = 0; round < 5000; round++) {
		struct trace *volatile t = trace_open(mem, size, true);
		unsigned got = read_all(t, &last);

		assert_true(last == number);
		assert_true(number < 20 || got >= 8);
		for (volatile int i = (int)rnd(4); i >= 0; i--) {
			size_t n = rnd(300);

			die_at = i == 0 ? (int)rnd(4) : -1;
			trace_step_hook = die;
			if (setjmp(dead) == 0) {
				trace_put(t, TRACE_NOTE, NULL, (uint32_t)n, payload(number + 1, n));
				number++;
			} else {
				/* published is what was there when the head moved; nothing of the rest is seen */
				number += die_at == TRACE_STEP_HEAD;
				died++;
			}
			trace_step_hook = NULL;
		}
		trace_close(t);
	}
	assert_int_equal(died, 5000);
	free(mem);
}

static void test_kill(void **state)
{
	size_t size = 1 << 16;
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t last = 0;

	assert_true(mem != MAP_FAILED);
	for (int round = 0; round < 30; round++) {
		uint64_t goal = last + 50 + rnd(500), seen = last;
		struct trace *t = trace_open(mem, size, false);
		uint64_t cursor = 0;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			struct trace *w = trace_open(mem, size, true);

			prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
			for (uint64_t i = last + 1;; i++) {
				size_t n = rnd(900);

				trace_put(w, TRACE_NOTE, NULL, (uint32_t)n, payload(i, n));
			}
		}
		while (seen < goal) { /* the reader runs beside it */
			static char buf[1024];
			struct trace_rec rec;
			int r = trace_read(t, &cursor, &rec, buf, sizeof(buf));

			if (r == 1) {
				assert_true(rec.number > seen || seen == last);
				assert_true(payload_right(rec.number, buf, rec.n));
				seen = MAX(seen, rec.number);
			}
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		trace_close(t);
		t = trace_open(mem, size, true);
		assert_true(read_all(t, &last) >= (size - 2000) / 1000);
		assert_true(last >= goal);
		trace_close(t);
	}
	munmap(mem, size);
}

struct beside {
	void *mem;
	size_t size;
	atomic_bool done;
	uint64_t records, overruns, wrong;
};

static void *reader_main(void *arg)
{
	static char buf[2048];
	struct beside *b = arg;
	struct trace *t = trace_open(b->mem, b->size, false);
	uint64_t cursor = 0, number = 0;
	bool end = false;

	for (;;) {
		struct trace_rec rec;
		int r = trace_read(t, &cursor, &rec, buf, sizeof(buf));

		if (r == 1) {
			b->wrong += rec.number <= number || rec.code != rec.n || !payload_right(rec.number, buf, rec.n);
			number = rec.number;
			b->records++;
		} else if (r == -EAGAIN) {
			b->overruns++;
		} else if (end) {
			break;
		} else {
			end = atomic_load(&b->done);
		}
	}
	trace_close(t);
	return NULL;
}

static void test_reader_beside(void **state)
{
	struct beside b = {.mem = ring_new(4096), .size = 4096};
	struct trace *t = trace_open(b.mem, b.size, true);
	pthread_t reader;

	assert_int_equal(pthread_create(&reader, NULL, reader_main, &b), 0);
	for (uint64_t i = 1; i <= 100000; i++) {
		size_t n = rnd(200);

		trace_put(t, TRACE_NOTE, NULL, (uint32_t)n, payload(i, n));
	}
	atomic_store(&b.done, true);
	pthread_join(reader, NULL);
	print_message("%llu read, %llu overruns\n", (unsigned long long)b.records, (unsigned long long)b.overruns);
	assert_int_equal(b.wrong, 0);
	assert_true(b.records > 0);
	trace_close(t);
	free(b.mem);
}

/* Whatever bytes stand in the ring: nobody reads or writes outside of it (the sanitizers look), and a writer goes on. */
static void test_spoilt(void **state)
{
	size_t size = 4096;
	char *mem = ring_new(size);
	unsigned anew = 0;

	for (int round = 0; round < 3000; round++) {
		struct trace *t = trace_open(mem, size, true), *r = trace_open(mem, size, false);
		static char buf[TRACE_PAYLOAD];
		struct trace_rec rec;
		uint64_t cursor = 0, last;

		for (int i = 0; i < 30; i++) {
			size_t n = rnd(200);

			trace_put(t, TRACE_NOTE, NULL, (uint32_t)n, payload((uint64_t)i, n));
		}
		for (int i = (int)rnd(8); i >= 0; i--)
			mem[rnd(4) ? rnd((uint32_t)size) : 64 + rnd(8)] = (char)rnd(256);
		for (int i = 0; i < 200 && trace_read(r, &cursor, &rec, buf, sizeof(buf)) != 0; i++)
			assert_true(rec.n <= sizeof(buf));
		if (round % 2)
			for (int i = 0; i < 50; i++)
				trace_put(t, TRACE_NOTE, NULL, 10, payload((uint64_t)i, 10)); /* over it */
		if (round % 3 == 0)
			memset(mem, 0, 16);
		trace_close(t);
		t = trace_open(mem, size, true);
		cursor = 0;
		if (trace_read(t, &cursor, &rec, buf, sizeof(buf)) == 0) {
			anew++;
			assert_true(read_all(t, &last) == 0);
			for (unsigned i = 1; i <= 100; i++)
				trace_put(t, TRACE_NOTE, NULL, 10, payload(i, 10));
			assert_true(read_all(t, &last) > 20 && last == 100);
		}
		trace_close(t);
		trace_close(r);
	}
	assert_true(anew >= 1000); /* each third lost its magic */
	free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one),     cmocka_unit_test(test_table),          cmocka_unit_test(test_wrap), cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_overrun), cmocka_unit_test(test_crash_at_steps), cmocka_unit_test(test_kill), cmocka_unit_test(test_reader_beside),
	    cmocka_unit_test(test_spoilt),  cmocka_unit_test(test_overtaken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
