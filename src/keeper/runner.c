/* SPDX-License-Identifier: Apache-2.0
 *
 * runner: the process that runs what may misbehave. One thread, one poll: signals, the keeper's link, the worker's link, the services folder, the pipes of its scripts.
 * It has no socket to the outside, and no authority but to become the scripts' user. Ends when the keeper's link closes, and nothing that it started outlives it.
 *
 * Leaves to others: the life of a request (runs.c), how a script is run (run_child.c), the list of the folder (folder.c).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define N_POLL 4096
#define END_MS 1500

enum { AT_SIGNALS, AT_KEEPER, AT_WORKER, AT_FOLDER, N_OWN };

struct runner {
	int keeper, worker, signals; /* links: -1 = none */
	struct folder services, sounds;
	struct runs *runs;
	bool blocked; /* the worker's link took no more */
	bool end;
	char refusal[160];
	struct pollfd polled[N_POLL];
};

/* A script never runs as root. */
static void find_user(struct runner *r, const char *script_user, struct runs_opts *o)
{
	if (geteuid() != 0 && !spawn_can_change())
		return; /* all are one user */
	int e = ids_find(script_user, &o->script);
	if (e < 0)
		snprintf(r->refusal, sizeof(r->refusal), "scripts are not run: there is no user %.64s (script_user)", script_user);
	else if (geteuid() == 0 && (!o->script.given || o->script.uid == 0))
		snprintf(r->refusal, sizeof(r->refusal), "scripts are not run as root: name another user (script_user)");
	if (!r->refusal[0])
		return;
	o->refusal = r->refusal;
	log_line(LOG_ERROR, "runner: %s", r->refusal);
}

/* ---- folders ---- */
static void show_keeper(struct runner *r, struct folder *f, uint32_t number)
{
	if (!f->fresh_dir)
		return;
	f->fresh_dir = false;
	struct keep_msg m = {.type = KEEP_DIR, .n = number};
	int e = f->dir >= 0 ? link_send(r->keeper, &m, sizeof(m), &f->dir, 1, false) : 0;
	if (e < 0 && e != -EPIPE)
		log_line(LOG_WARN, "runner: the keeper does not hold %s", f->path);
}

static void send_folder(struct runner *r)
{
	struct run_answer a = {.state = RUN_FOLDER};
	int fd = folder_list(&r->services, &a.n);
	if (fd < 0) {
		log_line(LOG_ERROR, "runner: cannot list %s: %s", r->services.path, strerror(-fd));
		r->services.send_at_ms = clock_boot_ms() + 1000;
		return;
	}
	int e = run_reply(r->worker, &a, fd);
	close(fd);
	r->blocked = e == -EAGAIN;
	if (!r->blocked)
		r->services.send_at_ms = 0;
}

/* ---- links ---- */
static void drop_worker(struct runner *r)
{
	if (r->worker < 0)
		return;
	close(r->worker);
	r->worker = -1;
	r->blocked = false;
	runs_link_lost(r->runs);
}

static void read_keeper(struct runner *r)
{
	struct keep_msg m;
	int fds[2], n_fds;
	for (;;) {
		ssize_t n = link_recv(r->keeper, &m, sizeof(m), fds, 2, &n_fds);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			r->end = true;
			return;
		}
		if ((size_t)n == sizeof(m) && m.type == KEEP_LINK && n_fds == 1) {
			drop_worker(r);
			r->worker = fds[0];
			r->services.send_at_ms = clock_boot_ms();
		} else if ((size_t)n == sizeof(m) && m.type == KEEP_DIR && n_fds == 1) {
			folder_hold(m.n == 0 ? &r->services : &r->sounds, fds[0], clock_boot_ms());
		} else {
			link_close_fds(fds, n_fds);
		}
	}
}

static void flush(struct runner *r)
{
	if (r->worker < 0)
		return;
	int e = runs_flush(r->runs, r->worker);
	r->blocked = e == -EAGAIN;
	if (e < 0 && !r->blocked)
		drop_worker(r);
}

