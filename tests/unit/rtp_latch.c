/* SPDX-License-Identifier: Apache-2.0
 *
 * rtp_latch: who is heard: four valid packets within 500 ms from the signalled address or the SIP host, nobody else, and nobody new once it is locked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "rtp/rtp.h"

static struct addr at(const char *text)
{
	struct addr a;
	assert_int_equal(addr_parse(str_z(text), &a), 0);
	return a;
}

#define SIGNALLED "10.0.0.5:4000"
#define SIP_HOST  "192.0.2.1:5060"
#define NAT       "192.0.2.1:31000"
#define STRANGER  "203.0.113.1:4000"

static struct latch start(int64_t open_until_ms)
{
	struct latch l;
	struct addr s = at(SIGNALLED), p = at(SIP_HOST);
	latch_init(&l, &s, &p, open_until_ms);
	return l;
}

static enum latch_verdict from(struct latch *l, const char *who, uint16_t seq, uint32_t ssrc, int64_t now)
{
	struct addr a = at(who);
	return latch_judge(l, &a, &(struct rtp_hdr){.seq = seq, .ssrc = ssrc}, now);
}

static void test_four_lock(void **state)
{
	static const char *const who[] = {SIGNALLED, NAT};
	for (int i = 0; i < 2; i++) {
		struct latch l = start(10000);
		assert_int_equal(from(&l, who[i], 65534, 1, 0), LATCH_TAKE);
		assert_int_equal(from(&l, who[i], 65535, 1, 20), LATCH_TAKE);
		assert_int_equal(from(&l, who[i], 1, 1, 60), LATCH_TAKE); /* one was lost */
		assert_int_equal(from(&l, who[i], 2, 1, 80), LATCH_LOCKED_NOW);
		assert_int_equal(from(&l, who[i], 3, 1, 100), LATCH_TAKE);
		assert_int_equal(from(&l, who[1 - i], 4, 1, 120), LATCH_DROP);
		assert_int_equal(from(&l, "192.0.2.1:31002", 4, 1, 120), LATCH_DROP);
		assert_int_equal(from(&l, who[i], 900, 2, 140), LATCH_TAKE); /* another SSRC of the locked source */
	}
}

static void test_strangers(void **state)
{
	struct latch l = start(10000);
	for (uint16_t i = 0; i < 100; i++) {
		assert_int_equal(from(&l, STRANGER, i, 1, 20 * i), LATCH_DROP);
		assert_int_equal(from(&l, "10.0.0.5:4002", i, 1, 20 * i), LATCH_DROP); /* the signalled host, not its port */
		assert_int_equal(from(&l, "[2001:db8::1]:4000", i, 1, 20 * i), LATCH_DROP);
	}
	assert_false(l.is_locked);
}

/* What does not look like one stream of sound proves nothing. */
static void test_no_proof(void **state)
{
	struct latch l = start(100000);
	for (uint16_t i = 0; i < 50; i++)
		assert_int_equal(from(&l, NAT, 5, 1, i), LATCH_TAKE); /* one packet, repeated */
	for (uint16_t i = 0; i < 50; i++)
		assert_int_equal(from(&l, NAT, (uint16_t)(i * 1000), 1, 1000 + i), LATCH_TAKE); /* at random */
	for (uint16_t i = 0; i < 50; i++)
		assert_int_equal(from(&l, NAT, i, i, 2000 + i), LATCH_TAKE); /* each from another SSRC */
	for (uint16_t i = 0; i < 50; i++)
		assert_int_equal(from(&l, NAT, i, 1, 10000 + 200 * i), LATCH_TAKE); /* three in 500 ms at most */
	assert_false(l.is_locked);
}

static void test_window(void **state)
{
	struct latch l = start(10000);
	/* while one port of the SIP host is on trial, another is not heard; when it fails, the next has its turn */
	assert_int_equal(from(&l, NAT, 1, 1, 0), LATCH_TAKE);
	assert_int_equal(from(&l, "192.0.2.1:31002", 1, 2, 499), LATCH_DROP);
	for (uint16_t i = 0; i < 3; i++)
		assert_int_equal(from(&l, "192.0.2.1:31002", i, 2, 500 + 20 * i), LATCH_TAKE);
	assert_int_equal(from(&l, NAT, 2, 1, 560), LATCH_DROP);
	assert_int_equal(from(&l, "192.0.2.1:31002", 3, 2, 580), LATCH_LOCKED_NOW);
}

static void test_signalled_preferred(void **state)
{
	struct latch l = start(10000);
	for (uint16_t i = 0; i < 3; i++)
		assert_int_equal(from(&l, NAT, i, 1, 20 * i), LATCH_TAKE);
	assert_int_equal(from(&l, SIGNALLED, 100, 9, 50), LATCH_TAKE);
	assert_int_equal(from(&l, NAT, 3, 1, 60), LATCH_DROP);
	for (uint16_t i = 1; i < 3; i++)
		assert_int_equal(from(&l, SIGNALLED, (uint16_t)(100 + i), 9, 60 + 20 * i), LATCH_TAKE);
	assert_int_equal(from(&l, SIGNALLED, 103, 9, 120), LATCH_LOCKED_NOW);
}

static void test_closed(void **state)
{
	struct latch l = start(1000);
	assert_int_equal(from(&l, NAT, 1, 1, 1000), LATCH_DROP);
	/* packets go to the signalled address anyway: what comes from there is heard */
	for (uint16_t i = 0; i < 3; i++)
		assert_int_equal(from(&l, SIGNALLED, i, 1, 5000 + 20 * i), LATCH_TAKE);
	assert_int_equal(from(&l, SIGNALLED, 3, 1, 5060), LATCH_LOCKED_NOW);
	/* no address signalled (c=0.0.0.0): the SIP host alone */
	struct addr any = at("0.0.0.0:4000"), p = at(SIP_HOST);
	latch_init(&l, &any, &p, 1000);
	assert_int_equal(from(&l, "0.0.0.0:4000", 1, 1, 0), LATCH_DROP);
	assert_int_equal(from(&l, NAT, 1, 1, 0), LATCH_TAKE);
	latch_init(&l, NULL, NULL, 1000);
	assert_int_equal(from(&l, NAT, 1, 1, 0), LATCH_DROP);
}

static void test_rtcp(void **state)
{
	struct latch l = start(10000);
	struct addr nat = at("192.0.2.1:31001"), sig = at("10.0.0.5:4001"), stranger = at(STRANGER);
	assert_true(latch_rtcp_ok(&l, &nat));
	assert_true(latch_rtcp_ok(&l, &sig));
	assert_false(latch_rtcp_ok(&l, &stranger));
	for (uint16_t i = 0; i < 4; i++)
		(void)from(&l, NAT, i, 1, i);
	assert_true(latch_rtcp_ok(&l, &nat));
	assert_false(latch_rtcp_ok(&l, &sig));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_four_lock), cmocka_unit_test(test_strangers),           cmocka_unit_test(test_no_proof),
					   cmocka_unit_test(test_window),    cmocka_unit_test(test_signalled_preferred), cmocka_unit_test(test_closed),
					   cmocka_unit_test(test_rtcp)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
