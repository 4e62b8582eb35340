/* SPDX-License-Identifier: Apache-2.0
 *
 * desk: what flow.c needs of desk.c: the ends of the outbox and of the web that the interpreter's messages go to, and the turn in which they answer.
 */
#pragma once
#include "flow.h"

struct outbox_post; struct outbox_mark; struct fetch; struct verbs;

struct desk *desk_new(void);
void desk_free(struct desk *d);
int desk_put(struct desk *d, const struct outbox_post *p);
int desk_mark(struct desk *d, const struct outbox_mark *m);
bool desk_fetch(struct desk *d, const struct fetch *f, int64_t now_ms); /* false = not for this server */
void desk_turn(struct desk *d, struct verbs *v, int64_t now_ms);
void desk_crash(struct desk *d);
