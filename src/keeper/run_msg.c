/* SPDX-License-Identifier: Apache-2.0
 *
 * run_msg: requests to the runner and its answers, one SEQPACKET message each. The worker's side (run_post, run_take: sig thread) and the runner's side.
 * The token makes a request the same request when it is sent again; who sends it again and what an answer means is service/'s.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define INLINE_MAX (32u << 10) /* longer stdin goes by memfd */

static uint64_t in_max(enum run_kind k)
{
	return k == RUN_SPEAK ? limit_of(LIMIT_SAY_TEXT) * 4 : limit_of(LIMIT_CGI_FORM); /* a character is up to 4 bytes of UTF-8 */
}

static int memfd_of(struct str s)
{
	int fd = memfd_create("stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < s.n;) {
		ssize_t n = pwrite(fd, s.p + at, s.n - at, (off_t)at);
		if (n <= 0) {
			int e = n < 0 ? errno : EIO;
			close(fd);
			return -e;
		}
		at += (size_t)n;
	}
	return fd;
}

static int put(char *buf, size_t *n, struct str s)
{
	if (s.n > RUN_BYTES_MAX - *n)
		return -EMSGSIZE;
	if (s.n > 0)
		memcpy(buf + *n, s.p, s.n);
	*n += s.n;
	return 0;
}

int run_post(int fd, const struct run_request *r)
{
	static _Thread_local char buf[RUN_BYTES_MAX];
	struct run_wire w = {.magic = RUN_MAGIC, .kind = r->kind, .wall_ms = r->wall_ms, .n_args = (uint32_t)r->n_args, .env_n = (uint32_t)r->env.n};
	int fds[2], n_fds = 0;
	if (r->n_args < 0 || r->n_args > RUN_ARGS || r->env.n > RUN_ENV_MAX || r->in.n > in_max(r->kind))
		return -EMSGSIZE;
	memcpy(w.token, r->token, sizeof(w.token));
	size_t n = sizeof(w);
	int e = 0;
	for (int i = 0; i < r->n_args && e == 0; i++) {
		w.arg_n[i] = (uint32_t)r->args[i].n;
		e = put(buf, &n, r->args[i]);
	}
	if (e == 0)
		e = put(buf, &n, r->env);
	w.in_n = (uint32_t)r->in.n;
	w.in_by_fd = r->in.n > INLINE_MAX;
	if (e == 0 && !w.in_by_fd)
		e = put(buf, &n, r->in);
	if (e < 0)
		return e;
	w.has_fd = r->fd >= 0 && r->kind == RUN_DECODE;
	if (w.has_fd)
		fds[n_fds++] = r->fd;
	int in = w.in_by_fd ? memfd_of(r->in) : -1;
	if (w.in_by_fd && in < 0)
		return in;
	if (in >= 0)
		fds[n_fds++] = in;
	memcpy(buf, &w, sizeof(w));
	e = link_send(fd, buf, n, fds, n_fds, false);
	if (in >= 0)
		close(in);
	return e;
}

int run_take(int fd, struct run_answer *ret, int *ret_fd)
{
	struct run_reply r;
	int fds[1], n_fds;
	*ret_fd = -1;
	ssize_t n = link_recv(fd, &r, sizeof(r), fds, 1, &n_fds);
	if (n == -EAGAIN)
		return 0;
	if (n != (ssize_t)sizeof(r) || r.magic != RUN_MAGIC) {
		link_close_fds(fds, n_fds);
		return n == 0 ? -EPIPE : n < 0 ? (int)n : -EBADMSG;
	}
	*ret = r.a;
	ret->last_line[sizeof(ret->last_line) - 1] = '\0';
	if (n_fds == 1)
		*ret_fd = fds[0];
	return 1;
}

int run_reply(int link, const struct run_answer *a, int fd)
{
	struct run_reply r = {.magic = RUN_MAGIC, .a = *a};
	return link_send(link, &r, sizeof(r), &fd, fd >= 0, false);
}

static struct str cut(struct str *rest, size_t n, bool *bad)
{
	if (n > rest->n) {
		*bad = true;
		n = rest->n;
	}
	struct str s = str_n(rest->p, n);
	*rest = str_skip(*rest, n);
	return s;
}

int run_read(void *buf, size_t n, int *fds, int n_fds, struct run_request *r, int *ret_in_fd)
{
	struct run_wire w;
	bool bad = n < sizeof(w);
	*ret_in_fd = -1;
	*r = (struct run_request){.fd = -1};
	if (!bad)
		memcpy(&w, buf, sizeof(w));
	if (bad || w.magic != RUN_MAGIC || w.n_args > RUN_ARGS || n_fds != w.has_fd + w.in_by_fd || w.kind > RUN_KILL) {
		link_close_fds(fds, n_fds);
		return -EBADMSG;
	}
	struct str rest = str_skip(str_n(buf, n), sizeof(w));
	r->kind = (enum run_kind)w.kind;
	r->wall_ms = w.wall_ms;
	memcpy(r->token, w.token, sizeof(r->token));
	r->n_args = (int)w.n_args;
	for (uint32_t i = 0; i < w.n_args; i++)
		r->args[i] = cut(&rest, w.arg_n[i], &bad);
	r->env = cut(&rest, w.env_n, &bad);
	if (!w.in_by_fd)
		r->in = cut(&rest, w.in_n, &bad);
	if (bad || (r->env.n > 0 && r->env.p[r->env.n - 1] != '\0')) {
		link_close_fds(fds, n_fds);
		return -EBADMSG;
	}
	r->fd = w.has_fd ? fds[0] : -1;
	if (w.in_by_fd) {
		*ret_in_fd = fds[w.has_fd];
	} else if (r->kind != RUN_ASK && r->kind != RUN_TAKEN && r->kind != RUN_KILL) {
		*ret_in_fd = memfd_of(r->in);
	}
	return 0;
}
