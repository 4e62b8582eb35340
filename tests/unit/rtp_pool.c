/* SPDX-License-Identifier: Apache-2.0
 *
 * rtp_pool: pairs are even and odd, a pooled socket takes nothing in, a taken one is empty and open, one put back is closed and rests, supply is asked for in time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "rtp/rtp.h"

static struct addr host = {.family = AF_INET, .ip = {127, 0, 0, 1}};

static void send_to(uint16_t port, const char *text)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&sa, sizeof(sa)), strlen(text));
	close(fd);
}

/* On loopback a datagram is in the socket's queue, or dropped, before sendto returns. */
static bool is_heard(const struct rtp_pair *p, int rtcp)
{
	char buf[16];
	send_to((uint16_t)(p->port + rtcp), "x");
	return recv(rtcp ? p->rtcp_fd : p->rtp_fd, buf, sizeof(buf), MSG_DONTWAIT) == 1;
}

static void close_pair(const struct rtp_pair *p)
{
	close(p->rtp_fd);
	close(p->rtcp_fd);
}

struct supply {
	struct rtp_pool *pool;
	struct rtp_pair pairs[3 * RTP_PORTION];
	int n, asked, portion;
	uint16_t port;
};

static void on_want(void *arg, uint8_t number, int n)
{
	struct supply *s = arg;
	assert_int_equal(number, 3);
	assert_int_equal(n, RTP_PORTION);
	s->asked++;
	int first = s->n;
	for (int i = 0; i < s->portion && s->n < (int)N_ELEMENTS(s->pairs); i++)
		assert_int_equal(rtp_bind_pair(&host, &s->port, 65535, &s->pairs[s->n++]), 0);
	rtp_pool_give(s->pool, s->pairs + first, s->n - first);
}

static void test_bind(void **state)
{
	struct rtp_pair a, b;
	uint16_t port = 20001;
	assert_int_equal(rtp_bind_pair(&host, &port, 65535, &a), 0);
	assert_int_equal(a.port % 2, 0);
	assert_true(port >= a.port + 2);
	uint16_t again = a.port;
	assert_int_equal(rtp_bind_pair(&host, &again, 65535, &b), 0); /* taken: the next */
	assert_true(b.port > a.port);
	again = a.port;
	close_pair(&b);
	assert_int_equal(rtp_bind_pair(&host, &again, (uint16_t)(a.port + 1), &b), -EADDRINUSE);
	again = a.port;
	assert_int_equal(rtp_bind_pair(&host, &again, a.port, &b), -EADDRINUSE); /* no room for a pair */
	again = 65535;
	assert_int_equal(rtp_bind_pair(&host, &again, 65535, &b), -EADDRINUSE);
	assert_false(is_heard(&a, 0));
	assert_false(is_heard(&a, 1));
	close_pair(&a);
	struct addr elsewhere = {.family = AF_INET, .ip = {192, 0, 2, 1}}; /* no address of this machine */
	again = 20000;
	assert_int_equal(rtp_bind_pair(&elsewhere, &again, 65535, &b), -EADDRNOTAVAIL);
}

static void test_take_and_put(void **state)
{
	struct supply s = {.portion = 1, .port = 21000};
	struct rtp_pair p, q;
	char c;
	s.pool = rtp_pool_new(3, &host, on_want, &s);
	assert_true(addr_eq_host(rtp_pool_host(s.pool), &host));
	assert_int_equal(rtp_pool_take(s.pool, &p), 0);
	assert_int_equal(s.asked, 1);
	assert_int_equal(recv(p.rtp_fd, &c, 1, MSG_DONTWAIT), -1);
	assert_true(is_heard(&p, 0));
	assert_true(is_heard(&p, 1));
	send_to(p.port, "left over");
	s.portion = 0; /* nothing left to bind */
	rtp_pool_put(s.pool, &p);
	assert_false(is_heard(&p, 0));
	assert_false(is_heard(&p, 1));
	assert_int_equal(rtp_pool_take(s.pool, &q), -EAGAIN); /* it rests */
	int asked = s.asked;
	assert_int_equal(rtp_pool_take(s.pool, &q), -EAGAIN);
	assert_int_equal(s.asked, asked); /* used up is used up */
	rtp_pool_free(s.pool);
	close_pair(&p);
}

/* Supply is asked for when fewer than a portion are ready, once, and those at rest do not count. */
static void test_supply(void **state)
{
	struct supply *s = calloc(1, sizeof(*s));
	struct rtp_pair p[RTP_PORTION];
	s->portion = RTP_PORTION;
	s->port = 22000;
	s->pool = rtp_pool_new(3, &host, on_want, s);
	for (int i = 0; i < RTP_PORTION; i++)
		assert_int_equal(rtp_pool_take(s->pool, &p[i]), 0);
	assert_int_equal(s->asked, 2); /* for the first, and when one of the portion was gone */
	for (int i = 1; i < RTP_PORTION; i++)
		assert_true(p[i].port != p[i - 1].port);
	for (int i = 0; i < RTP_PORTION; i++)
		rtp_pool_put(s->pool, &p[i]);
	assert_int_equal(s->asked, 2);
	for (int i = 0; i < RTP_PORTION; i++)
		assert_int_equal(rtp_pool_take(s->pool, &p[i]), 0);
	assert_int_equal(s->asked, 3);
	rtp_pool_free(s->pool);
	for (int i = 0; i < s->n; i++)
		close_pair(&s->pairs[i]);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_bind), cmocka_unit_test(test_take_and_put), cmocka_unit_test(test_supply)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
