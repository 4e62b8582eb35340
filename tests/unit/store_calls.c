/* SPDX-License-Identifier: Apache-2.0
 *
 * store: rows come out as they went in, once, in order, acknowledged only when they are on the disk; what was acknowledged survives kill -9; a full disk loses nothing and
 * kills nobody; files of another program or of a later version are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"
#include "store/inside.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAG     0x5341434bu
#define WAIT_MS 20000

struct place {
	char dir[64], db[96];
	struct mailbox *up;
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct out o = OUT(p->dir);
	out_f(&o, "/tmp/hookswitch-store-XXXXXX");
	out_z(&o);
	assert_non_null(mkdtemp(p->dir));
	o = OUT(p->db);
	out_f(&o, "%s/hookswitch.db", p->dir);
	out_z(&o);
	p->up = mailbox_new(1 << 20);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	DIR *d = opendir(p->dir);
	struct dirent *e;
	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(p->dir);
	mailbox_free(p->up);
	free(p);
	return 0;
}

static struct store *open_store(struct place *p)
{
	struct store *s = NULL;
	char why[200] = "";
	int err = store_open(p->db, p->up, TAG, &s, why, sizeof(why));
	if (err)
		print_error("store_open: %d %s\n", err, why);
	assert_int_equal(err, 0);
	return s;
}

static struct store_call row(uint32_t number, bool end)
{
	struct store_call r = {.end = end, .dir = 0, .created_ms = 1700000000000 + number, .account = {0xac}};
	struct out from = OUT(r.from), to = OUT(r.to), st = OUT(r.call_status);
	memcpy(r.sid, &number, sizeof(number));
	out_f(&from, "sip:caller%u@127.0.0.1", number);
	out_f(&to, "sip:100@127.0.0.1");
	out_f(&st, "%s", end ? "completed" : "ringing");
	if (end) {
		r.answered_ms = r.created_ms + 100;
		r.ended_ms = r.created_ms + 2600;
		r.duration_ms = 2500;
		r.hangup_by = 1;
		r.status = 200;
		r.cause = 16;
	}
	return r;
}

static void put(struct store *s, uint32_t number, bool end)
{
	struct store_call r = row(number, end);
	assert_int_equal(store_call_put(s, &r), 0);
}

/* The next acknowledgement; waits for it. false: none within the time. */
static bool next_ack(struct place *p, int wait_ms, uint32_t *ret_number, bool *ret_end)
{
	struct store_ack a;
	struct pollfd pf = {.fd = mailbox_fd(p->up), .events = POLLIN};
	if (poll(&pf, 1, wait_ms) <= 0)
		return false;
	assert_int_equal(mailbox_take(p->up, &a, sizeof(a), NULL), sizeof(a));
	assert_int_equal(a.tag, TAG);
	memcpy(ret_number, a.sid, sizeof(*ret_number));
	*ret_end = a.end;
	return true;
}

static void expect_ack(struct place *p, uint32_t number, bool end)
{
	uint32_t got;
	bool got_end;
	assert_true(next_ack(p, WAIT_MS, &got, &got_end));
	assert_int_equal(got, number);
	assert_int_equal(got_end, end);
}

