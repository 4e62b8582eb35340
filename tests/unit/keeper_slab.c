/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_slab: torn writes of records at every byte, adoption, and the block heap against a model under random work.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/keeper_int.h"

static const struct slab_sizes sizes = {.n_calls = 8, .n_legs = 8, .heap_bytes = 1 << 20};

static int new_memory(size_t n)
{
	int fd = memfd_create("slab", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)n), 0);
	return fd;
}

static void records_survive(void **state)
{
	int fd = new_memory(slab_bytes(&sizes));
	struct slab *s;
	assert_int_equal(slab_open(fd, &sizes, true, &s), 0);
	struct call_record c = {.gen = 7, .state = 3, .status = 200}, got;
	struct leg_record l = {.gen = 9, .state = 1, .call = 5}, got_leg;
	assert_int_equal(slab_read_call(s, 5, &got), -ENOENT);
	slab_write_call(s, 5, &c);
	slab_write_leg(s, 7, &l);
	slab_lines(s)[7].digit_n = 11;
	for (int i = 0; i < 9; i++) {
		c.status++;
		slab_write_call(s, 5, &c);
	}
	slab_close(s);

	assert_int_equal(slab_open(fd, &sizes, false, &s), 0);
	assert_int_equal(slab_head(s)->restarts, 1);
	assert_int_equal(slab_read_call(s, 5, &got), 0);
	assert_int_equal(got.status, 209);
	assert_int_equal(got.gen, 7);
	assert_int_equal(slab_read_leg(s, 7, &got_leg), 0);
	assert_int_equal(got_leg.call, 5);
	assert_int_equal(slab_lines(s)[7].digit_n, 11);
	assert_int_equal(slab_read_leg(s, 6, &got_leg), -ENOENT);
	assert_int_equal(slab_read_leg(s, 8, &got_leg), -ENOENT);
	got.state = 0;
	slab_write_call(s, 5, &got);
	assert_int_equal(slab_read_call(s, 5, &got), -ENOENT);
	assert_int_equal(slab_torn(s), 0);
	slab_close(s);
	close(fd);
}

static void other_memory_is_refused(void **state)
{
	int fd = new_memory(slab_bytes(&sizes));
	struct slab *s;
	assert_int_equal(slab_open(fd, &sizes, false, &s), 0); /* no head yet: the one who made it died at once */
	slab_head(s)->layout = SLAB_LAYOUT + 1;
	slab_close(s);
	assert_int_equal(slab_open(fd, &sizes, false, &s), -EPROTO);
	struct slab_sizes bigger = sizes;
	bigger.n_calls *= 100;
	assert_int_equal(slab_open(fd, &bigger, true, &s), -EPROTO);
	close(fd);
}

/* The bytes of a copy in the order in which they are written: body, CRC, generation. */
static size_t nth_byte(size_t n)
{
	return n < 504 ? n + 8 : n < 508 ? n - 504 : n - 508 + 4;
}

static void torn_writes_keep_the_old_record(void **state)
{
	struct slab *s;
	assert_int_equal(slab_open(-1, &sizes, true, &s), 0);
	for (int round = 0; round < 4; round++) {
		struct call_record c = {.gen = 1, .state = 1}, got;
		rand_bytes((char *)&c + offsetof(struct call_record, sid), sizeof(c) - offsetof(struct call_record, sid));
		c.created_ms = round;
		slab_write_call(s, 0, &c);
		unsigned char before[2][512], after[2][512];
		for (int i = 0; i < 2; i++)
			memcpy(before[i], slab_copy(s, SLAB_CALL, 0, i), 512);
		struct call_record next = c;
		rand_bytes((char *)&next + offsetof(struct call_record, sid), sizeof(c) - offsetof(struct call_record, sid));
		next.created_ms = 100 + round;
		slab_write_call(s, 0, &next);
		for (int i = 0; i < 2; i++)
			memcpy(after[i], slab_copy(s, SLAB_CALL, 0, i), 512);
		int written = memcmp(before[1], after[1], 512) != 0;
		assert_memory_equal(before[!written], after[!written], 512); /* the copy that counts is never touched */
		unsigned char *mem = (unsigned char *)slab_copy(s, SLAB_CALL, 0, written);
		memcpy(mem, before[written], 512);
		for (size_t n = 0; n < 512; n++) {
			assert_int_equal(slab_read_call(s, 0, &got), 0);
			bool whole = memcmp(mem, after[written], 512) == 0; /* the last bytes of a generation may be equal already */
			assert_int_equal(got.created_ms, whole ? 100 + round : round);
			mem[nth_byte(n)] = after[written][nth_byte(n)];
		}
		assert_int_equal(slab_read_call(s, 0, &got), 0);
		assert_int_equal(got.created_ms, 100 + round);
	}
	slab_close(s);
}

