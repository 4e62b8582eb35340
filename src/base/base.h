/* SPDX-License-Identifier: Apache-2.0
 *
 * base: what every room stands on. String views, bounded writer, arena, list, hash, handle table, timer wheel, state machine, log ring, trace ring,
 * counters, limits, parameters, random numbers, assert. No door to the outside but the log writer's; no clock (time is told); no malloc behind the
 * caller's back except where a function says "allocates". Not for use by two threads at once except log_* , count_add and rand_*.
 *
 * Errors: 0 or -E… (negative errno) where int is returned; `_must_` results have to be looked at.
 */
#pragma once
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/layout.h"

#define _must_         __attribute__((warn_unused_result))
#define _printf_(f, a) __attribute__((format(printf, f, a)))
#define _noreturn_     __attribute__((noreturn))
#define BIT(n)         (1u << (n))
#define N_ELEMENTS(a)  (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)      ((a) < (b) ? (a) : (b))
#define MAX(a, b)      ((a) > (b) ? (a) : (b))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

/* ---- assert: our own mistakes. Always compiled in. Prints the call at hand (panic_call) and aborts; the keeper restarts, the calls go on. ---- */
#define ASSERT(x) ((x) ? (void)0 : base_panic(__FILE__, __LINE__, __func__, #x))
_noreturn_ void base_panic(const char *file, int line, const char *func, const char *what);
/* The call this thread works on, for panic and log lines ("" = none). Kept by reference: the text must outlive the work. Thread-local. */
void base_enter(const char *call_sid);
const char *base_at(void); /* what base_enter was given last in this thread; never NULL */
void base_set_panic_hook(void (*hook)(void)); /* runs between the message and abort(); NULL = none */

/* ---- str: a view. Never owned, never written through. ---- */
struct str {
	const char *p;
	size_t n;
};
#define STR(lit)    ((struct str){(lit), sizeof(lit) - 1}) /* of a literal */
#define STR_ARG(s)  (int)(s).n, (s).p                      /* for "%.*s" */
#define STR_NONE    ((struct str){NULL, 0})
static inline struct str str_z(const char *z) { return z ? (struct str){z, strlen(z)} : STR_NONE; }
static inline struct str str_n(const void *p, size_t n) { return (struct str){(const char *)p, n}; }
static inline bool str_eq(struct str a, struct str b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }
bool str_ieq(struct str a, struct str b);              /* ASCII case folded */
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
struct str str_trim(struct str s);                     /* SP HTAB CR LF at both ends */
struct str str_skip(struct str s, size_t n);           /* without the first n (or all) bytes */
/* Bytes before the first `sep`; *rest gets what is behind it (rest->p == NULL if there was none). */
struct str str_cut(struct str s, char sep, struct str *rest);
const char *str_find(struct str s, char c);            /* NULL = not there */
int str_u64(struct str s, uint64_t max, uint64_t *ret) _must_;   /* all digits, 1..20 of them; -EBADMSG, -ERANGE */
uint64_t str_hash(struct str s);                       /* seeded per process */
size_t str_utf8(struct str s);                         /* bytes of the first character; 0 = empty or no UTF-8 */
int str_zcpy(struct str s, char *buf, size_t cap) _must_; /* NUL-terminated copy; -ENOSPC, -EBADMSG if it holds NUL */

