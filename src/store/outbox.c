/* SPDX-License-Identifier: Apache-2.0
 *
 * outbox: which rows of the outbox are on their way. Those that are due are told upward, SENT_MAX at once in all and URL_MAX to one URL, and to a URL whose last outcome was none only
 * one: a receiver that is down keeps its rows here, in the table, and nobody else waits for it. URLs take turns. The rest is never in memory.
 *
 * A row that was told upward is left alone until its mark came (its place is free) and stands in the table (it may be due again). What is in flight dies with the process: after a
 * restart all pending rows are due as their stamps say, and go out again with the same token. Store thread; the two numbers are read by others.
 */
#include "store/inside.h"

#include "net/net.h"

#include <stdatomic.h>

#define SENT_MAX    64
#define URL_MAX     16
#define FLIGHTS_MAX 2048 /* sent, and marked but not yet in the table */
#define BAD_MAX     256
#define URL_BYTES   4096
#define TURN_URLS   128   /* URLs looked at in one turn */
#define LOOK_MS     1000  /* between counts, and between tries at a table that cannot be read */
#define CLOCK_MS    60000 /* UTC is looked at again: it may have been set */
#define FULL_MS     50
#define UP_LEAVE    (1u << 20) /* room that stays for others in the mailbox upward */
#define OLD_MS      (24LL * 3600 * 1000)

struct flight {
	uint8_t token[16];
	uint64_t url;
	bool marked;
};

struct outbox {
	struct posts *posts;
	struct mailbox *up;
	uint32_t tag;
	struct flight flights[FLIGHTS_MAX];
	size_t n;
	uint64_t bad[BAD_MAX]; /* URLs whose last outcome was none, newest last */
	size_t n_bad;
	char at[URL_BYTES]; /* the URL whose turn was last */
	bool news;
	int64_t next_utc_ms, counted_ms;
	bool uncounted; /* the table has changed since */
	_Atomic uint64_t pending, sent;
	/* of the turn */
	int64_t utc_ms;
	size_t quota;
	uint64_t url;
	bool full;
};

struct outbox *outbox_new(struct posts *p, struct mailbox *up, uint32_t tag)
{
	struct outbox *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->posts = p;
	o->up = up;
	o->tag = tag;
	o->news = true;
	return o;
}

void outbox_free(struct outbox *o)
{
	free(o);
}

static struct flight *find(struct outbox *o, const uint8_t token[16])
{
	for (size_t i = 0; i < o->n; i++)
		if (memcmp(o->flights[i].token, token, 16) == 0)
			return &o->flights[i];
	return NULL;
}

static size_t bad_at(const struct outbox *o, uint64_t url)
{
	size_t i = 0;

	while (i < o->n_bad && o->bad[i] != url)
		i++;
	return i;
}

static void url_outcome(struct outbox *o, uint64_t url, bool well)
{
	size_t i = bad_at(o, url);

	if (i == o->n_bad && well)
		return;
	if (i == o->n_bad && o->n_bad == BAD_MAX)
		i = 0; /* the oldest is forgotten */
	if (i < o->n_bad)
		memmove(&o->bad[i], &o->bad[i + 1], (--o->n_bad - i) * sizeof(o->bad[0]));
	if (!well)
		o->bad[o->n_bad++] = url;
}

void outbox_marked(struct outbox *o, const struct store_mark *m)
{
	struct flight *f = find(o, m->token);

	if (!f || f->marked)
		return;
	f->marked = true;
	o->sent--;
	url_outcome(o, f->url, m->state == POST_ANSWERED);
	o->news = true;
}

void outbox_written(struct outbox *o, const struct store_mark *m)
{
	struct flight *f = find(o, m->token);

	if (f)
		*f = o->flights[--o->n];
}

void outbox_news(struct outbox *o)
{
	o->news = true;
}

uint64_t outbox_pending(const struct outbox *o)
{
	return o->pending;
}
uint64_t outbox_in_flight(const struct outbox *o)
{
	return o->sent;
}