/* The same with a real writer that is killed somewhere in its work. */
static void killed_writers_leave_whole_records(void **state)
{
	int fd = new_memory(slab_bytes(&sizes));
	struct slab *s;
	struct call_record got, first = {.gen = 1, .state = 1};
	int64_t seen = 0;
	assert_int_equal(slab_open(fd, &sizes, true, &s), 0);
	slab_write_call(s, 3, &first);
	slab_close(s);
	for (int life = 0; life < 200; life++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct call_record c;
			if (slab_open(fd, &sizes, false, &s) < 0 || slab_read_call(s, 3, &c) < 0)
				_exit(1);
			for (;;) {
				c.created_ms++;
				c.ended_boot_ms = c.created_ms;
				slab_write_call(s, 3, &c);
			}
		}
		while (slab_open(fd, &sizes, false, &s) < 0)
			;
		int64_t begun = seen;
		while (begun == seen && slab_read_call(s, 3, &got) == 0)
			begun = got.created_ms;
		for (volatile uint32_t spin = rand_u32() % 20000; spin > 0; spin--)
			;
		int status;
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(slab_read_call(s, 3, &got), 0);
		assert_int_equal(got.created_ms, got.ended_boot_ms);
		assert_true(got.created_ms >= begun && got.created_ms > seen);
		seen = got.created_ms;
		slab_close(s);
	}
	print_message("%lld records in 200 lives\n", (long long)seen);
	close(fd);
}

static void both_torn_is_no_record(void **state)
{
	struct slab *s;
	assert_int_equal(slab_open(-1, &sizes, true, &s), 0);
	struct leg_record l = {.gen = 1, .state = 1};
	slab_write_leg(s, 2, &l);
	slab_write_leg(s, 2, &l);
	for (int i = 0; i < 2; i++)
		((unsigned char *)slab_copy(s, SLAB_LEG, 2, i))[300] ^= 1;
	assert_int_equal(slab_read_leg(s, 2, &l), -ENOENT);
	assert_int_equal(slab_torn(s), 1);
	slab_close(s);
}

static void texts_are_shared_and_counted(void **state)
{
	struct slab *s;
	struct text a, b, c;
	assert_int_equal(slab_open(-1, &sizes, true, &s), 0);
	assert_int_equal(slab_text(s, STR("INVITE sip:100@x SIP/2.0"), &a), 0);
	assert_int_equal(slab_text(s, STR("INVITE sip:100@x SIP/2.0"), &b), 0);
	assert_int_equal(a.off, b.off);
	assert_int_equal(slab_text(s, STR_NONE, &c), 0);
	assert_int_equal(c.n, 0);
	slab_drop(s, a);
	assert_true(str_eq(slab_str(s, b), STR("INVITE sip:100@x SIP/2.0")));
	slab_drop(s, b);
	assert_int_equal(slab_heap_used(s), 0);
	slab_drop(s, b); /* once too often: no harm */
	assert_int_equal(slab_heap_used(s), 0);
	char *big = calloc(1, limit_of(LIMIT_CALL_TEXT) + 1);
	assert_int_equal(slab_text(s, str_n(big, limit_of(LIMIT_CALL_TEXT) + 1), &a), -E2BIG);
	free(big);
	slab_close(s);
}

