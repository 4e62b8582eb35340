/* SPDX-License-Identifier: Apache-2.0
 *
 * runs: what the worker has asked the runner for, by token, from the request to the answer that was taken. Runner only, one thread.
 *
 * A token is never run twice: a request that is known is a question about it. An answer is kept until it is taken (RUN_TAKEN), nobody wants it (RUN_KILL), or 120 s after
 * the worker was lost. Scripts start at once or are refused; sounds wait for one of few places, and the same sound is made once for all who wait for it.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define N_RUNS       1024
#define N_KEPT       256 /* answers kept for those who do not come to take them */
#define KEPT_BYTES   (64u << 20)
#define KEEP_MS      120000
#define SOUNDS_ALIVE 4
#define SOUND_MS     15000
#define ENV_MAX      512
#define KILL_MS      2000 /* a warden that was told to end is ended */
#define READ_MAX     65536

enum step { STEP_FREE, STEP_WAITING, STEP_ALIVE, STEP_DONE };

struct run {
	uint8_t step; /* enum step */
	bool due;     /* the answer has to be sent */
	bool forget;  /* nobody wants it: gone as soon as its process is */
	bool lost;    /* asked for by a worker that is gone */
	struct run_answer a;
	pid_t pid;
	int in, out, err, report, memfd;
	uint32_t wall_ms;
	int64_t since_ms, end_at_ms, forget_at_ms; /* end: then its process is told to end, or ended */
	bool told;
	char tail[512]; /* of stderr */
	size_t tail_n;
	char name[64]; /* of the script, or the voice */
	struct sound_key key;
	bool has_key;
	uint64_t order; /* of arrival */
};

struct runs {
	int64_t since_ms; /* boottime */
	struct runs_opts o;
	uint8_t key[2][16];
	struct sounds *sounds;
	struct run all[N_RUNS];
	int top;               /* all above are free */
	struct run_answer now; /* an answer that belongs to no run, on its way */
	bool has_now;
	uint64_t order;
	struct {
		struct run *run;
		int fd;
	} polled[N_RUNS * 2];
};

