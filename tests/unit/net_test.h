/* SPDX-License-Identifier: Apache-2.0
 *
 * net_test: what the tests of net/ share: a loop with a user that writes down what it hears, run until a condition holds. A guard ends a run that takes
 * too long; it is the failure, not the way a test waits.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net_int.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define GUARD_MS 20000

struct ear {
	struct net *net;
	struct wheel *wheel;
	const struct wire *wire;
	struct timer guard;
	bool late;
	bool (*done)(struct ear *e);
	/* what was heard */
	int n_datagrams, n_frames, n_stream_calls, n_closed, n_conn, n_gone, n_turns;
	bool told_before; /* on_conn came before the first byte */
	bool echo;        /* answer each datagram and frame with the same bytes */
	struct flow flow; /* of the last one */
	int conn_fd;      /* of the last on_conn */
	size_t n;
	char bytes[1 << 17]; /* the last datagram or frame */
	void *more;
};

static inline void ear_datagram(void *arg, const struct flow *from, struct str b)
{
	struct ear *e = arg;
	e->n_datagrams++;
	e->flow = *from;
	e->n = b.n;
	memcpy(e->bytes, b.p, b.n);
	if (e->echo)
		assert_int_equal(e->wire->send(e->wire->arg, from, b.p, b.n), 0);
}

/* A toy protocol: three bytes of length, then as many bytes. 'X' as the first byte is an error. */
static inline ssize_t ear_stream(void *arg, const struct flow *from, struct str b, size_t *ret_need)
{
	struct ear *e = arg;
	e->n_stream_calls++;
	e->flow = *from;
	e->told_before = e->n_conn > 0;
	if (b.p[0] == 'X')
		return -1;
	*ret_need = 3;
	if (b.n < 3)
		return 0;
	size_t n = ((size_t)(uint8_t)b.p[0] << 16 | (size_t)(uint8_t)b.p[1] << 8 | (uint8_t)b.p[2]);
	*ret_need = 3 + n;
	if (b.n < 3 + n)
		return 0;
	e->n_frames++;
	e->n = n;
	memcpy(e->bytes, b.p + 3, n);
	if (e->echo)
		assert_int_equal(e->wire->send(e->wire->arg, from, b.p, 3 + n), 0);
	return (ssize_t)(3 + n);
}

static inline void ear_closed(void *arg, const struct flow *f)
{
	struct ear *e = arg;
	e->n_closed++;
	e->flow = *f;
}

static inline void ear_turn(void *arg, int64_t now_ms)
{
	struct ear *e = arg;
	e->n_turns++;
	if (e->done && e->done(e))
		net_stop(e->net);
}

static inline void ear_conn(void *arg, const struct flow *f, int fd)
{
	struct ear *e = arg;
	e->flow = *f;
	if (fd >= 0) {
		e->n_conn++;
		e->conn_fd = fd;
	} else {
		e->n_gone++;
	}
}

static inline void ear_late(struct timer *t, void *arg, int64_t now_ms)
{
	struct ear *e = arg;
	e->late = true;
	net_stop(e->net);
}

static inline struct ear *ear_new(void)
{
	static const struct net_user user = {ear_datagram, ear_stream, ear_closed, ear_turn, NULL};
	struct ear *e = calloc(1, sizeof(*e));
	assert_non_null(e);
	struct net_user u = user;
	u.arg = e;
	e->wheel = wheel_new(clock_boot_ms());
	struct net_opts o = {.user = &u, .wheel = e->wheel, .on_conn = ear_conn, .arg = e};
	e->net = net_open(&o);
	assert_non_null(e->net);
	e->wire = net_wire(e->net);
	e->conn_fd = -1;
	timer_init(&e->guard, ear_late, e);
	return e;
}

static inline void ear_free(struct ear *e)
{
	net_close(e->net);
	wheel_free(e->wheel);
	free(e);
}

static inline void ear_run(struct ear *e, bool (*done)(struct ear *e))
{
	e->done = done;
	timer_set(e->wheel, &e->guard, clock_boot_ms() + GUARD_MS);
	assert_int_equal(net_run(e->net), 0);
	timer_stop(&e->guard);
	assert_false(e->late);
}

/* Runs for a while, for what must not happen. */
static inline void ear_rest_h(struct timer *t, void *arg, int64_t now_ms)
{
	net_stop(((struct ear *)arg)->net);
}

static inline void ear_run_ms(struct ear *e, int ms)
{
	struct timer t;
	e->done = NULL;
	timer_init(&t, ear_rest_h, e);
	timer_set(e->wheel, &t, clock_boot_ms() + ms);
	assert_int_equal(net_run(e->net), 0);
	timer_stop(&t);
}

static inline struct addr addr_of(const char *z)
{
	struct addr a;
	assert_int_equal(addr_parse(str_z(z), &a), 0);
	return a;
}

static inline struct addr bound_to(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct addr a;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(net_addr_from_sock(&ss, &a), 0);
	return a;
}

/* A socket of the test's own, connected to `to`. */
static inline int dial(int type, struct addr to)
{
	struct sockaddr_storage ss;
	int fd = socket(to.family, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	socklen_t len = net_addr_to_sock(&to, false, &ss);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}
