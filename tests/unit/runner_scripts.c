/* SPDX-License-Identifier: Apache-2.0
 *
 * runner_scripts: the runner as a process of its own, with scripts made on the spot: what they answer, what they may not, what is left of them, and answers that outlive
 * the worker's link.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/keeper_int.h"

static char dir[64], marks[64]; /* the services folder, and a folder that scripts may write to */
static pid_t runner;
static int keeper_end, link_end;
static struct params params;

/* ---- the other ends ---- */
static void new_link(void)
{
	int pair[2];
	struct keep_msg m = {.type = KEEP_LINK};
	assert_int_equal(link_pair(pair), 0);
	assert_int_equal(link_send(keeper_end, &m, sizeof(m), &pair[1], 1, true), 0);
	close(pair[1]);
	link_end = pair[0];
}

static void start_runner(void)
{
	int pair[2];
	assert_int_equal(link_pair(pair), 0);
	runner = fork();
	if (runner == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that fails leaves nothing behind */
		close(pair[0]);
		_exit(runner_main(pair[1], &params, geteuid() == 0 ? "nobody" : NULL));
	}
	close(pair[1]);
	keeper_end = pair[0];
	new_link();
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[128], temp[128];
	snprintf(temp, sizeof(temp), "%s/.new", dir);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(temp, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(temp, mode), 0);
	assert_int_equal(rename(temp, path), 0);
}

