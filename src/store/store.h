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
/* ---- the outbox: requests that are owed to others (status callbacks) until they are answered or finally failed. A row of table `outbox`; flat, the strings behind it. ---- */
#define STORE_POST_MAX 65536 /* bytes of such a message, strings included */
enum store_post_state { POST_PENDING, POST_ANSWERED, POST_FAILED };
struct store_post {
	uint32_t tag;            /* upward: up_tag + STORE_DUE */
	uint16_t attempt;        /* made so far */
	uint8_t get;             /* 1: GET, the form goes into the query */
	uint8_t pad;
	uint8_t token[16], sid[16], account[16]; /* token: the key, the same in every attempt */
	uint64_t owner;          /* comes back with the acknowledgement; not kept */
	int64_t made_ms;         /* UTC */
	uint32_t n_url, n_form;
	char text[];             /* URL, form */
};
/* What has become of a request that was told upward. */
struct store_mark {
	uint8_t token[16];
	uint8_t state;           /* enum store_post_state; PENDING: again in after_ms */
	uint8_t pad;
	uint16_t attempt, status; /* status: of the last answer, 0 none */
	uint32_t after_ms;
};
enum { STORE_ROWS, STORE_KEPT, STORE_DUE, STORE_TAGS }; /* added to up_tag: which of the three a message upward is */
struct store_ack { uint32_t tag; uint8_t sid[16]; uint8_t end; uint8_t token[16]; uint64_t owner; }; /* STORE_ROWS: of a call; STORE_KEPT: of the outbox */
/* path: DATA/hookswitch.db, made with its schema if it is not there. up: gets a struct store_ack with up_tag in front per row, after the commit; and, when its time has come, each row of the
 * outbox that is pending (a struct store_post), no more than a few at once: the next ones come as these are marked. -EIO: *why says what */
int store_open(const char *path, struct mailbox *up, uint32_t up_tag, struct store **ret, char *why, size_t cap) _must_;
int store_call_put(struct store *s, const struct store_call *r) _must_; /* any thread; -EAGAIN = full */
int store_post_put(struct store *s, const struct store_post *p) _must_; /* any thread; -EAGAIN = full, -E2BIG */
int store_post_mark(struct store *s, const struct store_mark *m) _must_;
size_t store_room(struct store *s); /* rows of calls that the box still takes */
struct store_facts { bool failing; uint64_t pending, in_flight; size_t room_bytes; };
void store_facts(struct store *s, struct store_facts *ret); /* any thread */
void store_close(struct store *s); /* writes what is in the box, joins */
