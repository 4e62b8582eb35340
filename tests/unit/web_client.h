/* SPDX-License-Identifier: Apache-2.0
 *
 * web_client: what the tests of the HTTP client stand on: an HTTP server of bad manners (a thread for each connection; what it does follows from the path), a name server that answers
 * as it is told, and a client whose answers are waited for. Loopback only; the HTTP server listens on all addresses so that a connection to the wrong one is seen.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"
#include "web/inside.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS   30000
#define CONNS_MAX 512

struct server {
	int listen, stop[2];
	uint16_t port;
	pthread_t id, conns[CONNS_MAX];
	int n_conns;
	atomic_int accepted, requests;
	pthread_mutex_t lock;
	char last[70000]; /* the last request, as it came */
	char local[32];   /* the address it was sent to */
	atomic_int hits;  /* of paths that count */
};

struct names {
	int fd;
	uint16_t port;
	pthread_t id;
	atomic_int asked, rebinds;
};

struct rig {
	struct server http;
	struct names dns;
	struct web *web;
	struct client *client;
	struct mailbox *up;
	size_t up_bytes; /* 0 = plenty */
	uint32_t number;
	char jar[JAR_MAX];
	size_t jar_n;
};

/* An answer, with what came in its memfd. */
struct reply {
	struct fetched r;
	char *body, *jar;
};

/* ---- the server ---- */
static inline bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
		if (w <= 0)
			return false;
		p += w;
		n -= (size_t)w;
	}
	return true;
}

static inline bool sendf(int fd, const char *fmt, ...) _printf_(2, 3);
static inline bool sendf(int fd, const char *fmt, ...)
{
	char buf[4096];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	return send_all(fd, buf, MIN((size_t)n, sizeof(buf) - 1));
}

static inline bool answer(int fd, const char *status, const char *headers, const char *body)
{
	return sendf(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, strlen(body), headers) && send_all(fd, body, strlen(body));
}

/* True: the peer hung up or the server stops; else the time is over. */
static inline bool hung_up(struct server *s, int fd, int ms)
{
	struct pollfd pf[] = {{.fd = fd, .events = POLLIN | POLLRDHUP}, {.fd = s->stop[0], .events = POLLIN}};
	return poll(pf, 2, ms) != 0;
}

struct conn_arg {
	struct server *s;
	int fd;
};

/* Reads one request into buf; its length, 0 = none more. */
static inline size_t read_request(struct server *s, int fd, char *buf, size_t cap)
{
	size_t n = 0, want = 0;
	while (n < cap - 1) {
		struct pollfd pf[] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};
		if (poll(pf, 2, -1) < 0 || pf[1].revents)
			return 0;
		ssize_t r = recv(fd, buf + n, cap - 1 - n, 0);
		if (r <= 0)
			return 0;
		n += (size_t)r;
		buf[n] = 0;
		char *end = strstr(buf, "\r\n\r\n"), *len = strstr(buf, "Content-Length: ");
		if (end && !want)
			want = (size_t)(end - buf) + 4 + (len && len < end ? strtoul(len + 16, NULL, 10) : 0);
		if (want && n >= want)
			return n;
	}
	return 0;
}

bool serve_path(struct server *s, int fd, const char *path, const char *request); /* false: the connection is over */

static inline void *conn_thread(void *arg)
{
	struct conn_arg a = *(struct conn_arg *)arg;
	char *buf = malloc(sizeof(a.s->last));
	char path[2048];
	size_t n;
	free(arg);
	while ((n = read_request(a.s, a.fd, buf, sizeof(a.s->last)))) {
		struct sockaddr_in in = {0};
		socklen_t len = sizeof(in);
		getsockname(a.fd, (struct sockaddr *)&in, &len);
		pthread_mutex_lock(&a.s->lock);
		memcpy(a.s->last, buf, n + 1);
		inet_ntop(AF_INET, &in.sin_addr, a.s->local, sizeof(a.s->local));
		pthread_mutex_unlock(&a.s->lock);
		a.s->requests++;
		if (sscanf(buf, "%*s %2047s", path) != 1 || !serve_path(a.s, a.fd, path, buf))
			break;
	}
	close(a.fd);
	free(buf);
	return NULL;
}

