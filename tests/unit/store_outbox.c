/* SPDX-License-Identifier: Apache-2.0
 *
 * store: the outbox: a row is put once, told when it is due, marked once; a few at once, fairly by URL; what was put and not marked is told again by the next store, with its token; schema 1
 * becomes 2 with its rows; a kill loses nothing that was acknowledged.
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
#include <sys/wait.h>
#include <unistd.h>

#define TAG     100u
#define WAIT_MS 20000

struct place {
	char dir[64], db[96];
	struct mailbox *up;
	struct store *s;
};

static void open_here(struct place *p)
{
	char why[200] = "";

	if (store_open(p->db, p->up, TAG, &p->s, why, sizeof(why)))
		fail_msg("store_open: %s", why);
}

static void close_here(struct place *p)
{
	char rest[STORE_POST_MAX];

	store_close(p->s);
	p->s = NULL;
	while (mailbox_take(p->up, rest, sizeof(rest), NULL) > 0)
		; /* the worker's memory is gone */
}

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct out o = OUT(p->dir);

	out_f(&o, "/tmp/hookswitch-outbox-XXXXXX");
	out_z(&o);
	assert_non_null(mkdtemp(p->dir));
	o = OUT(p->db);
	out_f(&o, "%s/hookswitch.db", p->dir);
	out_z(&o);
	p->up = mailbox_new(4 << 20);
	open_here(p);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	DIR *d;
	struct dirent *e;

	store_close(p->s);
	d = opendir(p->dir);
	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(p->dir);
	mailbox_free(p->up);
	free(p);
	return 0;
}

static int put(struct place *p, uint32_t number, const char *url)
{
	struct store_post *m = calloc(1, sizeof(*m) + 4096);
	struct out o = {.p = m->text, .cap = 4096};
	int err;

	memcpy(m->token, &number, sizeof(number));
	m->sid[0] = 0xca;
	m->account[0] = 0xac;
	m->owner = 1000 + number;
	m->made_ms = clock_utc_ms();
	m->get = number % 2;
	out_str(&o, str_z(url));
	m->n_url = (uint32_t)o.n;
	out_f(&o, "CallSid=CA&n=%u", number);
	m->n_form = (uint32_t)o.n - m->n_url;
	err = store_post_put(p->s, m);
	free(m);
	return err;
}

/* The next message of this kind; others are skipped. NULL: none in time. */
static const struct store_post *next(struct place *p, uint32_t kind, int wait_ms)
{
	static union {
		struct store_post post;
		struct store_ack ack;
		char bytes[STORE_POST_MAX];
	} m;
	int64_t until = clock_boot_ms() + wait_ms, left;

	while ((left = until - clock_boot_ms()) >= 0) {
		struct pollfd f = {.fd = mailbox_fd(p->up), .events = POLLIN};

		if (poll(&f, 1, (int)left) > 0 && mailbox_take(p->up, &m, sizeof(m), NULL) > 0 && m.post.tag == TAG + kind)
			return &m.post;
	}
	return NULL;
}

static uint32_t kept(struct place *p)
{
	const struct store_ack *a = (const struct store_ack *)next(p, STORE_KEPT, WAIT_MS);
	uint32_t n;

	assert_non_null(a);
	memcpy(&n, a->token, sizeof(n));
	assert_int_equal(a->sid[0], 0xca);
	assert_int_equal(a->owner, 1000 + n);
	return n;
}

static uint32_t due(struct place *p, int wait_ms, int *ret_attempt)
{
	const struct store_post *m = next(p, STORE_DUE, wait_ms);
	uint32_t n;
	char form[64];

	if (!m)
		return 0;
	memcpy(&n, m->token, sizeof(n));
	snprintf(form, sizeof(form), "CallSid=CA&n=%u", n);
	assert_true(str_eq(str_n(m->text + m->n_url, m->n_form), str_z(form)));
	assert_true(str_starts(str_n(m->text, m->n_url), STR("http://")));
	assert_int_equal(m->get, n % 2);
	assert_int_equal(m->sid[0], 0xca);
	assert_int_equal(m->account[0], 0xac);
	if (ret_attempt)
		*ret_attempt = m->attempt;
	return n;
}

static void mark(struct place *p, uint32_t number, enum store_post_state state, int attempt, uint32_t after_ms)
{
	struct store_mark m = {.state = (uint8_t)state, .attempt = (uint16_t)attempt, .status = 204, .after_ms = after_ms};

	memcpy(m.token, &number, sizeof(number));
	assert_int_equal(store_post_mark(p->s, &m), 0);
}

