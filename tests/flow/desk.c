/* SPDX-License-Identifier: Apache-2.0
 *
 * desk: the scripted ends of callbacks. The outbox does what the store does: a row is in the box, then in the table, then acknowledged, then told when it is due, then marked, each in a turn
 * of its own, so that a crash can stand between any two. The server at http://cb/ writes down what comes and answers as it is told. What is in the table and what the server got outlives
 * a crash; the rest is a worker's memory.
 */
#include "desk.h"

#include <stdio.h>
#include <stdlib.h>

#include "verb/verb.h"
#include "web/web.h"

#define ROWS_MAX 512
#define GOTS_MAX 1024
#define AT_ONCE  64

struct row {
	struct desk_row r;
	handle owner;
	uint8_t sid[16], account[16];
	int64_t made_ms, next_ms;
	bool in_table, acked, flying;
};
struct post { /* a request with the server */
	uint8_t token[16];
	int64_t due_ms;
	uint32_t number;
	int status;
	bool held; /* the server has not got it yet */
};
struct desk {
	struct row rows[ROWS_MAX];
	int n_rows;
	struct outbox_mark marks[ROWS_MAX];
	int n_marks;
	struct desk_got gots[GOTS_MAX];
	int n_gots;
	struct post posts[AT_ONCE];
	int n_posts;
	enum desk_hold hold;
	int status, ms, full;
};

struct desk *desk_new(void)
{
	struct desk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->status = 204;
	d->ms = 10;
	return d;
}

void desk_free(struct desk *d)
{
	free(d);
}
void desk_hold(struct desk *d, enum desk_hold h)
{
	d->hold = h;
}
void desk_full(struct desk *d, int n)
{
	d->full = n;
}
int desk_gots(const struct desk *d)
{
	return d->n_gots;
}
const struct desk_got *desk_got(const struct desk *d, int i)
{
	return &d->gots[i];
}

void desk_says(struct desk *d, int status, int ms)
{
	d->status = status;
	d->ms = ms;
}

int desk_rows(const struct desk *d)
{
	int n = 0;

	for (int i = 0; i < d->n_rows; i++)
		n += d->rows[i].in_table;
	return n;
}
const struct desk_row *desk_row(const struct desk *d, int i)
{
	return &d->rows[i].r;
}

static struct row *find(struct desk *d, const uint8_t token[16])
{
	for (int i = 0; i < d->n_rows; i++)
		if (memcmp(d->rows[i].r.token, token, 16) == 0)
			return &d->rows[i];
	return NULL;
}

static void text(char *to, size_t cap, struct str s)
{
	assert_int_equal(str_zcpy(s, to, cap), 0);
}

int desk_put(struct desk *d, const struct outbox_post *p)
{
	struct row *r = find(d, p->token);

	if (d->full > 0) {
		d->full--;
		return -EAGAIN;
	}
	if (r) { /* put again: nothing changes, but it is acknowledged again */
		r->acked = false;
		r->owner = p->owner;
		return 0;
	}
	assert_true(d->n_rows < ROWS_MAX);
	r = &d->rows[d->n_rows++];
	*r = (struct row){.owner = p->owner, .made_ms = p->made_ms};
	r->r.get = p->get;
	memcpy(r->r.token, p->token, 16);
	memcpy(r->sid, p->sid, 16);
	memcpy(r->account, p->account, 16);
	text(r->r.url, sizeof(r->r.url), p->url);
	text(r->r.form, sizeof(r->r.form), p->form);
	return 0;
}

int desk_mark(struct desk *d, const struct outbox_mark *m)
{
	if (d->full > 0) {
		d->full--;
		return -EAGAIN;
	}
	assert_true(d->n_marks < ROWS_MAX);
	d->marks[d->n_marks++] = *m;
	return 0;
}

static void got(struct desk *d, const uint8_t token[16], bool get, struct str url, struct str form, int64_t now_ms)
{
	assert_true(d->n_gots < GOTS_MAX);
	struct desk_got *g = &d->gots[d->n_gots++];

	*g = (struct desk_got){.get = get, .at_ms = now_ms};
	memcpy(g->token, token, 16);
	text(g->url, sizeof(g->url), url);
	text(g->form, sizeof(g->form), form);
}

bool desk_fetch(struct desk *d, const struct fetch *f, int64_t now_ms)
{
	if (!str_starts(f->url, STR("http://cb/")))
		return false;
	assert_true(f->trusted && f->sign);
	assert_true(d->n_posts < AT_ONCE);
	struct post *p = &d->posts[d->n_posts++];

	*p = (struct post){.due_ms = now_ms + d->ms, .number = f->number, .status = d->status};
	memcpy(p->token, f->token, 16);
	p->held = d->hold == DESK_HOLDS_SENT;
	if (!p->held && d->status)
		got(d, f->token, f->method == FETCH_GET, f->url, f->form, now_ms);
	return true;
}

