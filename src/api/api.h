/* SPDX-License-Identifier: Apache-2.0
 *
 * api: the HTTP routes, one table: method, path, who may ask, handler, sentence. Runs on the web thread and reads only what is safe to read there: the trace ring (copy and check), counters,
 * constant tables. Every route needs the account's token (HTTP Basic AccountSid:AuthToken, or Bearer AuthToken), compared in constant time.
 */
#pragma once
#include "base/base.h"

struct web_request; struct web_answer;
struct api;
struct api_opts { void *trace_mem; size_t trace_size; char account[35], token[65]; };
struct api *api_new(const struct api_opts *o);
void api_free(struct api *a);
void api_handle(void *api, const struct web_request *r, struct web_answer *ret); /* a web_handler */
struct api_route { const char *method, *path, *doc; };
extern const struct api_route api_routes[];
extern const size_t api_n_routes;

/* The ladder of a call as text (columns: phone, hookswitch, service), from trace records. sid all 0 = the last call in the ring. malloc'ed; NULL = no such call. */
char *api_ladder(const struct trace *t, const uint8_t sid[16], size_t *ret_n);
char *api_trace_json(const struct trace *t, const uint8_t sid[16], size_t *ret_n);
int api_last_sid(const struct trace *t, uint8_t ret[16]) _must_; /* -ENOENT */