static void bogus_texts_are_empty(void **state)
{
	struct slab *s;
	struct text a;
	assert_int_equal(slab_open(-1, &sizes, true, &s), 0);
	assert_int_equal(slab_text(s, STR("here"), &a), 0);
	const struct text bad[] = {{0, 4}, {a.off, 5}, {a.off + 1, 4}, {a.off + 64, 4}, {UINT32_MAX, 4}, {16, UINT32_MAX}, {(1 << 20) - 48, 100}, {1 << 20, 1}};
	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		assert_int_equal(slab_str(s, bad[i]).n, 0);
		slab_drop(s, bad[i]);
		slab_keep(s, bad[i]);
	}
	assert_true(str_eq(slab_str(s, a), STR("here")));
	slab_close(s);
}

#define N_MODEL 400

struct model {
	struct text t;
	uint32_t seed, n;
	bool used;
};

static struct str model_text(const struct model *m, char *buf)
{
	for (uint32_t i = 0; i < m->n; i++)
		buf[i] = (char)('a' + (m->seed * 31 + i * i * 7 + i) % 26);
	return str_n(buf, m->n);
}

static void check_all(struct slab *s, const struct model *m, char *buf)
{
	for (int i = 0; i < N_MODEL; i++)
		if (m[i].used)
			assert_true(str_eq(slab_str(s, m[i].t), model_text(&m[i], buf)));
}

static void random_work(struct slab *s, struct model *m, int steps, char *buf, int *ret_full)
{
	for (int i = 0; i < steps; i++) {
		struct model *x = &m[rand_u32() % N_MODEL];
		if (x->used) {
			assert_true(str_eq(slab_str(s, x->t), model_text(x, buf)));
			slab_drop(s, x->t);
			x->used = false;
			continue;
		}
		x->seed = rand_u32() % 50;
		x->n = rand_u32() % 4 ? 1 + rand_u32() % 3000 : 1 + rand_u32() % 30;
		int r = slab_text(s, model_text(x, buf), &x->t);
		if (r == -ENOSPC) {
			++*ret_full;
			continue;
		}
		assert_int_equal(r, 0);
		x->used = true;
	}
}

static void random_work_and_adoption(void **state)
{
	struct slab_sizes z = {.n_calls = 1, .n_legs = 1, .heap_bytes = 300 * 1024}; /* no power of two, and too small at times */
	static struct model m[N_MODEL];
	static char buf[4096];
	memset(m, 0, sizeof(m));
	int fd = new_memory(slab_bytes(&z)), full = 0;
	struct slab *s;
	struct text t;
	rand_seed(4711);
	assert_int_equal(slab_open(fd, &z, true, &s), 0);
	for (int life = 0; life < 20; life++) {
		random_work(s, m, 3000, buf, &full);
		check_all(s, m, buf);
		uint32_t used = slab_heap_used(s);
		slab_close(s); /* the death of a worker: its counts are gone */
		assert_int_equal(slab_open(fd, &z, false, &s), 0);
		assert_int_equal(slab_text(s, STR("too early"), &t), -ENOSPC);
		check_all(s, m, buf); /* adoption reads before it keeps */
		for (int i = 0; i < N_MODEL; i++)
			if (m[i].used)
				slab_keep(s, m[i].t);
		slab_sweep(s);
		assert_int_equal(slab_heap_used(s), used);
		check_all(s, m, buf);
	}
	assert_true(full > 0);
	for (int i = 0; i < N_MODEL; i++)
		if (m[i].used)
			slab_drop(s, m[i].t);
	assert_int_equal(slab_heap_used(s), 0);
	for (int i = 0; i < 73; i++) { /* all of it is free again, in large pieces */
		memset(buf, 'A' + i % 26, 4000);
		buf[0] = (char)i;
		assert_int_equal(slab_text(s, str_n(buf, 4000), &t), 0);
	}
	slab_close(s);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_survive),
	    cmocka_unit_test(other_memory_is_refused),
	    cmocka_unit_test(torn_writes_keep_the_old_record),
	    cmocka_unit_test(killed_writers_leave_whole_records),
	    cmocka_unit_test(both_torn_is_no_record),
	    cmocka_unit_test(texts_are_shared_and_counted),
	    cmocka_unit_test(bogus_texts_are_empty),
	    cmocka_unit_test(random_work_and_adoption),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
