/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_hold: what the keeper holds, without processes: pairs of ports and their filter, ranges that are used up or change, connections, memory, poison.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/keeper_int.h"

static const struct addr local = {.family = AF_INET, .ip = {127, 0, 0, 1}};

/* Eight ports of which the first is even and all are free, as far as one can know. */
static uint16_t free_range(void)
{
	for (;;) {
		uint16_t low = (uint16_t)(20000 + rand_u32() % 20000 * 2);
		int fds[8], n = 0;
		for (; n < 8; n++) {
			struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(low + n)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
			fds[n] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
			if (bind(fds[n], (struct sockaddr *)&a, sizeof(a)) < 0)
				break;
		}
		link_close_fds(fds, MIN(n + 1, 8));
		if (n == 8)
			return low;
	}
}

static void send_to(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	close(fd);
}

static ssize_t got(int fd)
{
	char c;
	return recv(fd, &c, 1, MSG_DONTWAIT); /* loopback: what was sent is there */
}

static void pairs_wear_a_filter(void **state)
{
	struct keep_msg m = {0};
	int fds[LINK_FDS], off = 0;
	uint16_t low = free_range();
	assert_int_equal(hold_pool(0, &local, low, (uint16_t)(low + 7)), 0);
	assert_int_equal(hold_want(0, 3, &m, fds), 6);
	assert_int_equal(m.n, 3);
	assert_int_equal(m.pairs.exhausted, 0);
	assert_int_equal(m.pairs.ports[0], low);
	send_to(low);
	assert_int_equal(got(fds[0]), -1);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_DETACH_FILTER, &off, sizeof(off)), 0); /* as a worker does */
	send_to(low);
	assert_int_equal(got(fds[0]), 1);
	send_to(low);

	hold_new_worker(); /* it has no call on that port: filter on again, the old call's packet is gone */
	assert_int_equal(hold_want(0, 126, &m, fds), 8);
	assert_int_equal(m.pairs.exhausted, 1);
	assert_int_equal(m.pairs.ports[0], low);
	assert_int_equal(got(fds[0]), -1);
	send_to(low);
	assert_int_equal(got(fds[0]), -1);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_DETACH_FILTER, &off, sizeof(off)), 0);

	hold_new_worker(); /* this one has: all stays as it was */
	send_to(low);
	m = (struct keep_msg){.n = 3, .pairs.ports = {(uint16_t)(low + 1), low, low}};
	assert_int_equal(hold_fetch(&m, fds), 2);
	assert_int_equal(m.pairs.has[0], 0);
	assert_int_equal(m.pairs.has[1], 1);
	assert_int_equal(m.pairs.has[2], 0);
	assert_int_equal(got(fds[0]), 1);
	assert_int_equal(hold_want(0, 126, &m, fds), 6);
	hold_untake(&m); /* the message did not go: again */
	assert_int_equal(hold_want(0, 126, &m, fds), 6);
	assert_int_equal(hold_want(0, 1, &m, fds), 0);
	assert_int_equal(hold_want(7, 1, &m, fds), 0);
	assert_int_equal(hold_want(200, 1, &m, fds), 0);
	hold_done();
}

static void ranges_change(void **state)
{
	struct keep_msg m = {0};
	int fds[LINK_FDS];
	uint16_t low = free_range();
	assert_int_equal(hold_pool(0, &local, low, (uint16_t)(low + 3)), 0);
	assert_int_equal(hold_want(0, 2, &m, fds), 4);
	hold_new_worker();
	assert_int_equal(hold_pool(0, &local, (uint16_t)(low + 4), (uint16_t)(low + 7)), 0);
	m = (struct keep_msg){.n = 1, .pairs.ports = {low}}; /* a living call keeps its port of the old range */
	assert_int_equal(hold_fetch(&m, fds), 2);
	assert_int_equal(hold_want(0, 126, &m, fds), 4);
	assert_int_equal(m.pairs.ports[0], low + 4);
	hold_ready(); /* the other of the old range is closed */
	m = (struct keep_msg){.n = 1, .pairs.ports = {(uint16_t)(low + 2)}};
	assert_int_equal(hold_fetch(&m, fds), 0);
	assert_int_equal(hold_pool(0, &local, 0, 0), -EINVAL);
	assert_int_equal(hold_pool(8, &local, 1, 2), -EINVAL);
	hold_done();
}