struct runs *runs_new(const struct runs_opts *o)
{
	struct runs *r = calloc(1, sizeof(*r));
	if (!r || !(r->sounds = sound_cache_new(limit_of(LIMIT_SOUND_CACHE)))) {
		free(r);
		return NULL;
	}
	r->o = *o;
	rand_bytes(r->key, sizeof(r->key));
	r->since_ms = clock_boot_ms();
	return r;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void run_free(struct run *x)
{
	int *fds[] = {&x->in, &x->out, &x->err, &x->report, &x->memfd};
	for (size_t i = 0; i < N_ELEMENTS(fds); i++)
		close_fd(fds[i]);
	x->step = STEP_FREE;
}

void runs_free(struct runs *r)
{
	if (!r)
		return;
	for (int i = 0; i < r->top; i++)
		if (r->all[i].step != STEP_FREE)
			run_free(&r->all[i]);
	sound_cache_free(r->sounds);
	free(r);
}

static struct run *find_run(struct runs *r, const uint8_t token[16])
{
	for (int i = 0; i < r->top; i++)
		if (r->all[i].step != STEP_FREE && memcmp(r->all[i].a.token, token, 16) == 0)
			return &r->all[i];
	return NULL;
}

static bool is_script(const struct run *x)
{
	return x->a.kind == RUN_CGI;
}

static uint32_t count_alive(const struct runs *r, bool script)
{
	uint32_t n = 0;
	for (int i = 0; i < r->top; i++)
		n += r->all[i].step == STEP_ALIVE && is_script(&r->all[i]) == script;
	return n;
}

/* ---- the end of a run ---- */
static void last_words(struct run_answer *a, const char *fmt, ...) _printf_(2, 3);
static void last_words(struct run_answer *a, const char *fmt, ...)
{
	char text[512];
	struct out o = {.p = a->last_line, .cap = sizeof(a->last_line) - 1};
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_safe(&o, str_z(text));
	a->last_line[MIN(o.n, sizeof(a->last_line) - 1)] = '\0';
}

/* Keeps answers in bounds: those that were sent go first, then the oldest. */
static void make_room(struct runs *r)
{
	for (;;) {
		struct run *worst = NULL;
		uint32_t n = 0;
		uint64_t bytes = 0;
		for (int i = 0; i < r->top; i++) {
			struct run *x = &r->all[i];
			if (x->step != STEP_DONE)
				continue;
			n++;
			bytes += x->has_key ? 0 : x->a.n; /* sounds are the cache's */
			if (!worst || (worst->due && !x->due) || (worst->due == x->due && x->order < worst->order))
				worst = x;
		}
		if (!worst || (n <= N_KEPT && bytes <= KEPT_BYTES))
			return;
		run_free(worst);
	}
}

static void finish(struct runs *r, struct run *x, enum run_fault fault)
{
	close_fd(&x->in);
	close_fd(&x->out);
	close_fd(&x->err);
	close_fd(&x->report);
	if (x->forget) {
		run_free(x);
		return;
	}
	if (x->a.fault == RUN_OK)
		x->a.fault = (uint8_t)fault;
	x->a.state = RUN_DONE;
	x->a.wall_ms = (uint32_t)(clock_boot_ms() - x->since_ms);
	x->step = STEP_DONE;
	x->due = !x->lost;
	if (x->memfd >= 0 && memfd_seal(x->memfd) == 0) {
		int view = memfd_view(x->memfd);
		close_fd(&x->memfd);
		x->memfd = view;
	}
	make_room(r);
}

/* Answers that hold no bytes. */
static void finish_empty(struct runs *r, struct run *x, enum run_fault fault)
{
	close_fd(&x->memfd);
	x->a.n = 0;
	finish(r, x, fault);
}

static void refuse(struct runs *r, const struct run_request *q, enum run_state state, enum run_fault fault, const char *why)
{
	memset(&r->now, 0, sizeof(r->now));
	memcpy(r->now.token, q->token, 16);
	r->now.kind = (uint8_t)q->kind;
	r->now.state = (uint8_t)state;
	r->now.fault = (uint8_t)fault;
	r->now.since_ms = r->since_ms;
	last_words(&r->now, "%s", why);
	r->has_now = true;
}

/* ---- opening files of the folders ---- */
/* Never outside of the folder, never a device; links that stay inside are followed. */
static int open_below(const struct folder *f, const char *path, int flags, struct stat *ret)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	if (f->dir < 0)
		return -ENOENT;
	int fd = (int)syscall(SYS_openat2, f->dir, path, &how, sizeof(how));
	if (fd < 0)
		return -errno;
	if (fstat(fd, ret) == 0 && S_ISREG(ret->st_mode))
		return fd;
	close(fd);
	return -EISDIR;
}

static enum run_fault open_fault(struct run_answer *a, const struct folder *f, const char *path, int err)
{
	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
		last_words(a, f->dir < 0 ? "the folder %s is not there (%s)" : "no file %s/%s", f->path, path);
		return RUN_NOT_FOUND;
	case -EXDEV:
	case -ELOOP:
		last_words(a, "%s is a link that leaves %s", path, f->path);
		return RUN_NOT_FOUND;
	case -EISDIR:
		last_words(a, "%s/%s is no file", f->path, path);
		return RUN_NOT_FOUND;
	case -EACCES:
		last_words(a, "%s/%s may not be read by us", f->path, path);
		return RUN_NOT_FOUND;
	default:
		last_words(a, "%s/%s: %s", f->path, path, strerror(-err));
		return RUN_SYSTEM;
	}
}

/* ---- scripts ---- */
static int split_env(struct str env, char **ret, size_t cap)
{
	size_t n = 0;
	while (env.n > 0) {
		const char *end = str_find(env, '\0');
		if (!end || n + 1 >= cap)
			return -E2BIG;
		ret[n++] = (char *)(uintptr_t)env.p;
		env = str_skip(env, (size_t)(end - env.p) + 1);
	}
	ret[n] = NULL;
	return 0;
}

