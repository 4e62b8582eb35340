/* SPDX-License-Identifier: Apache-2.0
 *
 * check: a document looked over before anything of it is done: elements and attributes that are unknown or stand in the wrong place (the interpreter warns of these when it has read a
 * document), and for `hookswitch lint` also what a verb would complain of when it is reached: values, verbs that are never reached, URLs that lead nowhere. Values are judged by the
 * range that the verb table prints; the code of a bad one is that of the fault table's row "VERB: invalid ATTRIBUTE". Pure.
 */
#include "verb/inside.h"

struct checking {
	struct str base; /* of relative URLs; p NULL = none */
	unsigned what;
	struct fault *v;
	int cap, n;
};

static void found(struct checking *c, uint32_t code, int line, const char *fmt, ...) _printf_(4, 5);
static void found(struct checking *c, uint32_t code, int line, const char *fmt, ...)
{
	struct fault f = {.code = code, .line = line};
	struct out o = OUT(f.text);
	va_list ap;

	if (c->n == c->cap)
		return;
	va_start(ap, fmt);
	out_vf(&o, fmt, ap);
	va_end(ap);
	out_z(&o);
	c->v[c->n++] = f;
}

/* ---- values, by the words of the table ---- */

static bool number_in(struct str v, uint64_t min, uint64_t max)
{
	uint64_t n;

	return str_u64(v, max, &n) == 0 && n >= min;
}

/* "LOW to HIGH …" and "from LOW …": *ret_chars: of characters, not of a number. */
static bool range_read(struct str range, uint64_t *ret_min, uint64_t *ret_max, bool *ret_chars)
{
	struct str rest, w = str_cut(range, ' ', &rest);

	*ret_max = UINT32_MAX;
	*ret_chars = false;
	if (str_eq(w, STR("from")))
		return str_u64(str_cut(rest, ' ', &rest), UINT32_MAX, ret_min) == 0;
	if (str_u64(w, UINT32_MAX, ret_min) < 0 || !str_starts(rest, STR("to ")))
		return false;
	w = str_cut(str_skip(rest, 3), ' ', &rest);
	*ret_chars = str_starts(rest, STR("characters"));
	return str_u64(w, UINT32_MAX, ret_max) == 0;
}

/* "rejected, busy": nothing but words, two or more. */
static bool range_is_words(struct str range)
{
	for (size_t i = 0; i < range.n; i++) {
		char c = range.p[i];
		bool behind_comma = i > 0 && range.p[i - 1] == ',';

		if (c == ' ' ? !behind_comma : !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && c != '-' && c != ',')
			return false;
	}
	return str_find(range, ',');
}

static bool one_of(struct str word, struct str range)
{
	bool fold = str_eq(range, STR("true, false")) || str_eq(range, STR("GET, POST")); /* as the verbs read them */

	while (range.n) {
		struct str w = str_trim(str_cut(range, ',', &range));

		if (fold ? str_ieq(word, w) : str_eq(word, w))
			return true;
	}
	return false;
}

/* Lists are parted by spaces: input="dtmf speech". */
static bool words_ok(struct str v, struct str range, bool list)
{
	if (!list)
		return one_of(v, range);
	while (v.n) {
		struct str w = str_cut(v, ' ', &v);

		if (w.n && !one_of(w, range))
			return false;
	}
	return true;
}

static bool only(struct str v, const char *set, size_t max)
{
	for (size_t i = 0; i < v.n; i++)
		if (!v.p[i] || !strchr(set, v.p[i]))
			return false;
	return v.n <= max;
}

static bool is_list(struct str name)
{
	return str_eq(name, STR("input")) || (name.n > 5 && str_eq(str_skip(name, name.n - 5), STR("Event")));
}

static bool value_ok(const struct verb_attr *a, struct str v)
{
	struct str range = str_z(a->range);
	uint64_t min, max;
	bool chars;

	if (range_read(range, &min, &max, &chars))
		return chars ? v.n >= min && v.n <= 4 * max : number_in(v, min, max);
	if (range_is_words(range))
		return words_ok(v, range, is_list(str_z(a->name)));
	if (str_starts(range, STR("a key or empty")))
		return only(v, "0123456789*#", 1);
	if (str_eq(range, STR("keys")))
		return only(v, "0123456789*#", 12);
	if (str_starts(range, STR("0-9 * # A-D w W")))
		return v.n && only(v, "0123456789*#ABCDwW", 63);
	if (str_eq(range, STR("language tag")))
		return !v.n || language_ok(v);
	if (str_starts(range, STR("kal, slt")))
		return !v.n || voice_known(v);
	if (str_starts(range, STR("seconds")))
		return number_in(v, 0, UINT32_MAX);
	if (str_starts(range, STR("auto or seconds")))
		return str_eq(v, STR("auto")) || number_in(v, 0, UINT32_MAX);
	return true; /* anything will do */
}

uint32_t verb_attr_code(const struct verb_info *v, const struct verb_attr *a)
{
	char name[100];
	struct out o = OUT(name);

	out_f(&o, "%s: invalid %s", v->name, a->name);
	for (size_t i = 0; i < fault_n; i++)
		if (str_eq(str_z(fault_table[i].name), out_view(&o)))
			return fault_table[i].code;
	return 12200;
}

/* ---- URLs ---- */

static void check_url(struct checking *c, const struct node *n, struct str url, const char *what, uint32_t code)
{
	char buf[2048];
	size_t len;
	struct url u;
	int r;

	if (!url.n || url_parse(url, &u) == 0)
		return;
	if (!c->base.p) {
		found(c, 15004, n->line, "%s \"%.*s\" is relative, and there is no base", what, (int)MIN(url.n, 60u), url.p);
		return;
	}
	r = url_resolve(c->base, url, buf, sizeof(buf), &len);
	if (r < 0)
		found(c, code, n->line, "%s \"%.*s\" leads nowhere", what, (int)MIN(url.n, 60u), url.p);
}