static inline void *server_thread(void *arg)
{
	struct server *s = arg;
	for (;;) {
		struct pollfd pf[] = {{.fd = s->listen, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};
		poll(pf, 2, -1);
		if (pf[1].revents)
			return NULL;
		int fd = accept4(s->listen, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 || s->n_conns == CONNS_MAX) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		struct conn_arg *a = malloc(sizeof(*a));
		*a = (struct conn_arg){s, fd};
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		s->accepted++;
		pthread_create(&s->conns[s->n_conns++], NULL, conn_thread, a);
	}
}

static inline int listen_on(uint32_t ip, int backlog, uint16_t *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static inline void server_start(struct server *s)
{
	pthread_mutex_init(&s->lock, NULL);
	assert_int_equal(pipe(s->stop), 0);
	s->listen = listen_on(INADDR_ANY, 512, &s->port);
	assert_int_equal(pthread_create(&s->id, NULL, server_thread, s), 0);
}

static inline void server_stop(struct server *s)
{
	close(s->stop[1]);
	pthread_join(s->id, NULL);
	for (int i = 0; i < s->n_conns; i++)
		pthread_join(s->conns[i], NULL);
	close(s->listen);
	close(s->stop[0]);
	pthread_mutex_destroy(&s->lock);
}

/* ---- the name server: A records only; AAAA of a name that exists is empty ---- */
static inline int addresses_of(struct names *d, const char *name, const char *ret[4])
{
	static const struct {
		const char *name, *a, *b;
	} zone[] = {
	    {"local.test", "127.0.0.1", NULL},      {"two.test", "127.0.0.2", NULL}, {"mixed.test", "127.0.0.2", "127.0.0.1"},
	    {"meta.test", "169.254.169.254", NULL}, {"ten.test", "10.1.2.3", NULL},  {"zero.test", "0.0.0.0", NULL},
	    {"half.test", "8.8.8.8", "10.0.0.1"},   {"a.test", "127.0.0.2", NULL},   {"b.test", "127.0.0.2", NULL},
	};
	if (strcasecmp(name, "rebind.test") == 0) {
		ret[0] = d->rebinds++ == 0 ? "127.0.0.2" : "127.0.0.1";
		return 1;
	}
	for (size_t i = 0; i < N_ELEMENTS(zone); i++)
		if (strcasecmp(name, zone[i].name) == 0) {
			ret[0] = zone[i].a;
			ret[1] = zone[i].b;
			return zone[i].b ? 2 : 1;
		}
	return -1;
}

static inline void *names_thread(void *arg)
{
	struct names *d = arg;
	for (;;) {
		unsigned char q[1500];
		char name[300];
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(d->fd, q, 512, 0, (struct sockaddr *)&from, &len);
		if (n == 1)
			return NULL;
		size_t at = 12, to = 0;
		while (n > 16 && at < (size_t)n && q[at] && to + q[at] + 1 < sizeof(name)) {
			memcpy(name + to, q + at + 1, q[at]);
			to += q[at];
			name[to++] = '.';
			at += q[at] + 1u;
		}
		name[to ? to - 1 : 0] = 0;
		if (strcasecmp(name, "silent.test") == 0)
			continue;
		const char *addrs[4];
		bool is_a = q[at + 2] == 1;
		if (is_a)
			d->asked++;
		int n_addrs = strcasecmp(name, "rebind.test") == 0 && !is_a ? 0 : addresses_of(d, name, addrs);
		q[2] = 0x84;
		q[3] = n_addrs < 0 ? 3 : 0;
		q[7] = is_a && n_addrs > 0 ? (unsigned char)n_addrs : 0;
		q[6] = q[8] = q[9] = q[10] = q[11] = 0;
		at += 5;
		for (int i = 0; i < q[7]; i++) {
			static const unsigned char rr[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4};
			memcpy(q + at, rr, sizeof(rr));
			inet_pton(AF_INET, addrs[i], q + at + sizeof(rr));
			at += sizeof(rr) + 4;
		}
		sendto(d->fd, q, at, 0, (struct sockaddr *)&from, len);
	}
}

static inline void names_start(struct names *d)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	d->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(d->fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(d->fd, (struct sockaddr *)&a, &n), 0);
	d->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&d->id, NULL, names_thread, d), 0);
}

