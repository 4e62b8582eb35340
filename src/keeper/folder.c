/* SPDX-License-Identifier: Apache-2.0
 *
 * folder: what stands in the services folder, as a list that is sent to the worker whenever it changes (inotify(7), brought together for 20 ms). Runner only.
 *
 * A file that was made and is not closed by its writer yet is not listed: no number answers half written. A folder that is missing or was replaced is looked for each
 * second. Leaves to others: which number a file answers, and two files for one number (service/).
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define TOGETHER_MS 20
#define CHECK_MS    1000
#define URL_BYTES   1000 /* of the first line of a .url file */
#define EVENTS      (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

bool folder_is_number(struct str s)
{
	if (s.n < 1 || s.n > limit_of(LIMIT_NUMBER))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c != '\0' && strchr("+*#_-", c))))
			return false;
	}
	return true;
}

static void changed(struct folder *f, int64_t now_ms)
{
	if (f->send_at_ms == 0)
		f->send_at_ms = now_ms + TOGETHER_MS;
}

static void drop_dir(struct folder *f)
{
	if (f->dir >= 0)
		close(f->dir);
	if (f->inotify >= 0)
		close(f->inotify);
	f->dir = f->inotify = -1;
	f->n_pending = 0;
}

/* Takes fd over: from now on this is the folder. */
static void use_dir(struct folder *f, int fd, int64_t now_ms)
{
	char self[64];
	drop_dir(f);
	f->dir = fd;
	f->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* the way to it may be closed to us */
	if (f->inotify >= 0 && inotify_add_watch(f->inotify, self, EVENTS) < 0)
		log_line(LOG_WARN, "services: changes in %s are not seen: %s", f->path, strerror(errno));
	f->fresh_dir = true;
	changed(f, now_ms);
}

static bool same_dir(int fd, const struct stat *st)
{
	struct stat mine;
	return fstat(fd, &mine) == 0 && mine.st_dev == st->st_dev && mine.st_ino == st->st_ino;
}

static bool still_linked(int fd)
{
	struct stat st;
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink > 0;
}

void folder_check(struct folder *f, int64_t now_ms)
{
	struct stat st;
	f->check_at_ms = now_ms + CHECK_MS;
	if (!f->path[0])
		return;
	int r = stat(f->path, &st) < 0 ? -errno : 0;
	if (r == 0 && f->dir >= 0 && same_dir(f->dir, &st))
		return;
	int fd = r == 0 ? open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		use_dir(f, fd, now_ms);
		return;
	}
	if (r != -EACCES && r != 0) { /* really gone */
		if (f->dir >= 0)
			changed(f, now_ms);
		drop_dir(f);
		return;
	}
	/* we may not go there ourselves: what was opened before is as good as long as it stands */
	if (f->dir >= 0 && !still_linked(f->dir)) {
		drop_dir(f);
		changed(f, now_ms);
	}
	if (f->dir < 0 && still_linked(f->held)) {
		use_dir(f, f->held, now_ms);
		f->held = -1;
	}
}

void folder_init(struct folder *f, const char *path, int64_t now_ms)
{
	memset(f, 0, sizeof(*f));
	f->dir = f->inotify = f->held = -1;
	if (str_zcpy(str_z(path), f->path, sizeof(f->path)) < 0)
		log_line(LOG_ERROR, "the name of a folder is too long");
	folder_check(f, now_ms);
	changed(f, now_ms);
}

void folder_done(struct folder *f)
{
	drop_dir(f);
	if (f->held >= 0)
		close(f->held);
	f->held = -1;
}

void folder_hold(struct folder *f, int fd, int64_t now_ms)
{
	if (f->held >= 0)
		close(f->held);
	f->held = fd;
	folder_check(f, now_ms);
}

static int find_pending(const struct folder *f, const char *name)
{
	for (int i = 0; i < f->n_pending; i++)
		if (strcmp(f->pending[i], name) == 0)
			return i;
	return -1;
}

static void not_pending(struct folder *f, const char *name)
{
	int i = find_pending(f, name);
	if (i >= 0)
		memmove(f->pending[i], f->pending[--f->n_pending], FOLDER_NAME);
}

/* Made by open(2): its writer will close it. A link, hard or not, is whole at once. */
static void made(struct folder *f, const char *name)
{
	struct stat st;
	if (fstatat(f->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1)
		return;
	if (find_pending(f, name) >= 0 || f->n_pending == FOLDER_PENDING || strlen(name) >= FOLDER_NAME)
		return;
	snprintf(f->pending[f->n_pending++], FOLDER_NAME, "%s", name);
}

static void on_event(struct folder *f, const struct inotify_event *e, int64_t now_ms)
{
	if (e->mask & IN_Q_OVERFLOW)
		f->n_pending = 0;
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED))
		f->check_at_ms = now_ms;
	if (e->len > 0) {
		if (e->mask & IN_CREATE)
			made(f, e->name);
		else if (!(e->mask & IN_ATTRIB))
			not_pending(f, e->name);
	}
	changed(f, now_ms);
}

