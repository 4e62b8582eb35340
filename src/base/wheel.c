/* SPDX-License-Identifier: Apache-2.0
 *
 * wheel: hierarchical timer wheel, 1 ms fine, eight levels of 256 slots, so that any int64 has its place. A timer stands on the level of the highest
 * byte in which its time differs from the wheel's, and comes down a level when the wheel enters its slot. Bitmaps say which slots may hold
 * somebody: a jump of the clock costs the slots and timers it passes, not the milliseconds. Timers fire in the order of their times, those of one
 * time in the order in which they were set; one set to the past (also by a handler) fires first in the next turn. One thread at a time.
 */
#include <stdlib.h>

#include "base/base.h"

#define LEVELS 8
#define SLOTS  256
#define WORDS  (SLOTS / 64)

struct wheel {
	int64_t now_ms; /* all timers in the slots are later than this */
	bool running;
	struct link late;             /* set to a time that had passed */
	struct link due;              /* of this turn, not yet fired */
	uint64_t busy[LEVELS][WORDS]; /* set: the slot may hold timers; clear: it does not */
	struct link slot[LEVELS][SLOTS];
};

struct wheel *wheel_new(int64_t now_ms)
{
	struct wheel *w;

	ASSERT(now_ms >= 0);
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->now_ms = now_ms;
	link_init(&w->late);
	link_init(&w->due);
	for (int l = 0; l < LEVELS; l++)
		for (int i = 0; i < SLOTS; i++)
			link_init(&w->slot[l][i]);
	return w;
}

static struct timer *timer_of(struct link *l)
{
	return container_of(l, struct timer, link);
}

static void stop_all(struct link *head)
{
	while (!link_alone(head))
		timer_stop(timer_of(head->next));
}

void wheel_free(struct wheel *w)
{
	if (!w)
		return;
	stop_all(&w->late);
	stop_all(&w->due);
	for (int l = 0; l < LEVELS; l++)
		for (int i = 0; i < SLOTS; i++)
			stop_all(&w->slot[l][i]);
	free(w);
}

void timer_init(struct timer *t, timer_h *h, void *arg)
{
	*t = (struct timer){.h = h, .arg = arg};
	link_init(&t->link);
}

void timer_stop(struct timer *t)
{
	link_drop(&t->link);
	t->at_ms = 0;
}

static void file(struct wheel *w, struct timer *t)
{
	uint64_t differ = (uint64_t)t->at_ms ^ (uint64_t)w->now_ms;
	int level = (63 - __builtin_clzll(differ)) / 8;
	unsigned i = (unsigned)((uint64_t)t->at_ms >> (8 * level) & (SLOTS - 1));

	link_append(&w->slot[level][i], &t->link);
	w->busy[level][i / 64] |= 1ULL << (i % 64);
}

void timer_set(struct wheel *w, struct timer *t, int64_t at_ms)
{
	link_drop(&t->link);
	t->at_ms = MAX(at_ms, 1); /* 0 would say: not set */
	if (t->at_ms <= w->now_ms)
		link_append(&w->late, &t->link);
	else
		file(w, t);
}

/* First slot of this level behind `i` whose bit is set; -1 = none. */
static int next_busy(const uint64_t *busy, unsigned i)
{
	for (i++; i < SLOTS; i = (i / 64 + 1) * 64) {
		uint64_t left = busy[i / 64] >> (i % 64);

		if (left)
			return (int)i + __builtin_ctzll(left);
	}
	return -1;
}

/* The first slot that may hold a timer and the time at which it begins. Lower levels come first: they lie within the slot that is now. */
static bool first_busy(const struct wheel *w, bool skip_empty, int *level, int *slot, int64_t *ret_ms)
{
	for (int l = 0; l < LEVELS; l++) {
		int i = (int)((uint64_t)w->now_ms >> (8 * l) & (SLOTS - 1));

		while ((i = next_busy(w->busy[l], (unsigned)i)) >= 0) {
			uint64_t above = l == LEVELS - 1 ? 0 : (uint64_t)w->now_ms >> (8 * (l + 1)) << (8 * (l + 1));

			if (skip_empty && link_alone(&w->slot[l][i]))
				continue; /* its timers were stopped */
			*level = l;
			*slot = i;
			*ret_ms = (int64_t)(above | (uint64_t)i << (8 * l));
			return true;
		}
	}
	return false;
}

/* The wheel enters a slot: who is due moves to the list of this turn, who is later comes down to a lower level. */
static void enter_slot(struct wheel *w, int level, int i)
{
	struct link *head = &w->slot[level][i];

	w->busy[level][i / 64] &= ~(1ULL << (i % 64));
	while (!link_alone(head)) {
		struct timer *t = timer_of(head->next);

		link_drop(&t->link);
		if (t->at_ms <= w->now_ms)
			link_append(&w->due, &t->link);
		else
			file(w, t);
	}
}

static void late_to_due(struct wheel *w)
{
	while (!link_alone(&w->late)) {
		struct link *l = w->late.next;

		link_drop(l);
		link_append(&w->due, l);
	}
}

void wheel_run(struct wheel *w, int64_t now_ms)
{
	int level, slot;
	int64_t at;

	ASSERT(!w->running);
	w->running = true;
	now_ms = MAX(now_ms, w->now_ms);
	late_to_due(w);
	while (first_busy(w, false, &level, &slot, &at) && at <= now_ms) {
		w->now_ms = at;
		enter_slot(w, level, slot);
	}
	w->now_ms = now_ms;
	while (!link_alone(&w->due)) {
		struct timer *t = timer_of(w->due.next);

		timer_stop(t);
		t->h(t, t->arg, now_ms); /* may free t */
	}
	w->running = false;
}

int64_t wheel_next_ms(const struct wheel *w)
{
	int level, slot;
	int64_t at;

	if (!link_alone(&w->late) || !link_alone(&w->due))
		return w->now_ms;
	return first_busy(w, true, &level, &slot, &at) ? at : INT64_MAX;
}
