/* SPDX-License-Identifier: Apache-2.0
 *
 * serve: reads the configuration once, so that what is wrong is told before anything is started; settles who to be, makes DATA and the account; then becomes the
 * keeper by a fresh exec of this program. The keeper reads no configuration: it carries the argument vectors of worker and runner, in which every parameter that is not
 * the default stands as --set. A configuration file that changes under a running system thus does not change the size of the slab at a restart. Its text, for the numbers in it, goes into
 * a memfd that the keeper holds for the worker (held.c).
 * Paths stay relative when they were given so: the folder that all processes stand in is opened already, even where its parents are closed to the user we become.
 */
#include "cli/cli_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/keeper.h"

const struct cli_option serve_options[] = {
    {"config", "FILE", "reads parameters from this INI file; the options here outrank it"},
    {"set", "SECTION.NAME=VALUE", "sets any parameter (`hookswitch params` prints them)"},
};

const struct cli_option worker_options[] = {
    {"config", "FILE", "reads parameters from this INI file; the options here outrank it"},
    {"set", "SECTION.NAME=VALUE", "sets any parameter"},
    {"held", "FILE", "the keeper holds the text of this configuration file"},
};

struct serve {
	struct config config;
	uid_t uid; /* -1: nothing to change */
	gid_t gid;
};

static bool serve_name_user(char *ret, size_t cap, const char *name)
{
	struct passwd *p = getpwnam(name);

	return p && p->pw_uid != 0 && !str_zcpy(str_z(name), ret, cap);
}

/* Root has to become somebody. */
static int serve_user(struct serve *s)
{
	struct params *p = &s->config.p;
	const char *sudo = getenv("SUDO_UID");
	struct passwd *pw = NULL;
	uint64_t uid;

	if (*p->user)
		pw = getpwnam(p->user);
	else if (sudo && !str_u64(str_z(sudo), UINT32_MAX - 1, &uid) && uid)
		pw = getpwuid((uid_t)uid);
	else
		pw = getpwnam("hookswitch");
	if (!pw || pw->pw_uid == 0 || str_zcpy(str_z(pw->pw_name), p->user, sizeof(p->user))) {
		if (*p->user && !pw)
			fprintf(stderr, "hookswitch: there is no user '%s' (access.user)\n", p->user);
		else
			fprintf(stderr, "hookswitch: this runs as root and must not stay so. Make the user it becomes: useradd --system hookswitch\n"
					"            (or name one: --set access.user=NAME; or start it as a plain user)\n");
		return -EINVAL;
	}
	s->uid = pw->pw_uid;
	s->gid = pw->pw_gid;
	if (*p->script_user) {
		pw = getpwnam(p->script_user);
		if (!pw || pw->pw_uid == 0) {
			fprintf(stderr, "hookswitch: scripts cannot run as '%s' (access.script_user): %s\n", p->script_user,
				pw ? "that is root" : "there is no such user");
			return -EINVAL;
		}
	} else if (!serve_name_user(p->script_user, sizeof(p->script_user), "hookswitch-script")) {
		if (!serve_name_user(p->script_user, sizeof(p->script_user), "nobody")) {
			fprintf(stderr, "hookswitch: scripts need a user of their own: useradd --system hookswitch-script\n");
			return -EINVAL;
		}
	}
	if (!strcmp(p->script_user, p->user)) { /* a script could end the system, and read its account */
		fprintf(stderr,
			"hookswitch: scripts must not run as '%s', the user of the system itself: useradd --system hookswitch-script, or --set "
			"access.script_user=NAME\n",
			p->user);
		return -EINVAL;
	}
	return 0;
}

