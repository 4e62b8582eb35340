/* SPDX-License-Identifier: Apache-2.0
 *
 * document: a reply's body as a tree of elements, read whole before anything is done with it. XML by expat, fed from memory; DOCTYPE is refused (no entities, no
 * outside), depth and number of elements are bounded, other single-byte charsets come by table. Names are case-sensitive. text/plain becomes one Say. Pure, sig thread.
 * What the elements mean, and which are known, is the matter of verb/. All text of a document stands in one buffer in its order, so that the text of an element,
 * with that of the elements inside it, is a view.
 */
#include <expat.h>

#include "service/inside.h"

#define DEPTH_CAP 64

struct reading {
	struct arena *a;
	XML_Parser parser;
	struct node *stack[DEPTH_CAP], *last[DEPTH_CAP]; /* open elements, and the last child of each */
	size_t from[DEPTH_CAP];                          /* where the text of each begins */
	int depth;
	uint32_t n_nodes;
	struct node *root;
	struct out text;
	struct fault fault;
	struct document *doc;
};

static void fault_set(struct fault *f, uint32_t code, int line, const char *fmt, ...) _printf_(4, 5);
static void fault_set(struct fault *f, uint32_t code, int line, const char *fmt, ...)
{
	struct out o = OUT(f->text);
	va_list ap;

	f->code = code;
	f->line = line;
	va_start(ap, fmt);
	out_vf(&o, fmt, ap);
	va_end(ap);
	out_z(&o);
}

static int line_of(const struct reading *r)
{
	return (int)MIN(XML_GetCurrentLineNumber(r->parser), 1000000u);
}

#define STOP(r, num, ...)                                                                                                                                      \
	do {                                                                                                                                                   \
		if (!(r)->fault.code)                                                                                                                          \
			fault_set(&(r)->fault, num, line_of(r), __VA_ARGS__);                                                                                  \
		XML_StopParser((r)->parser, XML_FALSE);                                                                                                        \
	} while (0)

static void warn(struct reading *r, const char *what, const char *name)
{
	if (r->doc->n_faults < FAULTS_MAX)
		fault_set(&r->doc->faults[r->doc->n_faults++], 12200, line_of(r), "%s <%.60s>", what, name);
}

static bool attrs_read(struct reading *r, struct node *n, const char **attrs)
{
	int count = 0;

	while (attrs[2 * count])
		count++;
	if (!count)
		return true;
	n->attrs = arena_alloc(r->a, (size_t)count * sizeof(*n->attrs));
	if (!n->attrs)
		return false;
	for (int i = 0; i < count; i++) {
		n->attrs[i].name = arena_str(r->a, str_z(attrs[2 * i]));
		n->attrs[i].value = arena_str(r->a, str_z(attrs[2 * i + 1]));
		if (!n->attrs[i].name.p || !n->attrs[i].value.p)
			return false;
	}
	n->n_attrs = count;
	return true;
}

static void node_hang(struct reading *r, struct node *n)
{
	if (r->depth == 0) {
		r->root = n;
	} else if (r->last[r->depth - 1]) {
		n->index = (uint16_t)(r->last[r->depth - 1]->index + 1);
		r->last[r->depth - 1]->next = n;
	} else {
		r->stack[r->depth - 1]->child = n;
	}
	if (r->depth > 0)
		r->last[r->depth - 1] = n;
}

static void root_check(struct reading *r, const struct node *n)
{
	struct str v = node_attr(n, STR("version"));

	if (!str_eq(n->name, STR("Response"))) /* the old dialect, or a mistake: that shows at its end */
		return;
	if (v.p && !str_eq(v, STR("1.0")) && !str_eq(v, STR("1")) && !str_eq(v, STR("2010-04-01")))
		STOP(r, 12101, "version=\"%.60s\" of <Response> is unknown", v.p);
	for (int i = 0; i < n->n_attrs; i++)
		if (!str_eq(n->attrs[i].name, STR("version")))
			warn(r, "unknown attribute of", "Response");
}

/* Words on both sides of these are two words. */
static bool parts_words(const char *name)
{
	return strcmp(name, "break") == 0 || strcmp(name, "p") == 0 || strcmp(name, "s") == 0;
}

static void on_start(void *arg, const char *name, const char **attrs)
{
	struct reading *r = arg;
	struct node *n;

	if (r->fault.code)
		return;
	if (r->depth >= (int)MIN(limit_of(LIMIT_DOCUMENT_DEPTH), (uint64_t)DEPTH_CAP)) {
		STOP(r, 12100, "elements stand deeper than %d", r->depth);
		return;
	}
	if (++r->n_nodes > limit_of(LIMIT_DOCUMENT_NODES)) {
		STOP(r, 12100, "more than %llu elements", (unsigned long long)limit_of(LIMIT_DOCUMENT_NODES));
		return;
	}
	n = arena_alloc(r->a, sizeof(*n));
	if (!n || !attrs_read(r, n, attrs) || !(n->name = arena_str(r->a, str_z(name))).p) {
		STOP(r, 12400, "no memory for the document");
		return;
	}
	n->line = line_of(r);
	if (parts_words(name))
		out_c(&r->text, ' ');
	node_hang(r, n);
	r->stack[r->depth] = n;
	r->last[r->depth] = NULL;
	r->from[r->depth++] = r->text.n;
	if (r->depth == 1)
		root_check(r, n);
}

