/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_life: a keeper with a small worker (this program, called with "worker"), which is killed: its sockets, its memory and its connections are those of the next one,
 * and what arrived while none lived is read by it. Also poison, taken ports, the runner's death, users, and how it all ends.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/keeper_int.h"

/* ======== the worker ======== */
struct memory {
	uint32_t lives;
	uint16_t port; /* of the pair that its one call uses */
};
static struct {
	struct keep *keep;
	struct memory *mem;
	int tell, udp, listen, conn, runner;
	struct flow flow;
	struct keep_pair pair;
	uint16_t fresh_port; /* first of the pairs that came as new */
} wk;

_printf_(1, 2) static void tell(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (send(wk.tell, line, (size_t)n, 0) < 0)
		_exit(9);
}

static unsigned long inode_of(int fd)
{
	struct stat st;
	return fd >= 0 && fstat(fd, &st) == 0 ? (unsigned long)st.st_ino : 0;
}

static void on_pairs(void *arg, uint8_t pool, const struct keep_pair *pairs, int n, bool exhausted)
{
	for (int i = 0; i < n; i++) {
		if (wk.pair.port == 0)
			wk.pair = pairs[i];
		else if (wk.fresh_port == 0)
			wk.fresh_port = pairs[i].port;
	}
	wk.mem->port = wk.pair.port;
	tell("pairs n=%d exhausted=%d port=%u inode=%lu other=%u", n, exhausted, wk.pair.port, inode_of(wk.pair.rtp_fd), wk.fresh_port);
}

static void on_runner(void *arg, int fd)
{
	wk.runner = fd;
	tell("runner");
}

static void on_stop(void *arg, int nth)
{
	tell("stop %d", nth);
	if (nth == 1)
		_exit(0);
}

static void on_conn(void *arg, const struct flow *f, int fd)
{
	wk.flow = *f;
	wk.conn = fd;
}

static void run_script(void)
{
	struct run_request q = {.kind = RUN_CGI, .args = {STR("100")}, .n_args = 1, .env = STR("PATH=/usr/bin:/bin\0"), .fd = -1};
	struct run_answer a = {.state = RUN_FOLDER};
	char text[100] = "";
	int fd = -1;
	rand_bytes(q.token, 16);
	if (run_post(wk.runner, &q) < 0)
		tell("script not posted");
	while (a.state != RUN_DONE && a.state != RUN_REFUSED) {
		struct pollfd p = {.fd = wk.runner, .events = POLLIN};
		if (poll(&p, 1, 5000) <= 0 || run_take(wk.runner, &a, &fd) < 0)
			break;
	}
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : 0;
	text[n > 0 ? n : 0] = '\0';
	tell("script state=%d fault=%d %s%s", a.state, a.fault, a.last_line, text);
}

static void try_taken(const char *port)
{
	struct addr a = {.family = AF_INET, .port = (uint16_t)strtoul(port, NULL, 10), .ip = {127, 0, 0, 1}}, bound;
	char who[100];
	int fd, r = keep_socket(wk.keep, KEEP_UDP, &a, &fd, &bound, who, sizeof(who));
	tell("taken %d %s", r, who);
}

/* More at once than the socket to the keeper holds. */
static void many_connections(void)
{
	struct flow f = {.kind = FLOW_TCP};
	int failed = 0;
	for (f.conn = 1000; f.conn < 2000; f.conn++)
		failed += keep_hold_conn(wk.keep, &f, wk.udp) < 0;
	for (f.conn = 1000; f.conn < 2000; f.conn++)
		failed += keep_drop_conn(wk.keep, &f) < 0;
	tell("connections failed=%d", failed);
}

