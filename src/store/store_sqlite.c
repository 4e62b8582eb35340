/* SPDX-License-Identifier: Apache-2.0
 *
 * store_sqlite: the embedded driver. WAL with synchronous=FULL: what was committed is on the disk, also after a power cut; many rows go into one commit because
 * one commit costs a sync. The CallSid is the key: the row of the start is written once, the row of the end completes it once, and either may come again (after a
 * restart both are sent until acknowledged) or before the other.
 *
 * Used by one thread at a time. Decides nothing about when to write or to ask again: store.c does.
 */
#include "store/inside.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

struct store_db {
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *rollback, *start, *end;
	struct posts *posts;
};

/* Words of enum call_party and enum call_dir, which are above this room: the row has their numbers. */
static const char *const party_names[] = {"", "caller", "service", "system"};
static const char *const dir_names[] = {"inbound", "outbound-api"};

#define COLUMNS                                                                                                                                                \
	"sid, account_sid, \"to\", \"from\", status, direction, date_created, date_updated, start_time, answer_time, end_time, duration, duration_ms, "        \
	"hangup_by, sip_status, cause"
#define VALUES "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16"

static const char sql_start[] = "INSERT INTO calls (" COLUMNS ") VALUES (" VALUES ") ON CONFLICT (sid) DO NOTHING";
/* A call ends once: a row that has its end is never touched again. */
static const char sql_end[] =
    "INSERT INTO calls (" COLUMNS ") VALUES (" VALUES ") ON CONFLICT (sid) DO UPDATE SET"
    " status = excluded.status, date_updated = excluded.date_updated, answer_time = excluded.answer_time, end_time = excluded.end_time,"
    " duration = excluded.duration, duration_ms = excluded.duration_ms, hangup_by = excluded.hangup_by, sip_status = excluded.sip_status,"
    " cause = excluded.cause WHERE end_time IS NULL";

static int fail(struct store_db *d, const char *doing, char *why, size_t cap)
{
	struct out o = {.p = why, .cap = cap};
	out_f(&o, "%s: %s", doing, d->db ? sqlite3_errmsg(d->db) : "out of memory");
	out_z(&o);
	return -EIO;
}

static int get_version(struct store_db *d, int *ret)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(d->db, "PRAGMA user_version", -1, &s, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		*ret = sqlite3_column_int(s, 0);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return rc;
}

/* Brings the schema from version `from` to the newest, all steps and the number in one transaction. */
static int migrate(struct store_db *d, int from)
{
	char set[64];
	struct out o = OUT(set);
	int rc = sqlite3_exec(d->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	for (int i = from; rc == SQLITE_OK && i < store_n_steps; i++)
		rc = store_steps[i].up(d->db);
	out_f(&o, "PRAGMA user_version = %d", store_n_steps);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(d->db, out_z(&o), NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL);
	return rc;
}

static int prepare(struct store_db *d)
{
	struct {
		const char *sql;
		sqlite3_stmt **to;
	} all[] = {{"BEGIN IMMEDIATE", &d->begin}, {"COMMIT", &d->commit}, {"ROLLBACK", &d->rollback}, {sql_start, &d->start}, {sql_end, &d->end}};
	for (size_t i = 0; i < N_ELEMENTS(all); i++)
		if (sqlite3_prepare_v3(d->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].to, NULL) != SQLITE_OK)
			return -EIO;
	return posts_open(d->db, &d->posts) == SQLITE_OK ? 0 : -EIO;
}

static int set_up(struct store_db *d, char *why, size_t cap)
{
	int version = 0;
	sqlite3_busy_timeout(d->db, 1000);
	/* FULL: WAL with NORMAL loses acknowledged rows in a power cut. The limit gives the disk back after a burst. */
	if (sqlite3_exec(d->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=4194304; PRAGMA trusted_schema=OFF", NULL, NULL,
			 NULL) != SQLITE_OK)
		return fail(d, "opening", why, cap);
	if (get_version(d, &version) != SQLITE_OK)
		return fail(d, "reading the version of the schema", why, cap);
	if (version < 0 || version > store_n_steps) {
		struct out o = {.p = why, .cap = cap};
		out_f(&o, "schema version %d is newer than this program, which knows %d", version, store_n_steps);
		out_z(&o);
		return -EIO;
	}
	if (version < store_n_steps && migrate(d, version) != SQLITE_OK)
		return fail(d, "bringing the schema up to date", why, cap);
	return prepare(d) ? fail(d, "preparing", why, cap) : 0;
}

/* SQLite's own access to files, but paths are taken as they are given: it would make them absolute, and the folder we were started in may lie in one that is closed to the
 * user we have become (/root). */
static int path_as_named(sqlite3_vfs *v, const char *path, int cap, char *ret)
{
	if (cap <= 0 || str_zcpy(str_z(path), ret, (size_t)cap))
		return SQLITE_CANTOPEN;
	return SQLITE_OK;
}

