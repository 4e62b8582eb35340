/* SPDX-License-Identifier: Apache-2.0
 *
 * ask: what is asked of the runner and of the web and what they tell, in the words of the rooms above (verb/ stands on neither). Pure, sig thread. A fault of a run
 * becomes a code of the fault table here, with a sentence that says what happened to whom.
 */
#include "keeper/keeper.h"
#include "service/service.h"
#include "web/web.h"

struct run_request *ask_build(const struct ask *q, struct arena *a)
{
	static const enum run_kind kinds[] = {RUN_CGI, RUN_READ, RUN_SPEAK, RUN_DECODE, RUN_ASK, RUN_TAKEN, RUN_KILL};
	struct run_request *r = arena_alloc(a, sizeof(*r));

	if (!r)
		return NULL;
	ASSERT((size_t)q->kind < N_ELEMENTS(kinds));
	r->kind = kinds[q->kind];
	memcpy(r->token, q->token, sizeof(r->token));
	for (; r->n_args < 2 && q->arg[r->n_args].p; r->n_args++)
		r->args[r->n_args] = q->arg[r->n_args];
	r->in = q->in;
	r->wall_ms = q->wall_ms;
	r->fd = q->fd;
	return r;
}

static const struct {
	enum run_fault fault;
	uint32_t code;
	const char *what; /* %d: exit status or signal */
} faults[] = {
    {RUN_SIGNAL, 11200, "it was ended by a signal"},
    {RUN_WALL, 11203, "it took too long and was ended"},
    {RUN_CPU, 11203, "it used up its processor time and was ended"},
    {RUN_OUTPUT, 11200, "it printed more than is read"},
    {RUN_NOT_FOUND, 11200, "the file is not there"},
    {RUN_NOT_EXECUTABLE, 11200, "the file is not executable (chmod +x)"},
    {RUN_BAD_INTERPRETER, 11200, "its first line names a program that is not there (a CR LF after #! does that too)"},
    {RUN_FULL, 11200, "too many scripts run at once"},
    {RUN_BAD_SOUND, 90002, "it is no sound that can be read"},
    {RUN_SYSTEM, 11200, "the system refused"},
};

static void fault_told(const struct run_answer *a, struct told *ret)
{
	struct out o = OUT(ret->why);
	char line[sizeof(a->last_line) + 1] = {0};

	memcpy(line, a->last_line, sizeof(a->last_line));
	ret->fault = 11200;
	ret->missing = a->fault == RUN_NOT_FOUND;
	if (a->fault == RUN_EXIT) {
		out_f(&o, "it ended with exit status %d", (int)a->code);
	} else {
		for (size_t i = 0; i < N_ELEMENTS(faults); i++) {
			if (faults[i].fault != a->fault)
				continue;
			ret->fault = faults[i].code;
			out_str(&o, str_z(faults[i].what));
			if (a->fault == RUN_SIGNAL)
				out_f(&o, " (%d)", (int)a->code);
		}
	}
	if (line[0]) {
		if (o.n)
			OUT_STR(&o, ": ");
		out_safe(&o, str_z(line));
	}
	out_z(&o);
}

void told_read(const struct run_answer *a, struct told *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->token, a->token, sizeof(ret->token));
	ret->wall_ms = a->wall_ms;
	ret->n = a->n;
	switch (a->state) {
	case RUN_RUNNING:
		ret->state = TOLD_RUNNING;
		return;
	case RUN_UNKNOWN:
		ret->state = TOLD_UNKNOWN;
		ret->since_ms = a->since_ms;
		return;
	case RUN_FOLDER:
		ret->state = TOLD_FOLDER;
		return;
	default:
		ret->state = TOLD_DONE;
		if (a->fault != RUN_OK || a->state == RUN_REFUSED)
			fault_told(a, ret);
	}
}

/* ---- the web ---- */

struct fetch *ask_build_web(const struct ask *q, struct arena *a)
{
	struct fetch *f = arena_alloc(a, sizeof(*f));

	if (!f)
		return NULL;
	memcpy(f->token, q->token, sizeof(f->token));
	f->number = q->number;
	f->method = q->get ? FETCH_GET : FETCH_POST;
	f->trusted = q->trusted;
	f->sign = q->sign;
	f->cached = q->cached;
	f->max_body = (uint32_t)limit_of(LIMIT_AUDIO_BODY);
	f->url = q->url;
	f->form = q->form;
	f->cookies = q->cookies;
	f->accept = STR("*/*");
	return f;
}

void told_read_web(const struct fetched *f, struct told *ret)
{
	struct out why = OUT(ret->why), type = OUT(ret->type), url = OUT(ret->url);

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->token, f->token, sizeof(ret->token));
	ret->state = TOLD_DONE;
	ret->fault = f->fault;
	ret->missing = f->status == 404 || f->status == 410;
	ret->wall_ms = f->total_ms;
	ret->n = f->n;
	ret->status = f->status;
	ret->from_cache = f->from_cache;
	ret->attempts = f->attempts;
	ret->cookies_n = f->cookies_n;
	out_safe(&why, str_n(f->why, strnlen(f->why, sizeof(f->why))));
	out_z(&why);
	out_str(&type, str_n(f->type, strnlen(f->type, sizeof(f->type) - 1)));
	out_z(&type);
	out_str(&url, str_n(f->url, strnlen(f->url, sizeof(f->url) - 1)));
	out_z(&url);
}
