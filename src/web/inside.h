/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of web/ tell each other: the thread and its connections (web.c), what is said on one (web_http.c); and of the client: its orders (client.c), the walk of a
 * request from hop to hop (client_walk.c), where it may go (client_where.c), the library (client_curl.c), media kept (cache.c), cookies and credentials (jar.c), what a URL's fragment
 * says (overrides.c), signatures (sign.c). All of it lives on the web thread.
 */
#pragma once
#include "web/web.h"

#include <ares.h>
#include <curl/curl.h>
#include <libwebsockets.h>
#include <uv.h>

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
	struct arena *arena;  /* of the request */
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

/* Runs h on the web thread, between two turns of its loop, and waits until it has returned. Any other thread. */
typedef void web_errand_h(uv_loop_t *loop, void *arg);
void web_errand(struct web *w, web_errand_h *h, void *arg);

/* ======== client ======== */
#define FETCH_OPEN_MAX   ((unsigned)limit_of(LIMIT_FETCHES)) /* fetches in all, those that wait included; one more: -EAGAIN */
#define FETCH_ORIGIN_MAX ((unsigned)limit_of(LIMIT_FETCHES_ORIGIN)) /* of them at once to one origin; others of this origin wait, within their own time */
#define FETCH_URL_MAX    8192 /* = LIMIT_FETCH_URL */
#define FETCH_ORDER_MAX  (192 * 1024) /* URL, form and jar of an order together */
#define FETCH_HEAD_MAX   65536        /* header bytes of an answer */
#define FETCH_ODD_MAX    65536        /* body bytes of an answer that is no 2xx: read and dropped */
#define FETCH_BODIES_MAX limit_of(LIMIT_FETCH_BODIES) /* bytes of bodies being received, of all fetches */
#define FETCH_ADDRS_MAX  8
#define FETCH_REDIRECTS  (limit_of(LIMIT_REDIRECTS_FETCH))
#define ORIGIN_CAP       300 /* scheme://host:port */
#define CRED_MAX         8
#define JAR_MAX          32768 /* = LIMIT_COOKIES; bytes of a jar; cookies that do not fit are not kept */
#define TRUST_MAX        1024

/* ---- overrides.c ---- */
struct override {
	uint32_t connect_ms, read_ms, total_ms;
	unsigned retries, retry_on; /* FETCH_RETRY_… */
	char warning[120];          /* "11243: …": what was not understood; the default is used. Empty: nothing */
};
void override_parse(struct str fragment, struct override *ret);

/* ---- jar.c: cookies and credentials of a call ---- */
enum cred_kind { CRED_UNASKED, CRED_BASIC, CRED_DIGEST };
struct cred {
	char origin[ORIGIN_CAP];
	char user[128], pass[128];
	enum cred_kind kind; /* what the origin has asked for */
};
struct jar {
	struct cred creds[CRED_MAX];
	int n_creds;
};
struct jar_lines { /* a jar text, line by line */
	struct str rest;
};
bool jar_cookie_next(struct jar_lines *l, struct str *ret_line); /* the next line that is a cookie */
void jar_read(struct jar *j, struct str text);                   /* the credentials in it */
struct cred *jar_cred(struct jar *j, const char *origin);
int jar_remember(struct jar *j, const char *origin, const char *user, const char *pass) _must_;
void jar_print(const struct jar *j, const struct curl_slist *cookies, struct out *o);

/* ---- cache.c: media by URL ---- */
struct cached {
	struct link used; /* used: least recently first */
	uint64_t key;
	char *url; /* "T" or "U" (fetched as trusted or not), then the URL */
	char type[128], etag[128], modified[64];
	int64_t fresh_until_ms; /* boottime */
	uint32_t n;
	int fd;     /* sealed memfd, read only from now on */
	int n_held; /* fetches that ask for its validity at the moment */
	bool gone;
};
struct cache {
	struct hash *by_url;
	struct link used;
	uint64_t bytes, max_bytes;
	unsigned n;
};
struct cache_rule { /* what the answer's headers say */
	struct str control, etag, modified, vary, type;
};
int cache_open(struct cache *k, uint64_t max_bytes) _must_;
void cache_close(struct cache *k);
struct cached *cache_find(struct cache *k, bool trusted, const char *url); /* held: give it back */
void cache_release(struct cache *k, struct cached *e);
void cache_renew(struct cached *e, const struct cache_rule *r, int64_t now_ms);
void cache_put(struct cache *k, bool trusted, const char *url, const struct cache_rule *r, int fd, uint32_t n, int64_t now_ms);
int cache_fd(const struct cached *e); /* a descriptor of its own to read from; -E… */

