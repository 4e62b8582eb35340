/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper: what outlives a worker. Three processes' worth of code in one room: the keeper (holds sockets and memfds, starts, counts and restarts worker and runner;
 * parses nothing, reads no configuration), the runner (forks CGI scripts, speech engines and decoders; keeps their answers), and for the worker: its end of the
 * keeper's socket, its end of the runner's socket, and the slab with the block heap.
 */
#pragma once
#include <sys/types.h>

#include "base/base.h"

/* ======== the keeper process ======== */
struct keeper_opts {
	char *const *worker_argv; /* argv of the worker: executed from /proc/self/exe; NULL-terminated */
	char *const *runner_argv; /* same; NULL = no runner */
	const char *user;         /* worker and keeper run as this user when started as root; NULL = stay */
	const char *script_user;  /* runner's children run as this user when started as root */
	int log_fd;
	const char *given_name;   /* memory that was made before: the worker finds it by this name; NULL = none */
	int given_fd;             /* taken over */
};
/* Runs until the worker has ended for good; the exit code of the program. SIGTERM/SIGINT: told to the worker (drain); a second one: end at once. SIGHUP: told to the worker, at once or
 * when it is ready. SIGCHLD: restart, with
 * back-off only for deaths that no poison line explains. Children get the sockets as fd 3 (keeper) and fd 4 (worker: runner link); PR_SET_PDEATHSIG ends them with the keeper. */
int keeper_run(const struct keeper_opts *o);

/* ======== the worker's end ======== */
struct keep;
struct keep_pair { uint16_t port; int rtp_fd, rtcp_fd; };
struct keep_user {
	void (*on_pairs)(void *arg, uint8_t pool, const struct keep_pair *pairs, int n, bool exhausted); /* answer to keep_want_pairs */
	void (*on_runner)(void *arg, int fd); /* the runner was restarted: a new link */
	void (*on_stop)(void *arg, int nth);  /* SIGTERM reached the keeper: 1st = drain, 2nd = end at once */
	void *arg;
};
struct keep *keep_open(int fd, const struct keep_user *u); /* fd 3 */
void keep_close(struct keep *k);
int keep_fd(const struct keep *k);
void keep_read(struct keep *k);      /* fd is readable: calls keep_user */
pid_t keep_pid(const struct keep *k);
/* Start only (blocking question and answer; a living keeper answers in microseconds): */
enum keep_kind { KEEP_UDP, KEEP_LISTEN };
/* The socket of that address: bound now, or held from the last worker. *ret_port when a.port is 0. -EADDRINUSE …; then who (may be "") names the process: "asterisk (pid 812)". */
int keep_socket(struct keep *k, enum keep_kind kind, const struct addr *a, int *ret_fd, struct addr *ret_bound, char *who, size_t cap) _must_;
/* A named memfd of that size; fresh = it was made just now. One that has another size is made anew. */
int keep_memory(struct keep *k, const char *name, size_t size, int *ret_fd, bool *ret_fresh) _must_;
int keep_pool(struct keep *k, uint8_t pool, const struct addr *host, uint16_t low, uint16_t high) _must_; /* names the range a pool binds from (again after a restart: no harm) */
/* The held pair of this port (adoption of a living call). -ENOENT. Up to 126 ports at once; fds in order, -1 where there is none. */
int keep_fetch_pairs(struct keep *k, uint8_t pool, const uint16_t *ports, int n, struct keep_pair *ret) _must_;
/* Held TCP connections: calls back for each; then they are ours again. */
int keep_fetch_conns(struct keep *k, void (*h)(void *arg, const struct flow *f, int fd), void *arg) _must_;
/* Any time (not blocking; -EAGAIN = the keeper does not read, try again later): */
int keep_want_pairs(struct keep *k, uint8_t pool, int n);            /* at most 126 a message; answered by on_pairs. Pairs that no worker has taken yet come first (all that were handed out but not fetched after a restart) */
int keep_hold_conn(struct keep *k, const struct flow *f, int fd);    /* the keeper keeps a dup */
int keep_drop_conn(struct keep *k, const struct flow *f);
int keep_ready(struct keep *k);                                      /* calls can be taken: back-off starts anew, systemd is told */
/* Poison (house.md: the record before the wire): before an event is handled its cause is written here, shared with the keeper; one line a thread. */
enum poison_kind { POISON_IDLE, POISON_CALL, POISON_DATAGRAM };
struct poison_line { uint64_t what; uint64_t handle; uint32_t step; uint32_t kind; }; /* kind: enum poison_kind, written last */
struct poison_line *keep_poison(struct keep *k, int thread);         /* in shared memory */
/* True when this call+step, or this datagram hash, has killed twice (a SIGKILL counts half): end that call / drop that datagram (64 s). */
bool keep_is_poison(struct keep *k, uint32_t kind, uint64_t what, uint32_t step);

