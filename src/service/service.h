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

/* ---- numbers: which file answers. Told by the runner's listing; immutable between two listings. ---- */
enum service_kind { SERVICE_NONE, SERVICE_CGI, SERVICE_XML, SERVICE_TEXT, SERVICE_SOUND, SERVICE_BROKEN, SERVICE_WEB };
enum callback_event { CALLBACK_INITIATED, CALLBACK_RINGING, CALLBACK_ANSWERED, CALLBACK_COMPLETED };
struct number_web { /* what the configuration says of a number; a number that a file answers may have callbacks alone: its voice_url is empty then */
	char voice_url[1024], fallback_url[1024], status_callback[1024];
	bool voice_get, fallback_get, callback_get;
	uint8_t callback_events; /* BIT(enum callback_event) */
	uint32_t filler_after_ms, hedge_after_ms; /* 0 = as [web] says */
};
struct number { char name[36], file[44]; enum service_kind kind; char why[128]; /* BROKEN: two files for one number: both named */ const struct number_web *web; /* NULL = none; valid until the next services_update or services_configure */ };
struct services;
struct services *services_new(void);
void services_free(struct services *s);
/* A listing: lines "FILE\tKIND\n". Logs what came and went, and each fault in the folder (two files for one number, a bad name, not executable, a link out) once. */
int services_update(struct services *s, struct str listing) _must_;
/* The service of a number as dialled (decoded user part), `default` if there is none; NULL = none. A name outside [0-9A-Za-z+*#_-]{1,32} matches default only. */
const struct number *services_find(const struct services *s, struct str number);
const struct number *services_each(const struct services *s, size_t *at); /* sorted by name */
bool services_listed(const struct services *s); /* false until the first listing: nobody knows yet what there is */
uint32_t services_edition(const struct services *s); /* listings taken so far */

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
