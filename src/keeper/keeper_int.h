/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_int: what the files of this room know of each other. Heap behind the slab; the messages between keeper, worker and runner; the parts of the runner.
 */
#pragma once
#include "keeper/keeper.h"

/* 1: a build that looks for mistakes. Its address space is terabytes, so no bound on it holds before exec, and it looks into its own process. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOW_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SHADOW_MEMORY 1
#endif
#endif
#ifndef SHADOW_MEMORY
#define SHADOW_MEMORY 0
#endif

/* ---- slab ---- */
enum slab_record { SLAB_CALL, SLAB_LEG, SLAB_RECORDS };
struct record_head *slab_copy(const struct slab *s, enum slab_record k, uint32_t slot, int copy); /* tests look at the two copies */

struct heap;
struct heap *heap_new(char *mem, uint32_t n_bytes, const uint8_t key[16], bool adopting);
void heap_free(struct heap *h);
int heap_put(struct heap *h, struct str t, struct text *ret) _must_;
struct str heap_get(const struct heap *h, struct text t);
void heap_drop(struct heap *h, struct text t);
void heap_keep(struct heap *h, struct text t);
void heap_sweep(struct heap *h);
uint32_t heap_used(const struct heap *h);

/* ---- link: messages with file descriptors on a SEQPACKET socket ---- */
#define LINK_FDS 253 /* the kernel takes no more in one message */
int link_pair(int ret[2]) _must_;
int link_send(int fd, const void *msg, size_t n, const int *fds, int n_fds, bool wait) _must_; /* 0; -EAGAIN, -EPIPE … */
ssize_t link_recv(int fd, void *buf, size_t cap, int *fds, int cap_fds, int *ret_n_fds) _must_; /* bytes; 0 = the other end is gone; -EAGAIN. Never waits */
void link_close_fds(int *fds, int n);

/* ---- messages between keeper and worker, and between keeper and runner (KEEP_LINK, KEEP_DIR): always this whole struct ---- */
#define KEEP_PAIRS_A_MESSAGE 126
#define KEEP_CONNS_A_MESSAGE 64
enum keep_type { KEEP_SOCKET = 1, KEEP_MEMORY, KEEP_POOL, KEEP_FETCH, KEEP_CONNS, KEEP_WANT, KEEP_HOLD, KEEP_DROP, KEEP_READY, KEEP_PAIRS, KEEP_LINK, KEEP_STOP, KEEP_DIR };
struct keep_msg {
	uint32_t type, seq; /* seq: an answer carries that of its question */
	int32_t err;
	uint32_t n;         /* pairs, ports, connections; KEEP_STOP: which; KEEP_DIR: number of the folder */
	union {
		struct {
			struct addr addr;
			uint32_t kind;
			char who[96];
		} socket;
		struct {
			char name[32];
			uint64_t size;
			uint32_t fresh;
		} memory;
		struct {
			struct addr host;
			uint16_t low, high;
			uint8_t pool, exhausted;
			uint16_t ports[KEEP_PAIRS_A_MESSAGE];
			uint8_t has[KEEP_PAIRS_A_MESSAGE]; /* two descriptors of this message are for that port */
		} pairs;
		struct {
			uint32_t from, more;
			struct flow flows[KEEP_CONNS_A_MESSAGE];
		} conns;
		struct flow flow;
	};
};

/* ---- poison: one page shared by keeper and worker ---- */
#define POISON_NAME    "poison"
#define POISON_LINES   64
#define POISON_CASES   32
#define POISON_CRASH   2 /* points of a death by the worker's own fault … */
#define POISON_KILLED  1 /* … and by SIGKILL, which comes from outside; only the kernel's (out of memory) may have to do with the event */
#define POISON_VERDICT 4
#define POISON_MS      64000
struct poison_case {
	uint64_t what, handle;
	uint32_t step, kind, points, pad;
	int64_t at_ms;
};
struct poison_page {
	uint32_t n_cases, dropped; /* dropped: the worker runs as another user than the one who started it all */
	union {
		struct poison_line line;
		char own_cache_line[64];
	} lines[POISON_LINES];
	struct poison_case cases[POISON_CASES]; /* a ring: the oldest goes */
};
struct poison_page *poison_map(int fd);
bool poison_note(struct poison_page *p, uint32_t points, int64_t now_ms); /* after a death: true = a line explains it. Clears the lines */
bool poison_is(const struct poison_page *p, uint32_t kind, uint64_t what, uint32_t step, int64_t (*now_ms)(void));

