/* SPDX-License-Identifier: Apache-2.0
 *
 * rtp_packet: headers, events, reports: what is printed is parsed again, what is malformed is refused at each length, and the sequence bookkeeping is that of RFC 3550.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "rtp/rtp.h"

/* Parses a copy of its own size, so that a read past the end is seen by ASan. */
static int parse(const void *p, size_t n, struct rtp_hdr *h)
{
	static char *copy;
	free(copy);
	copy = malloc(n ? n : 1);
	memcpy(copy, p, n);
	return rtp_parse(str_n(copy, n), h);
}

static void test_header(void **state)
{
	uint8_t p[64] = {0};
	struct rtp_hdr h = {.pt = 101, .marker = true, .seq = 0xfffe, .ts = 0xdeadbeef, .ssrc = 0x01020304}, back;
	rtp_print_hdr(p, &h);
	memcpy(p + 12, "sound", 5);
	assert_int_equal(parse(p, 17, &back), 0);
	assert_int_equal(back.pt, 101);
	assert_true(back.marker);
	assert_int_equal(back.seq, 0xfffe);
	assert_int_equal(back.ts, 0xdeadbeef);
	assert_int_equal(back.ssrc, 0x01020304);
	assert_true(str_eq(back.payload, STR("sound")));
	assert_int_equal(parse(p, 12, &back), 0);
	assert_int_equal(back.payload.n, 0);
	for (size_t n = 0; n < 12; n++)
		assert_int_equal(parse(p, n, &back), -EBADMSG);
	for (int version = 0; version < 4; version++) {
		p[0] = (uint8_t)(version << 6);
		assert_int_equal(parse(p, 17, &back), version == 2 ? 0 : -EBADMSG);
	}
}

/* Two CSRCs, an extension of one word, three bytes of padding around "hi"; then cut off at each byte. */
static void test_extras(void **state)
{
	uint8_t p[] = {0xb2, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 8, 8, 8, 8, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 'h', 'i', 0, 0, 3};
	struct rtp_hdr h;
	assert_int_equal(parse(p, sizeof(p), &h), 0);
	assert_true(str_eq(h.payload, STR("hi")));
	for (size_t n = 0; n < 28; n++)
		assert_int_equal(parse(p, n, &h), -EBADMSG);
	p[sizeof(p) - 1] = 0;
	assert_int_equal(parse(p, sizeof(p), &h), -EBADMSG);
	p[sizeof(p) - 1] = 5;
	assert_int_equal(parse(p, sizeof(p), &h), 0);
	assert_int_equal(h.payload.n, 0);
	p[sizeof(p) - 1] = 6;
	assert_int_equal(parse(p, sizeof(p), &h), -EBADMSG);
	p[23] = 0xff; /* an extension longer than the packet */
	assert_int_equal(parse(p, sizeof(p), &h), -EBADMSG);
}

static void test_event(void **state)
{
	uint8_t p[4];
	struct rtp_event e = {.event = 11, .end = true, .volume = 10, .duration = 800}, back;
	rtp_event_print(p, &e);
	assert_int_equal(rtp_event_parse(str_n(p, 4), &back), 0);
	assert_true(back.event == 11 && back.end && back.volume == 10 && back.duration == 800);
	assert_int_equal(rtp_event_parse(str_n(p, 3), &back), -EBADMSG);
	for (int i = 0; i < 16; i++)
		assert_int_equal(rtp_digit_event(rtp_event_digit((uint8_t)i)), i);
	assert_int_equal(rtp_event_digit(16), 0);
	assert_int_equal(rtp_digit_event('d'), 15);
	assert_int_equal(rtp_digit_event('E'), -EINVAL);
	assert_int_equal(rtp_digit_event(0), -EINVAL);
}

