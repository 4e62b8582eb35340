/* SPDX-License-Identifier: Apache-2.0
 *
 * lines: where the lines of a message end. The only loop of the parser that looks at every byte of the headers, so it takes 32 at once where the CPU
 * has AVX2; the choice is made at run time, and the plain version beside it says what is right (tests compare them on every alignment).
 *
 * The blocks are walked by clearing the lowest set bit of a mask: no mask is ever shifted, so a line that starts on a block boundary needs no care
 * (a shift by the width of the type is undefined, and was the one bug of the prototype).
 */
#include "sip/sip_int.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Notes the LF at `at`; true = nothing more is wanted. */
static inline bool take(struct sip_lines *l, const char *p, uint32_t at)
{
	uint32_t start = l->n ? l->end[l->n - 1] + 1 : 0;

	l->end[l->n++] = at;
	l->blank = at == start || (at == start + 1 && p[start] == '\r');
	return l->blank || l->n == SIP_LINES_MAX;
}

static void plain_from(struct str in, size_t at, struct sip_lines *ret)
{
	for (; at < in.n; at++)
		if (in.p[at] == '\n' && take(ret, in.p, (uint32_t)at))
			return;
}

void sip_lines_plain(struct str in, struct sip_lines *ret)
{
	ret->n = 0;
	ret->blank = false;
	plain_from(in, 0, ret);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void find_avx2(struct str in, struct sip_lines *ret)
{
	const __m256i lf = _mm256_set1_epi8('\n');
	size_t at = 0;

	for (; at + 32 <= in.n; at += 32) {
		__m256i block = _mm256_loadu_si256((const __m256i *)(const void *)(in.p + at));
		uint32_t mask = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(block, lf));

		for (; mask; mask &= mask - 1)
			if (take(ret, in.p, (uint32_t)at + (uint32_t)__builtin_ctz(mask)))
				return;
	}
	plain_from(in, at, ret);
}

bool sip_lines_avx2(struct str in, struct sip_lines *ret)
{
	if (!__builtin_cpu_supports("avx2"))
		return false;
	ret->n = 0;
	ret->blank = false;
	find_avx2(in, ret);
	return true;
}
#else
bool sip_lines_avx2(struct str in, struct sip_lines *ret)
{
	return false;
}
#endif

void sip_lines_find(struct str in, struct sip_lines *ret)
{
	if (!sip_lines_avx2(in, ret))
		sip_lines_plain(in, ret);
}
