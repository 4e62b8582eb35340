/* SPDX-License-Identifier: Apache-2.0
 *
 * service_document: replies read into documents: each error code, charsets, limits at the limit and one past it, the shape of the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "service/service.h"

#define XML "text/xml"

static const struct {
	const char *type, *body;
	int status;
	uint32_t code;
	int line;
} bad[] = {
    {XML, "", 200, 11770, 0},
    {XML, "<Response/>", 404, 11200, 0},
    {XML, "<Response/>", 302, 11200, 0},
    {"image/png", "x", 200, 12300, 0},
    {"", "x", 200, 12300, 0},
    {"text/xmlx", "x", 200, 12300, 0},
    {XML, "   ", 200, 12100, 1},
    {XML, "<Response>", 200, 12100, 1},
    {XML, "<Response>\n<Say></say>\n</Response>", 200, 12100, 2},
    {XML, "<Response/><Response/>", 200, 12100, 1},
    {XML, "<Response>&nbsp;</Response>", 200, 12100, 1},
    {XML, "<Response a=\"1\" a=\"2\"/>", 200, 12100, 1},
    {XML, "hello", 200, 12100, 1},
    {XML, "<!DOCTYPE Response [<!ENTITY a \"b\">]>\n<Response>&a;</Response>", 200, 12100, 1},
    {XML, "<!DOCTYPE Response SYSTEM \"file:///etc/passwd\"><Response/>", 200, 12100, 1},
    {XML, "<?xml version=\"1.0\" encoding=\"x-unknown\"?><Response/>", 200, 12100, 0},
    {XML, "<Response>\xff</Response>", 200, 12100, 1},
    {XML, "<response/>", 200, 12102, 1},
    {XML, "<html><Response/></html>", 200, 12102, 1},
    {XML, "<Response version=\"9\"/>", 200, 12101, 1},
};

static void test_errors(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		struct document *d = NULL;
		struct fault f;
		uint32_t code = document_read(str_z(bad[i].type), str_z(bad[i].body), bad[i].status, &d, &f);

		if (code != bad[i].code || f.code != code || (bad[i].line && f.line != bad[i].line))
			fail_msg("%s: %u line %d %s", bad[i].body, code, f.line, f.text);
		assert_null(d);
		assert_true(f.text[0]);
	}
}

static struct document *read_ok(const char *type, struct str body, int status)
{
	struct document *d = NULL;
	struct fault f = {0};
	uint32_t code = document_read(str_z(type), body, status, &d, &f);

	if (code)
		fail_msg("%u line %d %s", code, f.line, f.text);
	return d;
}

static struct document *xml_ok(const char *body)
{
	return read_ok(XML, str_z(body), 200);
}

static void test_tree(void **state)
{
	struct document *d =
	    xml_ok("<?xml version=\"1.0\"?><!-- c --><?pi x?>\n<Response version=\"1.0\">\n <Say voice=\"kal\" x:y=\"1\">\n Hi &amp; <break/>you <p>all "
		   "<s>of</s></p>&#33; <![CDATA[<b>]]>\n</Say>\n <Pause/> <Gather><Play>a</Play><Play>b</Play></Gather>\n</Response>");
	const uint16_t path[] = {2, 1};
	const struct node *say = document_at(d, (uint16_t[]){0}, 1), *n;

	assert_true(str_eq(say->name, STR("Say")));
	assert_int_equal(say->line, 3);
	assert_true(str_eq(say->text, STR("Hi &   you  all  of  ! <b>")));
	assert_true(str_eq(say->child->name, STR("break")));
	assert_true(str_eq(say->child->next->text, STR("all  of")));
	assert_true(str_eq(node_attr(say, STR("voice")), STR("kal")));
	assert_null(node_attr(say, STR("Voice")).p);
	assert_int_equal(say->n_attrs, 2);
	n = document_at(d, path, 2);
	assert_true(str_eq(n->text, STR("b")) && n->index == 1);
	assert_null(document_at(d, (uint16_t[]){3}, 1));
	assert_null(document_at(d, (uint16_t[]){0, 9}, 2));
	assert_null(document_at(d, (uint16_t[]){9, 0}, 2));
	assert_int_equal(d->n_faults, 0);
	document_free(d);
	d = xml_ok("<Response foo=\"1\">stray<Say/></Response>");
	assert_int_equal(d->n_faults, 2);
	assert_int_equal(d->faults[0].code, 12200);
	document_free(d);
	document_free(NULL);
}

static struct str text_of(struct document *d)
{
	return document_at(d, (uint16_t[]){0}, 1)->text;
}

static void test_charsets(void **state)
{
	static const struct {
		const char *type, *body, *text;
	} cases[] = {
	    {XML, "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Response><Say>\xe4</Say></Response>", "\xc3\xa4"},
	    {XML, "<?xml version=\"1.0\" encoding=\"windows-1252\"?><Response><Say>\x80\x93</Say></Response>", "\xe2\x82\xac\xe2\x80\x9c"},
	    {XML, "<?xml version=\"1.0\" encoding=\"ISO-8859-15\"?><Response><Say>\xa4</Say></Response>", "\xe2\x82\xac"},
	    {XML, "<?xml version=\"1.0\" encoding=\"koi8-r\"?><Response><Say>\xc4\xc1</Say></Response>", "\xd0\xb4\xd0\xb0"},
	    {XML, "<?xml version=\"1.0\" encoding=\"Windows-1251\"?><Response><Say>\xe4\xe0</Say></Response>", "\xd0\xb4\xd0\xb0"},
	    {XML, "<?xml version=\"1.0\" encoding=\"utf-8\"?><Response><Say>\xc3\xa4</Say></Response>", "\xc3\xa4"},
	    {"text/xml; charset=windows-1251", "<Response><Say>\xe4\xe0</Say></Response>", "\xd0\xb4\xd0\xb0"},
	    {"application/xml;charset=\"iso-8859-2\"", "<Response><Say>\xb1</Say></Response>", "\xc4\x85"},
	    {"TEXT/HTML", "<Response><Say>x</Say></Response>", "x"},
	    {XML, "\xef\xbb\xbf<Response><Say>x</Say></Response>", "x"},
	    {"text/plain", " hello <b> \xc3\xa4\n", "hello <b> \xc3\xa4"},
	    {"text/plain", "\xef\xbb\xbfhello", "hello"},
	    {"text/plain", "\xe4\x80", "\xc3\xa4\xe2\x82\xac"},
	    {"text/plain; charset=koi8-r", "\xc4\xc1", "\xd0\xb4\xd0\xb0"},
	    {"text/plain; charset=utf-8", "a\x01\tb", "a  b"},
	    {"text/plain", "<Response><Hangup/></Response>", "<Response><Hangup/></Response>"},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct document *d = read_ok(cases[i].type, str_z(cases[i].body), 200);

		if (!str_eq(text_of(d), str_z(cases[i].text)))
			fail_msg("%s %s: %.*s", cases[i].type, cases[i].body, STR_ARG(text_of(d)));
		document_free(d);
	}
}

static void test_no_verbs(void **state)
{
	struct document *d = read_ok("", STR_NONE, 204);

	assert_true(d->root && !d->root->child);
	document_free(d);
	d = xml_ok("<Response/>");
	assert_true(d->root && !d->root->child);
	document_free(d);
	d = read_ok("audio/x-wav", STR("RIFF"), 200);
	assert_null(d->root);
	assert_null(document_at(d, (uint16_t[]){0}, 1));
	document_free(d);
}

static uint32_t code_of(const char *type, const char *p, size_t n)
{
	struct document *d = NULL;
	struct fault f;
	uint32_t code = document_read(str_z(type), str_n(p, n), 200, &d, &f);

	document_free(d);
	return code;
}

static void test_limits(void **state)
{
	size_t max = limit_of(LIMIT_DOCUMENT), cap = 1 << 20;
	struct out o = {.p = malloc(cap), .cap = cap};
	int deep = (int)limit_of(LIMIT_DOCUMENT_DEPTH), many = (int)limit_of(LIMIT_DOCUMENT_NODES);

	memset(o.p, 'a', cap);
	assert_int_equal(code_of("text/plain", o.p, max), 0);
	assert_int_equal(code_of("text/plain", o.p, max + 1), 11750);
	assert_int_equal(code_of(XML, o.p, max + 1), 11750);
	memcpy(o.p, "<Response><Say>", 15);
	memcpy(o.p + max - 17, "</Say></Response>", 17);
	assert_int_equal(code_of(XML, o.p, max), 0);
	for (int past = 0; past < 2; past++) {
		o.n = 0;
		OUT_STR(&o, "<Response>");
		for (int i = 1; i < deep + past; i++)
			OUT_STR(&o, "<p>");
		for (int i = 1; i < deep + past; i++)
			OUT_STR(&o, "</p>");
		OUT_STR(&o, "</Response>");
		assert_int_equal(code_of(XML, o.p, o.n), past ? 12100 : 0);
		o.n = 0;
		OUT_STR(&o, "<Response>");
		for (int i = 1; i < many + past; i++)
			OUT_STR(&o, "<p/>");
		OUT_STR(&o, "</Response>");
		assert_int_equal(code_of(XML, o.p, o.n), past ? 12100 : 0);
	}
	/* as many attributes as fit */
	o.n = 0;
	OUT_STR(&o, "<Response><Say");
	for (int i = 0; i < 6500; i++)
		out_f(&o, " a%04d=\"\"", i);
	OUT_STR(&o, "/></Response>");
	assert_true(o.n <= max);
	assert_int_equal(code_of(XML, o.p, o.n), 0);
	free(o.p);
}

