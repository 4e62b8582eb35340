/* SPDX-License-Identifier: Apache-2.0
 *
 * verb_interp: documents in, orders out: the whole way of a call through the interpreter with a call, a runner and media of paper (verb_rig.h).
 */
#include "verb_rig.h"

static const char *document;
static const char *script_says(const struct job *j, int nth)
{
	return document;
}
static const char *file_says(const char *name)
{
	return document;
}

/* "!": the spoken error */
#define SORRY "play'Sorry, this service has a problem.' play'Please call again later.' play'Goodbye.' hangup!"

static const struct {
	const char *doc, *orders, *trace; /* trace: must be found in it */
} docs[] = {
    {"<Response/>", "ring answer hangup", NULL},
    {"<Response><Hangup/></Response>", "ring answer hangup", NULL},
    {"<Response><Say>Hello. You there!</Say></Response>", "ring answer play'Hello.' play'You there!' hangup", "[verb 1 <Say>Hello. You there!]"},
    {"<Response><Say loop=\"2\">A b.</Say><Hangup/><Say>no</Say></Response>", "ring answer play'A b.' play'A b.' hangup", NULL},
    {"<Response><Say loop=\"2\">One. Two.</Say></Response>", "ring answer play'One.' play'Two.' play'One.' play'Two.' hangup", NULL},
    {"<Response><Say/><Say>  </Say></Response>", "ring answer hangup", "warning 13512"},
    {"<Response><Say>silent</Say><Say>x</Say></Response>", "ring answer play'x' hangup", NULL},
    {"<Response><Say voice=\"hugo\" language=\"!\" loop=\"x\">x</Say></Response>", "ring answer play'x' hangup", "warning 13520"},
    {"<Response><Say language=\"!\">x</Say></Response>", "ring answer play'x' hangup", "warning 13521"},
    {"<Response><Say loop=\"-1\">x</Say></Response>", "ring answer play'x' hangup", "warning 13510"},
    {"<Response><Say>a <emphasis>b</emphasis><break/>c<foo/></Say></Response>", "ring answer play'a b' wait400 play'c' hangup", "warning 12200, line 1: <foo>"},
    {"<Response><Pause/></Response>", "ring wait1000 answer hangup", NULL},
    {"<Response><Pause length=\"3\"/><Say>x</Say></Response>", "ring wait3000 answer play'x' hangup", NULL},
    {"<Response><Pause/><Pause length=\"2\"/></Response>", "ring wait1000 answer wait2000 hangup", NULL},
    {"<Response><Foo/><Pause/></Response>", "ring wait1000 answer hangup", "warning 12200, line 1: <Foo> is no verb"},
    {"<Response><Say>x</Say><Pause length=\"0\"/><Pause length=\"2\"/></Response>", "ring answer play'x' wait2000 hangup", NULL},
    {"<Response><Pause length=\"x\"/></Response>", "ring wait1000 answer hangup", "warning 13910"},
    {"<Response><Pause length=\"14401\"/></Response>", "ring wait1000 answer hangup", "warning 13910"},
    {"<Response><Reject/></Response>", "ring reject404", NULL},
    {"<Response><Reject reason=\"busy\"/></Response>", "ring reject486", NULL},
    {"<Response><Reject reason=\"ugly\"/></Response>", "ring reject404", "warning 13810"},
    {"<Response><Pause/><Reject reason=\"busy\"/></Response>", "ring wait1000 reject486", NULL},
    {"<Response><Say>x</Say><Reject/><Say>y</Say></Response>", "ring answer play'x' hangup", NULL},
    {"<Response><Play>demo</Play></Response>", "ring answer play'demo.wav' hangup", NULL},
    {"<Response><Play loop=\"3\">digits/1</Play></Response>", "ring answer play'digits/1.wav' x3 hangup", NULL},
    {"<Response><Play loop=\"0\">demo</Play></Response>", "ring answer play'demo.wav' x1000 hangup", NULL},
    {"<Response><Play loop=\"y\">demo</Play></Response>", "ring answer play'demo.wav' hangup", "warning 13410"},
    {"<Response><Play>hello.wav</Play><Play>service:/a.wav</Play></Response>", "ring answer play'hello.wav' play'a.wav' hangup", NULL},
    {"<Response><Play digits=\"1w2#\"/><Say>x</Say></Response>", "ring answer send1w2# play'x' hangup", NULL},
    {"<Response><Play digits=\"1x\"/></Response>", "ring answer hangup", "warning 13430"},
    {"<Response><Play>missing</Play><Say>x</Say></Response>", "ring answer " SORRY, "error 13420"},
    {"<Response><Play>broken</Play></Response>", "ring answer " SORRY, "error 13420: line 1: broken: it is no sound"},
    {"<Response><Play>missing.wav</Play></Response>", "ring answer " SORRY, "error 13420"},
    {"<Response><Play></Play></Response>", "ring answer " SORRY, "error 13420"},
    {"<Response><Play>../etc/passwd</Play></Response>", "ring answer " SORRY, "error 13420"},
    {"<Response><Play>/etc/passwd</Play></Response>", "ring answer " SORRY, "error 13420"},
    {"<Response><Play>http://h/x.wav</Play></Response>", "ring answer " SORRY, "11202"},
    {"<Response><Echo/></Response>", "ring answer echo", NULL},
    {"<Response><Gather><Say>x</Say></Gather></Response>", "ring answer play'x' wait5000 hangup", NULL},
    {"<Response><Gather timeout=\"2\"/><Say>x</Say></Response>", "ring answer wait2000 play'x' hangup", NULL},
    {"<Response><Gather timeout=\"0\" numDigits=\"x\" finishOnKey=\"12\" method=\"PUT\"/></Response>", "ring answer wait5000 hangup", "warning 13313"},
    {"<Response><Gather numDigits=\"x\"/></Response>", "ring answer wait5000 hangup", "warning 13314"},
    {"<Response><Gather finishOnKey=\"12\"/></Response>", "ring answer wait5000 hangup", "warning 13310"},
    {"<Response><Gather method=\"PUT\"/></Response>", "ring answer wait5000 hangup", "warning 13312"},
    {"<Response><Gather input=\"speech\"><Say>x</Say></Gather><Say>y</Say></Response>", "ring answer play'y' hangup", "warning 13330"},
    {"<Response><Gather input=\"dtmf speech\"><Say>x</Say></Gather></Response>", "ring answer play'x' wait5000 hangup", "warning 13330"},
    {"<Response><Gather><Dial>1</Dial><Say>x</Say><Pause length=\"2\"/><Play>demo</Play></Gather></Response>",
     "ring answer play'x' wait2000 play'demo.wav' wait5000 hangup", "warning 13320, line 1: <Dial> does not belong into <Gather>"},
    {"<Response><Gather><Play>missing</Play></Gather></Response>", "ring answer " SORRY, "error 13325"},
    {"<Response><Say>a<break time=\"500ms\"/>b</Say></Response>", "ring answer play'a' wait500 play'b' hangup", NULL},
    {"<Response><Say><break time=\"1s\"/><break strength=\"none\"/>b<break/></Say></Response>", "ring answer wait1000 play'b' wait400 hangup", NULL},
    {"<Response><Say>a <say-as interpret-as=\"digits\">123</say-as>.</Say></Response>", "ring answer play'a 1 2 3 .' hangup", NULL},
    {"<Response><Say>On <s>the <say-as interpret-as=\"date\" format=\"dmy\">31/1/2026</say-as></s>!</Say></Response>",
     "ring answer play'On the January 31st, 2026 !' hangup", NULL},
    {"<Response><Say>at <say-as interpret-as=\"time\">2:05pm</say-as></Say></Response>", "ring answer play'at 2 oh 5 p m' hangup", NULL},
    {"<Response><Say>at <say-as interpret-as=\"time\">14:00</say-as></Say></Response>", "ring answer play'at 14 o'clock' hangup", NULL},
    {"<Response><Say>the <say-as interpret-as=\"ordinal\">12</say-as>, <say-as interpret-as=\"ordinal\">22</say-as></Say></Response>",
     "ring answer play'the 12th, 22nd' hangup", NULL},
    {"<Response><Say language=\"de-DE\"><say-as interpret-as=\"ordinal\">3</say-as> Tag</Say></Response>", "ring answer play'3 Tag' hangup", NULL},
    {"<Response><Say><say-as interpret-as=\"cardinal\">1,234</say-as> <sub alias=\"Hyper Text\">HT</sub> <say-as "
     "interpret-as=\"characters\">ab</say-as></Say></Response>",
     "ring answer play'1234 Hyper Text a b' hangup", NULL},
    {"<Response><Say><say-as interpret-as=\"telephone\">+1 (555) 10</say-as></Say></Response>", "ring answer play'plus 1 , 5 5 5 , 1 0' hangup", NULL},
    {"<Response><Say loop=\"2\">a<break/></Say></Response>", "ring answer play'a' wait400 play'a' wait400 hangup", NULL},
    {"<Response><Redirect>service:/100?x=1</Redirect></Response>", "ring answer " SORRY, "error 11215: line 1: 100 documents in a row"},
    {"<Response><Redirect>ftp://x/</Redirect></Response>", "ring answer " SORRY, "error 11100"},
    {"<Response><Say>x</Say><Dial>1</Dial></Response>", "ring answer play'x' " SORRY, "error 13750"},
    {"<Response><Say loud=\"1\">x</Say></Response>", "ring answer play'x' hangup", "warning 12200, line 1: <Say> has no attribute loud"},
    {"<Response><say>x</say></Response>", "ring answer hangup", "<say> is no verb"},
    {"<Response><Say>unspeakable</Say></Response>", "ring answer " SORRY, "error 90005"},
    {"<Response><Play>a<b/></Play></Response>", "ring answer play'a.wav' hangup", "<b> does not belong into <Play>"},
};

