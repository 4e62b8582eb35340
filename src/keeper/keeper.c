/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper: the process that outlives the others. Starts runner and worker, hands out what hold.c holds, reaps and restarts. Parses nothing from outside, reads no
 * configuration, allocates nothing after start. One thread, one poll: signals, the worker's link, the runner's link.
 *
 * The dead worker is reaped before the next one starts: until then the kernel may still eat packets in its name. A death that a poison line explains is followed by a
 * new worker at once, and so is that of a worker that has lived; other deaths, from the fifth in 10 s on, wait 100 ms · 2^n up to 5 s. Ready starts n anew.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define EX_CONFIG_CODE 78
#define DEATHS_MAX     5
#define DEATHS_MS      10000
#define BACKOFF_MS     100
#define BACKOFF_MAX_MS 5000
#define END_MS         2000 /* until a process that was told to end is ended */
#define LIVED_MS       500  /* a worker that was ready for so long is no part of a row of deaths */
#define N_WANTS        16
#define N_DIRS         2

struct one {                 /* worker or runner */
	pid_t pid;           /* 0 = none lives */
	int link;            /* -1 = none */
	int64_t start_at_ms; /* when the next is started; 0 = not planned */
	int64_t kill_at_ms;  /* 0 = never */
	int64_t deaths_ms[DEATHS_MAX];
	uint32_t n_deaths, backoff;
};

static struct {
	const struct keeper_opts *o;
	struct one worker, runner;
	struct ids user;
	struct poison_page *poison;
	struct {
		uint8_t pool;
		uint32_t n;
	} wants[N_WANTS];
	uint32_t n_wants;
	bool blocked;     /* the worker's socket took no more */
	int dirs[N_DIRS]; /* folders that the runner opened at its first start */
	int runner_link;  /* the worker's end of a link to the runner that no worker has yet; -1 */
	int stops;        /* SIGTERMs so far */
	bool hangup;      /* SIGHUP is to be told */
	int stops_told;
	bool ready, was_ready; /* this worker; any worker */
	bool done;
	int code;
	char death[128]; /* what the last worker died of, for the line when the next one is ready */
	int64_t death_ms, ready_ms;
} kp;

_printf_(1, 2) static void say(const char *fmt, ...)
{
	char line[256];
	struct out o = {.p = line, .cap = sizeof(line) - 1};
	va_list ap;
	OUT_STR(&o, "keeper: ");
	va_start(ap, fmt);
	int n = vsnprintf(line + o.n, sizeof(line) - 1 - o.n, fmt, ap);
	va_end(ap);
	o.n = n < 0 ? o.n : MIN(o.n + (size_t)n, sizeof(line) - 2);
	line[o.n++] = '\n';
	if (write(kp.o->log_fd, line, o.n) < 0)
		return; /* nobody to tell */
}

/* ---- starting ---- */
static int send_fd(int link, uint32_t type, uint32_t n, int fd)
{
	struct keep_msg m = {.type = type, .n = n};
	return link_send(link, &m, sizeof(m), &fd, 1, false);
}

static void later(struct one *p, int64_t ms)
{
	p->start_at_ms = clock_boot_ms() + ms;
}

/* A new pair: one end to the runner, the other kept for the worker. */
static void link_runner(void)
{
	int pair[2];
	if (kp.runner_link >= 0)
		close(kp.runner_link);
	kp.runner_link = -1;
	if (kp.runner.link < 0 || link_pair(pair) < 0)
		return;
	int r = send_fd(kp.runner.link, KEEP_LINK, 0, pair[1]);
	close(pair[1]);
	kp.runner_link = pair[0];
	if (r < 0)
		say("the runner takes no link: %s", strerror(-r));
}

