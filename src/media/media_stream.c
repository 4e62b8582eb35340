/* SPDX-License-Identifier: Apache-2.0
 *
 * media_stream: the engine and its orders. Streams are opened (new, or adopted from their media line after a restart), told what to do, and closed. On the
 * media thread that owns the engine; memory is taken and given back only here, the packet road (media_road.c) has none to ask for. Orders for a stream that is
 * gone, or of another generation, are ignored, but for CLOSE, which is always answered.
 */
#include <stdlib.h>
#include "media/media_int.h"

struct media *media_new(const struct media_opts *o, int64_t now_ms)
{
	struct media *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->o = *o;
	m->by_slot = calloc(o->n_lines ? o->n_lines : 1, sizeof(struct stream *));
	if (!m->by_slot) {
		free(m);
		return NULL;
	}
	for (int i = 0; i < FRAME_MS; i++)
		link_init(&m->bucket[i]);
	m->done_ms = now_ms;
	m->utc_offset_ms = clock_utc_ms() - now_ms; /* once: reports need a steady clock, not a right one */
	return m;
}

static void drop_play(struct media *m, struct stream *s)
{
	sound_leave(m, s->sound);
	s->sound = NULL;
	s->line->playing = 0;
}

static void free_stream(struct media *m, struct stream *s)
{
	drop_play(m, s);
	link_drop(&s->link);
	m->by_slot[s->slot] = NULL;
	jb_free(s->jb);
	digit_tones_set(s, false);
	free(s);
}

void media_free(struct media *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->o.n_lines; i++)
		if (m->by_slot[i]) {
			sound_leave(m, m->by_slot[i]->sound);
			jb_free(m->by_slot[i]->jb);
			digit_tones_set(m->by_slot[i], false);
			free(m->by_slot[i]);
		}
	media_sounds_free(m);
	free(m->by_slot);
	free(m);
}

/* ---- addresses as the kernel wants them ---- */

static socklen_t to_kernel(const struct addr *a, bool six, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!a->family || !a->port)
		return 0;
	if (!six && a->family == AF_INET) {
		struct sockaddr_in *s4 = (struct sockaddr_in *)ret;
		s4->sin_family = AF_INET;
		s4->sin_port = htons(a->port);
		memcpy(&s4->sin_addr, a->ip, 4);
		return sizeof(*s4);
	}
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ret;
	s6->sin6_family = AF_INET6;
	s6->sin6_port = htons(a->port);
	s6->sin6_scope_id = a->scope;
	if (a->family == AF_INET) { /* a socket bound to [::] takes IPv4 as mapped addresses */
		s6->sin6_addr.s6_addr[10] = s6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(s6->sin6_addr.s6_addr + 12, a->ip, 4);
	} else {
		memcpy(&s6->sin6_addr, a->ip, 16);
	}
	return sizeof(*s6);
}

/* With a wildcard socket the kernel would choose the source by route; the peer expects the address it was told. */
static void make_control(struct stream *s, bool six)
{
	struct msghdr h = {.msg_control = s->control, .msg_controllen = sizeof(s->control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	memset(s->control, 0, sizeof(s->control));
	s->control_n = 0;
	if (!s->wildcard || !s->local.family || addr_is_any(&s->local))
		return;
	if (six) {
		struct sockaddr_storage ss;
		struct addr a = s->local;
		struct in6_pktinfo info = {.ipi6_ifindex = a.family == AF_INET6 ? a.scope : 0};
		a.port = 1;
		to_kernel(&a, true, &ss);
		info.ipi6_addr = ((struct sockaddr_in6 *)&ss)->sin6_addr;
		*c = (struct cmsghdr){.cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(info))};
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		s->control_n = CMSG_SPACE(sizeof(info));
		return;
	}
	struct in_pktinfo info = {0};
	memcpy(&info.ipi_spec_dst, s->local.ip, 4);
	*c = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(info))};
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	s->control_n = CMSG_SPACE(sizeof(info));
}

/* true: the socket speaks IPv6. */
static bool look_at_socket(struct stream *s)
{
	struct sockaddr_storage ss = {0};
	socklen_t n = sizeof(ss);
	if (s->rtp_fd < 0 || getsockname(s->rtp_fd, (struct sockaddr *)&ss, &n) != 0)
		return false;
	static const struct in6_addr none6;
	static const struct in_addr none4;
	if (ss.ss_family == AF_INET6)
		s->wildcard = memcmp(&((struct sockaddr_in6 *)&ss)->sin6_addr, &none6, sizeof(none6)) == 0;
	else
		s->wildcard = memcmp(&((struct sockaddr_in *)&ss)->sin_addr, &none4, sizeof(none4)) == 0;
	return ss.ss_family == AF_INET6;
}