static void sockets_and_memory(void **state)
{
	struct addr bound, again;
	int fd, fd2;
	bool fresh;
	assert_int_equal(hold_socket(KEEP_UDP, &local, &bound, &fd), 0);
	assert_int_not_equal(bound.port, 0);
	assert_int_equal(hold_socket(KEEP_UDP, &local, &again, &fd2), 0);
	assert_int_not_equal(again.port, bound.port); /* two of the same wish in one life are two sockets */
	assert_int_equal(hold_socket(KEEP_UDP, &bound, &again, &fd2), -EADDRINUSE);
	int r = hold_socket(KEEP_LISTEN, &bound, &again, &fd2); /* UDP and TCP do not mind each other; somebody's connection may have the number */
	assert_true(r == 0 || r == -EADDRINUSE);
	hold_new_worker();
	assert_int_equal(hold_socket(KEEP_UDP, &local, &again, &fd2), 0);
	assert_int_equal(again.port, bound.port);
	assert_int_equal(fd, fd2);
	hold_ready();
	assert_int_equal(hold_memory("calls", 4096, &fresh, &fd), 0);
	assert_true(fresh);
	assert_int_equal(hold_memory("calls", 4096, &fresh, &fd2), 0);
	assert_false(fresh);
	assert_int_equal(fd, fd2);
	assert_int_equal(ftruncate(fd, 100), -1); /* sealed */
	assert_int_equal(hold_memory("calls", 8192, &fresh, &fd2), 0);
	assert_true(fresh);
	hold_done();
}

static void connections(void **state)
{
	static struct keep_msg m;
	int fds[LINK_FDS], seen = 0;
	for (uint32_t i = 1; i <= 150; i++) {
		struct flow f = {.kind = FLOW_TCP, .conn = i};
		assert_int_equal(hold_conn(&f, dup(0)), 0);
		assert_int_equal(hold_conn(&f, dup(0)), 0); /* the same again replaces */
	}
	struct flow f = {.conn = 77};
	hold_drop_conn(&f);
	hold_drop_conn(&f);
	for (m.conns.from = 0;; m.conns.from += m.n) {
		seen += hold_conns(&m, fds);
		for (uint32_t i = 0; i < m.n; i++)
			assert_int_not_equal(m.conns.flows[i].conn, 77);
		if (!m.conns.more)
			break;
	}
	assert_int_equal(seen, 149);
	m.conns.from = UINT32_MAX;
	assert_int_equal(hold_conns(&m, fds), 0);
	hold_done();
}

static int64_t now_ms;
static int64_t told_ms(void)
{
	return now_ms;
}

static void die_of(struct poison_page *p, uint32_t kind, uint64_t what, uint32_t step, uint32_t points)
{
	p->lines[3].line = (struct poison_line){.what = what, .step = step, .kind = kind};
	assert_true(poison_note(p, points, now_ms));
	assert_int_equal(p->lines[3].line.kind, POISON_IDLE);
}

static void poison(void **state)
{
	static struct poison_page p;
	now_ms = 1000;
	assert_false(poison_note(&p, POISON_CRASH, now_ms));
	die_of(&p, POISON_CALL, 5, 1, POISON_CRASH);
	assert_false(poison_is(&p, POISON_CALL, 5, 1, told_ms));
	die_of(&p, POISON_CALL, 5, 2, POISON_CRASH); /* another step is another case */
	assert_false(poison_is(&p, POISON_CALL, 5, 2, told_ms));
	die_of(&p, POISON_CALL, 5, 1, POISON_CRASH);
	assert_true(poison_is(&p, POISON_CALL, 5, 1, told_ms));
	assert_false(poison_is(&p, POISON_DATAGRAM, 5, 1, told_ms));
	for (int i = 0; i < 4; i++) {
		assert_false(poison_is(&p, POISON_DATAGRAM, 9, 0, told_ms));
		die_of(&p, POISON_DATAGRAM, 9, (uint32_t)i, POISON_KILLED); /* the step of a datagram does not count */
	}
	assert_true(poison_is(&p, POISON_DATAGRAM, 9, 0, told_ms));
	now_ms += POISON_MS - 1;
	assert_true(poison_is(&p, POISON_DATAGRAM, 9, 0, told_ms));
	now_ms += 1;
	assert_false(poison_is(&p, POISON_DATAGRAM, 9, 0, told_ms));
	assert_true(poison_is(&p, POISON_CALL, 5, 1, told_ms));
	for (uint64_t i = 100; i < 100 + POISON_CASES; i++)
		die_of(&p, POISON_DATAGRAM, i, 0, POISON_CRASH);
	assert_false(poison_is(&p, POISON_CALL, 5, 1, told_ms)); /* the oldest went */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pairs_wear_a_filter), cmocka_unit_test(ranges_change), cmocka_unit_test(sockets_and_memory),
	    cmocka_unit_test(connections),         cmocka_unit_test(poison),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
