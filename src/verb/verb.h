/* SPDX-License-Identifier: Apache-2.0
 *
 * verb: the interpreter: request → document → verbs, one file per instruction. It is the call_user: it finds the service of a new call, asks it, runs what comes back. Sig
 * thread. All it must remember stands in struct app_record (committed before the wire); the rest (the parsed document, sounds) is made again after a restart.
 */
#pragma once
#include "base/base.h"

struct call; struct calls; struct call_user; struct services; struct run_request; struct run_answer; struct media_cmd; struct node; struct fetch; struct fetched;

/* A status callback on its way through the outbox (store/): kept there until it is answered or finally failed. */
struct outbox_post {
	uint8_t token[16], sid[16], account[16]; /* token: the same in every attempt */
	handle owner;                            /* the call; back with verbs_outbox_kept */
	int64_t made_ms;                         /* UTC */
	bool get;
	uint16_t attempt;                        /* made so far */
	struct str url, form;
};
enum outbox_state { OUTBOX_PENDING, OUTBOX_ANSWERED, OUTBOX_FAILED };
struct outbox_mark { uint8_t token[16]; enum outbox_state state; uint16_t attempt, status; uint32_t after_ms; }; /* PENDING: again in after_ms */

/* What the interpreter may do to the outside: flat messages only. */
struct verb_out {
	int (*run)(void *arg, const struct run_request *r);                         /* to the runner; -EAGAIN */
	int (*sound)(void *arg, const struct media_cmd *c, int fd);                 /* MEDIA_SOUND or MEDIA_SOUND_DROP to every media thread; fd is dup'ed by the callee */
	int (*fetch)(void *arg, const struct fetch *f);                             /* to the web; copies; -EAGAIN, -E2BIG. NULL = there is none */
	void (*fetch_drop)(void *arg, const uint8_t token[16]);                     /* nobody waits for it any more */
	int (*outbox_put)(void *arg, const struct outbox_post *p);                  /* copies; -EAGAIN. NULL = no callbacks */
	int (*outbox_mark)(void *arg, const struct outbox_mark *m);                 /* -EAGAIN */
	void *arg;
};
struct verbs;
struct verbs_opts { const struct params *params; struct services *services; const struct verb_out *out; struct trace *trace; struct wheel *wheel; const char *version; };
struct verbs *verbs_new(const struct verbs_opts *o);
void verbs_free(struct verbs *v);
const struct call_user *verbs_call_user(struct verbs *v);
void verbs_set_calls(struct verbs *v, struct calls *cs);
void verbs_run_answer(struct verbs *v, const struct run_answer *a, int fd, int64_t now_ms); /* takes fd over */
void verbs_fetched(struct verbs *v, const struct fetched *f, int fd, int64_t now_ms);     /* takes fd over: body, and the jar behind it */
void verbs_runner_gone(struct verbs *v, int64_t now_ms);   /* a new runner: scripts in flight end in 11200, sounds are ordered again */
void verbs_outbox_kept(struct verbs *v, handle owner, const uint8_t token[16], int64_t now_ms); /* the outbox has it */
void verbs_outbox_due(struct verbs *v, const struct outbox_post *p, int64_t now_ms);           /* its time has come; a mark will follow */
void verbs_turn(struct verbs *v, int64_t now_ms);

/* ---- the verb table: parser, lint, help and reference are printed from it. ---- */
struct verb_attr { const char *name, *dflt, *range, *doc; };
struct verb_info {
	const char *name, *doc;
	const struct verb_attr *attrs; int n_attrs;
	bool served;      /* false: known to the field, 13750 when reached */
	bool takes_time;  /* ends a chain of redirects */
	bool answers;     /* answers the call when it comes first */
};
extern const struct verb_info verb_table[];
extern const size_t verb_n;
/* A document looked over before anything of it is done (check.c): in the order of its verbs; what the reader of the document warned of is not among it. Returns how many, at most cap. */
struct fault;
enum check { CHECK_WORDS = 1 /* unknown or misplaced elements and attributes */, CHECK_VALUES = 2, CHECK_ROAD = 4 /* verbs that are never reached, or not served */ };
int verb_check(const struct node *root, struct str base, unsigned what, struct fault *ret, int cap); /* base: of relative URLs; p NULL = none */
uint32_t verb_attr_code(const struct verb_info *v, const struct verb_attr *a); /* of a bad value; 12200 where the field has none */

/* ---- every sentence that a caller can hear, by language. ---- */
enum sentence { SENTENCE_ERROR, SENTENCE_WAIT, SENTENCE_N };
struct str sentence_of(enum sentence s, struct str language); /* falls back to en */
