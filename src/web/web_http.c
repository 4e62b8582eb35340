/* SPDX-License-Identifier: Apache-2.0
 *
 * web_http: one request and its answer, as libwebsockets tells of them (RFC 9110, 9112). The request is copied into an arena of its own, the handler is called once it is
 * whole, its answer goes out piece by piece as the peer reads. Web thread.
 *
 * Refused here: bodies past WEB_BODY_MAX (413) or without a length (411: the library reads no chunked requests), upgrades. What is malformed the library refuses itself.
 */
#include "web/inside.h"

#include <time.h>

#define PIECE    16384
#define TEXT_MAX 32768 /* arena of a request: bounded by WEB_HEAD_MAX in the first place */

/* LWSHUMETH_… to words, in the library's order. */
static const char *const methods[] = {"GET", "POST", "OPTIONS", "PUT", "PATCH", "DELETE", "CONNECT", "HEAD"};

static struct str copy_header(struct conn *c, enum lws_token_indexes h)
{
	int n = lws_hdr_total_length(c->wsi, h);
	char *p = n > 0 ? arena_alloc(c->arena, (size_t)n + 1) : NULL;
	if (!p || lws_hdr_copy(c->wsi, p, n + 1, h) < 0)
		return STR_NONE;
	return str_n(p, (size_t)n);
}

/* The library hands the query out in decoded pieces: they are encoded again, so that an & inside a value stays one. */
static struct str copy_query(struct conn *c)
{
	char piece[1024];
	int n;
	size_t cap = (size_t)lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_URI_ARGS) * 3 + 1;
	struct out o = {.p = arena_alloc(c->arena, cap), .cap = cap};
	if (!o.p)
		return STR_NONE;
	for (int i = 0; (n = lws_hdr_copy_fragment(c->wsi, piece, sizeof(piece), WSI_TOKEN_HTTP_URI_ARGS, i)) >= 0; i++) {
		struct str value, name = str_cut(str_n(piece, (size_t)n), '=', &value);
		if (i)
			out_c(&o, '&');
		out_url(&o, name);
		if (value.p) {
			out_c(&o, '=');
			out_url(&o, value);
		}
	}
	return out_view(&o);
}

static void end_request(struct conn *c)
{
	struct addr peer = c->req.peer;
	arena_free(c->arena);
	free(c->body);
	free(c->answer.body);
	c->arena = NULL;
	c->body = NULL;
	c->body_n = c->body_cap = c->sent = 0;
	c->answer = (struct web_answer){0};
	c->req = (struct web_request){.peer = peer};
	c->head_only = false;
	conn_state(c, CONN_IDLE);
}

static int answer_done(struct conn *c)
{
	bool last = c->last;
	end_request(c);
	return last || lws_http_transaction_completed(c->wsi) ? -1 : 0;
}

static int add(struct conn *c, const char *name, const char *value, unsigned char **p, unsigned char *end)
{
	return value && lws_add_http_header_by_name(c->wsi, (const unsigned char *)name, (const unsigned char *)value, (int)strlen(value), p, end);
}

static int answer_head(struct conn *c)
{
	unsigned char buf[LWS_PRE + 2048], *start = buf + LWS_PRE, *p = start, *end = buf + sizeof(buf) - 1;
	struct web_answer *a = &c->answer;
	char date[40];
	time_t now = (time_t)(clock_utc_ms() / 1000);
	struct tm tm;
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	if (lws_add_http_common_headers(c->wsi, (unsigned)a->status, a->type ? a->type : "text/plain; charset=utf-8", a->n, &p, end) ||
	    add(c, "date:", date, &p, end) || add(c, "www-authenticate:", a->challenge, &p, end) || add(c, "allow:", a->allow, &p, end) ||
	    add(c, "cache-control:", "no-store", &p, end) || add(c, "x-content-type-options:", "nosniff", &p, end) ||
	    add(c, "connection:", c->last ? "close" : NULL, &p, end))
		return -1;
	return lws_finalize_write_http_header(c->wsi, start, &p, end) ? -1 : 0;
}