static const char *files_as_named(void)
{
	static sqlite3_vfs as_named;
	const sqlite3_vfs *own = sqlite3_vfs_find(NULL);

	if (!own)
		return NULL;
	if (!as_named.zName) {
		as_named = *own;
		as_named.pNext = NULL;
		as_named.zName = "as-named";
		as_named.xFullPathname = path_as_named;
	}
	return sqlite3_vfs_register(&as_named, 0) == SQLITE_OK ? as_named.zName : NULL;
}

int store_db_open(const char *path, struct store_db **ret, char *why, size_t cap)
{
	struct store_db *d = calloc(1, sizeof(*d));
	int err;
	/* Made by us first, so that numbers people called are readable by the owner only; the -wal and -shm files follow its mode. */
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || !d) {
		struct out o = {.p = why, .cap = cap};
		out_f(&o, "%s", d ? strerror(errno) : "out of memory");
		out_z(&o);
		if (fd >= 0)
			close(fd);
		free(d);
		return -EIO;
	}
	close(fd);
	if (sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, files_as_named()) != SQLITE_OK)
		err = fail(d, "opening", why, cap);
	else
		err = set_up(d, why, cap);
	if (err) {
		store_db_close(d);
		return err;
	}
	*ret = d;
	return 0;
}

static void bind_text(sqlite3_stmt *s, int at, const char *p, size_t cap)
{
	sqlite3_bind_text(s, at, p, (int)strnlen(p, cap), SQLITE_TRANSIENT);
}

static void bind_ms(sqlite3_stmt *s, int at, int64_t ms, bool known)
{
	if (known)
		sqlite3_bind_int64(s, at, ms);
	else
		sqlite3_bind_null(s, at);
}

static void bind_call(sqlite3_stmt *s, const struct store_call *r)
{
	char sid[35], account[35];
	bool over = r->end && r->ended_ms;
	sid_print("CA", r->sid, sid);
	sid_print("AC", r->account, account);
	bind_text(s, 1, sid, sizeof(sid));
	bind_text(s, 2, account, sizeof(account));
	bind_text(s, 3, r->to, sizeof(r->to));
	bind_text(s, 4, r->from, sizeof(r->from));
	bind_text(s, 5, r->call_status, sizeof(r->call_status));
	bind_text(s, 6, dir_names[r->dir < N_ELEMENTS(dir_names) ? r->dir : 0], 16);
	bind_ms(s, 7, r->created_ms, true);
	bind_ms(s, 8, over ? r->ended_ms : r->created_ms, true);
	bind_ms(s, 9, r->created_ms, r->created_ms != 0);
	bind_ms(s, 10, r->answered_ms, r->answered_ms != 0);
	bind_ms(s, 11, r->ended_ms, over);
	bind_ms(s, 12, (r->duration_ms + 999) / 1000, over);
	bind_ms(s, 13, r->duration_ms, over);
	if (r->hangup_by > 0 && r->hangup_by < N_ELEMENTS(party_names))
		bind_text(s, 14, party_names[r->hangup_by], 16);
	else
		sqlite3_bind_null(s, 14);
	bind_ms(s, 15, r->status, r->status != 0);
	bind_ms(s, 16, r->cause, r->cause != 0);
}

static int run(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int write_one(struct store_db *d, const struct store_msg *m, int64_t utc_ms)
{
	if (m->kind == STORE_POST)
		return posts_put(d->posts, &m->post, utc_ms);
	if (m->kind == STORE_MARK)
		return posts_mark(d->posts, &m->mark, utc_ms);
	sqlite3_stmt *s = m->call.end ? d->end : d->start;
	bind_call(s, &m->call);
	return run(s);
}

int store_db_write(struct store_db *d, struct store_msg *const *rows, size_t n, char *why, size_t cap)
{
	int rc = run(d->begin), err;
	int64_t utc_ms = clock_utc_ms();
	for (size_t i = 0; rc == SQLITE_OK && i < n; i++)
		rc = write_one(d, rows[i], utc_ms);
	if (rc == SQLITE_OK)
		rc = run(d->commit);
	if (rc == SQLITE_OK)
		return 0;
	err = fail(d, "writing", why, cap);
	/* A full disk may have rolled back by itself already. */
	if (!sqlite3_get_autocommit(d->db))
		(void)run(d->rollback);
	return err;
}

struct posts *store_db_posts(struct store_db *d)
{
	return d->posts;
}

void store_db_close(struct store_db *d)
{
	if (!d)
		return;
	sqlite3_stmt *all[] = {d->begin, d->commit, d->rollback, d->start, d->end};
	for (size_t i = 0; i < N_ELEMENTS(all); i++)
		sqlite3_finalize(all[i]);
	posts_close(d->posts);
	sqlite3_close(d->db);
	free(d);
}
