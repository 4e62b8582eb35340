/* SPDX-License-Identifier: Apache-2.0
 *
 * store_schema: the tables, as a list of steps from one version of the schema to the next (PRAGMA user_version counts them). A step that was ever
 * released is never changed: what comes later is a new step. Runs in store_open, inside one transaction with the new version number.
 *
 * Columns of `calls` are named as the properties of the Call resource. Stamps are UTC milliseconds, NULL = not yet; the edge (api/) prints them in the
 * form each interface wants. `duration` is whole seconds from the answer to the end, rounded up, as the resource has it; `duration_ms` is what was measured.
 */
#include "store/inside.h"

#include <sqlite3.h>

static int step_calls(struct sqlite3 *db)
{
	return sqlite3_exec(db,
			    "CREATE TABLE calls ("
			    " sid TEXT PRIMARY KEY NOT NULL,"
			    " account_sid TEXT NOT NULL,"
			    " parent_call_sid TEXT,"
			    " \"to\" TEXT NOT NULL,"
			    " \"from\" TEXT NOT NULL,"
			    " status TEXT NOT NULL,"
			    " direction TEXT NOT NULL,"
			    " date_created INTEGER NOT NULL,"
			    " date_updated INTEGER NOT NULL,"
			    " start_time INTEGER,"
			    " answer_time INTEGER,"
			    " end_time INTEGER,"
			    " duration INTEGER,"
			    " duration_ms INTEGER,"
			    " answered_by TEXT,"
			    " forwarded_from TEXT,"
			    " caller_name TEXT,"
			    " hangup_by TEXT,"
			    " sip_status INTEGER,"
			    " cause INTEGER"
			    ") WITHOUT ROWID;"
			    "CREATE INDEX calls_by_time ON calls (account_sid, start_time);",
			    NULL, NULL, NULL);
}

/* state: pending, answered, failed. The form of a row that has its outcome is let go. Stamps as above; next_utc: when a pending row may be sent. */
static int step_outbox(struct sqlite3 *db)
{
	return sqlite3_exec(db,
			    "CREATE TABLE outbox ("
			    " token TEXT PRIMARY KEY NOT NULL,"
			    " call_sid TEXT NOT NULL,"
			    " account_sid TEXT NOT NULL,"
			    " url TEXT NOT NULL,"
			    " method TEXT NOT NULL,"
			    " form TEXT,"
			    " attempt INTEGER NOT NULL,"
			    " next_utc INTEGER,"
			    " state TEXT NOT NULL,"
			    " http_status INTEGER,"
			    " date_created INTEGER NOT NULL,"
			    " date_done INTEGER"
			    ") WITHOUT ROWID;"
			    "CREATE INDEX outbox_due ON outbox (url, next_utc) WHERE state = 'pending';"
			    "CREATE INDEX outbox_next ON outbox (next_utc) WHERE state = 'pending';"
			    "CREATE INDEX outbox_by_call ON outbox (call_sid);",
			    NULL, NULL, NULL);
}

const struct store_step store_steps[] = {
    {"calls: one row a call", step_calls},
    {"outbox: one row a request that is owed", step_outbox},
};
const int store_n_steps = N_ELEMENTS(store_steps);
