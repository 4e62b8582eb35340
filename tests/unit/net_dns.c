/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to addresses against a name server of the test's own, in the same loop: the order of RFC 3263 section 4, the choice among equals of RFC 2782, and
 * everything that a server can do wrong.
 */
#include "net_test.h"

#include <arpa/nameser.h>

struct record {
	const char *name;
	int type;
	int a, b, c;         /* SRV: priority, weight, port; NAPTR: order, preference */
	const char *service; /* NAPTR */
	const char *data;    /* address or name */
};

struct asker {
	struct ear *e;
	const struct record *zone;
	size_t n_zone;
	int fd;
	bool mute, broken;
	char asked[512]; /* "type name " of each question */
	size_t n_asked;
	/* the answer */
	int n_answers, n;
	bool tcp;
	struct addr addrs[16];
};

/* ---- the server ---- */
static void put16(struct out *o, int v)
{
	out_c(o, (char)(v >> 8));
	out_c(o, (char)v);
}

static void put_name(struct out *o, const char *name)
{
	struct str s = str_z(name);
	while (s.n && !str_eq(s, STR("."))) {
		struct str label = str_cut(s, '.', &s);
		out_c(o, (char)label.n);
		out_str(o, label);
	}
	out_c(o, 0);
}

static void put_data(struct out *o, const struct record *r)
{
	uint8_t ip[16];
	switch (r->type) {
	case ns_t_a:
	case ns_t_aaaa:
		assert_int_equal(inet_pton(r->type == ns_t_a ? AF_INET : AF_INET6, r->data, ip), 1);
		out_str(o, str_n(ip, r->type == ns_t_a ? 4 : 16));
		break;
	case ns_t_srv:
		put16(o, r->a);
		put16(o, r->b);
		put16(o, r->c);
		put_name(o, r->data);
		break;
	default: /* NAPTR */
		put16(o, r->a);
		put16(o, r->b);
		out_str(o, STR("\1s"));
		out_c(o, (char)strlen(r->service));
		out_str(o, str_z(r->service));
		out_c(o, 0);
		put_name(o, r->data);
	}
}

static void put_record(struct out *o, const struct record *r)
{
	char buf[512];
	struct out data = OUT(buf);
	put_data(&data, r);
	put_name(o, r->name);
	put16(o, r->type);
	put16(o, ns_c_in);
	put16(o, 0);
	put16(o, 60);
	put16(o, (int)data.n);
	out_str(o, out_view(&data));
}

/* Name and type of the question; returns the bytes up to its end. */
static size_t question(const uint8_t *p, char name[256], int *ret_type)
{
	size_t at = 12, n = 0;
	while (p[at]) {
		memcpy(name + n, p + at + 1, p[at]);
		n += p[at];
		name[n++] = '.';
		at += p[at] + 1u;
	}
	name[n ? n - 1 : 0] = 0;
	*ret_type = p[at + 1] << 8 | p[at + 2];
	return at + 5;
}

static const char *type_name(int type)
{
	return type == ns_t_naptr ? "NAPTR" : type == ns_t_srv ? "SRV" : type == ns_t_a ? "A" : "AAAA";
}

static void server_h(void *arg, int fd)
{
	struct asker *k = arg;
	uint8_t q[512];
	char buf[4096], name[256], line[300];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	int type, n = 0;
	ssize_t r = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
	assert_true(r > 12);
	size_t end = question(q, name, &type);
	struct out l = OUT(line), o = OUT(buf);
	out_f(&l, "%s %s\n", type_name(type), name);
	/* A and AAAA go out side by side: their order says nothing */
	if (type != ns_t_aaaa && k->n_asked + l.n < sizeof(k->asked)) {
		memcpy(k->asked + k->n_asked, l.p, l.n);
		k->n_asked += l.n;
	}
	if (k->mute)
		return;
	out_str(&o, str_n(q, end));
	for (size_t i = 0; i < k->n_zone; i++)
		if (k->zone[i].type == type && str_ieq(str_z(k->zone[i].name), str_z(name))) {
			put_record(&o, &k->zone[i]);
			n++;
		}
	assert_false(o.over);
	buf[2] = (char)0x84;
	buf[3] = (char)(n ? 0 : ns_r_nxdomain);
	buf[6] = 0;
	buf[7] = (char)n;
	memset(buf + 8, 0, 4);
	sendto(fd, buf, k->broken ? MIN(o.n, end + 20) : o.n, 0, (struct sockaddr *)&from, len);
}

/* ---- the client ---- */
static void found(void *arg, const struct addr *addrs, int n, bool tcp)
{
	struct asker *k = arg;
	k->n_answers++;
	k->n = n;
	k->tcp = tcp;
	assert_true(n <= 16);
	memcpy(k->addrs, addrs, (size_t)n * sizeof(*addrs));
	net_stop(k->e->net);
}

