/* SPDX-License-Identifier: Apache-2.0
 *
 * base_wheel: the timer wheel against a list that is searched whole, by seeded random operations, also from within the handlers; jumps of the clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

#define TIMERS 60

static uint64_t rnd_state = 1;
static uint64_t rnd(uint64_t n)
{
	rnd_state = rnd_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (rnd_state >> 20) % n;
}

/* The model: who is set, to when, in which order they were set, and whether their time had passed when they were. */
static struct entry {
	struct timer t;
	int64_t at; /* 0 = not set */
	uint64_t order;
	bool late, due;
} e[TIMERS];
static struct wheel *w;
static int64_t now;
static uint64_t order, fired;
static bool in_turn;

static void random_op(void);

static bool before(const struct entry *a, const struct entry *b)
{
	if (a->late != b->late)
		return a->late;
	if (!a->late && a->at != b->at)
		return a->at < b->at;
	return a->order < b->order;
}

static struct entry *first_due(void)
{
	struct entry *first = NULL;

	for (int i = 0; i < TIMERS; i++)
		if (e[i].due && (!first || before(&e[i], first)))
			first = &e[i];
	return first;
}

static void on_timer(struct timer *t, void *arg, int64_t now_ms)
{
	struct entry *x = arg;

	assert_true(in_turn);
	assert_ptr_equal(t, &x->t);
	assert_true(now_ms == now);
	assert_ptr_equal(x, first_due()); /* this one, and no other, is next */
	assert_true(x->at <= now);
	assert_true(t->at_ms == 0);
	x->due = false;
	x->at = 0;
	fired++;
	for (uint64_t n = rnd(4); n; n--)
		random_op();
}

static int64_t random_delay(void)
{
	static const int64_t scale[] = {1, 4, 256, 300, 65536, 70000, 1 << 24, 1LL << 32, 1LL << 45};

	return (int64_t)rnd((uint64_t)scale[rnd(N_ELEMENTS(scale))] * 2);
}

static void random_op(void)
{
	struct entry *x = &e[rnd(TIMERS)];

	if (rnd(4) == 0) {
		timer_stop(&x->t);
		x->at = 0;
		x->due = false;
		return;
	}
	x->at = rnd(10) == 0 ? now - (int64_t)rnd(100) : now + random_delay();
	timer_set(w, &x->t, x->at);
	x->at = MAX(x->at, 1);
	x->late = x->at <= now;
	x->due = false;
	x->order = ++order;
}

static void turn(int64_t to)
{
	now = to;
	for (int i = 0; i < TIMERS; i++)
		e[i].due = e[i].at && e[i].at <= now;
	in_turn = true;
	wheel_run(w, now);
	in_turn = false;
	assert_null(first_due()); /* all that were due fired or were stopped */
}

static void check_next(void)
{
	int64_t first = INT64_MAX, next = wheel_next_ms(w);

	for (int i = 0; i < TIMERS; i++)
		if (e[i].at)
			first = MIN(first, e[i].at);
	assert_true(next <= MAX(first, now));
	assert_true(next >= now);
	if (first == INT64_MAX)
		assert_true(next == INT64_MAX);
	else if (first > now)
		assert_true(next > now); /* or the loop would spin */
}

static void test_model(void **state)
{
	for (unsigned round = 0; round < 40; round++) {
		rnd_state = round + 1;
		now = round % 2 ? (int64_t)rnd(1ULL << 50) : 0;
		w = wheel_new(now);
		for (int i = 0; i < TIMERS; i++) {
			e[i] = (struct entry){0};
			timer_init(&e[i].t, on_timer, &e[i]);
		}
		for (int i = 0; i < 2000; i++) {
			for (uint64_t n = rnd(6); n; n--)
				random_op();
			check_next();
			/* to the next time asked for, or anywhere */
			if (rnd(2) && wheel_next_ms(w) != INT64_MAX)
				turn(wheel_next_ms(w));
			else
				turn(now + random_delay());
		}
		wheel_free(w);
		for (int i = 0; i < TIMERS; i++)
			assert_true(link_alone(&e[i].t.link) && e[i].t.at_ms == 0);
	}
	assert_true(fired > 100000);
	print_message("%llu timers fired\n", (unsigned long long)fired);
}

