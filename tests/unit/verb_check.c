/* SPDX-License-Identifier: Apache-2.0
 *
 * verb_check: documents looked over: each kind of mistake with its line and code; what is right is told nothing of; the codes of the verb table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "verb/inside.h"

/* "LINE:CODE …" of a document; base NULL: none. */
static const char *said(const char *xml, const char *base, unsigned what)
{
	static char buf[2000];
	struct out o = OUT(buf);
	struct fault v[50], f;
	struct document *d;
	int n;

	assert_int_equal(document_read(STR("text/xml"), str_z(xml), 200, &d, &f), 0);
	n = verb_check(d->root, str_z(base), what, v, N_ELEMENTS(v));
	for (int i = 0; i < n; i++) {
		assert_true(v[i].text[0] && fault_find(v[i].code));
		out_f(&o, "%s%d:%u", i ? " " : "", v[i].line, v[i].code);
	}
	document_free(d);
	return out_z(&o);
}

#define ALL (CHECK_WORDS | CHECK_VALUES | CHECK_ROAD)

static void test_one_mistake(void **state)
{
	static const struct {
		const char *verbs, *said;
	} t[] = {
	    {"<Say>a</Say><Pause length='3'/><Play loop='0'>x.wav</Play><Hangup/>", ""},
	    {"<Say voice='Polly.Joanna' language='en-GB'>a <break time='1s'/> <say-as interpret-as='date'><emphasis>b</emphasis></say-as></Say>", ""},
	    {"<Gather numDigits='4' finishOnKey='' input='dtmf speech' method='get' timeout='3'><Say>a</Say><Play>b</Play><Pause/></Gather>", ""},
	    {"\n<Foo/>", "2:12200"},
	    {"<say>a</say>", "1:12200"},
	    {"<Say loud='1'>a</Say>", "1:12200"},
	    {"<Say>a<foo/></Say>", "1:12200"},
	    {"<Say>a<p>\n<s><foo/></s></p></Say>", "2:12200"},
	    {"<Pause><Say>a</Say></Pause>", "1:12200"},
	    {"<Gather><Hangup/>\n<Say colour='1'>a</Say></Gather>", "1:13320 2:12200"},
	    {"<Say loop='x'>a</Say>", "1:13510"},
	    {"<Say loop='1001'>a</Say>", "1:13510"},
	    {"<Say language='en US'>a</Say>", "1:13521"},
	    {"<Say> </Say>", "1:13512"},
	    {"<Play/>", "1:13420"},
	    {"<Play digits='1w2W#'/>", ""},
	    {"<Play digits='1x'/>", "1:13430"},
	    {"<Play loop='-1'>a</Play>", "1:13410"},
	    {"<Pause length='14401'/>", "1:13910"},
	    {"<Pause length='14400'/>", ""},
	    {"<Reject reason='tired'/>", "1:13810"},
	    {"<Redirect method='PUT'>http://h/</Redirect>", "1:13710"},
	    {"<Gather timeout='0'/>", "1:13313"},
	    {"<Gather numDigits='many'/>", "1:13314"},
	    {"<Gather finishOnKey='12'/>", "1:13310"},
	    {"<Gather input='dtmf smoke'/>", "1:13330"},
	    {"<Gather bargeIn='maybe'/>", "1:12200"},
	    {"<Gather speechTimeout='auto' hints='a, b'/>", ""},
	    {"<Gather method='PATCH'><Say loop='x'>a</Say></Gather>", "1:13312 1:13510"},
	    {"<Hangup/>\n<Say>a</Say><Say>b</Say>", "2:90015"},
	    {"<Redirect>http://h/</Redirect><Pause/>", "1:90015"},
	    {"<Hangup/><Foo/>", "1:12200"},
	    {"<Dial timeout='30'>200</Dial>", "1:13750"},
	    {"<Dial timeout='4'><Number>200</Number></Dial>", "1:13750 1:13212"},
	    {"<Redirect>next</Redirect>", "1:15004"},
	    {"<Gather action='/a?b=c'/>", "1:15004"},
	    {"<Gather action='ftp://h/'/>", "1:15004"},
	};

	for (size_t i = 0; i < N_ELEMENTS(t); i++) {
		char doc[600];

		snprintf(doc, sizeof(doc), "<Response>%s</Response>", t[i].verbs);
		if (strcmp(said(doc, NULL, ALL), t[i].said))
			fail_msg("%s: %s, not %s", t[i].verbs, said(doc, NULL, ALL), t[i].said);
	}
}

static void test_base(void **state)
{
	assert_string_equal(said("<Response><Redirect>next</Redirect></Response>", "http://h/a/b", ALL), "");
	assert_string_equal(said("<Response><Gather action='../c?d'/></Response>", "http://h/a/b", ALL), "");
	assert_string_equal(said("<Response><Redirect>../../x</Redirect></Response>", "service:/200", ALL), "1:11100");
	assert_string_equal(said("<Response><Redirect>300</Redirect></Response>", "service:/200", ALL), "");
}

/* The interpreter asks for words only; values are told when the verb is reached. */
static void test_parts(void **state)
{
	static const char doc[] = "<Response><Foo/><Say loop='x' loud='1'/><Hangup/><Say/></Response>";

	assert_string_equal(said(doc, NULL, CHECK_WORDS), "1:12200 1:12200");
	assert_string_equal(said(doc, NULL, CHECK_VALUES), "1:13510 1:13512 1:13512");
	assert_string_equal(said(doc, NULL, CHECK_ROAD), "1:90015");
	assert_string_equal(said("<Response/>", NULL, ALL), "");
}

static void test_cap(void **state)
{
	struct fault v[2], f;
	struct document *d;

	assert_int_equal(document_read(STR("text/xml"), STR("<Response><A/><B/><C/></Response>"), 200, &d, &f), 0);
	assert_int_equal(verb_check(d->root, STR_NONE, CHECK_WORDS, v, 2), 2);
	assert_int_equal(verb_check(NULL, STR_NONE, ALL, v, 2), 0); /* an audio body */
	document_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_mistake), cmocka_unit_test(test_base), cmocka_unit_test(test_parts),
					   cmocka_unit_test(test_cap)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