/* Pipes and memory for a child; what is made is in x or closed by run_free. */
static int open_ends(struct run *x, int to_child[3])
{
	int pipes[3][2];
	int n = is_script(x) ? 3 : 1; /* report, out, err */
	for (int i = 0; i < n; i++)
		if (pipe2(pipes[i], O_CLOEXEC) < 0) {
			int e = errno;
			while (i-- > 0) {
				close(pipes[i][0]);
				close(pipes[i][1]);
			}
			return -e;
		}
	x->report = pipes[0][0];
	to_child[0] = pipes[0][1];
	to_child[1] = to_child[2] = -1;
	if (n == 3) {
		x->out = pipes[1][0];
		x->err = pipes[2][0];
		to_child[1] = pipes[1][1];
		to_child[2] = pipes[2][1];
	}
	int fds[] = {x->report, x->out, x->err};
	for (int i = 0; i < n; i++)
		if (fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	return 0;
}

static int start_child(struct runs *r, struct run *x, struct run_child *c)
{
	int ends[3] = {-1, -1, -1};
	x->memfd = memfd_create("answer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (x->memfd < 0)
		return -errno;
	int e = open_ends(x, ends);
	c->p = r->o.p;
	c->ids = &r->o.script;
	c->report = ends[0];
	c->out = is_script(x) ? ends[1] : x->memfd;
	c->err = ends[2];
	c->in = x->in;
	if (e == 0)
		e = run_child_start(c, &x->pid);
	link_close_fds(ends, 3);
	if (e < 0)
		return e;
	x->step = STEP_ALIVE;
	x->end_at_ms = clock_boot_ms() + x->wall_ms;
	return 0;
}

static void start_script(struct runs *r, struct run *x, struct str env)
{
	static char *vector[ENV_MAX];
	struct stat st;
	struct run_child c = {.name = x->name, .env = vector, .dir = r->o.services->dir};
	int fd = open_below(r->o.services, x->name, O_PATH, &st);
	if (fd < 0) {
		finish_empty(r, x, open_fault(&x->a, r->o.services, x->name, fd));
		return;
	}
	close(fd);
	if (!(st.st_mode & 0111)) {
		last_words(&x->a, "%s/%s is not executable: chmod +x %s/%s", r->o.services->path, x->name, r->o.services->path, x->name);
		finish_empty(r, x, RUN_NOT_EXECUTABLE);
		return;
	}
	c.n_alive = count_alive(r, true) + 1;
	int e = split_env(env, vector, ENV_MAX);
	if (e == 0)
		e = start_child(r, x, &c);
	if (e < 0) {
		last_words(&x->a, "cannot start %s: %s", x->name, strerror(-e));
		finish_empty(r, x, RUN_SYSTEM);
	}
}

/* ---- sounds ---- */
static struct pcm sound_room(enum run_kind k)
{
	return (struct pcm){.max = k == RUN_SPEAK ? limit_of(LIMIT_SAY_SECONDS) * AUDIO_HZ : limit_of(LIMIT_SOUND_CACHE) / 8};
}

static void end_work(struct run *x, struct pcm *b, int e, struct run_report *ret)
{
	if (e == 0) {
		pcm_level(b);
		e = pcm_write(b, x->memfd);
	}
	ret->n = (uint32_t)b->n;
	ret->fault = e == 0 ? RUN_OK : e == -EBADMSG ? RUN_BAD_SOUND : RUN_SYSTEM;
	if (e < 0 && !ret->text[0])
		snprintf(ret->text, sizeof(ret->text), "%s", strerror(-e));
}

/* In the child. */
static void work_speak(void *arg, struct run_report *ret)
{
	struct run *x = arg;
	struct pcm b = sound_room(RUN_SPEAK);
	size_t cap = limit_of(LIMIT_SAY_TEXT) * 4;
	char *text = malloc(cap);
	ssize_t n = text ? pread(x->in, text, cap, 0) : -1;
	end_work(x, &b, n < 0 ? -EIO : speak(str_n(text, (size_t)n), x->name, &b), ret);
}

static void work_decode(void *arg, struct run_report *ret)
{
	struct run *x = arg;
	struct pcm b = sound_room(RUN_DECODE);
	end_work(x, &b, lseek(x->in, 0, SEEK_SET) < 0 ? -EIO : decode(x->in, &b, ret->text, sizeof(ret->text)), ret);
}

static bool same_key(const struct run *a, const struct run *b)
{
	return a->has_key && b->has_key && a->key.a == b->key.a && a->key.b == b->key.b;
}

static bool is_being_made(const struct runs *r, const struct run *x)
{
	for (int i = 0; i < r->top; i++)
		if (r->all[i].step == STEP_ALIVE && same_key(&r->all[i], x))
			return true;
	return false;
}

static void start_sound(struct runs *r, struct run *x)
{
	struct run_child c = {.work = x->a.kind == RUN_SPEAK ? work_speak : work_decode, .arg = x, .dir = -1};
	int e = start_child(r, x, &c);
	if (e < 0) {
		last_words(&x->a, "cannot make the sound: %s", strerror(-e));
		finish_empty(r, x, RUN_SYSTEM);
	}
}

static struct run *oldest_waiting(struct runs *r, uint64_t after)
{
	struct run *best = NULL;
	for (int i = 0; i < r->top; i++) {
		struct run *x = &r->all[i];
		if (x->step == STEP_WAITING && x->order > after && (!best || x->order < best->order))
			best = x;
	}
	return best;
}

/* Those who wait: from the cache, or into a free place, in order of arrival. */
static void pump_sounds(struct runs *r)
{
	uint64_t after = 0;
	for (struct run *x; (x = oldest_waiting(r, after));) {
		after = x->order;
		int fd = x->has_key ? sound_cache_get(r->sounds, x->key, &x->a.n) : -1;
		if (fd >= 0) {
			x->memfd = fd;
			finish(r, x, RUN_OK);
		} else if (count_alive(r, false) < SOUNDS_ALIVE && !is_being_made(r, x)) {
			start_sound(r, x);
		}
	}
}

static void key_of(struct runs *r, struct run *x, const struct run_request *q, struct str more)
{
	static char buf[RUN_BYTES_MAX * 2];
	struct out o = OUT(buf);
	out_c(&o, (char)('0' + q->kind));
	for (int i = 0; i < q->n_args; i++) {
		out_u64(&o, q->args[i].n);
		out_c(&o, ':');
		out_str(&o, q->args[i]);
	}
	out_str(&o, more);
	x->has_key = !o.over;
	x->key = (struct sound_key){siphash(r->key[0], o.p, o.n), siphash(r->key[1], o.p, o.n)};
}

static enum run_fault open_sound_file(struct runs *r, struct run *x, const struct run_request *q)
{
	char path[512];
	struct stat st;
	if (q->n_args < 2 || str_zcpy(q->args[1], path, sizeof(path)) < 0 || !path[0]) {
		last_words(&x->a, "no sound file is named");
		return RUN_NOT_FOUND;
	}
	const struct folder *f = str_eq(q->args[0], STR("sounds")) ? r->o.sounds : r->o.services;
	close_fd(&x->in);
	int fd = open_below(f, path, O_RDONLY | O_NONBLOCK, &st);
	if (fd < 0)
		return open_fault(&x->a, f, path, fd);
	x->in = fd;
	char stamp[160];
	struct out o = OUT(stamp);
	out_f(&o, "|%llu|%llu|%lld|%lld.%ld", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
	      (long)st.st_mtim.tv_nsec);
	key_of(r, x, q, out_view(&o));
	return RUN_OK;
}

static void begin_sound(struct runs *r, struct run *x, struct run_request *q)
{
	enum run_fault fault = RUN_OK;
	if (x->wall_ms == 0)
		x->wall_ms = SOUND_MS;
	if (q->kind == RUN_SPEAK) {
		struct str voice = q->n_args > 0 && q->args[0].n > 0 ? q->args[0] : str_z(r->o.p->voice);
		if (str_zcpy(voice, x->name, sizeof(x->name)) < 0)
			x->name[0] = '\0';
		if (q->in.n > 0)
			key_of(r, x, q, q->in);
	} else if (q->n_args > 0 && str_eq(q->args[0], STR("body"))) {
		close_fd(&x->in);
		x->in = q->fd;
		q->fd = -1;
		if (x->in < 0) {
			last_words(&x->a, "no sound came with the request");
			fault = RUN_BAD_SOUND;
		}
	} else {
		fault = open_sound_file(r, x, q);
	}
	if (fault != RUN_OK) {
		finish_empty(r, x, fault);
		return;
	}
	x->step = STEP_WAITING;
	pump_sounds(r);
}

/* ---- reading a file ---- */
static int copy_file(int fd, int to, uint64_t max, uint32_t *ret_n)
{
	static char buf[READ_MAX];
	ssize_t n;
	*ret_n = 0;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (*ret_n + (uint64_t)n > max)
			return -EFBIG;
		if (pwrite(to, buf, (size_t)n, *ret_n) != n)
			return -EIO;
		*ret_n += (uint32_t)n;
	}
	return n < 0 ? -errno : 0;
}

static void read_one(struct runs *r, struct run *x, const struct run_request *q)
{
	char path[512];
	struct stat st;
	if (q->n_args < 1 || str_zcpy(q->args[0], path, sizeof(path)) < 0 || !path[0]) {
		last_words(&x->a, "no file is named");
		finish_empty(r, x, RUN_NOT_FOUND);
		return;
	}
	int fd = open_below(r->o.services, path, O_RDONLY | O_NONBLOCK, &st);
	if (fd < 0) {
		finish_empty(r, x, open_fault(&x->a, r->o.services, path, fd));
		return;
	}
	x->memfd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int e = x->memfd < 0 ? -errno : copy_file(fd, x->memfd, limit_of(LIMIT_AUDIO_BODY), &x->a.n);
	close(fd);
	if (e == 0) {
		finish(r, x, RUN_OK);
		return;
	}
	last_words(&x->a, "%s: %s", path, strerror(-e));
	finish_empty(r, x, e == -EFBIG ? RUN_OUTPUT : RUN_SYSTEM);
}

/* ---- requests ---- */
static struct run *new_run(struct runs *r, const struct run_request *q)
{
	struct run *x = NULL, *oldest = NULL;
	while (r->top > 0 && r->all[r->top - 1].step == STEP_FREE)
		r->top--;
	for (int i = 0; i < N_RUNS && !x; i++) {
		struct run *y = &r->all[i];
		if (y->step == STEP_FREE)
			x = y;
		else if (y->step == STEP_DONE && (!oldest || y->order < oldest->order))
			oldest = y;
	}
	if (!x && oldest) {
		run_free(oldest);
		x = oldest;
	}
	if (!x)
		return NULL;
	r->top = MAX(r->top, (int)(x - r->all) + 1);
	*x = (struct run){.in = -1, .out = -1, .err = -1, .report = -1, .memfd = -1, .wall_ms = q->wall_ms, .since_ms = clock_boot_ms(), .order = ++r->order};
	x->step = STEP_WAITING;
	memcpy(x->a.token, q->token, 16);
	x->a.kind = (uint8_t)q->kind;
	return x;
}

static void begin_script(struct runs *r, struct run_request *q, int *in_fd)
{
	struct str name = q->n_args > 0 ? q->args[0] : STR_NONE;
	if (r->o.refusal) {
		refuse(r, q, RUN_REFUSED, RUN_SYSTEM, r->o.refusal);
		return;
	}
	if (!folder_is_number(name)) {
		refuse(r, q, RUN_REFUSED, RUN_NOT_FOUND, "no name of a script: letters, digits and + * # _ - only, at most 32");
		return;
	}
	if (count_alive(r, true) >= limit_of(LIMIT_CGI_RUNS)) {
		refuse(r, q, RUN_REFUSED, RUN_FULL, "too many scripts at once (cgi_runs)");
		return;
	}
	struct run *x = new_run(r, q);
	if (!x || str_zcpy(name, x->name, sizeof(x->name)) < 0) {
		refuse(r, q, RUN_REFUSED, RUN_FULL, "too many requests at once");
		return;
	}
	x->in = *in_fd;
	*in_fd = -1;
	if (x->wall_ms == 0)
		x->wall_ms = (uint32_t)(r->o.p->cgi_wall_s * 1000);
	start_script(r, x, q->env);
}

static void begin_other(struct runs *r, struct run_request *q, int *in_fd)
{
	struct run *x = new_run(r, q);
	if (!x) {
		refuse(r, q, RUN_REFUSED, RUN_FULL, "too many requests at once");
		return;
	}
	x->in = *in_fd;
	*in_fd = -1;
	if (q->kind == RUN_READ)
		read_one(r, x, q);
	else
		begin_sound(r, x, q);
}

static void end_run(struct run *x)
{
	if (!x->told)
		run_child_end(x->pid, is_script(x));
	x->told = true;
	x->end_at_ms = clock_boot_ms() + KILL_MS;
}

static void on_known(struct runs *r, struct run *x, struct run_request *q)
{
	if (q->kind == RUN_TAKEN || q->kind == RUN_KILL) {
		if (q->kind == RUN_TAKEN && x->step != STEP_DONE)
			return; /* not this answer */
		x->forget = true;
		if (x->step == STEP_ALIVE)
			end_run(x);
		else
			run_free(x);
		return;
	}
	x->lost = false;
	x->forget_at_ms = 0;
	if (x->step == STEP_DONE) {
		x->due = true;
		return;
	}
	q->kind = (enum run_kind)x->a.kind;
	refuse(r, q, RUN_RUNNING, RUN_OK, "");
}

void runs_request(struct runs *r, void *buf, size_t n, int *fds, int n_fds)
{
	struct run_request q;
	int in_fd = -1;
	if (run_read(buf, n, fds, n_fds, &q, &in_fd) < 0) {
		log_line(LOG_ERROR, "runner: a request that cannot be read");
		return;
	}
	struct run *x = find_run(r, q.token);
	if (x)
		on_known(r, x, &q);
	else if (q.kind == RUN_ASK)
		refuse(r, &q, RUN_UNKNOWN, RUN_OK, "");
	else if (q.kind == RUN_CGI)
		begin_script(r, &q, &in_fd);
	else if (q.kind == RUN_READ || q.kind == RUN_SPEAK || q.kind == RUN_DECODE)
		begin_other(r, &q, &in_fd);
	close_fd(&in_fd);
	close_fd(&q.fd);
}

int runs_flush(struct runs *r, int link)
{
	if (r->has_now) {
		int e = run_reply(link, &r->now, -1);
		if (e < 0)
			return e;
		r->has_now = false;
	}
	for (int i = 0; i < r->top; i++) {
		struct run *x = &r->all[i];
		if (x->step != STEP_DONE || !x->due)
			continue;
		int e = run_reply(link, &x->a, x->memfd);
		if (e < 0)
			return e;
		x->due = false;
	}
	return 0;
}

void runs_link_lost(struct runs *r)
{
	int64_t now = clock_boot_ms();
	r->has_now = false;
	for (int i = 0; i < r->top; i++)
		if (r->all[i].step != STEP_FREE && !r->all[i].lost) {
			r->all[i].lost = true;
			r->all[i].due = false;
			r->all[i].forget_at_ms = now + KEEP_MS;
		}
}

/* ---- what scripts say ---- */
static void take_output(struct run *x, const char *p, size_t n)
{
	if (x->a.fault == RUN_OUTPUT)
		return;
	if (x->a.n + (uint64_t)n > limit_of(LIMIT_CGI_OUTPUT)) {
		x->a.fault = RUN_OUTPUT;
		end_run(x);
		return;
	}
	if (pwrite(x->memfd, p, n, x->a.n) == (ssize_t)n)
		x->a.n += (uint32_t)n;
}

/* Only the end of stderr is kept: the last line is what people look at. */
static void take_errors(struct run *x, const char *p, size_t n)
{
	if (n > sizeof(x->tail)) {
		p += n - sizeof(x->tail);
		n = sizeof(x->tail);
	}
	size_t keep = MIN(x->tail_n, sizeof(x->tail) - n);
	memmove(x->tail, x->tail + x->tail_n - keep, keep);
	memcpy(x->tail + keep, p, n);
	x->tail_n = keep + n;
}

static void read_end(struct run *x, int *fd, bool all)
{
	static char buf[READ_MAX];
	while (*fd >= 0) {
		ssize_t n = read(*fd, buf, sizeof(buf));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_fd(fd);
			return;
		}
		if (fd == &x->out)
			take_output(x, buf, (size_t)n);
		else
			take_errors(x, buf, (size_t)n);
		if (!all)
			return;
	}
}