static void on_order(struct str s)
{
	struct poison_line *l = keep_poison(wk.keep, 0);
	if (keep_is_poison(wk.keep, POISON_DATAGRAM, s.n, 0)) {
		tell("poison");
		return;
	}
	*l = (struct poison_line){.what = s.n, .kind = POISON_DATAGRAM};
	if (str_eq(s, STR("crash")))
		abort();
	if (str_starts(s, STR("taken ")))
		try_taken(s.p + 6);
	else if (str_eq(s, STR("script")))
		run_script();
	else if (str_eq(s, STR("connections")))
		many_connections();
	else if (str_eq(s, STR("who am i")))
		tell("uid=%d nnp=%d", (int)geteuid(), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	else
		tell("got %.*s life=%u", STR_ARG(s), wk.mem->lives);
	memset(l, 0, sizeof(*l));
}

static void read_udp(void)
{
	char buf[200];
	ssize_t n = recv(wk.udp, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	if (n < 0)
		return;
	buf[n] = '\0';
	on_order(str_n(buf, (size_t)n));
}

static void read_tcp(void)
{
	char buf[200];
	if (wk.conn < 0) {
		wk.conn = accept4(wk.listen, NULL, NULL, SOCK_CLOEXEC);
		wk.flow = (struct flow){.kind = FLOW_TCP, .conn = 7};
		if (wk.conn >= 0 && keep_hold_conn(wk.keep, &wk.flow, wk.conn) == 0)
			tell("held");
		return;
	}
	ssize_t n = recv(wk.conn, buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0)
		tell("stream %.*s conn=%u life=%u", (int)n, buf, wk.flow.conn, wk.mem->lives);
}

static int open_all(void)
{
	const struct keep_user user = {.on_pairs = on_pairs, .on_runner = on_runner, .on_stop = on_stop};
	struct addr any = {.family = AF_INET, .ip = {127, 0, 0, 1}}, udp, tcp;
	int fd;
	bool fresh;
	wk.keep = keep_open(3, &user);
	if (!wk.keep || keep_memory(wk.keep, "calls", 4096, &fd, &fresh) < 0)
		return -1;
	wk.mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	wk.mem->lives++;
	if (keep_socket(wk.keep, KEEP_UDP, &any, &wk.udp, &udp, NULL, 0) < 0 || keep_socket(wk.keep, KEEP_LISTEN, &any, &wk.listen, &tcp, NULL, 0) < 0)
		return -1;
	if (keep_pool(wk.keep, 0, &any, 20000, 60000) < 0 || keep_fetch_conns(wk.keep, on_conn, NULL) < 0)
		return -1;
	uint16_t gone = 59998;
	struct keep_pair none;
	if (keep_fetch_pairs(wk.keep, 0, &gone, 1, &none) != -ENOENT || none.rtp_fd != -1)
		return -1;
	if (wk.mem->port && keep_fetch_pairs(wk.keep, 0, &wk.mem->port, 1, &wk.pair) < 0)
		return -1;
	if (keep_ready(wk.keep) < 0)
		return -1;
	tell("ready life=%u fresh=%d pid=%d udp=%u tcp=%u inode=%lu,%lu pair=%u,%lu keeper=%d", wk.mem->lives, fresh, (int)getpid(), udp.port, tcp.port,
	     inode_of(wk.udp), inode_of(wk.listen), wk.pair.port, inode_of(wk.pair.rtp_fd), keep_pid(wk.keep) == getppid());
	return keep_want_pairs(wk.keep, 0, 2);
}

static int worker(const char *how, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct rlimit none = {0, 0};
	(void)setrlimit(RLIMIT_CORE, &none);
	if (strcmp(how, "config") == 0)
		return 78;
	wk.conn = -1;
	wk.runner = 4;
	wk.tell = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(wk.tell, (struct sockaddr *)&a, sizeof(a)) < 0 || open_all() < 0)
		return 9;
	for (;;) {
		struct pollfd p[3] = {{keep_fd(wk.keep), POLLIN, 0}, {wk.udp, POLLIN, 0}, {wk.conn < 0 ? wk.listen : wk.conn, POLLIN, 0}};
		if (poll(p, 3, -1) < 0)
			continue;
		if (p[0].revents)
			keep_read(wk.keep);
		if (p[1].revents)
			read_udp();
		if (p[2].revents)
			read_tcp();
	}
}

/* ======== the tests ======== */
static char folder[64], path[100], heard[512];
static int ear; /* hears what the worker tells */
static pid_t keeper_pid;
static unsigned life, fresh, udp_port, tcp_port, keeper_ok;
static int worker_pid;
static char sockets[64], pair[64];

static void hear(const char *begin)
{
	do {
		struct pollfd p = {.fd = ear, .events = POLLIN};
		assert_int_equal(poll(&p, 1, 20000), 1);
		ssize_t n = recv(ear, heard, sizeof(heard) - 1, 0);
		assert_true(n > 0);
		heard[n] = '\0';
	} while (strncmp(heard, begin, strlen(begin)) != 0);
}

static void hear_ready(void)
{
	hear("ready ");
	assert_int_equal(sscanf(heard, "ready life=%u fresh=%u pid=%d udp=%u tcp=%u inode=%63s pair=%63s keeper=%u", &life, &fresh, &worker_pid, &udp_port,
				&tcp_port, sockets, pair, &keeper_ok),
			 8);
	assert_int_equal(keeper_ok, 1);
}

static void start_keeper(const char *how, const char *user, const char *script_user)
{
	static char me[] = "keeper_life", w[] = "worker", r[] = "runner";
	keeper_pid = fork();
	if (keeper_pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
		char *worker_argv[] = {me, w, (char *)(uintptr_t)how, path, NULL};
		char *runner_argv[] = {me, r, folder, (char *)(uintptr_t)(script_user ? script_user : ""), NULL};
		struct keeper_opts o = {.worker_argv = worker_argv, .runner_argv = runner_argv, .user = user, .script_user = script_user, .log_fd = 2};
		_exit(keeper_run(&o));
	}
}

static int keeper_code(void)
{
	int status;
	assert_int_equal(waitpid(keeper_pid, &status, 0), keeper_pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void to_worker(const char *text)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)udp_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof(to)), strlen(text));
	close(fd);
}

