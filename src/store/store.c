/* SPDX-License-Identifier: Apache-2.0
 *
 * store: the thread that writes. Rows (of calls, of the outbox, and what became of these) come by mailbox from any thread, are gathered for at most 250 ms or 256 rows, and go
 * to the driver in one commit; only then is each acknowledged, in the order in which it came. A row that cannot be written (full disk, failing disk) is kept and tried again each
 * second for as long as it takes, said once in the log; meanwhile rows pile up in the box until store_room is 0, and then no new calls are taken: nothing is lost and nothing grows.
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
#define BATCH_BYTES (512u << 10)
#define MSG_MAX     (STORE_POST_MAX + sizeof(struct store_msg))

struct store {
	struct store_db *db;
	struct mailbox *box, *up;
	uint32_t up_tag;
	int stop; /* eventfd: store_close rings it */
	pthread_t thread;
	struct outbox *outbox;
	int64_t outbox_ms;                    /* when it is looked at again; boottime */
	_Alignas(16) char bytes[BATCH_BYTES]; /* of the batch */
	size_t n_bytes;
	struct store_msg *batch[GROUP_ROWS];
	size_t n;
	int64_t due_ms; /* when the batch is written; boottime */
	_Atomic bool failing;
	bool closing;
};

static bool is_full(const struct store *s)
{
	return s->n == GROUP_ROWS || s->n_bytes + MSG_MAX > BATCH_BYTES;
}

static void gather(struct store *s)
{
	while (!is_full(s)) {
		struct store_msg *m = (struct store_msg *)(s->bytes + s->n_bytes);
		ssize_t n = mailbox_take(s->box, m, BATCH_BYTES - s->n_bytes, NULL);
		if (n <= 0)
			return;
		s->n_bytes += ((size_t)n + 15) & ~(size_t)15;
		s->batch[s->n] = m;
		if (s->n++ == 0)
			s->due_ms = clock_boot_ms() + GROUP_MS;
		if (m->kind == STORE_MARK)
			outbox_marked(s->outbox, &m->mark);
	}
}

/* An acknowledgement must arrive, or its slot in the slab is never free again: a full box is waited for. Its reader empties it each turn. False: closing, the reader is gone. */
static bool tell(struct store *s, const struct store_ack *a)
{
	struct pollfd stop = {.fd = s->stop, .events = POLLIN};
	while (mailbox_post(s->up, a, sizeof(*a)) != 0)
		if (poll(&stop, 1, ACK_WAIT_MS) > 0)
			return false;
	return true;
}

static void acknowledge(struct store *s)
{
	bool heard = true;
	for (size_t i = 0; i < s->n; i++) {
		const struct store_msg *m = s->batch[i];
		struct store_ack a = {.tag = s->up_tag + (m->kind == STORE_CALL ? STORE_ROWS : STORE_KEPT)};
		outbox_news(s->outbox);
		if (m->kind == STORE_MARK) {
			outbox_written(s->outbox, &m->mark);
			continue;
		}
		memcpy(a.sid, m->kind == STORE_CALL ? m->call.sid : m->post.sid, sizeof(a.sid));
		if (m->kind == STORE_CALL) {
			a.end = m->call.end;
		} else {
			memcpy(a.token, m->post.token, sizeof(a.token));
			a.owner = m->post.owner;
		}
		heard = heard && tell(s, &a);
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
	s->n = s->n_bytes = 0;
	return 0;
}

/* How long to wait: until the batch is due, or a row of the outbox is. */
static int wait_ms(const struct store *s)
{
	int64_t at = s->n ? MIN(s->due_ms, s->outbox_ms) : s->outbox_ms;
	if (is_full(s) && !s->failing)
		return 0;
	int64_t ms = at == INT64_MAX ? INT_MAX : at - clock_boot_ms();
	return ms < 0 ? 0 : (int)MIN(ms, INT_MAX);
}

static void *store_thread(void *arg)
{
	struct store *s = arg;
	while (!s->closing) {
		/* A full batch takes no more mail; a negative fd is not looked at. */
		struct pollfd p[2] = {{.fd = s->stop, .events = POLLIN}, {.fd = is_full(s) ? -1 : mailbox_fd(s->box), .events = POLLIN}};
		(void)poll(p, 2, wait_ms(s));
		s->closing = p[0].revents & POLLIN;
		gather(s);
		if (s->n && !s->closing && ((is_full(s) && !s->failing) || clock_boot_ms() >= s->due_ms))
			(void)write_batch(s);
		if (!s->closing)
			s->outbox_ms = s->failing ? INT64_MAX : outbox_turn(s->outbox, clock_utc_ms(), clock_boot_ms());
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
	outbox_free(s->outbox);
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
	s->box = mailbox_new(BOX_ROWS * (STORE_MSG(call) + MAILBOX_HEAD));
	err = store_db_open(path, &s->db, why, cap);
	if (err == 0)
		s->outbox = outbox_new(store_db_posts(s->db), up, up_tag + STORE_DUE);
	if (err == 0 && (s->stop < 0 || !s->outbox || !s->box || start_thread(s))) {
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
	struct store_msg m = {.kind = STORE_CALL, .n = STORE_MSG(call), .call = *r};
	return mailbox_post(s->box, &m, m.n) ? -EAGAIN : 0;
}

int store_post_put(struct store *s, const struct store_post *p)
{
	size_t n = sizeof(*p) + p->n_url + p->n_form, head = offsetof(struct store_msg, post);
	if (p->n_url > STORE_POST_MAX || p->n_form > STORE_POST_MAX || n > STORE_POST_MAX)
		return -E2BIG;
	struct store_msg *m = malloc(head + n);
	if (!m)
		return -EAGAIN;
	m->kind = STORE_POST;
	m->n = (uint32_t)(head + n);
	memcpy((char *)m + head, p, n);
	int err = mailbox_post(s->box, m, m->n);
	free(m);
	return err ? -EAGAIN : 0;
}

int store_post_mark(struct store *s, const struct store_mark *k)
{
	struct store_msg m = {.kind = STORE_MARK, .n = STORE_MSG(mark), .mark = *k};
	return mailbox_post(s->box, &m, m.n) ? -EAGAIN : 0;
}

size_t store_room(struct store *s)
{
	return mailbox_room(s->box) / (STORE_MSG(call) + MAILBOX_HEAD);
}

void store_facts(struct store *s, struct store_facts *ret)
{
	*ret = (struct store_facts){
	    .failing = s->failing, .pending = outbox_pending(s->outbox), .in_flight = outbox_in_flight(s->outbox), .room_bytes = mailbox_room(s->box)};
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
