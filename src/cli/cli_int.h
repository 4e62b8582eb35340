/* SPDX-License-Identifier: Apache-2.0
 *
 * cli: the private header of the room. The commands of the program as one table (parser, --help and man page are printed from it), the configuration, the
 * account, and the worker. cli/ is the only room that sees all the others: it opens them in order, wires them by their ops structs and closes them in reverse.
 */
#pragma once
#include "base/base.h"

#include <getopt.h>

#include "net/net.h"

struct worker;

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 64, CLI_CONFIG = 78 /* EX_CONFIG: nothing was started */ };

/* ---- commands (main.c) ---- */
struct cli_option {
	const char *name, *arg, *doc; /* arg NULL: a flag */
};
struct command {
	const char *name, *usage, *doc;
	const char *more; /* further sentences for help and man page; may be NULL */
	const struct cli_option *options;
	int n_options;
	bool params; /* the options of the parameter table as well */
	bool hidden; /* of the program itself, not for people */
	int (*run)(const struct command *c, int argc, char **argv);
};
extern const struct command commands[];
extern const size_t n_commands;
const struct command *command_find(const char *name); /* NULL = none */
int help_main(const struct command *c, int argc, char **argv);
int man_main(const struct command *c, int argc, char **argv);
void help_print(FILE *f, const struct command *c); /* c NULL: all commands */

/* ---- arguments (args.c): getopt_long over the tables ---- */
#define ARGS_MAX 64
struct args {
	const struct command *command;
	int argc;
	char **argv;
	struct option longs[ARGS_MAX];
};
struct arg {
	const struct cli_option *option; /* one of these two */
	const struct param_info *param;
	const char *value;
};
void args_open(struct args *a, const struct command *c, int argc, char **argv);
int args_next(struct args *a, struct arg *ret)
    _must_; /* 1 = an option, 0 = no more (optind: first of the rest), -EINVAL = said what is wrong; -ECANCELED = --help was printed */

/* ---- configuration (config.c) ---- */
#define CONFIG_PARAMS 64
struct number_conf;
enum config_voice { CONFIG_STDERR, CONFIG_LOG, CONFIG_QUIET };
struct config {
	struct params p;
	bool seen[CONFIG_PARAMS]; /* lists begin anew in each source */
	enum config_voice voice;  /* where complaints go */
	struct number_conf *numbers; /* the [number …] sections */
	int n_numbers;
	const char *path; /* of the file that was read; NULL = none */
	char *text;       /* what stood there */
	size_t text_n;
};
void config_init(struct config *c);
void config_done(struct config *c);
int config_file(struct config *c, const char *path) _must_;                   /* all 0 or -EINVAL: said as file:line, everything that is wrong at once */
int config_text(struct config *c, const char *path, struct str text) _must_;  /* the same for a text that is there; path: for complaints */
void config_differ(const struct config *was, const struct config *is, struct out *o); /* names of the parameters that differ, with a space between */
int config_option(struct config *c, const struct param_info *i, const char *value) _must_;
int config_assign(struct config *c, const char *assignment) _must_; /* SECTION.NAME=VALUE */
/* --config, --set and the options of the table, in that order of rank. 0, or an exit code + 1 (help printed: CLI_OK + 1). */
int config_args(struct config *c, struct args *a, void (*other)(void *arg, const struct arg *o), void *arg) _must_;
/* `--set SECTION.NAME=VALUE` for all that is not the default: what a child is started with. malloc'ed strings appended to argv. */
int config_argv(const struct config *c, char **argv, int n, int cap) _must_;

/* ---- the configuration under a running system (held.c, reload.c) ---- */
/* The text of the file as it was taken last, in memory that the keeper holds: two copies, written in turn, so that a worker that comes finds a whole one. */
#define HELD_TEXT (1u << 20) /* LIMIT_CONFIG */
#define HELD_NAME "config"
struct held {
	struct held_copy {
		uint32_t gen, n, crc, unused; /* gen: written last */
		char text[HELD_TEXT];
	} copy[2];
};
int held_make(struct str text) _must_; /* a memfd with it, open also after exec; -E… */
struct held *held_map(int fd) _must_;  /* NULL = it cannot be */
int held_read(const struct held *h, struct str *ret) _must_; /* the newest whole copy; -ENOENT */
void held_write(struct held *h, struct str text);
struct reload;
int reload_open(struct worker *w) _must_; /* numbers as they were held; from here on SIGHUP reads the file again. Before other threads are there: reload_block */
void reload_block(void);
void reload_close(struct worker *w);

