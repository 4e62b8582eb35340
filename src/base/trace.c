/* SPDX-License-Identifier: Apache-2.0
 *
 * trace: one bounded ring of numbered records in memory that the caller gives (a memfd that outlives the worker). One writer thread; readers in other
 * threads or processes copy a record and then look whether the tail has passed it meanwhile. Positions count bytes for ever; a record never wraps
 * (a pad fills the end of the ring). A writer may die at any instruction: the tail moves before what it leaves is overwritten, and the head moves
 * when the record is whole. Words are stored with release and loaded with acquire order, so a reader that saw a new byte sees the new tail too.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/inside.h"

#define TRACE_MAGIC 0x4543415254574f48ULL /* "HOWTRACE" */
#define KIND_PAD    0xffffu

/* Words of the ring; the compiler must neither split nor merge them. A record lies in one piece. */
typedef _Atomic uint64_t word;

struct ring_head {
	uint64_t magic, size; /* size: of the data, bytes */
	uint32_t version, rec_size;
	word head, tail; /* positions of the next record and of the oldest one */
	word last, next; /* position of the newest record and number of the next one; written last, so one behind after a crash there */
	uint64_t pad;
};
_Static_assert(sizeof(struct ring_head) == 64, "trace: head of the ring");
_Static_assert(sizeof(struct trace_rec) == 48, "trace: head of a record");

struct trace {
	struct ring_head *ring;
	word *data;
	uint64_t size; /* of the data */
	bool writer;
};

void (*trace_step_hook)(enum trace_step step);

const struct trace_info trace_table[TRACE_N] = {
    [TRACE_SIP_IN] = {"sip_in", "A SIP message came; code: status, or 0 for a request.", "flow in one line, then the message"},
    [TRACE_SIP_OUT] = {"sip_out", "A SIP message was sent; code: status, or 0 for a request.", "flow in one line, then the message"},
    [TRACE_REQUEST] = {"request", "A document was asked for; code: number of the request.", "method and URL in one line, then the form"},
    [TRACE_REPLY] = {"reply", "The reply to a request; code: number of the request.", "status, type and milliseconds in one line, then the document"},
    [TRACE_VERB] = {"verb", "A verb begins.", "the verb and its attributes"},
    [TRACE_DIGIT] = {"digit", "A digit was heard; code: its number in the call.", "the digit"},
    [TRACE_MEDIA] = {"media", "What media counted.", "name=value …"},
    [TRACE_STATE] = {"state", "A state machine went on, or refused an event.", "machine: state, event, next state"},
    [TRACE_ERROR] = {"error", "Something failed; code: error code of the call-control tables.", "the reason, for people"},
    [TRACE_NOTE] = {"note", "Said for people.", "text"},
};

static uint64_t load(const word *w)
{
	return atomic_load_explicit((word *)w, memory_order_acquire);
}

static void store(word *w, uint64_t v)
{
	atomic_store_explicit(w, v, memory_order_release);
}

static void step(enum trace_step s)
{
	if (trace_step_hook)
		trace_step_hook(s);
}

static word *word_at(const struct trace *t, uint64_t pos)
{
	return &t->data[pos % t->size / 8];
}

/* First word of a record: size, kind, version. */
struct first {
	uint32_t size;
	uint16_t kind, version;
};

static struct first first_at(const struct trace *t, uint64_t pos)
{
	uint64_t v = load(word_at(t, pos));
	struct first f;

	memcpy(&f, &v, sizeof(f));
	return f;
}

/* May a record of this size stand between pos and head? */
static bool first_sound(const struct trace *t, struct first f, uint64_t pos, uint64_t head)
{
	if (f.size < 8 || f.size % 8 || f.size > head - pos || f.size > t->size - pos % t->size)
		return false;
	if (f.kind == KIND_PAD)
		return f.size == t->size - pos % t->size;
	return f.kind < TRACE_N && f.size >= sizeof(struct trace_rec);
}

static void copy_in(const struct trace *t, uint64_t pos, const void *p, size_t n)
{
	const char *b = p;
	word *to = n ? word_at(t, pos) : NULL;

	for (; n >= 8; n -= 8, b += 8) {
		uint64_t v;

		memcpy(&v, b, sizeof(v));
		store(to++, v);
	}
	if (n) {
		uint64_t v = 0;

		memcpy(&v, b, n);
		store(to, v);
	}
}

static void copy_out(const struct trace *t, uint64_t pos, void *p, size_t n)
{
	char *b = p;
	const word *from = n ? word_at(t, pos) : NULL;

	for (; n; from++) {
		uint64_t v = load(from);
		size_t piece = MIN(n, sizeof(v));

		memcpy(b, &v, piece);
		b += piece;
		n -= piece;
	}
}

/* From the last record that the writer finished with to the head: all that can have been in the making when it died. */
static bool newest_sound(const struct trace *t, uint64_t pos, uint64_t head, uint64_t *ret_number)
{
	while (pos != head) {
		struct first f = first_at(t, pos);
		struct trace_rec rec;

		if (!first_sound(t, f, pos, head))
			return false;
		if (f.kind != KIND_PAD) {
			copy_out(t, pos, &rec, sizeof(rec));
			if (rec.n > f.size - sizeof(rec))
				return false;
			*ret_number = rec.number;
		}
		pos += f.size;
	}
	return true;
}

/*
 * Can a writer go on here? Looks at the head of the ring, at the oldest record and the newest ones: a walk over all of 64 MiB would cost a restart
 * 8 ms, and each record is looked at anyway when it is read or given up.
 */