static int start(struct one *p, bool runner)
{
	int pair[2], r = link_pair(pair);
	if (r < 0)
		return r;
	struct spawn s = {
	    .argv = runner ? kp.o->runner_argv : kp.o->worker_argv, .fd3 = pair[1], .fd4 = runner ? -1 : kp.runner_link, .ids = &kp.user, .runner = runner};
	r = spawn_self(&s, &p->pid);
	close(pair[1]);
	if (r < 0) {
		close(pair[0]);
		return r;
	}
	p->link = pair[0];
	p->start_at_ms = p->kill_at_ms = 0;
	return 0;
}

static void start_runner(void)
{
	int r = start(&kp.runner, true);
	if (r < 0) {
		say("cannot start the runner: %s", strerror(-r));
		later(&kp.runner, BACKOFF_MAX_MS);
		return;
	}
	for (uint32_t i = 0; i < N_DIRS; i++)
		if (kp.dirs[i] >= 0 && send_fd(kp.runner.link, KEEP_DIR, i, kp.dirs[i]) < 0)
			say("the runner takes no folder");
	link_runner();
	if (kp.worker.pid && kp.worker.link >= 0 && kp.runner_link >= 0) {
		if (send_fd(kp.worker.link, KEEP_LINK, 0, kp.runner_link) < 0)
			say("the worker takes no link to the new runner");
		close(kp.runner_link);
		kp.runner_link = -1;
	}
}

static void start_worker(void)
{
	if (kp.runner.link >= 0 && kp.runner_link < 0)
		link_runner();
	hold_new_worker();
	kp.ready = false;
	kp.n_wants = 0;
	kp.blocked = false;
	kp.stops_told = 0;
	int r = start(&kp.worker, false);
	if (r < 0) {
		say("cannot start the worker: %s", strerror(-r));
		later(&kp.worker, BACKOFF_MAX_MS);
		return;
	}
	if (kp.runner_link >= 0)
		close(kp.runner_link);
	kp.runner_link = -1;
}