/* Where packets go, in the line and ready for the kernel: to the locked source, before that as signalled. */
void stream_aim(struct stream *s)
{
	struct media_line *l = s->line;
	bool six = look_at_socket(s);
	l->latched = s->latch.is_locked;
	l->remote = s->latch.is_locked ? s->latch.locked : s->remote.rtp;
	l->remote_rtcp = s->remote.rtcp;
	if (s->latch.is_locked && !addr_eq(&s->latch.locked, &s->remote.rtp)) {
		l->remote_rtcp = s->latch.locked; /* behind NAT: beside RTP is the best guess there is */
		l->remote_rtcp.port = l->remote.port == 65535 ? 0 : (uint16_t)(l->remote.port + 1);
	}
	s->dst_n = to_kernel(&l->remote, six, &s->dst);
	s->dst_rtcp_n = to_kernel(&l->remote_rtcp, six, &s->dst_rtcp);
	make_control(s, six);
}

/* ---- orders ---- */

static void tell_finished(struct media *m, const struct stream *s, uint32_t number)
{
	struct media_event e = {.kind = MEDIA_FINISHED, .slot = s->slot, .gen = s->gen};
	e.finished.number = number;
	media_tell(m, &e);
}

static void tell_closed(struct media *m, uint32_t slot, uint32_t gen, const struct media_counts *counts)
{
	struct media_event e = {.kind = MEDIA_CLOSED, .slot = slot, .gen = gen};
	if (counts)
		e.counts = *counts;
	media_tell(m, &e);
}

static void set_phase(struct media *m, struct stream *s, int64_t ms)
{
	s->phase_ms = ms;
	link_drop(&s->link);
	link_append(&m->bucket[((ms % FRAME_MS) + FRAME_MS) % FRAME_MS], &s->link);
}

/* The line of a new stream; gen last, it makes the line count. */
static void fresh_line(struct stream *s, uint32_t ssrc)
{
	struct media_line *l = s->line;
	uint32_t r = rand_u32();
	memset(l, 0, sizeof(*l));
	l->ssrc = ssrc;
	l->seq0 = (uint16_t)(r & 0x7fff); /* upper half left free, so that SRTP's rollover counter begins at 0 (RFC 3711 section 3.3.1) */
	l->ts0 = rand_u32();
	__atomic_store_n(&l->gen, s->gen, __ATOMIC_RELEASE);
}

/* After a restart: the next packet is the first whose time has not come yet; the old thread may have sent the one before. */
static void adopt_line(struct media *m, struct stream *s, int64_t now_ms)
{
	struct media_line *l = s->line;
	if (l->latched) {
		s->latch.is_locked = true;
		s->latch.locked = l->remote;
	}
	digit_in_adopt(s, now_ms);
	s->in.ssrc = l->peer_ssrc;
	l->playing = 0; /* sig orders the play again, from play_pos */
	if (!l->start_ms)
		return;
	s->started = s->marked = true;
	s->k_next = now_ms < l->start_ms ? 0 : (now_ms - l->start_ms) / FRAME_MS + 1;
	set_phase(m, s, l->start_ms);
}

static void do_close(struct media *m, struct stream *s, int64_t now_ms);

static struct stream *new_stream(struct media *m, const struct media_cmd *c)
{
	struct stream *s = calloc(1, sizeof(*s));
	if (!s || !(s->jb = jb_new())) {
		free(s);
		return NULL;
	}
	link_init(&s->link);
	s->slot = c->slot;
	s->gen = c->gen;
	s->line = &m->o.lines[c->slot];
	s->rtp_fd = c->open.rtp_fd;
	s->rtcp_fd = c->open.rtcp_fd;
	s->local = c->open.local;
	s->quiet_ms = c->open.quiet_ms;
	s->remote = c->open.remote;
	conceal_init(&s->conceal);
	struct out o = {.p = s->cname, .cap = sizeof(s->cname) - 1};
	uint8_t name[12];
	rand_bytes(name, sizeof(name)); /* RFC 7022: says nothing about the machine */
	out_hex(&o, name, sizeof(name));
	return s;
}

static void do_open(struct media *m, const struct media_cmd *c, int64_t now_ms)
{
	if (c->slot >= m->o.n_lines)
		return;
	struct stream *s = m->by_slot[c->slot];
	if (s)
		do_close(m, s, now_ms);
	s = new_stream(m, c);
	if (!s) {
		log_line(LOG_ERROR, "media: no memory for a stream");
		tell_closed(m, c->slot, c->gen, NULL);
		return;
	}
	m->by_slot[s->slot] = s;
	set_phase(m, s, now_ms);
	s->quiet_from_ms = now_ms;
	digit_tones_set(s, !s->remote.dtmf_pt_in);
	latch_init(&s->latch, &s->remote.rtp, &s->remote.sip_peer, s->remote.latch_until_ms);
	if (c->adopt && s->line->gen == s->gen)
		adopt_line(m, s, now_ms);
	else
		fresh_line(s, c->open.ssrc);
	stream_aim(s);
}