static void check_values(struct checking *c, const struct verb_info *v, const struct node *n)
{
	for (int i = 0; i < v->n_attrs; i++) {
		const struct verb_attr *a = &v->attrs[i];
		struct str value = node_attr(n, str_z(a->name));
		uint32_t code = verb_attr_code(v, a);

		if (!value.p)
			continue;
		if (str_eq(str_z(a->range), STR("URL")))
			check_url(c, n, value, a->name, code == 12200 ? 11100 : code);
		else if (!value_ok(a, value))
			found(c, code, n->line, "<%s> %s=\"%.*s\" is none of: %s", v->name, a->name, (int)MIN(value.n, 40u), value.p, a->range);
	}
}

/* As the verb counts: characters, with the space between words folded. */
static bool too_long(struct str text)
{
	char *buf = text.n > limit_of(LIMIT_SAY_TEXT) ? malloc(text.n + 1) : NULL;
	bool cut = false;

	if (buf)
		text_fold(text, buf, text.n + 1, limit_of(LIMIT_SAY_TEXT), &cut);
	free(buf);
	return cut;
}

static void check_text(struct checking *c, const struct verb_info *v, const struct node *n)
{
	struct str digits = node_attr(n, STR("digits"));

	if (str_eq(n->name, STR("Say"))) {
		if (!n->text.n && !n->child)
			found(c, 13512, n->line, "there is nothing between <Say> and </Say>");
		else if (too_long(n->text))
			found(c, 13511, n->line, "%zu bytes of text", n->text.n);
	} else if (str_eq(n->name, STR("Play"))) {
		if (!n->text.n && !digits.p)
			found(c, 13420, n->line, "there is nothing between <Play> and </Play>, and no digits");
	} else if (str_eq(n->name, STR("Redirect"))) {
		check_url(c, n, n->text, "Redirect to", 11100);
	}
}

/* ---- what stands where ---- */

static void check_words(struct checking *c, const struct verb_info *v, const struct node *n)
{
	for (int i = 0; i < n->n_attrs; i++)
		if (!verb_attr_find(v, n->attrs[i].name))
			found(c, 12200, n->line, "<%s> has no attribute %.*s", v->name, (int)MIN(n->attrs[i].name.n, 80u), n->attrs[i].name.p);
}

static void outside(struct checking *c, const struct node *n, const char *where, uint32_t code)
{
	found(c, code, n->line, "<%.*s> does not belong into <%s>", (int)MIN(n->name.n, 80u), n->name.p, where);
}

/* Elements of SSML stand inside each other: the way is kept in a stack, the document is no deeper. */
static void check_ssml(struct checking *c, const struct node *say)
{
	const struct node *up[64], *k = say->child;

	for (int depth = 0; k || depth;) {
		if (!k) {
			k = up[--depth]->next;
			continue;
		}
		if (!ssml_known(k->name) && c->what & CHECK_WORDS)
			outside(c, k, "Say", 12200);
		if (k->child && depth < (int)N_ELEMENTS(up)) {
			up[depth++] = k;
			k = k->child;
		} else {
			k = k->next;
		}
	}
}

static void check_one(struct checking *c, const struct verb_info *v, const struct node *n)
{
	if (c->what & CHECK_WORDS)
		check_words(c, v, n);
	if (c->what & CHECK_VALUES)
		check_values(c, v, n);
	if (c->what & CHECK_VALUES && v->served)
		check_text(c, v, n);
	if (str_eq(n->name, STR("Say"))) {
		check_ssml(c, n);
		return;
	}
	if (!v->served || !(c->what & CHECK_WORDS) || str_eq(n->name, STR("Gather")))
		return;
	for (const struct node *k = n->child; k; k = k->next)
		outside(c, k, v->name, 12200);
}

static void check_gather(struct checking *c, const struct node *gather)
{
	for (const struct node *n = gather->child; n; n = n->next) {
		const struct verb_info *v = gather_may_hold(n->name) ? verb_find(n->name) : NULL;

		if (v)
			check_one(c, v, n);
		else if (c->what & CHECK_WORDS)
			outside(c, n, "Gather", 13320);
	}
}

/* What ends the document: whatever stands behind it is never reached. */
static bool is_end(struct str name)
{
	return str_eq(name, STR("Redirect")) || str_eq(name, STR("Hangup")) || str_eq(name, STR("Reject")) || str_eq(name, STR("Echo"));
}

int verb_check(const struct node *root, struct str base, unsigned what, struct fault *ret, int cap)
{
	struct checking c = {.base = base, .what = what, .v = ret, .cap = cap};
	const struct node *end = NULL;
	bool told = false;

	for (const struct node *n = root ? root->child : NULL; n; n = n->next) {
		const struct verb_info *v = verb_find(n->name);

		if (!v) {
			if (what & CHECK_WORDS)
				found(&c, 12200, n->line, "<%.*s> is no verb and is skipped", (int)MIN(n->name.n, 80u), n->name.p);
			continue;
		}
		if (what & CHECK_ROAD && end && !told)
			found(&c, 90015, n->line, "<%s> stands behind <%.*s> of line %d", v->name, STR_ARG(end->name), end->line);
		told = told || end;
		if (what & CHECK_ROAD && !end && !v->served)
			found(&c, 13750, n->line, "<%s>", v->name);
		check_one(&c, v, n);
		if (v->served && str_eq(n->name, STR("Gather")))
			check_gather(&c, n);
		if (!end && is_end(n->name))
			end = n;
	}
	return c.n;
}
