/* SPDX-License-Identifier: Apache-2.0
 *
 * matrix: every verb that is served × each of its attributes, with a good and a bad value, and every error code that services and documents can earn: what a call does about it, and what
 * lint says of the same document. The table below is complete against verb_table and fault_table (a verb, attribute or code that is added and not tried here fails), and the outcome of every
 * row stands in docs/matrix.md, which is compared. `flow_matrix print` writes it anew.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"
#include "verb/verb.h"

#define S          "http://s.example"
#define DOC(verbs) "<Response>" verbs "</Response>"
#define NEXT       "<Redirect>/next</Redirect>"

/* ---- verbs and attributes ---- */

/* bad NULL: any text will do. call, lint: what they say of the bad value; where they differ the note says why. */
struct attr_row {
	const char *verb, *attr, *good, *bad;
	uint32_t call, lint;
	const char *note;
};
static const struct attr_row attrs[] = {
    {"Echo", NULL, NULL, NULL, 0, 0, ""},
    {"Gather", NULL, NULL, NULL, 0, 0, ""},
    {"Gather", "action", "/next", "ftp://s.example/", 11100, 11100, "when it is asked"},
    {"Gather", "actionOnEmptyResult", "true", "perhaps", 12200, 12200, ""},
    {"Gather", "bargeIn", "false", "perhaps", 12200, 12200, ""},
    {"Gather", "debug", "true", "perhaps", 0, 12200, "nothing is done with it"},
    {"Gather", "enhanced", "true", "perhaps", 0, 12200, "nothing is done with it"},
    {"Gather", "finishOnKey", "*", "12", 13310, 13310, ""},
    {"Gather", "hints", "yes, no", NULL, 0, 0, "speech is not served"},
    {"Gather", "input", "dtmf", "smoke", 13330, 13330, ""},
    {"Gather", "language", "de-DE", "de DE", 0, 13333, "speech is not served"},
    {"Gather", "maxSpeechTime", "30", "0", 0, 13343, "speech is not served"},
    {"Gather", "method", "GET", "PUT", 13312, 13312, ""},
    {"Gather", "numDigits", "1", "many", 13314, 13314, ""},
    {"Gather", "partialResultCallback", "/partial", "ftp://s.example/", 0, 13334, "speech is not served"},
    {"Gather", "partialResultCallbackMethod", "GET", "PUT", 0, 12200, "speech is not served"},
    {"Gather", "profanityFilter", "false", "perhaps", 0, 13335, "speech is not served"},
    {"Gather", "speechModel", "phone_call", NULL, 0, 0, "speech is not served"},
    {"Gather", "speechTimeout", "auto", "soon", 0, 13331, "speech is not served"},
    {"Gather", "timeout", "1", "0", 13313, 13313, ""},
    {"Hangup", NULL, NULL, NULL, 0, 0, ""},
    {"Pause", NULL, NULL, NULL, 0, 0, ""},
    {"Pause", "length", "0", "long", 13910, 13910, ""},
    {"Play", NULL, NULL, NULL, 0, 0, ""},
    {"Play", "digits", "1w#", "1x", 13430, 13430, ""},
    {"Play", "loop", "2", "twice", 13410, 13410, ""},
    {"Redirect", NULL, NULL, NULL, 0, 0, ""},
    {"Redirect", "method", "GET", "PUT", 13710, 13710, ""},
    {"Reject", NULL, NULL, NULL, 0, 0, ""},
    {"Reject", "reason", "busy", "tired", 13810, 13810, ""},
    {"Say", NULL, NULL, NULL, 0, 0, ""},
    {"Say", "language", "de-DE", "d", 13521, 13521, ""},
    {"Say", "loop", "2", "twice", 13510, 13510, ""},
    {"Say", "voice", "woman", "nobody", 13520, 13520, ""},
};

/* ---- codes ---- */