static int setup(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(folder, sizeof(folder), "/tmp/keeper_life.XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0755), 0);
	snprintf(path, sizeof(path), "%s/ear", folder);
	memcpy(a.sun_path, path, sizeof(path));
	ear = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(ear, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(chmod(path, 0777), 0);
	char script[128];
	snprintf(script, sizeof(script), "%s/100", folder);
	FILE *f = fopen(script, "w");
	fputs("#!/bin/sh\necho uid=$(id -u)\n", f);
	fclose(f);
	assert_int_equal(chmod(script, 0755), 0);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];
	close(ear);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", folder);
	return system(cmd);
}

static void kill_worker_while_keeper_sleeps(const char *datagram)
{
	int status;
	assert_int_equal(kill(keeper_pid, SIGSTOP), 0);
	assert_int_equal(waitpid(keeper_pid, &status, WUNTRACED), keeper_pid);
	assert_int_equal(kill(worker_pid, SIGKILL), 0);
	to_worker(datagram); /* nobody lives who could read it */
	assert_int_equal(kill(keeper_pid, SIGCONT), 0);
}

static void outlives_its_worker(void **state)
{
	char sockets_before[64], pair_before[64], rest[16] = "";
	unsigned port, other, other_before;
	unsigned long inode;
	start_keeper("live", NULL, "nobody");
	hear_ready();
	assert_int_equal(life, 1);
	assert_int_equal(fresh, 1);
	hear("pairs n=2 exhausted=0");
	assert_int_equal(sscanf(heard, "pairs n=2 exhausted=0 port=%u inode=%lu other=%u", &port, &inode, &other_before), 3);
	assert_int_equal(port % 2, 0);
	snprintf(pair_before, sizeof(pair_before), "%u,%lu", port, inode);
	snprintf(sockets_before, sizeof(sockets_before), "%s", sockets);

	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)tcp_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(connect(tcp, (struct sockaddr *)&to, sizeof(to)), 0);
	hear("held");
	for (unsigned i = 2; i < 8; i++) {
		int old = worker_pid;
		snprintf(rest, sizeof(rest), "hello %u", i);
		kill_worker_while_keeper_sleeps(rest);
		hear_ready();
		assert_int_equal(life, i);
		assert_int_equal(fresh, 0);
		assert_int_not_equal(worker_pid, old);
		assert_string_equal(sockets, sockets_before);
		assert_string_equal(pair, pair_before);
		char expect[64];
		snprintf(expect, sizeof(expect), "got %s life=%u", rest, i);
		hear("got ");
		assert_string_equal(heard, expect);
		assert_int_equal(send(tcp, "BYE", 3, 0), 3);
		hear("stream BYE conn=7");
	}
	/* the pair that no living call asked for is handed out again */
	kill_worker_while_keeper_sleeps("x");
	hear_ready();
	hear("pairs n=2");
	assert_int_equal(sscanf(strstr(heard, "other="), "other=%u", &other), 1);
	assert_int_equal(other, other_before);
	close(tcp);
	assert_int_equal(kill(keeper_pid, SIGTERM), 0);
	hear("stop 1");
	assert_int_equal(keeper_code(), 0);
	assert_int_equal(kill(worker_pid, 0), -1);
}

static void poison_is_dropped(void **state)
{
	start_keeper("live", NULL, "nobody");
	hear_ready();
	for (int i = 0; i < 2; i++) {
		to_worker("crash");
		hear_ready();
	}
	assert_int_equal(life, 3);
	to_worker("crash");
	hear("poison");
	to_worker("another"); /* what is no poison is handled */
	hear("got another life=3");
	assert_int_equal(kill(keeper_pid, SIGTERM), 0);
	assert_int_equal(keeper_code(), 0);
}

static void names_who_has_the_port(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	char order[64], expect[64], comm[17];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	start_keeper("live", NULL, "nobody"); /* its processes close what they inherit but 0, 1, 2: the keeper, forked, does not */
	hear_ready();
	snprintf(order, sizeof(order), "taken %u", ntohs(a.sin_port));
	to_worker(order);
	hear("taken ");
	assert_int_equal(prctl(PR_GET_NAME, comm), 0);
	snprintf(expect, sizeof(expect), "taken %d %s (pid ", -EADDRINUSE, comm);
	assert_memory_equal(heard, expect, strlen(expect));
	close(fd);
	assert_int_equal(kill(keeper_pid, SIGTERM), 0);
	assert_int_equal(keeper_code(), 0);
}