static bool ring_sound(const struct trace *t, uint64_t *ret_number)
{
	const struct ring_head *r = t->ring;
	uint64_t head = load(&r->head), tail = load(&r->tail), last = load(&r->last);

	*ret_number = load(&r->next) - 1;
	if (r->magic != TRACE_MAGIC || r->version != TRACE_VERSION || r->rec_size != sizeof(struct trace_rec) || r->size != t->size)
		return false;
	if (tail > head || head - tail > t->size || last > head || tail % 8 || head % 8 || last % 8)
		return false;
	if (tail == head)
		return true;
	return first_sound(t, first_at(t, tail), tail, head) && newest_sound(t, MAX(last, tail), head, ret_number);
}

static void begin_anew(struct trace *t)
{
	/* the magic goes first and comes last: a ring that is half made is none */
	atomic_store_explicit((word *)&t->ring->magic, 0, memory_order_seq_cst);
	*t->ring = (struct ring_head){.size = t->size, .version = TRACE_VERSION, .rec_size = sizeof(struct trace_rec)};
	store(&t->ring->next, 1);
	store((word *)&t->ring->magic, TRACE_MAGIC);
}

struct trace *trace_open(void *mem, size_t size, bool writer)
{
	struct trace *t = calloc(1, sizeof(*t));
	uint64_t number;

	ASSERT((uintptr_t)mem % 64 == 0 && size >= 4096);
	if (!t)
		return NULL;
	t->ring = mem;
	t->data = (word *)((char *)mem + sizeof(struct ring_head));
	t->size = (size - sizeof(struct ring_head)) & ~(uint64_t)7;
	t->writer = writer;
	if (!writer)
		return t;
	if (ring_sound(t, &number))
		store(&t->ring->next, number + 1);
	else
		begin_anew(t);
	return t;
}

void trace_close(struct trace *t)
{
	free(t);
}

/* Lets the oldest records go until `need` bytes fit. */
static void make_room(struct trace *t, uint64_t need)
{
	uint64_t head = load(&t->ring->head), tail = load(&t->ring->tail);

	while (head + need - tail > t->size) {
		struct first f = first_at(t, tail);

		/* something wrote over the ring: all of it goes */
		tail = first_sound(t, f, tail, head) ? tail + f.size : head;
	}
	store(&t->ring->tail, tail);
	step(TRACE_STEP_TAIL);
}

void trace_put(struct trace *t, enum trace_kind kind, const uint8_t sid[16], uint32_t code, struct str payload)
{
	size_t n, half;
	uint64_t pos, to_end, pad;
	struct trace_rec rec = {.kind = (uint16_t)kind, .version = TRACE_VERSION, .code = code};

	if (!t)
		return;
	ASSERT(t->writer && kind < TRACE_N);
	n = MIN(payload.n, MIN((size_t)TRACE_PAYLOAD, t->size / 4));
	rec.n = (uint32_t)n;
	rec.size = (uint32_t)((sizeof(rec) + n + 7) & ~(size_t)7);
	rec.number = load(&t->ring->next);
	rec.utc_us = clock_utc_us();
	if (sid)
		memcpy(rec.sid, sid, sizeof(rec.sid));

	pos = load(&t->ring->head);
	to_end = t->size - pos % t->size;
	pad = to_end < rec.size ? to_end : 0;
	make_room(t, pad + rec.size);
	if (pad) {
		copy_in(t, pos, &(struct first){.size = (uint32_t)pad, .kind = KIND_PAD}, sizeof(struct first));
		pos += pad;
	}
	half = n / 16 * 8;
	copy_in(t, pos, &rec, sizeof(rec));
	copy_in(t, pos + sizeof(rec), payload.p, half);
	step(TRACE_STEP_HALF);
	if (n)
		copy_in(t, pos + sizeof(rec) + half, payload.p + half, n - half);
	step(TRACE_STEP_WRITTEN);
	store(&t->ring->head, pos + rec.size);
	step(TRACE_STEP_HEAD);
	store(&t->ring->last, pos);
	store(&t->ring->next, rec.number + 1);
}

static int overrun(uint64_t *cursor, uint64_t to)
{
	*cursor = to;
	return -EAGAIN;
}

int trace_read(const struct trace *t, uint64_t *cursor, struct trace_rec *ret, char *buf, size_t cap)
{
	uint64_t tail, head, pos;
	struct first f;

	if (load((word *)&t->ring->magic) != TRACE_MAGIC || t->ring->size != t->size)
		return 0;
	tail = load(&t->ring->tail);
	head = load(&t->ring->head);
	pos = *cursor ? *cursor : tail;
	if (pos < tail || pos > head)
		return overrun(cursor, tail);
	do {
		if (pos == head)
			return 0;
		f = first_at(t, pos);
		tail = load(&t->ring->tail);
		if (tail > pos)
			return overrun(cursor, tail);
		if (!first_sound(t, f, pos, head))
			return overrun(cursor, head); /* something wrote over the ring */
		pos += f.kind == KIND_PAD ? f.size : 0;
	} while (f.kind == KIND_PAD);
	step(TRACE_STEP_READ);
	copy_out(t, pos, ret, sizeof(*ret));
	ret->n = (uint32_t)MIN(ret->n, f.size - sizeof(*ret));
	ret->n = (uint32_t)MIN(ret->n, cap);
	copy_out(t, pos + sizeof(*ret), buf, ret->n);
	tail = load(&t->ring->tail);
	if (tail > pos)
		return overrun(cursor, tail);
	*cursor = pos + f.size;
	return 1;
}
