/* SPDX-License-Identifier: Apache-2.0
 *
 * service: which service answers a number, what it is asked, and how its reply is read. Runs on the sig thread as functions of messages: what has to be asked of
 * the outside (runner; later the web thread) leaves by `struct service_out`, replies come back by service_answer with the token they were asked with.
 * A document is read whole before anything is done with it; an error is a code of the call-control tables with a sentence, a line and a level.
 */
#pragma once
#include "base/base.h"

struct run_request; /* keeper/ */
struct run_answer;

/* ---- errors: one table of code, level, sentence. ---- */
enum fault_level { FAULT_WARNING, FAULT_ERROR };
struct fault_info { uint32_t code; enum fault_level level; const char *name, *mend; };
extern const struct fault_info fault_table[];
extern const size_t fault_n;
const struct fault_info *fault_find(uint32_t code); /* NULL = unknown */

/* ---- numbers: which file or URL answers. Told by the runner's listing and by the configuration; immutable between two of these. ---- */
enum service_kind { SERVICE_NONE, SERVICE_CGI, SERVICE_XML, SERVICE_TEXT, SERVICE_SOUND, SERVICE_BROKEN, SERVICE_WEB };
enum callback_event { CALLBACK_INITIATED, CALLBACK_RINGING, CALLBACK_ANSWERED, CALLBACK_COMPLETED };
struct number_web { /* what a [number …] section or a .url file says; an empty text: not said */
	char voice_url[1024], fallback_url[1024], status_callback[1024];
	bool voice_get, fallback_get, callback_get;
	uint8_t callback_events; /* BIT(enum callback_event) */
	uint32_t filler_after_ms, hedge_after_ms; /* 0: off */
};
struct number {
	char name[36];  /* the file's without suffix, or the section's: 100, 2…, default */
	char file[44];  /* "" when the configuration answers */
	enum service_kind kind;
	char why[128];  /* BROKEN: two files for one number: both named */
	const struct number_web *web; /* WEB: what is asked. Other kinds: fallback and callbacks of a section that names no voice_url; NULL = none. Lives as long as the number does */
};
struct services;
struct services *services_new(void);
void services_free(struct services *s);
/* A listing: lines "FILE\tKIND\n", "FILE\turl\tURL\n". Logs what came and went, and each fault in the folder (two files for one number, a bad name, not executable, a link out) once. */
int services_update(struct services *s, struct str listing) _must_;
/* What answers a number as dialled (decoded user part): the longest match (the number itself, the longest prefix, `default`), of two that are as long the configuration; NULL = nothing.
 * A name outside [0-9A-Za-z+*#_-]{1,32} matches default only; the name of a prefix ("2…") finds the prefix. */
const struct number *services_find(const struct services *s, struct str number);
const struct number *services_file(const struct services *s, struct str name); /* what a service:/NAME URL means: the file of that very name, whatever the configuration says; NULL = none */
const struct number *services_each(const struct services *s, size_t *at); /* sorted by name */
bool services_listed(const struct services *s); /* false until the first listing: nobody knows yet what there is */
uint32_t services_edition(const struct services *s); /* listings and configurations taken so far */
void services_web_default(struct services *s, uint32_t filler_after_ms, uint32_t hedge_after_ms); /* for sections and files that say nothing; once, before any number */

/* ---- [number …] sections (conf.c). Pure: the file is read by cli/. ---- */
struct number_conf {
	char key[36];   /* 100, 2… (a prefix), default */
	int line;       /* of its section */
	uint32_t given; /* BIT(index in number_keys) */
	struct number_web web;
};
enum number_key_type { NUMBER_KEY_URL, NUMBER_KEY_METHOD, NUMBER_KEY_EVENTS, NUMBER_KEY_MS };
struct number_key {
	const char *name;
	enum number_key_type type;
	size_t offset;     /* in struct number_web */
	bool service;      /* a URL: service:/NAME too */
	uint32_t min, max; /* of a number */
	const char *dflt, *unit, *doc, *allowed;
};
extern const struct number_key number_keys[];
extern const size_t number_key_n;
const struct number_key *number_key_find(struct str name); /* NULL = unknown */
int number_conf_open(struct str key, struct number_conf *ret) _must_; /* "100", "2…" or "2...", "default"; -EINVAL */
int number_conf_set(struct number_conf *c, const struct number_key *k, struct str value) _must_; /* -EINVAL, -ENOSPC, -ERANGE, -EEXIST (said twice); then nothing changed */
const char *number_conf_lacks(const struct number_conf *c); /* what a whole section lacks; NULL = nothing */
/* The sections in place of those before: whole or not at all (-ENOMEM; -EEXIST: a key twice). What came, went and changed is logged. */
int services_configure(struct services *s, const struct number_conf *v, int n) _must_;

