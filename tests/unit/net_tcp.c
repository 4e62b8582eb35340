/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP on loopback, with a toy protocol: frames out of single bytes, what is not consumed survives its reader, ends of all kinds are told once, and every
 * bound is met at the limit and past it.
 */
#include "net_test.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define BIG 60000

static struct addr listening(struct ear *e, const char *at)
{
	struct addr a = addr_of(at);
	int fd = net_bind_listen(&a);
	assert_true(fd >= 0);
	assert_int_equal(net_add_listen(e->net, fd, 2, &a), 0);
	struct addr b = bound_to(fd);
	if (addr_is_any(&b))
		b = (struct addr){.family = AF_INET, .port = b.port, .ip = {127, 0, 0, 1}};
	return b;
}

static size_t frame(char *buf, size_t n, char fill)
{
	buf[0] = (char)(n >> 16);
	buf[1] = (char)(n >> 8);
	buf[2] = (char)n;
	memset(buf + 3, fill, n);
	return n + 3;
}

static bool one_conn(struct ear *e)
{
	return e->n_conn >= 1;
}

static bool one_frame(struct ear *e)
{
	return e->n_frames >= 1;
}

static bool one_look(struct ear *e)
{
	return e->n_stream_calls >= 1;
}

static bool one_closed(struct ear *e)
{
	return e->n_closed >= 1;
}

static bool three_frames(struct ear *e)
{
	return e->n_frames >= 3;
}

static void read_all(int fd, char *buf, size_t n)
{
	assert_int_equal(recv(fd, buf, n, MSG_WAITALL), n);
}

/* ---- in ---- */
struct dribble {
	int fd;
	char bytes[512];
	size_t n;
};

static void *dribble_h(void *arg)
{
	struct dribble *d = arg;
	int one = 1;
	setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (size_t i = 0; i < d->n; i++)
		if (send(d->fd, d->bytes + i, 1, 0) != 1)
			return NULL;
	return d;
}

static void one_byte_writes(const char *at, sa_family_t family)
{
	struct ear *e = ear_new();
	struct addr to = listening(e, at);
	struct dribble d = {.fd = dial(SOCK_STREAM, to)};
	char back[512];
	pthread_t t;
	void *ret;
	d.n = frame(d.bytes, 100, 'a');
	d.n += frame(d.bytes + d.n, 0, 'b');
	d.n += frame(d.bytes + d.n, 200, 'c');
	e->echo = true;
	assert_int_equal(pthread_create(&t, NULL, dribble_h, &d), 0);
	ear_run(e, three_frames);
	pthread_join(t, &ret);
	assert_ptr_equal(ret, &d);
	assert_true(e->told_before);
	assert_int_equal(e->flow.kind, FLOW_TCP);
	assert_int_equal(e->flow.listener, 2);
	assert_true(e->flow.conn != 0);
	struct addr mine = bound_to(d.fd);
	assert_true(addr_eq(&e->flow.peer, &mine));
	assert_int_equal(e->flow.peer.family, family);
	assert_true(addr_eq(&e->flow.local, &to));
	assert_int_equal(e->n, 200);
	/* SO_RCVLOWAT: once the length is known nobody calls until the frame is whole (2 looks a frame, and some that came between the bytes of a head) */
	assert_true(e->n_stream_calls <= 16);
	read_all(d.fd, back, d.n);
	assert_memory_equal(back, d.bytes, d.n);
	close(d.fd);
	ear_free(e);
}

static void test_one_byte_writes(void **state)
{
	one_byte_writes("127.0.0.1:0", AF_INET);
	one_byte_writes("[::1]:0", AF_INET6);
	one_byte_writes("[::]:0", AF_INET);
}

