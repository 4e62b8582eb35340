/* SPDX-License-Identifier: Apache-2.0
 *
 * table: slots with generations. A handle is slot and generation; a handle to the dead resolves to NULL, because the generation went on when the slot
 * was dropped. Slots come in pages of 64 that are never moved nor given back, so a pointer holds as long as its item lives. The slot that has been
 * free for longest is taken next: a stale handle meets its slot's next tenant as late as can be. One thread at a time.
 */
#include <stdlib.h>

#include "base/base.h"

#define PAGE_SLOTS 64
#define NOBODY     UINT32_MAX

struct slot {
	uint32_t gen;        /* of the tenant, or of the next one; never 0 */
	uint32_t next, prev; /* in the queue of free slots; NOBODY at its ends */
	uint32_t live;
	/* the item follows, 16-aligned */
};

struct table {
	uint32_t max, n;
	uint32_t first, last; /* queue of free slots */
	size_t item_size, stride;
	uint32_t n_pages, next_page; /* pages before next_page exist */
	char *page[];
};

struct table *table_new(uint32_t max_slots, size_t item_size)
{
	uint32_t pages = max_slots / PAGE_SLOTS + (max_slots % PAGE_SLOTS != 0);
	struct table *t;

	ASSERT(max_slots < NOBODY && item_size < 1 << 24);
	t = calloc(1, sizeof(*t) + pages * sizeof(t->page[0]));
	if (!t)
		return NULL;
	t->max = max_slots;
	t->first = t->last = NOBODY;
	t->item_size = item_size;
	t->stride = sizeof(struct slot) + ((item_size + 15) & ~(size_t)15);
	t->n_pages = pages;
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->n_pages; i++)
		free(t->page[i]);
	free(t);
}

/* NULL = no such page yet */
static struct slot *slot_at(const struct table *t, uint32_t i)
{
	char *page = i < t->max ? t->page[i / PAGE_SLOTS] : NULL;

	return page ? (struct slot *)(page + i % PAGE_SLOTS * t->stride) : NULL;
}

static void queue(struct table *t, uint32_t i)
{
	struct slot *s = slot_at(t, i);

	s->next = NOBODY;
	s->prev = t->last;
	if (t->last == NOBODY)
		t->first = i;
	else
		slot_at(t, t->last)->next = i;
	t->last = i;
}

static void unqueue(struct table *t, struct slot *s)
{
	if (s->prev == NOBODY)
		t->first = s->next;
	else
		slot_at(t, s->prev)->next = s->next;
	if (s->next == NOBODY)
		t->last = s->prev;
	else
		slot_at(t, s->next)->prev = s->prev;
}

static int page_make(struct table *t, uint32_t page)
{
	uint32_t first = page * PAGE_SLOTS;
	uint32_t n = MIN(t->max - first, (uint32_t)PAGE_SLOTS);

	t->page[page] = calloc(n, t->stride);
	if (!t->page[page])
		return -ENOMEM;
	for (uint32_t i = first; i < first + n; i++) {
		slot_at(t, i)->gen = 1;
		queue(t, i);
	}
	return 0;
}

static void *tenant(struct table *t, struct slot *s)
{
	unqueue(t, s);
	s->live = 1;
	t->n++;
	return memset(s + 1, 0, t->item_size);
}

void *table_add(struct table *t, handle *ret_h)
{
	struct slot *s;

	while (t->next_page < t->n_pages && t->page[t->next_page])
		t->next_page++;
	if (t->first == NOBODY && (t->next_page == t->n_pages || page_make(t, t->next_page) < 0))
		return NULL;
	s = slot_at(t, t->first);
	*ret_h = handle_of(t->first, s->gen);
	return tenant(t, s);
}

void *table_add_at(struct table *t, handle h)
{
	uint32_t i = handle_slot(h);
	struct slot *s;

	if (i >= t->max || handle_gen(h) == 0)
		return NULL;
	if (!t->page[i / PAGE_SLOTS] && page_make(t, i / PAGE_SLOTS) < 0)
		return NULL;
	s = slot_at(t, i);
	if (s->live)
		return NULL;
	s->gen = handle_gen(h);
	return tenant(t, s);
}

static struct slot *slot_of(const struct table *t, handle h)
{
	struct slot *s = slot_at(t, handle_slot(h));

	return s && s->live && s->gen == handle_gen(h) ? s : NULL;
}

void *table_get(const struct table *t, handle h)
{
	struct slot *s = slot_of(t, h);

	return s ? s + 1 : NULL;
}

void table_drop(struct table *t, handle h)
{
	struct slot *s = slot_of(t, h);

	if (!s)
		return;
	s->live = 0;
	if (++s->gen == 0)
		s->gen = 1;
	queue(t, handle_slot(h));
	t->n--;
}

uint32_t table_count(const struct table *t)
{
	return t->n;
}

void *table_each(const struct table *t, uint32_t *at, handle *ret_h)
{
	while (*at < t->max) {
		uint32_t i = (*at)++;
		struct slot *s = slot_at(t, i);

		if (!s) {
			*at = (i / PAGE_SLOTS + 1) * PAGE_SLOTS; /* no page, nobody in it */
		} else if (s->live) {
			*ret_h = handle_of(i, s->gen);
			return s + 1;
		}
	}
	return NULL;
}