static void one_document(const char *files, const char *doc, const char *want, const char *trace)
{
	rig_open(files);
	document = doc;
	script = script_says;
	file_of = file_says;
	come_in();
	run_out();
	if (!str_eq(out_view(&orders), str_z(want)))
		fail_msg("%s\n  is     %s\n  wanted %s\n%s", doc, out_z(&orders), want, out_z(&traces));
	if (trace && !strstr(out_z(&traces), trace))
		fail_msg("%s: no %s in\n%s", doc, trace, out_z(&traces));
	rig_close();
}

static void test_documents(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(docs); i++)
		one_document("100.xml\txml\n", docs[i].doc, docs[i].orders, docs[i].trace);
}

#define CT "Content-Type: text/xml\n\n"
static const struct {
	const char *out, *orders, *trace;
} outputs[] = {
    {CT "<Response><Say>x</Say></Response>", "ring answer play'x' hangup", "[reply 1 200 text/xml 12 ms"},
    {"Content-Type: text/plain\n\nHello <b>.", "ring answer play'Hello <b>.' hangup", NULL},
    {"Status: 204\n\n", "ring answer hangup", NULL},
    {"Content-Type: audio/wav\n\nRIFFxxxx", "ring answer play'body' hangup", NULL},
    {"Content-Type: audio/wav\n\n", "ring answer " SORRY, "error 11770"},
    {CT, "ring answer " SORRY, "error 11770"},
    {"", "ring answer " SORRY, "error 11200: services/100 (cgi) after 12 ms: it printed nothing"},
    {"<Response/>", "ring answer " SORRY, "no header block"},
    {"Status: 500 Oh\nContent-Type: text/xml\n\n<Response/>", "ring answer " SORRY, "its status is 500"},
    {"Content-Type: image/png\n\nx", "ring answer " SORRY, "error 12300"},
    {"X: y\n\nx", "ring answer " SORRY, "Content-Type is missing"},
    {CT "<Response>", "ring answer " SORRY, "error 12100"},
    {CT "<Resp/>", "ring answer " SORRY, "error 12102"},
    {"Location: http://h/\n\n", "ring answer " SORRY, "11202"},
    {"Location: ../x\n\n", "ring answer " SORRY, "error 11216"},
    {"Location: /999\n\n", "ring answer " SORRY, "error 11200: there is no services/999"},
    {"Location: ?again=1\n\n", "ring answer " SORRY, "error 11215"},
};

