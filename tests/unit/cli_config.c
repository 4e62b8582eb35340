/* SPDX-License-Identifier: Apache-2.0
 *
 * cli_config: the configuration file and the command line: what is taken, what is refused with which line, and that a child is started with the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sys/mman.h>

#include "cli/cli_int.h"
#include "service/service.h"

void help_print(FILE *f, const struct command *c)
{
	fputs("help", f);
}

static char dir[64];

static const char *file_of(const char *text, size_t n)
{
	static char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/a.ini", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	fclose(f);
	return path;
}

/* What config_file says on stderr goes into a file and is looked at. */
static int read_config(const char *text, size_t n, struct config *c, char *said, size_t cap)
{
	const char *path = file_of(text, n);
	char log[100];
	int keep = dup(2), fd, r;
	ssize_t got;

	snprintf(log, sizeof(log), "%s/said", dir);
	fd = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	fflush(stderr);
	dup2(fd, 2);
	config_init(c);
	r = config_file(c, path);
	fflush(stderr);
	dup2(keep, 2);
	close(keep);
	got = pread(fd, said, cap - 1, 0);
	close(fd);
	said[got < 0 ? 0 : got] = 0;
	return r;
}

static void expect_bad(const char *text, const char *where, const char *what)
{
	struct config c;
	char said[4000];

	assert_int_equal(read_config(text, strlen(text), &c, said, sizeof(said)), -EINVAL);
	config_done(&c);
	if (!strstr(said, where) || !strstr(said, what))
		fail_msg("said: %s", said);
}

static void test_taken(void **state)
{
	static const char text[] = "\xef\xbb\xbf; a comment\n[listen]\r\nsip = 127.0.0.1:5070\nsip = [::1]:5070\nhttp=127.0.0.1:0\n\n[media]\nrtp = "
				   "20000-20100\n[log]\nlevel = debug\n[limits]\n";
	struct config c;
	char said[4000];

	assert_int_equal(read_config(text, sizeof(text) - 1, &c, said, sizeof(said)), 0);
	assert_int_equal(c.p.n_sip, 2);
	assert_string_equal(c.p.sip[0], "127.0.0.1:5070");
	assert_string_equal(c.p.sip[1], "[::1]:5070");
	assert_string_equal(c.p.http, "127.0.0.1:0");
	assert_int_equal(c.p.rtp_low, 20000);
	assert_int_equal(c.p.rtp_high, 20100);
	assert_int_equal(c.p.log, LOG_DEBUG);
	assert_string_equal(said, "");
	config_done(&c);
}

static void test_refused(void **state)
{
	char text[500];

	expect_bad("[listen]\nhttp = nonsense\n", "a.ini:2:", "allowed: ADDRESS:PORT");
	expect_bad("[limits]\n\nmax_calls = 0\n", "a.ini:3:", "1 to 100000");
	expect_bad("[limits]\nmax_cals = 3\n", "a.ini:2:", "max_calls");
	expect_bad("[limit]\nmax_calls = 3\n", "a.ini:1:", "[limits]");
	expect_bad("[empty]\n", "a.ini:1:", "no section");
	expect_bad("max_calls = 3\n", "a.ini:1:", "[limits]");
	expect_bad("[limits]\nmax_calls = 3\n  drain_s = 4\n", "a.ini:3:", "white space");
	expect_bad("[limits]\nwhat is this\n", "a.ini:2:", "not understood");
	snprintf(text, sizeof(text), "[paths]\ndata = %0200d\n", 1);
	expect_bad(text, "a.ini:2:", "199 bytes");
}

