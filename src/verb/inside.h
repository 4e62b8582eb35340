/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of verb/ share. A `struct run` is the run-time side of one call: the parsed document, the sounds it holds, what it waits for. All that
 * must outlive the worker stands in the call's app_record; a run is made again from it. Sig thread.
 *
 * A verb is a struct verb_impl: functions that do their part and say by enum step how to go on. They never call the driver (run_go), so that nothing nests.
 */
#pragma once
#include "base/base.h"
#include "call/call.h"
#include "media/media.h"
#include "service/service.h"
#include "verb/verb.h"

#define OWED_MAX      256
#define SOUND_WALL_MS 30000 /* for the runner to make a sound */

enum step {
	STEP_WAIT,  /* for an event */
	STEP_NEXT,  /* this verb is done */
	STEP_AGAIN, /* begin the verb at the path (a new document, or answered) */
	STEP_OVER,  /* nothing more is done with this call but waiting for its end */
};

/* app_record.verb_state; 0 = begins anew */
enum verb_state { VS_NEW, VS_SOUND, VS_PLAYING, VS_DIGITS, VS_PAUSE, VS_ECHO, VS_BREAK, VS_LISTEN };

struct sound;
struct run;
struct sound_ref { /* a run's hold on a sound */
	struct link link;
	struct sound *s;
	struct run *r;
};
enum sound_state { SOUND_NONE, SOUND_WANTED, SOUND_ASKED, SOUND_CAME, SOUND_READY, SOUND_FAILED };

enum phase {
	AT_FOLDER,  /* a new call that came before the first listing of the services folder */
	AT_REQUEST, /* a request is in flight */
	AT_ANSWER,  /* the answer was ordered; the verb begins when it is there */
	AT_VERB,
	AT_END, /* rejected, hung up or ended */
};

struct waited { /* an answer of the web, beside that of the record's token */
	uint8_t token[16];
	bool on;
};

enum remote_state { REMOTE_NOT, REMOTE_UNSENT, REMOTE_ORDERED, REMOTE_HERE, REMOTE_FAILED };

struct run {
	struct verbs *v;
	struct call *c;
	char sid[35];     /* for log lines and panics */
	struct link link; /* in verbs.runs; over: in verbs.bin */
	enum phase phase;
	bool busy;        /* the driver works on it */
	bool unsent;      /* the request found no room in the runner's mailbox */
	bool late_answer; /* ANSWERED came while busy */
	bool awaits;      /* the verb waits for its sound */
	bool failing;     /* the document is the spoken error */
	bool ran;         /* "what it ran" is logged */
	bool hashed;      /* its token stands in verbs.tokens */
	bool holds;       /* the runner keeps the audio body of the record's token for us */
	int told_at;      /* index of the verb that was traced last; -1 none */
	struct document *doc;
	struct sound_ref cur, next;
	char *text; /* of a Say: white space folded */
	size_t text_n;
	uint64_t said;      /* samples of this turn of a Say */
	uint32_t pos, loop; /* where the play that is to be resumed stood */
	int body_fd;        /* an audio body that is to be decoded; -1 none */
	int suffix;         /* which one of a bare sound name is tried */
	char file[44];      /* that the request in flight asks */
	enum service_kind kind;
	/* of the request in flight */
	int64_t filler_at, hedge_at, hedge_until; /* boottime; 0 = never */
	bool filling;                             /* a sentence asks for patience */
	bool hedging;                             /* the answer at hand is the hedge's */
	uint32_t lost;                            /* how the service failed, while the hedge may still save it */
	struct waited hedge, loser, media;
	/* of a Play from the web */
	enum remote_state remote_state;
	int media_fd;
	bool media_same; /* it is what was heard last time under this URL */
	uint32_t media_fault;
	char media_why[160];
};

struct verbs {
	const struct params *params;
	struct services *services;
	const struct verb_out *out;
	struct trace *trace;
	struct wheel *wheel;
	const char *version;
	struct calls *calls;
	struct call_user user;
	struct soundbox *sounds;
	struct callbacks *callbacks;
	struct hash *tokens; /* first 8 bytes of a request's token → struct run */
	struct hash *waited; /* the same for a run's struct waited */
	struct link runs, bin;
	struct timer again; /* what found no room is tried again */
	int64_t now_ms;
	uint32_t edition; /* of the services, that was acted upon */
	struct {
		uint8_t token[16];
		bool kill;
	} owed[OWED_MAX]; /* TAKEN and KILL that found no room */
	int n_owed;
};