static int answer_begin(struct conn *c)
{
	conn_state(c, CONN_ANSWER);
	if (answer_head(c))
		return -1;
	if (c->head_only || c->answer.n == 0)
		return answer_done(c);
	lws_callback_on_writable(c->wsi);
	return 0;
}

static int answer_piece(struct conn *c)
{
	unsigned char buf[LWS_PRE + PIECE];
	size_t n = MIN(c->answer.n - c->sent, (size_t)PIECE);
	bool last = c->sent + n == c->answer.n;
	if (c->state != CONN_ANSWER)
		return 0;
	memcpy(buf + LWS_PRE, c->answer.body + c->sent, n);
	if (lws_write(c->wsi, buf + LWS_PRE, n, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
		return -1;
	c->sent += n;
	if (last)
		return answer_done(c);
	lws_callback_on_writable(c->wsi);
	return 0;
}

/* Refuses without asking the handler, and closes: what the peer sends on is no request. */
static int refuse(struct conn *c, int status)
{
	c->answer = (struct web_answer){.status = status};
	c->last = true;
	return answer_begin(c);
}

static int ask_handler(struct conn *c)
{
	c->req.body = str_n(c->body, c->body_n);
	c->answer = (struct web_answer){0};
	c->web->handler(c->web->arg, &c->req, &c->answer);
	if (c->answer.status == 0)
		c->answer.status = 500;
	return answer_begin(c);
}

/* 0 = no body, its length, or -1 = a status is answered. */
static int body_expected(struct conn *c, uint64_t *ret_n)
{
	struct str len = copy_header(c, WSI_TOKEN_HTTP_CONTENT_LENGTH);
	*ret_n = 0;
	if (lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
		return 411;
	if (len.n == 0)
		return 0;
	int err = str_u64(len, WEB_BODY_MAX, ret_n);
	return err == -ERANGE ? 413 : err ? 400 : 0;
}

static int on_request(struct conn *c)
{
	char *uri = NULL;
	int n = 0, status, m = lws_http_get_uri_and_method(c->wsi, &uri, &n);
	uint64_t body;
	if (c->state != CONN_IDLE)
		return -1;
	c->arena = arena_new(TEXT_MAX);
	if (m < 0 || m >= (int)N_ELEMENTS(methods) || !uri || !c->arena)
		return -1;
	c->head_only = m == LWSHUMETH_HEAD;
	c->req.method = str_z(methods[m]);
	c->req.path = arena_str(c->arena, str_n(uri, (size_t)n));
	c->req.query = copy_query(c);
	c->req.authorization = copy_header(c, WSI_TOKEN_HTTP_AUTHORIZATION);
	c->req.accept = copy_header(c, WSI_TOKEN_HTTP_ACCEPT);
	c->req.content_type = copy_header(c, WSI_TOKEN_HTTP_CONTENT_TYPE);
	status = body_expected(c, &body);
	if (status == 0 && str_find(c->req.path, '\0'))
		status = 400;
	if (status)
		return refuse(c, status);
	if (body == 0)
		return ask_handler(c);
	c->body = malloc(body);
	c->body_cap = body;
	conn_state(c, CONN_BODY);
	return c->body ? 0 : -1;
}

static int on_body(struct conn *c, const void *p, size_t n)
{
	if (c->state != CONN_BODY || n > c->body_cap - c->body_n)
		return -1;
	memcpy(c->body + c->body_n, p, n);
	c->body_n += n;
	return 0;
}

int web_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;
	if (!c)
		return 0; /* of the library's own, or not ours yet */
	switch (reason) {
	case LWS_CALLBACK_HTTP:
		return on_request(c);
	case LWS_CALLBACK_HTTP_BODY:
		return on_body(c, in, len);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return c->state == CONN_BODY ? ask_handler(c) : 0;
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return answer_piece(c);
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return -1; /* no WebSocket and no h2c here */
	case LWS_CALLBACK_WSI_DESTROY:
		lws_set_opaque_user_data(wsi, NULL);
		conn_free(c);
		return 0;
	default:
		return 0;
	}
}
