/* SPDX-License-Identifier: Apache-2.0
 *
 * hash: 64-bit key to pointer by open addressing with linear probing. A removal shifts back what stands behind it, so there are no tombstones and a
 * table that lives for months is as fast as on the first day. Values under one key are found in the order in which they were put. It never shrinks.
 * A walk by hash_next ends with the first change of the table: begin it anew. One thread at a time.
 */
#include <stdlib.h>

#include "base/base.h"

struct entry {
	uint64_t key;
	void *v; /* NULL: empty */
};

struct hash {
	struct entry *e;
	size_t n, max, mask; /* mask + 1 places */
};

#define FIRST_SIZE 16

/* Callers give keyed hashes, but also small numbers (connections): spread those as well. */
static size_t home(const struct hash *h, uint64_t key)
{
	return (size_t)((key ^ key >> 32) * 0x9e3779b97f4a7c15ULL >> 20) & h->mask;
}

struct hash *hash_new(size_t max_entries)
{
	struct hash *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->max = max_entries;
	h->mask = FIRST_SIZE - 1;
	h->e = calloc(FIRST_SIZE, sizeof(*h->e));
	if (!h->e) {
		free(h);
		return NULL;
	}
	return h;
}

void hash_free(struct hash *h)
{
	if (h)
		free(h->e);
	free(h);
}

static void place(struct hash *h, uint64_t key, void *v)
{
	size_t i = home(h, key);

	while (h->e[i].v)
		i = (i + 1) & h->mask;
	h->e[i] = (struct entry){key, v};
}

static int grow(struct hash *h)
{
	struct hash old = *h;
	struct entry *e = calloc(2 * (h->mask + 1), sizeof(*e));
	size_t start = 0;

	if (!e)
		return -ENOMEM;
	h->e = e;
	h->mask = 2 * h->mask + 1;
	/* from an empty place on: a run of neighbours is read from its begin, which keeps the order of values under one key */
	while (old.e[start].v)
		start++;
	for (size_t i = 0; i <= old.mask; i++) {
		struct entry *x = &old.e[(start + i) & old.mask];

		if (x->v)
			place(h, x->key, x->v);
	}
	free(old.e);
	return 0;
}

int hash_put(struct hash *h, uint64_t key, void *v)
{
	ASSERT(v);
	if (h->n == h->max)
		return -ENOSPC;
	if ((h->n + 1) * 4 > (h->mask + 1) * 3 && grow(h) < 0)
		return -ENOMEM;
	place(h, key, v);
	h->n++;
	return 0;
}

/* Fills the gap at i by whoever behind it may stand there: one whose home is not between the gap and its place. */
static void close_gap(struct hash *h, size_t i)
{
	for (size_t j = (i + 1) & h->mask; h->e[j].v; j = (j + 1) & h->mask) {
		size_t from_home = (j - home(h, h->e[j].key)) & h->mask;

		if (from_home >= ((j - i) & h->mask)) {
			h->e[i] = h->e[j];
			i = j;
		}
	}
	h->e[i] = (struct entry){0};
}

void hash_drop(struct hash *h, uint64_t key, const void *v)
{
	for (size_t i = home(h, key); h->e[i].v; i = (i + 1) & h->mask)
		if (h->e[i].key == key && h->e[i].v == v) {
			close_gap(h, i);
			h->n--;
			return;
		}
}

void *hash_next(const struct hash *h, uint64_t key, size_t *at)
{
	for (size_t i = (home(h, key) + *at) & h->mask; h->e[i].v; i = (i + 1) & h->mask) {
		++*at;
		if (h->e[i].key == key)
			return h->e[i].v;
	}
	return NULL;
}

size_t hash_count(const struct hash *h)
{
	return h->n;
}
