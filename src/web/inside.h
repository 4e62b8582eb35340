/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of web/ tell each other: the thread and its connections (web.c), and what is said on one (web_http.c).
 */
#pragma once
#include "web/web.h"

#include <libwebsockets.h>

#define WEB_BODY_MAX 65536 /* of a request */
#define WEB_HEAD_MAX 8192  /* of all header values of a request together */

enum conn_state { CONN_IDLE, CONN_BODY, CONN_ANSWER };

/* One connection, from accept() to the library's last callback. */
struct conn {
	struct link link;
	struct web *web;
	struct lws *wsi;
	enum conn_state state; /* IDLE: no whole request head yet */
	int64_t since_ms;      /* boottime: of the state */
	bool killed;
	bool head_only, last; /* HEAD; close when the answer is out */
	struct arena *arena;   /* of the request */
	struct web_request req;
	char *body;
	size_t body_n, body_cap;
	struct web_answer answer;
	size_t sent;
};

struct web {
	const char *product;
	web_handler *handler;
	void *arg;
	struct link conns;
	size_t n_conns;
};

int web_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len); /* the protocol callback */
void conn_state(struct conn *c, enum conn_state s);
void conn_free(struct conn *c);