/* What a service answers; type "11202" with status 0: what the client says. lint 0: nothing to see in a document. */
struct code_row {
	uint32_t code;
	int status;
	const char *type, *body, *how;
	uint32_t lint;
};
static const struct code_row codes[] = {
    {11100, 200, "text/xml", DOC("<Redirect>ftp://s.example/x</Redirect>"), "a Redirect to ftp:", 11100},
    {11200, 404, "text/html", "no", "status 404", 0},
    {11200, 503, "text/xml", DOC(""), "status 503, with a document", 0},
    {11201, 0, "11201", "", "connecting takes too long", 0},
    {11202, 0, "11202", "", "the connection is refused", 0},
    {11203, 0, "11203", "", "no answer in time", 0},
    {11205, 0, "11205", "", "the connection breaks", 0},
    {11206, 0, "11206", "", "bad chunks", 0},
    {11210, 0, "11210", "", "the host has no address", 0},
    {11215, 0, "11215", "", "11 redirects", 0},
    {11215, 200, "text/xml", DOC("<Redirect>/voice</Redirect>"), "a Redirect to itself", 0},
    {11216, 0, "11216", "", "a redirect to file:", 0},
    {11220, 0, "11220", "", "no TLS at the other end", 0},
    {11235, 0, "11235", "", "a certificate for another name", 0},
    {11236, 0, "11236", "", "a certificate of yesterday", 0},
    {11237, 0, "11237", "", "a certificate of nobody", 0},
    {11750, 0, "11750", "", "a body past the limit", 0},
    {11770, 200, "text/xml", "", "an empty body", 11770},
    {12100, 200, "text/xml", "<Response>", "an element is not closed", 12100},
    {12100, 200, "text/xml", "<!DOCTYPE x><Response/>", "a DOCTYPE", 12100},
    {12101, 200, "text/xml", "<Response version=\"9\"/>", "version 9", 12101},
    {12102, 200, "text/xml", "<html/>", "another root", 12102},
    {12200, 200, "text/xml", DOC("<Wait/>" NEXT), "an unknown verb", 12200},
    {12200, 200, "text/xml", DOC("<say>a</say>" NEXT), "a verb in lower case", 12200},
    {12200, 200, "text/xml", DOC("<Say loud=\"1\">a</Say>" NEXT), "an unknown attribute", 12200},
    {12200, 200, "text/xml", DOC("<Say>a<b/></Say>" NEXT), "an unknown element in a Say", 12200},
    {12200, 200, "text/xml", DOC("<Pause length=\"0\"><Say>a</Say></Pause>" NEXT), "a verb in a Pause", 12200},
    {12300, 200, "image/png", "x", "a picture", 12300},
    {13320, 200, "text/xml", DOC("<Gather timeout=\"1\"><Hangup/></Gather>" NEXT), "a Hangup in a Gather", 13320},
    {13325, 200, "text/xml", DOC("<Gather timeout=\"1\"><Play>http://s.example/voice</Play></Gather>" NEXT), "in a Gather, a Play of what is no sound", 0},
    {13330, 200, "text/xml", DOC("<Gather timeout=\"1\" input=\"speech\"/>" NEXT), "a Gather of speech", 0},
    {13420, 200, "text/xml", DOC("<Play>nowhere</Play>"), "a Play of a sound that is not there", 0},
    {13420, 200, "text/xml", DOC("<Play/>"), "a Play of nothing", 13420},
    {13511, 200, "text/xml", NULL /* long_say */, "a Say of 5,000 characters", 13511},
    {13512, 200, "text/xml", DOC("<Say> </Say>" NEXT), "a Say of nothing", 13512},
    {13750, 200, "text/xml", DOC("<Dial>200</Dial>"), "a verb that is not served", 13750},
    {90015, 200, "text/xml", DOC(NEXT "<Pause/>"), "a verb behind a Redirect", 90015},
};

/* Codes of these families that no row gives, and why. */
struct other_row {
	uint32_t code;
	const char *why;
};
static const struct other_row others[] = {
    {11217, "said as 11200"},
    {11240, "`#e=` in a URL: tests/unit/web_words.c"},
    {11243, "`#rp=` and kin in a URL: tests/unit/web_words.c"},
    {11251, "said as 11206"},
    {12400, "memory: tests/unit/verb_memory.c"},
    {13311, "said as 13310"},
    {13321, "said with the code of the Say inside"},
    {13322, "said with the code of the Play inside"},
    {13332, "speech is not served"},
    {15003, "status callbacks: tests/flow/callbacks.c"},
    {15004, "of lint only, for a document without a base: tests/unit/verb_check.c"},
};

/* ---- a call with that document ---- */

/* All that is wrong is told, not the first of it. */
static int n_wrong;