/* ---- out: bounded writer. Overflow latches `over`; nothing is ever written past cap. Not NUL-terminated (out_z does). ---- */
struct out {
	char *p;
	size_t n, cap;
	bool over;
};
#define OUT(buf) ((struct out){.p = (buf), .cap = sizeof(buf)})
void out_str(struct out *o, struct str s);
void out_c(struct out *o, char c);
void out_u64(struct out *o, uint64_t v);
void out_hex(struct out *o, const void *p, size_t n);          /* lower case */
void out_f(struct out *o, const char *fmt, ...) _printf_(2, 3); /* not on the hot roads; formats of 512 bytes and more need one byte to spare */
void out_vf(struct out *o, const char *fmt, va_list ap) _printf_(2, 0);
void out_url(struct out *o, struct str s);  /* percent-encoded, application/x-www-form-urlencoded */
void out_json(struct out *o, struct str s); /* inside quotes; bytes that are no UTF-8 become U+FFFD */
void out_safe(struct out *o, struct str s); /* for people: bytes < 0x20, 0x7f and non-UTF-8 as \xNN */
const char *out_z(struct out *o);           /* terminates (drops the last byte if full) and returns p */
static inline struct str out_view(const struct out *o) { return (struct str){o->p, o->n}; }
#define OUT_STR(o, lit) out_str((o), STR(lit))

/* ---- arena: memory that dies together. Allocates chunks; NULL when out of memory or past its bound. ASan-poisoned behind each piece. ---- */
struct arena;
struct arena *arena_new(size_t max_bytes);
void arena_free(struct arena *a); /* NULL is fine */
void *arena_alloc(struct arena *a, size_t n) _must_; /* zeroed, 16-aligned */
struct str arena_str(struct arena *a, struct str s); /* copy with a NUL behind it; p == NULL: no memory */

/* ---- list: intrusive, circular. A link that is in no list points to itself. ---- */
struct link {
	struct link *next, *prev;
};
static inline void link_init(struct link *l) { l->next = l->prev = l; }
static inline bool link_alone(const struct link *l) { return l->next == l; }
static inline void link_drop(struct link *l)
{
	l->next->prev = l->prev;
	l->prev->next = l->next;
	link_init(l);
}
static inline void link_append(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}
#define LINK_EACH(it, head)      for (struct link *it = (head)->next; it != (head); it = it->next)
#define LINK_EACH_SAFE(it, head) for (struct link *it = (head)->next, *it##_n = it->next; it != (head); it = it##_n, it##_n = it->next)

/* ---- hash: 64-bit key to pointer, open addressing, grows; the key is a keyed hash, the caller compares the object. ---- */
struct hash;
struct hash *hash_new(size_t max_entries);
void hash_free(struct hash *h);
int hash_put(struct hash *h, uint64_t key, void *v) _must_; /* several values under one key are fine; -ENOMEM, -ENOSPC */
void hash_drop(struct hash *h, uint64_t key, const void *v);
/* First value under key, then the next ones: for (size_t at = 0; (v = hash_next(h, key, &at));) */
void *hash_next(const struct hash *h, uint64_t key, size_t *at); /* in the order they were put; a change of the table ends the walk */
size_t hash_count(const struct hash *h);

/* ---- table: slots with generations. handle 0 is never handed out. ---- */
struct table;
struct table *table_new(uint32_t max_slots, size_t item_size); /* grows by pages; items never move */
void table_free(struct table *t);
void *table_add(struct table *t, handle *ret_h) _must_;  /* zeroed item; NULL = full or no memory */
void *table_add_at(struct table *t, handle h) _must_;    /* adoption: this very slot and generation; NULL = taken or out of range */
void *table_get(const struct table *t, handle h);        /* NULL = dead */
void table_drop(struct table *t, handle h);
uint32_t table_count(const struct table *t);
/* Walk the living: for (uint32_t i = 0; (x = table_each(t, &i, &h));) */
void *table_each(const struct table *t, uint32_t *at, handle *ret_h);
static inline uint32_t handle_slot(handle h) { return (uint32_t)h; }
static inline uint32_t handle_gen(handle h) { return (uint32_t)(h >> 32); }
static inline handle handle_of(uint32_t slot, uint32_t gen) { return (uint64_t)gen << 32 | slot; }