/* ---- the request: what is told to a service. ---- */
struct call_facts { /* views; live while the call does. Made by call/ from the INVITE and the record */
	char sid[35], account[35];
	struct str from_uri, to_uri;              /* sip:user@host as in From and To */
	struct str from_user, to_user, host;      /* decoded user parts; host of the To URI */
	struct str display;                       /* caller's display name, unescaped */
	struct str extension;                     /* dialled: decoded user part of the Request-URI */
	struct str call_id, source_ip;            /* SIP Call-ID; where the INVITE came from */
	const char *status, *direction;           /* CallStatus and Direction words of call-control.md */
	struct str x_headers;                     /* lines "NAME\0VALUE\0": X-… headers of the INVITE and kin (User-to-User, P-…, Remote-Party-ID) */
	struct str forwarded_from;
	bool reached;                             /* answered already */
};
struct pair { struct str name, value; };
/* The parameters of call-control.md 2.1, the core and the expected ones, in a fixed order; then extra (Digits …; `name=value&…` form-encoded). Views into the arena. Returns n, or -E2BIG, -ENOMEM */
int request_params(const struct call_facts *f, struct str extra_form, struct arena *a, struct pair *ret, int cap) _must_;
/* Environment and stdin of a CGI run (RFC 3875): CALL_<NAME> for each parameter, REQUEST_METHOD, QUERY_STRING, CONTENT_TYPE/LENGTH, SCRIPT_NAME, PATH_INFO, SERVER_*, GATEWAY_INTERFACE, PATH, LANG.
 * Values lose control bytes and NUL; names are upper-cased [A-Z0-9_]. */
int request_cgi(const struct pair *pairs, int n, const struct number *num, struct str query, const char *method, struct arena *a, struct run_request *ret) _must_;

/* ---- the runner as verb/ sees it (verb does not stand on keeper). ---- */
enum ask_kind { ASK_CGI, ASK_READ, ASK_SPEAK, ASK_DECODE, ASK_STATE, ASK_TAKEN, ASK_KILL, ASK_WEB };
struct ask {
	enum ask_kind kind; const uint8_t *token; struct str arg[2]; struct str in; uint32_t wall_ms; int fd; /* -1 = none */
	struct str url, form, cookies;     /* ASK_WEB */
	bool get, trusted, cached, sign;   /* trusted: the operator's configuration names this origin */
	uint32_t number;
};
struct fetch; struct fetched; /* web/ */
/* The message for it; views as given, the rest in the arena. NULL = no memory. An ASK_CGI gets its environment from request_cgi. */
struct run_request *ask_build(const struct ask *q, struct arena *a) _must_;
struct fetch *ask_build_web(const struct ask *q, struct arena *a) _must_;
enum told_state { TOLD_DONE, TOLD_RUNNING, TOLD_UNKNOWN, TOLD_FOLDER };
struct told {
	uint8_t token[16];
	enum told_state state;
	uint32_t fault;        /* 0 = it went well; else a code of the table, and why */
	bool missing;          /* the file is not there */
	uint32_t wall_ms, n;   /* n: bytes in the memfd; of a sound: samples */
	char why[320];
	/* of the web: */
	uint16_t status;
	bool from_cache;
	uint8_t attempts;
	uint32_t cookies_n;    /* bytes of the jar behind the body */
	char type[128], url[1024]; /* url: of the document in the end */
	int64_t since_ms;      /* TOLD_UNKNOWN: boottime when the runner began */
};
void told_read(const struct run_answer *a, struct told *ret);
void told_read_web(const struct fetched *f, struct told *ret);
/* The pairs as application/x-www-form-urlencoded, in the arena; p == NULL: no memory. */
struct str request_form(const struct pair *pairs, int n, struct arena *a);
/* For people and for ErrorUrl: without user:password@ and fragment. */
void url_bare(struct out *o, struct str url);
bool url_same_origin(struct str a, struct str b); /* scheme, host and port of two http(s) URLs */
bool url_is_web(struct str url);                  /* http or https, and sound */
/* The number and the query a service: URL names. -EINVAL = not one. */
int url_service(struct str url, char name[36], struct str *ret_query) _must_;
/* The URL of a number: service:/NAME, percent-encoded where it must be. */
void url_of_number(struct out *o, const struct number *num);