size_t runs_poll(struct runs *r, struct pollfd *p, size_t cap)
{
	size_t n = 0;
	for (int i = 0; i < r->top; i++) {
		struct run *x = &r->all[i];
		int fds[] = {x->out, x->err};
		for (size_t k = 0; x->step == STEP_ALIVE && k < 2 && n < cap && n < N_ELEMENTS(r->polled); k++) {
			if (fds[k] < 0)
				continue;
			r->polled[n].run = x;
			r->polled[n].fd = fds[k];
			p[n++] = (struct pollfd){.fd = fds[k], .events = POLLIN};
		}
	}
	return n;
}

void runs_polled(struct runs *r, const struct pollfd *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct run *x = r->polled[i].run;
		if (!p[i].revents || x->step != STEP_ALIVE)
			continue;
		if (x->out == p[i].fd)
			read_end(x, &x->out, false);
		else if (x->err == p[i].fd)
			read_end(x, &x->err, false);
	}
}

/* ---- the end of a process ---- */
static void last_line_of(struct run *x)
{
	struct str s = str_trim(str_n(x->tail, x->tail_n));
	for (size_t i = s.n; i > 0; i--)
		if (s.p[i - 1] == '\n') {
			s = str_skip(s, i);
			break;
		}
	last_words(&x->a, "%.*s", (int)MIN(s.n, sizeof(x->a.last_line)), s.n ? s.p : "");
}

