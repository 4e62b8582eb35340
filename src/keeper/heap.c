/* SPDX-License-Identifier: Apache-2.0
 *
 * heap: write-once text in the slab. Sig thread only.
 *
 * In the mapping stand only blocks: a head of 16 bytes (length, CRC, hash) and the text. What is free, and who uses what, lives in the worker's own memory and is
 * made anew after a restart from the texts that living records name: no list in the mapping can be torn, and what no record names is free again. Space is counted in
 * units of 64 bytes and kept by the buddy method; the unused tail of a block goes back at once. The same text is stored once and counted by its users.
 *
 * Leaves to others: which texts are alive (call/ says so by slab_keep), and that the text is written before the record that names it.
 */
#include <stdlib.h>

#include "keeper/keeper_int.h"

#define UNIT     64u
#define HEAD     16u
#define N_ORDERS 32
#define NO_UNIT  UINT32_MAX

struct block_head {
	uint32_t n, crc;
	uint64_t hash;
};
_Static_assert(sizeof(struct block_head) == HEAD, "the head of a block is part of the layout");

struct heap {
	char *mem;
	const uint8_t *key;
	uint32_t n_units, used_units;
	bool adopting; /* nothing is handed out until the sweep has said what is free */
	uint32_t free_head[N_ORDERS];
	uint8_t *order;        /* by first unit of a free block: order + 1; 0 = not the start of a free block */
	uint32_t *next, *prev; /* by first unit of a free block */
	uint32_t *uses;        /* by first unit of a text */
	struct hash *by_text;
};

static uint32_t units_of(uint32_t n)
{
	return (n + HEAD + UNIT - 1) / UNIT;
}

static void free_push(struct heap *h, uint32_t u, int order)
{
	h->order[u] = (uint8_t)(order + 1);
	h->prev[u] = NO_UNIT;
	h->next[u] = h->free_head[order];
	if (h->next[u] != NO_UNIT)
		h->prev[h->next[u]] = u;
	h->free_head[order] = u;
}

static void free_pull(struct heap *h, uint32_t u, int order)
{
	if (h->prev[u] != NO_UNIT)
		h->next[h->prev[u]] = h->next[u];
	else
		h->free_head[order] = h->next[u];
	if (h->next[u] != NO_UNIT)
		h->prev[h->next[u]] = h->prev[u];
	h->order[u] = 0;
}

/* One aligned block becomes free and grows together with its free neighbours. */
static void free_block(struct heap *h, uint32_t u, int order)
{
	for (; order + 1 < N_ORDERS; order++) {
		uint32_t buddy = u ^ (1u << order);
		if ((uint64_t)buddy + (1u << order) > h->n_units || h->order[buddy] != order + 1)
			break;
		free_pull(h, buddy, order);
		u = MIN(u, buddy);
	}
	free_push(h, u, order);
}

/* Units [from, to) become free: cut into the largest aligned blocks. */
static void free_range(struct heap *h, uint32_t from, uint32_t to)
{
	while (from < to) {
		int order = from ? __builtin_ctz(from) : N_ORDERS - 2;
		while ((uint64_t)from + (1u << order) > to)
			order--;
		free_block(h, from, order);
		from += 1u << order;
	}
}

/* First unit of n free ones, or NO_UNIT. */
static uint32_t take_units(struct heap *h, uint32_t n)
{
	int want = n > 1 ? 32 - __builtin_clz(n - 1) : 0;
	int order = want;
	while (order < N_ORDERS && h->free_head[order] == NO_UNIT)
		order++;
	if (order >= N_ORDERS)
		return NO_UNIT;
	uint32_t u = h->free_head[order];
	free_pull(h, u, order);
	free_range(h, u + n, u + (1u << order));
	return u;
}

static struct block_head *head_at(const struct heap *h, uint32_t u)
{
	return (struct block_head *)(void *)(h->mem + (size_t)u * UNIT);
}

/* Unit of a text whose place is possible and whose block has its length; NO_UNIT for anything bogus. */
static uint32_t unit_of(const struct heap *h, struct text t)
{
	if (t.n == 0 || t.off < HEAD || (t.off - HEAD) % UNIT != 0)
		return NO_UNIT;
	uint32_t u = (t.off - HEAD) / UNIT;
	if (u >= h->n_units || (uint64_t)t.off + t.n > (uint64_t)h->n_units * UNIT || head_at(h, u)->n != t.n)
		return NO_UNIT;
	return u;
}

static bool is_sound(const struct heap *h, uint32_t u)
{
	const struct block_head *b = head_at(h, u);
	return crc32c(b + 1, b->n) == b->crc;
}

