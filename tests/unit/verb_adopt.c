/* SPDX-License-Identifier: Apache-2.0
 *
 * verb_adopt: the worker dies at every point before and after everything that lasts, once and twice; the next interpreter goes on from the record. What the caller hears
 * is the same as without a crash, a script runs once, and digits are sent at most once.
 */
#include "verb_rig.h"

/* A crash leaves the dead interpreter's memory behind. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static const char *document;
static const char *script_says(const struct job *j, int nth)
{
	if (strstr(document, "?digits") && j->query[0])
		return strstr(j->in, "Digits=42") ? "Content-Type: text/plain\n\nRight." : "Content-Type: text/plain\n\nWrong.";
	if (strncmp(document, "Location", 8) == 0 && j->query[0])
		return "Content-Type: text/plain\n\nOne. Two.";
	return document;
}

static const char *page(const struct visit *v)
{
	if (strstr(v->url, "/gone"))
		return NULL;
	if (strstr(v->url, ".wav"))
		return "RIFF";
	if (strstr(v->url, "/got"))
		return strstr(v->form, "Digits=42") ? "<Response><Say>Right.</Say></Response>" : "<Response><Say>Wrong.</Say></Response>";
	return "<Response><Gather numDigits=\"2\" action=\"/got\"><Say>One.</Say><Play>a.wav</Play></Gather></Response>";
}

/* What was heard: rings and resumptions left out, a play that was begun anew counted once. */
static void heard(char *ret, size_t cap)
{
	struct out o = {.p = ret, .cap = cap};
	char word[400], last[400] = "";
	const char *p = out_z(&orders);

	while (*p) {
		size_t n = 0;
		bool quoted = false;

		while (*p && (quoted || *p != ' ')) {
			quoted ^= *p == '\'';
			word[n++] = *p++;
		}
		word[n] = 0;
		p += *p == ' ';
		if (!strcmp(word, "ring") || word[0] == '@' || word[0] == 'x' || !strcmp(word, last))
			continue;
		snprintf(last, sizeof(last), "%s", word);
		if (o.n)
			out_c(&o, ' ');
		out_str(&o, str_z(word));
	}
	out_z(&o);
}

static void start(const char *files)
{
	rig_open(files);
	script = script_says;
	file_of = NULL;
	page_of = page;
	typed = strstr(document, "?digits") || strstr(document, "http:") ? "42" : NULL;
}

/* Runs to the end, dying at point `first`, then at `second` of what follows; false = there is no such point any more. */
static bool run_crashing(const char *files, int first, int second)
{
	static volatile int stage;

	start(files);
	stage = 0;
	crash_at = first;
	if (setjmp(crash) == 0) {
		come_in();
		run_out();
		return false;
	}
	for (;;) {
		crash_at = stage++ == 0 ? second : 0;
		points = 0;
		if (setjmp(crash))
			continue;
		the_call.busy = false;
		adopt();
		listing(files);
		run_out();
		return true;
	}
}