static int setup(void **state)
{
	params_init(&params);
	snprintf(dir, sizeof(dir), "/tmp/runner_scripts.XXXXXX");
	snprintf(marks, sizeof(marks), "/tmp/runner_marks.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_non_null(mkdtemp(marks));
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(chmod(marks, 0777), 0);
	snprintf(params.services, sizeof(params.services), "%s", dir);
	params.cgi_procs = 20;
	params.cgi_cpu_s = 1;
	start_runner();
	return 0;
}

static int teardown(void **state)
{
	char cmd[200];
	int status;
	close(link_end);
	close(keeper_end);
	assert_int_equal(waitpid(runner, &status, 0), runner);
	assert_int_equal(status, 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s %s", dir, marks);
	return system(cmd);
}

static struct run_answer answer;
static char bytes[1 << 20];
static size_t n_bytes;

/* Next answer of this state or kind; others (the folder, when it changes) are passed over. */
static bool next_answer(enum run_state state, int ms)
{
	int64_t until = clock_boot_ms() + ms;
	for (;;) {
		int fd, r = run_take(link_end, &answer, &fd);
		assert_true(r >= 0);
		if (r == 1) {
			ssize_t n = fd >= 0 ? pread(fd, bytes, sizeof(bytes) - 1, 0) : 0;
			n_bytes = n > 0 ? (size_t)n : 0;
			bytes[n_bytes] = '\0';
			if (fd >= 0)
				close(fd);
			if (answer.state == state)
				return true;
			continue;
		}
		int64_t left = until - clock_boot_ms();
		struct pollfd p = {.fd = link_end, .events = POLLIN};
		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return false;
	}
}

static void post(struct run_request *q)
{
	q->fd = -1;
	assert_int_equal(run_post(link_end, q), 0);
}

static struct run_request request(enum run_kind kind, const char *name)
{
	struct run_request q = {.kind = kind, .args = {str_z(name)}, .n_args = 1, .env = STR("PATH=/usr/bin:/bin\0CALL_FROM=Anna\0")};
	rand_bytes(q.token, sizeof(q.token));
	return q;
}

static void simple(enum run_kind kind, struct run_request *q)
{
	q->kind = kind;
	post(q);
}

static void run(const char *name, uint32_t wall_ms)
{
	struct run_request q = request(RUN_CGI, name);
	q.wall_ms = wall_ms;
	q.in = STR("Digits=5");
	post(&q);
	assert_true(next_answer(RUN_DONE, 10000));
	assert_memory_equal(answer.token, q.token, 16);
	assert_int_equal(answer.kind, RUN_CGI);
	simple(RUN_TAKEN, &q);
}

/* ---- what scripts answer ---- */
static void echo(void **state)
{
	write_file("100", "#!/bin/sh\nread x\necho \"$CALL_FROM $x $HOME $0 $#\"\nid -u\n", 0755);
	run("100", 0);
	assert_int_equal(answer.fault, RUN_OK);
	assert_non_null(strstr(bytes, "Anna Digits=5  ./100 0\n"));
	assert_int_equal(answer.n, n_bytes);
	assert_null(strstr(bytes, "\n0\n")); /* never root */
	assert_string_equal(answer.last_line, "");
}

static void exit_code_and_stderr(void **state)
{
	write_file("101", "#!/bin/sh\necho first >&2\nprintf 'no \\033[1mluck\\n' >&2\necho half\nexit 3\n", 0755);
	run("101", 0);
	assert_int_equal(answer.fault, RUN_EXIT);
	assert_int_equal(answer.code, 3);
	assert_string_equal(answer.last_line, "no \\x1b[1mluck");
	assert_string_equal(bytes, "half\n");
}

static void signal_death(void **state)
{
	write_file("102", "#!/bin/sh\nkill -SEGV $$\n", 0755);
	run("102", 0);
	assert_int_equal(answer.fault, RUN_SIGNAL);
	assert_int_equal(answer.code, SIGSEGV);
}

static void wall_clock(void **state)
{
	write_file("103", "#!/bin/sh\necho begun\ntrap '' TERM INT HUP\nsleep 100 &\nwait\nsleep 100\n", 0755);
	run("103", 300);
	assert_int_equal(answer.fault, RUN_WALL);
	assert_string_equal(bytes, "begun\n");
	assert_in_range(answer.wall_ms, 300, 2000);
}

static void processor_time(void **state)
{
	write_file("104", "#!/bin/sh\nwhile :; do :; done\n", 0755);
	run("104", 8000);
	assert_int_equal(answer.fault, RUN_CPU);
}

static void binary_output(void **state)
{
	write_file("105", "#!/bin/sh\nhead -c 300000 /dev/zero\nprintf '\\377\\000\\001'\n", 0755);
	run("105", 0);
	assert_int_equal(answer.fault, RUN_OK);
	assert_int_equal(answer.n, 300003);
	assert_memory_equal(bytes + 300000, "\377\0\1", 3);
}

static void too_much_output(void **state)
{
	write_file("106", "#!/bin/sh\ntrap '' PIPE\ncat /dev/zero\n", 0755);
	run("106", 0);
	assert_int_equal(answer.fault, RUN_OUTPUT);
	assert_true(answer.n <= limit_of(LIMIT_CGI_OUTPUT));
}

static void much_stderr(void **state)
{
	write_file("107", "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x >&2\necho >&2\necho end >&2\n", 0755);
	run("107", 0);
	assert_int_equal(answer.fault, RUN_OK);
	assert_string_equal(answer.last_line, "end");
}

static void ignores_stdin(void **state)
{
	static char form[60000];
	memset(form, 'a', sizeof(form));
	write_file("108", "#!/bin/sh\nexec <&-\necho fine\n", 0755);
	struct run_request q = request(RUN_CGI, "108");
	q.in = str_n(form, sizeof(form));
	post(&q);
	assert_true(next_answer(RUN_DONE, 5000));
	assert_string_equal(bytes, "fine\n");
	write_file("108", "#!/bin/sh\nwc -c\n", 0755); /* and all of it arrives where it is read */
	rand_bytes(q.token, sizeof(q.token));
	post(&q);
	assert_true(next_answer(RUN_DONE, 5000));
	assert_string_equal(bytes, "60000\n");
}

/* ---- what cannot be run ---- */
static void not_there(void **state)
{
	run("404", 0);
	assert_int_equal(answer.fault, RUN_NOT_FOUND);
	assert_non_null(strstr(answer.last_line, "/404"));
}

static void not_executable(void **state)
{
	write_file("110", "#!/bin/sh\n", 0644);
	run("110", 0);
	assert_int_equal(answer.fault, RUN_NOT_EXECUTABLE);
	assert_non_null(strstr(answer.last_line, "chmod +x"));
}

static void carriage_returns(void **state)
{
	write_file("111", "#!/bin/sh\r\necho hello\r\n", 0755);
	run("111", 0);
	assert_int_equal(answer.fault, RUN_BAD_INTERPRETER);
	assert_string_equal(answer.last_line, "interpreter of ./111 not found: '/bin/sh\\r' - the file has CRLF line ends");
	write_file("111", "#!/usr/bin/env sh\r\necho hello\r\n", 0755);
	run("111", 0);
	assert_int_equal(answer.fault, RUN_BAD_INTERPRETER);
	assert_non_null(strstr(answer.last_line, "CRLF"));
}

static void no_interpreter(void **state)
{
	write_file("112", "#!/no/such/python\n", 0755);
	run("112", 0);
	assert_int_equal(answer.fault, RUN_BAD_INTERPRETER);
	assert_string_equal(answer.last_line, "interpreter of ./112 not found: '/no/such/python'");
	write_file("112", "echo hello\n", 0755);
	run("112", 0);
	assert_int_equal(answer.fault, RUN_BAD_INTERPRETER);
	assert_non_null(strstr(answer.last_line, "#!"));
}

static void never_outside(void **state)
{
	static const char *const names[] = {"../bin/sh", "/bin/sh", ".hidden", "", "100.xml", "a b", "..", "123456789012345678901234567890123"};
	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		struct run_request q = request(RUN_CGI, names[i]);
		post(&q);
		assert_true(next_answer(RUN_REFUSED, 5000));
		assert_int_equal(answer.fault, RUN_NOT_FOUND);
	}
	char path[128];
	snprintf(path, sizeof(path), "%s/113", dir);
	assert_int_equal(symlink("/bin/true", path), 0);
	run("113", 0);
	assert_int_equal(answer.fault, RUN_NOT_FOUND);
	assert_non_null(strstr(answer.last_line, "leaves"));
	static const char *const paths[] = {"../../etc/passwd", "/etc/passwd", "113"};
	for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
		struct run_request q = request(RUN_READ, paths[i]);
		post(&q);
		assert_true(next_answer(RUN_DONE, 5000));
		assert_int_equal(answer.fault, RUN_NOT_FOUND);
		assert_int_equal(n_bytes, 0);
	}
}

