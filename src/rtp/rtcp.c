/* SPDX-License-Identifier: Apache-2.0
 *
 * rtcp: compound packets of RFC 3550 section 6, read and written: SR, RR, SDES with CNAME, BYE; others are passed over. Pure functions; on media
 * threads. When to send and what the figures are for is decided by media. Reduced-size packets (RFC 5506) are not negotiated and refused.
 */
#include "rtp/rtp.h"
#include "rtp/wire.h"

enum { RTCP_SR = 200, RTCP_RR = 201, RTCP_SDES = 202, RTCP_BYE = 203 };
#define NTP_UNIX 2208988800ULL /* seconds from 1900 to 1970 */
#define BLOCK    24            /* bytes of a report block */

static void read_blocks(const uint8_t *p, size_t n, int count, uint32_t our_ssrc, struct rtcp_info *ret)
{
	for (int i = 0; i < count && n >= BLOCK; i++, p += BLOCK, n -= BLOCK) {
		if (get32(p) != our_ssrc)
			continue;
		ret->has_report = true;
		ret->fraction_lost = p[4];
		ret->lost = (int32_t)(get32(p + 4) << 8) >> 8; /* 24 bits with a sign */
		ret->ext_seq = get32(p + 8);
		ret->jitter = get32(p + 12);
		ret->lsr = get32(p + 16);
		ret->dlsr = get32(p + 20);
	}
}

static int read_report(const uint8_t *p, size_t n, bool sr, uint32_t our_ssrc, struct rtcp_info *ret)
{
	size_t head = sr ? 28 : 8;
	int count = p[0] & 0x1f;
	if (n < head + (size_t)count * BLOCK)
		return -EBADMSG;
	ret->ssrc = get32(p + 4);
	if (sr) {
		ret->sr = true;
		ret->ntp = (uint64_t)get32(p + 8) << 32 | get32(p + 12);
		ret->rtp_ts = get32(p + 16);
		ret->packets = get32(p + 20);
		ret->octets = get32(p + 24);
	}
	read_blocks(p + head, n - head, count, our_ssrc, ret);
	return 0;
}

/* RFC 3550 A.2: the first packet is a report, versions are 2, lengths add up, padding only in the last. */
int rtcp_parse(struct str in, uint32_t our_ssrc, struct rtcp_info *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;
	size_t left = in.n;
	*ret = (struct rtcp_info){0};
	for (bool first = true; left; first = false) {
		if (left < 4 || p[0] >> 6 != 2 || (first && p[1] != RTCP_SR && p[1] != RTCP_RR))
			return -EBADMSG;
		size_t n = 4 * ((size_t)get16(p + 2) + 1);
		if (n > left || ((p[0] & 0x20) && (first || n != left)))
			return -EBADMSG;
		if ((p[1] == RTCP_SR || p[1] == RTCP_RR) && n >= 8) {
			int r = read_report(p, n, p[1] == RTCP_SR, our_ssrc, ret);
			if (r != 0)
				return r;
		} else if (first) {
			return -EBADMSG;
		}
		ret->bye |= p[1] == RTCP_BYE;
		p += n;
		left -= n;
	}
	return in.n ? 0 : -EBADMSG;
}

static size_t print_report(uint8_t *out, const struct rtcp_report *r)
{
	bool sr = r->packets > 0;
	size_t n = sr ? 28 : 8;
	put32(out + 4, r->ssrc);
	if (sr) {
		uint64_t s = (uint64_t)(r->utc_ms / 1000) + NTP_UNIX, frac = ((uint64_t)(r->utc_ms % 1000) << 32) / 1000;
		put32(out + 8, (uint32_t)s);
		put32(out + 12, (uint32_t)frac);
		put32(out + 16, r->rtp_ts);
		put32(out + 20, r->packets);
		put32(out + 24, r->octets);
	}
	if (r->has_peer) {
		int32_t lost = MAX(MIN(r->lost, 0x7fffff), -0x800000);
		put32(out + n, r->peer_ssrc);
		put32(out + n + 4, (uint32_t)r->fraction_lost << 24 | ((uint32_t)lost & 0xffffff));
		put32(out + n + 8, r->ext_seq);
		put32(out + n + 12, r->jitter);
		put32(out + n + 16, r->lsr);
		put32(out + n + 20, r->dlsr);
		n += BLOCK;
	}
	out[0] = (uint8_t)(0x80 | (r->has_peer ? 1 : 0));
	out[1] = sr ? RTCP_SR : RTCP_RR;
	put16(out + 2, (uint16_t)(n / 4 - 1));
	return n;
}

/* One chunk with a CNAME (6.5): items end in a zero byte, padded to 32 bits. */
static size_t print_sdes(uint8_t *out, const struct rtcp_report *r, size_t cname_n)
{
	size_t n = (8 + 2 + cname_n + 1 + 3) & ~(size_t)3;
	memset(out, 0, n);
	out[0] = 0x81;
	out[1] = RTCP_SDES;
	put16(out + 2, (uint16_t)(n / 4 - 1));
	put32(out + 4, r->ssrc);
	out[8] = 1; /* CNAME */
	out[9] = (uint8_t)cname_n;
	memcpy(out + 10, r->cname, cname_n);
	return n;
}

size_t rtcp_print(uint8_t *out, size_t cap, const struct rtcp_report *r, bool bye)
{
	size_t cname_n = r->cname ? strnlen(r->cname, 255) : 0;
	size_t most = 28 + BLOCK + (8 + 2 + cname_n + 4) + 8;
	if (cap < most)
		return 0;
	size_t n = print_report(out, r);
	if (cname_n)
		n += print_sdes(out + n, r, cname_n);
	if (bye) {
		out[n] = 0x81;
		out[n + 1] = RTCP_BYE;
		put16(out + n + 2, 1);
		put32(out + n + 4, r->ssrc);
		n += 8;
	}
	return n;
}
