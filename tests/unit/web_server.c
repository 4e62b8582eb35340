/* SPDX-License-Identifier: Apache-2.0
 *
 * web: the HTTP server over real sockets on loopback: requests reach the handler as they were sent, answers come out whole, connections are kept; and what a rude peer may
 * do costs only itself: slow heads and bodies, heads and bodies past the limit, one connection too many, upgrades, rubbish.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "web/inside.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS     20000
#define PATIENCE_MS 400

struct bench {
	struct web *web;
	int listen;
	struct addr at;
	atomic_int asked;
	struct addr last_peer;
};

#define BIG (3u << 20)

/* Says back what it was asked; /big is large, /teapot has all the extras. */
static void handler(void *arg, const struct web_request *r, struct web_answer *ret)
{
	struct bench *b = arg;
	size_t cap = str_eq(r->path, STR("/big")) ? BIG : 70000;
	struct out o = {.p = malloc(cap), .cap = cap};
	b->asked++;
	b->last_peer = r->peer;
	*ret = (struct web_answer){.status = 200, .type = "text/plain"};
	if (str_eq(r->path, STR("/big"))) {
		for (size_t i = 0; i < BIG; i++)
			out_c(&o, (char)('a' + i % 23));
	} else if (str_eq(r->path, STR("/teapot"))) {
		*ret = (struct web_answer){.status = 405, .type = "text/html", .challenge = "Basic realm=\"x\"", .allow = "GET, HEAD"};
		OUT_STR(&o, "short and stout");
	} else if (!str_eq(r->path, STR("/empty"))) {
		out_f(&o, "%.*s %.*s ?%.*s auth=%.*s accept=%.*s type=%.*s body=%zu:%.*s\n", STR_ARG(r->method), STR_ARG(r->path), STR_ARG(r->query),
		      STR_ARG(r->authorization), STR_ARG(r->accept), STR_ARG(r->content_type), r->body.n, (int)MIN(r->body.n, 40u), r->body.p ? r->body.p : "");
	}
	ret->body = o.p;
	ret->n = o.n;
}

static int start(void **state, int patience_ms)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	b->listen = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(b->listen, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(b->listen, 256), 0);
	assert_int_equal(getsockname(b->listen, (struct sockaddr *)&a, &n), 0);
	b->at = (struct addr){.family = AF_INET, .port = ntohs(a.sin_port), .ip = {127, 0, 0, 1}};
	struct web_opts o = {.listen_fds = &b->listen, .n_listen = 1, .handler = handler, .arg = b, .product = "Hookswitch/test", .patience_ms = patience_ms};
	assert_int_equal(web_start(&o, &b->web), 0);
	*state = b;
	return 0;
}

static int set_up(void **state)
{
	return start(state, WAIT_MS);
}

static int set_up_hasty(void **state)
{
	return start(state, PATIENCE_MS);
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	web_stop(b->web);
	close(b->listen);
	free(b);
	return 0;
}

static int dial(struct bench *b)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(b->at.port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void say(int fd, struct str s)
{
	while (s.n) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n <= 0)
			return; /* it hung up: the test looks at what came */
		s = str_skip(s, (size_t)n);
	}
}

/* Reads one more piece; 0 = closed, -1 = nothing came in time. */
static ssize_t hear(int fd, char *p, size_t cap, int wait_ms)
{
	struct pollfd pf = {.fd = fd, .events = POLLIN};
	if (poll(&pf, 1, wait_ms) <= 0)
		return -1;
	ssize_t n = recv(fd, p, cap, 0);
	return n < 0 ? 0 : n; /* reset is closed too */
}

/* Reads until closed. */
static struct str hear_all(int fd, char *p, size_t cap)
{
	size_t n = 0;
	ssize_t got = 1;
	while (n < cap && (got = hear(fd, p + n, cap - n, WAIT_MS)) > 0)
		n += (size_t)got;
	assert_true(got == 0); /* else nothing came in time */
	return str_n(p, n);
}

/* Reads one answer with its Content-Length; *ret_body views into p. */
static struct str hear_answer(int fd, char *p, size_t cap, bool head_only, struct str *ret_body)
{
	size_t n = 0;
	for (;;) {
		char *end = memmem(p, n, "\r\n\r\n", 4), *len = memmem(p, n, "content-length: ", 16);
		uint64_t body = 0;
		struct str rest;
		if (end && len) {
			assert_int_equal(str_u64(str_cut(str_n(len + 16, (size_t)(p + n - len) - 16), '\r', &rest), cap, &body), 0);
			if (head_only)
				body = 0;
		}
		if (end && (size_t)(p + n - end) - 4 >= body) {
			*ret_body = str_n(end + 4, body);
			return str_n(p, (size_t)(end + 4 + body - p));
		}
		/* One byte at a time near the end: what follows belongs to the next answer. */
		ssize_t got = hear(fd, p + n, end ? MIN(cap - n, body - (size_t)(p + n - end - 4)) : 1, WAIT_MS);
		assert_true(got > 0);
		n += (size_t)got;
	}
}