/* ---- the turn, from the end to the beginning: what one stage gives is the next one's in the turn after ---- */

static void marks_turn(struct desk *d, int64_t now_ms)
{
	for (int i = 0; i < d->n_marks && d->hold != DESK_HOLDS_MARKS; i++) {
		const struct outbox_mark *m = &d->marks[i];
		struct row *r = find(d, m->token);

		assert_non_null(r);
		assert_int_equal(r->r.state, OUTBOX_PENDING);
		r->flying = false;
		r->r.attempt = m->attempt;
		r->r.state = (int)m->state;
		r->r.times += m->state != OUTBOX_PENDING;
		r->next_ms = now_ms + m->after_ms;
	}
	if (d->hold != DESK_HOLDS_MARKS)
		d->n_marks = 0;
}

static void posts_turn(struct desk *d, struct verbs *v, int64_t now_ms)
{
	for (int i = 0; i < d->n_posts && d->hold != DESK_HOLDS_ANSWERS && d->hold != DESK_HOLDS_SENT; i++) {
		struct post p = d->posts[i];
		struct fetched f = {.number = p.number, .status = (uint16_t)p.status, .attempts = 1, .total_ms = 10};

		if (p.due_ms > now_ms)
			continue;
		const struct row *r = find(d, p.token);
		if (p.held)
			got(d, p.token, r->r.get, str_z(r->r.url), str_z(r->r.form), now_ms);
		memcpy(f.token, p.token, 16);
		f.fault = p.status == 0 ? 11202 : p.status / 100 == 2 ? 0 : 11200;
		snprintf(f.why, sizeof(f.why), "%s", p.status == 0 ? "refused" : f.fault ? "not 2xx" : "");
		d->posts[i--] = d->posts[--d->n_posts];
		verbs_fetched(v, &f, -1, now_ms);
	}
}

static void due_turn(struct desk *d, struct verbs *v, int64_t now_ms)
{
	int n = 0;

	for (int i = 0; i < d->n_rows; i++)
		n += d->rows[i].flying;
	for (int i = 0; i < d->n_rows && n < AT_ONCE && d->hold != DESK_HOLDS_DUE; i++) {
		struct row *r = &d->rows[i];
		struct outbox_post p = {
		    .made_ms = r->made_ms, .get = r->r.get, .attempt = (uint16_t)r->r.attempt, .url = str_z(r->r.url), .form = str_z(r->r.form)};

		if (!r->in_table || r->flying || r->r.state != OUTBOX_PENDING || r->next_ms > now_ms)
			continue;
		memcpy(p.token, r->r.token, 16);
		memcpy(p.sid, r->sid, 16);
		memcpy(p.account, r->account, 16);
		r->flying = true;
		n++;
		verbs_outbox_due(v, &p, now_ms);
	}
}

void desk_turn(struct desk *d, struct verbs *v, int64_t now_ms)
{
	int n = d->n_rows;

	marks_turn(d, now_ms);
	posts_turn(d, v, now_ms);
	due_turn(d, v, now_ms);
	for (int i = 0; i < n && d->hold != DESK_HOLDS_ROWS; i++) {
		struct row *r = &d->rows[i];

		if (r->in_table && !r->acked && d->hold != DESK_HOLDS_ACKS) {
			r->acked = true;
			verbs_outbox_kept(v, r->owner, r->r.token, now_ms);
		}
		r->in_table = true;
	}
}

void desk_crash(struct desk *d)
{
	for (int i = 0; i < d->n_rows; i++) {
		d->rows[i].flying = false;
		d->rows[i].acked = true; /* to whom? */
		if (!d->rows[i].in_table)
			d->rows[i--] = d->rows[--d->n_rows];
	}
	d->n_marks = d->n_posts = 0;
}

const char *form_of(const char *form, const char *name)
{
	static char buf[1024];
	struct str rest = str_z(form), value;
	struct out o = OUT(buf);
	unsigned c;

	while (rest.n) {
		struct str one = str_cut(rest, '&', &rest);

		if (!str_eq(str_cut(one, '=', &value), str_z(name)))
			continue;
		for (size_t i = 0; i < value.n; i++) {
			if (value.p[i] == '%' && i + 2 < value.n && sscanf(value.p + i + 1, "%2x", &c) == 1) {
				out_c(&o, (char)c);
				i += 2;
			} else {
				out_c(&o, value.p[i] == '+' ? ' ' : value.p[i]);
			}
		}
		return out_z(&o);
	}
	return NULL;
}