/* ---- wheel: timers. Milliseconds of boottime, as told; O(1) set and cancel; fires in order of the turn, never early. ---- */
struct timer;
typedef void timer_h(struct timer *t, void *arg, int64_t now_ms);
struct timer {
	struct link link;
	int64_t at_ms; /* 0 = not set */
	timer_h *h;
	void *arg;
};
struct wheel;
struct wheel *wheel_new(int64_t now_ms);
void wheel_free(struct wheel *w);
void timer_init(struct timer *t, timer_h *h, void *arg);
void timer_set(struct wheel *w, struct timer *t, int64_t at_ms); /* moves it if it is set */
void timer_stop(struct timer *t);
void wheel_run(struct wheel *w, int64_t now_ms);   /* handlers may set and stop any timer */
int64_t wheel_next_ms(const struct wheel *w);      /* INT64_MAX = none; may be early, never late */

/* ---- fsm: a state machine is a const table. An event that the state does not accept is refused (-EPROTO), counted and told to the hook. ---- */
struct fsm;
typedef void fsm_h(struct fsm *f, int event, const void *data, int64_t now_ms);
struct fsm_state {
	const char *name;
	uint32_t accepts; /* BIT(event) | … */
	uint32_t goes_to; /* BIT(state) | … */
	fsm_h *event;
	void (*enter)(struct fsm *f, int64_t now_ms); /* may be NULL */
};
struct fsm_type {
	const char *name;
	const struct fsm_state *states;
	int n_states;
	const char *const *event_names;
	int n_events;
};
struct fsm {
	const struct fsm_type *type;
	int state;
};
/* Told of each edge and each refusal (event >= 0, to < 0). One hook per process, set once; NULL = none. */
typedef void fsm_hook_h(const struct fsm *f, int event, int from, int to);
void fsm_set_hook(fsm_hook_h *h);
void fsm_init(struct fsm *f, const struct fsm_type *type, int state);
int fsm_post(struct fsm *f, int event, const void *data, int64_t now_ms); /* -EPROTO = refused */
void fsm_go(struct fsm *f, int state, int64_t now_ms); /* asserts that the edge is in the table */
const char *fsm_name(const struct fsm *f);

/* ---- log: for people, on stderr, by a writer thread of its own behind a bounded ring. Never blocks; drops are counted. ---- */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
int log_open(enum log_level level); /* starts the writer thread; before it (and in tests) lines go straight to stderr */
void log_close(void);               /* drains and joins */
void log_set_level(enum log_level level);
void log_line(enum log_level l, const char *fmt, ...) _printf_(2, 3); /* one line, no newline; control bytes are escaped */
const char *log_level_name(enum log_level l);
int log_level_parse(struct str s, enum log_level *ret) _must_;
uint64_t log_dropped(void);

/* ---- trace: numbered, versioned records of all calls in one bounded ring (a mapping the caller gives). One writer; readers copy and check. ---- */
#define TRACE_VERSION 1
#define TRACE_PAYLOAD 65536 /* longest payload; longer ones (and more than a quarter of the ring) are cut */
enum trace_kind {
	TRACE_SIP_IN, TRACE_SIP_OUT, TRACE_REQUEST, TRACE_REPLY, TRACE_VERB, TRACE_DIGIT, TRACE_MEDIA, TRACE_STATE, TRACE_ERROR, TRACE_NOTE, TRACE_N
};
struct trace_info {
	const char *name, *doc, *payload; /* payload: what the bytes are */
};
extern const struct trace_info trace_table[TRACE_N];
struct trace_rec { /* head of a record; the payload follows; records are 8-aligned in the ring */
	uint32_t size;    /* whole, padded to 8 */
	uint16_t kind, version;
	uint64_t number;  /* 1, 2, 3 … over all calls */
	int64_t utc_us;
	uint8_t sid[16];  /* of the call; all 0 = none */
	uint32_t n;       /* bytes of payload */
	uint32_t code;    /* by kind: error code, SIP status, digit number … */
};
struct trace; /* the writer's (or a reader's) view of a ring */
struct trace *trace_open(void *mem, size_t size, bool writer); /* mem: 64-aligned; writer: goes on behind what is there if it is sound, else begins anew; NULL = no memory */
void trace_close(struct trace *t);
void trace_put(struct trace *t, enum trace_kind kind, const uint8_t sid[16], uint32_t code, struct str payload); /* t NULL: nothing happens. Stamps UTC itself */
/* Oldest first. *cursor 0 = from the oldest. Copies the record into buf (payload cut at cap; ret->n says how much is in buf).
 * 1 = got one, 0 = no more, -EAGAIN = overrun (cursor moved on). */