static void reads_files(void **state)
{
	write_file("114.txt", "Good morning.\n", 0644);
	struct run_request q = request(RUN_READ, "114.txt");
	post(&q);
	assert_true(next_answer(RUN_DONE, 5000));
	assert_int_equal(answer.fault, RUN_OK);
	assert_string_equal(bytes, "Good morning.\n");
}

/* ---- what is left of them ---- */
static long n_marked(const char *mark) /* processes with that in their command line; a pattern that does not match itself */
{
	char cmd[200];
	long n = -1;
	snprintf(cmd, sizeof(cmd), "grep -lsz -e %s /proc/[0-9]*/cmdline 2>/dev/null | wc -l", mark);
	FILE *f = popen(cmd, "r");
	assert_non_null(f);
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	pclose(f);
	return n;
}

static void leaves_children(void **state)
{
	char text[600];
	snprintf(text, sizeof(text),
		 "#!/bin/sh\nsleep 7770001 &\nsetsid sleep 7770001 &\n(setsid setsid sh -c 'setsid sleep 7770001 & echo > %s/up; wait' &)\n"
		 "while [ ! -e %s/up ]; do sleep 0.01; done\necho done\n",
		 marks, marks);
	write_file("120", text, 0755);
	run("120", 0);
	assert_int_equal(answer.fault, RUN_OK);
	assert_string_equal(bytes, "done\n");
	assert_int_equal(n_marked("777000[1]"), 0);
}

static void fork_bomb(void **state)
{
	write_file("121", "#!/bin/sh\nf() { f 7770002 | f 7770002 & }\nf\nsleep 5\n", 0755);
	run("121", 1000);
	assert_true(answer.fault != RUN_OK);
	write_file("122", "#!/bin/sh\necho alive\n", 0755);
	run("122", 0); /* nothing of it is left in the way */
	assert_int_equal(answer.fault, RUN_OK);
	assert_string_equal(bytes, "alive\n");
}

static void killed_when_nobody_waits(void **state)
{
	char text[300], path[128];
	snprintf(text, sizeof(text), "#!/bin/sh\necho > %s/begun\nsleep 7770003\n", marks);
	snprintf(path, sizeof(path), "%s/begun", marks);
	write_file("123", text, 0755);
	struct run_request q = request(RUN_CGI, "123"), other = request(RUN_CGI, "122");
	post(&q);
	while (access(path, F_OK) < 0)
		poll(NULL, 0, 5);
	simple(RUN_KILL, &q);
	post(&other);
	assert_true(next_answer(RUN_DONE, 5000));
	assert_memory_equal(answer.token, other.token, 16);
	simple(RUN_ASK, &q);
	while (!next_answer(RUN_UNKNOWN, 20)) /* as soon as it is really gone */
		simple(RUN_ASK, &q);
	assert_int_equal(n_marked("777000[3]"), 0);
}