static void on_end(void *arg, const char *name)
{
	struct reading *r = arg;
	struct node *n;

	if (r->fault.code || r->depth == 0)
		return;
	r->depth--;
	n = r->stack[r->depth];
	n->text = str_trim(str_n(r->text.p + r->from[r->depth], r->text.n - r->from[r->depth]));
	if (parts_words(name))
		out_c(&r->text, ' ');
}

static void on_text(void *arg, const char *p, int n)
{
	struct reading *r = arg;

	if (r->fault.code || r->depth == 0)
		return;
	if (r->depth == 1 && str_trim(str_n(p, (size_t)n)).n && str_eq(r->root->name, STR("Response")))
		warn(r, "text outside of verbs in", "Response");
	out_str(&r->text, str_n(p, (size_t)n));
	if (r->text.over)
		STOP(r, 11750, "the text is too long");
}

static void on_doctype(void *arg, const char *name, const char *system, const char *public, int inside)
{
	struct reading *r = arg;

	STOP(r, 12100, "a DOCTYPE is not accepted");
}

static int on_encoding(void *arg, const char *name, XML_Encoding *info)
{
	const uint16_t *high = charset_high(str_z(name));

	if (!high)
		return XML_STATUS_ERROR;
	for (int i = 0; i < 256; i++)
		info->map[i] = i < 0x80 ? i : high[i - 0x80] ? high[i - 0x80] : -1;
	info->data = NULL;
	info->convert = NULL;
	info->release = NULL;
	return XML_STATUS_OK;
}

/* The whole document stands: what other roots than <Response> mean. */
static void root_settle(struct reading *r)
{
	struct node *root = r->root;

	if (r->fault.code || str_eq(root->name, STR("Response")))
		return;
	if (dialect_known(root))
		dialect_turn(root);
	else
		fault_set(&r->fault, 12102, root->line, "the root element is <%.60s>, not <Response>", root->name.p);
}

static uint32_t xml_read(struct reading *r, struct str charset, struct str body)
{
	char name[64] = "";
	enum XML_Error e;

	if (charset.n && str_zcpy(charset, name, sizeof(name)) < 0)
		name[0] = 0;
	r->parser = XML_ParserCreate(name[0] ? name : NULL);
	if (!r->parser) {
		fault_set(&r->fault, 12400, 0, "no memory for the document");
		return r->fault.code;
	}
	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, on_start, on_end);
	XML_SetCharacterDataHandler(r->parser, on_text);
	XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
	XML_SetUnknownEncodingHandler(r->parser, on_encoding, NULL);
	if (XML_Parse(r->parser, body.p, (int)body.n, XML_TRUE) != XML_STATUS_OK && !r->fault.code) {
		e = XML_GetErrorCode(r->parser);
		fault_set(&r->fault, 12100, line_of(r), "%s", XML_ErrorString(e));
	}
	root_settle(r);
	XML_ParserFree(r->parser);
	return r->fault.code;
}

/* ---- text/plain ---- */

static void put_utf8(struct out *o, uint32_t c)
{
	if (c < 0x80) {
		out_c(o, (char)c);
	} else if (c < 0x800) {
		out_c(o, (char)(0xc0 | c >> 6));
		out_c(o, (char)(0x80 | (c & 0x3f)));
	} else {
		out_c(o, (char)(0xe0 | c >> 12));
		out_c(o, (char)(0x80 | (c >> 6 & 0x3f)));
		out_c(o, (char)(0x80 | (c & 0x3f)));
	}
}

/* Plain text is UTF-8 if it can be; else what its charset says, else windows-1252. Control bytes become spaces. */
static struct str plain_text(struct reading *r, struct str charset, struct str body)
{
	const uint16_t *high = charset_high(charset);
	struct str rest = body;

	if (str_starts(rest, STR("\xef\xbb\xbf")))
		body = rest = str_skip(rest, 3);
	if (!high || charset_is_utf8(charset)) {
		size_t n = 1;

		while (rest.n && (n = str_utf8(rest)))
			rest = str_skip(rest, n);
		high = n ? NULL : charset_high(STR("windows-1252"));
	}
	for (size_t i = 0; i < body.n; i++) {
		unsigned char c = (unsigned char)body.p[i];

		if (c < 0x20 && c != '\n')
			out_c(&r->text, ' ');
		else if (c < 0x80 || !high)
			out_c(&r->text, (char)c);
		else
			put_utf8(&r->text, high[c - 0x80] ? high[c - 0x80] : 0xfffd);
	}
	return str_trim(out_view(&r->text));
}

