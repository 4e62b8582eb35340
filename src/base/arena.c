/* SPDX-License-Identifier: Apache-2.0
 *
 * arena: memory that dies together (a parsed message, a document). Chunks grow from 4 to 64 KiB; a large piece gets a chunk of its own. The bound
 * counts the pieces, each rounded up to 16 bytes. Under AddressSanitizer all that was not handed out is poisoned, and so are 16 bytes between two
 * pieces, so that a read past the end of one is found although both lie in one chunk. One thread at a time.
 */
#include <stdlib.h>

#include "base/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define GAP            16
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define GAP            0
#endif

#define ALIGN     16
#define CHUNK_MIN 4096
#define CHUNK_MAX 65536

struct chunk {
	struct chunk *next;
	size_t used, cap;
	_Alignas(ALIGN) char data[];
};

struct arena {
	struct chunk *chunks; /* the first one is filled */
	size_t used, max, next_size;
};

struct arena *arena_new(size_t max_bytes)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (a) {
		a->max = max_bytes;
		a->next_size = CHUNK_MIN;
	}
	return a;
}

void arena_free(struct arena *a)
{
	struct chunk *c, *next;

	if (!a)
		return;
	for (c = a->chunks; c; c = next) {
		next = c->next;
		UNPOISON(c->data, c->cap);
		free(c);
	}
	free(a);
}

static struct chunk *chunk_add(struct arena *a, size_t need)
{
	size_t cap = MAX(need, a->next_size - sizeof(struct chunk));
	struct chunk *c = calloc(1, sizeof(*c) + cap); /* each byte is handed out once, so it is zero then too */

	if (!c)
		return NULL;
	c->cap = cap;
	POISON(c->data, cap);
	if (a->chunks && a->chunks->cap - a->chunks->used > cap - need) {
		c->next = a->chunks->next; /* a large piece: the chunk with more room stays the one in use */
		a->chunks->next = c;
	} else {
		c->next = a->chunks;
		a->chunks = c;
	}
	a->next_size = MIN(a->next_size * 2, (size_t)CHUNK_MAX);
	return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct chunk *c = a->chunks;
	size_t piece;
	void *p;

	if (n > a->max || n > SIZE_MAX / 2)
		return NULL; /* the second: roundings below must not wrap */
	piece = n ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
	if (piece > a->max - a->used)
		return NULL;
	if (!c || c->cap - c->used < piece + GAP)
		c = chunk_add(a, piece + GAP);
	if (!c)
		return NULL;
	p = c->data + c->used;
	c->used += piece + GAP;
	a->used += piece;
	UNPOISON(p, n);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1); /* no view is SIZE_MAX long */

	if (!p)
		return STR_NONE;
	if (s.n)
		memcpy(p, s.p, s.n);
	return str_n(p, s.n);
}
