/* SPDX-License-Identifier: Apache-2.0
 *
 * mos: how a call sounded, estimated from what was counted: the E-model (ITU-T G.107, appendix I of G.113) with the terms that a switch knows: packet loss and delay. Pure.
 *
 * R = 93.2 - Id - Ie_eff: Ie = 0 and Bpl = 25.1 for G.711 with concealment; the one-way delay is half the round trip, a jitter buffer of twice the jitter, one frame and its look-ahead.
 * Ears judge better; the number is for comparing one line with another, which is what it is asked for.
 */
#include "verb/inside.h"

#define R_BEST   93.2
#define BPL      25.1
#define CODEC_MS 25.0

double mos_estimate(uint32_t packets, uint32_t lost, uint32_t jitter_us, uint32_t rtt_us)
{
	double all = (double)packets + lost, loss = all > 0 ? 100.0 * lost / all : 0;
	double delay = rtt_us / 2000.0 + 2 * (jitter_us / 1000.0) + CODEC_MS;
	double r = R_BEST - 0.024 * delay - (delay > 177.3 ? 0.11 * (delay - 177.3) : 0) - 95.0 * loss / (loss + BPL);

	if (packets == 0 || r <= 0)
		return 1;
	double mos = 1 + 0.035 * r + 7e-6 * r * (r - 60) * (100 - r);
	return MAX(mos, 1.0); /* the cubic dips a little below near 0 */
}
