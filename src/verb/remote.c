/* SPDX-License-Identifier: Apache-2.0
 *
 * remote: a sound of the web for Play: a bare GET without parameters of the call, through the client's cache, then the decoder of the runner. The client says whether it is the
 * sound that was heard last time under this URL; then the samples that media holds are used again. Nothing of it is in the record: after a restart the same GET goes out
 * under the same token (it follows from where the verb stands), and the play goes on where it was. Sig thread.
 */
#include <unistd.h>

#include "verb/inside.h"

void remote_let(struct run *r)
{
	waited_off(r, &r->media);
	if (r->media_fd >= 0)
		close(r->media_fd);
	r->media_fd = -1;
	r->remote_state = REMOTE_NOT;
}

static int order(struct run *r, struct str url)
{
	const struct app_record *app = call_app(r->c);
	uint8_t token[16];
	struct ask q = {
	    .kind = ASK_WEB, .token = token, .url = url, .get = true, .cached = true, .trusted = web_trusts(r, url), .number = app->req_number, .fd = -1};
	struct arena *a = arena_new(8192);
	struct fetch *m;
	int err;

	token_derive(r, "media", app->path, (size_t)app->path_n * sizeof(app->path[0]), token);
	err = waited_on(r, &r->media, token);
	m = a && !err ? ask_build_web(&q, a) : NULL;
	if (!err)
		err = !m ? -ENOMEM : r->v->out->fetch ? r->v->out->fetch(r->v->out->arg, m) : -ENOSYS;
	if (!err)
		request_trace(r, "GET", url, NULL, 0);
	arena_free(a);
	return err;
}

/* Of the samples: who asks there by trust has a name of his own. */
static enum step decode(struct run *r, struct str url)
{
	struct sound_order o = {.kind = ASK_DECODE, .fresh = !r->media_same, .arg = {web_trusts(r, url) ? STR("web") : STR("Web"), url}, .fd = r->media_fd};
	int err;

	r->media_fd = -1; /* taken over */
	err = sound_want(r, &r->cur, &o);
	if (err)
		return run_error(r, err == -ENOMEM ? 12400 : 90004, "%s", strerror(-err));
	return STEP_WAIT;
}

static void refused(struct run *r, uint32_t fault, const char *why)
{
	struct out o = OUT(r->media_why);

	r->remote_state = REMOTE_FAILED;
	r->media_fault = fault;
	out_str(&o, str_z(why));
	out_z(&o);
}

enum step remote_want(struct run *r, struct str url)
{
	int err;

	if (r->cur.s)
		return STEP_WAIT;
	if (r->remote_state == REMOTE_HERE)
		return decode(r, url);
	if (r->remote_state != REMOTE_NOT && r->remote_state != REMOTE_UNSENT)
		return STEP_WAIT;
	err = web_knows(r) ? order(r, url) : -EAGAIN;
	if (!err) {
		r->remote_state = REMOTE_ORDERED;
	} else if (err == -EAGAIN) {
		r->remote_state = REMOTE_UNSENT;
		waited_off(r, &r->media);
		verbs_try_again(r->v);
	} else {
		waited_off(r, &r->media);
		refused(r, 11200, err == -E2BIG ? "the URL is too long" : err == -ENOSYS ? "there is no way to the web" : strerror(-err));
	}
	return STEP_WAIT;
}

void remote_told(struct run *r, const struct told *t, int fd)
{
	reply_trace(r, t->status, str_z(t->type), t, STR_NONE);
	if (t->fault)
		refused(r, t->fault, t->why);
	else if (fd < 0 || !t->n)
		refused(r, 11770, "it is empty");
	else if (str_istarts(str_z(t->type), STR("text/")))
		refused(r, 12300, "it is text, no sound");
	else if ((r->media_fd = body_copy(fd, 0, t->n)) < 0)
		refused(r, 12400, "no memory for the sound");
	else
		r->remote_state = REMOTE_HERE;
	if (r->media_fd < 0)
		r->media_fd = -1;
	r->media_same = t->from_cache;
}

void remote_retry(struct run *r)
{
	if (r->remote_state == REMOTE_UNSENT && r->phase == AT_VERB)
		run_go(r, run_sound(r));
}
