/* SPDX-License-Identifier: Apache-2.0
 *
 * records: the trace records of one call, copied out of the ring while its writer goes on writing. One pass over the ring; memory is bounded. Also the growing text that the views are
 * written into. Web thread, or the program that prints.
 */
#include "api/inside.h"

#include <stdarg.h>
#include <time.h>

#define RECORDS_MAX   100000 /* of one call */
#define RECORDS_BYTES (48u * 1024 * 1024)
#define PAYLOAD_MAX   (1024u * 1024) /* longer ones are cut in the views */

static bool is_zero(const uint8_t sid[16])
{
	static const uint8_t zero[16];
	return memcmp(sid, zero, sizeof(zero)) == 0;
}

int api_last_sid(const struct trace *t, uint8_t ret[16])
{
	uint64_t cursor = 0;
	struct trace_rec r;
	char none[1];
	int got, err = -ENOENT;
	while ((got = trace_read(t, &cursor, &r, none, 0)) != 0) {
		if (got < 0 || is_zero(r.sid))
			continue;
		memcpy(ret, r.sid, sizeof(r.sid));
		err = 0;
	}
	return err;
}

static void split(struct record *r)
{
	r->line = str_cut(r->payload, '\n', &r->body);
	if (r->line.n && r->line.p[r->line.n - 1] == '\r')
		r->line.n--;
}

static int keep(struct records *rs, const struct trace_rec *head, const char *payload)
{
	if (rs->n == RECORDS_MAX)
		return -ENOMEM;
	if (rs->n == rs->cap) {
		size_t cap = rs->cap ? rs->cap * 2 : 64;
		struct record *all = realloc(rs->all, cap * sizeof(*all));
		if (!all)
			return -ENOMEM;
		rs->all = all;
		rs->cap = cap;
	}
	struct record *r = &rs->all[rs->n];
	*r = (struct record){.head = *head, .payload = arena_str(rs->arena, str_n(payload, MIN(head->n, PAYLOAD_MAX)))};
	if (!r->payload.p)
		return -ENOMEM;
	split(r);
	rs->n++;
	return 0;
}

static int read_all(const struct trace *t, struct records *rs, char *buf)
{
	uint64_t cursor = 0;
	struct trace_rec head;
	int got;
	while ((got = trace_read(t, &cursor, &head, buf, PAYLOAD_MAX)) != 0) {
		if (got < 0)
			rs->overrun = true;
		else if (memcmp(head.sid, rs->sid, sizeof(head.sid)) == 0 && keep(rs, &head, buf))
			break; /* what is there is better than nothing */
	}
	return rs->n ? 0 : -ENOENT;
}

int records_get(const struct trace *t, const uint8_t sid[16], struct records *ret)
{
	*ret = (struct records){0};
	if (!t)
		return -ENOENT;
	memcpy(ret->sid, sid, sizeof(ret->sid));
	if (is_zero(sid) && api_last_sid(t, ret->sid))
		return -ENOENT;
	char *buf = malloc(PAYLOAD_MAX);
	ret->arena = arena_new(RECORDS_BYTES);
	int err = buf && ret->arena ? read_all(t, ret, buf) : -ENOMEM;
	free(buf);
	return err;
}

void records_done(struct records *r)
{
	arena_free(r->arena);
	free(r->all);
	*r = (struct records){0};
}

const char *record_kind(const struct record *r)
{
	return r->head.kind < TRACE_N ? trace_table[r->head.kind].name : "unknown";
}

void out_utc(struct out *o, int64_t utc_us)
{
	time_t s = (time_t)(utc_us / 1000000);
	struct tm tm;
	gmtime_r(&s, &tm);
	out_f(o, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	      (int)(utc_us % 1000000));
}

void text_add(struct text_buf *b, struct str s)
{
	if (b->failed)
		return;
	if (s.n >= b->cap - b->n) {
		size_t cap = MAX(b->cap * 2, b->n + s.n + 4096);
		char *p = realloc(b->p, cap);
		if (!p) {
			free(b->p);
			*b = (struct text_buf){.failed = true};
			return;
		}
		b->p = p;
		b->cap = cap;
	}
	if (s.n)
		memcpy(b->p + b->n, s.p, s.n);
	b->n += s.n;
	b->p[b->n] = '\0';
}

void text_f(struct text_buf *b, const char *fmt, ...)
{
	char line[1024];
	struct out o = OUT(line);
	va_list ap;
	va_start(ap, fmt);
	out_vf(&o, fmt, ap);
	va_end(ap);
	text_add(b, out_view(&o));
}
