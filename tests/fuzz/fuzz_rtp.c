/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_rtp: a script of packets and pauses through parser, latch, bookkeeping and jitter buffer. Each record: one byte of what to do, one of length, the packet.
 */
#include "rtp/rtp.h"
#include <netinet/in.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_out(struct jb *j, int64_t now)
{
	uint8_t frame[JB_BYTES], pt;
	size_t n = 0;
	if (jb_get(j, now, frame, &n, &pt) == JB_FRAME)
		ASSERT(n == JB_BYTES && pt < 128);
	ASSERT(jb_delay_ms(j) > -2000 && jb_delay_ms(j) < 1000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jb *j;
	struct rtp_stats stats = {0};
	struct latch latch;
	struct addr a = {.family = AF_INET, .port = 4000, .ip = {192, 0, 2, 1}}, b = {.family = AF_INET, .port = 5060, .ip = {192, 0, 2, 2}};
	int64_t now = 100000;
	if (!j)
		j = jb_new();
	jb_reset(j);
	latch_init(&latch, &a, &b, now + 1000);
	while (size >= 2) {
		uint8_t what = data[0];
		size_t n = MIN((size_t)data[1], size - 2);
		struct rtp_hdr h;
		struct rtp_event e;
		char *copy = malloc(n + 1);
		memcpy(copy, data + 2, n);
		now += what & 63;
		if (rtp_parse(str_n(copy, n), &h) == 0) {
			uint8_t again[12];
			ASSERT(h.payload.p >= copy + 12 && h.payload.p + h.payload.n <= copy + n);
			rtp_print_hdr(again, &h);
			ASSERT(memcmp(again + 1, copy + 1, 11) == 0);
			if (latch_judge(&latch, what & 64 ? &a : &b, &h, now) != LATCH_DROP) {
				rtp_stats_add(&stats, &h, now * 8);
				jb_put(j, &h, now);
			}
			(void)!rtp_event_parse(h.payload, &e);
		}
		free(copy);
		if (what & 128)
			check_out(j, now);
		data += 2 + n;
		size -= 2 + n;
	}
	(void)rtp_stats_lost(&stats);
	(void)rtp_stats_fraction(&stats);
	return 0;
}
