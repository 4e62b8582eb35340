/* SPDX-License-Identifier: Apache-2.0
 *
 * net_int: what the files of net/ share. Not for other rooms. A `struct watch` is one descriptor in the loop; net_loop.c makes it of libuv, and
 * the rest of the room knows no libuv. Everything here is touched by the thread in net_run only.
 */
#pragma once
#include "net/net.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define CONN_RCVBUF    (256 << 10) /* SO_RCVLOWAT is capped at half of what SO_RCVBUF gives (twice this): it holds PEEK_MAX */
#define PEEK_MAX       (128 << 10) /* the longest frame that can be seen whole */
#define CONN_SNDBUF    (256 << 10)
#define CONN_QUEUE     (256 << 10) /* bytes that may wait for a slow reader; one past it the connection is closed */
#define WHOLE_MS       30000       /* a frame is whole this long after its first byte, the first one this long after the connection */
#define CONNECT_MS     10000
#define ACCEPT_REST_MS 100 /* no descriptors left: accepting rests, it does not spin */

enum watch_event { WATCH_IN = 1, WATCH_OUT = 2, WATCH_HUP = 4, WATCH_ERR = 8 };
typedef void watch_h(void *arg, unsigned events);
struct watch;
struct watch *watch_new(struct net *n, int fd, watch_h *h, void *arg); /* watches nothing yet; NULL = no memory or no good fd */
int watch_set(struct watch *w, unsigned events);                       /* 0 = rest. After WATCH_ERR it rests until set again */
void watch_free(struct watch *w);                                      /* never calls again; the fd may be closed afterwards; NULL is fine */

struct loop;   /* net_loop.c */
struct udp_in; /* net_bind.c */
int net_want_pktinfo(int fd, int family);

/* net_udp.c */
struct dns;     /* net_dns.c */
struct fd_seat; /* net_loop.c */

struct net {
	struct net_user user;
	void (*on_conn)(void *arg, const struct flow *f, int fd);
	void *conn_arg;
	struct wheel *wheel, *own; /* the user's (may be NULL) and the room's */
	struct loop *loop;
	struct wire wire;
	int64_t now_ms;
	bool awake; /* now_ms is of this turn */
	struct link udps, listens, conns, dying, fds, signals;
	struct link bin; /* blocks that begin with a struct link; freed at the end of the turn */
	struct udp_in *in;
	char *peek;             /* PEEK_MAX bytes */
	struct hash *by_number; /* living connections */
	uint32_t n_conns, conn_top;
	bool accepting;
	struct timer accept_rest;
	struct dns *dns;
};

/* net_loop.c */
void net_wake(struct net *n); /* at the door of each callback: takes the time */
static inline void net_bin(struct net *n, struct link *first_member)
{
	link_append(&n->bin, first_member);
}

/* net_bind.c */
int net_want_pktinfo(int fd, int family);

/* net_udp.c */
int udp_open(struct net *n);
void udp_close(struct net *n);
int udp_send(struct net *n, const struct flow *to, const void *p, size_t size);
void udp_flush(struct net *n);

/* net_tcp.c */
struct conn;
struct conn *conn_new(struct net *n, int fd, const struct flow *f, bool connecting); /* takes the fd only if it returns a connection */
void conn_await_frame(struct conn *c);                                               /* the peer owes a whole frame: WHOLE_MS from now */
int conn_send(struct net *n, const struct flow *to, const void *p, size_t size);
bool conn_taken(const struct net *n, uint32_t number);
void conns_reap(struct net *n);  /* tells of the dead and bins them */
void conns_close(struct net *n); /* closes our descriptors, leaves the connections standing */
void conn_options(int fd);

/* net_accept.c */
int conn_connect(struct net *n, struct flow *to);
void listens_close(struct net *n);
void accept_rest_h(struct timer *t, void *arg, int64_t now_ms);

/* net_dns.c */
int dns_open(struct net *n);
void dns_close(struct net *n);

/* net_hosts.c */
struct str hosts_read(const char *path); /* the caller frees .p */
int hosts_find(struct str text, struct str host, struct addr *ret, int cap);
