/* SPDX-License-Identifier: Apache-2.0
 *
 * addr: IP addresses and networks as text and back. Pure, any thread. IPv6 is written as RFC 5952 asks for; an IPv4-mapped address is unfolded to
 * IPv4 when it is read, so that one host has one spelling and no gate is passed under another name. A scope id is read (as a number) and never
 * printed: it means nothing beyond this machine (RFC 4007 section 11.2).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static int parse_host(struct str s, struct addr *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct addr a = {0};
	struct str scope;
	struct str host = str_cut(s, '%', &scope);
	uint64_t id = 0;
	char z[INET6_ADDRSTRLEN];

	if (str_zcpy(host, z, sizeof(z)) < 0)
		return -EBADMSG;
	if (scope.p && str_u64(scope, UINT32_MAX, &id) < 0)
		return -EBADMSG;
	if (!scope.p && inet_pton(AF_INET, z, a.ip) == 1) {
		a.family = AF_INET;
	} else if (inet_pton(AF_INET6, z, a.ip) == 1) {
		a.family = AF_INET6;
		a.scope = (uint32_t)id;
	} else {
		return -EBADMSG;
	}
	if (a.family == AF_INET6 && memcmp(a.ip, mapped, sizeof(mapped)) == 0) {
		memmove(a.ip, a.ip + 12, 4);
		memset(a.ip + 4, 0, 12);
		a.family = AF_INET;
		a.scope = 0;
	}
	*ret = a;
	return 0;
}

int addr_parse(struct str s, struct addr *ret)
{
	struct str host = s, port = STR_NONE;
	uint64_t n = 0;
	int r;

	if (s.n && s.p[0] == '[') {
		host = str_cut(str_skip(s, 1), ']', &port);
		if (!port.p || !str_find(host, ':'))
			return -EBADMSG;
		if (port.n && port.p[0] != ':')
			return -EBADMSG;
		port = port.n ? str_skip(port, 1) : STR_NONE;
	} else {
		struct str a = str_cut(s, ':', &port);

		if (port.p && !str_find(port, ':'))
			host = a;
		else
			port = STR_NONE; /* a bare IPv6 address */
	}
	if (port.p && (port.n > 5 || str_u64(port, 65535, &n) < 0))
		return -EBADMSG;
	r = parse_host(host, ret);
	if (r < 0)
		return r;
	ret->port = (uint16_t)n;
	return 0;
}

void addr_print_host(struct out *o, const struct addr *a)
{
	char z[INET6_ADDRSTRLEN];

	if (!a->family || !inet_ntop(a->family, a->ip, z, sizeof(z)))
		OUT_STR(o, "-");
	else
		out_str(o, str_z(z));
}

void addr_print(struct out *o, const struct addr *a)
{
	if (a->family == AF_INET6)
		out_c(o, '[');
	addr_print_host(o, a);
	if (a->family == AF_INET6)
		out_c(o, ']');
	if (a->family) {
		out_c(o, ':');
		out_u64(o, a->port);
	}
}

static size_t ip_size(const struct addr *a)
{
	return a->family == AF_INET ? 4 : a->family == AF_INET6 ? 16 : 0;
}

bool addr_eq_host(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family || memcmp(a->ip, b->ip, ip_size(a)) != 0)
		return false;
	return a->scope == b->scope || !a->scope || !b->scope; /* 0: not said */
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_eq_host(a, b);
}

bool addr_is_any(const struct addr *a)
{
	static const uint8_t zero[16];

	return a->family && memcmp(a->ip, zero, ip_size(a)) == 0;
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	return a->family == AF_INET ? a->ip[0] == 127 : a->family == AF_INET6 && memcmp(a->ip, one, sizeof(one)) == 0;
}

static void mask(uint8_t *ip, int size, int bits)
{
	for (int i = 0; i < size; i++, bits -= 8)
		ip[i] &= bits >= 8 ? 0xff : bits <= 0 ? 0 : (uint8_t)(0xff << (8 - bits));
}

int cidr_parse(struct str s, struct cidr *ret)
{
	struct str len;
	struct str host = str_cut(s, '/', &len);
	struct addr a;
	uint64_t bits;
	int max, r;
	bool mapped;

	r = parse_host(host, &a);
	if (r < 0)
		return r;
	max = (int)ip_size(&a) * 8;
	mapped = a.family == AF_INET && str_find(host, ':');
	bits = (uint64_t)max;
	if (len.p) {
		if (len.n > 3 || str_u64(len, mapped ? 128 : (uint64_t)max, &bits) < 0 || (mapped && bits < 96))
			return -EBADMSG;
		bits -= mapped ? 96 : 0;
	}
	a.scope = 0;
	mask(a.ip, max / 8, (int)bits);
	*ret = (struct cidr){.net = a, .bits = (int)bits};
	return 0;
}

bool cidr_has(const struct cidr *c, const struct addr *a)
{
	uint8_t ip[16];

	if (!a->family || a->family != c->net.family)
		return false;
	memcpy(ip, a->ip, sizeof(ip));
	mask(ip, (int)ip_size(a), c->bits);
	return memcmp(ip, c->net.ip, ip_size(a)) == 0;
}