/* First line of a script into buf; its length, 0 if it cannot be read or is none. */
static size_t first_line(const struct runs *r, const struct run *x, char *buf, size_t cap, bool *ret_crlf)
{
	struct stat st;
	int fd = open_below(r->o.services, x->name, O_RDONLY | O_NONBLOCK, &st);
	ssize_t n = fd >= 0 ? pread(fd, buf, cap - 1, 0) : 0;
	if (fd >= 0)
		close(fd);
	struct str line, rest = str_n(buf, n > 0 ? (size_t)n : 0);
	line = str_cut(rest, '\n', &rest);
	*ret_crlf = rest.p && line.n > 0 && line.p[line.n - 1] == '\r';
	buf[line.n] = '\0';
	return line.n;
}

static enum run_fault interpreter_fault(const struct runs *r, struct run *x, int err)
{
	char line[160];
	bool crlf;
	size_t n = first_line(r, x, line, sizeof(line), &crlf);
	struct str program = str_trim(str_skip(str_n(line, n), 2)), rest;
	program = str_cut(program, ' ', &rest);
	bool script = n > 2 && str_starts(str_n(line, n), STR("#!"));
	if (err == ENOEXEC)
		last_words(&x->a, "./%s does not begin with #! and the name of an interpreter, and is no program of this machine", x->name);
	else if (!script)
		last_words(&x->a, "./%s cannot be executed: what it needs to be loaded was not found", x->name);
	else if (crlf)
		last_words(&x->a, "interpreter of ./%s not found: '%.*s\\r' - the file has CRLF line ends", x->name, STR_ARG(program));
	else
		last_words(&x->a, "interpreter of ./%s not found: '%.*s'", x->name, STR_ARG(program));
	return RUN_BAD_INTERPRETER;
}