static inline void names_stop(struct names *d)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(d->port)};
	sendto(d->fd, "", 1, 0, (struct sockaddr *)&a, sizeof(a));
	pthread_join(d->id, NULL);
	close(d->fd);
}

/* ---- the client ---- */
static inline void rig_open(struct rig *g, struct client_opts *o)
{
	char servers[32];
	struct web_opts w = {.listen_fds = NULL, .n_listen = 0, .product = "test"};
	server_start(&g->http);
	names_start(&g->dns);
	g->up = mailbox_new(g->up_bytes ? g->up_bytes : 4u << 20);
	assert_int_equal(web_start(&w, &g->web), 0);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", g->dns.port);
	o->up = g->up;
	o->up_tag = 77;
	o->product = "Hookswitch/test";
	o->dns_servers = servers;
	if (!o->cache_bytes)
		o->cache_bytes = 1 << 20;
	snprintf(o->auth_token, sizeof(o->auth_token), "tok");
	assert_int_equal(client_open(g->web, o, &g->client), 0);
}

static inline void rig_close(struct rig *g)
{
	client_close(g->client);
	web_stop(g->web);
	names_stop(&g->dns);
	server_stop(&g->http);
	mailbox_free(g->up);
	free(g);
}

static inline struct reply wait_reply(struct rig *g)
{
	struct pollfd pf = {.fd = mailbox_fd(g->up), .events = POLLIN};
	struct reply p = {0};
	struct stat st;
	int fd = -1;
	assert_int_equal(poll(&pf, 1, WAIT_MS), 1); /* an answer comes */
	assert_int_equal(mailbox_take(g->up, &p.r, sizeof(p.r), &fd), sizeof(p.r));
	p.body = calloc(1, (size_t)p.r.n + 1);
	p.jar = calloc(1, (size_t)p.r.cookies_n + 1);
	assert_int_equal(p.r.tag, 77);
	if (fd >= 0) {
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, p.r.n + p.r.cookies_n);
		assert_int_equal(pread(fd, p.body, p.r.n, 0), p.r.n);
		assert_int_equal(pread(fd, p.jar, p.r.cookies_n, p.r.n), p.r.cookies_n);
		close(fd);
	} else {
		assert_int_equal(p.r.n + p.r.cookies_n, 0);
	}
	return p;
}

static inline void reply_free(struct reply *p)
{
	free(p->body);
	free(p->jar);
	*p = (struct reply){0};
}

static inline void order(struct rig *g, struct fetch f)
{
	f.number = ++g->number;
	memset(f.token, 0xab, sizeof(f.token));
	memcpy(f.token, &g->number, sizeof(g->number));
	if (!f.max_body)
		f.max_body = 65536;
	assert_int_equal(client_fetch(g->client, &f), 0);
}

/* Asks and waits; of a call with a jar (the rig's), which is handed on. */
static inline struct reply ask_for(struct rig *g, struct fetch f)
{
	f.cookies = str_n(g->jar, g->jar_n);
	order(g, f);
	struct reply p = wait_reply(g);
	assert_int_equal(p.r.number, g->number);
	assert_int_equal(p.r.token[15], 0xab);
	if (!f.cached) {
		memcpy(g->jar, p.jar, p.r.cookies_n);
		g->jar_n = p.r.cookies_n;
	}
	return p;
}
