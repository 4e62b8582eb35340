/* SPDX-License-Identifier: Apache-2.0
 *
 * poison: which call or datagram did a worker die of? Each thread of the worker writes what it handles to its line in a shared page; after a death the keeper notes
 * the lines, and the next worker asks before it handles the like. Two crashes on the same call and step, or on the same datagram, are a verdict; SIGKILL counts half,
 * because it comes from outside and says little about the event. The verdict on a datagram holds 64 s.
 *
 * Writers: lines by the threads of the worker, cases by the keeper while no worker lives.
 */
#include <sys/mman.h>

#include "keeper/keeper_int.h"

struct poison_page *poison_map(int fd)
{
	void *p = mmap(NULL, sizeof(struct poison_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static bool same_cause(const struct poison_case *c, uint32_t kind, uint64_t what, uint32_t step)
{
	return c->points > 0 && c->kind == kind && c->what == what && (kind == POISON_DATAGRAM || c->step == step);
}

static struct poison_case *find_case(struct poison_page *p, const struct poison_line *l)
{
	for (uint32_t i = 0; i < POISON_CASES; i++)
		if (same_cause(&p->cases[i], l->kind, l->what, l->step))
			return &p->cases[i];
	struct poison_case *c = &p->cases[p->n_cases++ % POISON_CASES];
	*c = (struct poison_case){.what = l->what, .handle = l->handle, .step = l->step, .kind = l->kind};
	return c;
}

bool poison_note(struct poison_page *p, uint32_t points, int64_t now_ms)
{
	bool explained = false;
	for (int i = 0; i < POISON_LINES; i++) {
		struct poison_line l = p->lines[i].line;
		memset(&p->lines[i].line, 0, sizeof(l));
		if (l.kind != POISON_CALL && l.kind != POISON_DATAGRAM)
			continue;
		struct poison_case *c = find_case(p, &l);
		c->points += points;
		c->at_ms = now_ms;
		explained = true;
	}
	return explained;
}

bool poison_is(const struct poison_page *p, uint32_t kind, uint64_t what, uint32_t step, int64_t (*now_ms)(void))
{
	if (p->n_cases == 0)
		return false;
	for (uint32_t i = 0; i < POISON_CASES; i++) {
		const struct poison_case *c = &p->cases[i];
		if (c->points >= POISON_VERDICT && same_cause(c, kind, what, step))
			return kind == POISON_CALL || now_ms() - c->at_ms < POISON_MS;
	}
	return false;
}
