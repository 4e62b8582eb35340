/* SPDX-License-Identifier: Apache-2.0
 *
 * net_dns: from the host of a SIP URI to addresses, RFC 3263 section 4: literal addresses and /etc/hosts at once; with a port A and AAAA only; else NAPTR
 * (RFC 2915) for the transport, SRV (RFC 2782) for host and port, and A/AAAA as the last resort. c-ares does the packets on our loop; it opens no file here
 * ("b": DNS only). Everything is bounded: questions in flight, targets of an answer, addresses. SIPS and TLS are not looked for.
 */
#include "net/net_int.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdlib.h>
#include <strings.h>

#define QUERIES_MAX 256
#define TRIES_MAX   4
#define TARGETS_MAX 8
#define ADDRS_MAX   16
#define NAME_CAP    256 /* with the NUL */
#define SIP_PORT    5060

/* A c-ares socket in our loop. */
struct dns_sock {
	struct link bin, link; /* bin first */
	struct dns *dns;
	int fd;
	struct watch *watch;
};

struct dns {
	struct net *net;
	ares_channel channel;
	struct link socks;
	struct timer timer;
	struct str hosts;
	int n_queries;
	bool closing;
};

struct target {
	char name[NAME_CAP];
	uint16_t port, priority, weight;
};

struct query {
	struct link bin; /* first */
	struct dns *dns;
	net_found_h *h;
	void *arg;
	char host[NAME_CAP];
	uint16_t port;   /* of the addresses being asked for */
	bool tcp, last;  /* last: the name itself is being asked for, nothing comes behind it */
	struct service { /* SRV names to be tried, in this order */
		char name[NAME_CAP];
		uint16_t order, preference;
		bool tcp;
	} tries[TRIES_MAX];
	int n_tries, try_at;
	struct target targets[TARGETS_MAX];
	int n_targets, target_at;
	struct addr addrs[ADDRS_MAX];
	int n_addrs;
};

static void next_try(struct query *q);
static void next_target(struct query *q);

/* ---- c-ares on the loop ---- */
static void set_timer(struct dns *d)
{
	struct timeval tv, *t = ares_timeout(d->channel, NULL, &tv);
	if (t)
		timer_set(d->net->own, &d->timer, d->net->now_ms + t->tv_sec * 1000 + t->tv_usec / 1000 + 1);
	else
		timer_stop(&d->timer);
}

static void timer_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct dns *d = arg;
	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(d);
}

static void sock_h(void *arg, unsigned events)
{
	struct dns_sock *s = arg;
	struct dns *d = s->dns; /* s may be gone when c-ares returns */
	bool in = events & (WATCH_IN | WATCH_ERR), out = events & (WATCH_OUT | WATCH_ERR);
	ares_process_fd(d->channel, in ? s->fd : ARES_SOCKET_BAD, out ? s->fd : ARES_SOCKET_BAD);
	set_timer(d);
}

static struct dns_sock *sock_of(struct dns *d, int fd)
{
	LINK_EACH (it, &d->socks) {
		struct dns_sock *s = container_of(it, struct dns_sock, link);
		if (s->fd == fd)
			return s;
	}
	struct dns_sock *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	*s = (struct dns_sock){.dns = d, .fd = fd};
	link_init(&s->bin);
	s->watch = watch_new(d->net, fd, sock_h, s);
	if (!s->watch) {
		free(s);
		return NULL; /* no ear: the question times out */
	}
	link_append(&d->socks, &s->link);
	return s;
}

static void sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns *d = arg;
	struct dns_sock *s = sock_of(d, fd);
	if (!s)
		return;
	if (readable || writable) {
		(void)watch_set(s->watch, (readable ? WATCH_IN : 0) | (writable ? WATCH_OUT : 0));
		return;
	}
	watch_free(s->watch);
	link_drop(&s->link);
	net_bin(d->net, &s->bin);
}

/* ---- the end of a question ---- */
static void answer(struct query *q)
{
	struct dns *d = q->dns;
	d->n_queries--;
	net_bin(d->net, &q->bin);
	if (!d->closing)
		q->h(q->arg, q->addrs, q->n_addrs, q->tcp);
}

