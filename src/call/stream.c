/* SPDX-License-Identifier: Apache-2.0
 *
 * stream: the leg's side of its stream on a media thread: ports are taken from the pool, orders go down as flat messages, CLOSED brings the sockets back. The stream's number is
 * the leg's slot; an event for another generation belongs to the dead and is ignored.
 */
#include "call/call_int.h"

int stream_take(struct leg *l, const struct addr *local)
{
	struct calls *cs = l->call->all;
	int n = cs->o.pool_of(cs->o.arg, local);
	struct rtp_pair pair;

	if (n < 0)
		return -EAGAIN;
	int err = rtp_pool_take(cs->o.pools[n], &pair);
	if (err)
		return err;
	l->r.rtp_pool = (uint8_t)n;
	l->r.rtp_port = pair.port;
	l->rtp_fd = pair.rtp_fd;
	l->rtcp_fd = pair.rtcp_fd;
	return 0;
}

void stream_do(struct leg *l, struct media_cmd *c)
{
	struct calls *cs = l->call->all;

	if (!l->stream)
		return;
	c->slot = handle_slot(l->h);
	c->gen = handle_gen(l->h);
	if (cs->o.out->media(cs->o.out->arg, l->r.media_thread, c, -1))
		log_line(LOG_ERROR, "%s: the media thread does not take its mail", l->call->sid);
}

static struct media_remote remote_of(const struct leg *l, bool relatch, int64_t until_ms)
{
	struct media_remote r = {.rtp = l->r.media_peer,
				 .rtcp = l->r.media_peer_rtcp,
				 .sip_peer = l->r.flow.peer,
				 .codec = l->r.codec,
				 .codec_pt = l->r.codec_pt,
				 .dtmf_pt = l->r.dtmf_pt,
				 .codec_pt_in = l->r.codec_pt_in,
				 .dtmf_pt_in = l->r.dtmf_pt_in,
				 .dir = l->r.dir,
				 .relatch = relatch,
				 .latch_until_ms = until_ms};

	return r;
}

void stream_open(struct leg *l, bool adopt)
{
	struct calls *cs = l->call->all;
	struct media_cmd c = {.kind = MEDIA_OPEN, .adopt = adopt};

	c.open.rtp_fd = l->rtp_fd;
	c.open.rtcp_fd = l->rtcp_fd;
	c.open.port = l->r.rtp_port;
	c.open.ssrc = l->r.ssrc;
	c.open.quiet_ms = (uint32_t)(cs->o.params->quiet_s * 1000);
	c.open.local = l->r.flow.local;
	c.open.remote = remote_of(l, false, cs->now_ms + 42000); /* 32 s for the ACK, 10 s behind it */
	l->stream = true;
	stream_do(l, &c);
}

void stream_start(struct leg *l, int64_t latch_until_ms)
{
	stream_do(l, &(struct media_cmd){.kind = MEDIA_START, .start.latch_until_ms = latch_until_ms});
}

void stream_remote(struct leg *l, bool relatch, int64_t latch_until_ms)
{
	stream_do(l, &(struct media_cmd){.kind = MEDIA_REMOTE, .remote = remote_of(l, relatch, latch_until_ms)});
}

/* The record's digit by INFO; the stream takes it once for its CSeq. */
void stream_typed(struct leg *l)
{
	if (l->r.info_cseq)
		stream_do(l, &(struct media_cmd){.kind = MEDIA_TYPED, .typed = {.cseq = l->r.info_cseq, .ms = l->r.info_ms, .digit = l->r.info_digit}});
}

void stream_close(struct leg *l)
{
	if (l->stream)
		stream_do(l, &(struct media_cmd){.kind = MEDIA_CLOSE});
	else
		stream_closed(l);
}

/* Sockets are ours again. */
void stream_closed(struct leg *l)
{
	struct calls *cs = l->call->all;

	l->stream = false;
	if (l->rtp_fd >= 0)
		rtp_pool_put(cs->o.pools[l->r.rtp_pool], &(struct rtp_pair){.port = l->r.rtp_port, .rtp_fd = l->rtp_fd, .rtcp_fd = l->rtcp_fd});
	l->rtp_fd = l->rtcp_fd = -1;
	if (l->r.state == LEG_GONE)
		call_over(l->call);
}

static void note_counts(struct call *c, const struct media_counts *n)
{
	char buf[256];
	struct out o = OUT(buf);

	out_f(&o, "in=%u out=%u lost=%u late=%u concealed=%u strangers=%u jitter_us=%u", n->packets_in, n->packets_out, n->lost, n->late, n->concealed,
	      n->strangers, n->jitter_us);
	call_note(c, TRACE_MEDIA, 0, out_view(&o));
}

void call_counts(const struct call *c, struct media_counts *ret)
{
	const struct media_line *line = c->leg ? &slab_lines(c->all->o.slab)[handle_slot(c->leg->h)] : NULL;

	*ret = c->counts;
	if (!c->counted && line && line->gen == c->leg->r.gen)
		*ret = (struct media_counts){.packets_in = line->packets_in, .packets_out = line->packets_out, .lost = line->lost_in};
}

void calls_media_event(struct calls *cs, const struct media_event *e, int64_t now_ms)
{
	struct leg *l = leg_get(cs, handle_of(e->slot, e->gen));

	cs->now_ms = now_ms;
	if (!l)
		return;
	struct call *c = l->call;
	char buf[64];
	struct out o = OUT(buf);

	switch (e->kind) {
	case MEDIA_DIGIT:
		call_tell(c, &(struct call_event){.kind = CALL_EV_DIGIT, .number = e->digit.number, .digit = e->digit.digit});
		break;
	case MEDIA_FINISHED:
		if (e->finished.number == c->r.app.play_number)
			call_tell(c, &(struct call_event){.kind = CALL_EV_PLAYED, .number = e->finished.number});
		break;
	case MEDIA_LOCKED:
		OUT_STR(&o, "hears ");
		addr_print(&o, &e->locked.from);
		call_note(c, TRACE_MEDIA, 1, out_view(&o));
		break;
	case MEDIA_HEARD:
		call_tell(c, &(struct call_event){.kind = CALL_EV_HEARD, .samples = e->heard.samples, .n_samples = AUDIO_FRAME});
		break;
	case MEDIA_SENT:
		call_tell(c, &(struct call_event){.kind = CALL_EV_SENT});
		break;
	case MEDIA_CLOSED:
		note_counts(c, &e->counts);
		c->counts = e->counts;
		c->counted = true;
		stream_closed(l);
		break;
	default: /* QUIET: the leg's own timer looks at the media line */
		break;
	}
}
