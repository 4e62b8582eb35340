/* SPDX-License-Identifier: Apache-2.0
 *
 * base_tell: the log with its writer thread, panic, state machines, counters. What goes to stderr is caught in a pipe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/inside.h"

static int saved_stderr, from_log;

static void catch_stderr(void)
{
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(dup2(fd[1], STDERR_FILENO) >= 0);
	close(fd[1]);
	from_log = fd[0];
}

static void release_stderr(void)
{
	assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
	close(saved_stderr);
	close(from_log);
}

/* Reads what has been written by now, or (n_lines) until so many lines have come. */
static size_t read_log(char *buf, size_t cap, int n_lines)
{
	size_t n = 0;

	for (;;) {
		struct pollfd fd = {.fd = from_log, .events = POLLIN};
		ssize_t r;

		if (poll(&fd, 1, n_lines > 0 ? 5000 : 0) <= 0)
			break;
		r = read(from_log, buf + n, cap - 1 - n);
		if (r <= 0)
			break;
		for (ssize_t i = 0; i < r; i++)
			n_lines -= buf[n + (size_t)i] == '\n';
		n += (size_t)r;
	}
	buf[n] = 0;
	return n;
}

/* "HH:MM:SS.mmm " in front */
static void assert_line(const char *line, const char *rest)
{
	static const char shape[] = "00:00:00.000 ";

	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		assert_true(shape[i] == '0' ? line[i] >= '0' && line[i] <= '9' : line[i] == shape[i]);
	assert_string_equal(line + sizeof(shape) - 1, rest);
}

static char big[1 << 20];

static void test_log_direct(void **state)
{
	char buf[4096];

	catch_stderr();
	log_set_level(LOG_INFO);
	log_line(LOG_DEBUG, "not said");
	assert_int_equal(read_log(buf, sizeof(buf), 0), 0);
	log_line(LOG_INFO, "n %d %s", 5, "a\nb\x1b\xff\xc3\xa4");
	read_log(buf, sizeof(buf), 0);
	assert_line(buf, "info n 5 a\\x0ab\\x1b\\xff\xc3\xa4\n");
	base_enter("CA00112233445566778899aabbccddeeff");
	log_line(LOG_ERROR, "x");
	read_log(buf, sizeof(buf), 0);
	assert_line(buf, "error [CA00112233] x\n");
	base_enter(NULL);
	log_set_level(LOG_DEBUG);
	log_line(LOG_DEBUG, "said");
	read_log(buf, sizeof(buf), 0);
	assert_line(buf, "debug said\n");
	log_set_level(LOG_INFO);
	release_stderr();
}

static void test_log_long(void **state)
{
	static char text[5000];
	size_t n;

	catch_stderr();
	memset(text, 'x', sizeof(text) - 1);
	log_line(LOG_INFO, "%s", text);
	n = read_log(big, sizeof(big), 0);
	assert_in_range(n, 1000, 2048);
	assert_string_equal(big + n - 5, " …\n");
	memset(text, 1, sizeof(text) - 1); /* grows by escaping */
	log_line(LOG_INFO, "%s", text);
	n = read_log(big, sizeof(big), 0);
	assert_in_range(n, 2000, 2048);
	assert_string_equal(big + n - 5, " …\n");
	release_stderr();
}

static void test_log_ring(void **state)
{
	char want[64];
	char *line = big;

	catch_stderr();
	assert_int_equal(log_open(LOG_INFO), 0);
	for (int i = 0; i < 500; i++)
		log_line(LOG_INFO, "line %d", i);
	log_close();
	read_log(big, sizeof(big), 0); /* all of it has been written when log_close returns */
	for (int i = 0; i < 500; i++) {
		char *end = strchr(line, '\n');

		assert_non_null(end);
		*end = 0;
		snprintf(want, sizeof(want), "info line %d", i);
		assert_line(line, want);
		line = end + 1;
	}
	assert_int_equal(*line, 0);
	log_line(LOG_INFO, "after"); /* straight again */
	read_log(big, sizeof(big), 0);
	assert_line(big, "info after\n");
	log_close(); /* again: nothing */
	release_stderr();
}