void folder_read(struct folder *f, int64_t now_ms)
{
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t n;
	while (f->inotify >= 0 && (n = read(f->inotify, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
			const struct inotify_event *e = (const struct inotify_event *)(void *)(buf + at);
			on_event(f, e, now_ms);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
}

/* ---- the list ---- */
/* What the name leads to, without leaving the folder: 0, -EXDEV (it leaves), -E… */
static int look(int dir, const char *name, struct stat *ret)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	if (fd < 0)
		return errno == ELOOP ? -EXDEV : -errno;
	int r = fstat(fd, ret) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* NULL: not listed. */
static const char *kind_of(const struct folder *f, const char *name)
{
	static const char *const suffixes[] = {"xml", "txt", "wav", "url"};
	struct stat st;
	if (name[0] == '.' || find_pending(f, name) >= 0)
		return NULL;
	int r = look(f->dir, name, &st);
	if (r == -EXDEV)
		return "link-out";
	if (r < 0 || !S_ISREG(st.st_mode))
		return NULL;
	struct str rest, base = str_cut(str_z(name), '.', &rest);
	if (!folder_is_number(base))
		return "bad-name";
	if (!rest.p)
		return st.st_mode & 0111 ? "cgi" : "not-executable";
	for (size_t i = 0; i < N_ELEMENTS(suffixes); i++)
		if (str_eq(rest, str_z(suffixes[i])))
			return suffixes[i];
	return "bad-name";
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in order, so that the same folder is the same list. */
static int read_names(const struct folder *f, char **names, size_t cap, size_t *ret_n)
{
	*ret_n = 0;
	int fd = openat(f->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		int e = errno;
		if (fd >= 0)
			close(fd);
		return -e;
	}
	struct dirent *e;
	while (*ret_n < cap && (e = readdir(d))) {
		char *name = e->d_name[0] == '.' ? NULL : strdup(e->d_name);
		if (name)
			names[(*ret_n)++] = name;
	}
	if (*ret_n == cap)
		log_line(LOG_ERROR, "services: more than %zu files in %s: the rest is not taken", cap, f->path);
	closedir(d);
	qsort(names, *ret_n, sizeof(*names), by_name);
	return 0;
}

/* The first line of a .url file; nothing if that is empty, too long or not printable. */
static void put_url(const struct folder *f, const char *name, struct out *o)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, f->dir, name, &how, sizeof(how));
	char buf[URL_BYTES + 2]; /* and its CR LF */
	struct stat st;
	ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, buf, sizeof(buf)) : -1;
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	struct str rest, url = str_trim(str_cut(str_n(buf, (size_t)n), '\n', &rest));
	for (size_t i = 0; i < url.n; i++)
		if ((unsigned char)url.p[i] <= 0x20 || (unsigned char)url.p[i] >= 0x7f)
			return;
	if (url.n <= URL_BYTES)
		out_str(o, url);
}

static int write_list(const struct folder *f, int fd, char **names, size_t n, uint32_t *ret_n)
{
	for (size_t i = 0; i < n; i++) {
		char line[FOLDER_NAME * 4 + 32 + URL_BYTES];
		struct out o = OUT(line);
		const char *kind = kind_of(f, names[i]);
		if (!kind)
			continue;
		out_safe(&o, str_z(names[i]));
		out_c(&o, '\t');
		out_str(&o, str_z(kind));
		if (str_eq(str_z(kind), STR("url"))) {
			out_c(&o, '\t');
			put_url(f, names[i], &o);
		}
		out_c(&o, '\n');
		if (pwrite(fd, o.p, o.n, *ret_n) != (ssize_t)o.n)
			return -EIO;
		*ret_n += (uint32_t)o.n;
	}
	return 0;
}

int folder_list(const struct folder *f, uint32_t *ret_n)
{
	size_t cap = limit_of(LIMIT_NUMBERS), n = 0;
	*ret_n = 0;
	int fd = memfd_create("folder", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	char **names = calloc(cap, sizeof(*names));
	int r = !names ? -ENOMEM : f->dir < 0 ? 0 : read_names(f, names, cap, &n);
	if (r == 0)
		r = write_list(f, fd, names, n, ret_n);
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
	if (r == 0)
		r = memfd_seal(fd);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}
