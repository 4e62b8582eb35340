/* SPDX-License-Identifier: Apache-2.0
 *
 * ladder: the records of a call as people draw them: three columns, time going down.
 *
 *     1     0.000   |--INVITE sip:100@127.0.0.1 +SDP------->|                                     |
 *     2     0.001   |<--100 Trying--------------------------|                                     |
 *     3     0.002   |                                       |--POST services/100----------------->|
 *     4     0.014   |                                       |<--200 text/xml 12 ms----------------|
 *
 * Signals between phone and hookswitch stand left; requests, replies, verbs, state edges, errors and notes right. The numbers on the left name the bodies below, which are printed
 * on demand. What a payload means is in api.h; a record of another form is shown by its first line, never skipped. Every row is as wide as the others.
 */
#include "api/inside.h"

#define LEFT  50 /* columns between phone and hookswitch */
#define RIGHT 66 /* between hookswitch and service */
#define AGAIN 32 /* how many SIP records back a repetition is looked for */

/* How a cell is drawn: what stands before the text, what fills the rest, what stands at the end. */
struct style {
	const char *head;
	char fill;
	const char *tail;
};
static const struct style to_right = {"--", '-', "-->"}, to_left = {"<--", '-', "--"}, tone_right = {"..", '.', "..>"}, tone_left = {"<..", '.', ".."},
			  plain = {" ", ' ', " "}, empty = {"", ' ', ""};

struct ladder {
	struct text_buf text;
	const struct records *rs;
	int64_t zero_us;
};

/* Text of at most `width` characters, control bytes escaped; what does not fit ends in "..". Returns the characters written. */
static size_t clip(struct out *o, struct str text, size_t width)
{
	char safe[1024];
	struct out s = OUT(safe);
	size_t n = 0, len;
	out_safe(&s, text);
	struct str t = out_view(&s), cut = STR_NONE;
	for (struct str r = t; (len = str_utf8(r)) && n <= width; r = str_skip(r, len), n++)
		if (n == width - 2)
			cut = str_n(t.p, (size_t)(r.p - t.p));
	if (n <= width) {
		out_str(o, t);
		return n;
	}
	out_str(o, cut);
	OUT_STR(o, "..");
	return width;
}

static void cell(struct out *o, const struct style *st, struct str text, size_t width)
{
	size_t room = width - strlen(st->head) - strlen(st->tail);
	out_str(o, str_z(st->head));
	for (size_t n = clip(o, text, room); n < room; n++)
		out_c(o, st->fill);
	out_str(o, str_z(st->tail));
}

static void row(struct ladder *l, size_t i, const struct style *left, struct str left_text, const struct style *right, struct str right_text)
{
	char line[1024], time[32];
	struct out o = OUT(line), when = OUT(time);
	long long us = l->rs->all[i].head.utc_us - l->zero_us;
	/* The clock of stamps may be set back during a call. */
	out_f(&when, "%s%lld.%03lld", us < 0 ? "-" : "", llabs(us) / 1000000, llabs(us) / 1000 % 1000);
	out_f(&o, "%5zu %9s   |", i + 1, out_z(&when));
	cell(&o, left, left_text, LEFT);
	out_c(&o, '|');
	cell(&o, right, right_text, RIGHT);
	OUT_STR(&o, "|\n");
	text_add(&l->text, out_view(&o));
}

static void left_row(struct ladder *l, size_t i, const struct style *st, struct str text)
{
	row(l, i, st, text, &empty, STR_NONE);
}

static void right_row(struct ladder *l, size_t i, const struct style *st, struct str text)
{
	row(l, i, &empty, STR_NONE, st, text);
}

static bool is_flow(struct str line)
{
	static const char *const kinds[] = {"udp ", "tcp ", "tls ", "ws ", "wss "};
	for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
		if (str_istarts(line, str_z(kinds[i])))
			return true;
	return false;
}

static bool is_sip(const struct record *r)
{
	return r->head.kind == TRACE_SIP_IN || r->head.kind == TRACE_SIP_OUT;
}

static struct str sip_message(const struct record *r)
{
	return is_flow(r->line) ? r->body : r->payload;
}