/* Can that user work with this folder? Asked of a child that has become the user. */
static bool serve_reaches(const char *path, int mode, const char *user, uid_t uid, gid_t gid)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (initgroups(user, gid) || setgid(gid) || setuid(uid))
			_exit(2);
		_exit(access(path, mode) ? 1 : 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A folder that root made for us just now, by hand. */
static bool serve_is_empty(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	bool empty = d;

	while (d && (e = readdir(d)))
		empty = empty && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."));
	if (d)
		closedir(d);
	return empty;
}

/* Two systems in one folder would both send what stands in its outbox. The descriptor is the keeper's, over the exec: the lock ends with it, however it ends. */
static int serve_lock(const char *data)
{
	int fd = open(data, O_RDONLY | O_DIRECTORY); /* NOLINT(android-cloexec-open) */

	if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	if (fd >= 0 && errno == EWOULDBLOCK)
		fprintf(stderr, "hookswitch: the data folder %s is in use by another Hookswitch; use --data DIR\n", data);
	else
		fprintf(stderr, "hookswitch: the data folder %s cannot be locked: %s; use --data DIR\n", data, strerror(errno));
	return -EINVAL;
}

static int serve_folders(struct serve *s)
{
	const struct params *p = &s->config.p;
	char why[700];
	struct stat st;
	bool made = !mkdir(p->data, 0700);

	if (!made && errno != EEXIST) {
		fprintf(stderr, "hookswitch: the data folder %s cannot be made: %s; use --data DIR\n", p->data, strerror(errno));
		return -EINVAL;
	}
	if (stat(p->data, &st) || !S_ISDIR(st.st_mode)) {
		fprintf(stderr, "hookswitch: %s is no folder; use --data DIR\n", p->data);
		return -EINVAL;
	}
	made = made || (s->uid != (uid_t)-1 && st.st_uid == 0 && serve_is_empty(p->data));
	if (made && s->uid != (uid_t)-1 && chown(p->data, s->uid, s->gid)) {
		fprintf(stderr, "hookswitch: %s: %s\n", p->data, strerror(errno));
		return -EINVAL;
	}
	if (serve_lock(p->data))
		return -EINVAL;
	if (account_make(p->data, s->uid, s->gid, why, sizeof(why))) {
		fprintf(stderr, "hookswitch: the account cannot be written: %s\n", why);
		return -EINVAL;
	}
	if (!stat(p->services, &st) && !S_ISDIR(st.st_mode)) {
		fprintf(stderr, "hookswitch: %s is no folder; use --services DIR\n", p->services);
		return -EINVAL;
	}
	if (s->uid == (uid_t)-1)
		return 0;
	if (!serve_reaches(p->data, R_OK | W_OK | X_OK, p->user, s->uid, s->gid)) {
		fprintf(
		    stderr,
		    "hookswitch: the user %s cannot write to %s; `chown -R %s %s` (and each folder above must be open to pass: chmod o+x), or use --data DIR\n",
		    p->user, p->data, p->user, p->data);
		return -EINVAL;
	}
	if (s->config.path && !serve_reaches(s->config.path, R_OK, p->user, s->uid, s->gid))
		fprintf(stderr,
			"hookswitch: warning: the user %s cannot read %s: SIGHUP will change nothing (chgrp it to that user's group and chmod g+r it)\n",
			p->user, s->config.path);
	if (!access(p->services, F_OK) && !serve_reaches(p->services, R_OK | X_OK, p->user, s->uid, s->gid))
		fprintf(stderr, "hookswitch: warning: the user %s cannot read the services folder %s (chmod o+rx it and o+x each folder above)\n", p->user,
			p->services);
	return 0;
}

#define SERVE_ARGS 256

static char **serve_child(const struct serve *s, const char *name, int *ret_n)
{
	char **v = calloc(SERVE_ARGS, sizeof(*v));
	int n = 0;

	if (!v)
		return NULL;
	v[n++] = strdup("hookswitch");
	v[n++] = strdup(name);
	if (s->config.path && !strcmp(name, "worker")) {
		v[n++] = strdup("--held");
		v[n++] = strdup(s->config.path);
	}
	*ret_n = config_argv(&s->config, v, n, SERVE_ARGS);
	return *ret_n < 0 ? NULL : v;
}

/* hookswitch keeper-process USER SCRIPT-USER HELD N worker-arguments … runner-arguments …: "-" is nobody; HELD: a descriptor, or "-"; N counts the first kind. */
static int serve_exec(struct serve *s)
{
	static char *v[2 * SERVE_ARGS + 8];
	char count[12], held[12] = "-";
	int n_worker = 0, n_runner = 0, n = 0, fd;
	char **worker = serve_child(s, "worker", &n_worker), **runner = serve_child(s, "runner", &n_runner);

	if (!worker || !runner) {
		fprintf(stderr, "hookswitch: more parameters than can be passed on\n");
		return CLI_CONFIG;
	}
	snprintf(count, sizeof(count), "%d", n_worker);
	if (s->config.path) {
		fd = held_make(str_n(s->config.text, s->config.text_n));
		if (fd < 0) {
			fprintf(stderr, "hookswitch: the configuration cannot be held: %s\n", strerror(-fd));
			return CLI_FAILED;
		}
		snprintf(held, sizeof(held), "%d", fd);
	}
	v[n++] = strdup("hookswitch");
	v[n++] = strdup("keeper-process");
	v[n++] = s->uid == (uid_t)-1 ? strdup("-") : s->config.p.user;
	v[n++] = s->uid == (uid_t)-1 ? strdup("-") : s->config.p.script_user;
	v[n++] = held;
	v[n++] = count;
	for (int i = 0; i < n_worker; i++)
		v[n++] = worker[i];
	for (int i = 0; i < n_runner; i++)
		v[n++] = runner[i];
	v[n] = NULL;
	execv("/proc/self/exe", v);
	fprintf(stderr, "hookswitch: cannot start the keeper: %s\n", strerror(errno));
	return CLI_FAILED;
}

int serve_main(const struct command *c, int argc, char **argv)
{
	static struct serve s = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	struct args a;
	int r;

	config_init(&s.config);
	args_open(&a, c, argc, argv);
	r = config_args(&s.config, &a, NULL, NULL);
	if (r)
		return r - 1;
	if (optind < argc) {
		fprintf(stderr, "hookswitch serve: what is '%s'? It takes options only\n", argv[optind]);
		return CLI_USAGE;
	}
	if (geteuid() == 0 && serve_user(&s))
		return CLI_CONFIG;
	if (serve_folders(&s))
		return CLI_CONFIG;
	return serve_exec(&s);
}

/* ---- the hidden commands ---- */

int keeper_main(const struct command *c, int argc, char **argv)
{
	struct keeper_opts o = {.log_fd = STDERR_FILENO};
	static char *worker[SERVE_ARGS + 1];
	uint64_t n, fd;

	prctl(PR_SET_NAME, "hookswitch"); /* after exec of /proc/self/exe it would be "exe" */
	/* argv: keeper-process USER SCRIPT-USER HELD N … */
	if (argc < 6 || str_u64(str_z(argv[4]), SERVE_ARGS, &n) || (uint64_t)argc < 5 + n) {
		fprintf(stderr, "hookswitch: the keeper is started by `hookswitch serve`\n");
		return CLI_USAGE;
	}
	o.user = strcmp(argv[1], "-") ? argv[1] : NULL;
	o.script_user = strcmp(argv[2], "-") ? argv[2] : NULL;
	if (!str_u64(str_z(argv[3]), INT_MAX, &fd)) {
		o.given_name = HELD_NAME;
		o.given_fd = (int)fd;
	}
	memcpy(worker, argv + 5, n * sizeof(*argv));
	o.worker_argv = worker;
	o.runner_argv = (uint64_t)argc > 5 + n ? argv + 5 + n : NULL;
	return keeper_run(&o);
}

int runner_child_main(const struct command *c, int argc, char **argv)
{
	static struct config config;
	struct args a;
	int r;

	prctl(PR_SET_NAME, "hookswitch:run");
	config_init(&config);
	args_open(&a, c, argc, argv);
	r = config_args(&config, &a, NULL, NULL);
	if (r)
		return r - 1;
	/* No longer root by now, but with the right to become the scripts' user; without it (not started as root) runner_main lets the name be. */
	return runner_main(3, &config.p, *config.p.script_user ? config.p.script_user : NULL);
}