static void do_start(struct media *m, struct stream *s, int64_t latch_until_ms, int64_t now_ms)
{
	if (latch_until_ms)
		s->latch.open_until_ms = latch_until_ms;
	if (s->started)
		return;
	s->started = true;
	s->k_next = 0;
	s->quiet_from_ms = now_ms;
	set_phase(m, s, MAX(now_ms, m->done_ms + 1)); /* a time that was ticked already would come back 20 ms late */
	__atomic_store_n(&s->line->start_ms, s->phase_ms, __ATOMIC_RELEASE);
}

static void do_remote(struct stream *s, const struct media_remote *r)
{
	bool other_sound = r->codec != s->remote.codec || r->codec_pt_in != s->remote.codec_pt_in;
	s->remote = *r;
	digit_tones_set(s, !r->dtmf_pt_in);
	if (r->relatch)
		latch_init(&s->latch, &r->rtp, &r->sip_peer, r->latch_until_ms);
	else if (!s->latch.is_locked) {
		s->latch.signalled = r->rtp;
		s->latch.sip_peer = r->sip_peer;
	}
	if (other_sound)
		jb_reset(s->jb);
	stream_aim(s);
}

static void do_play(struct media *m, struct stream *s, const struct media_cmd *c)
{
	struct media_line *l = s->line;
	drop_play(m, s);
	l->play_pos = c->play.pos;
	l->play_loop = c->play.loop;
	__atomic_store_n(&l->play_number, c->play.number, __ATOMIC_RELEASE);
	s->sound = sound_take(m, c->play.sound, c->play.sound_gen);
	s->play_loops = c->play.loops;
	if (!s->sound || !s->sound->n_samples || (s->play_loops && l->play_loop >= s->play_loops)) {
		drop_play(m, s);
		tell_finished(m, s, c->play.number);
		return;
	}
	l->playing = 1;
}

static void do_close(struct media *m, struct stream *s, int64_t now_ms)
{
	struct media_counts *c = &s->counts;
	if (s->started)
		media_rtcp_send(m, s, true, now_ms);
	c->packets_in = s->line->packets_in;
	c->packets_out = s->line->packets_out;
	c->octets_out = (uint32_t)s->line->octets_out;
	c->lost = s->lost_before + rtp_stats_lost(&s->stats);
	c->late = jb_late(s->jb);
	c->jitter_us = (uint32_t)((uint64_t)(s->stats.jitter_q4 >> 4) * 1000000 / AUDIO_HZ);
	struct media_counts counts = *c;
	uint32_t slot = s->slot, gen = s->gen;
	__atomic_store_n(&s->line->gen, 0, __ATOMIC_RELEASE);
	free_stream(m, s);
	tell_closed(m, slot, gen, &counts);
}

static void do_stream(struct media *m, struct stream *s, const struct media_cmd *c, int64_t now_ms)
{
	switch ((enum media_cmd_kind)c->kind) {
	case MEDIA_START:
		do_start(m, s, c->start.latch_until_ms, now_ms);
		return;
	case MEDIA_REMOTE:
		do_remote(s, &c->remote);
		return;
	case MEDIA_PLAY:
		do_play(m, s, c);
		return;
	case MEDIA_STOP:
		drop_play(m, s);
		return;
	case MEDIA_ECHO:
		s->echo = c->on.on;
		return;
	case MEDIA_TYPED:
		digit_typed(m, s, c->typed.cseq, c->typed.digit, c->typed.ms);
		break;
	case MEDIA_DIGITS:
		digit_out_put(s, c->digits.text, sizeof(c->digits.text), true);
		return;
	case MEDIA_TAP:
		s->tap = c->on.on;
		return;
	case MEDIA_CLOSE:
		do_close(m, s, now_ms);
		return;
	default:
		return;
	}
}

void media_do(struct media *m, const struct media_cmd *c, int fd, int64_t now_ms)
{
	struct stream *s = media_stream(m, c->slot);
	if (c->kind == MEDIA_OPEN)
		do_open(m, c, now_ms);
	else if (c->kind == MEDIA_SOUND)
		sound_put(m, c->sound.sound, c->sound.sound_gen, c->sound.n_samples, fd);
	else if (c->kind == MEDIA_SOUND_DROP)
		sound_drop(m, c->sound.sound, c->sound.sound_gen);
	else if (s && s->gen == c->gen)
		do_stream(m, s, c, now_ms);
	else if (c->kind == MEDIA_CLOSE)
		tell_closed(m, c->slot, c->gen, NULL);
}

bool media_fds(const struct media *m, uint32_t slot, uint32_t gen, int fds[2])
{
	const struct stream *s = media_stream(m, slot);
	if (!s || s->gen != gen)
		return false;
	fds[0] = s->rtp_fd;
	fds[1] = s->rtcp_fd;
	return true;
}