/* ---- the account (account.c): DATA/account.ini, 0600 ---- */
struct account {
	char sid[35], token[65];
	uint8_t id[16];
};
int account_read(const char *data, struct account *ret, char *why, size_t cap) _must_;  /* -ENOENT; -EINVAL, -EACCES: why */
int account_make(const char *data, uid_t uid, gid_t gid, char *why, size_t cap) _must_; /* nothing if it is there */

/* ---- processes ---- */
int serve_main(const struct command *c, int argc, char **argv);
int keeper_main(const struct command *c, int argc, char **argv);
int worker_main(const struct command *c, int argc, char **argv);
int runner_child_main(const struct command *c, int argc, char **argv);
int call_main(const struct command *c, int argc, char **argv);
int trace_main(const struct command *c, int argc, char **argv);
int lint_main(const struct command *c, int argc, char **argv);
int limits_main(const struct command *c, int argc, char **argv);
int params_main(const struct command *c, int argc, char **argv);
int verbs_main(const struct command *c, int argc, char **argv);
extern const struct cli_option serve_options[2], worker_options[3], call_options[6], trace_options[4], lint_options[4];
enum { N_SERVE_OPTIONS = 2, N_WORKER_OPTIONS = 3, N_CALL_OPTIONS = 6, N_TRACE_OPTIONS = 4, N_LINT_OPTIONS = 4 };

/* ---- the worker (worker.c opens and closes, wires.c is what the rooms tell each other, hello.c what is said at the start) ---- */
struct keep_user;
struct call_out;
struct verb_out;
struct api_facts;
struct listener_place {
	struct addr bound;
	int pool;
};
struct worker {
	struct config config;
	const char *config_path; /* of the file that SIGHUP reads again; NULL = none */
	struct reload *reload;
	struct params p; /* as configured, with max_calls as the descriptors allow */
	struct account account;
	bool first; /* the first start: nothing to adopt */
	struct keep *keep;
	struct poison_line *line; /* of the sig thread */
	struct slab *slab;
	void *trace_mem;
	size_t trace_size;
	struct trace *trace;
	struct wheel *wheel;
	struct net *net;
	struct mailbox *up;
	struct media_threads *media;
	struct store *store;
	struct rtp_pool *pools[PARAM_SIP_MAX];
	bool pool_fed[PARAM_SIP_MAX];
	int n_pools, n_media;
	struct gate gate;
	struct services *services;
	struct verbs *verbs;
	struct calls *calls;
	struct sip *sip;
	struct api *api;
	struct web *web;
	struct client *client;
	uint32_t trusted; /* edition of the services + 1 whose origins the client knows */
	struct listener_place sip_at[PARAM_SIP_MAX];
	struct addr http_at, advertise;
	int http_fd, run_fd, ready_fd;
	struct timer drain; /* calls may go on until then */
	_Atomic int stops;  /* SIGTERMs so far */
	_Atomic uint32_t n_calls; /* living, as of the last turn: for the web thread */
	bool ending;
};
enum { MAIL_MEDIA = 1, MAIL_WEB = 2, MAIL_STORE = 16 /* and its kinds: STORE_ROWS … */ };
/* wires.c */
const struct net_user *wire_net_user(struct worker *w);
const struct keep_user *wire_keep_user(struct worker *w);
const struct call_out *wire_call_out(struct worker *w);
const struct verb_out *wire_verb_out(struct worker *w);
void wire_conn(void *arg, const struct flow *f, int fd);
void wire_held_conn(void *arg, const struct flow *f, int fd);
void wire_want_pairs(void *arg, uint8_t pool, int n);
int wire_fetch_pairs(void *arg, uint8_t pool, const uint16_t *ports, int n, int *rtp_fds, int *rtcp_fds);
int wire_pool_of(void *arg, const struct addr *local);
void wire_advertise(void *arg, const struct flow *f, struct addr *ret);
int64_t wire_now(void *arg);
const uint8_t *wire_sid_of(void *arg, handle owner);
void wire_keep_fd(void *arg, int fd);
void wire_run_fd(void *arg, int fd);
void wire_mail_fd(void *arg, int fd);
void wire_trust(struct worker *w);
void wire_facts(void *arg, struct api_facts *ret);
void wire_drain_due(struct timer *t, void *arg, int64_t now_ms);
/* hello.c */
void hello_ready(const struct worker *w);