static void test_outputs(void **state)
{
	for (size_t i = 0; i < N_ELEMENTS(outputs); i++)
		one_document("100\tcgi\n", outputs[i].out, outputs[i].orders, outputs[i].trace);
}

static void test_script_faults(void **state)
{
	static const struct {
		enum run_fault fault;
		const char *trace;
	} cases[] = {{RUN_EXIT, "error 11200: services/100 (cgi) after 12 ms: it ended with exit status 1: boom"},
		     {RUN_SIGNAL, "error 11200"},
		     {RUN_WALL, "error 11203"},
		     {RUN_NOT_EXECUTABLE, "chmod +x"},
		     {RUN_BAD_INTERPRETER, "CR LF"},
		     {RUN_FULL, "at once"}};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		rig_open("100\tcgi\n");
		document = "";
		script = script_says;
		script_fault = cases[i].fault;
		come_in();
		run_out();
		assert_string_equal(out_z(&orders), "ring answer " SORRY);
		assert_non_null(strstr(out_z(&traces), cases[i].trace));
		rig_close();
	}
}

static const char *two_steps(const struct job *j, int nth)
{
	if (!j->query[0])
		return "Status: 302\nLocation: ?step=2\n\n";
	assert_string_equal(j->query, "step=2");
	assert_non_null(strstr(j->in, "CallerIdName=Ann"));
	return CT "<Response><Say>two</Say><Play>b.wav</Play></Response>";
}