static struct asker *asker_new(const struct record *zone, size_t n)
{
	struct asker *k = calloc(1, sizeof(*k));
	struct addr at = addr_of("127.0.0.1:0");
	char servers[64];
	struct out o = OUT(servers);
	k->e = ear_new();
	k->zone = zone;
	k->n_zone = n;
	k->fd = net_bind_udp(&at, 0);
	at = bound_to(k->fd);
	addr_print(&o, &at);
	assert_int_equal(net_set_dns_servers(k->e->net, out_z(&o)), 0);
	assert_int_equal(net_add_fd(k->e->net, k->fd, server_h, k), 0);
	return k;
}

static void asker_free(struct asker *k)
{
	ear_free(k->e);
	close(k->fd);
	free(k);
}

static void ask(struct asker *k, const char *host, uint16_t port, bool tcp)
{
	memset(k->asked, 0, sizeof(k->asked));
	k->n_asked = 0;
	k->n_answers = 0;
	assert_int_equal(net_resolve(k->e->net, str_z(host), port, tcp, found, k), 0);
	if (!k->n_answers)
		ear_run(k->e, NULL);
	assert_int_equal(k->n_answers, 1);
}

static void is(const struct asker *k, int i, const char *want)
{
	char buf[64];
	struct out o = OUT(buf);
	assert_true(i < k->n);
	addr_print(&o, &k->addrs[i]);
	assert_string_equal(out_z(&o), want);
}

static void test_literals(void **state)
{
	struct asker *k = asker_new(NULL, 0);
	ask(k, "192.0.2.7", 0, false);
	is(k, 0, "192.0.2.7:5060");
	assert_false(k->tcp);
	ask(k, "2001:db8::1", 5070, true);
	is(k, 0, "[2001:db8::1]:5070");
	assert_true(k->tcp);
	ask(k, "[2001:db8::1]", 0, false);
	is(k, 0, "[2001:db8::1]:5060");
	assert_string_equal(k->asked, "");
	const char *bad[] = {"", "a b", "a/b", "192.0.2.7:5060", "h\303\244m"};
	for (size_t i = 0; i < N_ELEMENTS(bad); i++)
		assert_int_equal(net_resolve(k->e->net, str_z(bad[i]), 0, false, found, k), -EINVAL);
	char longest[255];
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(net_resolve(k->e->net, str_n(longest, 254), 0, false, found, k), -EINVAL);
	asker_free(k);
}

static const struct record full_zone[] = {
    {"all.test", ns_t_naptr, 20, 1, 0, "SIP+D2U", "_sip._udp.all.test"},
    {"all.test", ns_t_naptr, 10, 2, 0, "SIP+D2U", "late.test"},
    {"all.test", ns_t_naptr, 10, 1, 0, "SIP+D2T", "_sip._tcp.all.test"},
    {"all.test", ns_t_naptr, 1, 1, 0, "SIPS+D2T", "_sips._tcp.all.test"},
    {"_sip._tcp.all.test", ns_t_srv, 20, 0, 5072, NULL, "b.all.test"},
    {"_sip._tcp.all.test", ns_t_srv, 10, 0, 5071, NULL, "a.all.test"},
    {"a.all.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.1"},
    {"b.all.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.2"},
    {"all.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.9"},
    {"srv.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.9"},
    {"_sip._tcp.srv.test", ns_t_srv, 10, 0, 5073, NULL, "a.all.test"},
    {"a.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.3"},
    {"six.test", ns_t_aaaa, 0, 0, 0, NULL, "2001:db8::6"},
    {"gone.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.4"},
    {"_sip._udp.gone.test", ns_t_srv, 0, 0, 5060, NULL, "."},
    {"_sip._udp.dead.test", ns_t_srv, 0, 0, 5060, NULL, "nowhere.test"},
    {"dead.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.5"},
};

static void test_rfc3263(void **state)
{
	struct asker *k = asker_new(full_zone, N_ELEMENTS(full_zone));
	/* NAPTR: the lowest order that we speak; SRV by priority */
	ask(k, "all.test", 0, false);
	assert_string_equal(k->asked, "NAPTR all.test\nSRV _sip._tcp.all.test\nA a.all.test\nA b.all.test\n");
	assert_int_equal(k->n, 2);
	is(k, 0, "192.0.2.1:5071");
	is(k, 1, "192.0.2.2:5072");
	assert_true(k->tcp);
	/* a port: no SRV (section 4.2) */
	ask(k, "all.test", 5080, false);
	assert_string_equal(k->asked, "A all.test\n");
	is(k, 0, "192.0.2.9:5080");
	assert_false(k->tcp);
	/* transport=tcp: no NAPTR (section 4.1) */
	ask(k, "srv.test", 0, true);
	assert_string_equal(k->asked, "SRV _sip._tcp.srv.test\nA a.all.test\n");
	is(k, 0, "192.0.2.1:5073");
	assert_true(k->tcp);
	/* no NAPTR: SRV for each transport, then the name itself */
	ask(k, "srv.test", 0, false);
	assert_string_equal(k->asked, "NAPTR srv.test\nSRV _sip._udp.srv.test\nSRV _sip._tcp.srv.test\nA a.all.test\n");
	assert_true(k->tcp);
	ask(k, "a.test", 0, false);
	is(k, 0, "192.0.2.3:5060");
	assert_false(k->tcp);
	ask(k, "six.test", 0, false);
	is(k, 0, "[2001:db8::6]:5060");
	/* SRV that names nothing, or somebody unknown */
	ask(k, "gone.test", 0, false);
	is(k, 0, "192.0.2.4:5060");
	ask(k, "dead.test", 0, false);
	is(k, 0, "192.0.2.5:5060");
	ask(k, "none.test", 0, false);
	assert_int_equal(k->n, 0);
	asker_free(k);
}

