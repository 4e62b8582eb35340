/* SPDX-License-Identifier: Apache-2.0
 *
 * slab: the memory that outlives a worker. Head, call records, leg records (two copies each), media lines, block heap, in this order, each on a page of its own.
 *
 * A record is written into the copy that does not count: body, CRC, then the generation with release order. Killed at any instruction in between, the other copy
 * still counts. Records and heap: sig thread only. Media lines: each by its media thread, through the pointer that slab_lines gives.
 *
 * Leaves to others: what the records mean (call/), who holds the memfd (keeper).
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define READ_TRIES 16

#define PAGE   4096u
#define RECORD 512u /* both kinds: layout.h */

struct slot_note { /* what the writer remembers of a slot: which copy counts, and its generation */
	uint32_t generation;
	uint8_t copy, known;
};

struct slab {
	char *mem;
	size_t n_bytes;
	size_t off[SLAB_RECORDS], off_lines, off_heap;
	uint32_t n_slots[SLAB_RECORDS];
	struct slot_note *notes[SLAB_RECORDS];
	struct heap *heap;
	uint64_t *n_torn;
};

static size_t pages(size_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

static size_t lay_out(const struct slab_sizes *z, struct slab *s)
{
	s->n_slots[SLAB_CALL] = z->n_calls;
	s->n_slots[SLAB_LEG] = z->n_legs;
	s->off[SLAB_CALL] = pages(sizeof(struct slab_head));
	s->off[SLAB_LEG] = s->off[SLAB_CALL] + pages((size_t)z->n_calls * 2 * RECORD);
	s->off_lines = s->off[SLAB_LEG] + pages((size_t)z->n_legs * 2 * RECORD);
	s->off_heap = s->off_lines + pages((size_t)z->n_legs * sizeof(struct media_line));
	return s->off_heap + pages(z->heap_bytes);
}

size_t slab_bytes(const struct slab_sizes *z)
{
	struct slab s;
	return lay_out(z, &s);
}

static void read_boot_id(uint8_t ret[16])
{
	char text[64];
	memset(ret, 0, 16);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0, digit = 0; i < n && digit < 32; i++) {
		char c = text[i];
		int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (v < 0)
			continue;
		ret[digit / 2] = (uint8_t)(ret[digit / 2] << 4 | v);
		digit++;
	}
}

static void write_head(struct slab_head *h, const struct slab_sizes *z)
{
	memset(h, 0, sizeof(*h));
	h->layout = SLAB_LAYOUT;
	h->call_size = sizeof(struct call_record);
	h->leg_size = sizeof(struct leg_record);
	h->line_size = sizeof(struct media_line);
	h->n_calls = z->n_calls;
	h->n_legs = z->n_legs;
	h->heap_size = z->heap_bytes;
	read_boot_id(h->boot_id);
	rand_bytes(h->key, sizeof(h->key));
	__atomic_store_n(&h->magic, SLAB_MAGIC, __ATOMIC_RELEASE); /* last: a head without it was never finished */
}

static bool head_fits(const struct slab_head *h, const struct slab_sizes *z)
{
	return h->magic == SLAB_MAGIC && h->layout == SLAB_LAYOUT && h->call_size == sizeof(struct call_record) && h->leg_size == sizeof(struct leg_record) &&
	       h->line_size == sizeof(struct media_line) && h->n_calls == z->n_calls && h->n_legs == z->n_legs && h->heap_size == z->heap_bytes;
}

static int map_memory(struct slab *s, int fd)
{
	struct stat st;
	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size < s->n_bytes))
		return -EPROTO;
	s->mem = mmap(NULL, s->n_bytes, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	if (s->mem == MAP_FAILED) {
		s->mem = NULL;
		return -errno;
	}
	return 0;
}

int slab_open(int fd, const struct slab_sizes *z, bool fresh, struct slab **ret)
{
	struct slab *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->n_bytes = lay_out(z, s);
	int r = map_memory(s, fd);
	if (r < 0)
		goto fail;
	struct slab_head *h = slab_head(s);
	if (fresh || h->magic == 0) {
		fresh = true;
		write_head(h, z);
	} else if (!head_fits(h, z)) {
		r = -EPROTO;
		goto fail;
	} else {
		h->restarts++;
	}
	r = -ENOMEM;
	for (int k = 0; k < SLAB_RECORDS; k++)
		if (!(s->notes[k] = calloc(MAX(s->n_slots[k], 1u), sizeof(struct slot_note))))
			goto fail;
	if (!(s->n_torn = calloc(1, sizeof(*s->n_torn))) || !(s->heap = heap_new(s->mem + s->off_heap, z->heap_bytes, h->key, !fresh)))
		goto fail;
	*ret = s;
	return 0;
fail:
	slab_close(s);
	return r;
}