static void wrong(const char *fmt, ...) _printf_(1, 2);
static void wrong(const char *fmt, ...)
{
	char buf[600];
	struct out o = OUT(buf);
	va_list ap;

	va_start(ap, fmt);
	out_vf(&o, fmt, ap);
	va_end(ap);
	n_wrong++;
	print_error("%s\n", out_z(&o));
}

static int nothing_wrong(void **state)
{
	n_wrong = 0;
	return 0;
}

static char out_buf[1 << 17];
static struct out table = {.p = out_buf, .cap = sizeof(out_buf)};

static char *long_say(void)
{
	size_t n = 5000;
	char *s = malloc(n + 200), *p;

	assert_non_null(s);
	p = stpcpy(s, "<Response><Say>");
	for (size_t i = 0; i < n; i++)
		*p++ = i % 8 == 7 ? ' ' : 'a';
	stpcpy(p, "</Say></Response>");
	return s;
}

/* Every code that the trace of the call has, in rising order. */
static void traced(struct world *w, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};

	for (size_t i = 0; i < fault_n; i++)
		if (world_traced(w, TRACE_ERROR, fault_table[i].code))
			out_f(&o, "%s%u", o.n ? ", " : "", fault_table[i].code);
	out_z(&o);
}

static void linted(const char *type, const char *body, int status, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};
	struct fault v[20], f;
	struct document *d;
	int n = 0;

	if (!document_read(str_z(type), str_z(body), status, &d, &f)) {
		n = verb_check(d->root, STR(S "/voice"), CHECK_WORDS | CHECK_VALUES | CHECK_ROAD, v, N_ELEMENTS(v));
		document_free(d);
	} else {
		v[n++] = f;
	}
	for (int i = 0; i < n; i++)
		out_f(&o, "%s%u", o.n ? ", " : "", v[i].code);
	out_z(&o);
}

enum end { END_ON, END_OVER, END_FALLBACK, END_SENTENCE, END_REFUSED };

static const char *end_text(enum end e, int status, char *buf, size_t cap)
{
	static const char *const names[] = {"goes on", "ends the call", "asks the fallback", "says the sentence, ends the call", "refuses the call"};

	snprintf(buf, cap, e == END_REFUSED ? "%s with %d" : "%s", names[e], status);
	return buf;
}

static int answered(struct world *w)
{
	int64_t until = world_now(w) + 30000;

	while (world_now(w) < until) {
		if (a_comes(w, 200))
			return 200;
		if (a_comes(w, 404))
			return 404;
		if (a_comes(w, 486))
			return 486;
		if (!a_comes(w, 100) && !a_comes(w, 180))
			world_run(w, 20);
	}
	return 0;
}

static bool erred(struct world *w)
{
	for (size_t i = 0; i < fault_n; i++)
		if (fault_table[i].level == FAULT_ERROR && world_traced(w, TRACE_ERROR, fault_table[i].code))
			return true;
	return false;
}

/* The call runs to its end; the caller types 5 and #, and hangs up if need be. */
static enum end call(struct world *w, int *ret_status)
{
	struct heard h;

	a_invite(w, "100");
	*ret_status = answered(w);
	a_ack(w);
	if (*ret_status != 200)
		return END_REFUSED;
	a_talk(w, true);
	world_run(w, 500);
	if (world_calls(w)) {
		a_digit(w, '5');
		a_digit(w, '#');
	}
	world_run(w, 9000);
	if (world_calls(w)) {
		a_request(w, "BYE", "", "");
		world_run(w, 1000);
	}
	if (world_web_asked(w, S "/next"))
		return END_ON;
	if (world_web_asked(w, S "/help"))
		return END_FALLBACK;
	a_heard(w, &h);
	return erred(w) && h.packets - h.silent > 50 ? END_SENTENCE : END_OVER;
}

struct seen {
	char call[100], lint[100], then[64];
	enum end end;
};

static void tried(int status, const char *type, const char *body, bool fallback, struct seen *ret)
{
	struct world *w = world_new();
	int answer;

	world_section(w, "100", "voice_url", S "/voice");
	if (fallback)
		world_section(w, "100", "voice_fallback_url", S "/help");
	world_web(w, S "/voice", status, type, body, 20);
	world_web(w, S "/next", 200, "text/xml", DOC("<Hangup/>"), 20);
	world_web(w, S "/a.wav", 200, "audio/wav", "RIFF", 20);
	world_web(w, S "/help", 200, "text/xml", DOC("<Hangup/>"), 20);
	ret->end = call(w, &answer);
	traced(w, ret->call, sizeof(ret->call));
	linted(type, body, status ? status : 200, ret->lint, sizeof(ret->lint));
	end_text(ret->end, answer, ret->then, sizeof(ret->then));
	if (ret->end == END_FALLBACK) {
		const char *code = world_web_form(w, "ErrorCode");

		if (!code || strcmp(code, ret->call))
			wrong("ErrorCode is %s, the trace has %s", code ? code : "missing", ret->call);
	}
	world_free(w);
}