/* ---- URLs: resolving a reference against a base (RFC 3986 section 5) for service:/NAME?query, http, https. ---- */
struct url { struct str scheme, host, path, query, fragment; uint16_t port; };
int url_parse(struct str s, struct url *ret) _must_;
int url_resolve(struct str base, struct str ref, char *buf, size_t cap, size_t *ret_n) _must_; /* service: never leaves the folder (no "..", one segment) */

/* ---- replies ---- */
struct reply {
	int status;               /* HTTP status; CGI: Status: or 200 */
	struct str type, location; /* Content-Type without parameters, lower-cased view as sent; Location */
	struct str charset;
	struct str full_type;      /* Content-Type as sent, with its parameters: what document_read is given */
	struct str body;
};
/* Header block of a CGI answer (RFC 3875 section 6): LF or CRLF. 0; a fault code > 0 (11200 no header block …) with *why set to a sentence. */
uint32_t reply_cgi(struct str out, struct reply *ret, const char **ret_why);

/* ---- the document ---- */
struct attr { struct str name, value; };
struct node { /* an element; text of SSML-like children flattened by verb/ */
	struct str name;
	struct str text;              /* character data inside, that of nested elements with it (SSML), without white space at the ends */
	struct attr *attrs; int n_attrs;
	struct node *child, *next;    /* first child; next sibling */
	int line;
	uint16_t index;               /* among its siblings: verb path */
};
struct fault { uint32_t code; int line; char text[160]; };
#define FAULTS_MAX 32
struct document {
	struct node *root;            /* <Response>; its children are the verbs */
	struct arena *arena;          /* owned */
	struct fault faults[FAULTS_MAX]; int n_faults; /* warnings met while reading */
};
/* Reads a reply's body by its type (parameters may follow: charset): XML → as it is; text/plain → <Response><Say>; audio → NULL root (verb/ plays the body); 204 or <Response/> → a root without verbs.
 * 0 and *ret (free it), or an error code of the table (12100, 12102, 11750, 11770, 12300 …) with *ret_fault filled. DOCTYPE refused, depth and nodes bounded. */
uint32_t document_read(struct str type, struct str body, int status, struct document **ret, struct fault *ret_fault);
void document_free(struct document *d);
const struct node *document_at(const struct document *d, const uint16_t *path, int n); /* NULL = past the end */
struct str node_attr(const struct node *n, struct str name); /* p == NULL: not there */

/* ---- single-byte charsets by table (no iconv: it opens files) ---- */
const uint16_t *charset_high(struct str name); /* code points of 0x80..0xff, 0 = none; NULL = unknown name */
bool charset_is_utf8(struct str name);

/* ---- how the services do (stats.c): written by the sig thread, read by any. ---- */
#define STATS_SERVICES 256 /* more stand together as `other` */
#define STATS_NAME     48
#define STATS_BUCKETS  12
extern const uint32_t stats_ms[STATS_BUCKETS], stats_jitter_us[STATS_BUCKETS]; /* upper bounds; what is beyond the last is in no bucket, only in the count */
struct stats_service { char name[STATS_NAME]; uint64_t ok, failed, sum_ms, bucket[STATS_BUCKETS]; };
struct stats_media { uint64_t in, lost, concealed, calls, sum_us, bucket[STATS_BUCKETS]; };
void stats_request(struct str service, uint32_t ms, bool failed); /* a request for a document is over; service: name of the number */
void stats_media(uint32_t in, uint32_t lost, uint32_t concealed, uint32_t jitter_us); /* a call is over */
bool stats_each(size_t *at, struct stats_service *ret);
void stats_media_get(struct stats_media *ret);