/* ---- tokens ---- */
static void never_twice(void **state)
{
	char text[300], path[128];
	snprintf(text, sizeof(text), "#!/bin/sh\necho x >> %s/count\nsleep 0.3\necho one\n", marks);
	write_file("130", text, 0755);
	struct run_request q = request(RUN_CGI, "130");
	post(&q);
	post(&q);
	assert_true(next_answer(RUN_RUNNING, 5000));
	assert_true(next_answer(RUN_DONE, 5000));
	q.kind = RUN_CGI;
	post(&q); /* still kept: the answer comes again */
	assert_true(next_answer(RUN_DONE, 5000));
	assert_string_equal(bytes, "one\n");
	simple(RUN_TAKEN, &q);
	simple(RUN_ASK, &q);
	assert_true(next_answer(RUN_UNKNOWN, 5000));
	snprintf(path, sizeof(path), "%s/count", marks);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 2);
}

static void outlives_the_worker(void **state)
{
	char text[300], path[128];
	snprintf(path, sizeof(path), "%s/go", marks);
	snprintf(text, sizeof(text), "#!/bin/sh\nwhile [ ! -e %s ]; do sleep 0.01; done\necho late\n", path);
	write_file("131", text, 0755);
	struct run_request q = request(RUN_CGI, "131"), other = request(RUN_CGI, "122");
	post(&q);
	close(link_end); /* the worker dies */
	new_link();
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
	post(&other);
	assert_true(next_answer(RUN_DONE, 5000));
	assert_memory_equal(answer.token, other.token, 16); /* the old one is not told unasked */
	for (;;) {
		simple(RUN_ASK, &q);
		if (next_answer(RUN_DONE, 100) && memcmp(answer.token, q.token, 16) == 0)
			break;
	}
	assert_int_equal(answer.fault, RUN_OK);
	assert_string_equal(bytes, "late\n");
}

static void many_at_once(void **state)
{
	enum { N = 60 };
	static struct run_request q[N];
	write_file("132", "#!/bin/sh\nread x\necho $x\n", 0755);
	for (int i = 0; i < N; i++) {
		q[i] = request(RUN_CGI, "132");
		q[i].in = str_z(i % 2 ? "odd" : "even");
		while (q[i].fd = -1, run_post(link_end, &q[i]) == -EAGAIN)
			poll(NULL, 0, 1);
	}
	for (int i = 0; i < N; i++) {
		assert_true(next_answer(RUN_DONE, 30000));
		int at = 0;
		while (at < N && memcmp(q[at].token, answer.token, 16) != 0)
			at++;
		assert_true(at < N);
		assert_string_equal(bytes, at % 2 ? "odd\n" : "even\n");
		simple(RUN_TAKEN, &q[at]);
	}
}

/* ---- the folder ---- */
static void the_folder(void **state)
{
	char path[128], outside[128];
	close(link_end);
	new_link();
	assert_true(next_answer(RUN_FOLDER, 5000));
	assert_non_null(strstr(bytes, "100\tcgi\n"));
	assert_non_null(strstr(bytes, "110\tnot-executable\n"));
	assert_non_null(strstr(bytes, "113\tlink-out\n"));
	assert_non_null(strstr(bytes, "114.txt\ttxt\n"));
	snprintf(path, sizeof(path), "%s/200.xml", dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "<Resp", 5), 5);
	write_file("201", "#!/bin/sh\n", 0755);
	do
		assert_true(next_answer(RUN_FOLDER, 5000));
	while (!strstr(bytes, "201\tcgi\n"));
	assert_null(strstr(bytes, "200.xml")); /* half written */
	int64_t from = clock_boot_ms();
	assert_int_equal(close(fd), 0);
	assert_true(next_answer(RUN_FOLDER, 5000));
	assert_in_range(clock_boot_ms() - from, 0, 1000);
	assert_non_null(strstr(bytes, "200.xml\txml\n"));
	write_file("a b.xml", "", 0644);
	do
		assert_true(next_answer(RUN_FOLDER, 5000));
	while (!strstr(bytes, "a b.xml\tbad-name\n"));
	assert_int_equal(unlink(path), 0);
	do
		assert_true(next_answer(RUN_FOLDER, 5000));
	while (strstr(bytes, "200.xml"));
	char url[1010] = "http://a/";
	memset(url + 9, 'x', 1001 - 9);
	write_file("301.url", "http://a/301#ct=100\r\nmore\n", 0644);
	write_file("302.url", "two words\n", 0644);
	write_file("303.url", url, 0644); /* 1001 bytes */
	url[1000] = 0;
	write_file("304.url", url, 0644);
	do
		assert_true(next_answer(RUN_FOLDER, 5000));
	while (!strstr(bytes, "304.url\turl\thttp"));
	assert_non_null(strstr(bytes, "301.url\turl\thttp://a/301#ct=100\n"));
	assert_non_null(strstr(bytes, "302.url\turl\t\n"));
	assert_non_null(strstr(bytes, "303.url\turl\t\n"));
	assert_non_null(strstr(bytes, url));
	write_file("301.url", "https://b/", 0644); /* another URL is another listing */
	do
		assert_true(next_answer(RUN_FOLDER, 5000));
	while (!strstr(bytes, "301.url\turl\thttps://b/\n"));
	snprintf(outside, sizeof(outside), "%s.away", dir);
	assert_int_equal(rename(dir, outside), 0); /* the folder goes, and comes back */
	do
		assert_true(next_answer(RUN_FOLDER, 5000));
	while (n_bytes > 0);
	assert_int_equal(rename(outside, dir), 0);
	do
		assert_true(next_answer(RUN_FOLDER, 5000));
	while (!strstr(bytes, "100\tcgi\n"));
}