static void test_redirect(void **state)
{
	rig_open("100\tcgi\n");
	script = two_steps;
	come_in();
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'two' play'b.wav' hangup");
	assert_int_equal(scripts_run, 2);
	for (int i = 0; i < n_jobs; i++)
		assert_true(jobs[i].taken); /* the runner keeps nothing for us */
	rig_close();
}

static void test_kinds(void **state)
{
	one_document("100.txt\ttxt\n", "Hi.", "ring answer play'Hi.' hangup", NULL);
	one_document("100.wav\twav\n", "", "answer play'100.wav' hangup", NULL);
	one_document("*9#.wav\twav\ndefault.txt\ttxt\n", "Hi.", "ring answer play'Hi.' hangup", "READ service:/default");
	one_document("200\tcgi\n", "", "reject404", "no service for 100: looked for services/100, 100.xml, 100.txt, 100.wav, services/default");
	one_document("100\tcgi\n100.xml\txml\n", "", "reject500", "two files for it: services/100 and services/100.xml");
}

static void test_long_say(void **state)
{
	char doc[9000], chars[5000];
	struct out o = OUT(doc);

	memset(chars, 'a', sizeof(chars));
	for (int i = 0; i < 5000; i += 50)
		chars[i] = ' ';
	chars[4999] = 0;
	out_f(&o, "<Response><Say>%s</Say></Response>", chars + 1);
	rig_open("100.xml\txml\n");
	document = out_z(&o);
	file_of = file_says;
	come_in();
	run_out();
	assert_non_null(strstr(out_z(&traces), "warning 13511"));
	int plays = 0, pieces = 0;

	for (const char *p = order_buf; (p = strstr(p, "play'")); p++)
		plays++;
	for (int i = 0; i < n_jobs; i++)
		if (jobs[i].kind == RUN_SPEAK) {
			assert_true(jobs[i].in_n <= 200 && jobs[i].in_n > 0);
			pieces++;
		}
	assert_int_equal(plays, (4096 + 199) / 200);
	assert_true(pieces >= 1);
	rig_close();
}