int trace_read(const struct trace *t, uint64_t *cursor, struct trace_rec *ret, char *buf, size_t cap) _must_;

/* ---- counters: one table; each thread may add. ---- */
enum count {
	COUNT_CALLS, COUNT_CALLS_REFUSED, COUNT_SIP_IN, COUNT_SIP_OUT, COUNT_SIP_BAD, COUNT_SIP_REPEATED, COUNT_SIP_DENIED, COUNT_RTP_IN, COUNT_RTP_OUT,
	COUNT_RTP_BAD, COUNT_RTP_STRANGER, COUNT_RTP_LATE, COUNT_RTP_CONCEALED, COUNT_DIGITS, COUNT_REQUESTS, COUNT_REQUESTS_FAILED, COUNT_FSM_REFUSED,
	COUNT_LIMIT_HIT, COUNT_MAIL_FULL, COUNT_ADOPTED, COUNT_N
};
struct count_info {
	const char *name, *doc; /* hookswitch_<name>_total */
};
extern const struct count_info count_table[COUNT_N];
void count_add(enum count c, uint64_t n);
uint64_t count_get(enum count c);

/* ---- limits: every bound on what the outside can make us hold. One row each, printed by `hookswitch limits`. ---- */
enum limit {
	LIMIT_SIP_MESSAGE, LIMIT_SIP_HEADERS, LIMIT_SIP_URI, LIMIT_SDP, LIMIT_SDP_MEDIA, LIMIT_SDP_FORMATS, LIMIT_TCP_CONNECTIONS, LIMIT_TRANSACTIONS,
	LIMIT_NUMBER, LIMIT_NUMBERS, LIMIT_DOCUMENT, LIMIT_DOCUMENT_DEPTH, LIMIT_DOCUMENT_NODES, LIMIT_SAY_TEXT, LIMIT_SAY_SECONDS, LIMIT_AUDIO_BODY,
	LIMIT_CGI_OUTPUT, LIMIT_CGI_HEADER, LIMIT_CGI_STDERR, LIMIT_CGI_FORM, LIMIT_CGI_RUNS, LIMIT_REDIRECTS, LIMIT_REDIRECTS_FETCH, LIMIT_LOOP,
	LIMIT_SOUND_CACHE, LIMIT_CALL_TEXT, LIMIT_HTTP_CONNECTIONS,
	LIMIT_FETCHES, LIMIT_FETCHES_ORIGIN, LIMIT_FETCH_URL, LIMIT_FETCH_BODIES, LIMIT_COOKIES, LIMIT_GATHER, LIMIT_CONFIG, LIMIT_N
};
struct limit_info {
	const char *name;
	uint64_t value;
	const char *unit, *over; /* over: what happens one past it */
};
extern const struct limit_info limit_table[LIMIT_N];
static inline uint64_t limit_of(enum limit l) { return limit_table[l].value; }