static const struct {
	const char *files, *doc, *heard;
	int scripts;
	bool at_most_once; /* digits: what is sent may be missing */
} cases[] = {
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Say>One. Two.</Say><Say loop=\"2\">A. B.</Say><Hangup/></Response>",
     "answer play'One.' play'Two.' play'A.' play'B.' play'A.' play'B.' hangup", 1, false},
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Pause length=\"3\"/><Play loop=\"2\">a.wav</Play><Pause/><Play>b.wav</Play></Response>",
     "wait3000 answer play'a.wav' wait1000 play'b.wav' hangup", 1, false},
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Reject reason=\"busy\"/></Response>", "reject486", 1, false},
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Echo/></Response>", "answer echo", 1, false},
    {"100\tcgi\n", "Content-Type: audio/wav\n\nRIFFabcd", "answer play'body' hangup", 1, false},
    {"100\tcgi\n", "Status: 204\n\n", "answer hangup", 1, false},
    {"100\tcgi\n", "Location: ?x\n\n", "answer play'One.' play'Two.' hangup", 2, false},
    {"100\tcgi\n", "", "answer play'Sorry, this service has a problem.' play'Please call again later.' play'Goodbye.' hangup!", 1, false},
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Play digits=\"12\"/><Say>x</Say></Response>", "answer send12 play'x' hangup", 1, true},
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Gather numDigits=\"2\" action=\"?digits\"><Say>One.</Say><Say>Two.</Say></Gather></Response>",
     "answer play'One.' play'Two.' play'Right.' hangup", 2, false},
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Redirect>http://s/voice</Redirect></Response>", "answer play'One.' play'body' play'Right.' hangup", 1,
     false},
    {"100\tcgi\n", "Location: http://s/gone\n\n", "answer play'Sorry, this service has a problem.' play'Please call again later.' play'Goodbye.' hangup!", 1,
     false},
    {"100\tcgi\n", "Content-Type: text/xml\n\n<Response><Say>A.<break time=\"2s\"/>B.</Say></Response>", "answer play'A.' wait2000 play'B.' hangup", 1, false},
    {"100.url\turl\thttp://own/voice\n", "http:", "answer play'One.' play'body' play'Right.' hangup", 0, false},
    {"100.wav\twav\n", "", "answer play'100.wav' hangup", 0, false},
};

static void check(size_t i, int first, int second)
{
	char is[4000], without[4000];

	heard(is, sizeof(is));
	bool same = strcmp(is, cases[i].heard) == 0;

	if (!same && cases[i].at_most_once) {
		snprintf(without, sizeof(without), "answer play'x' hangup");
		same = strcmp(is, without) == 0;
	}
	if (!same || scripts_run != cases[i].scripts)
		fail_msg("case %zu, death at %d and %d: %d scripts\n  is     %s\n  wanted %s\n%s\n%s", i, first, second, scripts_run, is, cases[i].heard,
			 out_z(&orders), out_z(&traces));
}

static void test_once(void **state)
{
	int deaths = 0;

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		document = cases[i].doc;
		for (int at = 1;; at++) {
			bool died = run_crashing(cases[i].files, at, 0);

			check(i, at, 0);
			rig_close();
			if (!died)
				break;
			deaths++;
		}
	}
	print_message("%d deaths\n", deaths);
	assert_true(deaths > 150);
}

static void test_twice(void **state)
{
	int deaths = 0;

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		document = cases[i].doc;
		for (int at = 1; at < 400; at++) {
			bool died = true;

			for (int again = 1; again < 40 && died; again += 3) {
				died = run_crashing(cases[i].files, at, again);
				check(i, at, again);
				rig_close();
				deaths += 2;
			}
			if (!died)
				break;
		}
	}
	print_message("%d deaths\n", deaths);
}

/* A play goes on where it stood, in its turn. */
static void test_position(void **state)
{
	start("100\tcgi\n");
	document = "Content-Type: text/xml\n\n<Response><Play loop=\"5\">a.wav</Play></Response>";
	come_in();
	while (!the_call.playing)
		assert_true(go_on());
	the_call.line_pos = 777;
	the_call.line_loop = 3;
	adopt();
	listing("100\tcgi\n");
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'a.wav' x5 play'a.wav' @777 x2 hangup");
	rig_close();
}

/* Half through a run: the script is asked for by its token and never started again; its time goes on. */
static void test_half_through(void **state)
{
	start("100\tcgi\n");
	document = "Content-Type: text/plain\n\nHi.";
	come_in();
	adopt();
	adopt();
	struct run_answer a = {.state = RUN_RUNNING, .kind = RUN_CGI};

	memcpy(a.token, jobs[0].token, 16);
	verbs_run_answer(verbs, &a, -1, all.now);
	listing("100\tcgi\n");
	run_out();
	assert_int_equal(scripts_run, 1);
	assert_string_equal(out_z(&orders), "ring answer play'Hi.' hangup");
	rig_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_once), cmocka_unit_test(test_twice), cmocka_unit_test(test_position),
					   cmocka_unit_test(test_half_through)};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