static void test_ahead(void **state)
{
	rig_open("100.xml\txml\n");
	document = "<Response><Say>One. Two. Three.</Say></Response>";
	file_of = file_says;
	come_in();
	assert_true(answer_one()); /* the file: the first piece is ordered, and the call answered */
	assert_string_equal(out_z(&orders), "ring answer");
	assert_int_equal(n_jobs, 2);
	assert_string_equal(jobs[1].in, "One.");
	assert_true(answer_one());
	assert_string_equal(out_z(&orders), "ring answer play'One.'");
	assert_int_equal(n_jobs, 3); /* one ahead, not more */
	assert_string_equal(jobs[2].in, "Two.");
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'One.' play'Two.' play'Three.' hangup");
	rig_close();
}

static void test_caller_hangs_up(void **state)
{
	static const char *const docs_at[] = {"<Response><Say>One. Two.</Say></Response>", "<Response><Pause length=\"9\"/></Response>",
					      "<Response><Echo/></Response>", "<Response><Play digits=\"1\"/></Response>",
					      "<Response><Play loop=\"0\">x</Play></Response>"};

	for (size_t i = 0; i < N_ELEMENTS(docs_at); i++)
		for (int steps = 0; steps < 6; steps++) {
			rig_open("100\tcgi\n");
			char out[200];

			snprintf(out, sizeof(out), CT "%s", docs_at[i]);
			document = out;
			script = script_says;
			come_in();
			for (int k = 0; k < steps && !the_call.playing && !the_call.timer_at; k++)
				go_on();
			size_t n = orders.n;

			over(&the_call, PARTY_CALLER, 487);
			run_out();
			assert_int_equal(orders.n, n);
			for (int k = 0; k < n_jobs; k++)
				assert_true(jobs[k].taken || !jobs[k].due);
			rig_close();
		}
}

static void test_late_answers(void **state)
{
	struct run_answer a = {.state = RUN_DONE, .kind = RUN_CGI, .n = 4, .token = {9}};
	int jobs_before;

	rig_open("100\tcgi\n");
	document = CT "<Response><Say>x</Say><Pause/></Response>";
	script = script_says;
	verbs_run_answer(verbs, &a, memfd_of("abcd", 4), all.now); /* nobody's */
	come_in();
	memcpy(a.token, jobs[0].token, 16);
	assert_true(answer_one());
	jobs_before = n_jobs;
	verbs_run_answer(verbs, &a, memfd_of("abcd", 4), all.now); /* a second one for the same token */
	assert_int_equal(n_jobs, jobs_before);
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'x' wait1000 hangup");
	rig_close();
}

static void test_busy_runner_and_media(void **state)
{
	rig_open("100\tcgi\n");
	document = CT "<Response><Say>One. Two.</Say></Response>";
	script = script_says;
	run_busy = 3;
	media_busy = 2;
	come_in();
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'One.' play'Two.' hangup");
	assert_int_equal(scripts_run, 1);
	rig_close();
}

static void test_no_answer(void **state)
{
	rig_open("100\tcgi\n");
	document = "";
	come_in();
	jobs[0].due = false; /* the runner sleeps */
	run_out();
	assert_non_null(strstr(out_z(&orders), "wait18000 answer " SORRY));
	assert_non_null(strstr(out_z(&traces), "error 11203"));
	rig_close();
}

