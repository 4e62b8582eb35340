/* SPDX-License-Identifier: Apache-2.0
 *
 * interp: the driver. It takes one verb after the other from the document, answers the call before the first that needs it, and goes on until a verb waits for
 * something. What a verb says by enum step is done here in a loop: a verb never calls the next one. Sig thread.
 *
 * The path in the record is the truth: it is committed before a verb begins, so a worker that takes over finds the same verb (run_resume).
 */
#include "verb/inside.h"

static const struct node *node_now(struct run *r)
{
	const struct app_record *app = call_app(r->c);

	return r->doc && r->doc->root ? document_at(r->doc, app->path, app->path_n) : NULL;
}

/* An audio body stands for a document of one verb. */
static const struct verb_impl *impl_now(struct run *r, const struct node *n)
{
	if (r->doc && !r->doc->root)
		return call_app(r->c)->path[0] == 0 ? &verb_body : NULL;
	return n ? verb_impl_find(n->name) : NULL;
}

const struct node *run_outer(const struct run *r)
{
	return r->doc && r->doc->root ? document_at(r->doc, call_app(r->c)->path, 1) : NULL;
}

bool run_in_gather(const struct run *r)
{
	const struct node *n = run_outer(r);

	return n && str_eq(n->name, STR("Gather"));
}

int run_verbs(const struct run *r)
{
	int n = 0;

	if (!r->doc->root)
		return 1;
	for (const struct node *k = r->doc->root->child; k; k = k->next)
		n += verb_find(k->name) != NULL;
	return n;
}

bool run_is_first(const struct run *r)
{
	uint16_t at = call_app(r->c)->path[0];

	for (const struct node *k = r->doc->root ? r->doc->root->child : NULL; k && k->index < at; k = k->next)
		if (verb_find(k->name))
			return false;
	return true;
}

void run_let_go(struct run *r)
{
	sound_let(&r->cur);
	sound_let(&r->next);
	remote_let(r);
	free(r->text);
	r->text = NULL;
	r->text_n = 0;
	r->said = 0;
	r->suffix = 0;
	r->pos = r->loop = 0;
	r->awaits = false;
	if (r->phase != AT_REQUEST)
		call_timer(r->c, 0);
}

static void verb_reset(struct app_record *app)
{
	app->verb_state = VS_NEW;
	app->loop = 0;
	app->piece = 0;
	app->deadline_ms = 0;
}

static void advance(struct run *r)
{
	struct app_record *app = call_app(r->c);

	run_let_go(r);
	ASSERT(app->path_n > 0);
	app->path[app->path_n - 1]++;
	verb_reset(app);
	call_commit(r->c);
	if (r->holds) /* an audio body was heard, and the record says so: only now may it be forgotten */
		runner_taken(r->v, app->req_token, false);
	r->holds = false;
}

enum step run_end(struct run *r, enum call_party by, const char *reason)
{
	r->phase = AT_END;
	run_let_go(r);
	call_hangup(r->c, by, reason);
	return STEP_OVER;
}

enum step run_answer_first(struct run *r)
{
	r->phase = AT_ANSWER;
	if (call_answer(r->c) < 0 && r->phase == AT_ANSWER)
		return run_end(r, PARTY_SYSTEM, "cannot be answered");
	return STEP_WAIT;
}

static enum step document_end(struct run *r)
{
	if (!call_is_up(r->c))
		return run_answer_first(r);
	return run_end(r, r->failing ? PARTY_SYSTEM : PARTY_SERVICE, r->failing ? "application error" : NULL);
}

static enum step verb_begin(struct run *r, const struct verb_info *info, const struct verb_impl *impl, const struct node *n)
{
	enum step s = STEP_WAIT;

	if ((!info || info->answers) && !call_is_up(r->c)) {
		if (impl->prepare)
			s = impl->prepare(r, n);
		return s == STEP_WAIT ? run_answer_first(r) : s;
	}
	r->phase = AT_VERB;
	return impl->begin(r, n);
}

static enum step begin(struct run *r)
{
	const struct node *n = node_now(r);
	const struct verb_impl *impl = impl_now(r, n);
	const struct verb_info *info = n ? verb_find(n->name) : NULL;

	if (!n && !impl)
		return call_app(r->c)->path_n > 1 ? gather_listen(r) : document_end(r);
	if (n && (!info || (call_app(r->c)->path_n > 1 && !gather_may_hold(n->name))))
		return STEP_NEXT; /* warned of when the document was read */
	int place = n ? call_app(r->c)->path_n << 16 | n->index : -1;

