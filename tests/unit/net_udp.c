/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams over a real loop on loopback: the local address is learned, answers leave from it, batches keep their order, a flood is bounded by the turn.
 */
#include "net_test.h"

#include <poll.h>

static bool one_datagram(struct ear *e)
{
	return e->n_datagrams >= 1;
}

/* Binds, sends from a connected socket to `to`, and expects the same bytes back: a connected socket hears only that very address. */
static void ping(const char *bind_to, const char *to, bool mapped)
{
	struct ear *e = ear_new();
	struct addr at = addr_of(bind_to), dst = addr_of(to);
	char buf[64];
	int fd = net_bind_udp(&at, 1 << 20);
	assert_true(fd >= 0);
	assert_int_equal(net_add_udp(e->net, fd, 3, &at), 0);
	dst.port = bound_to(fd).port;
	int s = dial(SOCK_DGRAM, dst);
	assert_int_equal(send(s, "OPTIONS", 7, 0), 7);
	e->echo = true;
	ear_run(e, one_datagram);
	assert_int_equal(e->flow.kind, FLOW_UDP);
	assert_int_equal(e->flow.listener, 3);
	assert_int_equal(e->flow.conn, 0);
	assert_true(addr_eq(&e->flow.local, &dst));
	struct addr mine = bound_to(s);
	assert_true(addr_eq(&e->flow.peer, &mine));
	assert_int_equal(e->flow.peer.family, mapped ? AF_INET : dst.family);
	assert_int_equal(recv(s, buf, sizeof(buf), 0), 7);
	assert_memory_equal(buf, "OPTIONS", 7);
	close(s);
	ear_free(e);
}

static void test_addresses(void **state)
{
	ping("127.0.0.1:0", "127.0.0.1:0", false);
	ping("0.0.0.0:0", "127.0.0.1:0", false);
	ping("0.0.0.0:0", "127.0.0.2:0", false);
	ping("[::1]:0", "[::1]:0", false);
	ping("[::]:0", "[::1]:0", false);
	ping("[::]:0", "127.0.0.2:0", true);
}

static bool all_datagrams(struct ear *e)
{
	return e->n_datagrams >= 1000;
}

struct order {
	uint32_t next;
	int most_a_turn, this_turn, turn;
};

static void in_order(void *arg, const struct flow *from, struct str b)
{
	struct ear *e = arg;
	struct order *o = e->more;
	uint32_t v;
	assert_int_equal(b.n, 4);
	memcpy(&v, b.p, 4);
	assert_int_equal(v, o->next++);
	o->this_turn = o->turn == e->n_turns ? o->this_turn + 1 : 1;
	o->turn = e->n_turns;
	o->most_a_turn = MAX(o->most_a_turn, o->this_turn);
	e->n_datagrams++;
}

/* A thousand that wait are read in order, no more than 256 of them a turn. They go out through the batch of another loop. */
static void test_batches(void **state)
{
	struct ear *to = ear_new(), *from = ear_new();
	struct order o = {0};
	struct addr at = addr_of("127.0.0.1:0");
	int fd = net_bind_udp(&at, 4 << 20), out = net_bind_udp(&at, 0);
	assert_int_equal(net_add_udp(to->net, fd, 0, &at), 0);
	assert_int_equal(net_add_udp(from->net, out, 0, &at), 0);
	struct flow f = {.kind = FLOW_UDP, .peer = bound_to(fd)};
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(from->wire->send(from->wire->arg, &f, &i, 4), 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 0), 0); /* gathered, not gone yet */
	ear_run_ms(from, 1);
	to->more = &o;
	to->net->user.on_datagram = in_order;
	ear_run(to, all_datagrams);
	assert_int_equal(to->n_datagrams, 1000);
	assert_true(o.most_a_turn > 64 && o.most_a_turn <= 256);
	ear_free(to);
	ear_free(from);
}

static void test_sizes(void **state)
{
	struct ear *e = ear_new();
	struct addr at = addr_of("[::1]:0");
	static char big[65507], back[65536];
	int fd = net_bind_udp(&at, 1 << 20);
	assert_int_equal(net_add_udp(e->net, fd, 0, &at), 0);
	int s = dial(SOCK_DGRAM, bound_to(fd));
	memset(big, 'b', sizeof(big));
	assert_int_equal(send(s, big, sizeof(big), 0), sizeof(big));
	e->echo = true;
	ear_run(e, one_datagram);
	assert_int_equal(e->n, sizeof(big));
	assert_int_equal(recv(s, back, sizeof(back), 0), sizeof(big));
	assert_memory_equal(back, big, sizeof(big));
	assert_int_equal(e->wire->send(e->wire->arg, &e->flow, back, 65508), -EMSGSIZE);
	/* an empty datagram is a datagram */
	assert_int_equal(send(s, "", 0, 0), 0);
	e->n_datagrams = 0;
	e->echo = false;
	ear_run(e, one_datagram);
	assert_int_equal(e->n, 0);
	close(s);
	ear_free(e);
}

