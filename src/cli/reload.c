/* SPDX-License-Identifier: Apache-2.0
 *
 * reload: the numbers of the configuration in the worker: at its start as the keeper holds them (held.c), and on SIGHUP from the file again, whole or not at all. The file is
 * read and judged on a thread of its own, because the sig thread waits for no disk; what came of it is taken over on the sig thread: first the numbers, then the
 * text that is held, so that a configuration that kills is not found by the next worker. Parameters are not changed under a running system: those that differ are named.
 */
#include "cli/cli_int.h"

#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "keeper/keeper.h"
#include "service/service.h"

struct reload {
	pthread_t thread;
	bool running, end; /* end: atomic */
	int event_fd;
	const char *path; /* NULL: the system was started without a file */
	struct held *held;
	struct config *now;  /* what the file said, as it was taken last */
	struct config *came; /* atomic: read by the thread, not taken over yet */
};

static void config_free(struct config *c)
{
	if (!c)
		return;
	config_done(c);
	free(c);
}

static struct config *config_new(void)
{
	struct config *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	config_init(c);
	c->voice = CONFIG_LOG;
	return c;
}

/* ---- the thread ---- */

static void reload_read(struct reload *r)
{
	struct config *c = r->path ? config_new() : NULL;
	const struct passwd *pw;

	if (!r->path) {
		log_line(LOG_WARN, "configuration: SIGHUP: there is no file to read again; it is named by --config at the start");
		return;
	}
	if (!c) {
		log_line(LOG_ERROR, "configuration: no memory to read %s; nothing has changed", r->path);
		return;
	}
	if (access(r->path, R_OK) && errno == EACCES) {
		pw = getpwuid(geteuid());
		log_line(LOG_ERROR, "configuration: %s cannot be read by the user %s that the system runs as; chgrp or chmod it; nothing has changed", r->path,
			 pw ? pw->pw_name : "?");
		config_free(c);
		return;
	}
	if (config_file(c, r->path)) {
		log_line(LOG_ERROR, "configuration: %s is refused; nothing has changed", r->path);
		config_free(c);
		return;
	}
	config_free(__atomic_exchange_n(&r->came, c, __ATOMIC_ACQ_REL)); /* of two that are this close the later one counts */
	(void)!eventfd_write(r->event_fd, 1);
}

static void *reload_run(void *arg)
{
	struct reload *r = arg;
	sigset_t set;
	int sig;

	prctl(PR_SET_NAME, "reload");
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	while (!sigwait(&set, &sig) && !__atomic_load_n(&r->end, __ATOMIC_ACQUIRE))
		reload_read(r);
	return NULL;
}

/* ---- the sig thread ---- */

static void reload_take(void *arg, int fd)
{
	struct worker *w = arg;
	struct reload *r = w->reload;
	char names[1200];
	struct out o = OUT(names);
	struct config *c;
	eventfd_t n;
	int err;

	(void)!eventfd_read(fd, &n);
	c = __atomic_exchange_n(&r->came, NULL, __ATOMIC_ACQ_REL);
	if (!c)
		return;
	err = services_configure(w->services, c->numbers, c->n_numbers);
	if (err) {
		log_line(LOG_ERROR, "configuration: %s: %s; nothing has changed", r->path, strerror(-err));
		config_free(c);
		return;
	}
	if (r->held)
		held_write(r->held, str_n(c->text, c->text_n));
	config_differ(r->now, c, &o);
	if (o.n)
		log_line(LOG_WARN, "configuration: these have changed and count from the next start on: %s", out_z(&o));
	log_line(LOG_INFO, "configuration: %s was read again: %d numbers", r->path, c->n_numbers);
	config_free(r->now);
	r->now = c;
}

/* What the keeper holds; a file that cannot be taken leaves no number, and says so. */
static int reload_held(struct worker *w, struct reload *r)
{
	struct str text;
	bool fresh;
	int fd, err = keep_memory(w->keep, HELD_NAME, sizeof(struct held), &fd, &fresh);

	if (err)
		return err;
	r->held = held_map(fd);
	close(fd);
	if (!r->held)
		return -ENOMEM;
	if (held_read(r->held, &text))
		log_line(LOG_ERROR, "configuration: the text that was held is lost: no numbers but files, until SIGHUP");
	else if (config_text(r->now, r->path, text))
		log_line(LOG_ERROR, "configuration: the text that was held is refused: no numbers but files, until SIGHUP");
	else
		err = services_configure(w->services, r->now->numbers, r->now->n_numbers);
	return err;
}

void reload_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_DFL); /* blocked, it waits for sigwait */
}

int reload_open(struct worker *w)
{
	struct reload *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	w->reload = r;
	r->path = w->config_path;
	r->now = config_new();
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!r->now || r->event_fd < 0)
		return -ENOMEM;
	err = r->path ? reload_held(w, r) : 0;
	err = err ? err : net_add_fd(w->net, r->event_fd, reload_take, w);
	err = err ? err : -pthread_create(&r->thread, NULL, reload_run, r);
	r->running = !err;
	return err;
}

void reload_close(struct worker *w)
{
	struct reload *r = w->reload;

	if (!r)
		return;
	if (r->running) {
		__atomic_store_n(&r->end, true, __ATOMIC_RELEASE);
		pthread_kill(r->thread, SIGHUP);
		pthread_join(r->thread, NULL);
	}
	if (r->held)
		munmap(r->held, sizeof(*r->held));
	if (r->event_fd >= 0)
		close(r->event_fd);
	config_free(r->came);
	config_free(r->now);
	free(r);
	w->reload = NULL;
}
