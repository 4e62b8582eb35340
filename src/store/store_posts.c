/* SPDX-License-Identifier: Apache-2.0
 *
 * store_posts: the outbox in the embedded driver: one row a request, by its token. A row is put once (again is nothing, whatever has become of it since), and has its outcome once:
 * answered or failed is never touched again. What is due is asked by URL, so that a receiver that is down with a hundred thousand rows does not stand before the others.
 *
 * Store thread. Decides nothing: outbox.c does. All return an SQLite result code.
 */
#include "store/inside.h"

#include <sqlite3.h>

#define DONE_KEPT_MS (7LL * 24 * 3600 * 1000) /* rows with their outcome go a week later, at the next start */
#define FAR_OFF_MS   (3600LL * 1000)

enum { SQL_PUT, SQL_AGAIN, SQL_DONE, SQL_URL, SQL_DUE, SQL_NEXT, SQL_PENDING, SQL_N };
static const char *const sqls[SQL_N] = {
    [SQL_PUT] = "INSERT INTO outbox (token, call_sid, account_sid, url, method, form, attempt, next_utc, state, date_created)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'pending', ?9) ON CONFLICT (token) DO NOTHING",
    [SQL_AGAIN] = "UPDATE outbox SET attempt = ?2, http_status = ?3, next_utc = ?4 WHERE token = ?1 AND state = 'pending'",
    [SQL_DONE] =
	"UPDATE outbox SET attempt = ?2, http_status = ?3, state = ?4, date_done = ?5, form = NULL, next_utc = NULL WHERE token = ?1 AND state = 'pending'",
    [SQL_URL] = "SELECT url FROM outbox WHERE state = 'pending' AND url > ?1 ORDER BY url LIMIT 1",
    [SQL_DUE] = "SELECT token, call_sid, account_sid, url, method, form, attempt, date_created FROM outbox"
		" WHERE state = 'pending' AND url = ?1 AND next_utc <= ?2 ORDER BY next_utc",
    [SQL_NEXT] = "SELECT min(next_utc) FROM outbox WHERE state = 'pending' AND next_utc > ?1",
    [SQL_PENDING] = "SELECT count(*) FROM outbox WHERE state = 'pending'",
};

struct posts {
	sqlite3 *db;
	sqlite3_stmt *s[SQL_N];
	char msg[STORE_POST_MAX];
};

int posts_open(struct sqlite3 *db, struct posts **ret)
{
	struct posts *p = calloc(1, sizeof(*p));
	char purge[256];
	struct out o = OUT(purge);
	int64_t utc_ms = clock_utc_ms();

	if (!p)
		return SQLITE_NOMEM;
	*ret = p;
	p->db = db;
	for (int i = 0; i < SQL_N; i++) {
		int rc = sqlite3_prepare_v3(db, sqls[i], -1, SQLITE_PREPARE_PERSISTENT, &p->s[i], NULL);
		if (rc != SQLITE_OK)
			return rc;
	}
	/* A stamp further off than any retry was made by a clock that has been set back since. */
	out_f(&o, "DELETE FROM outbox WHERE date_done < %lld; UPDATE outbox SET next_utc = %lld WHERE state = 'pending' AND next_utc > %lld",
	      (long long)(utc_ms - DONE_KEPT_MS), (long long)utc_ms, (long long)(utc_ms + FAR_OFF_MS));
	return sqlite3_exec(db, out_z(&o), NULL, NULL, NULL);
}

void posts_close(struct posts *p)
{
	if (!p)
		return;
	for (int i = 0; i < SQL_N; i++)
		sqlite3_finalize(p->s[i]);
	free(p);
}

static void bind_hex(sqlite3_stmt *s, int at, const uint8_t v[16])
{
	char hex[33];
	struct out o = OUT(hex);

	out_hex(&o, v, 16);
	sqlite3_bind_text(s, at, hex, 32, SQLITE_TRANSIENT);
}

static void bind_sid(sqlite3_stmt *s, int at, const char prefix[2], const uint8_t v[16])
{
	char sid[35];

	sid_print(prefix, v, sid);
	sqlite3_bind_text(s, at, sid, 34, SQLITE_TRANSIENT);
}

