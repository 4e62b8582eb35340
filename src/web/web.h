/* SPDX-License-Identifier: Apache-2.0
 *
 * web: the HTTP server (libwebsockets on a foreign libuv loop), on a thread of its own. It knows requests and answers, not what they mean: routes come from api/ as a handler
 * called on this thread. Listening sockets are opened elsewhere and accepted here.
 */
#pragma once
#include "base/base.h"

struct web;
struct web_request {
	struct str method, path, query; /* path: percent-decoded, no NUL */
	struct str authorization, accept, content_type, body;
	struct addr peer;
};
struct web_answer {
	int status;
	const char *type;      /* "text/plain; charset=utf-8" … */
	char *body; size_t n;  /* malloc'ed by the handler; web frees it */
	const char *challenge; /* WWW-Authenticate, or NULL */
	const char *allow;     /* Allow of a 405, or NULL */
};
typedef void web_handler(void *arg, const struct web_request *r, struct web_answer *ret);
struct web_opts {
	const int *listen_fds; int n_listen; /* stay the caller's; open until web_stop has returned */
	web_handler *handler; void *arg;
	const char *product;   /* Server header; must outlive web */
	int patience_ms;       /* how long a request head, and then its body, may take to come; six times that for the answer to be read. 0 = 10 s */
};
int web_start(const struct web_opts *o, struct web **ret) _must_;
void web_stop(struct web *w); /* joins */
