/* SPDX-License-Identifier: Apache-2.0
 *
 * web_where: where replies may send us. The matrix of ways to write an address that is not theirs to name, each at first hand and behind a redirect; names that lead there, and names that
 * lead elsewhere the second time they are asked for; what the operator has named or allowed is reached. The server listens on all addresses of this machine: one connection is one too many.
 */
#include "web_client.h"

bool serve_path(struct server *s, int fd, const char *path, const char *request)
{
	const char *arg = strchr(path, '?');
	s->hits++;
	if (strncmp(path, "/to", 3) == 0 && arg)
		return sendf(fd, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", arg + 1);
	return answer(fd, "200 OK", "Content-Type: text/xml\r\n", "<Response/>");
}

static int set_up(void **state)
{
	static char origin[64];
	static const char *origins[] = {origin};
	struct rig *g = calloc(1, sizeof(*g));
	struct cidr two;
	struct client_opts o = {.allow = &two, .n_allow = 1};
	assert_int_equal(cidr_parse(STR("127.0.0.2/32"), &two), 0);
	rig_open(g, &o);
	/* 127.0.0.3 is an origin that the configuration names */
	snprintf(origin, sizeof(origin), "http://127.0.0.3:%u", g->http.port);
	assert_int_equal(client_trust(g->client, origins, 1), 0);
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	rig_close(*state);
	return 0;
}

/* %P in it becomes the server's port. */
static struct reply go(struct rig *g, const char *pattern, const char *before, bool trusted)
{
	char url[1024];
	struct out o = OUT(url);
	out_str(&o, str_z(before));
	for (const char *p = pattern; *p; p++) {
		if (p[0] == '%' && p[1] == 'P') {
			out_u64(&o, g->http.port);
			p++;
		} else {
			out_c(&o, *p);
		}
	}
	return ask_for(g, (struct fetch){.url = str_z(out_z(&o)), .trusted = trusted});
}

#define REFUSED 11100 /* by its address, or no URL */
#define UNKNOWN 11210 /* no such name */

static const struct row {
	const char *url;
	uint32_t fault;
} matrix[] = {
    /* the plain ones */
    {"http://127.0.0.1:%P/", REFUSED},
    {"http://127.0.0.1:%P/?x=http://two.test/", REFUSED},
    {"http://127.1.2.3:%P/", REFUSED},
    {"http://localhost:%P/", REFUSED},
    {"http://LOCALHOST:%P/", REFUSED},
    {"http://localhost.:%P/", REFUSED},
    {"http://0.0.0.0:%P/", REFUSED},
    {"http://0:%P/", REFUSED},
    {"http://0.1.2.3:%P/", REFUSED},
    {"http://10.0.0.1:%P/", REFUSED},
    {"http://172.16.0.1:%P/", REFUSED},
    {"http://172.31.255.255:%P/", REFUSED},
    {"http://192.168.1.1:%P/", REFUSED},
    {"http://100.64.0.1:%P/", REFUSED},
    {"http://169.254.169.254/latest/meta-data/", REFUSED},
    {"http://169.254.0.1:%P/", REFUSED},
    {"http://192.0.0.1:%P/", REFUSED},
    {"http://192.0.2.2:%P/", REFUSED},
    {"http://198.18.0.1:%P/", REFUSED},
    {"http://224.0.0.1:%P/", REFUSED},
    {"http://239.255.255.250:%P/", REFUSED},
    {"http://240.0.0.1:%P/", REFUSED},
    {"http://255.255.255.255:%P/", REFUSED},
    /* the same, spelt by people who have read inet_aton */
    {"http://2130706433:%P/", REFUSED},
    {"http://0x7f000001:%P/", REFUSED},
    {"http://0x7f.0.0.1:%P/", REFUSED},
    {"http://0x7f.1:%P/", REFUSED},
    {"http://017700000001:%P/", REFUSED},
    {"http://0177.0.0.1:%P/", REFUSED},
    {"http://0177.0.0.01:%P/", REFUSED},
    {"http://00000177.0.0.1:%P/", REFUSED},
    {"http://127.1:%P/", REFUSED},
    {"http://127.0.1:%P/", REFUSED},
    {"http://2852039166/", REFUSED}, /* 169.254.169.254 */
    {"http://0xA9FEA9FE/", REFUSED},
    {"http://0251.0376.0251.0376/", REFUSED},
    {"http://169.254.43518/", REFUSED},
    {"http://127.0.0.1.:%P/", REFUSED},
    {"http://127.0.0.1..:%P/", UNKNOWN},
    {"http://4294967296:%P/", UNKNOWN}, /* no address: a name that DNS does not know */
    {"http://%31%32%37.0.0.1:%P/", REFUSED},
    {"http://127。0。0。1:%P/", REFUSED}, /* ideographic full stops */
    {"http://①②⑦.0.0.1:%P/", REFUSED},
    /* IPv6, and IPv4 inside it */
    {"http://[::1]:%P/", REFUSED},
    {"http://[0:0:0:0:0:0:0:1]:%P/", REFUSED},
    {"http://[::]:%P/", REFUSED},
    {"http://[::ffff:127.0.0.1]:%P/", REFUSED},
    {"http://[::ffff:7f00:1]:%P/", REFUSED},
    {"http://[0:0:0:0:0:ffff:169.254.169.254]/", REFUSED},
    {"http://[::127.0.0.1]:%P/", REFUSED},
    {"http://[64:ff9b::127.0.0.1]:%P/", REFUSED},
    {"http://[64:ff9b::a9fe:a9fe]/", REFUSED},
    {"http://[64:ff9b:1::7f00:1]:%P/", REFUSED},
    {"http://[2002:7f00:1::]:%P/", REFUSED},
    {"http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:%P/", REFUSED},
    {"http://[fe80::1]:%P/", REFUSED},
    {"http://[fe80::1%25lo]:%P/", REFUSED},
    {"http://[::1%25lo]:%P/", REFUSED},
    {"http://[fd00::2]:%P/", REFUSED},
    {"http://[fd00:ec2::254]/latest/meta-data/", REFUSED},
    {"http://[fec0::1]:%P/", REFUSED},
    {"http://[ff02::1]:%P/", REFUSED},
    {"http://[100::1]:%P/", REFUSED},
    {"http://[2001:db8::1]:%P/", REFUSED},
    /* who is the host here? */
    {"http://two.test@127.0.0.1:%P/", REFUSED},
    {"http://two.test:80@127.0.0.1:%P/", REFUSED},
    {"http://a:b@c@127.0.0.1:%P/", REFUSED},
    {"http://127.0.0.1:%P\\@two.test/", REFUSED},
    {"http://127.0.0.1:%P#@two.test/", REFUSED},
    {"http://127.0.0.1:%P?@two.test/", REFUSED},
    {"http:127.0.0.1:%P/", REFUSED},
    {"http:/127.0.0.1:%P/", REFUSED},
    {"http:///127.0.0.1:%P/", REFUSED},
    {"http:\\\\127.0.0.1:%P/", REFUSED},
    {"http://127.0.0.1\t:%P/", REFUSED},
    {" http://127.0.0.1:%P/", REFUSED},
    /* other doors */
    {"file:///etc/passwd", REFUSED},
    {"gopher://127.0.0.1:%P/_GET", REFUSED},
    {"dict://127.0.0.1:%P/", REFUSED},
    {"ftp://127.0.0.1:%P/", REFUSED},
    {"ws://127.0.0.1:%P/", REFUSED},
    {"unix:///run/docker.sock", REFUSED},
    /* names that lead there */
    {"http://local.test:%P/", REFUSED},
    {"http://LOCAL.TEST.:%P/", REFUSED},
    {"http://meta.test/", REFUSED},
    {"http://ten.test:%P/", REFUSED},
    {"http://zero.test:%P/", REFUSED},
    {"http://mixed.test:%P/", REFUSED}, /* one good address, one bad */
    {"http://half.test:%P/", REFUSED},
    {"https://local.test:%P/", REFUSED},
};

static void check_row(struct rig *g, const struct row *row, const char *before, bool trusted, int may_connect)
{
	int accepted = g->http.accepted;
	struct reply p = go(g, row->url, before, trusted);
	uint32_t fault = row->fault;
	/* behind a redirect, what is no URL at all is a bad redirect; and what is relative is the same origin's */
	bool fine = p.r.fault == fault || (before[0] && p.r.fault == 11216);
	if (!fine)
		print_error("%s%s: %u, not %u: %s\n", before, row->url, p.r.fault, fault, p.r.why);
	assert_true(fine);
	if (p.r.fault == REFUSED && strstr(p.r.why, "refused"))
		assert_non_null(strstr(p.r.why, "address"));
	assert_true(g->http.accepted - accepted <= may_connect);
	if (may_connect) { /* only ever the hop that was named */
		pthread_mutex_lock(&g->http.lock);
		assert_string_equal(g->http.local, "127.0.0.3");
		pthread_mutex_unlock(&g->http.lock);
	}
	reply_free(&p);
}

static void test_matrix(void **state)
{
	struct rig *g = *state;
	for (size_t i = 0; i < N_ELEMENTS(matrix); i++)
		check_row(g, &matrix[i], "", false, 0);
	assert_int_equal(g->http.accepted, 0);
}

/* From an origin that the operator has named: its own hop is served, what it names is not. */
static void test_matrix_redirected(void **state)
{
	struct rig *g = *state;
	char before[128];
	snprintf(before, sizeof(before), "http://127.0.0.3:%u/to?", g->http.port);
	for (size_t i = 0; i < N_ELEMENTS(matrix); i++) {
		const char *u = matrix[i].url;
		if (strpbrk(u, " \t\\#") || strncmp(u, "http:/1", 7) == 0 || strncmp(u, "http:1", 6) == 0)
			continue; /* not to be written into a URL as it is */
		check_row(g, &matrix[i], before, false, 1);
	}
}

static void test_chain(void **state)
{
	struct rig *g = *state;
	char url[256];
	unsigned port = g->http.port;
	/* allowed, allowed, and then not */
	snprintf(url, sizeof(url), "http://127.0.0.2:%u/to?http://two.test:%u/to?http://127.0.0.1:%u/", port, port, port);
	struct reply p = ask_for(g, (struct fetch){.url = str_z(url)});
	assert_int_equal(p.r.fault, REFUSED);
	assert_non_null(strstr(p.r.why, "127.0.0.1"));
	assert_int_equal(g->http.requests, 2);
	reply_free(&p);
}

static void test_allowed(void **state)
{
	struct rig *g = *state;
	static const char *const urls[] = {"http://127.0.0.2:%P/", "http://[::ffff:127.0.0.2]:%P/", "http://two.test:%P/", "http://0x7f000002:%P/",
					   "http://127.0.0.3:%P/"};
	for (size_t i = 0; i < N_ELEMENTS(urls); i++) {
		struct reply p = go(g, urls[i], "", false);
		if (p.r.fault)
			print_error("%s: %s\n", urls[i], p.r.why);
		assert_int_equal(p.r.fault, 0);
		reply_free(&p);
	}
	/* named by the operator: this URL's origin, and nothing else */
	struct reply p = go(g, "http://local.test:%P/", "", true);
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
	p = go(g, "http://local.test:%P/to?/here", "", true);
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
	p = go(g, "http://local.test:%P/to?http://127.0.0.1:%P/", "", true);
	assert_int_equal(p.r.fault, REFUSED);
	reply_free(&p);
	p = go(g, "http://127.0.0.1:%P/to?http://127.0.0.1:1/", "", true);
	assert_int_equal(p.r.fault, REFUSED); /* another port is another origin */
	reply_free(&p);
	/* trust is withdrawn */
	assert_int_equal(client_trust(g->client, NULL, 0), 0);
	p = go(g, "http://127.0.0.3:%P/", "", false);
	assert_int_equal(p.r.fault, REFUSED);
	reply_free(&p);
}

/* The name is good when it is looked at, and bad when it is asked for again. */
static void test_rebinding(void **state)
{
	struct rig *g = *state;
	struct reply p = go(g, "http://rebind.test:%P/", "", false);
	assert_int_equal(p.r.fault, 0);
	assert_string_equal(g->http.local, "127.0.0.2");
	assert_int_equal(g->dns.rebinds, 1); /* looked up once */
	reply_free(&p);
	/* though a connection to that name is kept: what it leads to now is what counts */
	p = go(g, "http://rebind.test:%P/", "", false);
	assert_int_equal(p.r.fault, REFUSED);
	assert_int_equal(g->dns.rebinds, 2);
	assert_int_equal(g->http.accepted, 1);
	reply_free(&p);
}

/* A kept connection is no way around either: it belongs to its address. */
static void test_kept_connection(void **state)
{
	struct rig *g = *state;
	struct reply p = go(g, "http://a.test:%P/", "", false);
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
	p = go(g, "http://local.test:%P/", "", true);
	assert_int_equal(p.r.fault, 0);
	assert_string_equal(g->http.local, "127.0.0.1");
	reply_free(&p);
	p = go(g, "http://local.test:%P/", "", false);
	assert_int_equal(p.r.fault, REFUSED);
	reply_free(&p);
}

static int set_up_proxy(void **state)
{
	setenv("http_proxy", "http://127.0.0.1:9", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:9", 1);
	return set_up(state);
}

static int tear_down_proxy(void **state)
{
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
	return tear_down(state);
}

static void test_no_proxy(void **state)
{
	struct rig *g = *state;
	struct reply p = go(g, "http://two.test:%P/", "", false);
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
}

static void test_public(void **state)
{
	static const char *const open[] = {"8.8.8.8",         "1.1.1.1",          "172.15.255.255",  "172.32.0.0",      "100.63.255.255",
					   "100.128.0.0",     "192.0.1.0",        "223.255.255.255", "9.255.255.255",   "11.0.0.0",
					   "169.253.255.255", "198.17.255.255",   "198.20.0.0",      "2606:4700::1111", "2a00:1450::1",
					   "2001:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8",  "2001:200::1",     "2003::1"};
	static const char *const closed[] = {"0.0.0.0",
					     "10.255.255.255",
					     "100.64.0.0",
					     "100.127.255.255",
					     "127.0.0.1",
					     "169.254.0.0",
					     "172.16.0.0",
					     "172.31.255.255",
					     "192.0.0.0",
					     "192.0.2.1",
					     "192.88.99.1",
					     "192.168.255.255",
					     "198.19.255.255",
					     "198.51.100.1",
					     "203.0.113.1",
					     "224.0.0.0",
					     "255.255.255.255",
					     "::",
					     "::1",
					     "::2",
					     "::ffff:10.0.0.1",
					     "64:ff9b::10.0.0.1",
					     "64:ff9b:1::1",
					     "100::",
					     "2001::1",
					     "2001:1ff::1",
					     "2001:db8::",
					     "2002::",
					     "3fff::1",
					     "fc00::",
					     "fdff::1",
					     "fe80::1",
					     "fec0::1",
					     "ff0e::1",
					     "4000::1"};
	struct addr a;
	for (size_t i = 0; i < N_ELEMENTS(open); i++) {
		assert_int_equal(addr_parse(str_z(open[i]), &a), 0);
		if (!address_is_public(&a))
			print_error("%s\n", open[i]);
		assert_true(address_is_public(&a));
	}
	for (size_t i = 0; i < N_ELEMENTS(closed); i++) {
		assert_int_equal(addr_parse(str_z(closed[i]), &a), 0);
		if (address_is_public(&a))
			print_error("%s\n", closed[i]);
		assert_false(address_is_public(&a));
	}
	a = (struct addr){0};
	assert_false(address_is_public(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	    T(test_matrix),
	    T(test_matrix_redirected),
	    T(test_chain),
	    T(test_allowed),
	    T(test_rebinding),
	    T(test_kept_connection),
	    cmocka_unit_test_setup_teardown(test_no_proxy, set_up_proxy, tear_down_proxy),
	    cmocka_unit_test(test_public),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