static int run(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int posts_put(struct posts *p, const struct store_post *m, int64_t utc_ms)
{
	sqlite3_stmt *s = p->s[SQL_PUT];

	bind_hex(s, 1, m->token);
	bind_sid(s, 2, "CA", m->sid);
	bind_sid(s, 3, "AC", m->account);
	sqlite3_bind_text(s, 4, m->text, (int)m->n_url, SQLITE_STATIC);
	sqlite3_bind_text(s, 5, m->get ? "GET" : "POST", -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 6, m->text + m->n_url, (int)m->n_form, SQLITE_STATIC);
	sqlite3_bind_int(s, 7, m->attempt);
	sqlite3_bind_int64(s, 8, utc_ms);
	sqlite3_bind_int64(s, 9, m->made_ms);
	int rc = run(s);
	sqlite3_clear_bindings(s);
	return rc;
}

int posts_mark(struct posts *p, const struct store_mark *m, int64_t utc_ms)
{
	sqlite3_stmt *s = p->s[m->state == POST_PENDING ? SQL_AGAIN : SQL_DONE];

	bind_hex(s, 1, m->token);
	sqlite3_bind_int(s, 2, m->attempt);
	if (m->status)
		sqlite3_bind_int(s, 3, m->status);
	else
		sqlite3_bind_null(s, 3);
	if (m->state == POST_PENDING) {
		sqlite3_bind_int64(s, 4, utc_ms + m->after_ms);
	} else {
		sqlite3_bind_text(s, 4, m->state == POST_ANSWERED ? "answered" : "failed", -1, SQLITE_STATIC);
		sqlite3_bind_int64(s, 5, utc_ms);
	}
	return run(s);
}

int posts_next_url(struct posts *p, const char *after, char *buf, size_t cap)
{
	sqlite3_stmt *s = p->s[SQL_URL];
	struct out o = {.p = buf, .cap = cap};

	sqlite3_bind_text(s, 1, after, -1, SQLITE_STATIC);
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		out_str(&o, str_n(sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0)));
		rc = SQLITE_DONE;
	}
	out_z(&o);
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static struct str column(sqlite3_stmt *s, int i)
{
	return str_n(sqlite3_column_text(s, i), (size_t)sqlite3_column_bytes(s, i));
}

static int hex_read(struct str s, uint8_t ret[16])
{
	char sid[35] = "CA";

	if (s.n != 32)
		return -EBADMSG;
	memcpy(sid + 2, s.p, 32);
	return sid_parse(str_n(sid, 34), "CA", ret);
}

/* A row that a hand has spoiled is no row. */
static int row_read(struct posts *p, sqlite3_stmt *s, struct store_post **ret)
{
	struct store_post *m = (struct store_post *)p->msg;
	struct str url = column(s, 3), form = column(s, 5);

	memset(m, 0, sizeof(*m));
	if (hex_read(column(s, 0), m->token) || sid_parse(column(s, 1), "CA", m->sid) || sid_parse(column(s, 2), "AC", m->account) ||
	    sizeof(*m) + url.n + form.n > sizeof(p->msg))
		return -EBADMSG;
	m->get = str_eq(column(s, 4), STR("GET"));
	m->attempt = (uint16_t)sqlite3_column_int(s, 6);
	m->made_ms = sqlite3_column_int64(s, 7);
	m->n_url = (uint32_t)url.n;
	m->n_form = (uint32_t)form.n;
	memcpy(m->text, url.p, url.n);
	if (form.n)
		memcpy(m->text + url.n, form.p, form.n);
	*ret = m;
	return 0;
}

int posts_due(struct posts *p, const char *url, int64_t utc_ms, bool (*each)(void *arg, const struct store_post *m), void *arg)
{
	sqlite3_stmt *s = p->s[SQL_DUE];
	struct store_post *m;
	int rc;

	sqlite3_bind_text(s, 1, url, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, utc_ms);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if (row_read(p, s, &m) == 0 && !each(arg, m)) {
			rc = SQLITE_DONE;
			break;
		}
	}
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int number(sqlite3_stmt *s, int64_t none, int64_t *ret)
{
	int rc = sqlite3_step(s);

	if (rc == SQLITE_ROW) {
		*ret = sqlite3_column_type(s, 0) == SQLITE_NULL ? none : sqlite3_column_int64(s, 0);
		rc = SQLITE_OK;
	}
	sqlite3_reset(s);
	return rc;
}

int posts_next(struct posts *p, int64_t utc_ms, int64_t *ret_next_ms)
{
	sqlite3_bind_int64(p->s[SQL_NEXT], 1, utc_ms);
	return number(p->s[SQL_NEXT], INT64_MAX, ret_next_ms);
}

int posts_pending(struct posts *p, uint64_t *ret)
{
	int64_t n = 0;
	int rc = number(p->s[SQL_PENDING], 0, &n);

	*ret = (uint64_t)n;
	return rc;
}
