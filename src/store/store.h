/* SPDX-License-Identifier: Apache-2.0
 *
 * store: what lasts: rows in a database. One interface, one driver so far (SQLite: WAL, synchronous=FULL, commits in groups). A thread of its own, the one writer; messages in, acknowledgements out.
 */
#pragma once
#include "base/base.h"

struct mailbox;
struct store;
/* A row of table `calls`; flat. Columns are named as the Call object of call-control.md 3.2 has them. */
struct store_call {
	uint8_t sid[16], account[16];
	uint8_t end;             /* 0: the call was made, 1: it is over */
	uint8_t dir, hangup_by;
	uint16_t status, cause;
	int64_t created_ms, answered_ms, ended_ms; /* UTC; 0 = not */
	int64_t duration_ms;     /* by boottime, from the answer to the end */
	char from[128], to[128], call_status[16];
};
struct store_ack { uint32_t tag; uint8_t sid[16]; uint8_t end; };
/* path: DATA/hookswitch.db, made with its schema if it is not there. up: gets a struct store_ack with up_tag in front per row, after the commit. -EIO: *why says what */
int store_open(const char *path, struct mailbox *up, uint32_t up_tag, struct store **ret, char *why, size_t cap) _must_;
int store_call_put(struct store *s, const struct store_call *r) _must_; /* any thread; -EAGAIN = full */
size_t store_room(struct store *s);
void store_close(struct store *s); /* writes what is in the box, joins */
