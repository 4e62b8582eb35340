/* SPDX-License-Identifier: Apache-2.0
 *
 * api: the HTTP routes, one table: method, path, who may ask, handler, sentence. Runs on the web thread and reads only what is safe to read there: the trace ring (copy and check), counters,
 * constant tables, what `facts` tells. Every route but /healthz needs the account's token (HTTP Basic AccountSid:AuthToken, or Bearer AuthToken), compared in constant time.
 */
#pragma once
#include "base/base.h"

struct web_request; struct web_answer;
struct api;
#define API_BOXES 8
struct api_facts { /* how the worker stands */
	uint32_t calls;     /* living */
	bool draining;      /* SIGTERM came: no new calls */
	bool store_failing; /* rows cannot be written; they wait */
	bool store_full;    /* … and there is no room for more: no new calls */
	uint64_t outbox_pending, outbox_in_flight;
	struct { const char *name; uint64_t room; } boxes[API_BOXES]; /* mailboxes: bytes that are free */
	int n_boxes;
};
struct api_opts {
	void *trace_mem; size_t trace_size; char account[35], token[65];
	const char *version;
	void (*facts)(void *arg, struct api_facts *ret); void *facts_arg; /* called on the web thread; NULL: all is 0 */
};
struct api *api_new(const struct api_opts *o);
void api_free(struct api *a);
void api_handle(void *api, const struct web_request *r, struct web_answer *ret); /* a web_handler */
struct api_ask; /* inside.h */
struct api_route {
	const char *method, *path, *doc; /* path: a segment in braces takes any one segment. GET answers HEAD too */
	void (*handler)(struct api *a, const struct api_ask *q, struct web_answer *ret);
	bool open; /* anyone may ask: no token */
};
extern const struct api_route api_routes[];
extern const size_t api_n_routes;

/*
 * What the bytes of a trace record are, by kind: what the producers write and the ladder reads. All text; a payload that is not of this form is shown by its first line.
 * "Line" is the first line, without its line end (LF or CRLF); what is behind it is the body, shown on demand.
 *
 *   kind            code                     payload
 *   TRACE_SIP_IN    status, 0 = a request    line `udp PEER > LOCAL` (udp or tcp, ADDR:PORT), CRLF, the message as received
 *   TRACE_SIP_OUT   status, 0 = a request    line `udp LOCAL > PEER`, CRLF, the message as sent
 *   TRACE_REQUEST   number of the request    line `POST service:/100` (method, URL), LF, the form
 *   TRACE_REPLY     number of the request    line `200 text/xml 12 ms` (status, type, time taken, more), LF, the document
 *   TRACE_VERB      its line, 0 = unknown    line `<Say voice="slt">Hello`
 *   TRACE_DIGIT     number of the digit      line `5` or `5 120 ms`: heard from the phone; `> 5`: sent to it
 *   TRACE_MEDIA     0: counts at the end     line `in=512 out=512 lost=0 …`: printed at the foot
 *                   else                     line `hears 127.0.0.1:4000`, `play ends`: printed where it happened
 *   TRACE_STATE     any                      line `call: ringing, up` (machine: from, to)
 *   TRACE_ERROR     error code (11200 …)     line: the reason, with or without the code in front; body: more, such as stderr
 *   TRACE_NOTE      any                      line: text
 */

/* The ladder of a call as text (columns: phone, hookswitch, service), from trace records. sid all 0 = the last call in the ring. malloc'ed; NULL = no such call. */
char *api_ladder(const struct trace *t, const uint8_t sid[16], size_t *ret_n);
char *api_ladder_bodies(const struct trace *t, const uint8_t sid[16], size_t *ret_n); /* the same, with every message and body in full below it */
/* JSON array, oldest first: {"number", "utc" (ISO 8601, microseconds), "kind", "code", "sid", "payload"}; a payload that is no UTF-8 is base64 in "payload_base64" instead. */
char *api_trace_json(const struct trace *t, const uint8_t sid[16], size_t *ret_n);
int api_last_sid(const struct trace *t, uint8_t ret[16]) _must_; /* -ENOENT */