/* ---- the worker's messages ---- */
static void tell_systemd(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = path ? strlen(path) : 0;
	if (n < 2 || n >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, n);
	if (a.sun_path[0] == '@')
		a.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	static const char text[] = "READY=1\n";
	if (sendto(fd, text, sizeof(text) - 1, MSG_NOSIGNAL, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		say("systemd cannot be told: %s", strerror(errno));
	close(fd);
}

static void on_ready(void)
{
	if (kp.death_ms)
		say("worker (%s; restarted in %lld ms as pid %d", kp.death, (long long)(clock_boot_ms() - kp.death_ms), (int)kp.worker.pid);
	kp.death_ms = 0;
	kp.worker.backoff = 0;
	kp.ready_ms = clock_boot_ms();
	hold_ready();
	spawn_drop_keeper(&kp.user);
	kp.ready = true;
	if (!kp.was_ready)
		tell_systemd();
	kp.was_ready = true;
}

static void answer(const struct keep_msg *m, const int *fds, int n_fds)
{
	int r = link_send(kp.worker.link, m, sizeof(*m), fds, n_fds, false);
	if (r < 0 && r != -EPIPE)
		say("the worker takes no answer: %s", strerror(-r));
}

static void on_socket(struct keep_msg *m)
{
	int fd = -1;
	struct addr asked = m->socket.addr;
	enum keep_kind kind = m->socket.kind == KEEP_LISTEN ? KEEP_LISTEN : KEEP_UDP;
	m->err = hold_socket(kind, &asked, &m->socket.addr, &fd);
	if (m->err == -EADDRINUSE)
		who_holds(kind, &asked, m->socket.who, sizeof(m->socket.who));
	answer(m, &fd, m->err < 0 ? 0 : 1);
}

static void on_memory(struct keep_msg *m)
{
	int fd = -1;
	bool fresh = false;
	m->memory.name[sizeof(m->memory.name) - 1] = '\0';
	m->err = hold_memory(m->memory.name, m->memory.size, &fresh, &fd);
	m->memory.fresh = fresh;
	answer(m, &fd, m->err < 0 ? 0 : 1);
}

static void on_fetch(struct keep_msg *m)
{
	int fds[LINK_FDS], n = 0;
	if (m->type == KEEP_CONNS)
		n = hold_conns(m, fds);
	else if (m->n <= KEEP_PAIRS_A_MESSAGE)
		n = hold_fetch(m, fds);
	else
		m->err = -EINVAL;
	answer(m, fds, n);
}

static void on_want(const struct keep_msg *m)
{
	kp.wants[kp.n_wants].pool = m->pairs.pool;
	kp.wants[kp.n_wants].n = MIN(m->n, (uint32_t)KEEP_PAIRS_A_MESSAGE);
	kp.n_wants++;
}

/* Serves what is wanted, as far as the socket takes it. */
static void serve_wants(void)
{
	while (kp.n_wants > 0 && kp.worker.link >= 0) {
		struct keep_msg m = {.type = KEEP_PAIRS};
		int fds[LINK_FDS];
		int n = hold_want(kp.wants[0].pool, (int)kp.wants[0].n, &m, fds);
		int r = link_send(kp.worker.link, &m, sizeof(m), fds, n, false);
		kp.blocked = r == -EAGAIN;
		if (r < 0)
			hold_untake(&m);
		if (kp.blocked)
			return;
		kp.n_wants--;
		memmove(&kp.wants[0], &kp.wants[1], kp.n_wants * sizeof(kp.wants[0]));
	}
}

static void on_worker_message(struct keep_msg *m, int *fds, int n_fds)
{
	m->err = 0;
	if (m->type == KEEP_HOLD && n_fds == 1) {
		if (hold_conn(&m->flow, fds[0]) < 0)
			say("no room to hold another connection");
		return;
	}
	link_close_fds(fds, n_fds);
	switch (m->type) {
	case KEEP_SOCKET:
		on_socket(m);
		break;
	case KEEP_MEMORY:
		on_memory(m);
		break;
	case KEEP_FETCH:
	case KEEP_CONNS:
		on_fetch(m);
		break;
	case KEEP_POOL:
		m->err = hold_pool(m->pairs.pool, &m->pairs.host, m->pairs.low, m->pairs.high);
		answer(m, NULL, 0);
		break;
	case KEEP_WANT:
		on_want(m);
		break;
	case KEEP_DROP:
		hold_drop_conn(&m->flow);
		break;
	case KEEP_READY:
		on_ready();
		break;
	default:
		say("the worker sent a message of unknown type %u", m->type);
	}
}

static void on_runner_message(struct keep_msg *m, int *fds, int n_fds)
{
	if (m->type == KEEP_DIR && n_fds == 1 && m->n < N_DIRS) {
		if (kp.dirs[m->n] >= 0)
			close(kp.dirs[m->n]);
		kp.dirs[m->n] = fds[0];
		return;
	}
	link_close_fds(fds, n_fds);
}

static void drop_link(struct one *p)
{
	if (p->link >= 0)
		close(p->link);
	p->link = -1;
}

static void read_link(struct one *p)
{
	struct keep_msg m;
	int fds[4], n_fds;
	while (p->link >= 0 && kp.n_wants < N_WANTS) {
		ssize_t r = link_recv(p->link, &m, sizeof(m), fds, 4, &n_fds);
		if (r == -EAGAIN)
			return;
		if (r <= 0) { /* its death is told by SIGCHLD */
			drop_link(p);
			return;
		}
		if ((size_t)r != sizeof(m))
			link_close_fds(fds, n_fds);
		else if (p == &kp.worker)
			on_worker_message(&m, fds, n_fds);
		else
			on_runner_message(&m, fds, n_fds);
	}
}

/* ---- deaths ---- */
/* How long until the next one may start. */
static int64_t count_death(struct one *p, int64_t now)
{
	p->deaths_ms[p->n_deaths++ % DEATHS_MAX] = now;
	if (p->n_deaths < DEATHS_MAX || now - p->deaths_ms[p->n_deaths % DEATHS_MAX] > DEATHS_MS) { /* the slot behind the newest is the oldest */
		p->backoff = 0;
		return 0;
	}
	int64_t wait = MIN((int64_t)BACKOFF_MS << MIN(p->backoff, 10u), (int64_t)BACKOFF_MAX_MS);
	p->backoff++;
	return wait;
}

static void name_death(int status, char *ret, size_t cap)
{
	if (WIFSIGNALED(status))
		snprintf(ret, cap, "signal %d", WTERMSIG(status));
	else
		snprintf(ret, cap, "exit code %d", WEXITSTATUS(status));
}

static void finish(int code)
{
	kp.done = true;
	kp.code = code;
}

static void on_worker_death(pid_t pid, int status)
{
	char how[64];
	int64_t now = clock_boot_ms();
	drop_link(&kp.worker);
	kp.worker.pid = 0;
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || (WEXITSTATUS(status) == EX_CONFIG_CODE && !kp.ready) || !kp.was_ready)) {
		finish(WEXITSTATUS(status)); /* what never could start is not started again and again */
		return;
	}
	if (kp.stops >= 2) {
		finish(0);
		return;
	}
	name_death(status, how, sizeof(how));
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	bool explained = poison_note(kp.poison, killed ? POISON_KILLED : POISON_CRASH, now);
	bool lived = kp.ready && now - kp.ready_ms >= LIVED_MS;
	int64_t wait = explained || lived ? 0 : count_death(&kp.worker, now);
	spawn_drop_keeper(&kp.user);
	snprintf(kp.death, sizeof(kp.death), "pid %d) died: %s", (int)pid, how);
	kp.death_ms = now;
	if (!kp.ready)
		say("worker (pid %d) died: %s before it was ready; the next one in %lld ms", (int)pid, how, (long long)wait);
	later(&kp.worker, wait);
}