static void test_runner_gone(void **state)
{
	rig_open("100\tcgi\n101.xml\txml\n");
	document = CT "<Response/>";
	script = script_says;
	come_in();
	jobs[0].due = false;
	jobs[0].taken = true;
	verbs_runner_gone(verbs, all.now);
	run_out();
	assert_string_equal(out_z(&orders), "ring answer " SORRY);
	assert_int_equal(scripts_run, 0);
	assert_non_null(strstr(out_z(&traces), "error 11200"));
	rig_close();
	/* a sound in the making is ordered again */
	rig_open("100.xml\txml\n");
	document = "<Response><Say>One.</Say></Response>";
	file_of = file_says;
	come_in();
	assert_true(answer_one());
	while (n_jobs)
		free(jobs[--n_jobs].in);
	verbs_runner_gone(verbs, all.now);
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'One.' hangup");
	rig_close();
}

static void test_before_listing(void **state)
{
	rig_open(NULL);
	document = "Hi.";
	file_of = file_says;
	come_in();
	assert_string_equal(out_z(&orders), "ring");
	listing("100.txt\ttxt\n");
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'Hi.' hangup");
	rig_close();
	rig_open(NULL);
	come_in();
	run_out();
	assert_string_equal(out_z(&orders), "ring wait10000 reject503");
	rig_close();
}

static void test_heap_full(void **state)
{
	rig_open("100.txt\ttxt\n");
	document = "Hi.";
	file_of = file_says;
	heap_full = true;
	come_in();
	run_out();
	assert_string_equal(out_z(&orders), "reject500");
	assert_non_null(strstr(out_z(&traces), "error 90003"));
	rig_close();
	rig_open("100.txt\ttxt\n");
	file_of = file_says;
	come_in();
	heap_full = true;
	run_out();
	assert_string_equal(out_z(&orders), "ring reject500");
	rig_close();
}

static void test_error_in_error(void **state)
{
	rig_open("100.xml\txml\n");
	document = "<Response><Dial/></Response>";
	file_of = file_says;
	come_in();
	while (!n_jobs || jobs[n_jobs - 1].kind != RUN_SPEAK)
		assert_true(go_on());
	snprintf(jobs[n_jobs - 1].arg[1], 300, "broken");
	strncpy(jobs[n_jobs - 1].in, "unspeakable", jobs[n_jobs - 1].in_n); /* the sentence itself cannot be spoken */
	run_out();
	assert_int_equal(strncmp(out_z(&orders), "ring answer hangup!", 19), 0);
	rig_close();
}

static void test_digits(void **state)
{
	rig_open("100.xml\txml\n");
	document = "<Response><Say>One.</Say></Response>";
	file_of = file_says;
	come_in();
	the_call.line_digits[1] = '7';
	the_call.line_digits[2] = '#';
	the_call.line_digit = 2;
	tell(&the_call, (struct call_event){.kind = CALL_EV_DIGIT, .number = 2, .digit = '#'});
	assert_non_null(strstr(out_z(&traces), "[digit 1 7]\n[digit 2 #]"));
	assert_int_equal(the_call.kept.app.digit_taken, 2);
	run_out();
	assert_string_equal(out_z(&orders), "ring answer play'One.' hangup");
	rig_close();
}

static void test_cache(void **state)
{
	rig_open("100.xml\txml\n");
	document = "<Response><Say>One.</Say><Play>a.wav</Play></Response>";
	file_of = file_says;
	come_in();
	run_out();
	assert_int_equal(n_jobs, 3);
	assert_int_equal(sounds_alive, 2);
	the_call.over = false;
	the_call.r = (struct call_record){.state = CALL_RINGING, .sid = {2}};
	come_in();
	run_out();
	assert_int_equal(n_jobs, 4); /* the document only: both sounds were there */
	listing("100.xml\txml\na.wav\twav\n");
	assert_int_equal(sounds_alive, 1); /* a.wav may be another sound now */
	the_call.over = false;
	the_call.r = (struct call_record){.state = CALL_RINGING, .sid = {3}};
	come_in();
	run_out();
	assert_int_equal(n_jobs, 6);
	assert_string_equal(out_z(&orders),
			    "ring answer play'One.' play'a.wav' hangup ring answer play'One.' play'a.wav' hangup ring answer play'One.' play'a.wav' hangup");
	rig_close();
}