/* One row that is due. False: enough. */
static bool send_row(void *arg, const struct store_post *m)
{
	struct outbox *o = arg;
	struct store_post *own = (struct store_post *)m; /* the driver's buffer, of this row */
	size_t n = sizeof(*m) + m->n_url + m->n_form;

	if (find(o, m->token))
		return true;
	o->full = mailbox_room(o->up) < UP_LEAVE + n;
	if (o->full)
		return false;
	own->tag = o->tag;
	if (m->made_ms < o->utc_ms - OLD_MS)
		own->attempt = UINT16_MAX; /* nobody wants to know any more: it is finally failed without another attempt */
	o->sent++;                         /* before anyone can know */
	if (mailbox_post(o->up, m, n)) {
		o->sent--;
		o->full = true;
		return false;
	}
	struct flight *f = &o->flights[o->n++];
	*f = (struct flight){.url = o->url};
	memcpy(f->token, m->token, sizeof(f->token));
	return --o->quota > 0;
}

static size_t quota_of(const struct outbox *o, uint64_t url)
{
	size_t at_once = bad_at(o, url) < o->n_bad ? 1 : URL_MAX, n = 0;

	for (size_t i = 0; i < o->n; i++)
		n += o->flights[i].url == url && !o->flights[i].marked;
	if (n >= at_once)
		return 0;
	return MIN(at_once - n, MIN(SENT_MAX - o->sent, FLIGHTS_MAX - o->n));
}

/* Round the URLs once, from the one behind whose turn was last. */
static int round_urls(struct outbox *o)
{
	static const uint8_t key[16] = "hookswitch outbo";
	char first[URL_BYTES] = "";
	bool wrapped = false;
	int rc = 0;

	for (int i = 0; i < TURN_URLS && !rc && !o->full && o->sent < SENT_MAX && o->n < FLIGHTS_MAX; i++) {
		rc = posts_next_url(o->posts, o->at, o->at, sizeof(o->at));
		if (rc)
			break;
		if (!*o->at) {
			if (wrapped)
				break;
			wrapped = true;
			continue;
		}
		if (i && !strcmp(first, o->at))
			break;
		if (!*first)
			memcpy(first, o->at, sizeof(first));
		o->url = siphash(key, o->at, strlen(o->at));
		o->quota = quota_of(o, o->url);
		if (o->quota)
			rc = posts_due(o->posts, o->at, o->utc_ms, send_row, o);
	}
	return rc;
}

/* Counting costs more than sending when a receiver is down: not each time. */
static int count_rows(struct outbox *o, int64_t boot_ms)
{
	uint64_t pending;
	int rc;

	rc = posts_pending(o->posts, &pending);
	o->counted_ms = boot_ms;
	o->pending = pending;
	return rc;
}

int64_t outbox_turn(struct outbox *o, int64_t utc_ms, int64_t boot_ms)
{
	int64_t at;

	if (o->news || o->full || utc_ms >= o->next_utc_ms) {
		o->utc_ms = utc_ms;
		o->news = o->full = false;
		o->uncounted = true;
		if (round_urls(o) || posts_next(o->posts, utc_ms, &o->next_utc_ms)) {
			log_line(LOG_WARN, "store: the outbox cannot be read; tried again");
			o->news = true;
			return boot_ms + LOOK_MS;
		}
	}
	if (o->uncounted && boot_ms >= o->counted_ms + LOOK_MS && !count_rows(o, boot_ms))
		o->uncounted = false;
	at = o->uncounted ? o->counted_ms + LOOK_MS : INT64_MAX;
	if (o->full)
		at = boot_ms + FULL_MS;
	if (o->next_utc_ms != INT64_MAX)
		at = MIN(at, boot_ms + MIN(MAX(o->next_utc_ms - utc_ms, 1), CLOCK_MS));
	return at;
}