/* The method that a CSeq line names, or nothing. */
static struct str cseq_method(struct str message)
{
	while (message.p) {
		struct str rest, line = str_cut(message, '\n', &message), name = str_cut(line, ':', &rest);
		if (str_trim(line).n == 0)
			break;
		if (!str_ieq(str_trim(name), STR("CSeq")))
			continue;
		(void)str_cut(str_trim(rest), ' ', &rest);
		return str_trim(rest);
	}
	return STR_NONE;
}

static bool has_sdp(struct str message)
{
	const char *at = message.n ? memmem(message.p, message.n, "\r\n\r\n", 4) : NULL;
	return at && str_starts(str_skip(message, (size_t)(at - message.p) + 4), STR("v=0"));
}

/* Was this message on the wire before? */
static bool is_again(const struct records *rs, size_t i)
{
	int looked = 0;
	for (size_t k = i; k-- > 0 && looked < AGAIN;) {
		if (!is_sip(&rs->all[k]))
			continue;
		looked++;
		if (rs->all[k].head.kind == rs->all[i].head.kind && str_eq(rs->all[k].payload, rs->all[i].payload))
			return true;
	}
	return false;
}

static void sip_row(struct ladder *l, size_t i)
{
	const struct record *r = &l->rs->all[i];
	char label[512];
	struct out o = OUT(label);
	struct str rest, message = sip_message(r), start = str_trim(str_cut(message, '\n', &rest)), method = cseq_method(message);
	if (str_starts(start, STR("SIP/2.0 "))) {
		out_str(&o, str_skip(start, 8));
		if (method.n && !str_eq(method, STR("INVITE")))
			out_f(&o, " (%.*s)", STR_ARG(method));
	} else {
		struct str uri, word = str_cut(start, ' ', &uri);
		out_str(&o, word);
		out_c(&o, ' ');
		out_str(&o, str_cut(uri, ' ', &rest));
	}
	if (has_sdp(message))
		OUT_STR(&o, " +SDP");
	if (is_again(l->rs, i))
		OUT_STR(&o, " (again)");
	left_row(l, i, r->head.kind == TRACE_SIP_IN ? &to_right : &to_left, str_trim(out_view(&o)));
}

static void digit_row(struct ladder *l, size_t i)
{
	const struct record *r = &l->rs->all[i];
	char label[64];
	struct out o = OUT(label);
	bool ours = str_starts(r->line, STR("> "));
	struct str digit = str_skip(r->line, ours ? 2 : 0);
	out_f(&o, "digit %.*s", (int)MIN(digit.n, 40u), digit.p);
	left_row(l, i, ours ? &tone_left : &tone_right, out_view(&o));
}

/* The code of an error, unless its sentence begins with it ("error 11200, line 3: …"). */
static void error_code(struct out *o, const struct record *r)
{
	char digits[16];
	struct out code = OUT(digits);
	out_u64(&code, r->head.code);
	if (r->head.code && !memmem(r->line.p, MIN(r->line.n, 16u), code.p, code.n))
		out_f(o, "%u ", r->head.code);
}

static void marked_row(struct ladder *l, size_t i, const char *mark, const char *close)
{
	const struct record *r = &l->rs->all[i];
	char label[512];
	struct out o = OUT(label);
	out_str(&o, str_z(mark));
	if (r->head.kind == TRACE_ERROR)
		error_code(&o, r);
	out_str(&o, str_n(r->line.p, MIN(r->line.n, 400u)));
	out_str(&o, str_z(close));
	right_row(l, i, &plain, out_view(&o));
}

static bool at_foot(const struct record *r)
{
	return r->head.kind == TRACE_MEDIA && r->head.code == 0;
}

static void record_row(struct ladder *l, size_t i)
{
	const struct record *r = &l->rs->all[i];
	switch (r->head.kind) {
	case TRACE_SIP_IN:
	case TRACE_SIP_OUT:
		sip_row(l, i);
		break;
	case TRACE_REQUEST:
		right_row(l, i, &to_right, r->line);
		break;
	case TRACE_REPLY:
		right_row(l, i, &to_left, r->line);
		break;
	case TRACE_VERB:
		marked_row(l, i, "", "");
		break;
	case TRACE_DIGIT:
		digit_row(l, i);
		break;
	case TRACE_MEDIA:
		if (!at_foot(r))
			marked_row(l, i, "~ ", "");
		break;
	case TRACE_STATE:
		marked_row(l, i, "[", "]");
		break;
	case TRACE_ERROR:
		marked_row(l, i, "! ", "");
		break;
	case TRACE_NOTE:
		marked_row(l, i, "# ", "");
		break;
	default:
		marked_row(l, i, "? ", "");
	}
}

