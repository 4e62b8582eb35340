/* SPDX-License-Identifier: Apache-2.0
 *
 * ssml: the elements inside a Say as text that any engine speaks (W3C SSML 1.1, what the field uses of it). break becomes a mark that is played as silence, say-as is written
 * out (digits, characters, telephone, cardinal, ordinal, date, time), sub speaks its alias; of all others the text is spoken. English words are put in for English only;
 * other languages get the bare numbers, which their engine reads. Pure.
 */
#include "verb/inside.h"

#define BREAK_MAX_MS 10000

static const struct {
	const char *name;
	uint32_t ms;
} strengths[] = {{"none", 0}, {"x-weak", 100}, {"weak", 200}, {"medium", 400}, {"strong", 700}, {"x-strong", 1200}};

static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_english(struct str language)
{
	return str_istarts(language, STR("en"));
}

/* ---- break ---- */

/* 500ms, 1s, 1.5s */
static bool time_read(struct str v, uint32_t *ret_ms)
{
	struct str frac, whole = v;
	uint64_t s = 0, ms = 0;
	bool milli = v.n > 2 && str_eq(str_skip(v, v.n - 2), STR("ms"));

	if (!milli && (v.n < 2 || v.p[v.n - 1] != 's'))
		return false;
	whole.n -= milli ? 2 : 1;
	whole = str_cut(whole, '.', &frac);
	if (str_u64(whole.n ? whole : STR("0"), 1000000, &s) < 0)
		return false;
	for (size_t i = 0, unit = 100; i < frac.n && unit; i++, unit /= 10) {
		if (!is_digit(frac.p[i]))
			return false;
		ms += (uint64_t)(frac.p[i] - '0') * unit;
	}
	*ret_ms = (uint32_t)MIN(milli ? s : s * 1000 + ms, (uint64_t)BREAK_MAX_MS);
	return true;
}

static void put_break(const struct node *n, struct out *o)
{
	struct str time = node_attr(n, STR("time")), strength = node_attr(n, STR("strength"));
	uint32_t ms = 400;

	for (size_t i = 0; i < N_ELEMENTS(strengths); i++)
		if (str_eq(strength, str_z(strengths[i].name)))
			ms = strengths[i].ms;
	if (time.n)
		(void)!time_read(time, &ms);
	out_c(o, ' ');
	if (!ms)
		return;
	out_c(o, BREAK_MARK);
	out_u64(o, ms);
	out_c(o, BREAK_END);
}

bool ssml_break(struct str piece, uint32_t *ret_ms)
{
	uint64_t ms = 0;

	if (piece.n < 3 || piece.p[0] != BREAK_MARK || piece.p[piece.n - 1] != BREAK_END || str_u64(str_n(piece.p + 1, piece.n - 2), BREAK_MAX_MS, &ms) < 0)
		return false;
	*ret_ms = (uint32_t)ms;
	return true;
}

/* ---- say-as ---- */

static void put_characters(struct str s, struct out *o)
{
	while (s.n) {
		size_t n = str_utf8(s);

		n = n ? n : 1;
		if (s.p[0] == ' ') {
			OUT_STR(o, ", ");
		} else {
			out_str(o, str_n(s.p, n));
			out_c(o, ' ');
		}
		s = str_skip(s, n);
	}
}

/* Digits one by one, a little rest between groups. */
static void put_telephone(struct str s, bool english, struct out *o)
{
	bool gap = false, any = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!is_digit(c) && c != '+' && c != '*' && c != '#') {
			gap = any;
			continue;
		}
		if (gap)
			OUT_STR(o, ", ");
		gap = false;
		any = true;
		if (c == '+' && english)
			OUT_STR(o, "plus");
		else if (c != '+')
			out_c(o, c);
		out_c(o, ' ');
	}
}

/* 1,234 is read by engines as it is grouped: without its commas it is one number. */
static void put_number(struct str s, struct out *o)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] == ',' || s.p[i] == ' ') && i > 0 && i + 1 < s.n && is_digit(s.p[i - 1]) && is_digit(s.p[i + 1])))
			out_c(o, s.p[i]);
}

static void put_ordinal(struct str s, bool english, struct out *o)
{
	char last = s.n ? s.p[s.n - 1] : 0, tens = s.n > 1 ? s.p[s.n - 2] : 0;

	put_number(s, o);
	if (!english || !is_digit(last))
		return;
	else if (tens == '1')
		OUT_STR(o, "th");
	else
		out_str(o, last == '1' ? STR("st") : last == '2' ? STR("nd") : last == '3' ? STR("rd") : STR("th"));
}

/* The numbers of a date or time, in their order. */
static int numbers(struct str s, uint64_t *v, int cap)
{
	int n = 0;

	for (size_t i = 0; i < s.n && n < cap; i++) {
		size_t e = i;

		while (e < s.n && is_digit(s.p[e]))
			e++;
		if (e > i && str_u64(str_n(s.p + i, e - i), UINT32_MAX, &v[n]) == 0)
			n++;
		i = e;
	}
	return n;
}