/* The old proxy's documents: any other root, words in whatever case. */
static void test_dialect(void **state)
{
	static const char text[] =
	    "<reply kind='x'>\n<playMadiaFile>demo-nogo</playMadiaFile><PLAY file='a'> tt-weasels </PLAY><dial>200</dial><Terminate/></reply>";
	static const char none[] = "<html><body><play>x</play></body></html>";
	struct document *d;
	struct fault f;
	const struct node *n;

	assert_int_equal(document_read(STR("text/xml"), STR(text), 200, &d, &f), 0);
	assert_true(str_eq(d->root->name, STR("Response")));
	assert_int_equal(d->root->n_attrs, 0);
	n = d->root->child;
	assert_true(str_eq(n->name, STR("Play")) && str_eq(n->text, STR("demo-nogo")) && n->line == 2);
	n = n->next;
	assert_true(str_eq(n->name, STR("Play")) && str_eq(n->text, STR("tt-weasels")) && n->n_attrs == 0);
	n = n->next;
	assert_true(str_eq(n->name, STR("Dial")) && str_eq(n->text, STR("200")));
	n = n->next;
	assert_true(str_eq(n->name, STR("Hangup")) && !n->next);
	assert_int_equal(d->n_faults, 0);
	document_free(d);
	assert_int_equal(document_read(STR("text/xml"), STR(none), 200, &d, &f), 12102); /* the words stand below the root */
	assert_int_equal(document_read(STR("text/xml"), STR("<Response><playMadiaFile>x</playMadiaFile></Response>"), 200, &d, &f), 0);
	assert_true(str_eq(d->root->child->name, STR("playMadiaFile"))); /* <Response> is never the dialect */
	document_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors),   cmocka_unit_test(test_tree),   cmocka_unit_test(test_charsets),
					   cmocka_unit_test(test_no_verbs), cmocka_unit_test(test_limits), cmocka_unit_test(test_dialect)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
