/* SPDX-License-Identifier: Apache-2.0
 *
 * client_where: where a request may go. The host of a URL, as libcurl's own parser reads it (so that judge and caller cannot differ), becomes addresses: literals at once, names by
 * c-ares on the web thread's loop (hosts file, then DNS; no search list). Every address is judged, IPv4 inside IPv6 unfolded; one that may not be connected to refuses the whole name,
 * since the next question could be answered with that one alone. What was judged is what is connected to (client_curl.c); a name is never looked up a second time.
 *
 * Not judged: origins that the operator has named. Registries: IANA IPv4 and IPv6 Special-Purpose (RFC 6890), NAT64 (RFC 6052), 6to4 and Teredo (refused: RFC 7526).
 */
#include "web/inside.h"

#include "net/net.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define NAME_MAX_N 253

struct ask {
	struct job *job; /* NULL: nobody waits any more */
};

/* ---- the judge ---- */
static const char *const closed_v4[] = {"0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
					"172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
					"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4"};
/* Inside 2000::/3; all outside it is closed but the well-known prefix of NAT64. */
static const char *const closed_v6[] = {"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"};

static bool in_any(const char *const *nets, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++) {
		struct cidr c;
		int err = cidr_parse(str_z(nets[i]), &c);
		ASSERT(err == 0);
		if (cidr_has(&c, a))
			return true;
	}
	return false;
}

/* The IPv4 address that is meant by ::ffff:a.b.c.d (RFC 4291) and 64:ff9b::a.b.c.d (RFC 6052). */
static bool unfold(const struct addr *a, struct addr *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, nat64[12] = {0, 0x64, 0xff, 0x9b};
	if (a->family != AF_INET6 || (memcmp(a->ip, mapped, 12) && memcmp(a->ip, nat64, 12)))
		return false;
	*ret = (struct addr){.family = AF_INET, .port = a->port};
	memcpy(ret->ip, a->ip + 12, 4);
	return true;
}

bool address_is_public(const struct addr *a)
{
	struct addr v4;
	if (unfold(a, &v4))
		return address_is_public(&v4); /* once: what comes out is IPv4 */
	if (a->family == AF_INET)
		return !in_any(closed_v4, N_ELEMENTS(closed_v4), a);
	return a->family == AF_INET6 && (a->ip[0] & 0xe0) == 0x20 && !in_any(closed_v6, N_ELEMENTS(closed_v6), a);
}

static bool is_own(const struct client *c, const struct addr *a)
{
	for (int i = 0; i < c->n_own; i++)
		if (addr_eq_host(&c->own[i], a))
			return true;
	return false;
}

static bool may_go(const struct client *c, const struct addr *a)
{
	struct addr plain;
	if (!unfold(a, &plain))
		plain = *a;
	for (int i = 0; i < c->n_allow; i++)
		if (cidr_has(&c->allow[i], &plain))
			return true;
	return address_is_public(&plain) && !is_own(c, &plain);
}

static void judge(struct job *j)
{
	for (int i = 0; i < j->n_addrs && !j->trusted; i++) {
		char text[64];
		struct out o = OUT(text);
		if (may_go(j->c, &j->addrs[i]))
			continue;
		addr_print_host(&o, &j->addrs[i]);
		walk_fail(j, 0, 11100, "refused: %s leads to %s, an address that replies may not name", j->name, out_z(&o));
		return;
	}
	walk_where(j);
}

/* ---- names ---- */
static bool is_name(struct str host)
{
	if (host.n == 0 || host.n > NAME_MAX_N)
		return false;
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];
		if (!((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '_' || c == '.'))
			return false;
	}
	return true;
}