static void test_reports(void **state)
{
	uint8_t p[256];
	struct rtcp_report r = {.ssrc = 7,
				.packets = 100,
				.octets = 16000,
				.rtp_ts = 99,
				.utc_ms = 1500,
				.has_peer = true,
				.peer_ssrc = 8,
				.ext_seq = 0x10005,
				.jitter = 33,
				.lsr = 44,
				.dlsr = 55,
				.fraction_lost = 12,
				.lost = -2,
				.cname = "x@y"};
	struct rtcp_info i;
	size_t n = rtcp_print(p, sizeof(p), &r, true);
	assert_int_equal(n % 4, 0);
	assert_int_equal(rtcp_parse(str_n(p, n), 8, &i), 0);
	assert_true(i.sr && i.bye && i.has_report);
	assert_int_equal(i.ssrc, 7);
	assert_int_equal(i.ntp >> 32, 2208988801u);
	assert_int_equal((uint32_t)i.ntp, 0x80000000u);
	assert_int_equal(i.rtp_ts, 99);
	assert_int_equal(i.packets, 100);
	assert_int_equal(i.octets, 16000);
	assert_int_equal(i.fraction_lost, 12);
	assert_int_equal(i.lost, -2);
	assert_int_equal(i.ext_seq, 0x10005);
	assert_int_equal(i.jitter, 33);
	assert_int_equal(i.lsr, 44);
	assert_int_equal(i.dlsr, 55);
	assert_int_equal(rtcp_parse(str_n(p, n), 9, &i), 0); /* about somebody else */
	assert_false(i.has_report);
	r.packets = 0; /* nothing sent: RR */
	r.has_peer = false;
	n = rtcp_print(p, sizeof(p), &r, false);
	assert_int_equal(p[1], 201);
	assert_int_equal(rtcp_parse(str_n(p, n), 8, &i), 0);
	assert_false(i.sr || i.bye || i.has_report);
	for (size_t cap = 0; cap < n; cap++)
		assert_int_equal(rtcp_print(p, cap, &r, false), 0);
}

static void test_bad_reports(void **state)
{
	uint8_t p[256], q[256];
	struct rtcp_report r = {.ssrc = 7, .packets = 1, .has_peer = true, .peer_ssrc = 8, .cname = "abc"};
	struct rtcp_info i;
	size_t n = rtcp_print(p, sizeof(p), &r, true);
	for (size_t cut = 0; cut < n; cut++) {
		char *copy = malloc(cut ? cut : 1);
		memcpy(copy, p, cut);
		int got = rtcp_parse(str_n(copy, cut), 8, &i);
		assert_true(got == -EBADMSG || cut == 52 || cut == 68); /* whole packets of a compound may go missing */
		free(copy);
	}
	memcpy(q, p, n);
	q[0] = 0x41; /* version */
	assert_int_equal(rtcp_parse(str_n(q, n), 8, &i), -EBADMSG);
	memcpy(q, p, n);
	q[1] = 202; /* SDES first */
	assert_int_equal(rtcp_parse(str_n(q, n), 8, &i), -EBADMSG);
	memcpy(q, p, n);
	q[0] |= 31; /* more report blocks than it is long */
	assert_int_equal(rtcp_parse(str_n(q, n), 8, &i), -EBADMSG);
}

static void add(struct rtp_stats *s, uint16_t seq, uint32_t ts, int64_t at, uint32_t ssrc)
{
	rtp_stats_add(s, &(struct rtp_hdr){.seq = seq, .ts = ts, .ssrc = ssrc}, at);
}

static void test_stats(void **state)
{
	struct rtp_stats s = {0};
	assert_int_equal(rtp_stats_lost(&s), 0);
	assert_int_equal(rtp_stats_fraction(&s), 0);
	for (int i = 0; i < 100; i++) /* over the wrap; each fourth lost */
		if (i % 4)
			add(&s, (uint16_t)(65500 + i), 160u * (unsigned)i, 160 * i, 1);
	assert_int_equal(rtp_stats_lost(&s), 24); /* of 99: the first was lost before we knew it */
	assert_int_equal(s.ext_seq, 65500 + 99);
	assert_int_equal(rtp_stats_fraction(&s), 24 * 256 / 99);
	assert_int_equal(rtp_stats_fraction(&s), 0);
	assert_int_equal(s.jitter_q4, 0);
	add(&s, (uint16_t)(65500 + 99), 99 * 160, 99 * 160, 1);
	assert_int_equal(s.duplicates, 1);
	add(&s, (uint16_t)(65500 + 96), 96 * 160, 99 * 160, 1); /* one of the lost was late */
	assert_int_equal(rtp_stats_lost(&s), 23);
	add(&s, 5, 0, 0, 2); /* another source */
	assert_int_equal(rtp_stats_lost(&s), 0);
	add(&s, 40000, 0, 0, 2); /* a leap is a restart, no loss */
	assert_int_equal(rtp_stats_lost(&s), 0);
	/* packets come 80 samples early and late in turn: jitter goes towards 160 */
	for (int i = 1; i < 200; i++)
		add(&s, (uint16_t)(40000 + i), 160u * (unsigned)i, 160 * i + (i & 1 ? 80 : -80), 2);
	assert_in_range(s.jitter_q4 >> 4, 150, 165);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_header),  cmocka_unit_test(test_extras),      cmocka_unit_test(test_event),
					   cmocka_unit_test(test_reports), cmocka_unit_test(test_bad_reports), cmocka_unit_test(test_stats)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