/* Three lines a call: in, what it ran, how it ended. */
static void log_of(const char *files, const char *doc, char *ret, size_t cap)
{
	int old = dup(2), mem = memfd_create("log", MFD_CLOEXEC);
	ssize_t n;

	rig_open(files);
	document = doc;
	script = script_says;
	log_set_level(LOG_INFO);
	fflush(stderr);
	dup2(mem, 2);
	come_in();
	run_out();
	fflush(stderr);
	dup2(old, 2);
	close(old);
	log_set_level(LOG_ERROR);
	n = pread(mem, ret, cap - 1, 0);
	ret[MAX(n, 0)] = 0;
	close(mem);
	rig_close();
}

static int lines(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void test_log(void **state)
{
	char log[4096];

	log_of("100\tcgi\n", CT "<Response><Say>x</Say><Pause length=\"2\"/><Foo/></Response>", log, sizeof(log));
	assert_int_equal(lines(log), 3);
	assert_non_null(strstr(log, "info call CA01000000000000000000000000000000 from 204 \"Ann\" to 100\n"));
	assert_non_null(strstr(log, "CA01000000000000000000000000000000 ran services/100 (cgi) in 12 ms: 200 text/xml, 2 verbs\n"));
	assert_non_null(strstr(log, "CA01000000000000000000000000000000 ended by service after 2.0 s: 200\n"));
	log_of("100\tcgi\n", "", log, sizeof(log));
	assert_int_equal(lines(log), 3);
	assert_non_null(strstr(log, "CA01000000000000000000000000000000 error 11200: services/100 (cgi) after 12 ms: it printed nothing"));
	assert_non_null(strstr(log, "ended by system after 0.0 s: 200\n"));
	log_of("200\tcgi\n", "", log, sizeof(log));
	assert_int_equal(lines(log), 3);
	assert_non_null(strstr(log, "warn no service for 100: looked for services/100, 100.xml, 100.txt, 100.wav, services/default\n"));
}

static void test_tables(void **state)
{
	size_t served = 0;

	for (size_t i = 0; i < verb_n; i++) {
		assert_true(i == 0 || strcmp(verb_table[i - 1].name, verb_table[i].name) < 0);
		served += verb_table[i].served;
		for (int k = 1; k < verb_table[i].n_attrs; k++)
			assert_string_not_equal(verb_table[i].attrs[k].name, verb_table[i].attrs[k - 1].name);
	}
	assert_int_equal(served, 8);
	assert_true(str_starts(sentence_of(SENTENCE_ERROR, STR("en-GB")), STR("Sorry")));
	assert_true(str_starts(sentence_of(SENTENCE_ERROR, STR("xx")), STR("Sorry")));
	assert_true(str_starts(sentence_of(SENTENCE_ERROR, STR("de-AT")), STR("Leider")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_documents),      cmocka_unit_test(test_outputs),
					   cmocka_unit_test(test_script_faults),  cmocka_unit_test(test_redirect),
					   cmocka_unit_test(test_kinds),          cmocka_unit_test(test_long_say),
					   cmocka_unit_test(test_ahead),          cmocka_unit_test(test_caller_hangs_up),
					   cmocka_unit_test(test_late_answers),   cmocka_unit_test(test_busy_runner_and_media),
					   cmocka_unit_test(test_no_answer),      cmocka_unit_test(test_runner_gone),
					   cmocka_unit_test(test_before_listing), cmocka_unit_test(test_heap_full),
					   cmocka_unit_test(test_error_in_error), cmocka_unit_test(test_digits),
					   cmocka_unit_test(test_cache),          cmocka_unit_test(test_log),
					   cmocka_unit_test(test_tables)};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
