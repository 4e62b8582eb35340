/* SPDX-License-Identifier: Apache-2.0
 *
 * base_hold: what holds things: arena, list, hash, table. The hash and the table run against models that are too simple to be wrong, by seeded random
 * operations; each allocation fails in turn once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

static int fail_in; /* the n-th calloc from now on fails; 0 = none */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	if (fail_in && --fail_in == 0)
		return NULL;
	return __real_calloc(n, size);
}

static uint64_t rnd_state = 1;
static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(rnd_state >> 33) % n;
}

static void test_arena(void **state)
{
	struct arena *a = arena_new(1 << 20);
	char *p[500];
	size_t n[500];

	assert_non_null(a);
	for (int i = 0; i < 500; i++) {
		n[i] = i % 50 == 49 ? rnd(20000) : rnd(200);
		p[i] = arena_alloc(a, n[i]);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		for (size_t k = 0; k < n[i]; k++)
			assert_int_equal(p[i][k], 0);
		memset(p[i], i, n[i]);
	}
	for (int i = 0; i < 500; i++)
		for (size_t k = 0; k < n[i]; k++)
			assert_int_equal(p[i][k], (char)i);
	arena_free(a);
	arena_free(NULL);
}

static void test_arena_bound(void **state)
{
	struct arena *a = arena_new(64);
	struct str s;

	assert_non_null(arena_alloc(a, 48));
	assert_null(arena_alloc(a, 17));
	assert_non_null(arena_alloc(a, 16)); /* to the last byte */
	assert_null(arena_alloc(a, 1));
	assert_null(arena_alloc(a, 0));
	assert_null(arena_alloc(a, SIZE_MAX));
	s = arena_str(a, STR("x"));
	assert_null(s.p);
	arena_free(a);
	a = arena_new(SIZE_MAX);
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_null(arena_alloc(a, SIZE_MAX - 40));
	s = arena_str(a, STR("text"));
	assert_int_equal(s.n, 4);
	assert_string_equal(s.p, "text");
	s = arena_str(a, STR_NONE);
	assert_non_null(s.p);
	assert_int_equal(s.p[0], 0);
	arena_free(a);
}

static void test_arena_no_memory(void **state)
{
	struct arena *a;
	void *p;

	fail_in = 1;
	a = arena_new(1000);
	assert_null(a);
	a = arena_new(100000);
	fail_in = 1;
	p = arena_alloc(a, 10);
	assert_null(p);
	p = arena_alloc(a, 10);
	assert_non_null(p);
	fail_in = 1;
	assert_null(arena_alloc(a, 50000));
	assert_non_null(arena_alloc(a, 50000));
	fail_in = 0;
	arena_free(a);
}

static void test_list(void **state)
{
	struct link head, l[4];
	int n = 0;

	link_init(&head);
	assert_true(link_alone(&head));
	for (int i = 0; i < 4; i++) {
		link_init(&l[i]);
		link_append(&head, &l[i]);
	}
	LINK_EACH (it, &head)
		assert_ptr_equal(it, &l[n++]);
	assert_int_equal(n, 4);
	LINK_EACH_SAFE (it, &head)
		if (it == &l[0] || it == &l[3])
			link_drop(it);
	assert_true(link_alone(&l[0]));
	link_drop(&l[0]); /* again: nothing happens */
	assert_ptr_equal(head.next, &l[1]);
	assert_ptr_equal(head.prev, &l[2]);
}

#define MODEL 600