/* ---- what the keeper holds (hold.c) ---- */
void hold_new_worker(void);  /* nothing is taken yet by the worker that comes */
void hold_ready(void);       /* what it did not ask for is closed */
int hold_socket(enum keep_kind kind, const struct addr *a, struct addr *ret_bound, int *ret_fd) _must_; /* the descriptor stays the keeper's */
int hold_memory(const char *name, uint64_t size, bool *ret_fresh, int *ret_fd) _must_;
int hold_given(const char *name, int fd) _must_; /* that was made before the keeper: takes fd over */
int hold_pool(uint8_t pool, const struct addr *host, uint16_t low, uint16_t high) _must_;
int hold_fetch(struct keep_msg *m, int *fds);                /* fills has[]; returns the number of descriptors */
int hold_want(uint8_t pool, int n, struct keep_msg *m, int *fds); /* the same, for new ones */
void hold_untake(const struct keep_msg *m);                  /* the message could not be sent: they are to be had again */
int hold_conn(const struct flow *f, int fd) _must_;          /* takes fd over, also when it fails */
void hold_drop_conn(const struct flow *f);
int hold_conns(struct keep_msg *m, int *fds);                /* from m->conns.from on */
void hold_done(void);
void who_holds(enum keep_kind kind, const struct addr *a, char *ret, size_t cap); /* "asterisk (pid 812)" or "" */

/* ---- starting processes ---- */
struct ids {
	uid_t uid;
	gid_t gid;
	bool given;
};
int ids_find(const char *user, struct ids *ret) _must_; /* NULL: not given. -ENOENT */
struct spawn {
	char *const *argv;
	int fd3, fd4;          /* fd4 -1: none */
	const struct ids *ids; /* not given: stay */
	bool runner;           /* keeps what it takes to become another user and to end that user's processes */
};
int spawn_self(const struct spawn *s, pid_t *ret) _must_;
void spawn_drop_keeper(const struct ids *ids); /* the keeper itself, as soon as it need not be root any more */
void spawn_forget_read(void);                  /* runner: the right to open any folder goes after the folders are open */
bool spawn_can_change(void); /* may this process become another user? */
void spawn_clean_signals(void);
int spawn_become(const struct ids *ids) _must_; /* for good: no capability, no group, no new privileges */

/* ---- requests to the runner, on the wire (run_msg.c) ---- */
#define RUN_MAGIC     0x4e555248u /* "HRUN"; answers and requests carry it */
#define RUN_ARGS      4
#define RUN_ENV_MAX   65536u
#define RUN_BYTES_MAX (160u << 10) /* of a message; a longer stdin goes by memfd */
struct run_wire {
	uint32_t magic, kind, wall_ms, n_args;
	uint8_t token[16];
	uint32_t arg_n[RUN_ARGS], env_n, in_n;
	uint8_t has_fd, in_by_fd, pad[2]; /* descriptors, in this order */
};
struct run_reply {
	uint32_t magic, pad;
	struct run_answer a;
};
/* Views into buf; r->fd is the descriptor of the request (-1), *ret_in_fd a memfd of stdin (-1: it is r->in). Takes the fds over. -EBADMSG. */
int run_read(void *buf, size_t n, int *fds, int n_fds, struct run_request *r, int *ret_in_fd) _must_;
int run_reply(int link, const struct run_answer *a, int fd) _must_;

/* ---- the services folder (folder.c) ---- */
#define FOLDER_PENDING 64
#define FOLDER_NAME    256
struct folder {
	char path[256];
	int dir, inotify;       /* -1: missing */
	int held;               /* the one the keeper kept for us; -1 */
	char pending[FOLDER_PENDING][FOLDER_NAME]; /* made, and not closed by the writer yet: not listed */
	int n_pending;
	bool fresh_dir;         /* dir was opened anew: the keeper should hold it */
	int64_t send_at_ms;     /* 0 = nothing new */
	int64_t check_at_ms;    /* next look whether path is still that folder */
};
void folder_init(struct folder *f, const char *path, int64_t now_ms);
void folder_done(struct folder *f);
void folder_hold(struct folder *f, int fd, int64_t now_ms); /* takes fd over */
void folder_read(struct folder *f, int64_t now_ms);         /* inotify is readable */
void folder_check(struct folder *f, int64_t now_ms);
int folder_list(const struct folder *f, uint32_t *ret_n) _must_; /* a sealed memfd */
bool folder_is_number(struct str name);                     /* [0-9A-Za-z+*#_-]{1,32} */