struct heap *heap_new(char *mem, uint32_t n_bytes, const uint8_t key[16], bool adopting)
{
	struct heap *h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->mem = mem;
	h->key = key;
	h->n_units = n_bytes / UNIT;
	size_t n = MAX(h->n_units, 1u);
	h->order = calloc(n, sizeof(*h->order));
	h->next = calloc(n, sizeof(*h->next));
	h->prev = calloc(n, sizeof(*h->prev));
	h->uses = calloc(n, sizeof(*h->uses));
	h->by_text = hash_new(n);
	if (!h->order || !h->next || !h->prev || !h->uses || !h->by_text) {
		heap_free(h);
		return NULL;
	}
	for (int i = 0; i < N_ORDERS; i++)
		h->free_head[i] = NO_UNIT;
	h->adopting = adopting;
	if (!adopting)
		free_range(h, 0, h->n_units);
	return h;
}

void heap_free(struct heap *h)
{
	if (!h)
		return;
	hash_free(h->by_text);
	free(h->uses);
	free(h->prev);
	free(h->next);
	free(h->order);
	free(h);
}

/* The values of the table are units + 1: no memory of their own. */
static uint32_t find_same(const struct heap *h, uint64_t hash, struct str t)
{
	void *v;
	for (size_t at = 0; (v = hash_next(h->by_text, hash, &at));) {
		uint32_t u = (uint32_t)((uintptr_t)v - 1);
		const struct block_head *b = head_at(h, u);
		if (b->n == t.n && memcmp(b + 1, t.p, t.n) == 0)
			return u;
	}
	return NO_UNIT;
}

int heap_put(struct heap *h, struct str t, struct text *ret)
{
	*ret = (struct text){0, 0};
	if (t.n == 0)
		return 0;
	if (t.n > limit_of(LIMIT_CALL_TEXT))
		return -E2BIG;
	if (h->adopting)
		return -ENOSPC;
	uint64_t hash = siphash(h->key, t.p, t.n);
	uint32_t u = find_same(h, hash, t);
	if (u == NO_UNIT) {
		u = take_units(h, units_of((uint32_t)t.n));
		if (u == NO_UNIT)
			return -ENOSPC;
		struct block_head *b = head_at(h, u);
		memcpy(b + 1, t.p, t.n);
		*b = (struct block_head){.n = (uint32_t)t.n, .crc = crc32c(t.p, t.n), .hash = hash};
		h->used_units += units_of((uint32_t)t.n);
		if (hash_put(h->by_text, hash, (void *)((uintptr_t)u + 1)) < 0)
			count_add(COUNT_LIMIT_HIT, 1); /* no memory for the entry: the text stands, it is only not found again */
	}
	h->uses[u]++;
	*ret = (struct text){u * UNIT + HEAD, (uint32_t)t.n};
	return 0;
}

struct str heap_get(const struct heap *h, struct text t)
{
	uint32_t u = unit_of(h, t);
	/* One that is in use was written or checked by this worker; any other (a record read at adoption) has to prove itself. */
	if (u == NO_UNIT || (h->uses[u] == 0 && !is_sound(h, u)))
		return STR_NONE;
	return str_n(h->mem + t.off, t.n);
}

void heap_drop(struct heap *h, struct text t)
{
	uint32_t u = unit_of(h, t);
	if (u == NO_UNIT || h->uses[u] == 0 || --h->uses[u] > 0 || h->adopting)
		return;
	hash_drop(h->by_text, head_at(h, u)->hash, (void *)((uintptr_t)u + 1));
	h->used_units -= units_of(t.n);
	free_range(h, u, u + units_of(t.n));
}

void heap_keep(struct heap *h, struct text t)
{
	uint32_t u = unit_of(h, t);
	if (u != NO_UNIT && (h->uses[u] > 0 || is_sound(h, u)))
		h->uses[u]++;
}

void heap_sweep(struct heap *h)
{
	if (!h->adopting)
		return;
	uint32_t end = 0; /* behind the last text kept */
	for (uint32_t u = 0; u < h->n_units; u++) {
		if (h->uses[u] == 0)
			continue;
		if (u < end) { /* stands inside another one: bytes that only look like a block */
			h->uses[u] = 0;
			continue;
		}
		const struct block_head *b = head_at(h, u);
		free_range(h, end, u);
		end = u + units_of(b->n);
		h->used_units += units_of(b->n);
		if (hash_put(h->by_text, b->hash, (void *)((uintptr_t)u + 1)) < 0)
			count_add(COUNT_LIMIT_HIT, 1);
	}
	free_range(h, end, h->n_units);
	h->adopting = false;
}

uint32_t heap_used(const struct heap *h)
{
	return h->used_units * UNIT;
}
