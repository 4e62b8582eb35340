/* SPDX-License-Identifier: Apache-2.0
 *
 * talk: the session of a leg (RFC 3264): what the peer offered, what we answer, what both agreed; kept in the leg's record as text (slab) and as numbers, so that a
 * repeated 2xx carries the same body byte for byte, also after a restart. No packets here: leg.c sends.
 */
#include "call/call_int.h"

static bool is_sdp(const struct sip_msg *m)
{
	struct str rest, type = str_cut(sip_get(m, HDR_CONTENT_TYPE), ';', &rest);

	return str_ieq(str_trim(type), STR("application/sdp"));
}

int talk_check_offer(const struct sip_msg *m, struct sdp *ret)
{
	ret->n_media = 0;
	if (!m->body.n)
		return 0;
	if (!is_sdp(m))
		return 415;
	int err = sdp_parse(m->body, ret);
	if (err)
		return err == -E2BIG ? 488 : 400; /* past a limit of the table: 488 */
	return ret->n_media ? 0 : 488;
}

static struct sdp_local local_of(const struct leg *l)
{
	struct sdp_local us = {.session = l->r.rnd, .version = l->r.sdp_version, .dir = SDP_SENDRECV};

	l->call->all->o.advertise(l->call->all->o.arg, &l->r.flow, &us.rtp);
	us.rtp.port = l->r.rtp_port;
	return us;
}

static void take(struct leg *l, const struct sdp_agreed *g)
{
	l->r.codec = (uint8_t)g->codec;
	l->r.codec_pt = g->codec_pt;
	l->r.dtmf_pt = g->dtmf_pt;
	l->r.codec_pt_in = g->codec_pt_in;
	l->r.dtmf_pt_in = g->dtmf_pt_in;
	l->r.media_peer = g->remote;
	l->r.media_peer_rtcp = g->remote_rtcp;
	l->r.dir = (uint8_t)g->dir;
	l->r.held = g->dir == SDP_RECVONLY || g->dir == SDP_INACTIVE;
}

static int keep_local(struct leg *l, struct str body)
{
	struct slab *s = l->call->all->o.slab;
	struct text t;
	int err = slab_text(s, body, &t);

	if (err)
		return err;
	slab_drop(s, l->r.sdp_local);
	l->r.sdp_local = t;
	return 0;
}

int talk_answer(struct leg *l, const struct sdp *offer)
{
	char buf[4096];
	struct out o = OUT(buf);
	struct sdp_agreed g;

	l->r.sdp_version++;
	struct sdp_local us = local_of(l);
	if (sdp_answer(offer, &us, &o, &g))
		return 488;
	if (keep_local(l, out_view(&o)))
		return 503;
	take(l, &g);
	l->r.offered = 0;
	return 0;
}

int talk_offer(struct leg *l)
{
	char buf[1024];
	struct out o = OUT(buf);

	l->r.sdp_version++;
	struct sdp_local us = local_of(l);
	int err = sdp_offer(&us, &o);
	if (err)
		return err;
	l->r.offered = 1;
	return keep_local(l, out_view(&o));
}

int talk_agree(struct leg *l, struct str body)
{
	struct sdp_local us = local_of(l);
	struct sdp_agreed g;
	struct sdp answer;
	int err = sdp_parse(body, &answer);

	if (!err)
		err = sdp_agree(&answer, &us, &g);
	if (err)
		return err;
	take(l, &g);
	l->r.offered = 0;
	return 0;
}