/* Few keys and many values, so that keys are shared and runs of neighbours are long; the order under a key is that of putting. */
static void test_hash_model(void **state)
{
	static struct {
		uint64_t key;
		int value;
	} model[MODEL];
	static int values[MODEL];
	struct hash *h = hash_new(MODEL);
	size_t n = 0;

	for (int turn = 0; turn < 60000; turn++) {
		uint32_t keys = turn % 20000 < 10000 ? 40 : 4000;
		uint64_t key = rnd(keys), seen;
		bool many = turn / 1000 % 2;
		size_t at = 0;
		int *v;

		if (keys == 4000)
			key *= 0x123456789abcdefULL;
		if (n < MODEL && rnd(10) < (many ? 8u : 2u)) {
			int value = (int)rnd(MODEL);

			assert_int_equal(hash_put(h, key, &values[value]), 0);
			model[n].key = key;
			model[n++].value = value;
		} else if (n) {
			size_t i = rnd((uint32_t)n), first = 0;

			key = model[i].key;
			while (model[first].key != key || model[first].value != model[i].value)
				first++; /* of equal pairs the first goes */
			hash_drop(h, key, &values[model[i].value]);
			memmove(&model[first], &model[first + 1], (n - first - 1) * sizeof(model[0]));
			n--;
		}
		assert_int_equal(hash_count(h), n);
		hash_drop(h, key, &n); /* not there */
		seen = 0;
		for (size_t i = 0; i < n; i++)
			if (model[i].key == key) {
				v = hash_next(h, key, &at);
				assert_ptr_equal(v, &values[model[i].value]);
				seen++;
			}
		v = hash_next(h, key, &at);
		assert_null(v);
	}
	hash_free(h);
	hash_free(NULL);
}

static void test_hash_bound(void **state)
{
	struct hash *h = hash_new(100);
	int x;

	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(hash_put(h, i, &x), 0);
	assert_int_equal(hash_put(h, 100, &x), -ENOSPC);
	hash_drop(h, 5, &x);
	assert_int_equal(hash_put(h, 100, &x), 0);
	assert_int_equal(hash_put(h, 101, &x), -ENOSPC);
	hash_free(h);
	h = hash_new(0);
	assert_int_equal(hash_put(h, 1, &x), -ENOSPC);
	hash_free(h);
}

static void test_hash_no_memory(void **state)
{
	struct hash *h;
	int x, r = 0;
	uint64_t i;
	size_t at = 0;

	for (int k = 1; k <= 2; k++) {
		fail_in = k;
		h = hash_new(10);
		assert_null(h);
	}
	fail_in = 0;
	h = hash_new(1000);
	fail_in = 1;
	for (i = 0; r == 0; i++)
		r = hash_put(h, i, &x);
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(hash_count(h), i - 1);
	assert_ptr_equal(hash_next(h, 0, &at), &x); /* what was there still is */
	assert_int_equal(hash_put(h, i, &x), 0);
	hash_free(h);
}

static void test_table_model(void **state)
{
	enum { MAX_SLOTS = 200 };
	static struct {
		handle h;
		uint64_t *item;
	} model[MAX_SLOTS];
	static handle dead[1000];
	struct table *t = table_new(MAX_SLOTS, sizeof(uint64_t) + 3);
	size_t n = 0, n_dead = 0;

	for (int turn = 0; turn < 50000; turn++) {
		bool many = turn / 700 % 2;
		handle h;

		if (rnd(10) < (many ? 8u : 2u)) {
			uint64_t *item = table_add(t, &h);

			assert_int_equal(item == NULL, n == MAX_SLOTS);
			if (item) {
				assert_int_equal(*item, 0);
				assert_true(handle_gen(h) != 0 && handle_slot(h) < MAX_SLOTS);
				*item = h;
				model[n].h = h;
				model[n++].item = item;
			}
		} else if (n) {
			size_t i = rnd((uint32_t)n);

			table_drop(t, model[i].h);
			dead[n_dead++ % N_ELEMENTS(dead)] = model[i].h;
			model[i] = model[--n];
		}
		assert_int_equal(table_count(t), n);
		if (n_dead) {
			h = dead[rnd((uint32_t)MIN(n_dead, N_ELEMENTS(dead)))];
			assert_null(table_get(t, h));
			table_drop(t, h); /* twice is nothing */
		}
		if (turn % 50 == 0) {
			uint32_t at = 0, found = 0;

			for (size_t i = 0; i < n; i++) {
				assert_ptr_equal(table_get(t, model[i].h), model[i].item); /* never moves */
				assert_true(*model[i].item == model[i].h);
			}
			for (uint64_t *x; (x = table_each(t, &at, &h)); found++)
				assert_true(*x == h && table_get(t, h) == x);
			assert_int_equal(found, n);
		}
	}
	table_free(t);
	table_free(NULL);
}