/* ---- the rows ---- */

static void document_of(const struct attr_row *r, const char *value, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};
	const char *text = !strcmp(r->verb, "Say") ? "Hi." : !strcmp(r->verb, "Play") ? "http://s.example/a.wav" : !strcmp(r->verb, "Redirect") ? "/next" : "";
	bool ends = !strcmp(r->verb, "Reject") || !strcmp(r->verb, "Hangup") || !strcmp(r->verb, "Redirect");

	out_f(&o, "<Response><%s", r->verb);
	if (!strcmp(r->verb, "Gather") && (!r->attr || strcmp(r->attr, "action")))
		out_f(&o, " action=\"/next\"");
	if (r->attr)
		out_f(&o, " %s=\"%s\"", r->attr, value);
	out_f(&o, ">%s</%s>%s</Response>", r->attr && !strcmp(r->attr, "digits") ? "" : text, r->verb, ends || !strcmp(r->verb, "Echo") ? "" : NEXT);
	out_z(&o);
}

static void is_code(const char *who, const char *what, const char *seen, uint32_t code)
{
	char want[20] = "";

	if (code)
		snprintf(want, sizeof(want), "%u", code);
	if (strcmp(seen, want))
		wrong("%s: %s says \"%s\", not \"%s\"", what, who, seen, want);
}

static const char *level(uint32_t code)
{
	const struct fault_info *f = fault_find(code);

	assert_non_null(f);
	return f->level == FAULT_ERROR ? "error" : "warning";
}

static void attr_line(const struct attr_row *r, const char *value, bool bad)
{
	char doc[500], what[200], buf[100];
	uint32_t code = bad ? r->call : 0, lint = bad ? r->lint : 0;
	bool error = code && !strcmp(level(code), "error");
	struct seen s;

	document_of(r, value, doc, sizeof(doc));
	snprintf(what, sizeof(what), "<%s %s=\"%s\">", r->verb, r->attr ? r->attr : "", value ? value : "");
	tried(200, "text/xml", doc, true, &s);
	is_code("a call", what, s.call, code);
	is_code("lint", what, s.lint, lint);
	if ((s.end == END_FALLBACK) != error || s.end == END_SENTENCE)
		wrong("%s: %s", what, s.then);
	snprintf(buf, sizeof(buf), r->attr ? "`%s=\"%s\"`" : "no attribute", r->attr, value);
	out_f(&table, "| %s | %s | %s%s%s | %s%s%s | %s | %s |\n", r->verb, buf, code ? level(code) : "", code ? " " : "", s.call, lint ? level(lint) : "",
	      lint ? " " : "", s.lint, s.then, bad || !r->attr ? r->note : "");
}

static void verbs_and_attributes(void **state)
{
	out_f(&table, "\n## Verbs and attributes\n\n| verb | attribute | a call says | lint says | the call | |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < N_ELEMENTS(attrs); i++) {
		attr_line(&attrs[i], attrs[i].good, false);
		if (attrs[i].bad)
			attr_line(&attrs[i], attrs[i].bad, true);
	}
	assert_int_equal(n_wrong, 0);
}

static void code_line(const struct code_row *r, const char *body)
{
	struct seen with, without;
	bool error = !strcmp(level(r->code), "error"), of_call = r->code != 90015;

	tried(r->status, r->type, body, true, &with);
	tried(r->status, r->type, body, false, &without);
	is_code("a call", r->how, with.call, of_call ? r->code : 0);
	is_code("a call", r->how, without.call, of_call ? r->code : 0);
	if (r->status / 100 == 2)
		is_code("lint", r->how, with.lint, r->lint);
	if (with.end != (error ? END_FALLBACK : with.end == END_OVER ? END_OVER : END_ON) || without.end != (error ? END_SENTENCE : with.end))
		wrong("%u %s: %s; %s", r->code, r->how, with.then, without.then);
	out_f(&table, "| %u | %s | %s | %s | %s | %s |\n", r->code, level(r->code), r->how,
	      r->status / 100 != 2 ? ""
	      : r->lint            ? "the same"
				   : "nothing",
	      with.then, without.then);
}

