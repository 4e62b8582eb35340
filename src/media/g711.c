/* SPDX-License-Identifier: Apache-2.0
 *
 * g711: µ-law and A-law (ITU-T G.711, in the 16-bit scaling of G.191). Pure functions, any thread. Decoding is a table made at compile time; encoding finds the
 * segment by the number of leading zeros.
 */
#include "media/media.h"

#define U_T(c)    (((((~(c)) & 0x0f) << 3) + 0x84) << (((~(c)) & 0x70) >> 4))
#define U(c)      (int16_t)(((c)&0x80) ? U_T(c) - 0x84 : 0x84 - U_T(c))
#define A_X(c)    ((c) ^ 0x55)
#define A_E(c)    ((A_X(c) & 0x70) >> 4)
#define A_M(c)    ((A_X(c) & 0x0f) << 4)
#define A_T(c)    (A_E(c) == 0 ? A_M(c) + 8 : (A_M(c) + 0x108) << (A_E(c) == 0 ? 0 : A_E(c) - 1))
#define A(c)      (int16_t)(((c)&0x80) ? A_T(c) : -A_T(c))
#define X4(f, c)  f(c), f((c) + 1), f((c) + 2), f((c) + 3)
#define X16(f, c) X4(f, c), X4(f, (c) + 4), X4(f, (c) + 8), X4(f, (c) + 12)
#define X64(f, c) X16(f, c), X16(f, (c) + 16), X16(f, (c) + 32), X16(f, (c) + 48)
#define X256(f)   X64(f, 0), X64(f, 64), X64(f, 128), X64(f, 192)

static const int16_t ulaw[256] = {X256(U)};
static const int16_t alaw[256] = {X256(A)};

void media_decode(enum codec_id law, const uint8_t *in, int16_t *out, size_t n)
{
	const int16_t *table = law == CODEC_PCMA ? alaw : ulaw;
	for (size_t i = 0; i < n; i++)
		out[i] = table[in[i]];
}

static inline int top_bit(uint32_t x)
{
	return 31 - __builtin_clz(x);
}

static inline uint8_t encode_u(int x)
{
	uint8_t mask = 0xff;
	if (x < 0) {
		x = -x;
		mask = 0x7f;
	}
	x = MIN(x + 0x84, 0x7fff);
	int e = top_bit((uint32_t)x) - 7;
	return (uint8_t)(((e << 4) | ((x >> (e + 3)) & 0x0f)) ^ mask);
}

static inline uint8_t encode_a(int x)
{
	uint8_t mask = 0xd5;
	if (x < 0) {
		x = ~x;
		mask = 0x55;
	}
	int e = top_bit((uint32_t)x | 0xff) - 7;
	return (uint8_t)(((e << 4) | ((x >> (e ? e + 3 : 4)) & 0x0f)) ^ mask);
}

void media_encode(enum codec_id law, const int16_t *in, uint8_t *out, size_t n)
{
	if (law == CODEC_PCMA)
		for (size_t i = 0; i < n; i++)
			out[i] = encode_a(in[i]);
	else
		for (size_t i = 0; i < n; i++)
			out[i] = encode_u(in[i]);
}
