/* SPDX-License-Identifier: Apache-2.0
 *
 * link: one message with its file descriptors on a SEQPACKET socket (unix(7), SCM_RIGHTS). Used by all three processes, on the thread that owns the socket.
 * A message that does not fit or carries more descriptors than expected is an error of the other end; descriptors never leak from it.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

union fd_room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(LINK_FDS * sizeof(int))];
};

int link_pair(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;
}

void link_close_fds(int *fds, int n)
{
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int link_send(int fd, const void *msg, size_t n, const int *fds, int n_fds, bool wait)
{
	union fd_room room;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)msg, .iov_len = n};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	ASSERT(n_fds >= 0 && n_fds <= LINK_FDS);
	if (n_fds > 0) {
		size_t bytes = sizeof(int) * (size_t)n_fds;
		memset(&room, 0, sizeof(room));
		h.msg_control = room.bytes;
		h.msg_controllen = CMSG_SPACE(bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(c), fds, bytes);
	}
	ssize_t r;
	do {
		r = sendmsg(fd, &h, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ETOOMANYREFS || errno == ENOBUFS ? -EAGAIN : -errno; /* too many descriptors in flight: later, when the other end has read */
	return 0;
}

static int take_fds(struct msghdr *h, int *fds, int cap)
{
	int n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < got; i++) {
			int one;
			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < cap)
				fds[n++] = one;
			else
				close(one);
		}
	}
	return n;
}

ssize_t link_recv(int fd, void *buf, size_t cap, int *fds, int cap_fds, int *ret_n_fds)
{
	union fd_room room;
	struct iovec iov = {.iov_base = buf, .iov_len = cap};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof(room.bytes)};
	ssize_t r;
	*ret_n_fds = 0;
	do {
		r = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ECONNRESET ? 0 : -errno;
	*ret_n_fds = take_fds(&h, fds, cap_fds);
	if (h.msg_flags & MSG_TRUNC) {
		link_close_fds(fds, *ret_n_fds);
		*ret_n_fds = 0;
		return -EMSGSIZE;
	}
	return r;
}