static void read_worker(struct runner *r)
{
	static char buf[RUN_BYTES_MAX + 1];
	int fds[2], n_fds;
	while (r->worker >= 0 && !r->blocked) {
		ssize_t n = link_recv(r->worker, buf, sizeof(buf), fds, 2, &n_fds);
		if (n == -EAGAIN)
			return;
		if (n == -EMSGSIZE)
			continue;
		if (n <= 0) {
			drop_worker(r);
			return;
		}
		runs_request(r->runs, buf, (size_t)n, fds, n_fds);
		flush(r);
	}
}

/* ---- the loop ---- */
static void on_signals(struct runner *r)
{
	struct signalfd_siginfo si;
	while (read(r->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo == SIGTERM)
			r->end = true; /* SIGINT and SIGHUP are meant for the keeper */
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		runs_ended(r->runs, pid, status);
}

static int wait_ms(const struct runner *r)
{
	int64_t now = clock_boot_ms(), at = MIN(runs_next_ms(r->runs), r->services.check_at_ms);
	at = MIN(at, r->sounds.check_at_ms);
	if (r->services.send_at_ms && r->worker >= 0 && !r->blocked)
		at = MIN(at, r->services.send_at_ms);
	return r->blocked ? (int)MIN(MAX(at - now, 0), 10) : (int)MIN(MAX(at - now, 0), 1000);
}

static void times(struct runner *r)
{
	int64_t now = clock_boot_ms();
	struct folder *both[] = {&r->services, &r->sounds};
	runs_times(r->runs);
	for (uint32_t i = 0; i < 2; i++) {
		if (now >= both[i]->check_at_ms)
			folder_check(both[i], now);
		show_keeper(r, both[i], i);
	}
	if (r->worker >= 0 && r->services.send_at_ms && now >= r->services.send_at_ms && !r->blocked)
		send_folder(r);
}

static void turn(struct runner *r)
{
	struct pollfd *p = r->polled;
	short worker_events = (short)(r->blocked ? POLLOUT : POLLIN);
	p[AT_SIGNALS] = (struct pollfd){.fd = r->signals, .events = POLLIN};
	p[AT_KEEPER] = (struct pollfd){.fd = r->end ? -1 : r->keeper, .events = POLLIN};
	p[AT_WORKER] = (struct pollfd){.fd = r->worker, .events = worker_events};
	p[AT_FOLDER] = (struct pollfd){.fd = r->services.inotify, .events = POLLIN};
	size_t n = runs_poll(r->runs, p + N_OWN, N_POLL - N_OWN);
	if (poll(p, N_OWN + n, wait_ms(r)) < 0)
		return;
	runs_polled(r->runs, p + N_OWN, n);
	if (p[AT_SIGNALS].revents)
		on_signals(r);
	if (p[AT_FOLDER].revents)
		folder_read(&r->services, clock_boot_ms());
	if (p[AT_KEEPER].revents)
		read_keeper(r);
	if (p[AT_WORKER].revents & ~POLLOUT)
		read_worker(r);
	flush(r);
	times(r);
}

static void end_children(struct runner *r)
{
	int64_t until = clock_boot_ms() + END_MS;
	drop_worker(r);
	while (runs_end_all(r->runs) > 0 && clock_boot_ms() < until)
		turn(r);
}

int runner_main(int fd, const struct params *p, const char *script_user)
{
	static struct runner r;
	struct runs_opts o = {.p = p, .services = &r.services, .sounds = &r.sounds};
	int64_t now = clock_boot_ms();
	memset(&r, 0, sizeof(r));
	r.keeper = fd;
	r.worker = -1;
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (process_files())
		log_line(LOG_WARN, "runner: the limit of open files stays");
	folder_init(&r.services, p->services, now);
	folder_init(&r.sounds, p->sounds, now);
	spawn_forget_read();
	find_user(&r, script_user, &o);
	r.signals = process_signals();
	r.runs = runs_new(&o);
	if (r.signals < 0 || !r.runs || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
		log_line(LOG_ERROR, "runner: cannot start");
		return 71; /* EX_OSERR */
	}
	show_keeper(&r, &r.services, 0);
	show_keeper(&r, &r.sounds, 1);
	while (!r.end)
		turn(&r);
	end_children(&r);
	runs_free(r.runs);
	folder_done(&r.services);
	folder_done(&r.sounds);
	close(r.signals);
	return 0;
}