static void no_connection_is_forgotten(void **state)
{
	start_keeper("live", NULL, "nobody");
	hear_ready();
	to_worker("connections");
	hear("connections ");
	assert_string_equal(heard, "connections failed=0");
	assert_int_equal(kill(keeper_pid, SIGTERM), 0);
	assert_int_equal(keeper_code(), 0);
}

static pid_t find_runner(void)
{
	char cmd[200];
	int pid = 0;
	snprintf(cmd, sizeof(cmd), "grep -lz -e '^run[n]er$' /proc/[0-9]*/cmdline 2>/dev/null | xargs -r grep -lsF %s | cut -d/ -f3", folder);
	FILE *f = popen(cmd, "r");
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	pclose(f);
	return pid;
}

static void the_runner_is_started_again(void **state)
{
	start_keeper("live", NULL, "nobody");
	hear_ready();
	for (int i = 0; i < 3; i++) {
		to_worker("script");
		hear("script ");
		assert_non_null(strstr(heard, "state=0 fault=0 uid="));
		pid_t runner = find_runner();
		assert_true(runner > 0);
		assert_int_equal(kill(runner, SIGKILL), 0);
		hear("runner");
	}
	to_worker("script");
	hear("script state=0 fault=0");
	kill_worker_while_keeper_sleeps("script"); /* and a new worker has a link as well */
	hear_ready();
	hear("script state=0 fault=0");
	assert_int_equal(kill(keeper_pid, SIGTERM), 0);
	assert_int_equal(keeper_code(), 0);
	assert_int_equal(find_runner(), 0);
}

static void everyone_has_his_user(void **state)
{
	if (geteuid() != 0)
		skip();
	start_keeper("live", "daemon", "nobody");
	hear_ready();
	for (int i = 0; i < 2; i++) { /* also when the keeper is not root any more */
		char line[64], text[4096];
		to_worker("who am i");
		hear("uid=1 nnp=1");
		to_worker("script");
		hear("script ");
		assert_non_null(strstr(heard, "state=0 fault=0 uid=65534"));
		snprintf(line, sizeof(line), "/proc/%d/status", (int)keeper_pid);
		FILE *f = fopen(line, "r");
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
		assert_non_null(strstr(text, "Uid:\t1\t1\t1\t1"));
		snprintf(line, sizeof(line), "/proc/%d/status", worker_pid);
		f = fopen(line, "r");
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
		assert_non_null(strstr(text, "CapPrm:\t0000000000000000"));
		assert_non_null(strstr(text, "Groups:\t \n"));
		assert_int_equal(kill(find_runner(), SIGKILL), 0);
		hear("runner");
		kill_worker_while_keeper_sleeps("x");
		hear_ready();
	}
	assert_int_equal(kill(keeper_pid, SIGTERM), 0);
	assert_int_equal(keeper_code(), 0);
}

static void root_runs_no_scripts(void **state)
{
	if (geteuid() != 0)
		skip();
	start_keeper("live", NULL, NULL);
	hear_ready();
	to_worker("script");
	hear("script ");
	assert_non_null(strstr(heard, "state=3 fault=11 scripts are not run as root"));
	assert_int_equal(kill(keeper_pid, SIGTERM), 0);
	assert_int_equal(keeper_code(), 0);
}

static void ends(void **state)
{
	start_keeper("config", NULL, "nobody");
	assert_int_equal(keeper_code(), 78);
	start_keeper("live", "no-such-user", NULL);
	if (geteuid() == 0) {
		assert_int_equal(keeper_code(), 78);
		start_keeper("live", NULL, "nobody");
	}
	hear_ready();
	assert_int_equal(kill(keeper_pid, SIGKILL), 0); /* its own death ends the worker */
	assert_int_not_equal(waitpid(keeper_pid, NULL, 0), -1);
	for (int i = 0; i < 500 && (kill(worker_pid, 0) == 0 || find_runner() != 0); i++)
		poll(NULL, 0, 10);
	assert_int_equal(kill(worker_pid, 0), -1);
	assert_int_equal(find_runner(), 0);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "worker") == 0)
		return worker(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "runner") == 0) {
		struct params p;
		params_init(&p);
		snprintf(p.services, sizeof(p.services), "%s", argv[2]);
		return runner_main(3, &p, argv[3]);
	}
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(outlives_its_worker),         cmocka_unit_test(poison_is_dropped),
	    cmocka_unit_test(names_who_has_the_port),      cmocka_unit_test(no_connection_is_forgotten),
	    cmocka_unit_test(the_runner_is_started_again), cmocka_unit_test(everyone_has_his_user),
	    cmocka_unit_test(root_runs_no_scripts),        cmocka_unit_test(ends),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