	if (n && r->told_at != place) {
		run_trace_verb(r, n);
		r->told_at = place;
	}
	if (!impl)
		return run_error(r, 13750, "line %d: <%s>", n->line, info->name);
	return verb_begin(r, info, impl, n);
}

void run_go(struct run *r, enum step s)
{
	if (r->busy || r->phase == AT_END)
		return;
	r->busy = true;
	for (;;) {
		if (s == STEP_NEXT)
			advance(r);
		if (s == STEP_NEXT || s == STEP_AGAIN) {
			s = begin(r);
		} else if (s == STEP_WAIT && r->late_answer && r->phase == AT_ANSWER) {
			r->late_answer = false;
			s = STEP_AGAIN;
		} else {
			break;
		}
		if (r->phase == AT_END)
			break;
	}
	r->busy = false;
}

enum step run_await(struct run *r)
{
	r->awaits = true;
	call_timer(r->c, r->v->now_ms + SOUND_WALL_MS + 5000);
	return STEP_WAIT;
}

enum step run_event(struct run *r, const struct call_event *e)
{
	const struct node *n = node_now(r);
	const struct verb_impl *impl = impl_now(r, n);

	if (r->phase != AT_VERB || !impl || !impl->event)
		return STEP_WAIT;
	return impl->event(r, n, e);
}

enum step run_sound(struct run *r)
{
	const struct node *n = node_now(r);
	const struct verb_impl *impl = impl_now(r, n);

	if (r->phase == AT_REQUEST)
		return filler_sound(r);
	if (r->phase != AT_VERB || !impl || !impl->sound)
		return STEP_WAIT;
	return impl->sound(r, n);
}

uint32_t run_document(struct run *r, struct str type, struct str body, int status, struct str base, struct fault *ret_f)
{
	struct app_record *app = call_app(r->c);
	struct document *d;
	uint32_t code = document_read(type, body, status, &d, ret_f);
	bool audio = !code && !d->root;

	if (code)
		return code;
	if (call_keep(r->c, &app->doc, audio || status == 204 ? STR_NONE : body) < 0 ||
	    call_keep(r->c, &app->doc_type, status == 204 ? STR("none") : type) < 0 || call_keep(r->c, &app->base_url, base) < 0) {
		document_free(d);
		*ret_f = (struct fault){.code = 90003, .text = "the memory of the calls is full"};
		return 90003;
	}
	/* nothing fails below */
	filler_stop(r);
	sound_let(&r->cur);
	r->awaits = false;
	document_free(r->doc);
	r->doc = d;
	r->told_at = -1;
	app->path_n = 1;
	memset(app->path, 0, sizeof(app->path));
	app->req_kind = REQ_NONE;
	app->req_deadline_ms = 0;
	verb_reset(app);
	r->phase = AT_VERB;
	call_timer(r->c, 0);
	call_commit(r->c);
	return 0;
}

static uint32_t document_again(struct run *r, struct fault *f)
{
	const struct app_record *app = call_app(r->c);
	struct str type = call_text(r->c, app->doc_type), body = call_text(r->c, app->doc);

	if (str_eq(type, STR("none")))
		return document_read(STR("text/xml"), STR_NONE, 204, &r->doc, f);
	if (str_istarts(type, STR("audio/")))
		body = STR("-"); /* the sound itself is with the runner */
	return document_read(type, body, 200, &r->doc, f);
}

enum step run_resume(struct run *r)
{
	const struct app_record *app = call_app(r->c);
	struct fault f;
	uint32_t code = document_again(r, &f);

	r->ran = true;
	r->phase = AT_VERB;
	r->failing = str_eq(call_text(r->c, app->base_url), STR("error:"));
	if (code)
		return run_error(r, code, "%s", f.text);
	r->holds = !r->doc->root && !url_is_web(call_text(r->c, app->base_url));
	if (gather_open(r)) { /* what was typed while nobody was there */
		uint8_t depth = app->path_n;
		enum step s = gather_digits(r, call_digits(r->c));

		if (s != STEP_WAIT || r->phase != AT_VERB || app->path_n < depth)
			return s;
	} else {
		digits_drop(r, call_digits(r->c));
	}
	const struct node *n = node_now(r);
	const struct verb_impl *impl = impl_now(r, n);

	if (!impl || !impl->resume || app->verb_state == VS_NEW)
		return STEP_AGAIN;
	return impl->resume(r, n);
}
