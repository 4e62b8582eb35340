/* SPDX-License-Identifier: Apache-2.0
 *
 * msg: a message as an index over the bytes it came in (RFC 3261 sections 7, 18.3 and 20). Finds the lines, names the headers, reads the essentials (topmost Via,
 * From, To, Call-ID, CSeq, Max-Forwards, Content-Length) and leaves the rest to who asks for it. Lenient where RFC 4475 says that the meaning is clear; where it is
 * not, `error` holds the status that the sender deserves. No memory, no clock, no counter.
 */
#include "sip/sip_int.h"

_Static_assert(SIP_HDR_MAX < SIP_LINES_MAX, "msg: each header has at least a line");

/* The first complaint counts. */
static void deserves(struct sip_msg *m, int status, const char *why)
{
	if (m->error)
		return;
	m->error = status;
	m->why = why;
}

static bool is_lws(char c)
{
	return c == ' ' || c == '\t';
}

/* "SIP/2.0", whatever the case. -EBADMSG = no SIP at all. */
static int check_version(struct sip_msg *m, struct str v)
{
	if (!str_istarts(v, STR("SIP/")))
		return -EBADMSG;
	if (!str_ieq(v, STR("SIP/2.0")))
		deserves(m, 505, "not SIP/2.0");
	return 0;
}

static int parse_status_line(struct sip_msg *m, struct str line)
{
	struct str rest = STR_NONE, code, version = str_cut(line, ' ', &rest);
	uint64_t v;

	if (!str_ieq(version, STR("SIP/2.0")))
		return -EBADMSG;
	rest = str_trim(rest);
	code = str_cut(rest, ' ', &rest);
	if (code.n != 3 || str_u64(code, 699, &v) || v < 100)
		return -EBADMSG;
	m->status = (int)v;
	m->reason = str_trim(rest);
	return 0;
}

static void check_uri(struct sip_msg *m)
{
	struct sip_uri u;
	int err;

	for (size_t i = 0; i < m->uri.n; i++)
		if (is_lws(m->uri.p[i]))
			return deserves(m, 400, "white space in the Request-URI");
	if (m->uri.n > limit_of(LIMIT_SIP_URI))
		return deserves(m, 414, "the Request-URI is too long");
	err = sip_uri_parse(m->uri, &u);
	if (err == -EPROTONOSUPPORT)
		deserves(m, 416, "the scheme of the Request-URI is not sip, sips or tel");
	else if (err)
		deserves(m, 400, "the Request-URI is malformed");
}

/* Method SP Request-URI SP SIP-Version; more than one space is taken, a space within the URI is not. */
static int parse_request_line(struct sip_msg *m, struct str line)
{
	size_t first = 0, last = line.n;

	while (first < line.n && !is_lws(line.p[first]))
		first++;
	while (last > first && !is_lws(line.p[last - 1]))
		last--;
	m->method_text = str_n(line.p, first);
	if (!sip_token(m->method_text) || check_version(m, str_skip(line, last)))
		return -EBADMSG;
	m->uri = str_trim(str_n(line.p + first, last - first));
	if (!m->uri.n)
		return -EBADMSG;
	m->method = sip_method_find(m->method_text);
	m->is_request = true;
	check_uri(m);
	return 0;
}

static void take_header(struct sip_msg *m, struct str whole, uint64_t *seen)
{
	struct str value = STR_NONE, name = str_cut(whole, ':', &value);
	struct sip_hdr *h = &m->hdr[m->n_hdr];

	while (name.n && is_lws(name.p[name.n - 1]))
		name.n--;
	if (!value.p || !name.n || memchr(name.p, '\n', name.n) || is_lws(name.p[0]))
		return deserves(m, 400, "a header line without a name and a colon");
	if (m->n_hdr == SIP_HDR_MAX)
		return deserves(m, 400, "too many headers");
	h->id = (uint8_t)sip_hdr_find(name);
	h->name = name;
	h->value = str_trim(value);
	m->n_hdr++;
	if (sip_hdr_table[h->id].single && *seen & 1ull << h->id)
		deserves(m, 400, "a header that may stand once stands twice");
	*seen |= 1ull << h->id;
}

_Static_assert(HDR_N <= 64, "msg: seen is 64 bits");

