/* SPDX-License-Identifier: Apache-2.0
 *
 * body: a reply that is a sound itself (audio/...): it is played once, then the document ends. The bytes are too many for the slab: the runner keeps the script's answer
 * until the sound has been heard, so that a worker that takes over can ask for it again by its token. Sig thread; memfds only, no file.
 */
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "verb/inside.h"

int body_copy(int fd, size_t from, size_t n)
{
	int to = memfd_create("body", MFD_CLOEXEC);
	off_t at = (off_t)from;

	if (to < 0)
		return -errno;
	while (n) {
		ssize_t r = sendfile(to, fd, &at, n);

		if (r <= 0) {
			close(to);
			return r < 0 ? -errno : -ENODATA;
		}
		n -= (size_t)r;
	}
	return lseek(to, 0, SEEK_SET) < 0 ? -errno : to;
}

static enum step order(struct run *r)
{
	char hex[33];
	struct out o = OUT(hex);
	struct sound_order so = {.kind = ASK_DECODE, .arg = {STR("body")}, .fd = r->body_fd};
	int err;

	out_hex(&o, call_app(r->c)->req_token, 16);
	so.arg[1] = out_view(&o);
	r->body_fd = -1;
	err = sound_want(r, &r->cur, &so);
	return err ? run_error(r, err == -ENOMEM ? 12400 : 90004, "the sound of the reply: %s", strerror(-err)) : STEP_WAIT;
}

static enum step body_prepare(struct run *r, const struct node *n)
{
	struct ask q = {.kind = ASK_STATE, .token = call_app(r->c)->req_token, .fd = -1};

	bool web = url_is_web(call_text(r->c, call_app(r->c)->base_url));

	r->holds = !web;
	if (r->cur.s)
		return STEP_WAIT;
	if (r->body_fd >= 0)
		return order(r);
	if (web && web_again(r) == 0)
		return STEP_WAIT;
	if (request_watch(r) < 0 || runner_tell(r->v, &q) < 0)
		return run_error(r, 90006, "the sound of the reply cannot be asked for again");
	return STEP_WAIT;
}

static enum step body_on(struct run *r, const struct node *n)
{
	struct play_order o;
	uint32_t fault;

	if (sound_state(&r->cur) == SOUND_FAILED) {
		const char *why = sound_why(&r->cur, &fault);

		return run_error(r, fault == 90006 ? fault : 90002, "the sound of the reply: %s", why);
	}
	if (sound_state(&r->cur) != SOUND_READY)
		return run_await(r);
	sound_numbers(&r->cur, &o);
	return o.n_samples ? player_play(r, 1) : STEP_NEXT;
}

static enum step body_begin(struct run *r, const struct node *n)
{
	enum step s = body_prepare(r, n);

	return s == STEP_WAIT ? body_on(r, n) : s;
}

static enum step body_event(struct run *r, const struct node *n, const struct call_event *e)
{
	return player_ended(r, e) ? STEP_NEXT : STEP_WAIT;
}

static enum step body_resume(struct run *r, const struct node *n)
{
	player_where(r);
	return body_begin(r, n);
}

/* After a restart: the runner's answer to ASK_STATE. */
enum step body_answer(struct run *r, const struct told *t, int fd)
{
	struct reply rep;
	const char *why;
	ssize_t n;

	if (t->state == TOLD_RUNNING || r->cur.s || r->phase == AT_REQUEST)
		return STEP_WAIT;
	request_unwatch(r);
	if (t->state != TOLD_DONE || t->fault || fd < 0)
		return run_error(r, 90002, "the runner does not have the sound of the reply any more");
	size_t cap = limit_of(LIMIT_CGI_HEADER);
	char *big = malloc(cap);

	n = big ? pread(fd, big, cap, 0) : -1;
	if (n <= 0 || reply_cgi(str_n(big, (size_t)n), &rep, &why)) {
		free(big);
		return run_error(r, 90002, "the sound of the reply cannot be read again");
	}
	size_t used = (size_t)(rep.body.p - big);

	free(big);
	r->body_fd = body_copy(fd, used, t->n - used);
	if (r->body_fd < 0) {
		r->body_fd = -1;
		return run_error(r, 90002, "the sound of the reply cannot be read again");
	}
	enum step s = order(r);

	if (s == STEP_WAIT && r->phase == AT_VERB)
		return body_on(r, NULL);
	return s;
}

/* After a restart: the web's, asked once more by the same token. */
enum step body_fetched(struct run *r, const struct told *t, int fd)
{
	if (r->cur.s || r->phase == AT_REQUEST || r->phase == AT_END)
		return STEP_WAIT;
	request_unwatch(r);
	if (t->fault || fd < 0)
		return run_error(r, 90002, "the sound of the reply was not given again: %s", t->why);
	r->body_fd = body_copy(fd, 0, t->n);
	if (r->body_fd < 0) {
		r->body_fd = -1;
		return run_error(r, 90002, "the sound of the reply cannot be read again");
	}
	enum step s = order(r);

	return s == STEP_WAIT && r->phase == AT_VERB ? body_on(r, NULL) : s;
}

const struct verb_impl verb_body = {
    .name = "audio", .prepare = body_prepare, .begin = body_begin, .event = body_event, .resume = body_resume, .sound = body_on};
