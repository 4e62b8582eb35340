/* SPDX-License-Identifier: Apache-2.0
 *
 * sdp_parse: from bytes to struct sdp (RFC 8866 sections 5 and 9; a=rtcp RFC 3605, a=rtcp-mux RFC 5761). Pure function of the text, on whichever
 * thread calls. Strict where a mistake would send sound to the wrong place (numbers, addresses, the order of m= lines), lenient where phones are
 * careless: LF without CR, missing s= or t=, unknown lines and attributes. What an attribute means is left to sdp_answer.c.
 */
#include "sdp/sdp.h"
#include <netinet/in.h>

/* What stands before the first m= holds for every m= that does not say otherwise. */
struct session {
	struct addr conn;
	enum sdp_dir dir;
	int ptime_ms;
};

static int over_limit(void)
{
	count_add(COUNT_LIMIT_HIT, 1);
	return -E2BIG;
}

/* The next word of a line: words are parted by one SP, but some phones write two. */
static struct str next_word(struct str *line)
{
	while (line->n && line->p[0] == ' ')
		*line = str_skip(*line, 1);
	struct str rest, w = str_cut(*line, ' ', &rest);
	*line = rest;
	return w;
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
			return false;
	return s.n > 0;
}

/* "IN IP4 192.0.2.1/127" (a TTL or a count of addresses is passed over). A host name leaves family 0: it is for nobody to look up here. */
static int parse_conn(struct str v, struct addr *ret)
{
	struct str net = next_word(&v), type = next_word(&v), host = next_word(&v), ttl;
	memset(ret, 0, sizeof(*ret));
	if (!str_ieq(net, STR("IN")) || !is_token(host))
		return -EBADMSG;
	bool v6 = str_ieq(type, STR("IP6"));
	if (!v6 && !str_ieq(type, STR("IP4")))
		return -EBADMSG;
	host = str_cut(host, '/', &ttl);
	if (addr_parse(host, ret) != 0 || ret->port != 0 || ret->family != (v6 ? AF_INET6 : AF_INET))
		memset(ret, 0, sizeof(*ret));
	return 0;
}

/* RFC 3551 section 6: what a payload type below 96 means without an rtpmap. Only those a phone may still offer. */
static void fill_static(struct sdp_fmt *f)
{
	static const struct {
		uint8_t pt;
		const char *name;
	} table[] = {{0, "PCMU"}, {3, "GSM"}, {4, "G723"}, {8, "PCMA"}, {9, "G722"}, {13, "CN"}, {15, "G728"}, {18, "G729"}};
	for (size_t i = 0; i < N_ELEMENTS(table); i++)
		if (table[i].pt == f->pt) {
			f->name = str_z(table[i].name);
			f->rate_hz = 8000;
		}
}

static struct sdp_fmt *find_fmt(struct sdp_media *m, uint64_t pt)
{
	for (int i = 0; i < m->n_fmt; i++)
		if (m->fmt[i].pt == pt)
			return &m->fmt[i];
	return NULL;
}

/* Payload types, one word each. A number written twice counts once. */
static int parse_formats(struct sdp_media *m)
{
	struct str v = m->fmt_text;
	for (;;) {
		struct str w = next_word(&v);
		uint64_t pt;
		if (!w.n)
			return m->n_fmt ? 0 : -EBADMSG;
		if (str_u64(w, 127, &pt) != 0)
			return -EBADMSG;
		if (find_fmt(m, pt))
			continue;
		if (m->n_fmt == SDP_FMT_MAX)
			return over_limit();
		struct sdp_fmt *f = &m->fmt[m->n_fmt++];
		*f = (struct sdp_fmt){.pt = (uint8_t)pt, .channels = 1};
		fill_static(f);
	}
}

static int parse_media(struct sdp *s, const struct session *all, struct str v)
{
	if (s->n_media == SDP_MEDIA_MAX)
		return over_limit();
	struct sdp_media *m = &s->media[s->n_media];
	m->type = next_word(&v);
	struct str count, port = str_cut(next_word(&v), '/', &count);
	uint64_t n;
	m->proto = next_word(&v);
	m->fmt_text = str_trim(v);
	if (!is_token(m->type) || !is_token(m->proto) || str_u64(port, 65535, &n) != 0)
		return -EBADMSG;
	m->port = (uint16_t)n;
	m->conn = all->conn;
	m->rtcp = (struct addr){0};
	m->dir = all->dir;
	m->ptime_ms = all->ptime_ms;
	m->rtcp_mux = false;
	m->n_fmt = 0;
	s->n_media++;
	return str_istarts(m->proto, STR("RTP/")) ? parse_formats(m) : 0;
}

/* "rtpmap:101 telephone-event/8000[/channels]" */
static int parse_rtpmap(struct sdp_media *m, struct str v)
{
	uint64_t pt, rate, channels = 1;
	if (str_u64(next_word(&v), 127, &pt) != 0)
		return -EBADMSG;
	struct str rest, chan, name = str_cut(str_trim(v), '/', &rest);
	struct str hz = str_cut(rest, '/', &chan);
	if (!is_token(name) || str_u64(hz, 10000000, &rate) != 0 || (chan.n && str_u64(chan, 255, &channels) != 0))
		return -EBADMSG;
	struct sdp_fmt *f = find_fmt(m, pt);
	if (f) {
		f->name = name;
		f->rate_hz = (uint32_t)rate;
		f->channels = (uint8_t)channels;
	}
	return 0; /* a map of a format that the m= line does not name is passed over */
}