/* Lines 1.. of `l`; a line that begins with white space belongs to the one before (RFC 3261 section 7.3.1). */
static void parse_headers(struct sip_msg *m, struct str in, const struct sip_lines *l)
{
	int n = l->n - (l->blank ? 1 : 0);
	uint64_t seen = 0;

	for (int i = 1; i < n;) {
		size_t start = l->end[i - 1] + 1, end = l->end[i++];

		while (i < n && is_lws(in.p[l->end[i - 1] + 1]))
			end = l->end[i++];
		take_header(m, str_n(in.p + start, end - start), &seen);
	}
	if (l->n == SIP_LINES_MAX && !l->blank)
		deserves(m, 400, "too many header lines");
	else if (!l->blank)
		deserves(m, 400, "no empty line behind the headers");
}

static int take_via(struct sip_msg *m)
{
	struct str rest = sip_get(m, HDR_VIA);
	struct sip_via v;

	if (!sip_list(&rest, &m->via) || sip_via_parse(m->via, &v))
		return -EBADMSG;
	m->sent_by = v.sent_by;
	(void)sip_param(v.params, STR("branch"), &m->branch);
	if (!sip_params_sound(v.params))
		deserves(m, 400, "an empty parameter in the Via");
	return 0;
}

static void take_tag(struct sip_msg *m, struct str value, struct str *ret_tag, const char *why)
{
	struct sip_name_addr na;

	if (sip_name_addr_parse(value, &na))
		deserves(m, 400, why);
	else
		(void)sip_param(na.params, STR("tag"), ret_tag);
}

/* RFC 3261 section 8.1.1.5: less than 2**31; the method is that of the request line. */
static int take_cseq(struct sip_msg *m)
{
	struct str v = sip_get(m, HDR_CSEQ);
	uint64_t number;
	size_t n = 0;

	while (n < v.n && v.p[n] >= '0' && v.p[n] <= '9')
		n++;
	m->cseq_method_text = str_trim(str_skip(v, n));
	if (str_u64(str_n(v.p, n), INT32_MAX, &number) || !sip_token(m->cseq_method_text) || m->cseq_method_text.p == v.p + n)
		return -EBADMSG;
	m->cseq = (uint32_t)number;
	m->cseq_method = sip_method_find(m->cseq_method_text);
	if (!m->is_request)
		m->method = m->cseq_method;
	else if (!str_eq(m->cseq_method_text, m->method_text))
		deserves(m, 400, "the method of CSeq is not that of the request");
	return 0;
}

static void take_max_forwards(struct sip_msg *m)
{
	struct str v = sip_get(m, HDR_MAX_FORWARDS);
	uint64_t n;

	if (!v.p)
		return;
	if (str_u64(v, 255, &n))
		return deserves(m, 400, "Max-Forwards is no number from 0 to 255");
	m->max_forwards = (int)n;
}

/* `rest`: what stands behind the empty line. RFC 3261 section 18.3: a datagram may be longer than its message, never shorter. */
static void take_body(struct sip_msg *m, struct str rest)
{
	struct str v = sip_get(m, HDR_CONTENT_LENGTH);
	uint64_t n;

	m->body = rest;
	if (!v.p)
		return;
	if (str_u64(v, UINT32_MAX, &n))
		return deserves(m, 400, "Content-Length is no number");
	if (n > rest.n)
		return deserves(m, 400, "Content-Length is more than there is");
	m->body.n = (size_t)n;
}

/* -EBADMSG = this cannot be matched to anything. */
static int take_essentials(struct sip_msg *m)
{
	int err = take_via(m);

	if (err)
		return err; /* nothing says where an answer would go: not even a 400 */
	m->from = sip_get(m, HDR_FROM);
	m->to = sip_get(m, HDR_TO);
	m->call_id = sip_get(m, HDR_CALL_ID);
	take_max_forwards(m);
	if (!m->from.n || !m->to.n || !m->call_id.n || !sip_get(m, HDR_CSEQ).n) {
		deserves(m, 400, "Call-ID, CSeq, From or To is missing");
		return -EBADMSG;
	}
	take_tag(m, m->from, &m->from_tag, "From is malformed");
	take_tag(m, m->to, &m->to_tag, "To is malformed");
	err = take_cseq(m);
	if (err)
		deserves(m, 400, "CSeq is malformed or out of range");
	return err;
}

