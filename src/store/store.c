/* SPDX-License-Identifier: Apache-2.0
 *
 * store: the thread that writes. Rows come by mailbox from any thread, are gathered for at most 250 ms or 256 rows, and go to the driver in one commit; only then is each
 * acknowledged, in the order in which it came. A row that cannot be written (full disk, failing disk) is kept and tried again each second for as long as it takes, said once in the
 * log; meanwhile rows pile up in the box until store_room is 0, and then no new calls are taken: nothing is lost and nothing grows.
 *
 * What is not acknowledged still stands in the slab, so a death of this thread or of the process loses no row: it is sent again, and the driver takes it twice gladly.
 */
#include "store/inside.h"

#include "net/net.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define GROUP_ROWS  256
#define GROUP_MS    250
#define RETRY_MS    1000
#define ACK_WAIT_MS 5
#define BOX_ROWS    8192 /* 3 MB: a disk may stand still for a while */

struct store {
	struct store_db *db;
	struct mailbox *box, *up;
	uint32_t up_tag;
	int stop; /* eventfd: store_close rings it */
	pthread_t thread;
	struct store_call batch[GROUP_ROWS];
	size_t n;
	int64_t due_ms; /* when the batch is written; boottime */
	bool failing;
	bool closing;
};

static void gather(struct store *s)
{
	while (s->n < GROUP_ROWS && mailbox_take(s->box, &s->batch[s->n], sizeof(s->batch[0]), NULL) > 0) {
		if (s->n++ == 0)
			s->due_ms = clock_boot_ms() + GROUP_MS;
	}
}

/* An acknowledgement must arrive, or its slot in the slab is never free again: a full box is waited for. Its reader empties it each turn. */
static void acknowledge(struct store *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct store_ack a = {.tag = s->up_tag, .end = s->batch[i].end};
		struct pollfd stop = {.fd = s->stop, .events = POLLIN};
		memcpy(a.sid, s->batch[i].sid, sizeof(a.sid));
		while (mailbox_post(s->up, &a, sizeof(a)) != 0) {
			if (poll(&stop, 1, ACK_WAIT_MS) > 0)
				return; /* closing: the reader is gone, the rows are written */
		}
	}
}

static int write_batch(struct store *s)
{
	char why[160];
	int err = store_db_write(s->db, s->batch, s->n, why, sizeof(why));
	if (err) {
		if (!s->failing)
			log_line(LOG_ERROR, "store: %s; rows are kept and tried again each second", why);
		s->failing = true;
		s->due_ms = clock_boot_ms() + RETRY_MS;
		return err;
	}
	if (s->failing)
		log_line(LOG_WARN, "store: writing again");
	s->failing = false;
	acknowledge(s);
	s->n = 0;
	return 0;
}

/* Until when to wait: for ever with an empty batch, until it is due otherwise. */
static int wait_ms(const struct store *s)
{
	if (s->n == 0)
		return -1;
	if (s->n == GROUP_ROWS && !s->failing)
		return 0;
	int64_t ms = s->due_ms - clock_boot_ms();
	return ms < 0 ? 0 : (int)MIN(ms, INT_MAX);
}

static void *store_thread(void *arg)
{
	struct store *s = arg;
	while (!s->closing) {
		/* A full batch takes no more mail; a negative fd is not looked at. */
		struct pollfd p[2] = {{.fd = s->stop, .events = POLLIN}, {.fd = s->n < GROUP_ROWS ? mailbox_fd(s->box) : -1, .events = POLLIN}};
		(void)poll(p, 2, wait_ms(s));
		s->closing = p[0].revents & POLLIN;
		gather(s);
		if (s->n && !s->closing && wait_ms(s) == 0)
			(void)write_batch(s);
	}
	for (gather(s); s->n; gather(s)) {
		if (write_batch(s)) {
			log_line(LOG_ERROR, "store: closed with rows unwritten; they are written after the next start");
			break;
		}
	}
	return NULL;
}

static int start_thread(struct store *s)
{
	sigset_t all, old;
	/* No signal is for this thread; SIGXFSZ must not be: a file too large is an error of write() and no death. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&s->thread, NULL, store_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

static void drop(struct store *s)
{
	store_db_close(s->db);
	if (s->box)
		mailbox_free(s->box);
	if (s->stop >= 0)
		close(s->stop);
	free(s);
}

int store_open(const char *path, struct mailbox *up, uint32_t up_tag, struct store **ret, char *why, size_t cap)
{
	struct store *s = calloc(1, sizeof(*s));
	struct out o = {.p = why, .cap = cap};
	int err;
	if (!s)
		return -ENOMEM;
	s->up = up;
	s->up_tag = up_tag;
	s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->box = mailbox_new(BOX_ROWS * (sizeof(struct store_call) + MAILBOX_HEAD));
	err = store_db_open(path, &s->db, why, cap);
	if (err == 0 && (s->stop < 0 || !s->box || start_thread(s))) {
		out_f(&o, "no thread, memory or descriptor for the store");
		out_z(&o);
		err = -ENOMEM;
	}
	if (err) {
		drop(s);
		return err;
	}
	*ret = s;
	return 0;
}

int store_call_put(struct store *s, const struct store_call *r)
{
	return mailbox_post(s->box, r, sizeof(*r)) ? -EAGAIN : 0;
}

size_t store_room(struct store *s)
{
	return mailbox_room(s->box) / (sizeof(struct store_call) + MAILBOX_HEAD);
}

void store_close(struct store *s)
{
	uint64_t one = 1;
	if (!s)
		return;
	ssize_t r = write(s->stop, &one, sizeof(one));
	ASSERT(r == sizeof(one));
	pthread_join(s->thread, NULL);
	drop(s);
}