static void ask(const char *db, const char *sql, char *ret, size_t cap)
{
	sqlite3 *c = NULL;
	sqlite3_stmt *s = NULL;
	struct out o = {.p = ret, .cap = cap};

	assert_int_equal(sqlite3_open_v2(db, &c, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(c, WAIT_MS);
	for (const char *rest = sql; *rest;) {
		assert_int_equal(sqlite3_prepare_v2(c, rest, -1, &s, &rest), SQLITE_OK);
		while (sqlite3_step(s) == SQLITE_ROW)
			for (int i = 0; i < sqlite3_column_count(s); i++)
				out_f(&o, "%s%s", o.n ? "|" : "", sqlite3_column_text(s, i) ? (const char *)sqlite3_column_text(s, i) : "NULL");
		sqlite3_finalize(s);
	}
	out_z(&o);
	sqlite3_close(c);
}

static void expect(struct place *p, const char *sql, const char *want)
{
	char got[400];

	ask(p->db, sql, got, sizeof(got));
	assert_string_equal(got, want);
}

static void test_once(void **state)
{
	struct place *p = *state;
	int attempt = -1;
	struct store_facts f;

	assert_int_equal(put(p, 1, "http://a/x"), 0);
	assert_int_equal(kept(p), 1);
	assert_int_equal(due(p, WAIT_MS, &attempt), 1);
	assert_int_equal(attempt, 0);
	store_facts(p->s, &f);
	assert_int_equal(f.in_flight, 1);
	assert_false(f.failing);
	assert_int_equal(put(p, 1, "http://a/x"), 0); /* again: acknowledged, not told again */
	assert_int_equal(kept(p), 1);
	assert_int_equal(due(p, 400, NULL), 0);
	expect(p, "SELECT token, call_sid, account_sid, url, method, form, attempt, state, http_status, date_done FROM outbox",
	       "01000000000000000000000000000000|CAca000000000000000000000000000000|ACac000000000000000000000000000000|http://a/"
	       "x|GET|CallSid=CA&n=1|0|pending|NULL|NULL");
	mark(p, 1, POST_ANSWERED, 1, 0);
	mark(p, 1, POST_FAILED, 6, 0); /* too late: it has its outcome */
	mark(p, 1, POST_PENDING, 7, 0);
	close_here(p);
	expect(p, "SELECT attempt, state, http_status, form, date_done >= date_created FROM outbox", "1|answered|204|NULL|1");
	open_here(p);
	assert_int_equal(put(p, 1, "http://a/x"), 0); /* a record that was not told of it before the restart */
	assert_int_equal(kept(p), 1);
	assert_int_equal(due(p, 600, NULL), 0);
	expect(p, "SELECT count(*), state FROM outbox", "1|answered");
}

static void test_again_after(void **state)
{
	struct place *p = *state;
	int attempt = -1;
	int64_t at;

	assert_int_equal(put(p, 2, "http://a/x"), 0);
	assert_int_equal(due(p, WAIT_MS, NULL), 2);
	at = clock_boot_ms();
	mark(p, 2, POST_PENDING, 1, 700);
	assert_int_equal(due(p, WAIT_MS, &attempt), 2);
	assert_int_equal(attempt, 1);
	assert_in_range(clock_boot_ms() - at, 700, 5000);
	mark(p, 2, POST_FAILED, 2, 0);
	close_here(p);
	expect(p, "SELECT state, attempt FROM outbox", "failed|2");
}

/* Not marked when the worker ended: told again, with its token and its attempts; one that waits keeps its time. */
static void test_restart(void **state)
{
	struct place *p = *state;
	int attempt = -1;

	assert_int_equal(put(p, 1, "http://a/x"), 0);
	assert_int_equal(put(p, 2, "http://b/x"), 0);
	assert_int_equal(due(p, WAIT_MS, NULL), 1);
	assert_int_equal(due(p, WAIT_MS, NULL), 2);
	mark(p, 2, POST_PENDING, 3, 600000);
	close_here(p);
	open_here(p);
	assert_int_equal(due(p, WAIT_MS, &attempt), 1);
	assert_int_equal(attempt, 0);
	assert_int_equal(due(p, 400, NULL), 0);
	struct store_facts f;
	store_facts(p->s, &f);
	assert_int_equal(f.pending, 2);
	assert_int_equal(f.in_flight, 1);
	close_here(p);
	/* The clock was set back by a year since: it does not wait for a year. */
	char got[8];
	ask(p->db, "UPDATE outbox SET next_utc = next_utc + 31536000000 WHERE url = 'http://b/x'", got, sizeof(got));
	open_here(p);
	bool seen = false;
	for (int i = 0; i < 2; i++)
		seen = due(p, WAIT_MS, &attempt) == 2 || seen;
	assert_true(seen);
}

static void test_a_day_old(void **state)
{
	struct place *p = *state;
	int attempt = -1;
	char got[8];

	assert_int_equal(put(p, 4, "http://a/x"), 0);
	assert_int_equal(kept(p), 4);
	close_here(p);
	ask(p->db, "UPDATE outbox SET date_created = date_created - 90000000", got, sizeof(got));
	open_here(p);
	assert_int_equal(due(p, WAIT_MS, &attempt), 4);
	assert_int_equal(attempt, UINT16_MAX);
}

/* No more than 64 in all and 16 to one URL; one that is down is asked one at a time and holds up nobody; up again, the rest goes. */
static void test_bounded_and_fair(void **state)
{
	struct place *p = *state;
	bool seen[700] = {false};
	int n = 0;
	uint32_t x, bad;
	struct store_facts f;

	for (uint32_t i = 0; i < 600; i++)
		assert_int_equal(put(p, 2 + i,
				     i < 500   ? "http://down/x"
				     : i < 520 ? "http://b/x"
				     : i < 540 ? "http://c/x"
				     : i < 560 ? "http://d/x"
					       : "http://e/x"),
				 0);
	while (n < 64 && (x = due(p, WAIT_MS, NULL)) != 0) {
		assert_false(seen[x]);
		seen[x] = true;
		n++;
	}
	assert_int_equal(n, 64);
	assert_int_equal(due(p, 500, NULL), 0);
	store_facts(p->s, &f);
	assert_int_equal(f.in_flight, 64);
	/* all that were sent fail at http://down/, the others answer */
	for (uint32_t i = 2; i < 602; i++)
		if (seen[i])
			mark(p, i, i < 502 ? POST_PENDING : POST_ANSWERED, 1, 600000);
	n = 0;
	bad = 0;
	for (int k = 0; k < 700 && (x = due(p, 1500, NULL)) != 0; k++) {
		if (x < 502) {
			assert_int_equal(bad, 0); /* one at a time */
			bad = x;
		} else {
			mark(p, x, POST_ANSWERED, 1, 0);
			n++;
		}
	}
	assert_true(bad != 0);
	close_here(p);
	expect(p, "SELECT count(*) FROM outbox WHERE state = 'answered'", "100");
	expect(p, "SELECT count(*) FROM outbox WHERE state = 'pending'", "500");
	open_here(p);
	for (n = 0; n < 480 && (x = due(p, WAIT_MS, NULL)) != 0; n++)
		mark(p, x, POST_ANSWERED, 1, 0);
	assert_int_equal(n, 480);
}

/* kill -9 of the process: what was acknowledged is told by the next one. */
static void test_killed(void **state)
{
	struct place *p = *state;
	int acks[2], status;
	pid_t pid;

	close_here(p);
	assert_int_equal(pipe(acks), 0);
	pid = fork();
	if (pid == 0) {
		open_here(p);
		for (uint32_t i = 1; i <= 40; i++)
			if (put(p, i, "http://a/x"))
				_exit(1);
		for (int i = 0; i < 40; i++)
			(void)kept(p);
		(void)!write(acks[1], "x", 1);
		for (;;)
			pause();
	}
	char c;
	close(acks[1]);
	assert_int_equal(read(acks[0], &c, 1), 1);
	close(acks[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	open_here(p);
	uint64_t sum = 0;
	for (int i = 0; i < 40; i++) {
		uint32_t x = due(p, WAIT_MS, NULL);
		assert_in_range(x, 1, 40);
		sum |= 1ULL << x;
		mark(p, x, POST_ANSWERED, 1, 0);
	}
	assert_true(sum == ((1ULL << 41) - 2));
}

/* A database of the first version, with a row in it. */
static void test_migration(void **state)
{
	struct place *p = *state;
	char got[64];

	close_here(p);
	ask(p->db,
	    "DROP TABLE outbox; INSERT INTO calls (sid, account_sid, \"to\", \"from\", status, direction, date_created, date_updated) VALUES "
	    "('CA1','AC1','t','f','completed','inbound',1,2);"
	    "PRAGMA user_version = 1",
	    got, sizeof(got));
	open_here(p);
	assert_int_equal(put(p, 8, "http://a/x"), 0);
	assert_int_equal(kept(p), 8);
	expect(p, "SELECT sid FROM calls; PRAGMA user_version; SELECT count(*) FROM outbox", "CA1|2|1");
}

static void test_too_large(void **state)
{
	struct place *p = *state;
	struct store_post m = {.n_url = 10, .n_form = STORE_POST_MAX};

	assert_int_equal(store_post_put(p->s, &m), -E2BIG);
	m.n_form = UINT32_MAX;
	assert_int_equal(store_post_put(p->s, &m), -E2BIG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_once),   TEST(test_again_after), TEST(test_restart),   TEST(test_a_day_old), TEST(test_bounded_and_fair),
	    TEST(test_killed), TEST(test_migration),   TEST(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