static void every_code(void **state)
{
	out_f(&table, "\n## Codes\n\n| code | level | how | lint says | with a fallback, the call | without |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < N_ELEMENTS(codes); i++) {
		char *made = codes[i].body ? NULL : long_say();

		code_line(&codes[i], made ? made : codes[i].body);
		free(made);
	}
	out_f(&table, "\n## Codes that are not given here\n\n| code | level | why |\n|---|---|---|\n");
	for (size_t i = 0; i < N_ELEMENTS(others); i++)
		out_f(&table, "| %u | %s | %s |\n", others[i].code, level(others[i].code), others[i].why);
	assert_int_equal(n_wrong, 0);
}

/* ---- nothing is left out ---- */

static bool has_attr(const char *verb, const char *attr)
{
	for (size_t i = 0; i < N_ELEMENTS(attrs); i++)
		if (!strcmp(attrs[i].verb, verb) && (attr ? attrs[i].attr && !strcmp(attrs[i].attr, attr) : !attrs[i].attr))
			return true;
	return false;
}

static bool has_code(uint32_t code)
{
	for (size_t i = 0; i < N_ELEMENTS(attrs); i++)
		if (attrs[i].call == code || attrs[i].lint == code)
			return true;
	for (size_t i = 0; i < N_ELEMENTS(codes); i++)
		if (codes[i].code == code)
			return true;
	for (size_t i = 0; i < N_ELEMENTS(others); i++)
		if (others[i].code == code)
			return true;
	return false;
}

/* The families of what is served: Dial, Record, queues, conferences and streams are not. */
static bool is_ours(uint32_t c)
{
	return (c >= 11100 && c < 13000) || (c >= 13300 && c < 13600) || (c >= 13700 && c < 13800) || (c >= 13810 && c < 14000) || (c >= 15000 && c < 16000) ||
	       c == 90015;
}

static void nothing_is_left_out(void **state)
{
	for (size_t i = 0; i < verb_n; i++) {
		const struct verb_info *v = &verb_table[i];

		if (v->served && !has_attr(v->name, NULL))
			wrong("<%s> is not tried", v->name);
		for (int k = 0; v->served && k < v->n_attrs; k++)
			if (!has_attr(v->name, v->attrs[k].name))
				wrong("<%s %s> is not tried", v->name, v->attrs[k].name);
	}
	for (size_t i = 0; i < fault_n; i++)
		if (is_ours(fault_table[i].code) && !has_code(fault_table[i].code))
			wrong("%u is not tried", fault_table[i].code);
	assert_int_equal(n_wrong, 0);
}

/* ---- docs/matrix.md ---- */

static bool printing;

static void the_page_is_this(void **state)
{
	FILE *f = fopen(MATRIX_MD, printing ? "w" : "r");
	static char old[1 << 17];
	size_t n;

	assert_non_null(f);
	assert_false(table.over);
	if (printing) {
		assert_int_equal(fwrite(table.p, 1, table.n, f), table.n);
		assert_int_equal(fclose(f), 0);
		return;
	}
	n = fread(old, 1, sizeof(old) - 1, f);
	fclose(f);
	for (size_t i = 0, line = 1; i <= MIN(n, table.n); line += i < n && old[i] == '\n', i++)
		if ((i < n) != (i < table.n) || (i < n && old[i] != table.p[i]))
			fail_msg("docs/matrix.md is old at line %zu; `flow_matrix print` writes it", line);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup(nothing_is_left_out, nothing_wrong),
					   cmocka_unit_test_setup(verbs_and_attributes, nothing_wrong), cmocka_unit_test_setup(every_code, nothing_wrong),
					   cmocka_unit_test(the_page_is_this)};

	printing = argc > 1 && !strcmp(argv[1], "print");
	log_set_level(LOG_ERROR);
	out_f(&table, "# What calls do about mistakes\n\nWritten by tests/flow/matrix.c, which runs a call for every row, with a fallback URL unless it says "
		      "so, and fails when this page is "
		      "not what it saw. What the codes mean: [verbs.md](verbs.md).\n");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