static void test_line_length(void **state)
{
	char text[500], said[4000];
	struct config c;
	int n;

	/* 199 bytes are read whole, one more is refused */
	n = snprintf(text, sizeof(text), "[paths]\ndata = %0192d\n", 7);
	assert_int_equal(n, 8 + 199 + 1);
	assert_int_equal(read_config(text, (size_t)n, &c, said, sizeof(said)), 0);
	assert_int_equal(strlen(c.p.data), 192);
	assert_int_equal(c.p.data[191], '7');
	config_done(&c);
	n = snprintf(text, sizeof(text), "[paths]\ndata = %0193d\n", 7);
	assert_int_equal(read_config(text, (size_t)n, &c, said, sizeof(said)), -EINVAL);
	config_done(&c);
}

static void test_nul(void **state)
{
	static const char text[] = "[paths]\ndata = a\0b\n";
	struct config c;
	char said[4000];

	assert_int_equal(read_config(text, sizeof(text) - 1, &c, said, sizeof(said)), -EINVAL);
	assert_non_null(strstr(said, "NUL"));
	config_done(&c);
}

/* A child that is started with what config_argv gives has the same parameters. */
static void test_argv(void **state)
{
	static const struct cli_option options[] = {{"config", "FILE", ""}, {"set", "X", ""}};
	static const struct command cmd = {.name = "worker", .options = options, .n_options = 2, .params = true};
	char *argv[CONFIG_PARAMS * 2 + 4] = {"worker"};
	struct config a, b;
	struct args args;
	int n;

	config_init(&a);
	assert_int_equal(config_assign(&a, "listen.sip=127.0.0.1:5070,[::1]:0"), 0);
	assert_int_equal(config_assign(&a, "access.allow=10.0.0.0/8"), 0);
	assert_int_equal(config_assign(&a, "access.allow=192.168.0.0/16"), 0);
	assert_int_equal(config_assign(&a, "media.rtp=30000-30999"), 0);
	assert_int_equal(config_assign(&a, "log.level=warn"), 0);
	assert_int_equal(config_assign(&a, "limits.max_calls=77"), 0);
	assert_int_equal(config_assign(&a, "paths.data=a=b c"), 0);
	assert_int_equal(config_assign(&a, "paths.nothing=1"), -EINVAL);
	n = config_argv(&a, argv, 1, (int)N_ELEMENTS(argv));
	assert_int_equal(n, 13);
	config_init(&b);
	args_open(&args, &cmd, n, argv);
	assert_int_equal(config_args(&b, &args, NULL, NULL), 0);
	assert_memory_equal(&a.p, &b.p, sizeof(a.p));
	for (int i = 1; i < n; i++)
		free(argv[i]);
}

static void test_rank(void **state)
{
	static const struct cli_option options[] = {{"config", "FILE", ""}, {"set", "X", ""}};
	static const struct command cmd = {.name = "serve", .options = options, .n_options = 2, .params = true};
	static const char text[] = "[listen]\nsip = 127.0.0.1:5071\nsip = 127.0.0.1:5072\nhttp = 127.0.0.1:8081\n";
	char path[100];
	char *argv[] = {"serve", "--sip", "127.0.0.1:5080", "--config", path, NULL};
	struct config c;
	struct args args;

	snprintf(path, sizeof(path), "%s", file_of(text, sizeof(text) - 1));
	config_init(&c);
	args_open(&args, &cmd, 5, argv);
	assert_int_equal(config_args(&c, &args, NULL, NULL), 0);
	assert_int_equal(c.p.n_sip, 1);
	assert_string_equal(c.p.sip[0], "127.0.0.1:5080");
	assert_string_equal(c.p.http, "127.0.0.1:8081");
	config_done(&c);
}