/* Asks the file by a connection of its own: what others see is what counts. */
static void ask(const char *db, const char *sql, char *ret, size_t cap)
{
	sqlite3 *c = NULL;
	sqlite3_stmt *s = NULL;
	struct out o = {.p = ret, .cap = cap};
	assert_int_equal(sqlite3_open_v2(db, &c, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(c, WAIT_MS);
	assert_int_equal(sqlite3_prepare_v2(c, sql, -1, &s, NULL), SQLITE_OK);
	while (sqlite3_step(s) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(s); i++) {
			const char *t = (const char *)sqlite3_column_text(s, i);
			out_f(&o, "%s%s", i ? "|" : "", t ? t : "NULL");
		}
		out_c(&o, '\n');
	}
	out_z(&o);
	sqlite3_finalize(s);
	sqlite3_close(c);
}

static int count_rows(const char *db)
{
	char n[32];
	uint64_t v = 0;
	ask(db, "SELECT count(*) FROM calls", n, sizeof(n));
	assert_int_equal(str_u64(str_trim(str_z(n)), INT32_MAX, &v), 0);
	return (int)v;
}

static void test_row(void **state)
{
	struct place *p = *state;
	char got[600];
	struct stat st;
	struct store *s = open_store(p);
	put(s, 7, false);
	expect_ack(p, 7, false);
	ask(p->db, "SELECT sid, account_sid, \"from\", \"to\", status, direction, start_time, end_time, duration, hangup_by FROM calls", got, sizeof(got));
	assert_string_equal(got,
			    "CA07000000000000000000000000000000|ACac000000000000000000000000000000|sip:caller7@127.0.0.1|sip:100@127.0.0.1|ringing|inbound|"
			    "1700000000007|NULL|NULL|NULL\n");
	put(s, 7, true);
	expect_ack(p, 7, true);
	store_close(s);
	ask(p->db,
	    "SELECT status, date_created, date_updated, start_time, answer_time, end_time, duration, duration_ms, hangup_by, sip_status, cause, "
	    "parent_call_sid FROM calls",
	    got, sizeof(got));
	assert_string_equal(got, "completed|1700000000007|1700000002607|1700000000007|1700000000107|1700000002607|3|2500|caller|200|16|NULL\n");
	ask(p->db, "PRAGMA journal_mode", got, sizeof(got));
	assert_string_equal(got, "wal\n");
	assert_int_equal(stat(p->db, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* Both rows of a call may come again after a restart, and in any order. */
static void test_again(void **state)
{
	struct place *p = *state;
	char got[200];
	struct store *s = open_store(p);
	struct store_call other = row(1, true);
	put(s, 1, true);
	put(s, 1, false);
	put(s, 1, true);
	other.ended_ms += 5000;
	other.hangup_by = 3;
	assert_int_equal(store_call_put(s, &other), 0);
	put(s, 1, false);
	expect_ack(p, 1, true);
	expect_ack(p, 1, false);
	expect_ack(p, 1, true);
	expect_ack(p, 1, true);
	expect_ack(p, 1, false);
	store_close(s);
	ask(p->db, "SELECT status, end_time, hangup_by FROM calls", got, sizeof(got));
	assert_string_equal(got, "completed|1700000002601|caller\n");
}

/* More than a group: order holds, and each is on the disk when it is acknowledged. */
static void test_order(void **state)
{
	struct place *p = *state;
	struct store *s = open_store(p);
	size_t room = store_room(s);
	assert_true(room > 1000);
	for (uint32_t i = 0; i < 1000; i++)
		put(s, i, i & 1);
	for (uint32_t i = 0; i < 1000; i++) {
		expect_ack(p, i, i & 1);
		if (i % 250 == 0)
			assert_true(count_rows(p->db) > (int)i);
	}
	assert_int_equal(store_room(s), room);
	store_close(s);
	assert_int_equal(count_rows(p->db), 1000);
}

static void test_close_writes(void **state)
{
	struct place *p = *state;
	struct store *s = open_store(p);
	for (uint32_t i = 0; i < 600; i++)
		put(s, i, false);
	store_close(s);
	assert_int_equal(count_rows(p->db), 600);
	s = open_store(p); /* and opens again, with its version */
	put(s, 0, true);
	for (uint32_t i = 0; i < 600; i++)
		expect_ack(p, i, false);
	expect_ack(p, 0, true);
	store_close(s);
	assert_int_equal(count_rows(p->db), 600);
}

/* The child tells each acknowledgement by pipe and is killed in the middle: what it told must be there. */
static void test_killed(void **state)
{
	struct place *p = *state;
	int pipes[2], status;
	uint32_t told = 0, n;
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s = NULL;
		char why[100];
		bool end;
		if (store_open(p->db, p->up, TAG, &s, why, sizeof(why)))
			_exit(1);
		for (uint32_t i = 0;; i++) {
			while (store_room(s) < 7000)
				if (next_ack(p, 1000, &n, &end) && write(pipes[1], &n, sizeof(n)) != sizeof(n))
					_exit(1);
			put(s, i, false);
		}
	}
	close(pipes[1]);
	while (told < 700 && read(pipes[0], &n, sizeof(n)) == sizeof(n))
		assert_int_equal(n, told++);
	kill(pid, SIGKILL);
	while (read(pipes[0], &n, sizeof(n)) == sizeof(n))
		assert_int_equal(n, told++);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(pipes[0]);
	assert_true(told >= 700);
	struct store *s = open_store(p);
	assert_true(count_rows(p->db) >= (int)told);
	store_close(s);
}

/* A limit on the size of files stands for a full disk: nothing is acknowledged, nothing lost, nobody dies; when there is room again, all is written in order. */
static void test_full(void **state)
{
	struct place *p = *state;
	struct rlimit old, tight;
	uint32_t n;
	bool end;
	struct store *s = open_store(p);
	put(s, 0, false);
	expect_ack(p, 0, false);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	tight = old;
	tight.rlim_cur = 16384;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	for (uint32_t i = 1; i <= 300; i++)
		put(s, i, false);
	bool got = next_ack(p, 1500, &n, &end);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_false(got);
	for (uint32_t i = 1; i <= 300; i++)
		expect_ack(p, i, false);
	store_close(s);
	assert_int_equal(count_rows(p->db), 301);
}

/* Another writer holds the lock: kept and tried again. */
static void test_locked(void **state)
{
	struct place *p = *state;
	sqlite3 *c = NULL;
	uint32_t n;
	bool end;
	struct store *s = open_store(p);
	assert_int_equal(sqlite3_open(p->db, &c), SQLITE_OK);
	assert_int_equal(sqlite3_exec(c, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	put(s, 1, false);
	assert_false(next_ack(p, 1400, &n, &end));
	assert_int_equal(sqlite3_exec(c, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	expect_ack(p, 1, false);
	sqlite3_close(c);
	store_close(s);
}

/* The box is bounded: one past it is refused, and what was taken is written. */
static void test_box_full(void **state)
{
	struct place *p = *state;
	sqlite3 *c = NULL;
	struct store *s = open_store(p);
	uint32_t taken = 0;
	struct store_call r;
	assert_int_equal(sqlite3_open(p->db, &c), SQLITE_OK);
	assert_int_equal(sqlite3_exec(c, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	for (r = row(0, false); store_call_put(s, &r) == 0; r = row(++taken, false))
		assert_true(taken < 100000);
	assert_int_equal(store_room(s), 0);
	assert_int_equal(store_call_put(s, &r), -EAGAIN);
	assert_int_equal(sqlite3_exec(c, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(c);
	for (uint32_t i = 0; i < taken; i++)
		expect_ack(p, i, false);
	store_close(s);
	assert_int_equal(count_rows(p->db), (int)taken);
}

/* Nobody reads the acknowledgements for a while: they wait, none is lost, and closing does not hang. */
static void test_up_full(void **state)
{
	struct place *p = *state;
	mailbox_free(p->up);
	p->up = mailbox_new(4 * (sizeof(struct store_ack) + MAILBOX_HEAD));
	struct store *s = open_store(p);
	for (uint32_t i = 0; i < 50; i++)
		put(s, i, false);
	for (uint32_t i = 0; i < 50; i++)
		expect_ack(p, i, false);
	for (uint32_t i = 50; i < 100; i++)
		put(s, i, false);
	store_close(s);
	assert_int_equal(count_rows(p->db), 100);
}

static void refused(struct place *p, const char *part)
{
	struct store *s = NULL;
	char why[200] = "";
	assert_int_equal(store_open(p->db, p->up, TAG, &s, why, sizeof(why)), -EIO);
	assert_null(s);
	if (!strstr(why, part))
		print_error("why: %s\n", why);
	assert_non_null(strstr(why, part));
}

static void test_refused(void **state)
{
	struct place *p = *state;
	char got[32];
	struct store *s = open_store(p);
	store_close(s);
	ask(p->db, "PRAGMA user_version", got, sizeof(got));
	assert_string_equal(got, "2\n");
	ask(p->db, "PRAGMA user_version = 99", got, sizeof(got));
	refused(p, "newer than this program");
	int fd = open(p->db, O_WRONLY | O_TRUNC);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(write(fd, "not a database\n", 15), 15);
	close(fd);
	refused(p, "not a database");
	unlink(p->db);
	assert_int_equal(mkdir(p->db, 0700), 0);
	refused(p, "directory");
	rmdir(p->db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_row),  TEST(test_again),  TEST(test_order),    TEST(test_close_writes), TEST(test_killed),
	    TEST(test_full), TEST(test_locked), TEST(test_box_full), TEST(test_up_full),      TEST(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
