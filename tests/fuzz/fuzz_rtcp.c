/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_rtcp: any bytes as a compound packet; what parses and carries figures is printed again and has to carry the same.
 */
#include "rtp/rtp.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtcp_info i, back;
	uint8_t p[512];
	char *copy = malloc(size + 1);
	memcpy(copy, data, size);
	if (rtcp_parse(str_n(copy, size), 0x01010101, &i) == 0) {
		struct rtcp_report r = {.ssrc = i.ssrc,
					.packets = i.packets,
					.octets = i.octets,
					.rtp_ts = i.rtp_ts,
					.has_peer = i.has_report,
					.peer_ssrc = 0x01010101,
					.ext_seq = i.ext_seq,
					.jitter = i.jitter,
					.lsr = i.lsr,
					.dlsr = i.dlsr,
					.fraction_lost = i.fraction_lost,
					.lost = i.lost,
					.cname = "c"};
		size_t n = rtcp_print(p, sizeof(p), &r, i.bye);
		ASSERT(n && rtcp_parse(str_n(p, n), 0x01010101, &back) == 0);
		ASSERT(back.ssrc == i.ssrc && back.bye == i.bye && back.has_report == i.has_report && back.lost == i.lost && back.jitter == i.jitter);
	}
	free(copy);
	return 0;
}