static void on_runner_death(pid_t pid, int status)
{
	char how[64];
	drop_link(&kp.runner);
	kp.runner.pid = 0;
	name_death(status, how, sizeof(how));
	int64_t wait = count_death(&kp.runner, clock_boot_ms());
	if (!kp.done) {
		say("runner (pid %d) died: %s; the next one in %lld ms", (int)pid, how, (long long)wait);
		later(&kp.runner, wait);
	}
}

static void reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == kp.worker.pid)
			on_worker_death(pid, status);
		else if (pid == kp.runner.pid)
			on_runner_death(pid, status);
	}
}

/* ---- signals ---- */
static void tell_stop(void)
{
	if (kp.stops_told >= kp.stops || kp.worker.link < 0)
		return;
	struct keep_msg m = {.type = KEEP_STOP, .n = (uint32_t)kp.stops};
	if (link_send(kp.worker.link, &m, sizeof(m), NULL, 0, false) == 0)
		kp.stops_told = kp.stops;
}

static void on_stop(void)
{
	if (kp.done)
		return;
	kp.stops++;
	if (kp.worker.pid == 0) {
		finish(0);
		return;
	}
	if (kp.stops >= 2 && kp.worker.kill_at_ms == 0)
		kp.worker.kill_at_ms = clock_boot_ms() + END_MS;
	tell_stop();
}

/* SIGHUP: to the worker, when there is one that listens. */
static void tell_hangup(void)
{
	if (!kp.hangup || !kp.worker.pid || !kp.ready)
		return;
	kp.hangup = false;
	(void)kill(kp.worker.pid, SIGHUP);
}

