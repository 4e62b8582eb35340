/* SPDX-License-Identifier: Apache-2.0
 *
 * hashfn: SipHash-2-4 (Aumasson and Bernstein, 2012) for every table whose keys come from outside, and CRC-32C (RFC 3720 B.4; the polynomial that
 * SSE4.2 has an instruction for) for the records in the slab. Pure, any thread; the processor is asked once which way it can.
 */
#include <pthread.h>
#include <string.h>

#include "base/base.h"
#include "base/inside.h"

static inline uint64_t rotl(uint64_t v, int n)
{
	return v << n | v >> (64 - n);
}

static inline uint64_t le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap64(v);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] = rotl(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	sip_round(v);
	sip_round(v);
	v[0] ^= m;
}

uint64_t siphash(const uint8_t key[16], const void *p, size_t n)
{
	uint64_t k0 = le64(key), k1 = le64(key + 8);
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL, k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};
	const uint8_t *b = p;
	uint64_t last = (uint64_t)n << 56;
	size_t whole = n & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8)
		sip_word(v, le64(b + i));
	for (size_t i = whole; i < n; i++)
		last |= (uint64_t)b[i] << (8 * (i - whole));
	sip_word(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint8_t process_key[16];
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	rand_bytes(process_key, sizeof(process_key));
}

uint64_t str_hash(struct str s)
{
	pthread_once(&key_once, make_key);
	return siphash(process_key, s.p, s.n);
}

#define CRC32C_POLY 0x82f63b78u /* reflected */

static uint32_t crc_table[256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void make_crc_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (c & 1 ? CRC32C_POLY : 0);
		crc_table[i] = c;
	}
}

uint32_t crc32c_table(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t c = ~0u;

	pthread_once(&crc_once, make_crc_table);
	for (size_t i = 0; i < n; i++)
		c = c >> 8 ^ crc_table[(c ^ b[i]) & 0xff];
	return ~c;
}

#ifdef __x86_64__
bool crc32c_has_cpu(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) uint32_t crc32c_cpu(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t c = ~0u;

	for (; n >= 8; n -= 8, b += 8)
		c = __builtin_ia32_crc32di(c, le64(b));
	for (; n; n--, b++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *b);
	return ~(uint32_t)c;
}
#else
bool crc32c_has_cpu(void)
{
	return false;
}

uint32_t crc32c_cpu(const void *p, size_t n)
{
	return crc32c_table(p, n);
}
#endif

uint32_t crc32c(const void *p, size_t n)
{
	return crc32c_has_cpu() ? crc32c_cpu(p, n) : crc32c_table(p, n);
}