/* A frame and a half arrive; the first loop takes the frame and dies; the next one sees the half again, and then the whole. */
static void test_unconsumed_survives(void **state)
{
	struct ear *a = ear_new(), *b = ear_new();
	char buf[1024];
	int s = dial(SOCK_STREAM, listening(a, "127.0.0.1:0")), n = 0;
	size_t first = frame(buf, 50, 'a'), all = first + frame(buf + first, 300, 'b');
	assert_int_equal(send(s, buf, first + 100, 0), first + 100);
	ear_run(a, one_frame);
	assert_int_equal(a->n, 50);
	assert_int_equal(a->n_stream_calls, 2); /* the half was looked at as well */
	struct flow f = a->flow;
	int held = dup(a->conn_fd);
	ear_free(a);
	assert_int_equal(ioctl(held, FIONREAD, &n), 0);
	assert_int_equal(n, 100); /* exactly the frame was consumed, and the end of the loop did not end the connection */
	assert_int_equal(net_add_conn(b->net, held, &f), 0);
	ear_run(b, one_look); /* SO_RCVLOWAT was left at 303 by the first */
	assert_int_equal(b->n_frames, 0);
	assert_int_equal(send(s, buf + first + 100, all - first - 100, 0), all - first - 100);
	b->echo = true;
	ear_run(b, one_frame);
	assert_int_equal(b->n, 300);
	assert_int_equal(b->bytes[299], 'b');
	assert_int_equal(b->flow.conn, f.conn);
	assert_int_equal(b->n_conn, 0); /* an adopted one is no news to its holder */
	read_all(s, buf, all - first);
	/* numbers go on above the adopted one; the same number is not taken twice */
	assert_int_equal(net_add_conn(b->net, held, &f), -EEXIST);
	close(s);
	ear_run(b, one_closed);
	ear_free(b);
}

static void test_numbers(void **state)
{
	struct ear *e = ear_new();
	int p[2];
	struct addr to = listening(e, "127.0.0.1:0");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p), 0);
	struct flow f = {.kind = FLOW_TCP, .conn = e->net->conn_top + 1000}, udp = {.kind = FLOW_UDP, .conn = 1};
	assert_int_equal(net_add_conn(e->net, p[0], &udp), -EINVAL);
	assert_int_equal(net_add_conn(e->net, p[0], &f), 0);
	int s = dial(SOCK_STREAM, to);
	ear_run(e, one_conn);
	assert_int_equal(e->flow.conn, f.conn + 1);
	close(s);
	close(p[1]);
	ear_free(e);
}

/* Half a frame that waits costs no turns, and is given up when it is due. */
static void test_half_a_frame(void **state)
{
	struct ear *e = ear_new();
	char buf[128];
	int s = dial(SOCK_STREAM, listening(e, "127.0.0.1:0"));
	frame(buf, 100, 'a');
	assert_int_equal(send(s, buf, 50, 0), 50);
	ear_run(e, one_look);
	int turns = e->n_turns;
	ear_run_ms(e, 100);
	assert_true(e->n_turns - turns < 10);
	assert_int_equal(e->n_stream_calls, 1);
	wheel_run(e->net->own, clock_boot_ms() + WHOLE_MS - 1000);
	ear_run_ms(e, 1);
	assert_int_equal(e->n_closed, 0);
	wheel_run(e->net->own, clock_boot_ms() + WHOLE_MS);
	ear_run(e, one_closed);
	assert_int_equal(recv(s, buf, 1, 0), 0);
	close(s);
	ear_free(e);
}

/* One that says nothing is closed after WHOLE_MS, one that has spoken is not. */
static void test_silent(void **state)
{
	struct ear *e = ear_new();
	char buf[16];
	struct addr to = listening(e, "127.0.0.1:0");
	int quiet = dial(SOCK_STREAM, to);
	ear_run(e, one_conn);
	uint32_t number = e->flow.conn;
	int spoken = dial(SOCK_STREAM, to);
	assert_int_equal(send(spoken, buf, frame(buf, 1, 'a'), 0), 4);
	ear_run(e, one_frame);
	wheel_run(e->net->own, clock_boot_ms() + WHOLE_MS + 1);
	ear_run(e, one_closed);
	assert_int_equal(e->n_closed, 1);
	assert_int_equal(e->flow.conn, number);
	close(quiet);
	close(spoken);
	ear_free(e);
}

