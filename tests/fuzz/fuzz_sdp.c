/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_sdp: any bytes as a session description. What parses has to be answered without overflow, and our answer has to parse and to agree with us.
 */
#include "sdp/sdp.h"
#include <netinet/in.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sdp s, again;
	static char buf[16384];
	struct sdp_agreed a, b;
	struct out o = OUT(buf);
	char *copy = malloc(size + 1); /* its own block, so that reading past the end is seen */
	memcpy(copy, data, size);
	struct sdp_local us = {.rtp = {.family = AF_INET, .port = 4000, .ip = {192, 0, 2, 1}}, .session = 1, .version = 1};
	if (sdp_parse(str_n(copy, size), &s) == 0 && sdp_answer(&s, &us, &o, &a) == 0) {
		ASSERT(sdp_parse(out_view(&o), &again) == 0);
		ASSERT(again.n_media == s.n_media && again.media[a.media].port == 4000);
		int r = sdp_agree(&again, &us, &b);
		ASSERT(r == 0 || a.media != 0);
	}
	free(copy);
	return 0;
}