/* ---- children of the runner (run_child.c) ---- */
struct run_report { /* what a child says of itself through its pipe */
	uint32_t stage;      /* enum run_stage: where the script's own process failed; 0: this is the warden's */
	int32_t err, wait_status;
	uint32_t cpu_ms;
	uint32_t fault, n;   /* of sounds */
	char text[160];
};
enum run_stage { STAGE_NONE, STAGE_FOLDER, STAGE_USER, STAGE_LIMIT, STAGE_EXEC, STAGE_FORK };
struct run_child {
	const char *name;         /* of the script; NULL: work is run */
	char *const *env;
	int dir, in, out, err, report; /* descriptors for the child; work: no dir, no err; it has all others closed */
	void (*work)(void *arg, struct run_report *ret); /* in a child that can open no file */
	void *arg;
	const struct params *p;
	const struct ids *ids;
	uint32_t n_alive;         /* scripts, with this one: their user's bound on processes is for all of them */
};
int run_child_start(const struct run_child *c, pid_t *ret) _must_;
void run_child_end(pid_t pid, bool script); /* its warden ends all that the script has started */
void run_child_orphans(const pid_t *ours, size_t n_ours); /* ends children of this process that are not ours: their warden died */

/* ---- sound (sound.c, speak.c, decode.c) ---- */
struct pcm {
	int16_t *p;
	size_t n, cap, max; /* samples */
};
int pcm_add(struct pcm *b, const float *p, size_t n) _must_; /* −1 … 1; 1 = full */
void pcm_level(struct pcm *b);                               /* active speech to −20 dBFS, no peak clipped hard */
int pcm_write(const struct pcm *b, int fd) _must_;
struct resampler; /* to AUDIO_HZ */
struct resampler *resampler_new(uint32_t rate_hz);
void resampler_free(struct resampler *r);
int resampler_add(struct resampler *r, const float *p, size_t n, struct pcm *to) _must_; /* p NULL: the end */
int speak(struct str text, const char *voice, struct pcm *to) _must_;
int decode(int fd, struct pcm *to, char *why, size_t cap) _must_; /* -EBADMSG: why says what is wrong */
size_t speak_fold(struct str utf8, char *ret, size_t cap);        /* to ASCII, NUL-terminated */

struct sound_key {
	uint64_t a, b;
};
struct sounds;
struct sounds *sound_cache_new(uint64_t max_bytes);
void sound_cache_free(struct sounds *s);
int sound_cache_get(struct sounds *s, struct sound_key k, uint32_t *ret_n);   /* a descriptor of its own, or -1 */
void sound_cache_put(struct sounds *s, struct sound_key k, int fd, uint32_t n); /* keeps a dup */
int memfd_seal(int fd) _must_;
int memfd_view(int fd) _must_; /* another description of the same memory: read only, at its start */

/* ---- what keeper and runner both do when they begin (spawn.c) ---- */
int process_signals(void) _must_; /* TERM, INT, HUP and CHLD come by this signalfd; SIGPIPE is ignored */
int process_files(void) _must_;   /* as many open files as the hard limit allows */

/* ---- the runs of the runner (runs.c) ---- */
struct pollfd;
struct runs;
struct runs_opts {
	const struct params *p;
	struct ids script;
	const char *refusal;     /* why no script may run at all; NULL = it may */
	const struct folder *services, *sounds;
};
struct runs *runs_new(const struct runs_opts *o);
void runs_free(struct runs *r);
/* A request: its answer waits for runs_flush. Takes the fds over. */
void runs_request(struct runs *r, void *buf, size_t n, int *fds, int n_fds);
int runs_flush(struct runs *r, int link) _must_; /* -EAGAIN: there is more to send. Requests are read only when nothing is left */
void runs_link_lost(struct runs *r);             /* what was asked for by that worker is now only answered when asked for again, and not for ever */
size_t runs_poll(struct runs *r, struct pollfd *p, size_t cap);
void runs_polled(struct runs *r, const struct pollfd *p, size_t n);
void runs_ended(struct runs *r, pid_t pid, int status); /* a child was reaped */
void runs_times(struct runs *r);
int64_t runs_next_ms(const struct runs *r);
size_t runs_end_all(struct runs *r);             /* how many processes are left to end */
