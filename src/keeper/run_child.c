/* SPDX-License-Identifier: Apache-2.0
 *
 * run_child: how a script, or a piece of work on foreign bytes, is run. Runner only, in processes of their own.
 *
 * A script stands below a warden: a process that adopts all that the script leaves behind (PR_SET_CHILD_SUBREAPER), ends it when the script ends, is told to end, or the
 * runner dies, and only then reports. So nothing that a script starts outlives it, whatever group or session it flees into. The script itself has its own session, user,
 * limits and only the environment it is given (RFC 3875); the name it is executed by never holds a slash, so nothing but the folder's own files can be run.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define MIB        (1ull << 20)
#define FILE_MAX   (64 * MIB) /* that a script may write */
#define WORK_CPU_S 10
#define WORK_DATA  (512 * MIB)

static int limit(int what, rlim_t soft, rlim_t hard)
{
	struct rlimit now;
	if (getrlimit((__rlimit_resource_t)what, &now) < 0)
		return -errno;
	struct rlimit l = {.rlim_cur = MIN(soft, now.rlim_max), .rlim_max = MIN(hard, now.rlim_max)};
	return setrlimit((__rlimit_resource_t)what, &l) < 0 ? -errno : 0;
}

static int limit_script(const struct run_child *c, bool own_user)
{
	const struct params *p = c->p;
	rlim_t procs = (rlim_t)p->cgi_procs * c->n_alive;
	if (limit(RLIMIT_AS, p->cgi_as_mb * MIB, p->cgi_as_mb * MIB) < 0 || limit(RLIMIT_DATA, p->cgi_data_mb * MIB, p->cgi_data_mb * MIB) < 0 ||
	    limit(RLIMIT_CPU, p->cgi_cpu_s, p->cgi_cpu_s + 1) < 0 || limit(RLIMIT_NOFILE, p->cgi_files, p->cgi_files) < 0 ||
	    limit(RLIMIT_FSIZE, FILE_MAX, FILE_MAX) < 0 || limit(RLIMIT_CORE, 0, 0) < 0)
		return -errno;
	/* counted over all processes of the user: of a user that also runs the rest it would be a bound on the rest */
	return own_user ? limit(RLIMIT_NPROC, procs, procs) : 0;
}

_noreturn_ static void fail(const struct run_child *c, enum run_stage stage, int err)
{
	struct run_report r = {.stage = stage, .err = err};
	_exit(write(c->report, &r, sizeof(r)) == (ssize_t)sizeof(r) ? 127 : 126);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The links and the other runs' pipes are no business of a child. */
static void close_others(const struct run_child *c)
{
	int keep[] = {2, c->in, c->out, c->err, c->report, c->dir};
	qsort(keep, N_ELEMENTS(keep), sizeof(*keep), by_number);
	for (size_t i = 0; i < N_ELEMENTS(keep); i++) {
		unsigned from = (unsigned)keep[i] + 1, to = i + 1 < N_ELEMENTS(keep) ? (unsigned)keep[i + 1] - 1 : ~0u;
		if (keep[i] >= 2 && from <= to)
			(void)syscall(SYS_close_range, from, to, 0);
	}
}

/* 0, 1, 2 as the script knows them, 3 the report (closed by exec), nothing else. */
static int place(struct run_child *c)
{
	int fds[4] = {c->in, c->out, c->err, c->report};
	for (int i = 0; i < 4; i++)
		if ((fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10)) < 0)
			return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	if (dup3(fds[3], 3, O_CLOEXEC) < 0)
		return -errno;
	c->report = 3;
	return syscall(SYS_close_range, 4, ~0u, 0) < 0 ? -errno : 0;
}

_noreturn_ static void script(struct run_child *c, pid_t warden)
{
	char path[64];
	char *argv[] = {path, NULL};
	spawn_clean_signals();
	(void)setsid();
	if (fchdir(c->dir) < 0)
		fail(c, STAGE_FOLDER, errno);
	int r = place(c);
	if (r < 0)
		fail(c, STAGE_LIMIT, -r);
	uid_t before = geteuid();
	if ((r = spawn_become(c->ids)) < 0)
		fail(c, STAGE_USER, -r);
	if (geteuid() == 0) /* whatever was configured: never */
		fail(c, STAGE_USER, EPERM);
	if ((r = limit_script(c, geteuid() != before)) < 0)
		fail(c, STAGE_LIMIT, -r);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != warden)
		_exit(126);
	snprintf(path, sizeof(path), "./%s", c->name);
	(void)umask(022);
	execve(path, argv, c->env);
	fail(c, STAGE_EXEC, errno);
}

/* ---- the warden ---- */
static pid_t parent_of(const char *pid)
{
	char path[300], line[512];
	int parent = -1;
	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return -1;
	if (fgets(line, sizeof(line), f)) {
		const char *behind = strrchr(line, ')'); /* the name in brackets may hold anything */
		if (!behind || sscanf(behind + 1, " %*c %d", &parent) != 1)
			parent = -1;
	}
	fclose(f);
	return parent;
}