static enum run_fault stage_fault(const struct runs *r, struct run *x, const struct run_report *rep)
{
	static const char *const stages[] = {"", "the folder", "its user", "its limits", "execution", "a new process"};
	if (rep->stage == STAGE_EXEC && (rep->err == ENOENT || rep->err == ENOEXEC || rep->err == ENOTDIR || rep->err == ELIBBAD))
		return interpreter_fault(r, x, rep->err);
	if (rep->stage == STAGE_EXEC && (rep->err == EACCES || rep->err == EPERM)) {
		last_words(&x->a, "./%s is not executable for the user that runs scripts", x->name);
		return RUN_NOT_EXECUTABLE;
	}
	last_words(&x->a, "cannot start %s: %s: %s", x->name, rep->stage < N_ELEMENTS(stages) ? stages[rep->stage] : "?", strerror(rep->err));
	return RUN_SYSTEM;
}

static enum run_fault script_fault(const struct runs *r, struct run *x, const struct run_report *rep)
{
	char line[160];
	bool crlf;
	last_line_of(x);
	int st = rep->wait_status;
	if (WIFSIGNALED(st)) {
		x->a.code = WTERMSIG(st);
		bool cpu = x->a.code == SIGXCPU || (x->a.code == SIGKILL && rep->cpu_ms >= r->o.p->cgi_cpu_s * 1000);
		return cpu ? RUN_CPU : RUN_SIGNAL;
	}
	x->a.code = WEXITSTATUS(st);
	/* "#!/usr/bin/env python3\r": the interpreter is found, and does not find what it is told to run */
	if (x->a.code == 127 && first_line(r, x, line, sizeof(line), &crlf) > 2 && crlf && str_starts(str_z(line), STR("#!")))
		return interpreter_fault(r, x, ENOENT);
	return x->a.code == 0 ? RUN_OK : RUN_EXIT;
}