static void on_addrs(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct ask *ask = arg;
	struct job *j = ask->job;
	free(ask);
	if (!j) {
		ares_freeaddrinfo(ai);
		return;
	}
	j->ask = NULL;
	for (struct ares_addrinfo_node *a = ai ? ai->nodes : NULL; a && j->n_addrs < FETCH_ADDRS_MAX; a = a->ai_next) {
		struct sockaddr_storage ss = {0};
		memcpy(&ss, a->ai_addr, MIN((size_t)a->ai_addrlen, sizeof(ss)));
		if (net_addr_from_sock(&ss, &j->addrs[j->n_addrs]) == 0)
			j->addrs[j->n_addrs++].port = j->port;
	}
	ares_freeaddrinfo(ai);
	if (j->n_addrs)
		judge(j);
	else
		walk_fail(j, 0, 11210, "the host of %s is not found: %s", j->name, ares_strerror(status));
}

static void set_timer(struct client *c)
{
	struct timeval tv, *t = ares_timeout(c->dns, NULL, &tv);
	if (t)
		timer_set(c->wheel, &c->dns_timer, clock_boot_ms() + t->tv_sec * 1000 + t->tv_usec / 1000 + 1);
	else
		timer_stop(&c->dns_timer);
}

void where_ask(struct job *j)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct str host = str_z(j->host);
	char name[NAME_MAX_N + 1];
	j->n_addrs = j->addr_at = 0;
	if (host.n > 1 && host.p[host.n - 1] == '.') /* the root is where each name ends: "127.0.0.1." is no way around */
		host.n--;
	if (addr_parse(host, &j->addrs[0]) == 0 && j->addrs[0].port == 0) {
		j->addrs[0].port = j->port;
		j->n_addrs = 1;
		judge(j);
		return;
	}
	struct ask *ask = is_name(host) && str_zcpy(host, name, sizeof(name)) == 0 ? malloc(sizeof(*ask)) : NULL;
	if (!ask) {
		walk_fail(j, 0, 11210, "the host of %s is no name", j->name);
		return;
	}
	*ask = (struct ask){j};
	j->ask = ask;
	ares_getaddrinfo(j->c->dns, name, NULL, &hints, on_addrs, ask);
	set_timer(j->c);
}

void where_drop(struct job *j)
{
	if (j->ask)
		j->ask->job = NULL;
	j->ask = NULL;
}

/* ---- c-ares on the loop ---- */
static void timer_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct client *c = arg;
	ares_process_fd(c->dns, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(c);
}

void where_event(struct client *c, int fd, int events)
{
	ares_process_fd(c->dns, events & UV_READABLE ? fd : ARES_SOCKET_BAD, events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
	set_timer(c);
}

static void sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct client *c = arg;
	struct ear *e = NULL;
	LINK_EACH (l, &c->ears) {
		struct ear *x = container_of(l, struct ear, link);
		if (x->dns && x->fd == fd)
			e = x;
	}
	(void)ear_set(c, e, fd, true, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0));
}

/* ---- life ---- */
static void learn_own(struct client *c)
{
	struct ifaddrs *list = NULL;
	if (getifaddrs(&list))
		return;
	for (struct ifaddrs *i = list; i && c->n_own < (int)N_ELEMENTS(c->own); i = i->ifa_next) {
		struct sockaddr_storage ss = {0};
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		memcpy(&ss, i->ifa_addr, i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		if (net_addr_from_sock(&ss, &c->own[c->n_own]) == 0)
			c->n_own++;
	}
	freeifaddrs(list);
}

int where_open(struct client *c, const char *dns_servers)
{
	struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_EDNS, .timeout = 1000, .tries = 3, .lookups = (char[]){"fb"}};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS;
	o.sock_state_cb = sock_state;
	o.sock_state_cb_data = c;
	timer_init(&c->dns_timer, timer_due, c);
	if (ares_init_options(&c->dns, &o, mask) != ARES_SUCCESS) {
		c->dns = NULL;
		return -EIO;
	}
	learn_own(c);
	if (dns_servers && ares_set_servers_ports_csv(c->dns, dns_servers) != ARES_SUCCESS)
		return -EINVAL;
	return 0;
}

void where_close(struct client *c)
{
	if (c->dns)
		ares_destroy(c->dns); /* tells each open question; nobody waits for them any more */
	c->dns = NULL;
	timer_stop(&c->dns_timer);
}