void slab_close(struct slab *s)
{
	if (!s)
		return;
	heap_free(s->heap);
	for (int k = 0; k < SLAB_RECORDS; k++)
		free(s->notes[k]);
	free(s->n_torn);
	if (s->mem)
		munmap(s->mem, s->n_bytes);
	free(s);
}

struct slab_head *slab_head(struct slab *s)
{
	return (struct slab_head *)(void *)s->mem;
}

struct record_head *slab_copy(const struct slab *s, enum slab_record k, uint32_t slot, int copy)
{
	return (struct record_head *)(void *)(s->mem + s->off[k] + ((size_t)slot * 2 + (size_t)copy) * RECORD);
}

static uint32_t record_crc(const struct record_head *r)
{
	return crc32c((const char *)r + sizeof(r->crc), RECORD - sizeof(r->crc));
}

/* Which copy counts: 0, 1 or -1. The generations are compared as a circle: they may wrap. */
static int newest(const struct slab *s, enum slab_record k, uint32_t slot)
{
	const struct record_head *c[2] = {slab_copy(s, k, slot, 0), slab_copy(s, k, slot, 1)};
	bool sound[2];
	for (int i = 0; i < 2; i++)
		sound[i] = __atomic_load_n(&c[i]->generation, __ATOMIC_ACQUIRE) != 0 && record_crc(c[i]) == c[i]->crc;
	if (sound[0] && sound[1])
		return (int32_t)(c[1]->generation - c[0]->generation) > 0;
	if (sound[0] || sound[1])
		return sound[1];
	if (c[0]->generation != 0 || c[1]->generation != 0)
		++*s->n_torn;
	return -1;
}

static void write_record(struct slab *s, enum slab_record k, uint32_t slot, struct record_head *r)
{
	ASSERT(slot < s->n_slots[k]);
	struct slot_note *note = &s->notes[k][slot];
	if (!note->known) {
		int at = newest(s, k, slot);
		*note = (struct slot_note){.generation = at < 0 ? 0 : slab_copy(s, k, slot, at)->generation, .copy = at == 1, .known = 1};
	}
	uint32_t generation = note->generation + 1 ? note->generation + 1 : 1;
	struct record_head *to = slab_copy(s, k, slot, !note->copy);
	r->generation = generation;
	r->crc = record_crc(r);
	memcpy(to + 1, r + 1, RECORD - sizeof(*r));
	__atomic_store_n(&to->crc, r->crc, __ATOMIC_RELEASE);
	__atomic_store_n(&to->generation, generation, __ATOMIC_RELEASE); /* from here on this copy counts */
	note->generation = generation;
	note->copy = !note->copy;
}

static int read_record(const struct slab *s, enum slab_record k, uint32_t slot, void *ret)
{
	if (slot >= s->n_slots[k])
		return -ENOENT;
	for (int tries = 0; tries < READ_TRIES; tries++) {
		int at = newest(s, k, slot);
		if (at < 0)
			return -ENOENT;
		memcpy(ret, slab_copy(s, k, slot, at), RECORD);
		if (record_crc(ret) == ((struct record_head *)ret)->crc) /* beside a living writer what was judged may have been written over */
			return 0;
	}
	return -ENOENT;
}

void slab_write_call(struct slab *s, uint32_t slot, struct call_record *r)
{
	write_record(s, SLAB_CALL, slot, &r->head);
}

void slab_write_leg(struct slab *s, uint32_t slot, struct leg_record *r)
{
	write_record(s, SLAB_LEG, slot, &r->head);
}

int slab_read_call(const struct slab *s, uint32_t slot, struct call_record *ret)
{
	int r = read_record(s, SLAB_CALL, slot, ret);
	return r == 0 && ret->state == 0 ? -ENOENT : r;
}

int slab_read_leg(const struct slab *s, uint32_t slot, struct leg_record *ret)
{
	int r = read_record(s, SLAB_LEG, slot, ret);
	return r == 0 && ret->state == 0 ? -ENOENT : r;
}

uint64_t slab_torn(const struct slab *s)
{
	return *s->n_torn;
}

struct media_line *slab_lines(struct slab *s)
{
	return (struct media_line *)(void *)(s->mem + s->off_lines);
}

int slab_text(struct slab *s, struct str t, struct text *ret)
{
	return heap_put(s->heap, t, ret);
}

struct str slab_str(const struct slab *s, struct text t)
{
	return heap_get(s->heap, t);
}

void slab_drop(struct slab *s, struct text t)
{
	heap_drop(s->heap, t);
}

void slab_keep(struct slab *s, struct text t)
{
	heap_keep(s->heap, t);
}

void slab_sweep(struct slab *s)
{
	heap_sweep(s->heap);
}

uint32_t slab_heap_used(const struct slab *s)
{
	return heap_used(s->heap);
}