/* ---- parameters: one table for the INI file, the command line, help and man page. ---- */
#define PARAM_SIP_MAX 8
#define PARAM_NET_MAX 16
struct params {
	char sip[PARAM_SIP_MAX][64]; /* ADDR:PORT */
	int n_sip;
	char http[64], advertise[64];
	char data[256], services[256], sounds[256];
	char allow[PARAM_NET_MAX][64]; /* networks (CIDR) that may send INVITEs */
	int n_allow;
	char user[32], script_user[32];
	char language[16], voice[32];
	uint64_t rtp_low, rtp_high;
	uint64_t max_calls, max_call_s, drain_s, quiet_s, media_threads, trace_mb;
	uint64_t cgi_wall_s, cgi_cpu_s, cgi_as_mb, cgi_data_mb, cgi_files, cgi_procs;
	char cgi_method[8];
	char web_allow[PARAM_NET_MAX][64]; /* private networks that a service's reply may send us to */
	int n_web_allow;
	uint64_t web_connect_ms, web_read_ms, web_total_ms, web_retries;
	uint64_t reject_status;
	uint64_t filler_after_ms, hedge_after_ms;
	enum log_level log;
};
/* PARAM_RANGE: LOW-HIGH in two numbers, the second behind the first. A value of a list may name several entries, separated by commas. */
enum param_type { PARAM_TEXT, PARAM_LIST, PARAM_NUMBER, PARAM_LEVEL, PARAM_RANGE };
struct param_info {
	const char *section, *name, *option; /* option: long option of `serve` or NULL */
	enum param_type type;
	size_t offset, cap, count_offset;    /* in struct params; cap: bytes of a text, entries of a list */
	uint64_t min, max;                   /* of a number; min of a list: fewest entries */
	const char *dflt, *unit, *doc, *allowed; /* allowed: said when a value is refused */
	int (*check)(const char *value);         /* further check of a text: 0 or -EINVAL; may be NULL */
};
extern const struct param_info param_table[];
extern const size_t param_n;
void params_init(struct params *p);                    /* all defaults */
const struct param_info *param_find(struct str section, struct str name);
int param_set(struct params *p, const struct param_info *i, const char *value, bool first) _must_; /* first: a list starts anew; -EINVAL, -ERANGE, -ENOSPC */

/* ---- codecs: the only place where a clock rate or a frame length is written down (codec.c). ---- */
enum codec_id { CODEC_PCMU, CODEC_PCMA, CODEC_EVENT, CODEC_N };
struct codec_info {
	const char *name;      /* as in SDP rtpmap */
	uint32_t rate_hz;      /* of the audio and of the RTP clock */
	uint8_t pt;            /* static payload type, or the dynamic one we offer */
	uint16_t frame_ms, frame_samples, frame_bytes;
};
extern const struct codec_info codec_table[CODEC_N];
#define AUDIO_HZ    8000 /* of every sound buffer and mixer */
#define AUDIO_FRAME 160  /* samples of a 20 ms frame at AUDIO_HZ */
#define FRAME_MS    20

/* ---- addr ---- */
int addr_parse(struct str s, struct addr *ret) _must_;      /* 1.2.3.4:5060, [::1]:5060, 1.2.3.4 (port 0), ::1 */
void addr_print(struct out *o, const struct addr *a);       /* with port; IPv6 in brackets */
void addr_print_host(struct out *o, const struct addr *a);  /* without port; IPv6 bare */
bool addr_eq(const struct addr *a, const struct addr *b);   /* with port */
bool addr_eq_host(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
struct cidr { struct addr net; int bits; };
int cidr_parse(struct str s, struct cidr *ret) _must_;
bool cidr_has(const struct cidr *c, const struct addr *a);

/* ---- time and chance. The sig and media threads never ask for the time: they are told. These are for the loops and the edges. ---- */
int64_t clock_boot_ms(void);
int64_t clock_utc_ms(void);
int64_t clock_utc_us(void);
void rand_bytes(void *p, size_t n);
uint32_t rand_u32(void);
void rand_seed(uint64_t seed);  /* tests: from here on the numbers of this process follow from the seed */
uint64_t siphash(const uint8_t key[16], const void *p, size_t n); /* SipHash-2-4 */
uint32_t crc32c(const void *p, size_t n);

/* CallSid and account id as people see them: prefix, 32 hex digits, NUL. */
void sid_print(const char prefix[2], const uint8_t sid[16], char ret[35]);
int sid_parse(struct str s, const char prefix[2], uint8_t ret[16]) _must_;

/* Poisoned (house rule 6): bounded, checked counterparts are above. */
#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef strtok
#pragma GCC poison strcpy strcat sprintf vsprintf atoi atol strtok gets