/* Nobody reads: nobody waits, what finds no room is counted, and what has found room comes when somebody reads. */
static void test_log_drops(void **state)
{
	static char all[1 << 20], text[900];
	uint64_t before = log_dropped(), dropped;
	unsigned lines = 0;
	size_t n = 0;
	char *told;

	catch_stderr();
	assert_int_equal(log_open(LOG_INFO), 0);
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 1000; i++)
		log_line(LOG_INFO, "%s", text); /* 0.9 MB: more than ring (256 KiB) and pipe (64 KiB) hold */
	dropped = log_dropped() - before;
	assert_in_range(dropped, 500, 900);
	do
		n += read_log(all + n, sizeof(all) - n, 1);
	while (!(told = strstr(all, "dropped")));
	log_close();
	n += read_log(all + n, sizeof(all) - n, 0);
	for (char *p = all; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 1000 - dropped + 1);
	snprintf(text, sizeof(text), "log: %llu lines dropped", (unsigned long long)dropped);
	assert_non_null(strstr(all, text));
	release_stderr();
}

/* A reader who never comes does not hold the end for ever. */
static void test_log_close_unread(void **state)
{
	static char text[900];
	int64_t begin;

	catch_stderr();
	assert_int_equal(log_open(LOG_INFO), 0);
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 400; i++)
		log_line(LOG_INFO, "%s", text);
	begin = clock_boot_ms();
	log_close();
	assert_true(clock_boot_ms() - begin < 20000);
	release_stderr();
}

static void *say_much(void *arg)
{
	base_enter(arg);
	for (int i = 0; i < 300; i++)
		log_line(LOG_INFO, "%d", i);
	return NULL;
}

static void test_log_threads(void **state)
{
	static const char *const names[] = {"CA00000000", "CA00000001", "CA00000002", "CA00000003"};
	pthread_t thread[4];
	int next[4] = {0};

	catch_stderr();
	assert_int_equal(log_open(LOG_INFO), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, say_much, (void *)names[i]), 0);
	read_log(big, sizeof(big), 1200);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	log_close();
	for (char *p = big, *end; (end = strchr(p, '\n')); p = end + 1) {
		const char *at;
		int who;

		*end = 0;
		at = strstr(p, "[CA0000000");
		assert_non_null(at); /* no line is torn */
		who = at[10] - '0';
		assert_in_range(who, 0, 3);
		assert_int_equal(strtol(at + 12, NULL, 10), next[who]++);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(next[i], 300);
	release_stderr();
}

static void test_log_fork(void **state)
{
	char buf[4096];
	int status;
	pid_t pid;

	catch_stderr();
	assert_int_equal(log_open(LOG_INFO), 0);
	pid = fork();
	if (pid == 0) {
		log_line(LOG_INFO, "child"); /* there is no writer here */
		log_close();
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	read_log(buf, sizeof(buf), 0);
	assert_line(buf, "info child\n");
	log_close();
	release_stderr();
}

static void test_log_levels(void **state)
{
	enum log_level l;

	for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
		assert_int_equal(log_level_parse(str_z(log_level_name((enum log_level)i)), &l), 0);
		assert_int_equal(l, i);
	}
	assert_int_equal(log_level_parse(STR("loud"), &l), -EINVAL);
	assert_int_equal(log_level_parse(STR("INFO"), &l), -EINVAL);
	assert_int_equal(log_level_parse(STR_NONE, &l), -EINVAL);
}

static void hook(void)
{
	if (write(STDERR_FILENO, "hook\n", 5) != 5)
		_exit(1);
	ASSERT(!"again"); /* a hook that fails as well does not run twice */
}

