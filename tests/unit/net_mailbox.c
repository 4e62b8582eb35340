/* SPDX-License-Identifier: Apache-2.0
 *
 * The mailbox: order, bounds to the byte, the bell, descriptors, and several threads that post to one (the sanitizer of threads looks on).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

static bool rings(struct mailbox *m)
{
	struct pollfd p = {.fd = mailbox_fd(m), .events = POLLIN};
	return poll(&p, 1, 0) == 1;
}

static void test_bounds(void **state)
{
	struct mailbox *m = mailbox_new(100);
	char buf[100], msg[100];
	uint64_t full = count_get(COUNT_MAIL_FULL);
	memset(msg, 'm', sizeof(msg));
	assert_int_equal(mailbox_room(m), 100);
	assert_false(rings(m));
	assert_int_equal(mailbox_take(m, buf, sizeof(buf), NULL), 0);
	assert_int_equal(mailbox_post(m, msg, 100 - MAILBOX_HEAD + 1), -ENOSPC);
	assert_false(rings(m));
	assert_int_equal(mailbox_post(m, msg, 100 - MAILBOX_HEAD), 0);
	assert_int_equal(mailbox_room(m), 0);
	assert_true(rings(m));
	assert_int_equal(mailbox_post(m, msg, 1), -ENOSPC);
	assert_int_equal(count_get(COUNT_MAIL_FULL), full + 2);
	assert_int_equal(mailbox_take(m, buf, sizeof(buf), NULL), 100 - MAILBOX_HEAD);
	assert_memory_equal(buf, msg, 100 - MAILBOX_HEAD);
	assert_false(rings(m));
	mailbox_free(m);
	mailbox_free(NULL);
}

/* Every length at every place of the ring: heads and bytes wrap around. */
static void test_wraps(void **state)
{
	struct mailbox *m = mailbox_new(61);
	char buf[64], msg[64];
	for (int i = 1; i < 5000; i++) {
		size_t n = 1 + (size_t)i % 20;
		memset(msg, i, sizeof(msg));
		assert_int_equal(mailbox_post(m, msg, n), 0);
		assert_int_equal(mailbox_post(m, msg, 1), 0);
		assert_int_equal(mailbox_take(m, buf, sizeof(buf), NULL), n);
		assert_memory_equal(buf, msg, n);
		assert_true(rings(m));
		assert_int_equal(mailbox_take(m, buf, n, NULL), 1);
		assert_int_equal(buf[0], (char)i);
		assert_false(rings(m));
	}
	mailbox_free(m);
}

static void test_fds(void **state)
{
	struct mailbox *m = mailbox_new(1000);
	int p[2], q[2], fd;
	char buf[16], c;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(pipe(q), 0);
	assert_int_equal(mailbox_post(m, "plain", 5), 0);
	assert_int_equal(mailbox_post_fd(m, "fd", 2, p[1]), 0);
	assert_int_equal(mailbox_post_fd(m, "fd", 2, q[1]), 0);
	assert_int_equal(mailbox_take(m, buf, sizeof(buf), &fd), 5);
	assert_int_equal(fd, -1);
	assert_int_equal(mailbox_take(m, buf, sizeof(buf), &fd), 2);
	assert_int_equal(fd, p[1]);
	close(fd);
	assert_int_equal(mailbox_take(m, buf, sizeof(buf), NULL), 2); /* nobody wants it: closed */
	assert_int_equal(read(q[0], &c, 1), 0);
	close(q[0]);
	/* in the box when the box goes */
	assert_int_equal(pipe(q), 0);
	assert_int_equal(mailbox_post_fd(m, "fd", 2, q[1]), 0);
	assert_int_equal(mailbox_take(m, buf, sizeof(buf), &fd), 2);
	assert_int_equal(mailbox_post_fd(m, "fd", 2, fd), 0);
	mailbox_free(m);
	assert_int_equal(read(q[0], &c, 1), 0);
	close(p[0]);
	close(q[0]);
	/* refused: still the poster's */
	m = mailbox_new(4);
	assert_int_equal(pipe(q), 0);
	assert_int_equal(mailbox_post_fd(m, "fd", 2, q[1]), -ENOSPC);
	assert_true(fcntl(q[1], F_GETFD) >= 0);
	close(q[0]);
	close(q[1]);
	mailbox_free(m);
}

/* ---- three post, one takes ---- */
#define POSTERS  3
#define MESSAGES 5000

struct note {
	uint32_t who, number;
	char text[40];
};

struct poster {
	struct mailbox *m;
	uint32_t who;
	int fds;
};

static void *poster_h(void *arg)
{
	struct poster *p = arg;
	for (uint32_t i = 0; i < MESSAGES;) {
		struct note n = {p->who, i, {0}};
		int fd = i % 512 == 0 ? fcntl(mailbox_fd(p->m), F_DUPFD_CLOEXEC, 0) : -1;
		memset(n.text, (int)('a' + p->who), sizeof(n.text));
		if (mailbox_post_fd(p->m, &n, i % 2 ? sizeof(n) : 8, fd) == 0) {
			p->fds += fd >= 0;
			i++;
			continue;
		}
		if (fd >= 0)
			close(fd);
		sched_yield();
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct mailbox *m = mailbox_new(4096);
	pthread_t t[POSTERS];
	struct poster p[POSTERS];
	uint32_t next[POSTERS] = {0};
	int fds = 0, expected = 0;
	for (uint32_t i = 0; i < POSTERS; i++) {
		p[i] = (struct poster){.m = m, .who = i};
		assert_int_equal(pthread_create(&t[i], NULL, poster_h, &p[i]), 0);
	}
	for (int got = 0; got < POSTERS * MESSAGES;) {
		struct pollfd w = {.fd = mailbox_fd(m), .events = POLLIN};
		struct note n;
		int fd;
		ssize_t r;
		assert_int_equal(poll(&w, 1, 20000), 1); /* a lost bell would hang here */
		while ((r = mailbox_take(m, &n, sizeof(n), &fd)) > 0) {
			assert_true(n.who < POSTERS);
			assert_int_equal(n.number, next[n.who]);
			assert_int_equal(r, n.number % 2 ? sizeof(n) : 8);
			assert_true(r == 8 || n.text[39] == (char)('a' + n.who));
			assert_int_equal(fd >= 0, n.number % 512 == 0);
			if (fd >= 0) {
				fds++;
				close(fd);
			}
			next[n.who]++;
			got++;
		}
	}
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(t[i], NULL);
		expected += p[i].fds;
	}
	assert_int_equal(fds, expected);
	assert_int_equal(mailbox_room(m), 4096);
	assert_false(rings(m));
	mailbox_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_wraps),
	    cmocka_unit_test(test_fds),
	    cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