/* Weights 3 : 1 of one priority: the heavy one is first about three times of four; one of priority 9 never is. */
static void test_weights(void **state)
{
	static const struct record zone[] = {
	    {"_sip._tcp.w.test", ns_t_srv, 9, 100, 5060, NULL, "c.test"},
	    {"_sip._tcp.w.test", ns_t_srv, 1, 10, 5060, NULL, "b.test"},
	    {"_sip._tcp.w.test", ns_t_srv, 1, 30, 5060, NULL, "a.test"},
	    {"a.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.1"},
	    {"b.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.2"},
	    {"c.test", ns_t_a, 0, 0, 0, NULL, "192.0.2.3"},
	};
	struct asker *k = asker_new(zone, N_ELEMENTS(zone));
	int first[4] = {0};
	rand_seed(1);
	for (int i = 0; i < 200; i++) {
		ask(k, "w.test", 0, true);
		assert_int_equal(k->n, 3);
		first[k->addrs[0].ip[3]]++;
		is(k, 2, "192.0.2.3:5060");
	}
	assert_in_range(first[1], 120, 180);
	assert_int_equal(first[3], 0);
	asker_free(k);
}

/* More targets and addresses than are taken. */
static void test_bounds(void **state)
{
	static struct record zone[20 + 20];
	static char ips[20][16], names[20][16];
	for (int i = 0; i < 20; i++) {
		(void)snprintf(ips[i], sizeof(ips[i]), "192.0.2.%d", i + 1);
		(void)snprintf(names[i], sizeof(names[i]), "t%d.test", i);
		zone[i] = (struct record){"_sip._tcp.many.test", ns_t_srv, i, 0, 5060, NULL, names[i]};
		zone[20 + i] = (struct record){"t0.test", ns_t_a, 0, 0, 0, NULL, ips[i]};
	}
	struct asker *k = asker_new(zone, N_ELEMENTS(zone));
	ask(k, "many.test", 0, true);
	assert_int_equal(k->n, 16);
	ask(k, "t0.test", 5060, true);
	assert_int_equal(k->n, 16);
	asker_free(k);
}

static void test_broken(void **state)
{
	struct asker *k = asker_new(full_zone, N_ELEMENTS(full_zone));
	k->broken = true; /* every answer ends in the middle of its record */
	ask(k, "all.test", 0, false);
	assert_int_equal(k->n, 0);
	asker_free(k);
}

static void never(void *arg, const struct addr *addrs, int n, bool tcp)
{
	fail();
}

static bool asked(struct ear *e)
{
	return ((struct asker *)e->more)->n_asked > 0;
}

/* The loop is closed with questions open: nobody is called; and there is room for no more than 256 of them. */
static void test_open_questions(void **state)
{
	struct asker *k = asker_new(NULL, 0);
	int n = 0, err;
	k->mute = true;
	k->e->more = k;
	while ((err = net_resolve(k->e->net, STR("all.test"), 0, false, never, NULL)) == 0)
		assert_true(++n < 1000);
	assert_int_equal(err, -EAGAIN);
	assert_int_equal(n, 256);
	ear_run(k->e, asked);
	asker_free(k);
}

static void test_hosts(void **state)
{
	struct str text = STR("# comment\n127.0.0.1\tlocalhost loop # me\n\n::1 localhost ip6\r\nnonsense localhost\n192.0.2.5 far.example Far");
	struct addr a[4], want = addr_of("192.0.2.5:0");
	assert_int_equal(hosts_find(text, STR("LOCALHOST"), a, 4), 2);
	assert_true(addr_is_loopback(&a[0]) && addr_is_loopback(&a[1]));
	assert_int_equal(a[1].family, AF_INET6);
	assert_int_equal(hosts_find(text, STR("localhost"), a, 1), 1);
	assert_int_equal(hosts_find(text, STR("far"), a, 4), 1);
	assert_true(addr_eq_host(&a[0], &want));
	assert_int_equal(hosts_find(text, STR("me"), a, 4), 0);
	assert_int_equal(hosts_find(text, STR("ip6"), a, 4), 1);
	assert_int_equal(hosts_find(STR_NONE, STR("ip6"), a, 4), 0);
	struct str none = hosts_read("/nonexistent/hosts");
	assert_int_equal(none.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_literals), cmocka_unit_test(test_rfc3263), cmocka_unit_test(test_weights),        cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_broken),   cmocka_unit_test(test_hosts),   cmocka_unit_test(test_open_questions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