/* Eight digits without anything between them: 20260131. */
static int date_split(struct str s, struct str format, uint64_t v[3])
{
	uint64_t x;

	if (s.n != 8 || str_u64(s, 99999999, &x) < 0)
		return numbers(s, v, 3);
	if (format.n && format.p[0] != 'y') {
		v[0] = x / 1000000;
		v[1] = x / 10000 % 100;
		v[2] = x % 10000;
	} else {
		v[0] = x / 10000;
		v[1] = x / 100 % 100;
		v[2] = x % 100;
	}
	return 3;
}

static void put_date(struct str s, struct str format, bool english, struct out *o)
{
	uint64_t v[3] = {0}, day = 0, month = 0, year = 0;
	int n;

	if (str_eq(format, STR("yyyymmdd")))
		format = STR("ymd");
	n = date_split(s, format, v);
	if (!format.n)
		format = n && v[0] > 31 ? STR("ymd") : STR("mdy");
	for (int i = 0; i < n && (size_t)i < format.n; i++)
		*(format.p[i] == 'd' ? &day : format.p[i] == 'm' ? &month : &year) = v[i];
	if (!english || month > 12 || day > 31 || (!day && !month && !year)) {
		out_str(o, s);
		return;
	}
	if (month)
		out_str(o, str_z(months[month - 1]));
	if (day) {
		char buf[8];
		struct out d = OUT(buf);

		out_u64(&d, day);
		out_c(o, ' ');
		put_ordinal(out_view(&d), true, o);
	}
	if (year)
		out_f(o, "%s%llu", month || day ? ", " : "", (unsigned long long)year);
}

static void put_time(struct str s, bool english, struct out *o)
{
	uint64_t v[3] = {0};
	int n = numbers(s, v, 3);
	bool pm = false, am = false, clock = str_find(s, ':') != NULL;

	for (size_t i = 0; i + 1 < s.n; i++)
		if ((s.p[i + 1] | 0x20) == 'm') {
			pm = pm || (s.p[i] | 0x20) == 'p';
			am = am || (s.p[i] | 0x20) == 'a';
		}
	if (!english || !n || (!clock && !am && !pm)) {
		out_str(o, s);
		return;
	}
	out_u64(o, v[0]);
	if (n > 1 && v[1])
		out_f(o, v[1] < 10 ? " oh %llu" : " %llu", (unsigned long long)v[1]);
	else if (!am && !pm)
		OUT_STR(o, " o'clock");
	if (n > 2)
		out_f(o, " and %llu seconds", (unsigned long long)v[2]);
	if (am || pm)
		out_str(o, pm ? STR(" p m") : STR(" a m"));
}

static void put_as(const struct node *n, struct str language, struct out *o)
{
	struct str as = node_attr(n, STR("interpret-as")), text = str_trim(n->text);
	bool english = is_english(language);

	if (str_eq(as, STR("digits")) || str_eq(as, STR("characters")) || str_eq(as, STR("spell-out")) || str_eq(as, STR("verbatim")))
		put_characters(text, o);
	else if (str_eq(as, STR("telephone")))
		put_telephone(text, english, o);
	else if (str_eq(as, STR("cardinal")) || str_eq(as, STR("number")))
		put_number(text, o);
	else if (str_eq(as, STR("ordinal")))
		put_ordinal(text, english, o);
	else if (str_eq(as, STR("date")))
		put_date(text, node_attr(n, STR("format")), english, o);
	else if (str_eq(as, STR("time")))
		put_time(text, english, o);
	else
		out_str(o, text);
}

/* ---- the whole ---- */

/* Where p stands in the whole, which has lost the white space at its ends. */
static size_t place(struct str all, const char *p)
{
	return p < all.p ? 0 : MIN((size_t)(p - all.p), all.n);
}

static void up_to(struct str all, size_t *at, const char *p, struct out *o)
{
	size_t to = place(all, p);

	if (to > *at) {
		out_str(o, str_n(all.p + *at, to - *at));
		*at = to;
	}
}

/* Text of elements is a view into that of the element around them, so where they stand in it says what is between them. */
void ssml_text(const struct node *say, struct str language, struct out *o)
{
	const struct node *up[64], *k = say->child;
	struct str all = say->text;
	size_t at = 0;

	for (int depth = 0; k || depth;) {
		if (!k) {
			k = up[--depth]->next;
			continue;
		}
		bool pause = str_eq(k->name, STR("break")), as = str_eq(k->name, STR("say-as")), sub = str_eq(k->name, STR("sub"));

		if (pause || as || (sub && node_attr(k, STR("alias")).n)) {
			up_to(all, &at, k->text.p, o);
			if (pause)
				put_break(k, o);
			else if (as)
				put_as(k, language, o);
			else
				out_str(o, node_attr(k, STR("alias")));
			at = MAX(at, place(all, k->text.p + k->text.n));
		} else if (k->child && depth < (int)N_ELEMENTS(up)) {
			up[depth++] = k;
			k = k->child;
			continue;
		}
		k = k->next;
	}
	out_str(o, str_skip(all, at));
}
