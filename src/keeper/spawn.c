/* SPDX-License-Identifier: Apache-2.0
 *
 * spawn: starts the other processes out of this very binary, and the privileges of each (capabilities(7)).
 *
 *   keeper   until the worker is ready as it was started; then the user given, with the rights to bind low ports, to start others as their users and to end them
 *   worker   the user given, no right at all, no new privileges
 *   runner   the user given, with the rights to become the scripts' user and to end that user's processes; to look into any folder until its folders are open
 *   scripts  the scripts' user, no right at all (run_child.c calls spawn_become)
 *
 * Not started as root: all stay who they are.
 */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define ABOVE 10 /* descriptors are moved out of the way first */

static const cap_value_t keeper_caps[] = {CAP_NET_BIND_SERVICE, CAP_SETUID, CAP_SETGID, CAP_KILL};
static const cap_value_t runner_caps[] = {CAP_SETUID, CAP_SETGID, CAP_KILL, CAP_DAC_READ_SEARCH};

int ids_find(const char *user, struct ids *ret)
{
	*ret = (struct ids){0};
	if (!user || !user[0])
		return 0;
	const struct passwd *p = getpwnam(user);
	if (!p)
		return -ENOENT;
	*ret = (struct ids){.uid = p->pw_uid, .gid = p->pw_gid, .given = true};
	return 0;
}

static bool has_cap(cap_value_t c)
{
	cap_flag_value_t v = CAP_CLEAR;
	cap_t all = cap_get_proc();
	if (!all)
		return false;
	if (cap_get_flag(all, c, CAP_PERMITTED, &v) < 0)
		v = CAP_CLEAR;
	cap_free(all);
	return v == CAP_SET;
}

/* These and no others; of those we have. */
static int only_caps(const cap_value_t *caps, int n, bool inherit)
{
	cap_t set = cap_init();
	if (!set)
		return -ENOMEM;
	int r = 0;
	for (int i = 0; i < n && r == 0; i++) {
		if (!has_cap(caps[i]))
			continue;
		if (cap_set_flag(set, CAP_PERMITTED, 1, &caps[i], CAP_SET) < 0 || cap_set_flag(set, CAP_EFFECTIVE, 1, &caps[i], CAP_SET) < 0 ||
		    (inherit && cap_set_flag(set, CAP_INHERITABLE, 1, &caps[i], CAP_SET) < 0))
			r = -errno;
	}
	if (r == 0 && cap_set_proc(set) < 0)
		r = -errno;
	cap_free(set);
	return r;
}

static int change_user(const struct ids *ids, bool keep_caps)
{
	if (keep_caps && prctl(PR_SET_KEEPCAPS, 1) < 0)
		return -errno;
	if (setgroups(0, NULL) < 0 || setresgid(ids->gid, ids->gid, ids->gid) < 0 || setresuid(ids->uid, ids->uid, ids->uid) < 0)
		return -errno;
	return 0;
}

bool spawn_can_change(void)
{
	return has_cap(CAP_SETUID) && has_cap(CAP_SETGID);
}

static bool may_change(const struct ids *ids)
{
	return ids->given && spawn_can_change();
}

int spawn_become(const struct ids *ids)
{
	if (may_change(ids)) {
		int r = change_user(ids, false);
		if (r < 0)
			return r;
		(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
		if ((r = only_caps(NULL, 0, false)) < 0)
			return r;
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int become_runner(const struct ids *ids)
{
	if (may_change(ids)) {
		int n = (int)N_ELEMENTS(runner_caps);
		int r = change_user(ids, true);
		if (r < 0 || (r = only_caps(runner_caps, n, true)) < 0)
			return r;
		for (int i = 0; i < n; i++)
			if (has_cap(runner_caps[i]) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, runner_caps[i], 0, 0) < 0)
				return -errno;
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

void spawn_drop_keeper(const struct ids *ids)
{
	if (!may_change(ids) || geteuid() == ids->uid)
		return;
	int r = change_user(ids, true);
	if (r == 0)
		r = only_caps(keeper_caps, (int)N_ELEMENTS(keeper_caps), true); /* inheritable: the runner's share goes on through it */
	if (SHADOW_MEMORY)
		(void)prctl(PR_SET_DUMPABLE, 1); /* the change of user took it; the search for leaks looks into its own process */
	if (r < 0)
		log_line(LOG_ERROR, "keeper: cannot become user %u: %s", (unsigned)ids->uid, strerror(-r));
}

void spawn_forget_read(void)
{
	if (geteuid() == 0 || !has_cap(CAP_DAC_READ_SEARCH))
		return;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_DAC_READ_SEARCH, 0, 0);
	int r = only_caps(runner_caps, (int)N_ELEMENTS(runner_caps) - 1, true);
	if (r < 0)
		log_line(LOG_ERROR, "runner: cannot give a right back: %s", strerror(-r));
}

void spawn_clean_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			(void)signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int place_fds(const struct spawn *s)
{
	int three = fcntl(s->fd3, F_DUPFD, ABOVE);
	int four = s->fd4 >= 0 ? fcntl(s->fd4, F_DUPFD, ABOVE) : -1;
	int in = open("/dev/null", O_RDONLY);
	if (three < 0 || (s->fd4 >= 0 && four < 0) || in < 0)
		return -errno;
	if (dup2(in, 0) < 0 || dup2(three, 3) < 0 || (four >= 0 && dup2(four, 4) < 0))
		return -errno;
	return syscall(SYS_close_range, four >= 0 ? 5 : 4, ~0u, 0) < 0 ? -errno : 0;
}

_noreturn_ static void child(const struct spawn *s, pid_t parent)
{
	spawn_clean_signals();
	(void)signal(SIGHUP, SIG_IGN);          /* until the program says what it means */
	int r = setpgid(0, 0) < 0 ? -errno : 0; /* Ctrl-C at the terminal is the keeper's: it tells the others */
	if (r == 0)
		r = place_fds(s);
	if (r == 0)
		r = s->runner ? become_runner(s->ids) : spawn_become(s->ids);
	/* behind the change of user, which clears it */
	if (r == 0 && prctl(PR_SET_PDEATHSIG, s->runner ? SIGTERM : SIGKILL) < 0)
		r = -errno;
	if (r == 0 && getppid() != parent)
		_exit(0);
	if (r == 0) {
		execv("/proc/self/exe", s->argv);
		r = -errno;
	}
	log_line(LOG_ERROR, "keeper: cannot start the %s: %s", s->runner ? "runner" : "worker", strerror(-r));
	_exit(71); /* EX_OSERR */
}

int spawn_self(const struct spawn *s, pid_t *ret)
{
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(s, parent);
	*ret = pid;
	return 0;
}

int process_signals(void)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGTERM);
	sigaddset(&s, SIGINT);
	sigaddset(&s, SIGHUP);
	sigaddset(&s, SIGCHLD);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &s, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, &s, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int process_files(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return -errno;
	l.rlim_cur = l.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &l) < 0 ? -errno : 0;
}
