/* SPDX-License-Identifier: Apache-2.0
 *
 * sdp_answer: offers and answers (RFC 3264 sections 5 to 8) for one audio stream on plain RTP/AVP; telephone-event as RFC 4733 section 2.5. Pure
 * functions, on whichever thread calls. One codec is answered, the first of the offer that we know, so that the peer cannot change it in mid-call;
 * numbers of payload types are the offer's. rtcp-mux and all that is not understood is left out of the answer, which refuses it.
 */
#include "sdp/sdp.h"
#include <netinet/in.h>

/* Directions as two bits, told from one side. */
enum { SEND = 1, RECV = 2 };
static const uint8_t dir_bits[] = {[SDP_SENDRECV] = SEND | RECV, [SDP_SENDONLY] = SEND, [SDP_RECVONLY] = RECV, [SDP_INACTIVE] = 0};
static const enum sdp_dir bits_dir[] = {[0] = SDP_INACTIVE, [SEND] = SDP_SENDONLY, [RECV] = SDP_RECVONLY, [SEND | RECV] = SDP_SENDRECV};

const char *sdp_dir_name(enum sdp_dir d)
{
	static const char *const names[] = {"sendrecv", "sendonly", "recvonly", "inactive"};
	return (unsigned)d < N_ELEMENTS(names) ? names[d] : "sendrecv";
}

static bool we_have(const struct sdp_local *us, enum codec_id id)
{
	for (int i = 0; us->codecs && i < us->n_codecs; i++)
		if (us->codecs[i] == id)
			return true;
	return !us->codecs;
}

static bool fmt_is(const struct sdp_fmt *f, enum codec_id id)
{
	const struct codec_info *c = &codec_table[id];
	return f->rate_hz == c->rate_hz && f->channels == 1 && str_ieq(f->name, str_z(c->name));
}

/* First sound codec of the stream that we have too; -1 = none. */
static int find_codec(const struct sdp_media *m, const struct sdp_local *us, enum codec_id *ret)
{
	for (int i = 0; i < m->n_fmt; i++)
		for (enum codec_id id = 0; id < CODEC_N; id++)
			if (id != CODEC_EVENT && we_have(us, id) && fmt_is(&m->fmt[i], id)) {
				*ret = id;
				return i;
			}
	return -1;
}

static const struct sdp_fmt *find_event(const struct sdp_media *m, const struct sdp_local *us)
{
	for (int i = 0; we_have(us, CODEC_EVENT) && i < m->n_fmt; i++)
		if (fmt_is(&m->fmt[i], CODEC_EVENT))
			return &m->fmt[i];
	return NULL;
}

/* The stream to talk on: the first live audio stream over plain RTP with a codec in common; -1 = none. */
static int find_stream(const struct sdp *s, const struct sdp_local *us, enum codec_id *ret_codec, int *ret_fmt)
{
	for (int i = 0; i < s->n_media; i++) {
		const struct sdp_media *m = &s->media[i];
		if (!m->port || !str_ieq(m->type, STR("audio")) || !str_ieq(m->proto, STR("RTP/AVP")))
			continue;
		*ret_fmt = find_codec(m, us, ret_codec);
		if (*ret_fmt >= 0)
			return i;
	}
	return -1;
}

/* What we may do, given what the peer says of itself. c=0.0.0.0 is the hold of RFC 2543: nothing is to be sent there. */
static enum sdp_dir our_dir(const struct sdp_media *m, enum sdp_dir wish)
{
	uint8_t theirs = dir_bits[m->dir], ours = 0;
	if (m->conn.family && addr_is_any(&m->conn))
		theirs &= (uint8_t)~RECV;
	if (theirs & RECV)
		ours |= SEND;
	if (theirs & SEND)
		ours |= RECV;
	return bits_dir[ours & dir_bits[wish]];
}

static void fill_agreed(struct sdp_agreed *a, const struct sdp_media *m, const struct sdp_local *us, int fmt, const struct sdp_fmt *event)
{
	a->codec_pt = a->codec_pt_in = m->fmt[fmt].pt;
	a->dtmf_pt = a->dtmf_pt_in = event ? event->pt : 0;
	a->dir = our_dir(m, us->dir);
	if (!m->conn.family || addr_is_any(&m->conn))
		return;
	a->remote = m->conn;
	a->remote.port = m->port;
	if (!addr_is_any(&m->rtcp))
		a->remote_rtcp = m->rtcp;
}

static void print_head(const struct sdp_local *us, struct str time, struct out *o)
{
	const char *type = us->rtp.family == AF_INET6 ? "IP6 " : "IP4 ";
	OUT_STR(o, "v=0\r\no=- ");
	out_u64(o, us->session);
	out_c(o, ' ');
	out_u64(o, us->version);
	OUT_STR(o, " IN ");
	out_str(o, str_z(type));
	addr_print_host(o, &us->rtp);
	OUT_STR(o, "\r\ns=-\r\nc=IN ");
	out_str(o, str_z(type));
	addr_print_host(o, &us->rtp);
	OUT_STR(o, "\r\nt=");
	out_str(o, time);
	OUT_STR(o, "\r\n");
}