static uint32_t plain_read(struct reading *r, struct str charset, struct str body)
{
	struct node *root = arena_alloc(r->a, sizeof(*root)), *say = arena_alloc(r->a, sizeof(*say));

	if (!root || !say) {
		fault_set(&r->fault, 12400, 0, "no memory for the document");
		return 12400;
	}
	root->name = STR("Response");
	root->child = say;
	say->name = STR("Say");
	say->text = plain_text(r, charset, body);
	root->line = say->line = 1;
	r->root = root;
	return 0;
}

/* ---- by type ---- */

enum form { FORM_XML, FORM_PLAIN, FORM_AUDIO, FORM_UNKNOWN };

static enum form form_of(struct str type)
{
	if (str_ieq(type, STR("text/xml")) || str_ieq(type, STR("application/xml")) || str_ieq(type, STR("text/html")))
		return FORM_XML;
	if (str_ieq(type, STR("text/plain")))
		return FORM_PLAIN;
	return str_istarts(type, STR("audio/")) ? FORM_AUDIO : FORM_UNKNOWN;
}

static struct str charset_param(struct str params)
{
	while (params.n) {
		struct str v, one = str_cut(params, ';', &params), name = str_trim(str_cut(one, '=', &v));

		v = str_trim(v);
		if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"')
			v = str_n(v.p + 1, v.n - 2);
		if (str_ieq(name, STR("charset")))
			return v;
	}
	return STR_NONE;
}

/* What can be said before the body is looked into. */
static uint32_t reply_check(enum form form, struct str type, struct str body, int status, struct fault *f)
{
	struct out o = OUT(f->text);
	size_t max = limit_of(form == FORM_AUDIO ? LIMIT_AUDIO_BODY : LIMIT_DOCUMENT);

	*f = (struct fault){0};
	if (status < 200 || status > 299) {
		f->code = 11200;
		out_f(&o, "its status is %d", status);
	} else if (status == 204) {
		return 0;
	} else if (!body.n) {
		f->code = 11770;
		OUT_STR(&o, "the body is empty; answer 204 or <Response/> when there is nothing to do");
	} else if (form == FORM_UNKNOWN) {
		f->code = 12300;
		OUT_STR(&o, "its Content-Type is ");
		if (type.n)
			out_safe(&o, type);
		else
			OUT_STR(&o, "missing");
	} else if (body.n > max) {
		f->code = 11750;
		out_f(&o, "the body is larger than %llu bytes", (unsigned long long)max);
		count_add(COUNT_LIMIT_HIT, 1);
	}
	out_z(&o);
	return f->code;
}

static uint32_t read_form(struct reading *r, enum form form, struct str charset, struct str body)
{
	size_t cap = 3 * body.n + 2 * limit_of(LIMIT_DOCUMENT_NODES) + 1;

	if (form == FORM_AUDIO)
		return 0;
	r->text = (struct out){.p = arena_alloc(r->a, cap), .cap = cap};
	if (!r->text.p) {
		fault_set(&r->fault, 12400, 0, "no memory for the document");
		return 12400;
	}
	return form == FORM_XML ? xml_read(r, charset, body) : plain_read(r, charset, body);
}

static uint32_t empty_read(struct reading *r)
{
	r->root = arena_alloc(r->a, sizeof(*r->root));
	if (!r->root) {
		fault_set(&r->fault, 12400, 0, "no memory for the document");
		return 12400;
	}
	r->root->name = STR("Response");
	r->root->text = STR("");
	return 0;
}

uint32_t document_read(struct str type, struct str body, int status, struct document **ret, struct fault *ret_fault)
{
	struct str params, bare = str_trim(str_cut(type, ';', &params));
	enum form form = form_of(bare);
	struct reading r = {0};
	uint32_t code = reply_check(form, bare, body, status, ret_fault);

	*ret = NULL;
	if (code)
		return code;
	r.doc = calloc(1, sizeof(*r.doc));
	r.a = r.doc ? arena_new(8 * limit_of(LIMIT_DOCUMENT) + limit_of(LIMIT_DOCUMENT_NODES) * 512) : NULL;
	if (!r.a) {
		free(r.doc);
		fault_set(ret_fault, 12400, 0, "no memory for the document");
		return 12400;
	}
	r.doc->arena = r.a;
	code = status == 204 ? empty_read(&r) : read_form(&r, form, charset_param(params), body);
	r.doc->root = r.root;
	if (code) {
		*ret_fault = r.fault;
		document_free(r.doc);
		return code;
	}
	*ret = r.doc;
	return 0;
}

void document_free(struct document *d)
{
	if (!d)
		return;
	arena_free(d->arena);
	free(d);
}

const struct node *document_at(const struct document *d, const uint16_t *path, int n)
{
	const struct node *at = d->root;

	for (int i = 0; at && i < n; i++) {
		const struct node *kid = at->child;

		while (kid && kid->index < path[i])
			kid = kid->next;
		at = kid;
	}
	return n > 0 ? at : NULL;
}

struct str node_attr(const struct node *n, struct str name)
{
	for (int i = 0; i < n->n_attrs; i++)
		if (str_eq(n->attrs[i].name, name))
			return n->attrs[i].value;
	return STR_NONE;
}
