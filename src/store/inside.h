/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of store/ tell each other: the thread with its batch (store.c) above, a driver (store_sqlite.c) below. A second driver implements the
 * same four functions.
 */
#pragma once
#include "store/store.h"

struct store_db;

/* Opens or makes the database and brings its schema up to date. -EIO: *why says what. */
int store_db_open(const char *path, struct store_db **ret, char *why, size_t cap) _must_;
/* All n rows in one commit, or none: 0 = they are on the disk, -EIO = nothing was written, ask again later; *why says what. */
int store_db_write(struct store_db *db, const struct store_call *rows, size_t n, char *why, size_t cap) _must_;
void store_db_close(struct store_db *db); /* NULL is fine */

/* The steps of the schema: step i leads from version i to i + 1. Versions only ever go forward. */
struct sqlite3;
struct store_step {
	const char *doc;
	int (*up)(struct sqlite3 *db); /* an SQLite result code; runs inside a transaction */
};
extern const struct store_step store_steps[];
extern const int store_n_steps;
