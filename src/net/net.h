/* SPDX-License-Identifier: Apache-2.0
 *
 * net: the street door of the sig thread, and the tubes between threads. An event loop on libuv (net_loop.c is the only file of the sig side that
 * includes it), UDP read and written in batches, plain TCP read by MSG_PEEK and consumed only when the owner says so, DNS by c-ares, mailboxes.
 * `struct wire` is all that the rooms above may do to the outside by packet; a flow test gives its own and links no libuv.
 */
#pragma once
#include "base/base.h"

/* ---- wire: how packets leave. Implemented by the loop, and by tests. ---- */
struct wire {
	/* Sends all n bytes or takes them over for sending; copies. -EAGAIN (queue full), -ENOTCONN (connection gone), -EHOSTUNREACH … UDP answers are best effort. */
	int (*send)(void *arg, const struct flow *to, const void *p, size_t n);
	/* A TCP connection to peer (to->peer, to->local or none): fills to->conn; bytes may be sent at once, they wait. on_closed tells of failure. */
	int (*connect)(void *arg, struct flow *to);
	void *arg;
};

/* ---- mailbox: flat messages from any thread to one. Bounded; the lock is inside; readable fd for the receiver's loop. ---- */
#define MAILBOX_HEAD 8 /* bytes of the box that each message takes beside its own */
struct mailbox;
struct mailbox *mailbox_new(size_t bytes);
void mailbox_free(struct mailbox *m);
int mailbox_post(struct mailbox *m, const void *msg, size_t n) _must_; /* copies; -ENOSPC = full, counted */
int mailbox_post_fd(struct mailbox *m, const void *msg, size_t n, int fd) _must_; /* the receiver owns fd afterwards (only on 0) */
ssize_t mailbox_take(struct mailbox *m, void *buf, size_t cap, int *ret_fd); /* bytes, 0 = empty; *ret_fd -1 = none (ret_fd NULL: a coming fd is closed) */
int mailbox_fd(const struct mailbox *m); /* readable while there is mail */
size_t mailbox_room(struct mailbox *m);  /* bytes still free: credits are reckoned from it */

/* ---- loop: the sig thread's. All callbacks run on the thread in net_run. ---- */
struct net;
struct net_user {
	void (*on_datagram)(void *arg, const struct flow *from, struct str bytes); /* bytes live until it returns */
	/* Stream bytes from the start of what was not consumed yet. Returns bytes to consume (0 = need more; then *ret_need = bytes needed in all, if known)
	 * or < 0 = close the connection. What is consumed is consumed after this returns: the record is written by then. */
	ssize_t (*on_stream)(void *arg, const struct flow *from, struct str bytes, size_t *ret_need);
	void (*on_closed)(void *arg, const struct flow *f); /* TCP connection gone */
	void (*on_turn)(void *arg, int64_t now_ms);         /* end of each turn: bins are emptied, batches leave */
	void *arg;
};
struct net_opts {
	const struct net_user *user;
	struct wheel *wheel; /* run by the loop; may be NULL */
	/* A TCP connection was accepted or made (fd >= 0) or is gone (fd -1): who holds sockets over a restart is told before a byte is read. May be NULL. */
	void (*on_conn)(void *arg, const struct flow *f, int fd);
	void *arg;
};
struct net *net_open(const struct net_opts *o);
void net_close(struct net *n); /* connections are let go of, not shut: whoever holds a copy (on_conn) goes on with them */
int net_run(struct net *n);         /* until net_stop; 0 or -E… */
void net_stop(struct net *n);       /* from a callback */
int64_t net_now_ms(const struct net *n); /* boottime of this turn */
const struct wire *net_wire(struct net *n);
/* Sockets are opened elsewhere (keeper); 0 = the fd is taken over. listener: number for struct flow. local: as bound; a wildcard socket learns it per packet. */
int net_add_udp(struct net *n, int fd, uint8_t listener, const struct addr *local) _must_;
int net_add_listen(struct net *n, int fd, uint8_t listener, const struct addr *local) _must_;
int net_add_conn(struct net *n, int fd, const struct flow *f) _must_;   /* adoption of a held connection */
typedef void net_fd_h(void *arg, int fd);
int net_add_fd(struct net *n, int fd, net_fd_h *h, void *arg) _must_;   /* level-triggered readable; the fd stays the caller's */
void net_drop_fd(struct net *n, int fd);
void net_accepting(struct net *n, bool on); /* off: listening sockets rest (drain, EMFILE) */
int net_add_signal(struct net *n, int signum, void (*h)(void *arg, int signum), void *arg) _must_;

/* Names to addresses (RFC 3263: NAPTR, SRV, A/AAAA) by c-ares; h is called once, maybe before this returns; n == 0 = not found. */
typedef void net_found_h(void *arg, const struct addr *addrs, int n, bool tcp);
int net_resolve(struct net *n, struct str host, uint16_t port, bool tcp, net_found_h *h, void *arg) _must_;
/* Asks these servers in place of those of resolv.conf: "10.0.0.1,[::1]:5353". */
int net_set_dns_servers(struct net *n, const char *csv) _must_;
/* Opens a bound socket (CLOEXEC, non-blocking, SO_REUSEADDR for TCP, IPV6_V6ONLY off only for [::], PKTINFO on wildcard UDP). fd or -E… */
int net_bind_udp(const struct addr *a, int rcvbuf_bytes) _must_;
int net_bind_listen(const struct addr *a) _must_;
/* Addresses as the kernel writes them. over_v6: an IPv4 address as mapped IPv6, for a [::] socket. Returns the length; the other way unfolds mapped ones. */
struct sockaddr_storage;
unsigned int net_addr_to_sock(const struct addr *a, bool over_v6, struct sockaddr_storage *ret);
int net_addr_from_sock(const struct sockaddr_storage *s, struct addr *ret) _must_;

/* ---- gate: who may ask anything. Default deny: loopback, and the networks that were named. `struct authed` is made here and nowhere else (house rule 9). ---- */
enum authed_kind { AUTHED_LOOPBACK, AUTHED_NETWORK };
struct authed {
	enum authed_kind kind;
	uint8_t account[16];
};
struct gate {
	struct cidr allow[PARAM_NET_MAX];
	int n_allow;
	struct authed loopback, network;
};
int gate_init(struct gate *g, const struct params *p, const uint8_t account[16]) _must_; /* -EINVAL = a network that is none */
const struct authed *gate_check(const struct gate *g, const struct addr *peer);          /* NULL = turned away */