static void test_big_frames(void **state)
{
	struct ear *e = ear_new();
	static char buf[PEEK_MAX + 16], back[PEEK_MAX + 16];
	struct addr to = listening(e, "127.0.0.1:0");
	int s = dial(SOCK_STREAM, to);
	size_t n = frame(buf, BIG, 'z');
	assert_int_equal(fcntl(s, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(send(s, buf, n, 0), n);
	e->echo = true;
	ear_run(e, one_frame);
	assert_int_equal(e->n, BIG);
	assert_int_equal(fcntl(s, F_SETFL, 0), 0);
	read_all(s, back, n);
	assert_memory_equal(buf, back, n);
	/* the longest frame there is; one byte more is refused as soon as it is announced */
	e->n_frames = 0;
	n = frame(buf, PEEK_MAX - 3, 'y');
	int bufsize = 1 << 20;
	setsockopt(s, SOL_SOCKET, SO_SNDBUF, &bufsize, sizeof(bufsize));
	assert_int_equal(fcntl(s, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(send(s, buf, n, 0), n);
	e->echo = false;
	ear_run(e, one_frame);
	assert_int_equal(e->n, PEEK_MAX - 3);
	frame(buf, PEEK_MAX - 2, 'x');
	assert_int_equal(send(s, buf, 3, 0), 3);
	ear_run(e, one_closed);
	close(s);
	ear_free(e);
}

/* ---- ends ---- */
static void test_eof(void **state)
{
	struct ear *e = ear_new();
	char buf[64];
	struct addr to = listening(e, "127.0.0.1:0");
	int s = dial(SOCK_STREAM, to);
	size_t n = frame(buf, 10, 'a');
	assert_int_equal(send(s, buf, n, 0), n);
	close(s); /* frame and end in one turn: the frame counts */
	ear_run(e, one_closed);
	assert_int_equal(e->n_frames, 1);
	ear_run_ms(e, 20);
	assert_int_equal(e->n_closed, 1);
	assert_int_equal(e->n_gone, 1);
	assert_int_equal(e->wire->send(e->wire->arg, &e->flow, "x", 1), -ENOTCONN);
	/* the end behind half a frame, which SO_RCVLOWAT holds back */
	s = dial(SOCK_STREAM, to);
	assert_int_equal(send(s, buf, n - 1, 0), n - 1);
	e->n_stream_calls = e->n_closed = 0;
	ear_run(e, one_look);
	close(s);
	ear_run(e, one_closed);
	/* a reset */
	s = dial(SOCK_STREAM, to);
	struct linger l = {1, 0};
	setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	e->n_conn = e->n_closed = 0;
	ear_run(e, one_conn);
	close(s);
	ear_run(e, one_closed);
	/* the user does not like it */
	s = dial(SOCK_STREAM, to);
	assert_int_equal(send(s, "XYZ", 3, 0), 3);
	e->n_closed = 0;
	ear_run(e, one_closed);
	assert_true(recv(s, buf, 1, 0) <= 0);
	close(s);
	assert_int_equal(e->net->n_conns, 0);
	ear_free(e);
}

/* The holder's copy of the socket does not keep a connection alive that we have given up. */
static void test_held_copy(void **state)
{
	struct ear *e = ear_new();
	char c;
	int s = dial(SOCK_STREAM, listening(e, "127.0.0.1:0"));
	ear_run(e, one_conn);
	int held = dup(e->conn_fd);
	assert_int_equal(send(s, "X", 1, 0), 1);
	ear_run(e, one_closed);
	struct pollfd p = {.fd = s, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_true(recv(s, &c, 1, 0) <= 0);
	close(held);
	close(s);
	ear_free(e);
}

/* ---- out ---- */
/* The peer does not read. What fits is taken, then the connection ends: told once, at the end of the turn, and nobody else is hurt. */
static void test_overflow(void **state)
{
	struct ear *e = ear_new();
	static char buf[BIG + 3];
	struct addr to = listening(e, "127.0.0.1:0");
	int slow = dial(SOCK_STREAM, to), err = 0, taken = 0;
	ear_run(e, one_conn);
	struct flow f = e->flow;
	int good = dial(SOCK_STREAM, to);
	e->n_conn = 0;
	ear_run(e, one_conn);
	struct flow g = e->flow;
	size_t n = frame(buf, BIG, 'q');
	while ((err = e->wire->send(e->wire->arg, &f, buf, n)) == 0)
		assert_true(++taken < 1000);
	assert_int_equal(err, -ENOTCONN);
	assert_true(taken >= 4);
	assert_int_equal(e->n_closed, 0); /* not inside the send */
	assert_int_equal(e->wire->send(e->wire->arg, &f, buf, n), -ENOTCONN);
	assert_int_equal(e->wire->send(e->wire->arg, &g, "ok", 2), 0);
	ear_run(e, one_closed);
	assert_int_equal(e->flow.conn, f.conn);
	read_all(good, buf, 2);
	assert_memory_equal(buf, "ok", 2);
	close(slow);
	close(good);
	ear_free(e);
}

struct reader {
	int fd;
	size_t want, got;
};

static void *reader_h(void *arg)
{
	struct reader *r = arg;
	static char buf[BIG + 3], want[BIG + 3];
	for (char c = 'a'; c < 'e'; c++) {
		size_t n = frame(want, BIG, c);
		if (recv(r->fd, buf, n, MSG_WAITALL) != (ssize_t)n || memcmp(buf, want, n))
			return NULL;
		__atomic_fetch_add(&r->got, n, __ATOMIC_RELAXED);
	}
	return r;
}

/* What waits for a slow reader arrives, whole and in order. */
static void test_queue(void **state)
{
	struct ear *e = ear_new();
	static char buf[BIG + 3];
	int s = dial(SOCK_STREAM, listening(e, "127.0.0.1:0")), small = 4096, n = 0;
	void *ret;
	pthread_t t;
	ear_run(e, one_conn);
	setsockopt(e->conn_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)); /* the kernel takes next to nothing */
	struct reader r = {.fd = s};
	for (char c = 'a'; c < 'e'; c++) {
		size_t len = frame(buf, BIG, c);
		assert_int_equal(e->wire->send(e->wire->arg, &e->flow, buf, len), 0);
		r.want += len;
	}
	assert_int_equal(ioctl(s, FIONREAD, &n), 0);
	assert_true((size_t)n < r.want);
	pthread_create(&t, NULL, reader_h, &r);
	while (__atomic_load_n(&r.got, __ATOMIC_RELAXED) < r.want && !e->n_closed)
		ear_run_ms(e, 1);
	pthread_join(t, &ret);
	assert_ptr_equal(ret, &r);
	assert_int_equal(e->n_closed, 0);
	close(s);
	ear_free(e);
}

/* ---- made by us ---- */
static void test_connect(void **state)
{
	struct ear *e = ear_new();
	struct addr at = addr_of("127.0.0.1:0");
	int l = net_bind_listen(&at);
	char buf[8];
	struct flow f = {.kind = FLOW_TCP, .listener = 5, .peer = bound_to(l), .local = addr_of("127.0.0.3:5060")};
	assert_int_equal(fcntl(l, F_SETFL, 0), 0);
	assert_int_equal(e->wire->connect(e->wire->arg, &f), 0);
	assert_true(f.conn != 0);
	assert_int_not_equal(f.local.port, 5060); /* the listener's */
	assert_int_equal(e->n_conn, 1);           /* the holder knows it before a byte is sent */
	assert_int_equal(e->wire->send(e->wire->arg, &f, "early", 5), 0);
	int s = accept(l, NULL, NULL);
	assert_true(s >= 0);
	ear_run_ms(e, 1);
	read_all(s, buf, 5);
	assert_memory_equal(buf, "early", 5);
	size_t n = frame(buf, 2, 'r');
	assert_int_equal(send(s, buf, n, 0), n);
	ear_run(e, one_frame);
	assert_int_equal(e->flow.conn, f.conn);
	struct addr from = addr_of("127.0.0.3:0");
	assert_true(addr_eq_host(&e->flow.local, &from));
	/* a flow of the same number and another peer is another's */
	struct flow stranger = f;
	stranger.peer.port ^= 1;
	assert_int_equal(e->wire->send(e->wire->arg, &stranger, "x", 1), -ENOTCONN);
	close(s);
	ear_run(e, one_closed);
	/* nobody there */
	close(l);
	e->n_closed = 0;
	struct flow dead = {.kind = FLOW_TCP, .peer = f.peer};
	assert_int_equal(e->wire->connect(e->wire->arg, &dead), 0);
	ear_run(e, one_closed);
	assert_int_equal(e->flow.conn, dead.conn);
	struct flow no = {.kind = FLOW_TCP};
	assert_int_equal(e->wire->connect(e->wire->arg, &no), -EINVAL);
	ear_free(e);
}

/* ---- bounds ---- */
static void test_accepting(void **state)
{
	struct ear *e = ear_new();
	struct addr to = listening(e, "127.0.0.1:0");
	net_accepting(e->net, false);
	int s = dial(SOCK_STREAM, to);
	ear_run_ms(e, 20);
	assert_int_equal(e->n_conn, 0);
	net_accepting(e->net, true);
	ear_run(e, one_conn);
	close(s);
	ear_free(e);
}

static void test_no_descriptors(void **state)
{
	struct ear *e = ear_new();
	int s = dial(SOCK_STREAM, listening(e, "127.0.0.1:0"));
	struct rlimit was, none;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ear_run_ms(e, 50);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_true(e->n_turns < 10); /* it rests, it does not spin */
	assert_int_equal(e->n_conn, 0);
	ear_run(e, one_conn);
	close(s);
	ear_free(e);
}

static bool all_in(struct ear *e)
{
	return (uint64_t)e->n_conn >= *(uint64_t *)e->more;
}

static void test_connection_limit(void **state)
{
	uint64_t max = limit_of(LIMIT_TCP_CONNECTIONS), batch = 200, want = 0;
	struct rlimit l;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
	if (l.rlim_max < 2 * max + 64)
		skip();
	l.rlim_cur = 2 * max + 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
	struct ear *e = ear_new();
	struct addr to = listening(e, "127.0.0.1:0");
	int *fds = calloc(max + 1, sizeof(*fds));
	char c;
	e->more = &want;
	while (want < max) {
		uint64_t next = MIN(max, want + batch);
		for (uint64_t i = want; i < next; i++)
			fds[i] = dial(SOCK_STREAM, to);
		want = next;
		ear_run(e, all_in);
	}
	uint64_t hits = count_get(COUNT_LIMIT_HIT);
	fds[max] = dial(SOCK_STREAM, to);
	ear_run_ms(e, 20);
	assert_int_equal(recv(fds[max], &c, 1, 0), 0);
	assert_int_equal(count_get(COUNT_LIMIT_HIT), hits + 1);
	assert_int_equal((uint64_t)e->n_conn, max);
	struct flow f = {.kind = FLOW_TCP, .peer = to};
	assert_int_equal(e->wire->connect(e->wire->arg, &f), -EMFILE);
	/* one goes, one comes */
	close(fds[0]);
	ear_run(e, one_closed);
	close(fds[max]);
	fds[max] = dial(SOCK_STREAM, to);
	want = max + 1;
	ear_run(e, all_in);
	for (uint64_t i = 1; i <= max; i++)
		close(fds[i]);
	free(fds);
	ear_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_byte_writes),
	    cmocka_unit_test(test_unconsumed_survives),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_half_a_frame),
	    cmocka_unit_test(test_silent),
	    cmocka_unit_test(test_big_frames),
	    cmocka_unit_test(test_eof),
	    cmocka_unit_test(test_held_copy),
	    cmocka_unit_test(test_overflow),
	    cmocka_unit_test(test_queue),
	    cmocka_unit_test(test_connect),
	    cmocka_unit_test(test_accepting),
	    cmocka_unit_test(test_no_descriptors),
	    cmocka_unit_test(test_connection_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