static void script_ended(struct runs *r, struct run *x, int status)
{
	struct run_report rep = {0}, one;
	bool has = false;
	read_end(x, &x->out, true);
	read_end(x, &x->err, true);
	while (read(x->report, &one, sizeof(one)) == (ssize_t)sizeof(one)) /* the script's own comes before its warden's */
		if (!has || one.stage != STAGE_NONE) {
			rep = one;
			has = true;
		}
	enum run_fault fault;
	if (!has) {
		last_words(&x->a, "the process above %s was ended (status %d)", x->name, status);
		fault = RUN_SYSTEM;
	} else {
		fault = rep.stage != STAGE_NONE ? stage_fault(r, x, &rep) : script_fault(r, x, &rep);
	}
	finish(r, x, fault);
}

static void sound_ended(struct runs *r, struct run *x, int status)
{
	struct run_report rep = {0};
	enum run_fault fault = RUN_SYSTEM;
	if (read(x->report, &rep, sizeof(rep)) == (ssize_t)sizeof(rep) && rep.stage == STAGE_NONE) {
		fault = (enum run_fault)rep.fault;
		rep.text[sizeof(rep.text) - 1] = '\0';
		last_words(&x->a, "%s", rep.text);
		x->a.n = rep.n;
	} else if (WIFSIGNALED(status)) {
		x->a.code = WTERMSIG(status);
		fault = x->a.code == SIGXCPU ? RUN_CPU : RUN_SIGNAL;
		last_words(&x->a, "making the sound was ended by signal %d", x->a.code);
	} else {
		last_words(&x->a, "making the sound could not begin: %s", strerror(rep.err));
	}
	if (fault == RUN_OK && x->a.fault == RUN_OK) {
		if (x->has_key && memfd_seal(x->memfd) == 0)
			sound_cache_put(r->sounds, x->key, x->memfd, x->a.n);
		finish(r, x, RUN_OK);
		return;
	}
	for (int i = 0; i < r->top && !x->forget; i++) { /* those who wait for the same would fail the same way */
		struct run *y = &r->all[i];
		if (y->step != STEP_WAITING || !same_key(x, y))
			continue;
		memcpy(y->a.last_line, x->a.last_line, sizeof(y->a.last_line));
		y->a.code = x->a.code;
		finish_empty(r, y, x->a.fault != RUN_OK ? (enum run_fault)x->a.fault : fault);
	}
	finish_empty(r, x, fault);
}