static void test_account(void **state)
{
	struct account a, b;
	struct stat st;
	char why[700], path[100];

	assert_int_equal(account_read(dir, &a, why, sizeof(why)), -ENOENT);
	assert_int_equal(account_make(dir, (uid_t)-1, (gid_t)-1, why, sizeof(why)), 0);
	assert_int_equal(account_read(dir, &a, why, sizeof(why)), 0);
	assert_int_equal(account_make(dir, (uid_t)-1, (gid_t)-1, why, sizeof(why)), 0);
	assert_int_equal(account_read(dir, &b, why, sizeof(why)), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(strlen(a.sid), 34);
	assert_int_equal(strlen(a.token), 64);
	snprintf(path, sizeof(path), "%s/account.ini", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(truncate(path, 200), 0);
	assert_int_equal(account_read(dir, &a, why, sizeof(why)), -EINVAL);
	unlink(path);
}

/* ---- [number …] ---- */

static void test_numbers(void **state)
{
	char text[3000], url[1001], said[4000];
	struct config c;
	int n;

	memset(url, 'x', sizeof(url));
	memcpy(url, "https://h/", 10);
	url[1000] = 0;
	n = snprintf(text, sizeof(text),
		     "\xef\xbb\xbf[number 100]\nvoice_url = %s\r\nvoice_method: GET\n; a comment\n[limits]\nmax_calls = 7\n\n[number 2\xe2\x80\xa6]\n"
		     "status_callback = http://u:p@h/cb#rc=2 ; told\nstatus_callback_event=ringing completed\n[log]\nlevel = warn\n[number "
		     "default]\nvoice_url=http://h/",
		     url);
	assert_int_equal(read_config(text, (size_t)n, &c, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	assert_int_equal(c.n_numbers, 3);
	assert_string_equal(c.numbers[0].key, "100");
	assert_string_equal(c.numbers[0].web.voice_url, url);
	assert_true(c.numbers[0].web.voice_get);
	assert_string_equal(c.numbers[1].key, "2\xe2\x80\xa6");
	assert_string_equal(c.numbers[1].web.status_callback, "http://u:p@h/cb#rc=2");
	assert_int_equal(c.numbers[1].web.callback_events, BIT(CALLBACK_RINGING) | BIT(CALLBACK_COMPLETED));
	assert_int_equal(c.numbers[2].line, 13);
	assert_string_equal(c.numbers[2].web.voice_url, "http://h/");
	assert_int_equal(c.p.max_calls, 7);
	assert_int_equal(c.p.log, LOG_WARN);
	config_done(&c);
}

static void test_numbers_refused(void **state)
{
	static const struct {
		const char *text, *where, *what;
	} t[] = {
	    {"[number]\nvoice_url=http://h/\n", "a.ini:1:", "[number 100]"},
	    {"[number 1 0]\nvoice_url=http://h/\n", "a.ini:1:", "no number"},
	    {"[number 100]\n", "a.ini:1:", "lacks voice_url"},
	    {"[log]\nlevel=info\n[number 100]\nvoice_method=GET\nstatus_callback=http://h/\n[log]\nlevel=info\n", "a.ini:3:", "lacks voice_url"},
	    {"[number 100]\nvoice_url=ftp://h/\n", "a.ini:2:", "http or https"},
	    {"[number 100]\nvoice_url=http://h/\nvoice_methud=GET\n", "a.ini:3:", "voice_method"},
	    {"[number 100]\nvoice_url=http://h/\nvoice_method=get\n", "a.ini:3:", "POST or GET"},
	    {"[number 100]\nvoice_url=http://h/\nvoice_url=http://i/\n", "a.ini:3:", "twice"},
	    {"[number 100]\nvoice_url=http://h/\nfiller_after_ms=60001\n", "a.ini:3:", "0 to 60000"},
	    {"[number 100]\nvoice_url=http://h/\nwhat is this\n", "a.ini:3:", "not understood"},
	    {"[number 100]\nvoice_url=http://h/\n  voice_method=GET\n", "a.ini:3:", "white space"},
	    {"[number 2...]\nvoice_url=http://h/\n[number 3]\nvoice_url=http://h/\n[number 2\xe2\x80\xa6]\nvoice_url=http://h/\n",
	     "a.ini:5:", "first in line 1"},
	    {"[number 100]\nvoice_url=http://h/\nmax_calls=3\n", "a.ini:3:", "no such parameter of a number"},
	};
	char text[1400], log[40000];
	struct config c;
	char *many = malloc(200000);
	struct out o = {.p = many, .cap = 200000};

	for (size_t i = 0; i < N_ELEMENTS(t); i++)
		expect_bad(t[i].text, t[i].where, t[i].what);
	snprintf(text, sizeof(text), "[number 1]\nvoice_url=http://h/%01200d\n", 1);
	expect_bad(text, "a.ini:2:", "1199 bytes");
	for (int i = 0; i < 4097; i++)
		out_f(&o, "[number %d]\nvoice_url=http://h/\n", i);
	assert_int_equal(read_config(many, o.n, &c, log, sizeof(log)), -EINVAL);
	assert_non_null(strstr(log, "a.ini:8193: one number too many"));
	config_done(&c);
	assert_int_equal(c.n_numbers, 0);
	o.n = 0;
	for (int i = 0; i < 4096; i++)
		out_f(&o, "[number %d]\nvoice_url=http://h/\n", i);
	assert_int_equal(read_config(many, o.n, &c, log, sizeof(log)), 0);
	config_done(&c);
	o.n = 0;
	for (int i = 0; i < 100; i++) /* the flood of complaints is bounded */
		out_f(&o, "[nothing%d]\n", i);
	assert_int_equal(read_config(many, o.n, &c, log, sizeof(log)), -EINVAL);
	assert_non_null(strstr(log, "a.ini:50:"));
	assert_null(strstr(log, "a.ini:51:"));
	config_done(&c);
	free(many);
}

static void test_differ(void **state)
{
	struct config a, b;
	char names[200];
	struct out o = OUT(names);

	config_init(&a);
	config_init(&b);
	assert_int_equal(config_text(&a, "a", STR("[limits]\nmax_calls=5\n[number 1]\nvoice_url=http://h/")), 0);
	assert_int_equal(config_text(&b, "b", STR("[listen]\nsip=127.0.0.1:0\nsip=[::1]:0\n[limits]\nmax_calls=5\ndrain_s=3\n")), 0);
	config_differ(&a, &b, &o);
	assert_string_equal(out_z(&o), "listen.sip limits.drain_s");
	config_done(&a);
	config_done(&b);
}

/* The text that outlives a worker: two copies in turn; the torn one does not count. */
static void test_held(void **state)
{
	int fd = held_make(STR("[log]\n"));
	struct held *h = held_map(fd);
	struct str s;

	assert_true(fd >= 0);
	assert_non_null(h);
	assert_int_equal(held_read(h, &s), 0);
	assert_true(str_eq(s, STR("[log]\n")));
	held_write(h, STR("two"));
	assert_int_equal(held_read(h, &s), 0);
	assert_true(str_eq(s, STR("two")));
	held_write(h, STR("three"));
	held_write(h, STR("four"));
	assert_int_equal(held_read(h, &s), 0);
	assert_true(str_eq(s, STR("four")));
	((char *)(uintptr_t)s.p)[0] = 'F'; /* died while it was written */
	assert_int_equal(held_read(h, &s), 0);
	assert_true(str_eq(s, STR("three")));
	h->copy[0].gen = h->copy[1].gen = 0;
	assert_int_equal(held_read(h, &s), -ENOENT);
	held_write(h, STR(""));
	assert_int_equal(held_read(h, &s), 0);
	assert_int_equal(s.n, 0);
	munmap(h, sizeof(*h));
	close(fd);
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/cli_config.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/a.ini", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/said", dir);
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_taken),   cmocka_unit_test(test_refused), cmocka_unit_test(test_line_length),
					   cmocka_unit_test(test_nul),     cmocka_unit_test(test_argv),    cmocka_unit_test(test_rank),
					   cmocka_unit_test(test_account), cmocka_unit_test(test_numbers), cmocka_unit_test(test_numbers_refused),
					   cmocka_unit_test(test_differ),  cmocka_unit_test(test_held)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