/* ======== the slab ======== */
struct slab;
struct slab_sizes { uint32_t n_calls, n_legs, heap_bytes; };
size_t slab_bytes(const struct slab_sizes *s);
/* Maps fd (or, fd -1, private memory for programs without a keeper). fresh: write a new head. Else the head is checked: -EPROTO = not ours or a layout we cannot read. */
int slab_open(int fd, const struct slab_sizes *s, bool fresh, struct slab **ret) _must_;
void slab_close(struct slab *s);
struct slab_head *slab_head(struct slab *s);
/* Writes the other copy of the record (CRC, then generation with release order). r->head is filled by this. r->gen and state != 0 make it count as alive. */
void slab_write_call(struct slab *s, uint32_t slot, struct call_record *r);
void slab_write_leg(struct slab *s, uint32_t slot, struct leg_record *r);
/* Newest sound copy. -ENOENT = never written, free (state 0), or both copies are torn (counted). */
int slab_read_call(const struct slab *s, uint32_t slot, struct call_record *ret) _must_;
int slab_read_leg(const struct slab *s, uint32_t slot, struct leg_record *ret) _must_;
struct media_line *slab_lines(struct slab *s); /* n_legs of them */
uint64_t slab_torn(const struct slab *s); /* reads that found both copies torn */
/* Block heap: write-once text, deduplicated by content and counted by user: each slab_text is undone by one slab_drop. The counts live in the worker; after adoption they are
 * made anew by slab_keep for every text that a living record names, then slab_sweep frees the rest. */
int slab_text(struct slab *s, struct str t, struct text *ret) _must_; /* -ENOSPC, -E2BIG (LIMIT_CALL_TEXT); an empty text is {0,0} and 0 */
struct str slab_str(const struct slab *s, struct text t);
void slab_drop(struct slab *s, struct text t);
void slab_keep(struct slab *s, struct text t);
void slab_sweep(struct slab *s); /* until then slab_text of an adopted slab is -ENOSPC */
uint32_t slab_heap_used(const struct slab *s);

/* ======== the runner ======== */
int runner_main(int fd, const struct params *p, const char *script_user); /* the process; fd 3 is the keeper's. Exit code */

/* What can be asked. Messages are flat; one SEQPACKET message each. */
enum run_kind {
	RUN_CGI,    /* execute services/NAME: args = {NAME}; env and stdin given */
	RUN_READ,   /* read a file of the services folder: args = {relative path} */
	RUN_SPEAK,  /* text in stdin; args = {voice, language}; answer: sound */
	RUN_DECODE, /* sound file: args = {"services"|"sounds", relative path}; or {"body"} with the bytes in an fd; answer: sound */
	RUN_ASK,    /* what became of this token? */
	RUN_TAKEN,  /* the answer of this token was received: forget it */
	RUN_KILL,   /* nobody waits any more: end it and forget it */
};
struct run_request {
	enum run_kind kind;
	uint8_t token[16];
	struct str args[4]; int n_args;
	struct str env;     /* NAME=value strings, each ended by NUL */
	struct str in;      /* stdin */
	uint32_t wall_ms;
	int fd;             /* -1 = none */
};
enum run_state { RUN_DONE, RUN_RUNNING, RUN_UNKNOWN, RUN_REFUSED, RUN_FOLDER };
enum run_fault { RUN_OK, RUN_EXIT, RUN_SIGNAL, RUN_WALL, RUN_CPU, RUN_OUTPUT, RUN_NOT_FOUND, RUN_NOT_EXECUTABLE, RUN_BAD_INTERPRETER, RUN_FULL, RUN_BAD_SOUND, RUN_SYSTEM };
struct run_answer {
	uint8_t token[16];
	uint8_t state;      /* enum run_state. RUN_FOLDER: the services folder as it is now, unasked; fd: a memfd of lines "FILE\tKIND\n", KIND one of cgi xml txt wav url (then "\tURL" too), "link-out", "bad-name" */
	uint8_t fault;      /* enum run_fault */
	uint8_t kind;       /* enum run_kind of the request */
	int32_t code;       /* exit status or signal */
	uint32_t wall_ms;
	uint32_t n;         /* bytes in the memfd; for sounds: samples (16 bit, AUDIO_HZ, mono, speech at −20 dBFS) */
	int64_t since_ms;   /* with RUN_UNKNOWN: boottime when this runner began. What was asked before it may have been started by the one before */
	char last_line[200]; /* last line of stderr, or what was wrong */
};
int run_post(int fd, const struct run_request *r) _must_;                  /* -EAGAIN = the runner is busy reading; -EMSGSIZE */
int run_take(int fd, struct run_answer *ret, int *ret_fd) _must_;          /* 1 = got one, 0 = none, -E… = link is gone. The memfd is the caller's (-1 none) */