static void head(struct ladder *l)
{
	const struct records *rs = l->rs;
	char sid[35], utc[40];
	struct out o = OUT(utc);
	sid_print("CA", rs->sid, sid);
	out_utc(&o, l->zero_us);
	text_f(&l->text, "call     %s\nbegan    %s\n", sid, out_z(&o));
	for (size_t i = 0; i < rs->n; i++) {
		if (!is_sip(&rs->all[i]) || !is_flow(rs->all[i].line))
			continue;
		text_f(&l->text, "flow     %.*s\n", (int)MIN(rs->all[i].line.n, 120u), rs->all[i].line.p);
		break;
	}
	text_f(&l->text, "records  %zu%s\n\n", rs->n, rs->overrun ? " (the ring was overwritten meanwhile: the oldest may be missing)" : "");
	text_f(&l->text, "    #         s   phone%*shookswitch%*sservice\n", LEFT - 9, "", RIGHT - 9, "");
}

/* Lines below the ladder: the counts of media, and errors in full, which a column is too narrow for. */
static void foot(struct ladder *l)
{
	char line[1000];
	text_add(&l->text, STR("\n"));
	for (size_t i = 0; i < l->rs->n; i++) {
		const struct record *r = &l->rs->all[i];
		struct out o = OUT(line);
		if (!at_foot(r) && r->head.kind != TRACE_ERROR)
			continue;
		out_str(&o, at_foot(r) ? STR("media    ") : STR("trouble  "));
		if (!at_foot(r))
			error_code(&o, r);
		out_safe(&o, r->line);
		text_add(&l->text, out_view(&o));
		text_add(&l->text, STR("\n"));
	}
}

static bool is_text(struct str s)
{
	while (s.n) {
		size_t n = *s.p ? str_utf8(s) : 0;
		if (n == 0)
			return false;
		s = str_skip(s, n);
	}
	return true;
}

static void body(struct ladder *l, size_t i)
{
	const struct record *r = &l->rs->all[i];
	char line[8192];
	text_f(&l->text, "\n-- %zu %s", i + 1, record_kind(r));
	text_f(&l->text, ", code %u, %u bytes --\n", r->head.code, r->head.n);
	if (!is_text(r->payload)) {
		text_f(&l->text, "    (no text; the JSON view has it as base64)\n");
		return;
	}
	for (struct str rest = r->payload; rest.p && rest.n;) {
		struct str one = str_cut(rest, '\n', &rest);
		struct out o = OUT(line);
		if (one.n && one.p[one.n - 1] == '\r')
			one.n--;
		OUT_STR(&o, "    ");
		out_safe(&o, one);
		text_add(&l->text, out_view(&o));
		text_add(&l->text, o.over ? STR(" ..\n") : STR("\n"));
	}
}

static char *draw(const struct trace *t, const uint8_t sid[16], bool bodies, size_t *ret_n)
{
	struct records rs;
	struct ladder l = {.rs = &rs};
	if (records_get(t, sid, &rs) == 0) {
		l.zero_us = rs.all[0].head.utc_us;
		head(&l);
		for (size_t i = 0; i < rs.n; i++)
			record_row(&l, i);
		foot(&l);
		for (size_t i = 0; bodies && i < rs.n; i++)
			body(&l, i);
		if (!bodies)
			text_add(&l.text, STR("bodies   with ?bodies=1\n"));
	}
	records_done(&rs);
	*ret_n = l.text.n;
	return l.text.p;
}

char *api_ladder(const struct trace *t, const uint8_t sid[16], size_t *ret_n)
{
	return draw(t, sid, false, ret_n);
}

char *api_ladder_bodies(const struct trace *t, const uint8_t sid[16], size_t *ret_n)
{
	return draw(t, sid, true, ret_n);
}
