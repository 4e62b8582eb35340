/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of api/ tell each other: routes (api.c), the numbers (metrics.c), the gathered records of a call (records.c), its views (ladder.c, json.c).
 */
#pragma once
#include "api/api.h"
#include "web/web.h"

struct api {
	struct trace *trace;
	char account[35], token[65];
	const char *version;
	void (*facts)(void *arg, struct api_facts *ret);
	void *facts_arg;
};

/* A request whose token was right. arg: what stood in the place of the braces. */
struct api_ask {
	const struct web_request *req;
	struct str arg;
	bool json;
};

/* Answers with text or JSON, as asked: {"code", "message", "status"}. */
void api_error(struct web_answer *ret, bool json, int status, uint32_t code, const char *message);
void api_facts(const struct api *a, struct api_facts *ret);
void get_metrics(struct api *a, const struct api_ask *q, struct web_answer *ret); /* metrics.c */
/* body malloc'ed, taken over; NULL: 500. */
void api_body(struct web_answer *ret, const char *type, char *body, size_t n);
bool api_query_is(struct str query, struct str name, struct str value);

/* ---- the records of one call, copied out of the ring ---- */
struct record {
	struct trace_rec head;
	struct str payload;
	struct str line, body; /* first line; what is behind it */
};
struct records {
	struct arena *arena;
	struct record *all;
	size_t n, cap;
	uint8_t sid[16];
	bool overrun; /* older ones may be gone */
};
/* sid all 0: the last call. 0, -ENOENT, -ENOMEM. records_done afterwards in any case. */
int records_get(const struct trace *t, const uint8_t sid[16], struct records *ret) _must_;
void records_done(struct records *r);
const char *record_kind(const struct record *r);
void out_utc(struct out *o, int64_t utc_us); /* 2026-11-22T17:06:32.123456Z */

/* A text that grows; malloc'ed. */
struct text_buf {
	char *p;
	size_t n, cap;
	bool failed;
};
void text_add(struct text_buf *b, struct str s);
void text_f(struct text_buf *b, const char *fmt, ...) _printf_(2, 3); /* at most 1 kB a time */
