/* SPDX-License-Identifier: Apache-2.0
 *
 * trouble: what is wrong, told to those who can mend it (trace, log) and to the caller (the spoken error). Also the trace line of a verb and the warnings of a
 * document just read. An ERROR ends what is run: the fallback is asked; without one the caller hears the sentence and the call ends. Sig thread.
 */
#include "verb/inside.h"

static void sentence(struct out *o, uint32_t code, int line, const char *fmt, va_list ap) _printf_(4, 0);
static void sentence(struct out *o, uint32_t code, int line, const char *fmt, va_list ap)
{
	const struct fault_info *f = fault_find(code);

	out_f(o, "%s %u", f && f->level == FAULT_WARNING ? "warning" : "error", code);
	if (line > 0)
		out_f(o, ", line %d", line);
	OUT_STR(o, ": ");
	out_vf(o, fmt, ap);
	if (f)
		out_f(o, " (%s; %s)", f->name, f->mend);
}

static void trace_fault(struct run *r, uint32_t code, const struct out *o)
{
	call_app(r->c)->error = code;
	call_note(r->c, TRACE_ERROR, code, out_view(o));
}

void run_warn(struct run *r, uint32_t code, int line, const char *fmt, ...)
{
	char buf[1024];
	struct out o = OUT(buf);
	va_list ap;

	va_start(ap, fmt);
	sentence(&o, code, line, fmt, ap);
	va_end(ap);
	trace_fault(r, code, &o);
}

static enum step give_up(struct run *r)
{
	r->phase = AT_END;
	call_app(r->c)->req_kind = REQ_NONE;
	run_let_go(r);
	if (call_is_up(r->c))
		call_hangup(r->c, PARTY_SYSTEM, "application error");
	else if (call_reject(r->c, 500) < 0)
		call_hangup(r->c, PARTY_SYSTEM, "application error");
	return STEP_OVER;
}

enum step run_error(struct run *r, uint32_t code, const char *fmt, ...)
{
	char buf[1024];
	struct out o = OUT(buf);
	struct fault f;
	enum step s;
	va_list ap;

	va_start(ap, fmt);
	sentence(&o, code, 0, fmt, ap);
	va_end(ap);
	trace_fault(r, code, &o);
	log_line(LOG_WARN, "%s %s", r->sid, out_z(&o));
	if (r->failing)
		return give_up(r);
	if (web_fallback(r, code, &s))
		return s;
	r->failing = true;
	r->ran = true;
	request_unwatch(r);
	web_waits(r); /* for nothing any more */
	run_let_go(r);
	if (run_document(r, STR("text/plain; charset=utf-8"), sentence_of(SENTENCE_ERROR, run_language(r)), 200, STR("error:"), &f))
		return give_up(r);
	return STEP_AGAIN;
}

bool method_get(struct run *r, const struct node *n, uint32_t code)
{
	struct str v = node_attr(n, STR("method"));

	if (v.p && !str_ieq(v, STR("GET")) && !str_ieq(v, STR("POST")))
		run_warn(r, code, n->line, "method=\"%.*s\"; POST", (int)MIN(v.n, 60u), v.p);
	return str_ieq(v, STR("GET"));
}

static struct str spoken_in(const struct node *first)
{
	for (const struct node *n = first; n; n = n->next) {
		struct str l = str_eq(n->name, STR("Say")) ? node_attr(n, STR("language")) : STR_NONE;

		if (l.n)
			return l;
	}
	return STR_NONE;
}

struct str run_language(struct run *r)
{
	const struct node *first = r->doc && r->doc->root ? r->doc->root->child : NULL;
	struct str l = spoken_in(first);

	for (const struct node *n = first; n && !l.n; n = n->next)
		if (str_eq(n->name, STR("Gather")))
			l = spoken_in(n->child);
	return l.n && l.n < 16 && language_ok(l) ? l : str_z(r->v->params->language);
}

void run_trace_verb(struct run *r, const struct node *n)
{
	char buf[1024];
	struct out o = OUT(buf);

	out_c(&o, '<');
	out_str(&o, n->name);
	for (int i = 0; i < n->n_attrs; i++) {
		out_c(&o, ' ');
		out_str(&o, n->attrs[i].name);
		OUT_STR(&o, "=\"");
		out_safe(&o, n->attrs[i].value);
		out_c(&o, '"');
	}
	out_c(&o, '>');
	out_safe(&o, n->text);
	call_note(r->c, TRACE_VERB, (uint32_t)n->line, out_view(&o));
}

#define LINT_MAX 256 /* warnings of one document that are traced */

void run_lint(struct run *r)
{
	const struct document *d = r->doc;
	struct fault *v = calloc(LINT_MAX, sizeof(*v));
	int n = v ? verb_check(d->root, STR_NONE, CHECK_WORDS, v, LINT_MAX) : 0;

	for (int i = 0; i < d->n_faults; i++)
		run_warn(r, d->faults[i].code, d->faults[i].line, "%s", d->faults[i].text);
	for (int i = 0; i < n; i++)
		run_warn(r, v[i].code, v[i].line, "%s", v[i].text);
	free(v);
}
