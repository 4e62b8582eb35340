/* SPDX-License-Identifier: Apache-2.0
 *
 * text: what is to be spoken, cut into pieces at sentences and at 200 characters, so that the first is heard while the others are made, and the same piece of two
 * calls is made once. Pure. A piece is named by its index alone: the record keeps the number, the text gives the piece again after a restart.
 */
#include "verb/inside.h"

#define PIECE_CHARS 200

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A text that was cut in the middle of a break ends before it. */
static size_t whole_breaks(struct str t)
{
	for (size_t i = t.n; i-- > 0;) {
		if (t.p[i] == BREAK_END)
			return t.n;
		if (t.p[i] == BREAK_MARK)
			return i;
	}
	return t.n;
}

size_t text_fold(struct str s, char *buf, size_t cap, size_t max_chars, bool *ret_cut)
{
	struct out o = {.p = buf, .cap = cap};
	size_t chars = 0;

	*ret_cut = false;
	s = str_trim(s);
	while (s.n) {
		size_t n = str_utf8(s);
		struct str c = n ? str_n(s.p, n) : STR("?");

		n = n ? n : 1;
		if (is_space(s.p[0])) {
			while (s.n > n && is_space(s.p[n]))
				n++;
			c = STR(" ");
		}
		if (chars == max_chars) {
			*ret_cut = true;
			break;
		}
		chars++;
		out_str(&o, c);
		s = str_skip(s, n);
	}
	return whole_breaks(out_view(&o));
}

/* A full stop, question or exclamation mark with a space (or closing mark and space) behind it ends a sentence; so does an ideographic full stop. */
static size_t sentence_end(struct str t, size_t at, size_t n)
{
	if (n == 1 && strchr(".!?;", t.p[at])) {
		size_t e = at + 1;

		while (e < t.n && t.p[e] && strchr(".!?\"')", t.p[e]))
			e++;
		return e >= t.n || t.p[e] == ' ' ? e : 0;
	}
	return str_eq(str_n(t.p + at, n), STR("\xe3\x80\x82")) ? at + n : 0;
}

/* Bytes of the first piece of t. */
static size_t piece_n(struct str t)
{
	size_t space = 0, comma = 0, chars = 0;
	const char *mark = str_find(t, BREAK_MARK), *mark_end = mark ? memchr(mark, BREAK_END, t.n - (size_t)(mark - t.p)) : NULL;

	if (mark && mark == t.p && mark_end)
		return (size_t)(mark_end - t.p) + 1;
	if (mark && mark > t.p)
		t.n = (size_t)(mark - t.p);
	for (size_t at = 0; at < t.n;) {
		size_t n = str_utf8(str_skip(t, at)), end;

		n = n ? n : 1;
		end = sentence_end(t, at, n);
		if (end && end <= at + 8)
			return end;
		if (chars == PIECE_CHARS)
			return comma ? comma : space ? space : at;
		if (t.p[at] == ' ')
			space = at;
		if (t.p[at] == ',' || t.p[at] == ':')
			comma = at + 1;
		at += n;
		chars++;
	}
	return t.n;
}

bool text_piece(struct str text, uint32_t index, struct str *ret)
{
	for (uint32_t i = 0;; i++) {
		size_t n;

		text = str_trim(text);
		if (!text.n)
			return false;
		n = piece_n(text);
		if (i == index) {
			*ret = str_trim(str_n(text.p, n));
			return true;
		}
		text = str_skip(text, n);
	}
}