static void test_table_bounds(void **state)
{
	handle h[130], x;
	struct table *t = table_new(130, 24);
	uint32_t at = 0;
	void *p;

	assert_null(table_get(t, 0));
	assert_null(table_each(t, &at, &x));
	for (int i = 0; i < 130; i++) {
		p = table_add(t, &h[i]);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
	}
	assert_null(table_add(t, &x));
	assert_null(table_get(t, handle_of(130, 1)));
	assert_null(table_get(t, handle_of(UINT32_MAX, 1)));
	assert_null(table_get(t, handle_of(0, 0)));
	/* the slot that has been free for longest comes first */
	table_drop(t, h[100]);
	table_drop(t, h[3]);
	assert_non_null(table_add(t, &x));
	assert_true(x == handle_of(100, handle_gen(h[100]) + 1));
	assert_non_null(table_add(t, &x));
	assert_int_equal(handle_slot(x), 3);
	assert_null(table_get(t, h[3]));
	table_free(t);
	t = table_new(0, 8);
	assert_null(table_add(t, &x));
	table_free(t);
}

static void test_table_adopt(void **state)
{
	struct table *t = table_new(1000, 8);
	bool taken[1000] = {false};
	handle h;

	assert_non_null(table_add_at(t, handle_of(700, 41)));
	assert_null(table_add_at(t, handle_of(700, 41))); /* taken */
	assert_null(table_add_at(t, handle_of(700, 42)));
	assert_null(table_add_at(t, handle_of(1000, 1))); /* one past the last */
	assert_null(table_add_at(t, handle_of(5, 0)));    /* nobody */
	assert_non_null(table_add_at(t, handle_of(999, UINT32_MAX)));
	assert_non_null(table_get(t, handle_of(700, 41)));
	assert_null(table_get(t, handle_of(700, 40)));
	assert_int_equal(table_count(t), 2);
	table_drop(t, handle_of(999, UINT32_MAX));
	assert_null(table_get(t, handle_of(999, 0)));
	assert_non_null(table_add_at(t, handle_of(999, 1))); /* the generation after the last is 1: 0 is nobody */
	table_drop(t, handle_of(999, 1));
	/* the others are all to be had, once each */
	for (int i = 0; i < 999; i++) {
		assert_non_null(table_add(t, &h));
		assert_false(taken[handle_slot(h)] || handle_slot(h) == 700);
		taken[handle_slot(h)] = true;
	}
	assert_null(table_add(t, &h));
	table_free(t);
}

static void test_table_gen_wraps(void **state)
{
	struct table *t = table_new(1, 8);
	handle h;

	assert_non_null(table_add_at(t, handle_of(0, UINT32_MAX)));
	table_drop(t, handle_of(0, UINT32_MAX));
	assert_non_null(table_add(t, &h));
	assert_true(h == handle_of(0, 1));
	table_free(t);
}

static void test_table_no_memory(void **state)
{
	struct table *t;
	handle h;
	void *p;

	fail_in = 1;
	t = table_new(10, 8);
	assert_null(t);
	t = table_new(10, 8);
	fail_in = 1;
	p = table_add(t, &h);
	assert_null(p);
	fail_in = 1;
	p = table_add_at(t, handle_of(3, 3));
	assert_null(p);
	assert_int_equal(table_count(t), 0);
	p = table_add(t, &h);
	assert_non_null(p);
	table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_arena),          cmocka_unit_test(test_arena_bound),     cmocka_unit_test(test_arena_no_memory),
	    cmocka_unit_test(test_list),           cmocka_unit_test(test_hash_model),      cmocka_unit_test(test_hash_bound),
	    cmocka_unit_test(test_hash_no_memory), cmocka_unit_test(test_table_model),     cmocka_unit_test(test_table_bounds),
	    cmocka_unit_test(test_table_adopt),    cmocka_unit_test(test_table_gen_wraps), cmocka_unit_test(test_table_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