static int parse_fmtp(struct sdp_media *m, struct str v)
{
	uint64_t pt;
	if (str_u64(next_word(&v), 127, &pt) != 0)
		return 0; /* other media name formats by words */
	struct sdp_fmt *f = find_fmt(m, pt);
	if (f)
		f->fmtp = str_trim(v);
	return 0;
}

/* "rtcp:53020 [IN IP6 2001:db8::1]" */
static int parse_rtcp(struct sdp_media *m, struct str v)
{
	uint64_t port;
	if (str_u64(next_word(&v), 65535, &port) != 0)
		return -EBADMSG;
	v = str_trim(v);
	if (v.n) {
		int r = parse_conn(v, &m->rtcp);
		if (r != 0)
			return r;
	}
	m->rtcp.port = (uint16_t)port;
	return 0;
}

static bool parse_dir(struct str name, enum sdp_dir *dir)
{
	for (enum sdp_dir d = SDP_SENDRECV; d <= SDP_INACTIVE; d++)
		if (str_eq(name, str_z(sdp_dir_name(d)))) {
			*dir = d;
			return true;
		}
	return false;
}

/* m NULL: the attribute stands before the first m=. */
static int parse_attribute(struct session *all, struct sdp_media *m, struct str v)
{
	struct str val, name = str_cut(v, ':', &val);
	uint64_t ms;
	if (parse_dir(name, m ? &m->dir : &all->dir))
		return 0;
	if (str_eq(name, STR("ptime"))) {
		if (str_u64(str_trim(val), 1000, &ms) == 0) /* "ptime:20.5" and the like: not said */
			*(m ? &m->ptime_ms : &all->ptime_ms) = (int)ms;
		return 0;
	}
	if (!m)
		return 0;
	if (str_eq(name, STR("rtcp-mux")))
		m->rtcp_mux = true;
	else if (str_eq(name, STR("rtpmap")))
		return m->n_fmt ? parse_rtpmap(m, val) : 0;
	else if (str_eq(name, STR("fmtp")))
		return parse_fmtp(m, val);
	else if (str_eq(name, STR("rtcp")))
		return parse_rtcp(m, val);
	return 0;
}

/* "- 2890844526 2890842807 IN IP4 192.0.2.1". The version may be any number of digits (RFC 8866 5.2): one too long for us counts by its low bits. */
static int parse_origin(struct sdp *s, struct str v)
{
	s->origin = v;
	next_word(&v);
	next_word(&v);
	struct str w = next_word(&v);
	if (!w.n)
		return -EBADMSG;
	s->version = 0;
	for (size_t i = 0; i < w.n; i++) {
		if (w.p[i] < '0' || w.p[i] > '9')
			return -EBADMSG;
		s->version = s->version * 10 + (uint64_t)(w.p[i] - '0');
	}
	return 0;
}

static int parse_line(struct sdp *s, struct session *all, char type, struct str v)
{
	struct sdp_media *m = s->n_media ? &s->media[s->n_media - 1] : NULL;
	switch (type) {
	case 'o':
		return s->origin.p ? -EBADMSG : parse_origin(s, v);
	case 't':
		if (!s->time.p)
			s->time = v;
		return 0;
	case 'c':
		return parse_conn(v, m ? &m->conn : &all->conn);
	case 'm':
		return parse_media(s, all, v);
	case 'a':
		return parse_attribute(all, m, v);
	case 'v':
		return -EBADMSG; /* a second session in one body */
	default:
		return 0;
	}
}

/* a=rtcp without address, or none at all: beside RTP. */
static void fill_rtcp(struct sdp_media *m)
{
	if (m->rtcp.family)
		return;
	uint16_t port = m->rtcp.port;
	m->rtcp = m->conn;
	m->rtcp.port = port ? port : (uint16_t)(m->port + 1);
	if (!m->port || !m->rtcp.port)
		m->rtcp = (struct addr){0};
}

int sdp_parse(struct str in, struct sdp *ret)
{
	struct session all = {.dir = SDP_SENDRECV};
	bool first = true;
	ret->origin = ret->time = STR_NONE;
	ret->version = 0;
	ret->n_media = 0;
	if (in.n > limit_of(LIMIT_SDP))
		return over_limit();
	while (in.n) {
		struct str line = str_cut(in, '\n', &in);
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (!line.n)
			continue;
		if (line.n < 2 || line.p[1] != '=' || memchr(line.p, 0, line.n) || memchr(line.p, '\r', line.n))
			return -EBADMSG;
		struct str v = str_skip(line, 2);
		if (first && (line.p[0] != 'v' || !str_eq(str_trim(v), STR("0"))))
			return -EBADMSG;
		int r = first ? 0 : parse_line(ret, &all, line.p[0], v);
		if (r != 0)
			return r;
		first = false;
	}
	for (int i = 0; i < ret->n_media; i++)
		fill_rtcp(&ret->media[i]);
	return !first && ret->origin.p ? 0 : -EBADMSG;
}
