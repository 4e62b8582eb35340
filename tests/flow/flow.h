/* SPDX-License-Identifier: Apache-2.0
 *
 * flow: the sig thread's rooms (sip, call, verb, service) and the media engine in one thread, on virtual time, with scripted ends behind the mailboxes (house rule 10). A
 * flow is a C function with its ladder on top; it says what the phone `a` sends, what a service answers, and what must be seen. Nothing here is a clock, a socket or a thread.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "sip/sip.h"

struct world;

struct world *world_new(void);
void world_free(struct world *w);
void world_run(struct world *w, int64_t ms);      /* time passes, in steps of 5 ms */
void world_jump(struct world *w, int64_t ms);     /* time passes at once: the timers of the sig thread only */
void world_crash(struct world *w);                /* kill -9: all memory but the slab and what was handed to the peers is gone; then adoption */
int64_t world_now(const struct world *w);
struct params *world_params(struct world *w);
uint32_t world_calls(const struct world *w);
void world_tcp(struct world *w, bool on);         /* the phone speaks TCP from now on */

/* The services folder: a script's answer (header block and body) or a file; latency in ms until the runner has it. kind: "cgi" "xml" "txt" "wav". */
void world_service(struct world *w, const char *file, const char *kind, const char *answer, int latency_ms);
int world_runs(const struct world *w, const char *file);         /* how often it was started */
const char *world_env(const struct world *w, const char *name);  /* of the last CGI run; NULL = not given */
void world_fault(struct world *w, int fault, const char *last_line); /* the next CGI run ends so (enum run_fault) */
void world_runner_dies(struct world *w);
void world_runner_dies_unseen(struct world *w); /* the worker dies with it: nobody is told */

/* A [number …] section of the configuration, key by key; stands from now on, also after a crash. */
void world_section(struct world *w, const char *number, const char *key, const char *value);

int world_traced(struct world *w, enum trace_kind kind, uint32_t code); /* records of this kind and code that stand in the ring */

/* ---- the desk: the outbox of the store, and the web server at http://cb/… that gets the callbacks (desk.c) ---- */
struct desk;
struct desk *world_desk(struct world *w);
enum desk_hold { DESK_GOES, DESK_HOLDS_ROWS, DESK_HOLDS_ACKS, DESK_HOLDS_DUE, DESK_HOLDS_SENT, DESK_HOLDS_ANSWERS, DESK_HOLDS_MARKS };
void desk_hold(struct desk *d, enum desk_hold h);         /* where everything stops; world_crash drops what stands before and behind it in memory */
void desk_says(struct desk *d, int status, int ms);       /* what the server answers from now on; 0 = it is down (11202) */
void desk_full(struct desk *d, int n);                    /* the store's mailbox refuses this often */
struct desk_row { uint8_t token[16]; char url[256], form[4096]; bool get; int attempt, state; /* enum outbox_state */ int times; /* it got its outcome */ };
int desk_rows(const struct desk *d);
const struct desk_row *desk_row(const struct desk *d, int i);
struct desk_got { uint8_t token[16]; char url[256], form[4096]; bool get; int64_t at_ms; };
int desk_gots(const struct desk *d);                      /* requests that came to the server */
const struct desk_got *desk_got(const struct desk *d, int i);
const char *form_of(const char *form, const char *name);  /* decoded, in a static buffer; NULL = not there */

/* ---- the web ---- */
/* What a URL answers (the whole URL, of a GET without what the form adds), now and from then on; status 0: it fails with the fault that stands in type, as in "11202". */
void world_web(struct world *w, const char *url, int status, const char *type, const char *body, int latency_ms);
void world_web_cookie(struct world *w, const char *url, const char *jar);  /* the jar that comes with its answer */
void world_web_cached(struct world *w, const char *url, bool on);          /* its answers come from the cache from now on */
int world_web_asked(const struct world *w, const char *url);               /* how often */
struct asked { char url[1024], form[8192], cookies[1024]; uint8_t token[16]; bool get, trusted, cached, sign; };
const struct asked *world_web_last(const struct world *w, const char *url); /* NULL = never */
const char *world_web_form(const struct world *w, const char *name);       /* a parameter of the last request with a form, decoded; NULL = not there */
bool world_told(const struct world *w, const char *text);                   /* does it stand in the trace? */

/* ---- the phone ---- */
void a_invite(struct world *w, const char *number);              /* with an offer of PCMU and telephone-event */
void a_invite_with(struct world *w, const char *number, const char *extra, const char *body); /* extra header lines; body NULL = no offer */
void a_send(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));     /* raw; $CALLID $TAG $TOTAG $BRANCH are put in */
void a_repeat(struct world *w);                                  /* the last request again, byte for byte */
void a_ack(struct world *w);
void a_request(struct world *w, const char *method, const char *extra, const char *body);     /* in the dialog, next CSeq */
void a_cancel(struct world *w);
void a_info(struct world *w, const char *dtmf_relay);            /* INFO in the dialog */
void a_answer(struct world *w, int status, const char *body);    /* to the last request that came from us */
/* The next message that came to the phone: a response with this status, or (method) a request. Fails the test otherwise. Its text stays until the next call. */
const char *a_expect(struct world *w, int status);
const char *a_expect_request(struct world *w, const char *method);
void a_expect_nothing(struct world *w);
bool a_comes(struct world *w, int status);                       /* is the next message this response? It is taken if so */
/* Waits (virtual time, at most ms) for it, skipping what comes before. */
const char *a_wait(struct world *w, int status, int64_t ms);
const char *a_wait_request(struct world *w, const char *method, int64_t ms);
void a_talk(struct world *w, bool on);                           /* RTP each 20 ms to the address of the answer */
void a_digit(struct world *w, char d);                           /* a telephone-event, 100 ms */
struct heard { uint32_t packets, silent; uint16_t first_seq, last_seq; uint32_t breaks, ts_breaks, ssrcs; int64_t first_ms, last_ms; };
void a_heard(const struct world *w, struct heard *ret);          /* since the last a_forget */
void a_forget(struct world *w);
const char *header_of(const char *msg, const char *name);        /* value, in a static buffer; "" = not there */
const char *body_of(const char *msg);
