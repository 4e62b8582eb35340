/* SPDX-License-Identifier: Apache-2.0
 *
 * net_bind: opening bound sockets, and addresses as the kernel writes them. Any thread; blocks nowhere. The keeper's side of the door: what is opened
 * here is handed over and added to a loop elsewhere. An IPv4 address that came over an IPv6 socket is unfolded at once (RFC 4291 section 2.5.5.2), so that no
 * other file knows of mapped addresses.
 */
#include "net/net_int.h"

#include <netinet/tcp.h>
#include <unistd.h>

#define BACKLOG 1024

unsigned int net_addr_to_sock(const struct addr *a, bool over_v6, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->family == AF_INET && !over_v6) {
		struct sockaddr_in *s4 = (struct sockaddr_in *)ret;
		s4->sin_family = AF_INET;
		s4->sin_port = htons(a->port);
		memcpy(&s4->sin_addr, a->ip, 4);
		return sizeof(*s4);
	}
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ret;
	s6->sin6_family = AF_INET6;
	s6->sin6_port = htons(a->port);
	if (a->family == AF_INET) {
		s6->sin6_addr.s6_addr[10] = s6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(s6->sin6_addr.s6_addr + 12, a->ip, 4);
	} else {
		memcpy(&s6->sin6_addr, a->ip, 16);
		s6->sin6_scope_id = a->scope;
	}
	return sizeof(*s6);
}

int net_addr_from_sock(const struct sockaddr_storage *s, struct addr *ret)
{
	*ret = (struct addr){0};
	if (s->ss_family == AF_INET) {
		const struct sockaddr_in *s4 = (const struct sockaddr_in *)s;
		*ret = (struct addr){.family = AF_INET, .port = ntohs(s4->sin_port)};
		memcpy(ret->ip, &s4->sin_addr, 4);
		return 0;
	}
	if (s->ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	const struct sockaddr_in6 *s6 = (const struct sockaddr_in6 *)s;
	ret->port = ntohs(s6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&s6->sin6_addr)) {
		ret->family = AF_INET;
		memcpy(ret->ip, s6->sin6_addr.s6_addr + 12, 4);
	} else {
		ret->family = AF_INET6;
		ret->scope = s6->sin6_scope_id;
		memcpy(ret->ip, &s6->sin6_addr, 16);
	}
	return 0;
}

/* Larger buffers need CAP_NET_ADMIN past rmem_max; without it, what the kernel grants. */
static void set_rcvbuf(int fd, int bytes)
{
	if (bytes > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)!setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static int bind_socket(const struct addr *a, int type)
{
	struct sockaddr_storage ss;
	int one = 1, v6only = !addr_is_any(a), fd;
	if (a->family != AF_INET && a->family != AF_INET6)
		return -EAFNOSUPPORT;
	fd = socket(a->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* UDP without SO_REUSEADDR: a second daemon on the port has to be seen as EADDRINUSE, not to share the packets. */
	if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		goto fail;
	if (a->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0)
		goto fail;
	socklen_t len = net_addr_to_sock(a, false, &ss);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0)
		goto fail;
	return fd;
fail:;
	int err = -errno;
	close(fd);
	return err;
}

int net_want_pktinfo(int fd, int family)
{
	int one = 1;
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, name = family == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO;
	return setsockopt(fd, level, name, &one, sizeof(one)) < 0 ? -errno : 0;
}

int net_bind_udp(const struct addr *a, int rcvbuf_bytes)
{
	int fd = bind_socket(a, SOCK_DGRAM);
	if (fd < 0)
		return fd;
	set_rcvbuf(fd, rcvbuf_bytes);
	int err = addr_is_any(a) ? net_want_pktinfo(fd, a->family) : 0;
	if (err < 0) {
		close(fd);
		return err;
	}
	return fd;
}

int net_bind_listen(const struct addr *a)
{
	int fd = bind_socket(a, SOCK_STREAM);
	if (fd < 0)
		return fd;
	set_rcvbuf(fd, CONN_RCVBUF); /* inherited by what is accepted; the window scale is settled with the SYN */
	if (listen(fd, BACKLOG) < 0) {
		int err = -errno;
		close(fd);
		return err;
	}
	return fd;
}