/* Our children as the kernel knows them. /proc/PID/task/PID/children is not in every kernel: all of /proc is looked through. */
static size_t read_children(pid_t *ret, size_t cap)
{
	size_t n = 0;
	pid_t me = getpid();
	DIR *d = opendir("/proc");
	struct dirent *e;
	while (d && n < cap && (e = readdir(d))) {
		uint64_t pid;
		if (str_u64(str_z(e->d_name), INT32_MAX, &pid) == 0 && parent_of(e->d_name) == me)
			ret[n++] = (pid_t)pid;
	}
	if (d)
		closedir(d);
	return n;
}

struct ending { /* of the script's own process */
	int status;
	struct rusage used;
};

/* Ends the script's group, then child by child all that has come to us, until there is none. The script is reaped here and not before: until then its group's number is its. */
static void end_all(pid_t main_pid, struct ending *ret)
{
	pid_t all[256];
	struct rusage u;
	int status;
	(void)kill(-main_pid, SIGKILL);
	(void)kill(main_pid, SIGKILL);
	for (;;) {
		pid_t pid = wait4(-1, &status, WNOHANG, &u);
		if (pid == 0) {
			size_t n = read_children(all, N_ELEMENTS(all));
			for (size_t i = 0; i < n; i++)
				(void)kill(all[i], SIGKILL);
			pid = wait4(-1, &status, 0, &u);
		}
		if (pid < 0)
			return;
		if (pid == main_pid)
			*ret = (struct ending){status, u};
	}
}

/* True when the script's own process has ended (it stays a zombie); what it left behind and what ended is reaped. */
static bool main_ended(pid_t main_pid)
{
	siginfo_t si = {0};
	while (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid != 0) {
		if (si.si_pid == main_pid)
			return true;
		(void)waitpid(si.si_pid, NULL, 0);
		si.si_pid = 0;
	}
	si.si_pid = 0;
	return waitid(P_PID, (id_t)main_pid, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid == main_pid;
}

_noreturn_ static void watch(const struct run_child *c, pid_t main_pid, const sigset_t *set)
{
	siginfo_t si;
	struct ending e = {.status = SIGKILL};
	while (!main_ended(main_pid))
		if (sigwaitinfo(set, &si) == SIGTERM)
			break;
	end_all(main_pid, &e);
	struct run_report r = {.wait_status = e.status,
			       .cpu_ms = (uint32_t)(e.used.ru_utime.tv_sec + e.used.ru_stime.tv_sec) * 1000u +
					 (uint32_t)((e.used.ru_utime.tv_usec + e.used.ru_stime.tv_usec) / 1000)};
	_exit(write(c->report, &r, sizeof(r)) == (ssize_t)sizeof(r) ? 0 : 126);
}

_noreturn_ static void warden(struct run_child *c, pid_t runner)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || getppid() != runner)
		_exit(126);
	close_others(c);
	pid_t me = getpid();
	pid_t pid = fork();
	if (pid < 0)
		fail(c, STAGE_FORK, errno);
	if (pid == 0)
		script(c, me);
	close(c->in);
	close(c->out);
	close(c->err);
	watch(c, pid, &set);
}

/* ---- work on foreign bytes: no exec, no file to be opened ---- */
_noreturn_ static void work(const struct run_child *c, pid_t runner)
{
	struct run_report r = {0};
	spawn_clean_signals();
	close_others(c);
	uid_t before = geteuid();
	struct ids nobody = {.uid = 65534, .gid = 65534, .given = true};
	int e = spawn_become(c->ids->given || before != 0 ? c->ids : &nobody);
	if (e < 0)
		fail(c, STAGE_USER, -e);
	if ((!SHADOW_MEMORY && (limit(RLIMIT_AS, c->p->cgi_as_mb * MIB, c->p->cgi_as_mb * MIB) < 0 || limit(RLIMIT_DATA, WORK_DATA, WORK_DATA) < 0)) ||
	    limit(RLIMIT_CPU, WORK_CPU_S, WORK_CPU_S + 1) < 0 || limit(RLIMIT_NOFILE, 0, 0) < 0 || limit(RLIMIT_CORE, 0, 0) < 0 ||
	    limit(RLIMIT_FSIZE, limit_of(LIMIT_SOUND_CACHE), limit_of(LIMIT_SOUND_CACHE)) < 0 || (geteuid() != before && limit(RLIMIT_NPROC, 0, 0) < 0))
		fail(c, STAGE_LIMIT, errno);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != runner)
		_exit(126);
	c->work(c->arg, &r);
	_exit(write(c->report, &r, sizeof(r)) == (ssize_t)sizeof(r) ? 0 : 126);
}

int run_child_start(const struct run_child *c, pid_t *ret)
{
	pid_t runner = getpid();
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		struct run_child mine = *c;
		if (mine.name)
			warden(&mine, runner);
		work(&mine, runner);
	}
	*ret = pid;
	return 0;
}

void run_child_end(pid_t pid, bool is_script)
{
	(void)kill(pid, is_script ? SIGTERM : SIGKILL);
}

void run_child_orphans(const pid_t *ours, size_t n_ours)
{
	pid_t all[256];
	size_t n = read_children(all, N_ELEMENTS(all));
	for (size_t i = 0; i < n; i++) {
		bool known = false;
		for (size_t k = 0; k < n_ours && !known; k++)
			known = ours[k] == all[i];
		if (!known)
			(void)kill(all[i], SIGKILL);
	}
}