static void count_up(struct timer *t, void *arg, int64_t now_ms)
{
	++*(int *)arg;
}

static void test_exact(void **state)
{
	static const int64_t at[] = {1, 2, 255, 256, 257, 511, 512, 65535, 65536, 65537, 1 << 24, (1LL << 32) - 1, 1LL << 32, (1LL << 40) + 5, INT64_MAX};

	for (size_t i = 0; i < N_ELEMENTS(at); i++) {
		struct wheel *x = wheel_new(0);
		struct timer t;
		int n = 0, turns = 0;

		timer_init(&t, count_up, &n);
		timer_set(x, &t, at[i]);
		wheel_run(x, at[i] - 1);
		assert_int_equal(n, 0); /* never early */
		assert_true(wheel_next_ms(x) == at[i]);
		wheel_run(x, at[i]);
		assert_int_equal(n, 1);
		assert_true(wheel_next_ms(x) == INT64_MAX);
		wheel_free(x);

		/* a loop that sleeps until wheel_next_ms comes there in a step a level */
		x = wheel_new(0);
		timer_set(x, &t, at[i]);
		while (n == 1) {
			wheel_run(x, wheel_next_ms(x));
			turns++;
		}
		assert_in_range(turns, 1, 8);
		wheel_free(x);
	}
}

static void test_empty_jump(void **state)
{
	struct wheel *x = wheel_new(5);
	struct timer t;
	int n = 0;

	assert_true(wheel_next_ms(x) == INT64_MAX);
	timer_init(&t, count_up, &n);
	for (int i = 0; i < 100000; i++) { /* set and stopped: the slot is remembered, nobody is in it */
		timer_set(x, &t, 5 + i * 1000);
		timer_stop(&t);
	}
	assert_true(wheel_next_ms(x) == INT64_MAX);
	wheel_run(x, INT64_MAX - 1);
	wheel_run(x, 7); /* a clock that goes back is waited for */
	assert_int_equal(n, 0);
	timer_set(x, &t, 9);
	assert_true(wheel_next_ms(x) <= INT64_MAX - 1);
	wheel_run(x, 8);
	assert_int_equal(n, 1);
	timer_stop(&t); /* not set: nothing */
	wheel_free(x);
	wheel_free(NULL);
}

static struct wheel *again_w;
static void again(struct timer *t, void *arg, int64_t now_ms)
{
	++*(int *)arg;
	timer_set(again_w, t, now_ms); /* at once: that is the next turn, or this one would not end */
}

static void test_set_to_now(void **state)
{
	struct timer t;
	int n = 0;

	again_w = wheel_new(100);
	timer_init(&t, again, &n);
	timer_set(again_w, &t, 100);
	for (int i = 1; i <= 5; i++) {
		wheel_run(again_w, 100);
		assert_int_equal(n, i);
	}
	assert_true(wheel_next_ms(again_w) == 100);
	wheel_free(again_w);
}

static void freed(struct timer *t, void *arg, int64_t now_ms)
{
	free(t);
}

static void test_free_in_handler(void **state)
{
	struct wheel *x = wheel_new(0);

	for (int i = 0; i < 10; i++) {
		struct timer *t = malloc(sizeof(*t));

		assert_non_null(t);
		timer_init(t, freed, NULL);
		timer_set(x, t, 10 + i / 2);
	}
	wheel_run(x, 1000);
	assert_true(wheel_next_ms(x) == INT64_MAX);
	wheel_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_model),      cmocka_unit_test(test_exact),           cmocka_unit_test(test_empty_jump),
	    cmocka_unit_test(test_set_to_now), cmocka_unit_test(test_free_in_handler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
