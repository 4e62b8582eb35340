/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of store/ tell each other: the thread with its batch (store.c) and what is on its way from the outbox (outbox.c) above, a driver (store_sqlite.c, with the
 * outbox's part in store_posts.c) below. A second driver implements the same functions.
 */
#pragma once
#include "store/store.h"

struct store_db;
struct sqlite3;

/* What stands in the box and in a batch. */
enum store_kind { STORE_CALL, STORE_POST, STORE_MARK };
struct store_msg {
	uint32_t kind, n; /* n: of the whole message */
	union {
		struct store_call call;
		struct store_mark mark;
		struct store_post post;
	};
};
#define STORE_MSG(member) (offsetof(struct store_msg, call) + sizeof(((struct store_msg *)0)->member))

/* Opens or makes the database and brings its schema up to date. -EIO: *why says what. */
int store_db_open(const char *path, struct store_db **ret, char *why, size_t cap) _must_;
/* All n in one commit, or none: 0 = they are on the disk, -EIO = nothing was written, ask again later; *why says what. */
int store_db_write(struct store_db *db, struct store_msg *const *rows, size_t n, char *why, size_t cap) _must_;
void store_db_close(struct store_db *db); /* NULL is fine */

/* ---- the outbox in the driver (store_posts.c) ---- */
struct posts; /* its statements */
int posts_open(struct sqlite3 *db, struct posts **ret) _must_; /* an SQLite result code */
void posts_close(struct posts *p);
int posts_put(struct posts *p, const struct store_post *m, int64_t utc_ms) _must_;
int posts_mark(struct posts *p, const struct store_mark *m, int64_t utc_ms) _must_;
struct posts *store_db_posts(struct store_db *db);
/* The first URL behind `after` that has a pending row, in buf; "" = none. */
int posts_next_url(struct posts *p, const char *after, char *buf, size_t cap) _must_;
/* Pending rows of this URL that are due, oldest due first: tells each to `each` until it says false. */
int posts_due(struct posts *p, const char *url, int64_t utc_ms, bool (*each)(void *arg, const struct store_post *m), void *arg) _must_;
/* When the earliest pending row that is not due yet will be; INT64_MAX none. */
int posts_next(struct posts *p, int64_t utc_ms, int64_t *ret_next_ms) _must_;
int posts_pending(struct posts *p, uint64_t *ret) _must_;

/* ---- what is on its way (outbox.c) ---- */
struct outbox;
struct outbox *outbox_new(struct posts *p, struct mailbox *up, uint32_t tag);
void outbox_free(struct outbox *o);
/* Tells upward what is due and may go; when to be asked again: boottime, INT64_MAX = when something was written. */
int64_t outbox_turn(struct outbox *o, int64_t utc_ms, int64_t boot_ms);
void outbox_marked(struct outbox *o, const struct store_mark *m);  /* the mark came: its place is free for others … */
void outbox_written(struct outbox *o, const struct store_mark *m); /* … and is in the table: it may be due again */
void outbox_news(struct outbox *o);                                /* the table has changed */
uint64_t outbox_pending(const struct outbox *o);                   /* any thread, as the next one */
uint64_t outbox_in_flight(const struct outbox *o);

/* The steps of the schema: step i leads from version i to i + 1. Versions only ever go forward. */
struct store_step {
	const char *doc;
	int (*up)(struct sqlite3 *db); /* an SQLite result code; runs inside a transaction */
};
extern const struct store_step store_steps[];
extern const int store_n_steps;
