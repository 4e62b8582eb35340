/* SPDX-License-Identifier: Apache-2.0
 *
 * mailbox: flat messages from any thread to one. A ring of bytes under a lock, each message with an 8-byte head (length, descriptor), and an eventfd that
 * is readable exactly while there is mail. One of the two places in the house with a mutex. Knows nothing of what the messages say; a full box is the
 * poster's business (credits are reserved before a call is taken), it is only counted here.
 */
#include "net/net.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct head {
	uint32_t n;
	int32_t fd;
};
_Static_assert(sizeof(struct head) == MAILBOX_HEAD, "net.h says what a message costs");

struct mailbox {
	pthread_mutex_t lock;
	size_t cap, at, used; /* at: where the oldest message begins */
	int event;
	char ring[];
};

struct mailbox *mailbox_new(size_t bytes)
{
	struct mailbox *m = malloc(sizeof(*m) + bytes);
	if (!m)
		return NULL;
	*m = (struct mailbox){.cap = bytes, .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (m->event < 0 || pthread_mutex_init(&m->lock, NULL)) {
		if (m->event >= 0)
			close(m->event);
		free(m);
		return NULL;
	}
	return m;
}

static void ring_in(struct mailbox *m, const void *p, size_t n)
{
	size_t to = (m->at + m->used) % m->cap, first = MIN(n, m->cap - to);
	memcpy(m->ring + to, p, first);
	memcpy(m->ring, (const char *)p + first, n - first);
	m->used += n;
}

static void ring_out(struct mailbox *m, void *p, size_t n)
{
	size_t first = MIN(n, m->cap - m->at);
	memcpy(p, m->ring + m->at, first);
	memcpy((char *)p + first, m->ring, n - first);
	m->at = (m->at + n) % m->cap;
	m->used -= n;
}

static void bell(struct mailbox *m, bool ring)
{
	uint64_t v = 1;
	/* Neither can block or fail: the count is 0 or 1, and only changed under the lock. */
	ssize_t r = ring ? write(m->event, &v, sizeof(v)) : read(m->event, &v, sizeof(v));
	ASSERT(r == sizeof(v));
}

int mailbox_post_fd(struct mailbox *m, const void *msg, size_t n, int fd)
{
	struct head h = {(uint32_t)n, fd};
	int err = 0;
	ASSERT(n > 0 && n <= UINT32_MAX - sizeof(h)); /* an empty message could not be told from an empty box */
	pthread_mutex_lock(&m->lock);
	if (sizeof(h) + n > m->cap - m->used) {
		err = -ENOSPC;
	} else {
		bool was_empty = m->used == 0;
		ring_in(m, &h, sizeof(h));
		ring_in(m, msg, n);
		if (was_empty)
			bell(m, true);
	}
	pthread_mutex_unlock(&m->lock);
	if (err)
		count_add(COUNT_MAIL_FULL, 1);
	return err;
}

int mailbox_post(struct mailbox *m, const void *msg, size_t n)
{
	return mailbox_post_fd(m, msg, n, -1);
}

ssize_t mailbox_take(struct mailbox *m, void *buf, size_t cap, int *ret_fd)
{
	struct head h = {0, -1};
	pthread_mutex_lock(&m->lock);
	if (m->used) {
		ring_out(m, &h, sizeof(h));
		ASSERT(h.n <= cap); /* both ends know the same messages */
		ring_out(m, buf, h.n);
		if (m->used == 0)
			bell(m, false);
	}
	pthread_mutex_unlock(&m->lock);
	if (ret_fd)
		*ret_fd = h.fd;
	else if (h.fd >= 0)
		close(h.fd);
	return h.n;
}

int mailbox_fd(const struct mailbox *m)
{
	return m->event;
}

size_t mailbox_room(struct mailbox *m)
{
	pthread_mutex_lock(&m->lock);
	size_t room = m->cap - m->used;
	pthread_mutex_unlock(&m->lock);
	return room;
}

/* No one posts any more. Descriptors that nobody took are closed. */
void mailbox_free(struct mailbox *m)
{
	struct head h;
	if (!m)
		return;
	while (m->used) {
		ring_out(m, &h, sizeof(h));
		m->at = (m->at + h.n) % m->cap;
		m->used -= h.n;
		if (h.fd >= 0)
			close(h.fd);
	}
	close(m->event);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