static void print_map(struct out *o, uint8_t pt, enum codec_id id, struct str fmtp)
{
	OUT_STR(o, "a=rtpmap:");
	out_u64(o, pt);
	out_c(o, ' ');
	out_str(o, str_z(codec_table[id].name));
	out_c(o, '/');
	out_u64(o, codec_table[id].rate_hz);
	OUT_STR(o, "\r\n");
	if (!fmtp.n)
		return;
	OUT_STR(o, "a=fmtp:");
	out_u64(o, pt);
	out_c(o, ' ');
	out_str(o, fmtp);
	OUT_STR(o, "\r\n");
}

static void print_tail(struct out *o, enum sdp_dir dir)
{
	OUT_STR(o, "a=ptime:");
	out_u64(o, FRAME_MS);
	OUT_STR(o, "\r\na=");
	out_str(o, str_z(sdp_dir_name(dir)));
	OUT_STR(o, "\r\n");
}

static void print_stream(struct out *o, const struct sdp_local *us, const struct sdp_agreed *a, const struct sdp_fmt *event)
{
	OUT_STR(o, "m=audio ");
	out_u64(o, us->rtp.port);
	OUT_STR(o, " RTP/AVP ");
	out_u64(o, a->codec_pt);
	if (event) {
		out_c(o, ' ');
		out_u64(o, event->pt);
	}
	OUT_STR(o, "\r\n");
	print_map(o, a->codec_pt, a->codec, STR_NONE);
	if (event)
		print_map(o, event->pt, CODEC_EVENT, str_eq(event->fmtp, STR("0-15")) ? STR("0-15") : STR("0-16"));
	print_tail(o, a->dir);
}

/* RFC 3264 section 6: a refused stream keeps its place, with port 0 and at least one format. */
static void print_refused(struct out *o, const struct sdp_media *m)
{
	struct str rest, fmt = str_cut(m->fmt_text, ' ', &rest);
	OUT_STR(o, "m=");
	out_str(o, m->type);
	OUT_STR(o, " 0 ");
	out_str(o, m->proto);
	out_c(o, ' ');
	out_str(o, fmt.n ? fmt : STR("0"));
	OUT_STR(o, "\r\n");
}

int sdp_answer(const struct sdp *offer, const struct sdp_local *us, struct out *o, struct sdp_agreed *ret)
{
	int fmt;
	*ret = (struct sdp_agreed){0};
	ret->media = find_stream(offer, us, &ret->codec, &fmt);
	if (ret->media < 0)
		return -ENOTSUP;
	const struct sdp_media *m = &offer->media[ret->media];
	const struct sdp_fmt *event = find_event(m, us);
	fill_agreed(ret, m, us, fmt, event);
	print_head(us, offer->time.n ? offer->time : STR("0 0"), o);
	for (int i = 0; i < offer->n_media; i++)
		if (i == ret->media)
			print_stream(o, us, ret, event);
		else
			print_refused(o, &offer->media[i]);
	return o->over ? -ENOSPC : 0;
}

/* The codecs we offer, ours in our order, events last as is the custom. */
static int list_codecs(const struct sdp_local *us, enum codec_id ret[CODEC_N])
{
	int n = 0;
	for (int i = 0; i < (us->codecs ? us->n_codecs : CODEC_N) && n < CODEC_N; i++) {
		enum codec_id id = us->codecs ? us->codecs[i] : (enum codec_id)i;
		if (id != CODEC_EVENT)
			ret[n++] = id;
	}
	if (n < CODEC_N && we_have(us, CODEC_EVENT))
		ret[n++] = CODEC_EVENT;
	return n;
}

int sdp_offer(const struct sdp_local *us, struct out *o)
{
	enum codec_id list[CODEC_N];
	int n = list_codecs(us, list);
	print_head(us, STR("0 0"), o);
	OUT_STR(o, "m=audio ");
	out_u64(o, us->rtp.port);
	OUT_STR(o, " RTP/AVP");
	for (int i = 0; i < n; i++) {
		out_c(o, ' ');
		out_u64(o, codec_table[list[i]].pt);
	}
	OUT_STR(o, "\r\n");
	for (int i = 0; i < n; i++)
		print_map(o, codec_table[list[i]].pt, list[i], list[i] == CODEC_EVENT ? STR("0-16") : STR_NONE);
	print_tail(o, us->dir);
	return o->over ? -ENOSPC : 0;
}

int sdp_agree(const struct sdp *answer, const struct sdp_local *us, struct sdp_agreed *ret)
{
	int fmt;
	*ret = (struct sdp_agreed){0};
	/* Our offer had one stream: what an answer adds behind it is no answer (RFC 3264 section 6). */
	ret->media = find_stream(answer, us, &ret->codec, &fmt);
	if (ret->media != 0)
		return -ENOTSUP;
	const struct sdp_media *m = &answer->media[0];
	const struct sdp_fmt *event = find_event(m, us);
	fill_agreed(ret, m, us, fmt, event);
	/* The peer may number formats its own way for what it receives; what it sends carries our numbers. */
	ret->codec_pt_in = codec_table[ret->codec].pt;
	ret->dtmf_pt_in = event ? codec_table[CODEC_EVENT].pt : 0;
	return 0;
}