/* ---- A and AAAA ---- */
static void on_addrs(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct query *q = arg;
	for (struct ares_addrinfo_node *a = ai ? ai->nodes : NULL; a && q->n_addrs < ADDRS_MAX; a = a->ai_next) {
		struct sockaddr_storage ss = {0};
		memcpy(&ss, a->ai_addr, MIN((size_t)a->ai_addrlen, sizeof(ss)));
		if (net_addr_from_sock(&ss, &q->addrs[q->n_addrs]) == 0)
			q->addrs[q->n_addrs++].port = q->port;
	}
	ares_freeaddrinfo(ai);
	if (q->dns->closing || q->last) {
		answer(q);
		return;
	}
	q->target_at++;
	next_target(q);
}

static void ask_addrs(struct query *q, const char *name, uint16_t port)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
	q->port = port;
	ares_getaddrinfo(q->dns->channel, name, NULL, &hints, on_addrs, q);
}

static void ask_last(struct query *q, uint16_t port)
{
	q->last = true;
	ask_addrs(q, q->host, port);
}

/* ---- SRV ---- */
static void next_target(struct query *q)
{
	if (q->target_at < q->n_targets && q->n_addrs < ADDRS_MAX) {
		ask_addrs(q, q->targets[q->target_at].name, q->targets[q->target_at].port);
	} else if (q->n_addrs) {
		q->tcp = q->tries[q->try_at].tcp;
		answer(q);
	} else {
		q->try_at++;
		next_try(q);
	}
}

/* RFC 2782: lower priority first; among equals at random, in proportion to the weight. */
static void sort_targets(struct target *t, int n)
{
	for (int i = 0; i < n; i++) {
		uint32_t sum = 0, best = UINT16_MAX + 1, pick = (uint32_t)i;
		for (int j = i; j < n; j++)
			best = MIN(best, t[j].priority);
		for (int j = i; j < n; j++)
			sum += t[j].priority == best ? t[j].weight : 0;
		uint32_t at = sum ? rand_u32() % (sum + 1) : 0;
		for (int j = i, found = 0; j < n && !found; j++) {
			if (t[j].priority != best)
				continue;
			pick = (uint32_t)j;
			found = at <= t[j].weight;
			at -= MIN(at, t[j].weight);
		}
		struct target swap = t[i];
		t[i] = t[pick];
		t[pick] = swap;
	}
}

static void on_srv(void *arg, int status, int timeouts, unsigned char *buf, int len)
{
	struct query *q = arg;
	struct ares_srv_reply *list = NULL;
	if (q->dns->closing) {
		answer(q);
		return;
	}
	q->n_targets = q->target_at = 0;
	if (status == ARES_SUCCESS && ares_parse_srv_reply(buf, len, &list) == ARES_SUCCESS)
		for (struct ares_srv_reply *r = list; r && q->n_targets < TARGETS_MAX; r = r->next) {
			struct target *t = &q->targets[q->n_targets];
			/* "." : this service is decidedly not here */
			if (r->port == 0 || str_zcpy(str_z(r->host), t->name, sizeof(t->name)) || t->name[0] == 0 || str_eq(str_z(t->name), STR(".")))
				continue;
			t->port = r->port;
			t->priority = r->priority;
			t->weight = r->weight;
			q->n_targets++;
		}
	ares_free_data(list);
	sort_targets(q->targets, q->n_targets);
	next_target(q);
}

static void next_try(struct query *q)
{
	if (q->try_at < q->n_tries)
		ares_query(q->dns->channel, q->tries[q->try_at].name, ns_c_in, ns_t_srv, on_srv, q);
	else
		ask_last(q, SIP_PORT);
}

static void add_try(struct query *q, const char *prefix, struct str name, bool tcp)
{
	struct service *s = &q->tries[q->n_tries];
	struct out o = OUT(s->name);
	if (q->n_tries == TRIES_MAX)
		return;
	out_str(&o, str_z(prefix));
	out_str(&o, name);
	out_c(&o, 0);
	s->tcp = tcp;
	s->order = s->preference = 0;
	q->n_tries += !o.over;
}

/* ---- NAPTR ---- */
static void sort_tries(struct query *q)
{
	for (int i = 1; i < q->n_tries; i++)
		for (int j = i; j > 0; j--) {
			struct service *a = &q->tries[j - 1], *b = &q->tries[j], swap = *a;
			if (a->order < b->order || (a->order == b->order && a->preference <= b->preference))
				break;
			*a = *b;
			*b = swap;
		}
}

