/* SPDX-License-Identifier: Apache-2.0
 *
 * web: the HTTP server (libwebsockets on a foreign libuv loop), on a thread of its own. It knows requests and answers, not what they mean: routes come from api/ as a handler
 * called on this thread. Listening sockets are opened elsewhere and accepted here. On the same thread the HTTP client (second half).
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

/* ======== the client: requests to services (libcurl's multi interface on the same loop and thread) ========
 * An order is one flat message (struct fetch_head and strings behind it), an answer is one (struct fetched) with the body in a memfd. What is asked for a call carries that call's token from the
 * first attempt to the last. Where it may go is judged here, at every redirect, by the address that is really connected to (house.md section 4). */
enum fetch_method { FETCH_GET, FETCH_POST };
#define FETCH_RETRY_CT  1u  /* rp= of call-control.md 2.3: which failures are tried again */
#define FETCH_RETRY_RT  2u
#define FETCH_RETRY_4XX 4u
#define FETCH_RETRY_5XX 8u
struct fetch {
	uint8_t token[16];       /* I-Twilio-Idempotency-Token and webhook-id: from the first attempt */
	uint32_t number;         /* the caller's own; comes back */
	enum fetch_method method;
	bool trusted;            /* named by the operator: private addresses are fine for this URL's origin */
	bool sign;               /* X-Twilio-Signature and Standard Webhooks headers */
	bool cached;             /* media: may be answered from the cache, is stored in it by validators; a bare request: no token, no cookies, no jar comes back */
	uint32_t max_body;       /* bytes; more is 11750 */
	struct str url;          /* with fragment overrides (#ct=…): read and removed here */
	struct str form;         /* of a POST: application/x-www-form-urlencoded; for GET appended to the query */
	struct str cookies;      /* the call's jar as it was handed out last (opaque text) */
	struct str accept;
};
struct fetched {
	uint32_t tag;            /* up_tag of the client */
	uint8_t token[16];
	uint32_t number;
	uint32_t fault;          /* 0, or a code of call-control.md 2.3 (11200 …) */
	uint16_t status;         /* of the last answer, 0 none */
	uint8_t attempts, from_cache;
	uint32_t total_ms, connect_ms;
	uint32_t n;              /* bytes of body in the memfd that comes with it (no fd: none) */
	char type[128];          /* Content-Type as sent */
	char url[1024];          /* of the document in the end, without credentials and fragment: its base */
	char why[200];           /* a sentence with the fault; without one, "11243: …" if an override in the URL was not understood; else empty */
	uint32_t cookies_n;      /* bytes of the whole jar, which stand in the memfd behind the body; with a fault too */
};
struct client;
struct mailbox;
struct client_opts {
	struct mailbox *up; uint32_t up_tag;
	const char *product;     /* User-Agent */
	char auth_token[65];     /* signs */
	const struct cidr *allow; int n_allow;         /* private networks that replies may name (rule of the operator) */
	const char *const *trusted; int n_trusted;     /* origins named by the configuration: "http://127.0.0.1:3000" */
	const char *ca_bundle;   /* NULL = the system's */
	uint64_t cache_bytes;    /* of media */
	const char *dns_servers; /* tests; NULL = the system's */
};
/* Lives on the thread of the web it belongs to; after web_start, from any other thread. `up` outlives it. Several origins' or networks' texts are copied. */
int client_open(struct web *w, const struct client_opts *o, struct client **ret) _must_;
int client_fetch(struct client *c, const struct fetch *f) _must_; /* any thread; copies; -EAGAIN = no room, -E2BIG */
void client_drop(struct client *c, const uint8_t token[16]);      /* nobody waits any more: ended; no answer comes but one that is in the mailbox already */
int client_trust(struct client *c, const char *const *origins, int n) _must_; /* configuration was read again */
void client_close(struct client *c); /* before web_stop */

/* The two signatures; pure. params: form-encoded. */
int sign_twilio(struct str token, struct str url, struct str form, char *ret_base64, size_t cap) _must_;
/* The key is the token's bytes: a receiver's library is given "whsec_" and the base64 of the token. */
int sign_webhook(struct str token, struct str id, int64_t utc_s, struct str body, char *ret, size_t cap) _must_; /* "v1,BASE64" */
/* May this address be connected to? Loopback, private, link-local, multicast, mapped … are refused unless allowed. */
bool address_is_public(const struct addr *a);
