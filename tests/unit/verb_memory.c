/* SPDX-License-Identifier: Apache-2.0
 *
 * verb_memory: each allocation of a whole call fails in turn (documents, requests, sounds). Nothing crashes, nothing leaks, and the call comes to an end.
 */
#include "base/base.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);

static int fail_in, failed; /* the n-th allocation from now on fails; 0 = none */

void *__wrap_malloc(size_t n)
{
	if (fail_in && --fail_in == 0 && ++failed)
		return NULL;
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	if (fail_in && --fail_in == 0 && ++failed)
		return NULL;
	return __real_calloc(n, size);
}

#define malloc __real_malloc /* the rig's own paper never runs out */
#include "verb_rig.h"

static const char *document;
static const char *script_says(const struct job *j, int nth)
{
	if (strncmp(document, "Location", 8) == 0 && j->query[0])
		return "Content-Type: text/plain\n\nOne. Two.";
	return document;
}

static const char *page(const struct visit *v)
{
	return strstr(v->url, ".wav") ? "RIFF" : "<Response><Play>a.wav</Play></Response>";
}

static void test_in_turn(void **state)
{
	static const char *const docs[] = {
	    "Content-Type: text/xml\n\n<Response a=\"b\"><Say voice=\"x\">One. Two.</Say><Play loop=\"2\">a</Play><Pause/><Say>Three.</Say></Response>",
	    "Content-Type: audio/wav\n\nRIFFabcd",
	    "Location: ?x\n\n",
	    "",
	    "Content-Type: text/xml\n\n<Response><Play>missing</Play></Response>",
	    "Content-Type: text/xml\n\n<Response><Gather><Say>One.<break/><say-as "
	    "interpret-as=\"digits\">12</say-as></Say></Gather><Redirect>http://s/x</Redirect></Response>"};

	for (size_t i = 0; i < N_ELEMENTS(docs); i++)
		for (int n = 1; n < 1000; n++) {
			rig_open("100\tcgi\n");
			script = script_says;
			document = docs[i];
			page_of = page;
			failed = 0;
			fail_in = n;
			come_in();
			run_out();
			fail_in = 0;
			if (!the_call.over)
				fail_msg("document %zu, allocation %d: %s\n%s", i, n, out_z(&orders), out_z(&traces));
			rig_close();
			if (!failed)
				break;
			assert_true(n < 999);
		}
}

static void test_open(void **state)
{
	static const struct verb_out out = {.run = fake_run, .sound = fake_sound};
	struct verbs_opts o = {.params = &params, .out = &out};

	for (int n = 1; n < 20; n++) {
		fail_in = n;
		verbs_free(verbs_new(&o));
		services_free(services_new());
	}
	fail_in = 0;
}

static void test_listing(void **state)
{
	for (int n = 1; n < 6; n++) {
		struct services *s = services_new();

		fail_in = n;
		if (services_update(s, STR("100\tcgi\nbad name\tbad-name\n")) == 0)
			assert_non_null(services_find(s, STR("100")));
		fail_in = 0;
		services_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_turn), cmocka_unit_test(test_open), cmocka_unit_test(test_listing)};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