void runs_ended(struct runs *r, pid_t pid, int status)
{
	for (int i = 0; i < r->top; i++) {
		struct run *x = &r->all[i];
		if (x->step != STEP_ALIVE || x->pid != pid)
			continue;
		if (is_script(x))
			script_ended(r, x, status);
		else
			sound_ended(r, x, status);
		pump_sounds(r);
		break;
	}
	if (!WIFEXITED(status)) { /* a warden that was ended leaves its children to us */
		static pid_t ours[N_RUNS];
		size_t n = 0;
		for (int i = 0; i < r->top; i++)
			if (r->all[i].step == STEP_ALIVE)
				ours[n++] = r->all[i].pid;
		run_child_orphans(ours, n);
	}
}

/* ---- time ---- */
static void out_of_time(struct run *x)
{
	if (x->told) { /* it does not listen */
		(void)kill(x->pid, SIGKILL);
		x->end_at_ms += KILL_MS;
		return;
	}
	if (x->a.fault == RUN_OK)
		x->a.fault = RUN_WALL;
	end_run(x);
}

void runs_times(struct runs *r)
{
	int64_t now = clock_boot_ms();
	for (int i = 0; i < r->top; i++) {
		struct run *x = &r->all[i];
		if (x->step == STEP_ALIVE && now >= x->end_at_ms)
			out_of_time(x);
		if (x->step == STEP_FREE || x->forget_at_ms == 0 || now < x->forget_at_ms)
			continue;
		x->forget = true;
		x->forget_at_ms = 0;
		if (x->step == STEP_ALIVE)
			end_run(x);
		else
			run_free(x);
	}
}

int64_t runs_next_ms(const struct runs *r)
{
	int64_t at = INT64_MAX;
	for (int i = 0; i < r->top; i++) {
		const struct run *x = &r->all[i];
		if (x->step == STEP_ALIVE)
			at = MIN(at, x->end_at_ms);
		if (x->step != STEP_FREE && x->forget_at_ms)
			at = MIN(at, x->forget_at_ms);
	}
	return at;
}

size_t runs_end_all(struct runs *r)
{
	size_t n = 0;
	for (int i = 0; i < r->top; i++) {
		struct run *x = &r->all[i];
		if (x->step != STEP_ALIVE)
			continue;
		x->forget = true;
		end_run(x);
		n++;
	}
	return n;
}