static bool has(struct str s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void test_get(void **state)
{
	struct bench *b = *state;
	char buf[4096];
	struct str body;
	int fd = dial(b);
	say(fd, STR("GET /a%20b/c?format=json&x=%26y&flag HTTP/1.1\r\nHost: x\r\nAuthorization: Basic abc=\r\nAccept: text/html, */*\r\n\r\n"));
	struct str all = hear_answer(fd, buf, sizeof(buf), false, &body);
	assert_true(str_starts(all, STR("HTTP/1.1 200")));
	assert_true(has(all, "server: Hookswitch/test\r\n"));
	assert_true(has(all, "date: ") && has(all, "x-content-type-options: nosniff") && has(all, "cache-control: no-store"));
	assert_int_equal(body.n, strlen("GET /a b/c ?format=json&x=%26y&flag auth=Basic abc= accept=text/html, */* type= body=0:\n"));
	assert_memory_equal(body.p, "GET /a b/c ?format=json&x=%26y&flag auth=Basic abc= accept=text/html, */* type= body=0:\n", body.n);
	assert_true(addr_is_loopback(&b->last_peer) && b->last_peer.port != 0);
	/* kept alive */
	say(fd, STR("HEAD /again HTTP/1.1\r\nHost: x\r\n\r\n"));
	all = hear_answer(fd, buf, sizeof(buf), true, &body);
	assert_true(str_starts(all, STR("HTTP/1.1 200")) && has(all, "content-length: "));
	say(fd, STR("GET /teapot HTTP/1.1\r\nHost: x\r\n\r\n"));
	all = hear_answer(fd, buf, sizeof(buf), false, &body);
	assert_true(str_starts(all, STR("HTTP/1.1 405")));
	assert_true(has(all, "www-authenticate: Basic realm=\"x\"\r\n") && has(all, "allow: GET, HEAD\r\n") && has(all, "content-type: text/html\r\n"));
	assert_true(str_eq(body, STR("short and stout")));
	say(fd, STR("GET /empty HTTP/1.1\r\nHost: x\r\n\r\n"));
	all = hear_answer(fd, buf, sizeof(buf), false, &body);
	assert_true(str_starts(all, STR("HTTP/1.1 200")) && has(all, "content-length: 0\r\n"));
	close(fd);
	assert_int_equal(b->asked, 4);
}

static void test_post(void **state)
{
	struct bench *b = *state;
	char buf[4096];
	struct str body;
	int fd = dial(b);
	say(fd, STR("POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\nDigi"));
	say(fd, STR("ts=123"));
	(void)hear_answer(fd, buf, sizeof(buf), false, &body);
	assert_true(has(body, "POST /form ? auth= accept= type=application/x-www-form-urlencoded body=10:Digits=123\n"));
	for (int i = 0; i < 2; i++) { /* a body behind other methods is read over, not taken for the next request */
		say(fd, i ? STR("GET /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
			  : STR("PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"));
		(void)hear_answer(fd, buf, sizeof(buf), false, &body);
		assert_true(has(body, "body=5:hello\n"));
	}
	say(fd, STR("GET /after HTTP/1.1\r\nHost: x\r\n\r\n"));
	(void)hear_answer(fd, buf, sizeof(buf), false, &body);
	assert_true(str_starts(body, STR("GET /after ?")));
	close(fd);
}

static void test_pipelined(void **state)
{
	struct bench *b = *state;
	char buf[4096];
	struct str body;
	int fd = dial(b);
	say(fd, STR("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n"));
	for (int i = 1; i <= 3; i++) {
		char want[16];
		struct out o = OUT(want);
		out_f(&o, "GET /%d ?", i);
		(void)hear_answer(fd, buf, sizeof(buf), false, &body);
		assert_true(str_starts(body, out_view(&o)));
	}
	close(fd);
	assert_int_equal(b->asked, 3);
}

/* One byte at a time is slow but no crime, as long as it comes to an end in time. */
static void test_bytes(void **state)
{
	struct bench *b = *state;
	char buf[4096];
	struct str body, req = STR("GET /bytes HTTP/1.1\r\nHost: x\r\n\r\n");
	int fd = dial(b);
	for (size_t i = 0; i < req.n; i++)
		say(fd, str_n(req.p + i, 1));
	(void)hear_answer(fd, buf, sizeof(buf), false, &body);
	assert_true(str_starts(body, STR("GET /bytes ?")));
	close(fd);
}

static void test_big_answer(void **state)
{
	struct bench *b = *state;
	char *buf = malloc(BIG + 4096);
	struct str body;
	int fd = dial(b);
	say(fd, STR("GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
	(void)hear_answer(fd, buf, BIG + 4096, false, &body);
	assert_int_equal(body.n, BIG);
	for (size_t i = 0; i < BIG; i++)
		assert_int_equal(body.p[i], 'a' + i % 23);
	/* hanging up in the middle of one costs nothing */
	say(fd, STR("GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
	assert_true(hear(fd, buf, 100, WAIT_MS) > 0);
	close(fd);
	fd = dial(b);
	say(fd, STR("GET /still HTTP/1.1\r\nHost: x\r\n\r\n"));
	(void)hear_answer(fd, buf, 4096, false, &body);
	assert_true(str_starts(body, STR("GET /still ?")));
	close(fd);
	free(buf);
}

/* Bytes keep coming, one each tick, but never the end: closed when the time is up, and others are served meanwhile. */
static void trickle(struct bench *b, struct str begin, char byte)
{
	char buf[4096];
	struct str body;
	int64_t since = clock_boot_ms();
	int fd = dial(b), other = dial(b);
	ssize_t got = -1;
	say(other, STR("GET /other HTTP/1.1\r\nHost: x\r\n\r\n"));
	(void)hear_answer(other, buf, sizeof(buf), false, &body);
	assert_true(str_starts(body, STR("GET /other ?")));
	close(other);
	say(fd, begin);
	while (got < 0) { /* the wait for an answer is the tick */
		assert_true(clock_boot_ms() - since < WAIT_MS);
		say(fd, str_n(&byte, 1));
		got = hear(fd, buf, sizeof(buf), 20);
	}
	assert_true(clock_boot_ms() - since >= PATIENCE_MS);
	close(fd);
}

static void test_slow(void **state)
{
	struct bench *b = *state;
	char buf[64];
	trickle(b, STR("GET /slow HTTP/1.1\r\nX: "), 'a');
	trickle(b, STR("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"), 'a');
	int fd = dial(b); /* and one who says nothing at all */
	assert_int_equal(hear_all(fd, buf, sizeof(buf)).n, 0);
	close(fd);
	assert_int_equal(b->asked, 2);
}

/* A head past the limit: an error or a hang-up, never the handler. */
static void test_big_head(void **state)
{
	struct bench *b = *state;
	static char head[60000], buf[4096];
	struct out o = OUT(head);
	for (int kind = 0; kind < 3; kind++) {
		int fd = dial(b);
		o.n = 0;
		OUT_STR(&o, "GET /");
		for (int i = 0; kind == 0 && i < 20000; i++)
			out_c(&o, 'a');
		OUT_STR(&o, " HTTP/1.1\r\nHost: x\r\n");
		for (int i = 0; kind == 1 && i < 1000; i++)
			out_f(&o, "Accept: value%d\r\n", i);
		if (kind == 2) {
			OUT_STR(&o, "Authorization: ");
			for (int i = 0; i < 20000; i++)
				out_c(&o, 'a');
			OUT_STR(&o, "\r\n");
		}
		OUT_STR(&o, "\r\n");
		assert_false(o.over);
		say(fd, out_view(&o));
		struct str all = hear_all(fd, buf, sizeof(buf));
		assert_true(all.n == 0 || str_starts(all, STR("HTTP/1.1 4")) || str_starts(all, STR("HTTP/1.0 4")));
		close(fd);
	}
	assert_int_equal(b->asked, 0);
}

/* At the limit and one past it. */
static void test_body_limit(void **state)
{
	struct bench *b = *state;
	static char body[WEB_BODY_MAX], buf[4096];
	char head[200];
	struct str got;
	memset(body, 'b', sizeof(body));
	for (size_t past = 0; past < 2; past++) {
		struct out o = OUT(head);
		int fd = dial(b);
		out_f(&o, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", sizeof(body) + past);
		say(fd, out_view(&o));
		if (past) {
			struct str all = hear_all(fd, buf, sizeof(buf));
			assert_true(str_starts(all, STR("HTTP/1.1 413")) && has(all, "connection: close"));
		} else {
			say(fd, str_n(body, sizeof(body)));
			(void)hear_answer(fd, buf, sizeof(buf), false, &got);
			assert_true(has(got, "body=65536:bbbb"));
		}
		close(fd);
	}
	assert_int_equal(b->asked, 1);
}

static void test_refused(void **state)
{
	struct bench *b = *state;
	static const struct {
		const char *req, *want; /* want NULL: anything but the handler */
	} cases[] = {
	    {"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 411"},
	    {"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "HTTP/1.1 400"},
	    {"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", "HTTP/1.1 4"},
	    {"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
	     "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	     NULL},
	    {"GET /h2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", NULL},
	    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL},
	    {"rubbish\r\n\r\n", NULL},
	    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", NULL},
	};
	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		char buf[4096];
		int fd = dial(b);
		say(fd, str_z(cases[i].req));
		struct str all = hear_all(fd, buf, sizeof(buf));
		if (cases[i].want && !str_starts(all, str_z(cases[i].want)))
			fail_msg("case %zu: got %.*s", i, STR_ARG(all));
		assert_false(has(all, " 101 ") || has(all, " 200 "));
		close(fd);
	}
	assert_int_equal(b->asked, 0);
}

/* As many as there may be, and one past it; when they are gone there is room again. */
static void test_connections(void **state)
{
	struct bench *b = *state;
	size_t n = limit_of(LIMIT_HTTP_CONNECTIONS);
	int *fds = calloc(n, sizeof(*fds));
	char buf[4096];
	struct str body;
	for (size_t i = 0; i < n; i++)
		fds[i] = dial(b);
	for (size_t i = 0; i < n; i += n - 1) {
		say(fds[i], STR("GET /in HTTP/1.1\r\nHost: x\r\n\r\n"));
		(void)hear_answer(fds[i], buf, sizeof(buf), false, &body);
		assert_true(str_starts(body, STR("GET /in ?")));
	}
	int64_t since = clock_boot_ms();
	int past = dial(b);
	assert_int_equal(hear_all(past, buf, sizeof(buf)).n, 0);
	assert_true(clock_boot_ms() - since < WAIT_MS / 2); /* at once, not when patience ends */
	close(past);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	for (;;) { /* the server learns of it in its own time */
		past = dial(b);
		say(past, STR("GET /room HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
		struct str all = hear_all(past, buf, sizeof(buf));
		close(past);
		if (has(all, "GET /room ?"))
			break;
		assert_true(clock_boot_ms() - since < WAIT_MS);
	}
	free(fds);
}

/* Stopping with connections in every state neither hangs nor leaks. */
static void test_stop(void **state)
{
	struct bench *b = *state;
	char buf[4096];
	struct str body;
	int fds[4];
	for (int i = 0; i < 4; i++)
		fds[i] = dial(b);
	say(fds[1], STR("GET /half HT"));
	say(fds[2], STR("POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"));
	say(fds[3], STR("GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
	assert_true(hear(fds[3], buf, sizeof(buf), WAIT_MS) > 0);
	int other = dial(b);
	say(other, STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
	(void)hear_answer(other, buf, sizeof(buf), false, &body);
	web_stop(b->web);
	b->web = NULL;
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	close(other);
}

static uint16_t ask_port(int fd)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static void get_by(struct bench *b, const struct sockaddr *to, socklen_t n, int family)
{
	char buf[4096];
	struct str body;
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, to, n), 0);
	say(fd, STR("GET /by HTTP/1.1\r\nHost: x\r\n\r\n"));
	(void)hear_answer(fd, buf, sizeof(buf), false, &body);
	assert_int_equal(b->last_peer.family, family);
	assert_int_equal(b->last_peer.port, ask_port(fd));
	assert_true(addr_is_loopback(&b->last_peer)); /* an IPv4 peer of an IPv6 socket is IPv4 */
	close(fd);
}

/* Two doors, one of them for both families. */
static void test_two_doors(void **state)
{
	struct bench *b = *state;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6}, six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int off = 0, doors[2] = {b->listen, socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	web_stop(b->web);
	b->web = NULL;
	assert_int_equal(setsockopt(doors[1], IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
	assert_int_equal(bind(doors[1], (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(doors[1], 8), 0);
	struct web_opts o = {.listen_fds = doors, .n_listen = 2, .handler = handler, .arg = b};
	assert_int_equal(web_start(&o, &b->web), 0);
	six.sin6_port = four.sin_port = htons(ask_port(doors[1]));
	get_by(b, (struct sockaddr *)&six, sizeof(six), AF_INET6);
	get_by(b, (struct sockaddr *)&four, sizeof(four), AF_INET);
	four.sin_port = htons(b->at.port);
	get_by(b, (struct sockaddr *)&four, sizeof(four), AF_INET);
	web_stop(b->web);
	b->web = NULL;
	close(doors[1]);
}

/* A door that is none: said, and nothing is left behind. */
static void test_no_door(void **state)
{
	struct web *w = NULL;
	int bad = -1;
	struct web_opts o = {.listen_fds = &bad, .n_listen = 1, .handler = handler};
	assert_true(web_start(&o, &w) < 0);
	assert_null(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_get),         TEST(test_post),       TEST(test_pipelined),
	    TEST(test_bytes),       TEST(test_big_answer), cmocka_unit_test_setup_teardown(test_slow, set_up_hasty, tear_down),
	    TEST(test_big_head),    TEST(test_body_limit), TEST(test_refused),
	    TEST(test_connections), TEST(test_stop),       TEST(test_two_doors),
	    TEST(test_no_door),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