int sip_parse(struct str in, struct sip_msg *ret)
{
	struct sip_msg *m = ret;
	struct sip_lines l;
	struct str line, rest;
	int err;

	memset(m, 0, sizeof(*m));
	m->max_forwards = -1;
	while (in.n && (in.p[0] == '\r' || in.p[0] == '\n')) /* RFC 3261 section 7.5 */
		in = str_skip(in, 1);
	m->raw = in;
	sip_lines_find(in, &l);
	if (l.n == 0)
		return -EBADMSG;
	line = str_trim(str_n(in.p, l.end[0]));
	err = str_istarts(line, STR("SIP/")) ? parse_status_line(m, line) : parse_request_line(m, line);
	if (err)
		return err;
	parse_headers(m, in, &l);
	rest = str_skip(in, l.blank ? l.end[l.n - 1] + 1 : in.n);
	take_body(m, rest);
	if (rest.n)
		m->raw.n = in.n - rest.n + m->body.n;
	if (in.n > limit_of(LIMIT_SIP_MESSAGE))
		deserves(m, 513, "the message is too large");
	err = take_essentials(m);
	if (!err && !m->is_request && m->error)
		err = -EBADMSG;
	if (err && (!m->is_request || !m->sent_by.n)) {
		m->error = 0;
		m->why = NULL;
	}
	return err;
}

struct str sip_get(const struct sip_msg *m, enum sip_hdr_id id)
{
	const struct sip_hdr *h = sip_next(m, id, NULL);

	return h ? h->value : STR_NONE;
}

const struct sip_hdr *sip_next(const struct sip_msg *m, enum sip_hdr_id id, const struct sip_hdr *after)
{
	for (const struct sip_hdr *h = after ? after + 1 : m->hdr; h < m->hdr + m->n_hdr; h++)
		if (h->id == id)
			return h;
	return NULL;
}

/* Leading line ends. CRLFCRLF is a ping that wants a pong (RFC 5626 section 4.4.1), so fewer than four are held back until it is clear what they are. */
static ssize_t frame_keepalive(struct str in, size_t *ret_need)
{
	size_t n = 0;

	while (n < in.n && n < 4 && (in.p[n] == '\r' || in.p[n] == '\n'))
		n++;
	if (n < 4 && n == in.n) {
		*ret_need = 4;
		return 0;
	}
	return (ssize_t)n;
}

/* Content-Length of the lines; 0 if there is none. -EBADMSG: malformed, or two that differ (one of them belongs to a smuggled message). */
static int frame_length(struct str in, const struct sip_lines *l, size_t *ret)
{
	bool seen = false;
	uint64_t n = 0;

	for (int i = 1; i < l->n; i++) {
		struct str value = STR_NONE, line = str_n(in.p + l->end[i - 1] + 1, l->end[i] - l->end[i - 1] - 1);
		struct str name = str_cut(line, ':', &value);
		uint64_t v;

		while (name.n && is_lws(name.p[name.n - 1]))
			name.n--;
		if (!value.p || !name.n || sip_hdr_find(name) != HDR_CONTENT_LENGTH)
			continue;
		while (i + 1 < l->n && is_lws(in.p[l->end[i] + 1])) { /* a fold */
			i++;
			value.n = (size_t)(in.p + l->end[i] - value.p);
		}
		if (str_u64(str_trim(value), UINT32_MAX, &v) || (seen && v != n))
			return -EBADMSG;
		seen = true;
		n = v;
	}
	*ret = (size_t)n;
	return 0;
}

ssize_t sip_frame(struct str in, size_t *ret_need)
{
	struct sip_lines l;
	size_t head, body;

	*ret_need = 0;
	if (!in.n)
		return 0;
	if (in.p[0] == '\r' || in.p[0] == '\n')
		return frame_keepalive(in, ret_need);
	sip_lines_find(in, &l);
	if (l.n && !memmem(in.p, l.end[0], "SIP/", 4)) /* another protocol has dialled the wrong port */
		return -EBADMSG;
	if (!l.blank) {
		if (l.n == SIP_LINES_MAX)
			return -EMSGSIZE;
		return in.n > limit_of(LIMIT_SIP_MESSAGE) ? -EMSGSIZE : 0;
	}
	if (frame_length(in, &l, &body))
		return -EBADMSG;
	head = l.end[l.n - 1] + 1;
	if (head + body > limit_of(LIMIT_SIP_MESSAGE))
		return -EMSGSIZE;
	if (head + body > in.n) {
		*ret_need = head + body;
		return 0;
	}
	return (ssize_t)(head + body);
}