struct verb_impl {
	const char *name;
	enum step (*prepare)(struct run *r, const struct node *n); /* before the answer: orders what takes time. STEP_WAIT = fine; may be NULL */
	enum step (*begin)(struct run *r, const struct node *n);
	enum step (*event)(struct run *r, const struct node *n, const struct call_event *e);
	enum step (*resume)(struct run *r, const struct node *n); /* after a restart, verb_state != VS_NEW */
	enum step (*sound)(struct run *r, const struct node *n);  /* the awaited sound is ready or failed */
};
extern const struct verb_impl verb_say, verb_play, verb_pause, verb_hangup, verb_reject, verb_echo, verb_body, verb_redirect, verb_gather;

/* interp.c */
void run_go(struct run *r, enum step s);
enum step run_resume(struct run *r);
enum step run_event(struct run *r, const struct call_event *e);
enum step run_sound(struct run *r);
enum step run_answer_first(struct run *r); /* STEP_WAIT: begin comes again when it is up */
bool run_is_first(const struct run *r);    /* no known verb stands before this one */
enum step run_end(struct run *r, enum call_party by, const char *reason);
/* Replaces the document: parsed, kept, path at its begin, committed. type with parameters. 0 or a fault code (ret_f filled); on a fault nothing changed that counts. */
uint32_t run_document(struct run *r, struct str type, struct str body, int status, struct str base, struct fault *ret_f) _must_;
int run_verbs(const struct run *r); /* how many verbs the document has */
void run_let_go(struct run *r);     /* of the verb: sounds, text, timer */
bool run_in_gather(const struct run *r); /* the verb stands in a Gather, or is one */
const struct node *run_outer(const struct run *r); /* the verb at the first depth; NULL = none */

/* trouble.c */
enum step run_error(struct run *r, uint32_t code, const char *fmt, ...) _printf_(3, 4);
bool method_get(struct run *r, const struct node *n, uint32_t code); /* of its method attribute; code: the warning */
struct str run_language(struct run *r); /* of the call: as its document speaks, else as configured */
void run_warn(struct run *r, uint32_t code, int line, const char *fmt, ...) _printf_(4, 5);
void run_trace_verb(struct run *r, const struct node *n);
void run_lint(struct run *r); /* warnings of a document just read */

/* request.c */
struct request {
	struct str url, form; /* absolute; what is told beside the parameters of the call */
	bool get, fallback;
	bool ours;    /* named by the operator, not by a document */
	uint8_t hops; /* redirects before it, in this fetch */
};
enum step request_begin(struct run *r, const struct request *q);
enum step request_to(struct run *r, struct str ref, struct str form, bool get); /* what a document names: resolved against it */
enum step request_adopt(struct run *r);
enum step request_answer(struct run *r, const struct told *t, int fd);
enum step request_timer(struct run *r);
enum step request_retry(struct run *r);
enum step request_runner_gone(struct run *r);
void request_forget(struct run *r); /* the call is over: nobody waits */
struct run *request_find(struct verbs *v, const uint8_t token[16]);
int request_watch(struct run *r); /* answers with the record's token find this run */
void request_unwatch(struct run *r);
int request_mark(struct run *r, enum req_kind kind, int64_t wall_ms, const struct request *q) _must_;
void request_clock(struct run *r); /* the call's timer: what is due next for the request */
enum step request_fail(struct run *r, const struct told *t, uint32_t code, const char *why);
enum step request_take(struct run *r, const struct told *t, int fd); /* an answer without a fault */
void request_where(struct run *r, struct out *o); /* whom it asks, for people */
void reply_trace(struct run *r, int status, struct str type, const struct told *t, struct str body);
void request_trace(struct run *r, const char *method, struct str url, const struct pair *pairs, int n);
int runner_tell(struct verbs *v, const struct ask *q) _must_;
void runner_taken(struct verbs *v, const uint8_t token[16], bool kill); /* forget it; kill: end it too */
void runner_pay(struct verbs *v);                                       /* what is owed of these */
void verbs_try_again(struct verbs *v);                                  /* arms the timer */

enum step run_await(struct run *r); /* the verb waits for r->cur, with a deadline */

/* web.c: requests over the web */
#define WEB_WALL_MS 15000 /* no fetch is longer (call-control 2.3) */
const struct number_web *run_web(struct run *r); /* what the configuration says of the number that was called; NULL = nothing */
bool web_trusts(struct run *r, struct str url);
bool web_knows(struct run *r); /* false: whom to trust is not known yet; ask later */
enum step web_begin(struct run *r, const struct request *q);
int web_mail(struct run *r);                                                  /* the request of the record */
bool web_fallback(struct run *r, uint32_t code, enum step *ret);              /* asks the fallback; false = there is none, or it was asked */
void web_waits(struct run *r);                                                /* a request begins to be waited for: filler, hedge */
void web_due(struct run *r);                                                  /* filler and hedge whose time has come */
void web_won(struct run *r);                                                  /* a document came: who is still asked has lost */
void web_drop(struct run *r, const uint8_t token[16]);
void web_heard(struct run *r, const struct told *t, int fd); /* its cookies; what it did not understand of the URL */
int web_again(struct run *r);                                                 /* asks once more for what was answered, by the same token */
struct run *waited_find(struct verbs *v, const uint8_t token[16], struct waited **ret);
int waited_on(struct run *r, struct waited *w, const uint8_t token[16]) _must_;
void waited_off(struct run *r, struct waited *w);
enum step waited_answer(struct run *r, struct waited *w, const struct told *t, int fd); /* fd is the caller's */
void token_derive(const struct run *r, const char *what, const void *more, size_t n, uint8_t ret[16]);
enum step filler_sound(struct run *r);
void filler_stop(struct run *r);