static void test_panic(void **state)
{
	const char *at;
	int status;
	pid_t pid;

	catch_stderr();
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		signal(SIGABRT, SIG_DFL);
		if (log_open(LOG_INFO) < 0)
			_exit(1);
		base_set_panic_hook(hook);
		base_enter("CA1234");
		log_line(LOG_INFO, "last words");
		ASSERT(1 + 1 == 2);
		ASSERT(1 + 1 == 3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	read_log(big, sizeof(big), 0);
	assert_non_null(strstr(big, "base_tell.c:"));
	assert_non_null(strstr(big, "test_panic: 1 + 1 == 3 (call CA1234)\n"));
	assert_non_null(strstr(big, "info [CA1234] last words\n"));
	at = strstr(big, "hook\n");
	assert_non_null(at);
	assert_null(strstr(at + 1, "hook\n"));
	assert_non_null(strstr(at, "again"));
	release_stderr();
}

/* ---- state machines ---- */

enum { OFF, ON, BROKEN, N_STATES };
enum { PRESS, SMASH, N_EVENTS };
struct lamp {
	struct fsm fsm;
	int entered, told_n;
};
static struct {
	int event, from, to;
} told[16];
static int told_n;

static void on_press(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	assert_int_equal(now_ms, 77);
	fsm_go(f, event == SMASH ? BROKEN : f->state == OFF ? ON : OFF, now_ms);
}

static void on_free(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	free(container_of(f, struct lamp, fsm));
}

static void on_enter(struct fsm *f, int64_t now_ms)
{
	container_of(f, struct lamp, fsm)->entered++;
}

static const struct fsm_state lamp_states[] = {
    [OFF] = {.name = "off", .accepts = BIT(PRESS), .goes_to = BIT(ON), .event = on_press},
    [ON] = {.name = "on", .accepts = BIT(PRESS) | BIT(SMASH), .goes_to = BIT(OFF) | BIT(BROKEN), .event = on_press, .enter = on_enter},
    [BROKEN] = {.name = "broken", .accepts = BIT(SMASH), .goes_to = 0, .event = on_free},
};
static const struct fsm_type lamp_type = {"lamp", lamp_states, N_STATES, (const char *const[]){"press", "smash"}, N_EVENTS};

static void fsm_told(const struct fsm *f, int event, int from, int to)
{
	told[told_n].event = event;
	told[told_n].from = from;
	told[told_n++].to = to;
}

static void assert_told(int event, int from, int to)
{
	assert_int_equal(told_n, 1);
	assert_int_equal(told[0].event, event);
	assert_int_equal(told[0].from, from);
	assert_int_equal(told[0].to, to);
	told_n = 0;
}

static void test_fsm(void **state)
{
	struct lamp *lamp = calloc(1, sizeof(*lamp));
	uint64_t refused = count_get(COUNT_FSM_REFUSED);

	assert_non_null(lamp);
	fsm_set_hook(fsm_told);
	fsm_init(&lamp->fsm, &lamp_type, OFF);
	assert_string_equal(fsm_name(&lamp->fsm), "off");
	assert_int_equal(fsm_post(&lamp->fsm, SMASH, NULL, 77), -EPROTO);
	assert_told(SMASH, OFF, -1);
	assert_true(count_get(COUNT_FSM_REFUSED) == refused + 1);
	assert_int_equal(fsm_post(&lamp->fsm, PRESS, NULL, 77), 0);
	assert_told(PRESS, OFF, ON);
	assert_int_equal(lamp->entered, 1);
	fsm_go(&lamp->fsm, OFF, 77); /* an edge without an event */
	assert_told(-1, ON, OFF);
	fsm_go(&lamp->fsm, ON, 77);
	assert_told(-1, OFF, ON);
	assert_int_equal(fsm_post(&lamp->fsm, SMASH, NULL, 77), 0);
	assert_told(SMASH, ON, BROKEN);
	assert_string_equal(fsm_name(&lamp->fsm), "broken");
	assert_int_equal(fsm_post(&lamp->fsm, SMASH, NULL, 77), 0); /* frees it */
	fsm_set_hook(NULL);
}

static void test_fsm_no_edge(void **state)
{
	struct fsm f;
	int status;
	pid_t pid;

	fsm_init(&f, &lamp_type, OFF);
	catch_stderr();
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		signal(SIGABRT, SIG_DFL);
		fsm_go(&f, BROKEN, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	release_stderr();
}

static void *count_much(void *arg)
{
	for (int i = 0; i < 10000; i++)
		count_add(COUNT_RTP_IN, 2);
	return NULL;
}

static void test_count(void **state)
{
	pthread_t thread[4];

	for (int i = 0; i < COUNT_N; i++) {
		assert_true(count_table[i].name[0] && count_table[i].doc[0]);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(count_table[i].name, count_table[k].name);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, count_much, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_true(count_get(COUNT_RTP_IN) == 80000);
	assert_true(count_get(COUNT_RTP_OUT) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_log_direct), cmocka_unit_test(test_log_long),         cmocka_unit_test(test_log_ring),
	    cmocka_unit_test(test_log_drops),  cmocka_unit_test(test_log_close_unread), cmocka_unit_test(test_log_threads),
	    cmocka_unit_test(test_log_fork),   cmocka_unit_test(test_log_levels),       cmocka_unit_test(test_panic),
	    cmocka_unit_test(test_fsm),        cmocka_unit_test(test_fsm_no_edge),      cmocka_unit_test(test_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