static void its_own_death_leaves_nothing(void **state)
{
	char text[300], path[128];
	int status;
	snprintf(path, sizeof(path), "%s/up2", marks);
	snprintf(text, sizeof(text), "#!/bin/sh\nsetsid sleep 7770004 &\necho > %s\nsleep 7770004\n", path);
	write_file("140", text, 0755);
	struct run_request q = request(RUN_CGI, "140");
	post(&q);
	while (access(path, F_OK) < 0)
		poll(NULL, 0, 5);
	assert_int_equal(kill(runner, SIGKILL), 0);
	assert_int_equal(waitpid(runner, &status, 0), runner);
	for (int i = 0; i < 500 && n_marked("777000[4]") > 0; i++) /* its warden is told by the kernel */
		poll(NULL, 0, 10);
	assert_int_equal(n_marked("777000[4]"), 0);
	close(link_end);
	close(keeper_end);
	start_runner();
}

/* Whatever the bytes are: an error or a request whose views stay inside. */
static void any_bytes(void **state)
{
	static char buf[4096], copy[4096];
	struct run_request q = request(RUN_CGI, "100"), got;
	int pair[2], fds[2], n_fds, in_fd;
	q.in = STR("Digits=12");
	q.fd = -1;
	assert_int_equal(link_pair(pair), 0);
	assert_int_equal(run_post(pair[0], &q), 0);
	ssize_t n = link_recv(pair[1], buf, sizeof(buf), fds, 2, &n_fds);
	assert_true(n > 0);
	int sound = 0;
	for (int i = 0; i < 20000; i++) {
		memcpy(copy, buf, (size_t)n);
		size_t len = i % 3 == 0 ? rand_u32() % (size_t)n : (size_t)n;
		for (uint32_t k = rand_u32() % 3; k > 0; k--)
			copy[rand_u32() % (size_t)n] = (char)rand_u32();
		char *exact = malloc(len ? len : 1);
		memcpy(exact, copy, len);
		if (run_read(exact, len, fds, 0, &got, &in_fd) == 0) {
			sound++;
			for (int k = 0; k < got.n_args; k++)
				assert_true(got.args[k].n == 0 || (got.args[k].p >= exact && got.args[k].p + got.args[k].n <= exact + len));
			if (in_fd >= 0)
				close(in_fd);
		}
		free(exact);
	}
	assert_in_range(sound, 1000, 19000);
	q.env = str_n(buf, RUN_ENV_MAX + 1);
	assert_int_equal(run_post(pair[0], &q), -EMSGSIZE);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(echo),
	    cmocka_unit_test(exit_code_and_stderr),
	    cmocka_unit_test(signal_death),
	    cmocka_unit_test(wall_clock),
	    cmocka_unit_test(processor_time),
	    cmocka_unit_test(binary_output),
	    cmocka_unit_test(too_much_output),
	    cmocka_unit_test(much_stderr),
	    cmocka_unit_test(ignores_stdin),
	    cmocka_unit_test(not_there),
	    cmocka_unit_test(not_executable),
	    cmocka_unit_test(carriage_returns),
	    cmocka_unit_test(no_interpreter),
	    cmocka_unit_test(never_outside),
	    cmocka_unit_test(reads_files),
	    cmocka_unit_test(leaves_children),
	    cmocka_unit_test(fork_bomb),
	    cmocka_unit_test(killed_when_nobody_waits),
	    cmocka_unit_test(never_twice),
	    cmocka_unit_test(outlives_the_worker),
	    cmocka_unit_test(many_at_once),
	    cmocka_unit_test(the_folder),
	    cmocka_unit_test(its_own_death_leaves_nothing),
	    cmocka_unit_test(any_bytes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