/* remote.c: a sound of the web, for Play */
enum step remote_want(struct run *r, struct str url); /* STEP_WAIT: ordered, or there */
void remote_told(struct run *r, const struct told *t, int fd);
void remote_retry(struct run *r);
void remote_let(struct run *r);

/* gather.c */
enum step gather_listen(struct run *r);                    /* the prompts are over */
enum step gather_digits(struct run *r, uint32_t upto);     /* takes the digits up to this number */
bool gather_may_hold(struct str name);                      /* Say, Play, Pause */
bool gather_open(const struct run *r);                     /* digits are for a Gather now */
void digits_drop(struct run *r, uint32_t upto);            /* verbs.c: nobody wants them */

/* ssml.c: a Say's elements as plain text; a break is BREAK_MARK, milliseconds, BREAK_END */
#define BREAK_MARK '\x01'
#define BREAK_END  '\x02'
void ssml_text(const struct node *say, struct str language, struct out *o);
bool language_ok(struct str tag);
bool voice_known(struct str name); /* false: the default voice speaks, and the call is warned (13520) */
bool ssml_break(struct str piece, uint32_t *ret_ms);

/* player.c: what Say, Play and an audio body have in common */
enum step player_play(struct run *r, uint32_t loops);
bool player_ended(const struct run *r, const struct call_event *e);
void player_where(struct run *r); /* r->pos and r->loop from the media line */
uint32_t player_loops(struct run *r, const struct node *n, uint32_t code);

/* body.c */
enum step body_answer(struct run *r, const struct told *t, int fd);
enum step body_fetched(struct run *r, const struct told *t, int fd);
int body_copy(int fd, size_t from, size_t n); /* a memfd with these bytes, or -E… */

/* text.c: pieces of what is to be spoken */
size_t text_fold(struct str s, char *buf, size_t cap, size_t max_chars, bool *ret_cut); /* one space for each run of white space */
bool text_piece(struct str text, uint32_t index, struct str *ret);                      /* false = past the last */

/* sound.c */
struct sound_order {
	enum ask_kind kind; /* ASK_SPEAK or ASK_DECODE */
	bool fresh;         /* what stands under this key is not what is meant any more */
	struct str arg[2], in;
	int fd; /* taken over; -1 none */
};
struct soundbox *soundbox_new(struct verbs *v);
void soundbox_free(struct soundbox *ss);
int sound_want(struct run *r, struct sound_ref *ref, const struct sound_order *o) _must_; /* lets go what ref held; 0, -ENOMEM, -ENOSPC */
void sound_let(struct sound_ref *ref);
void sound_move(struct sound_ref *to, struct sound_ref *from);
enum sound_state sound_state(const struct sound_ref *ref);
bool sound_missing(const struct sound_ref *ref);
const char *sound_why(const struct sound_ref *ref, uint32_t *ret_fault);
void sound_numbers(const struct sound_ref *ref, struct play_order *ret);
bool soundbox_answer(struct soundbox *ss, const struct told *t, int fd); /* false = no sound of ours; else fd is taken over */
void soundbox_retry(struct soundbox *ss);
void soundbox_runner_gone(struct soundbox *ss);
void soundbox_folder_changed(struct soundbox *ss); /* what was read from the services folder may be another sound now */

/* callback.c */
struct callbacks *callbacks_new(void);
void callbacks_free(struct callbacks *cb);
void callback_event(struct verbs *v, struct call *c, enum callback_event e); /* any number of times: once in the record, once in the outbox */
void callback_adopted(struct verbs *v, struct call *c);                      /* what was due and is not known to be stored */
void callback_over(struct verbs *v, struct call *c);
bool callback_fetched(struct verbs *v, const struct told *t);                /* false = no callback of ours */
void callbacks_retry(struct verbs *v);

/* mos.c */
double mos_estimate(uint32_t packets, uint32_t lost, uint32_t jitter_us, uint32_t rtt_us); /* 1 … 4.4 */

/* table.c */
const struct verb_info *verb_find(struct str name);
const struct verb_attr *verb_attr_find(const struct verb_info *i, struct str name);
bool ssml_known(struct str name);
const struct verb_impl *verb_impl_find(struct str name);