static void test_no_way(void **state)
{
	struct ear *e = ear_new();
	struct flow v6 = {.kind = FLOW_UDP, .peer = addr_of("[::1]:9")}, none = {.kind = FLOW_NONE}, v4 = {.kind = FLOW_UDP, .peer = addr_of("127.0.0.1:9")};
	assert_int_equal(e->wire->send(e->wire->arg, &v6, "x", 1), -EHOSTUNREACH);
	struct addr at = addr_of("127.0.0.1:0");
	int fd = net_bind_udp(&at, 0);
	assert_int_equal(net_add_udp(e->net, fd, 0, &at), 0);
	assert_int_equal(e->wire->send(e->wire->arg, &v6, "x", 1), -EHOSTUNREACH);
	assert_int_equal(e->wire->send(e->wire->arg, &none, "x", 1), -EINVAL);
	/* one that cannot go does not hold up those behind it */
	struct flow bad = v4;
	bad.peer = addr_of("255.255.255.255:9"); /* EACCES without SO_BROADCAST */
	int s = net_bind_udp(&at, 0);
	v4.peer = bound_to(s);
	assert_int_equal(e->wire->send(e->wire->arg, &bad, "x", 1), 0);
	assert_int_equal(e->wire->send(e->wire->arg, &v4, "y", 1), 0);
	ear_run_ms(e, 1);
	char c = 0;
	assert_int_equal(recv(s, &c, 1, 0), 1);
	assert_int_equal(c, 'y');
	close(s);
	ear_free(e);
}

static void test_taken(void **state)
{
	struct addr at = addr_of("127.0.0.1:0");
	int u = net_bind_udp(&at, 0), t = net_bind_listen(&at);
	assert_true(u >= 0 && t >= 0);
	struct addr ua = bound_to(u), ta = bound_to(t);
	assert_int_equal(net_bind_udp(&ua, 0), -EADDRINUSE);
	assert_int_equal(net_bind_listen(&ta), -EADDRINUSE);
	struct addr foreign = addr_of("192.0.2.1:5060"), none = {0};
	assert_int_equal(net_bind_udp(&foreign, 0), -EADDRNOTAVAIL);
	assert_int_equal(net_bind_udp(&none, 0), -EAFNOSUPPORT);
	assert_int_equal(fcntl(u, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(u, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	close(u);
	close(t);
}

/* ---- the turn: datagrams, timers, mail, on_turn ---- */
struct course {
	char text[16];
	int n, fd;
	struct timer t;
	struct ear *e;
};

static void note(struct course *c, char what)
{
	if (c->n < 15)
		c->text[c->n++] = what;
}

static void course_datagram(void *arg, const struct flow *from, struct str b)
{
	struct ear *e = arg;
	struct course *c = e->more;
	note(c, 'd');
	timer_set(e->wheel, &c->t, net_now_ms(e->net) - 100); /* due at once: in this very turn */
	e->n_datagrams++;
}

static void course_timer(struct timer *t, void *arg, int64_t now_ms)
{
	note(arg, 't');
}

static void course_mail(void *arg, int fd)
{
	struct course *c = arg;
	note(c, 'm');
	net_drop_fd(c->e->net, fd); /* its own, inside its own call */
	net_drop_fd(c->e->net, fd); /* unknown: nothing */
}

static void course_turn(void *arg, int64_t now_ms)
{
	struct ear *e = arg;
	if (!e->n_datagrams)
		return; /* the first turn, before any event */
	note(e->more, 'e');
	net_stop(e->net);
}

static void test_turn(void **state)
{
	struct ear *e = ear_new();
	struct course c = {.e = e};
	struct addr at = addr_of("127.0.0.1:0");
	int fd = net_bind_udp(&at, 0), p[2];
	e->more = &c;
	e->net->user.on_datagram = course_datagram;
	e->net->user.on_turn = course_turn;
	assert_int_equal(net_add_udp(e->net, fd, 0, &at), 0);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	int s = dial(SOCK_DGRAM, bound_to(fd));
	assert_int_equal(send(s, "x", 1, 0), 1);
	assert_int_equal(net_add_fd(e->net, p[0], course_mail, &c), 0);
	timer_init(&c.t, course_timer, &c);
	assert_int_equal(net_run(e->net), 0);
	c.text[c.n] = 0;
	assert_string_equal(c.text, "dtme");
	close(s);
	close(p[0]);
	close(p[1]);
	ear_free(e);
}

static void on_signal(void *arg, int signum)
{
	struct ear *e = arg;
	e->n_gone = signum;
	net_stop(e->net);
}

static void test_signal(void **state)
{
	struct ear *e = ear_new();
	assert_int_equal(net_add_signal(e->net, SIGUSR1, on_signal, e), 0);
	raise(SIGUSR1);
	ear_run(e, NULL);
	assert_int_equal(e->n_gone, SIGUSR1);
	ear_free(e);
}

/* The clock of a turn stands still, and the alarm rings for the wheel alone. */
static bool timers_ran(struct ear *e)
{
	return e->n_frames >= 20;
}

static void again_h(struct timer *t, void *arg, int64_t now_ms)
{
	struct ear *e = arg;
	assert_int_equal(now_ms, net_now_ms(e->net));
	assert_true(now_ms >= (int64_t)e->n);
	e->n_frames++;
	e->n = (size_t)now_ms + 2;
	timer_set(e->wheel, t, now_ms + 2);
}

static void test_timers(void **state)
{
	struct ear *e = ear_new();
	struct timer t;
	timer_init(&t, again_h, e);
	timer_set(e->wheel, &t, clock_boot_ms() + 1);
	ear_run(e, timers_ran);
	assert_true(e->n_turns < 200);
	timer_stop(&t);
	ear_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses), cmocka_unit_test(test_batches), cmocka_unit_test(test_sizes),  cmocka_unit_test(test_no_way),
	    cmocka_unit_test(test_taken),     cmocka_unit_test(test_turn),    cmocka_unit_test(test_signal), cmocka_unit_test(test_timers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