static void on_naptr(void *arg, int status, int timeouts, unsigned char *buf, int len)
{
	struct query *q = arg;
	struct ares_naptr_reply *list = NULL;
	if (q->dns->closing) {
		answer(q);
		return;
	}
	if (status == ARES_SUCCESS && ares_parse_naptr_reply(buf, len, &list) == ARES_SUCCESS)
		for (struct ares_naptr_reply *r = list; r && q->n_tries < TRIES_MAX; r = r->next) {
			struct str service = str_z((const char *)r->service);
			bool udp = str_ieq(service, STR("SIP+D2U")), tcp = str_ieq(service, STR("SIP+D2T"));
			/* RFC 3263 section 4.1: the flag is "s", an SRV name; other transports are not ours */
			if ((!udp && !tcp) || !str_ieq(str_z((const char *)r->flags), STR("s")) || !r->replacement[0])
				continue;
			int before = q->n_tries;
			add_try(q, "", str_z(r->replacement), tcp);
			if (q->n_tries == before)
				continue;
			q->tries[before].order = r->order;
			q->tries[before].preference = r->preference;
		}
	ares_free_data(list);
	sort_tries(q);
	if (q->n_tries == 0) {
		add_try(q, "_sip._udp.", str_z(q->host), false);
		add_try(q, "_sip._tcp.", str_z(q->host), true);
	}
	next_try(q);
}

/* ---- the question ---- */
static bool is_name(struct str host)
{
	if (host.n == 0 || host.n > 253)
		return false;
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];
		if (!((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '_' || c == '.'))
			return false;
	}
	return true;
}

/* What needs no question: the number of addresses. */
static int known(const struct dns *d, struct str host, uint16_t port, struct addr *ret)
{
	int n = addr_parse(host, ret) == 0 && ret->port == 0 ? 1 : hosts_find(d->hosts, host, ret, ADDRS_MAX);
	for (int i = 0; i < n; i++)
		ret[i].port = port ? port : SIP_PORT;
	return n;
}

int net_resolve(struct net *n, struct str host, uint16_t port, bool tcp, net_found_h *h, void *arg)
{
	struct dns *d = n->dns;
	struct addr at_once[ADDRS_MAX];
	int found = known(d, host, port, at_once);
	if (found) {
		h(arg, at_once, found, tcp);
		return 0;
	}
	if (!is_name(host))
		return -EINVAL;
	if (d->n_queries >= QUERIES_MAX) {
		count_add(COUNT_LIMIT_HIT, 1);
		return -EAGAIN;
	}
	struct query *q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct query){.dns = d, .h = h, .arg = arg, .tcp = tcp};
	link_init(&q->bin);
	(void)!str_zcpy(host, q->host, sizeof(q->host)); /* is_name has measured it */
	d->n_queries++;
	if (port) {
		ask_last(q, port);
	} else if (tcp) {
		add_try(q, "_sip._tcp.", host, true);
		next_try(q);
	} else {
		ares_query(d->channel, q->host, ns_c_in, ns_t_naptr, on_naptr, q);
	}
	set_timer(d);
	return 0;
}

int net_set_dns_servers(struct net *n, const char *csv)
{
	return ares_set_servers_ports_csv(n->dns->channel, csv) == ARES_SUCCESS ? 0 : -EINVAL;
}

/* ---- life ---- */
int dns_open(struct net *n)
{
	struct dns *d = n->dns = calloc(1, sizeof(*d));
	struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_EDNS, .timeout = 1000, .tries = 3, .lookups = (char[]){"b"}};
	if (!d)
		return -ENOMEM;
	d->net = n;
	o.sock_state_cb = sock_state;
	o.sock_state_cb_data = d;
	link_init(&d->socks);
	timer_init(&d->timer, timer_due, d);
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -EIO;
	/* ndomains 0: a short name is not looked for in the domains of this machine */
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS;
	if (ares_init_options(&d->channel, &o, mask) != ARES_SUCCESS) {
		ares_library_cleanup();
		d->channel = NULL;
		return -EIO;
	}
	d->hosts = hosts_read("/etc/hosts");
	return 0;
}

void dns_close(struct net *n)
{
	struct dns *d = n->dns;
	if (!d)
		return;
	d->closing = true;
	if (d->channel) {
		ares_destroy(d->channel); /* tells each open question, which only goes into the bin */
		ares_library_cleanup();
	}
	timer_stop(&d->timer);
	free((void *)d->hosts.p);
	free(d);
	n->dns = NULL;
}