static void on_signals(int fd)
{
	struct signalfd_siginfo si;
	while (read(fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			on_stop();
		else if (si.ssi_signo == SIGHUP)
			kp.hangup = true;
	}
	reap();
	tell_hangup();
}

/* ---- the loop ---- */
static int open_poison(void)
{
	bool fresh;
	int fd, r = hold_memory(POISON_NAME, sizeof(struct poison_page), &fresh, &fd);
	if (r < 0)
		return r;
	kp.poison = poison_map(fd);
	if (!kp.poison)
		return -ENOMEM;
	kp.poison->dropped = kp.user.given && geteuid() == 0 && kp.user.uid != 0;
	return 0;
}

static int64_t next_ms(void)
{
	int64_t at = INT64_MAX;
	const struct one *both[] = {&kp.worker, &kp.runner};
	for (int i = 0; i < 2; i++) {
		if (both[i]->start_at_ms)
			at = MIN(at, both[i]->start_at_ms);
		if (both[i]->kill_at_ms)
			at = MIN(at, both[i]->kill_at_ms);
	}
	return at;
}

static void run_times(void)
{
	int64_t now = clock_boot_ms();
	struct one *both[] = {&kp.worker, &kp.runner};
	for (int i = 0; i < 2; i++)
		if (both[i]->kill_at_ms && now >= both[i]->kill_at_ms) {
			both[i]->kill_at_ms = 0;
			if (both[i]->pid)
				(void)kill(both[i]->pid, SIGKILL);
		}
	if (kp.done)
		return;
	if (kp.runner.start_at_ms && now >= kp.runner.start_at_ms) {
		kp.runner.start_at_ms = 0;
		start_runner();
	}
	if (kp.worker.start_at_ms && now >= kp.worker.start_at_ms) {
		kp.worker.start_at_ms = 0;
		start_worker();
	}
}

static void turn(int signals)
{
	struct pollfd p[3] = {
	    {.fd = signals, .events = POLLIN},
	    {.fd = kp.worker.link, .events = (short)((kp.n_wants < N_WANTS ? POLLIN : 0) | (kp.blocked ? POLLOUT : 0))},
	    {.fd = kp.runner.link, .events = POLLIN},
	};
	int64_t at = next_ms(), now = clock_boot_ms();
	int timeout = at == INT64_MAX ? -1 : (int)MIN(MAX(at - now, 0), 60000);
	if (kp.blocked && (timeout < 0 || timeout > 10))
		timeout = 10; /* too many descriptors in flight does not show as POLLOUT */
	if (poll(p, 3, timeout) < 0 && errno != EINTR)
		return;
	/* what the worker said before it died comes first */
	if (p[1].revents & (POLLIN | POLLHUP | POLLERR))
		read_link(&kp.worker);
	if (p[2].revents & (POLLIN | POLLHUP | POLLERR))
		read_link(&kp.runner);
	serve_wants();
	if (p[0].revents)
		on_signals(signals);
	run_times();
	tell_stop();
	tell_hangup();
}

/* The worker has ended: the runner ends its groups when its link closes. */
static void end_runner(int signals)
{
	drop_link(&kp.runner);
	if (!kp.runner.pid)
		return;
	kp.runner.kill_at_ms = clock_boot_ms() + END_MS;
	while (kp.runner.pid)
		turn(signals);
}

int keeper_run(const struct keeper_opts *o)
{
	memset(&kp, 0, sizeof(kp));
	kp.o = o;
	kp.worker.link = kp.runner.link = kp.runner_link = kp.dirs[0] = kp.dirs[1] = -1;
	struct ids scripts;
	const char *both[] = {o->user, o->script_user};
	for (int i = 0; i < 2 && geteuid() == 0; i++)
		if (ids_find(both[i], i == 0 ? &kp.user : &scripts) < 0) {
			say("there is no user %s", both[i]);
			return EX_CONFIG_CODE;
		}
	if (process_files())
		say("cannot raise the limit of open files");
	int signals = process_signals(), r = signals < 0 ? signals : open_poison();
	if (r == 0 && o->given_name)
		r = hold_given(o->given_name, o->given_fd);
	if (r < 0) {
		say("cannot start: %s", strerror(-r));
		return 71; /* EX_OSERR */
	}
	if (o->runner_argv)
		start_runner();
	start_worker();
	while (!kp.done)
		turn(signals);
	drop_link(&kp.worker);
	end_runner(signals);
	link_close_fds(kp.dirs, N_DIRS);
	if (kp.runner_link >= 0)
		close(kp.runner_link);
	munmap(kp.poison, sizeof(*kp.poison));
	hold_done();
	close(signals);
	return kp.code;
}