/* ---- the client and its jobs ---- */
struct origin { /* where fetches go at the moment */
	char name[ORIGIN_CAP];
	uint64_t key;
	unsigned n_open;
	struct link queue; /* jobs that wait for a place */
	struct link ready; /* in client.ready: a place was given back */
};

struct ear { /* a socket of libcurl's or c-ares' in our loop */
	uv_poll_t poll;
	struct client *c;
	struct link link;
	int fd;
	bool dns;
};

struct client {
	struct web *web;
	uv_loop_t *loop;
	struct mailbox *in, *up;
	uint32_t up_tag;
	char product[64], auth_token[65], ca_bundle[256];
	struct cidr *allow;
	int n_allow;
	struct addr own[64]; /* addresses of this machine: what listens there is not for replies to name */
	int n_own;
	char (*trusted)[ORIGIN_CAP];
	int n_trusted;
	char *order; /* buffer for the mail */
	uv_poll_t mail;
	uv_timer_t clock;
	struct wheel *wheel;
	CURLM *multi;
	struct timer curl_timer;
	bool kick; /* libcurl wants to be called at once */
	ares_channel dns;
	struct timer dns_timer;
	struct link ears, jobs, bin, late, ready;
	struct timer late_timer;
	struct hash *origins;
	struct cache cache;
	uint64_t body_bytes;
	_Atomic unsigned n_jobs; /* counted from client_fetch on */
	int n_handles;
	bool closing;
	void *closed; /* sem_t of who waits in client_close */
};

enum job_state { JOB_QUEUED, JOB_WHERE, JOB_ASKING, JOB_PAUSE, JOB_TELLING, JOB_DEAD };
struct job {
	struct link all, queue; /* queue: of its origin (QUEUED), client.late (TELLING), client.bin (DEAD) */
	struct client *c;
	enum job_state state;
	char *order;
	struct fetch f; /* views into order */
	struct fetched r;
	struct override over;
	struct jar jar;
	struct timer step, total;
	int64_t start_ms, ask_ms;
	unsigned n_redirects, n_retries;
	/* where it is now */
	CURLU *url;
	char *url_text, *base_text;                    /* without credentials and fragment; base: without a form that a GET appended */
	char name[ORIGIN_CAP], first_name[ORIGIN_CAP]; /* origins */
	char *host;                                    /* as in the URL, brackets of IPv6 included */
	uint16_t port;
	bool post, trusted;
	struct origin *at; /* a place is taken there */
	struct addr addrs[FETCH_ADDRS_MAX];
	int n_addrs, addr_at;
	struct ask *ask;       /* question under way */
	struct cached *cached; /* held while its validity is asked for */
	/* the exchange under way */
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	char error[CURL_ERROR_SIZE];
	bool in_multi, connected, authorized, strange, enough, too_large, no_room;
	uint32_t head_n, odd_n;
	uint64_t length; /* that the answer told, and one; 0 = none yet */
	int fd; /* memfd, -1 none */
	uint32_t body_n, from_cache_n;
};

void client_handle_closed(struct client *c);
void client_turn(struct client *c); /* at the end of everything the loop calls us for */
void job_start(struct job *j);
void job_end(struct job *j);  /* forgotten: nothing is told */
void job_tell(struct job *j); /* client.c: j->r is whole but for times and jar */
void job_drop_body(struct job *j);

/* client_walk.c */
void walk_where(struct job *j); /* addresses stand in j->addrs, all of them judged */
void walk_fail(struct job *j, unsigned retry_class, uint32_t fault, const char *fmt, ...) _printf_(4, 5);
void walk_done(struct job *j, CURLcode code); /* the exchange is over */
void walk_leave(struct job *j);               /* gives back its place, stops what is under way */
void walk_ready(struct client *c);            /* those that waited for a place go on */
void walk_connected(struct job *j);           /* the connection stands, the request goes out; and … */
void walk_heard(struct job *j);               /* … something came */
int origin_name(CURLU *u, char ret[ORIGIN_CAP]) _must_;

/* client_where.c */
int where_open(struct client *c, const char *dns_servers) _must_;
void where_close(struct client *c);
void where_ask(struct job *j); /* ends in walk_where or walk_fail, maybe before it returns */
void where_drop(struct job *j);
void where_event(struct client *c, int fd, int events);

/* client_curl.c */
int carry_open(struct client *c) _must_;
void carry_close(struct client *c);
int carry_ask(struct job *j) _must_; /* -ENOMEM */
void carry_stop(struct job *j);      /* no more is heard of the exchange under way; the handle stays */
void carry_free_job(struct job *j);
void carry_event(struct client *c, int fd, int events);
void carry_work(struct client *c); /* what libcurl wants done at once, and exchanges that are over */
struct str carry_header(struct job *j, const char *name, unsigned at);
struct ear *ear_set(struct client *c, struct ear *e, int fd, bool dns, int events); /* events 0: away with it; NULL */
