/* SPDX-License-Identifier: Apache-2.0
 *
 * web_client: the HTTP client against a server of bad manners. Each way in which a service can fail has its code and its sentence, within its time and its memory; redirects, cookies,
 * credentials and media kept; and one hanging service, or two thousand, hold nobody else up.
 */
#include "web_client.h"

/* ---- the manners, by path ---- */
static bool endless(struct server *s, int fd, const char *head)
{
	static char block[65536];
	if (!sendf(fd, "%s", head))
		return false;
	for (unsigned i = 0; i < 160000; i++) /* 10 GB */
		if (!sendf(fd, "10000\r\n") || !send_all(fd, block, sizeof(block)) || !sendf(fd, "\r\n"))
			return false;
	return false;
}

static bool drip(struct server *s, int fd)
{
	sendf(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n");
	while (!hung_up(s, fd, 20))
		send_all(fd, "x", 1);
	return false;
}

static bool basic(int fd, const char *request)
{
	/* u:p@ss */
	if (strstr(request, "Authorization: Basic dTpwQHNz"))
		return answer(fd, "200 OK", "", "in");
	return answer(fd, "401 No", "WWW-Authenticate: Basic realm=\"r\"\r\n", "out");
}

static bool digest(int fd, const char *request)
{
	if (strstr(request, "Authorization: Digest username=\"u\"") && strstr(request, "nonce=\"n1\""))
		return answer(fd, "200 OK", "", "in");
	return answer(fd, "401 No",
		      "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=MD5\r\nWWW-Authenticate: Basic realm=\"r\"\r\n", "out");
}

static bool redirect_to(int fd, int status, const char *where)
{
	return sendf(fd, "HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 5\r\n\r\nmoved", status, where);
}

static bool sound(struct server *s, int fd, const char *request)
{
	s->hits++;
	if (strstr(request, "If-None-Match: \"v1\""))
		return sendf(fd, "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n");
	return answer(fd, "200 OK", "ETag: \"v1\"\r\nContent-Type: audio/wav\r\n", "RIFF sound");
}

struct manner {
	const char *path, *raw; /* raw: sent as it is, then the connection is closed */
};
static const struct manner manners[] = {
    {"/badchunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nnonsense"},
    {"/lengths", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\ncontent-length: 5\r\n\r\n<Response/>"},
    {"/http09", "hello, this is no HTTP\r\n"},
    {"/part", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"},
    {"/nowhere", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"},
    {"/huge", "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\nxxxx"},
    {"/empty", ""},
};

bool serve_path(struct server *s, int fd, const char *path, const char *request)
{
	const char *arg = strchr(path, '?');
	for (size_t i = 0; i < N_ELEMENTS(manners); i++)
		if (strcmp(path, manners[i].path) == 0) {
			send_all(fd, manners[i].raw, strlen(manners[i].raw));
			return false;
		}
	if (strcmp(path, "/reset") == 0) {
		struct linger l = {1, 0};
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		return false;
	}
	if (strcmp(path, "/late") == 0) {
		hung_up(s, fd, -1);
		return false;
	}
	if (strcmp(path, "/drip") == 0)
		return drip(s, fd);
	if (strcmp(path, "/endless") == 0)
		return endless(s, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	if (strcmp(path, "/endless404") == 0)
		return endless(s, fd, "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n");
	if (strcmp(path, "/heads") == 0) {
		sendf(fd, "HTTP/1.1 200 OK\r\n");
		while (sendf(fd, "X-More: 0123456789012345678901234567890123456789\r\n"))
			;
		return false;
	}
	if (strncmp(path, "/to/", 4) == 0 && arg)
		return redirect_to(fd, (int)strtol(path + 4, NULL, 10), arg + 1);
	if (strcmp(path, "/loop") == 0)
		return redirect_to(fd, 302, "/loop");
	if (strncmp(path, "/status/", 8) == 0) {
		s->hits++;
		return answer(fd, path + 8, "", "an error page");
	}
	if (strcmp(path, "/flaky") == 0)
		return answer(fd, s->hits++ == 0 ? "503 Later" : "200 OK", "", "up again");
	if (strcmp(path, "/basic") == 0)
		return basic(fd, request);
	if (strcmp(path, "/digest") == 0)
		return digest(fd, request);
	if (strcmp(path, "/gzip") == 0)
		return answer(fd, "200 OK", "Content-Encoding: gzip\r\n", "\037\213\010bomb");
	if (strcmp(path, "/cookie") == 0)
		return answer(fd, "200 OK", "Set-Cookie: id=42; Path=/; HttpOnly\r\nSet-Cookie: other=x\r\n", "");
	if (strcmp(path, "/fresh") == 0) {
		s->hits++;
		return answer(fd, "200 OK", "Cache-Control: max-age=60\r\n", "fresh");
	}
	if (strcmp(path, "/secret") == 0) {
		s->hits++;
		return answer(fd, "200 OK", "Cache-Control: no-store, max-age=60\r\n", "secret");
	}
	if (strncmp(path, "/sound", 6) == 0)
		return sound(s, fd, request);
	return answer(fd, "200 OK", "Content-Type: text/xml; charset=utf-8\r\n", "<Response/>");
}

/* ---- the rig ---- */
static int set_up(void **state)
{
	struct rig *g = calloc(1, sizeof(*g));
	struct cidr two;
	struct client_opts o = {.allow = &two, .n_allow = 1};
	assert_int_equal(cidr_parse(STR("127.0.0.2/32"), &two), 0);
	rig_open(g, &o);
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	rig_close(*state);
	return 0;
}

/* A URL of the server: "HOST" in it becomes host and port. */
static const char *url_of(struct rig *g, const char *path)
{
	static char url[FETCH_URL_MAX];
	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", g->http.port, path);
	return url;
}

static struct reply get(struct rig *g, const char *path)
{
	return ask_for(g, (struct fetch){.url = str_z(url_of(g, path)), .trusted = true, .sign = true});
}

static struct reply post(struct rig *g, const char *path, const char *form)
{
	return ask_for(g, (struct fetch){.url = str_z(url_of(g, path)), .form = str_z(form), .method = FETCH_POST, .trusted = true, .sign = true});
}

static void fails(struct rig *g, const char *path, uint32_t fault, const char *why)
{
	struct reply p = get(g, path);
	if (p.r.fault != fault || !strstr(p.r.why, why))
		print_error("%s: %u %s\n", path, p.r.fault, p.r.why);
	assert_int_equal(p.r.fault, fault);
	assert_non_null(strstr(p.r.why, why));
	assert_int_equal(p.r.n, 0);
	reply_free(&p);
}

static void assert_sent(struct rig *g, const char *text)
{
	pthread_mutex_lock(&g->http.lock);
	bool there = strstr(g->http.last, text);
	if (!there)
		print_error("no %s in\n%s\n", text, g->http.last);
	pthread_mutex_unlock(&g->http.lock);
	assert_true(there);
}

static void assert_not_sent(struct rig *g, const char *text)
{
	pthread_mutex_lock(&g->http.lock);
	bool there = strstr(g->http.last, text);
	pthread_mutex_unlock(&g->http.lock);
	assert_false(there);
}

/* ---- requests ---- */
static void test_get(void **state)
{
	struct rig *g = *state;
	struct reply p =
	    ask_for(g, (struct fetch){.url = str_z(url_of(g, "/voice?a=b#rc=0")), .form = STR("From=%2B2&To=%2B1"), .trusted = true, .sign = true});
	assert_int_equal(p.r.fault, 0);
	assert_int_equal(p.r.status, 200);
	assert_int_equal(p.r.attempts, 1);
	assert_string_equal(p.body, "<Response/>");
	assert_string_equal(p.r.type, "text/xml; charset=utf-8");
	assert_string_equal(p.r.url, url_of(g, "/voice?a=b"));
	assert_string_equal(p.r.why, "");
	assert_sent(g, "GET /voice?a=b&From=%2B2&To=%2B1 HTTP/1.1\r\n");
	assert_sent(g, "User-Agent: Hookswitch/test\r\n");
	assert_sent(g, "Accept: */*\r\n");
	assert_sent(g, "I-Twilio-Idempotency-Token: 01000000-abab-abab-abab-abababababab\r\n");
	assert_sent(g, "webhook-id: 01000000-abab-abab-abab-abababababab\r\n");
	assert_not_sent(g, "Accept-Encoding");
	assert_not_sent(g, "Expect");
	char sig[64], line[128];
	assert_int_equal(sign_twilio(STR("tok"), str_z(url_of(g, "/voice?a=b&From=%2B2&To=%2B1")), STR_NONE, sig, sizeof(sig)), 0);
	snprintf(line, sizeof(line), "X-Twilio-Signature: %s\r\n", sig);
	assert_sent(g, line);
	reply_free(&p);
}

static void test_post(void **state)
{
	struct rig *g = *state;
	struct reply p = post(g, "/voice", "CallSid=CA1&Digits=5");
	char sig[64], line[128];
	assert_int_equal(p.r.fault, 0);
	assert_sent(g, "POST /voice HTTP/1.1\r\n");
	assert_sent(g, "\r\n\r\nCallSid=CA1&Digits=5");
	assert_sent(g, "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n");
	assert_int_equal(sign_twilio(STR("tok"), str_z(url_of(g, "/voice")), STR("CallSid=CA1&Digits=5"), sig, sizeof(sig)), 0);
	snprintf(line, sizeof(line), "X-Twilio-Signature: %s\r\n", sig);
	assert_sent(g, line);
	reply_free(&p);
	/* the connection is kept */
	p = post(g, "/voice", "");
	assert_int_equal(p.r.fault, 0);
	assert_int_equal(g->http.accepted, 1);
	assert_sent(g, "Content-Length: 0\r\n");
	reply_free(&p);
}

static void test_large_form(void **state)
{
	struct rig *g = *state;
	static char form[60001];
	memset(form, 'x', 60000);
	struct reply p = post(g, "/voice", form);
	assert_int_equal(p.r.fault, 0);
	assert_sent(g, "Content-Length: 60000\r\n");
	reply_free(&p);
	struct fetch f = {.url = STR("http://a/"), .form = {form, FETCH_ORDER_MAX}, .max_body = 1};
	assert_int_equal(client_fetch(g->client, &f), -E2BIG);
}

/* ---- failures ---- */
static void test_failures(void **state)
{
	struct rig *g = *state;
	fails(g, "/reset", 11205, "127.0.0.1");
	fails(g, "/empty", 11205, "mpty");
	fails(g, "/part", 11205, "");
	fails(g, "/badchunk", 11206, "hunk");
	fails(g, "/lengths", 11206, "header");
	fails(g, "/http09", 11206, "");
	fails(g, "/heads", 11206, "");
	fails(g, "/gzip", 11206, "encoded as gzip");
	fails(g, "/status/404", 11200, "404");
	fails(g, "/status/500", 11200, "500");
	fails(g, "/endless404", 11200, "404");
	fails(g, "/endless", 11750, "65536");
	fails(g, "/huge", 11750, "65536");
	fails(g, "/loop", 11215, "10 redirects");
	fails(g, "/nowhere", 11216, "without saying");
	fails(g, "/to/302?ftp://127.0.0.1/x", 11216, "http and https");
	fails(g, "/late#rt=150&rc=0", 11203, "150 ms");
	fails(g, "/drip#tt=300", 11203, "300 ms in all");
	fails(g, "/late#tt=150", 11203, "150 ms in all");
}

static void test_redirects_counted(void **state)
{
	struct rig *g = *state;
	fails(g, "/loop", 11215, "");
	assert_int_equal(g->http.requests, 11); /* the first, and ten redirects */
}

static void test_not_there(void **state)
{
	struct rig *g = *state;
	char url[64];
	uint16_t port;
	int fd = listen_on(INADDR_LOOPBACK, 1, &port);
	close(fd); /* a port where nobody listens */
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
	struct reply p = ask_for(g, (struct fetch){.url = str_z(url), .trusted = true});
	assert_int_equal(p.r.fault, 11202);
	assert_int_equal(p.r.attempts, 2); /* one retry on connect failure */
	reply_free(&p);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/#rc=3", port);
	p = ask_for(g, (struct fetch){.url = str_z(url), .trusted = true});
	assert_int_equal(p.r.attempts, 4);
	reply_free(&p);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/#rp=5xx", port);
	p = ask_for(g, (struct fetch){.url = str_z(url), .trusted = true});
	assert_int_equal(p.r.attempts, 1);
	reply_free(&p);
	p = ask_for(g, (struct fetch){.url = STR("http://nobody.test/"), .trusted = true});
	assert_int_equal(p.r.fault, 11210);
	assert_int_equal(p.r.attempts, 0);
	reply_free(&p);
	p = ask_for(g, (struct fetch){.url = STR("http://silent.test/#ct=200"), .trusted = true}); /* a name server that does not answer */
	assert_int_equal(p.r.fault, 11210);
	assert_true(p.r.total_ms >= 200 && p.r.total_ms < 5000);
	reply_free(&p);
}

/* A listening socket whose queue is full answers no SYN. */
static void test_never_accepts(void **state)
{
	struct rig *g = *state;
	char url[64];
	uint16_t port;
	int full = listen_on(INADDR_LOOPBACK, 0, &port), fill[8];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	for (size_t i = 0; i < N_ELEMENTS(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)!connect(fill[i], (struct sockaddr *)&a, sizeof(a));
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/#ct=200", port);
	struct reply p = ask_for(g, (struct fetch){.url = str_z(url), .trusted = true});
	assert_int_equal(p.r.fault, 11201);
	assert_int_equal(p.r.attempts, 2);
	assert_true(p.r.total_ms >= 400 && p.r.total_ms < 5000);
	reply_free(&p);
	for (size_t i = 0; i < N_ELEMENTS(fill); i++)
		close(fill[i]);
	close(full);
}

static void test_retries(void **state)
{
	struct rig *g = *state;
	struct reply p = get(g, "/flaky#rp=5xx");
	assert_int_equal(p.r.fault, 0);
	assert_int_equal(p.r.attempts, 2);
	assert_string_equal(p.body, "up again");
	reply_free(&p);
	p = get(g, "/status/503#rp=4xx,ct&rc=5");
	assert_int_equal(p.r.attempts, 1);
	reply_free(&p);
	p = get(g, "/late#rp=rt&rt=100&rc=2");
	assert_int_equal(p.r.fault, 11203);
	assert_int_equal(p.r.attempts, 3);
	reply_free(&p);
	p = get(g, "/voice#rc=9");
	assert_int_equal(p.r.fault, 0);
	assert_non_null(strstr(p.r.why, "11243"));
	reply_free(&p);
}

static void test_bad_urls(void **state)
{
	struct rig *g = *state;
	static const char *const urls[] = {"",
					   "x",
					   "/voice",
					   "//host/x",
					   "ftp://127.0.0.1/",
					   "file:///etc/passwd",
					   "gopher://127.0.0.1:70/_x",
					   "dict://127.0.0.1/",
					   "http://",
					   "http://127.0.0.1:0/",
					   "http://127.0.0.1:99999/",
					   "http://a b/",
					   "http://[::1",
					   "http://[fe80::1%25eth0]/",
					   "http://a\r\nX: y/"};
	for (size_t i = 0; i < N_ELEMENTS(urls); i++) {
		struct reply p = ask_for(g, (struct fetch){.url = str_z(urls[i]), .trusted = true});
		if (p.r.fault != 11100)
			print_error("%s: %u %s\n", urls[i], p.r.fault, p.r.why);
		assert_int_equal(p.r.fault, 11100);
		assert_int_equal(p.r.attempts, 0);
		reply_free(&p);
	}
	assert_int_equal(g->http.accepted, 0);
}

/* ---- redirects ---- */
static void test_redirect_methods(void **state)
{
	struct rig *g = *state;
	static const struct {
		int status;
		bool kept;
	} rows[] = {{301, false}, {302, false}, {303, false}, {307, true}, {308, true}};
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/to/%d?/voice?x=1#ignored", rows[i].status);
		struct reply p = post(g, path, "Digits=5");
		assert_int_equal(p.r.fault, 0);
		assert_string_equal(p.r.url, url_of(g, "/voice?x=1"));
		assert_sent(g, rows[i].kept ? "POST /voice?x=1 " : "GET /voice?x=1 ");
		(rows[i].kept ? assert_sent : assert_not_sent)(g, "Digits=5");
		reply_free(&p);
	}
}

/* ---- cookies, credentials ---- */
static void test_cookies(void **state)
{
	struct rig *g = *state;
	struct reply p = get(g, "/cookie");
	assert_int_equal(p.r.fault, 0);
	assert_true(p.r.cookies_n > 0);
	reply_free(&p);
	p = get(g, "/voice");
	assert_sent(g, "id=42");
	assert_sent(g, "other=x");
	assert_non_null(strstr(p.jar, "id\t42"));
	reply_free(&p);
	/* a failure, and a request that never left, keep them */
	fails(g, "/reset", 11205, "");
	fails(g, "/x\r\n", 11100, "");
	p = get(g, "/voice");
	assert_sent(g, "id=42");
	reply_free(&p);
	/* another host does not see them; another call neither */
	char url[64];
	snprintf(url, sizeof(url), "http://two.test:%u/voice", g->http.port);
	p = ask_for(g, (struct fetch){.url = str_z(url)});
	assert_int_equal(p.r.fault, 0);
	assert_not_sent(g, "Cookie");
	reply_free(&p);
	g->jar_n = 0;
	p = get(g, "/voice");
	assert_not_sent(g, "Cookie");
	reply_free(&p);
}

static struct reply get_as(struct rig *g, const char *who, const char *path)
{
	char url[256];
	snprintf(url, sizeof(url), "http://%s127.0.0.1:%u%s", who, g->http.port, path);
	return ask_for(g, (struct fetch){.url = str_z(url), .trusted = true, .form = STR("a=b"), .method = FETCH_POST, .sign = true});
}

static void test_basic(void **state)
{
	struct rig *g = *state;
	struct reply p = get_as(g, "u:p%40ss@", "/basic");
	assert_int_equal(p.r.fault, 0);
	assert_string_equal(p.body, "in");
	assert_int_equal(g->http.requests, 2);
	assert_int_equal(p.r.attempts, 1);
	assert_string_equal(p.r.url, url_of(g, "/basic")); /* never with credentials */
	assert_sent(g, "a=b");
	reply_free(&p);
	/* remembered for the call: at once, and without being named again */
	p = get_as(g, "", "/basic");
	assert_int_equal(p.r.fault, 0);
	assert_int_equal(g->http.requests, 3);
	reply_free(&p);
	/* another origin does not get them: neither by redirect nor by name */
	char path[128];
	snprintf(path, sizeof(path), "/to/307?http://two.test:%u/basic", g->http.port);
	p = get_as(g, "", path);
	assert_int_equal(p.r.fault, 11200);
	assert_int_equal(p.r.status, 401);
	assert_not_sent(g, "Authorization");
	assert_sent(g, "Host: two.test");
	reply_free(&p);
	g->jar_n = 0;
	p = get_as(g, "u:wrong@", "/basic");
	assert_int_equal(p.r.fault, 11200);
	assert_int_equal(p.r.status, 401);
	reply_free(&p);
}

static void test_digest(void **state)
{
	struct rig *g = *state;
	struct reply p = get_as(g, "u:p@", "/digest");
	assert_int_equal(p.r.fault, 0);
	assert_int_equal(g->http.requests, 2);
	assert_sent(g, "a=b");
	assert_sent(g, "uri=\"/digest\"");
	reply_free(&p);
	p = get_as(g, "", "/digest");
	assert_int_equal(p.r.fault, 0);
	assert_sent(g, "a=b");
	reply_free(&p);
	p = get_as(g, "", "/voice"); /* asks for nothing: gets nothing */
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
}

/* ---- media kept ---- */
static struct reply media(struct rig *g, const char *path, bool trusted)
{
	return ask_for(g, (struct fetch){.url = str_z(url_of(g, path)), .trusted = trusted, .cached = true});
}

static void test_cache(void **state)
{
	struct rig *g = *state;
	for (int i = 0; i < 3; i++) { /* asked whether it is still good, each time */
		struct reply p = media(g, "/sound", true);
		assert_int_equal(p.r.fault, 0);
		assert_int_equal(p.r.status, 200);
		assert_int_equal(p.r.from_cache, i > 0);
		assert_string_equal(p.body, "RIFF sound");
		assert_string_equal(p.r.type, "audio/wav");
		assert_int_equal(g->http.hits, i + 1);
		reply_free(&p);
	}
	assert_not_sent(g, "I-Twilio");
	g->http.hits = 0;
	for (int i = 0; i < 3; i++) { /* good for a minute */
		struct reply p = media(g, "/fresh", true);
		assert_string_equal(p.body, "fresh");
		assert_int_equal(g->http.hits, 1);
		reply_free(&p);
	}
	/* what a trusted origin said is not for replies that may not ask there */
	struct reply p = media(g, "/fresh", false);
	assert_int_equal(p.r.fault, 11100);
	reply_free(&p);
	g->http.hits = 0;
	for (int i = 0; i < 2; i++) {
		p = media(g, "/secret", true);
		assert_int_equal(p.r.from_cache, 0);
		reply_free(&p);
	}
	assert_int_equal(g->http.hits, 2);
}

static int set_up_small(void **state)
{
	struct rig *g = calloc(1, sizeof(*g));
	struct client_opts o = {.cache_bytes = 25}; /* two sounds of 10 */
	rig_open(g, &o);
	*state = g;
	return 0;
}

static bool is_cached(struct rig *g, const char *path)
{
	struct reply p = media(g, path, true);
	bool cached = p.r.from_cache;
	assert_string_equal(p.body, "RIFF sound");
	reply_free(&p);
	return cached;
}

static void test_cache_bound(void **state)
{
	struct rig *g = *state;
	assert_false(is_cached(g, "/sound1"));
	assert_false(is_cached(g, "/sound2"));
	assert_true(is_cached(g, "/sound1"));
	assert_false(is_cached(g, "/sound3")); /* 2 goes: unused for longest */
	assert_true(is_cached(g, "/sound1"));
	assert_true(is_cached(g, "/sound3"));
	assert_false(is_cached(g, "/sound2"));
}

/* ---- many ---- */
#define HANGING 2000
#define PORTS   8

static void test_hanging(void **state)
{
	struct rig *g = *state;
	int fds[PORTS];
	uint16_t ports[PORTS];
	uint8_t token[16];
	char url[64];
	for (int i = 0; i < PORTS; i++)
		fds[i] = listen_on(INADDR_LOOPBACK, 1024, &ports[i]); /* connects, and never answers */
	for (int i = 0; i < HANGING; i++) {
		snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ports[i % PORTS]);
		order(g, (struct fetch){.url = str_z(url), .trusted = true});
	}
	int64_t worst = 0;
	for (int i = 0; i < 50; i++) {
		snprintf(url, sizeof(url), "http://127.0.0.1:%u/voice", g->http.port);
		order(g, (struct fetch){.url = str_z(url), .trusted = true});
		struct reply p = wait_reply(g);
		assert_int_equal(p.r.number, g->number); /* of all that are out, this one came */
		assert_int_equal(p.r.fault, 0);
		worst = MAX(worst, (int64_t)p.r.total_ms);
		reply_free(&p);
	}
	print_message("longest of 50 beside %d that hang: %lld ms\n", HANGING, (long long)worst);
	for (uint32_t i = 1; i <= HANGING; i++) { /* nobody waits for them any more */
		memset(token, 0xab, sizeof(token));
		memcpy(token, &i, sizeof(i));
		client_drop(g->client, token);
	}
	struct reply p = get(g, "/voice");
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
	for (int i = 0; i < PORTS; i++)
		close(fds[i]);
}

/* One past the places of an origin waits, within its own time; one past all is not taken. */
static void test_bounds(void **state)
{
	struct rig *g = *state;
	uint16_t port;
	char url[64];
	int fd = listen_on(INADDR_LOOPBACK, 1024, &port);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
	for (unsigned i = 0; i < FETCH_ORIGIN_MAX; i++)
		order(g, (struct fetch){.url = str_z(url), .trusted = true});
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/#tt=200", port);
	struct reply p = ask_for(g, (struct fetch){.url = str_z(url), .trusted = true});
	assert_int_equal(p.r.fault, 11203);
	assert_non_null(strstr(p.r.why, "no free place"));
	reply_free(&p);
	p = get(g, "/voice");
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
	struct fetch f = {.url = str_z(url_of(g, "/late")), .max_body = 1, .trusted = true};
	int err = 0;
	unsigned n = FETCH_ORIGIN_MAX;
	while (n <= FETCH_OPEN_MAX && (err = client_fetch(g->client, &f)) == 0)
		n++;
	assert_int_equal(err, -EAGAIN);
	assert_true(n >= FETCH_OPEN_MAX - 2); /* an answered one may stand in the bin */
	close(fd);
}

static void test_dropped(void **state)
{
	struct rig *g = *state;
	uint8_t token[16];
	order(g, (struct fetch){.url = str_z(url_of(g, "/late")), .trusted = true});
	memset(token, 0xab, sizeof(token));
	memcpy(token, &g->number, sizeof(g->number));
	client_drop(g->client, token);
	struct reply p = get(g, "/voice");
	assert_int_equal(p.r.fault, 0);
	reply_free(&p);
}

static int set_up_narrow(void **state)
{
	struct rig *g = calloc(1, sizeof(*g));
	struct client_opts o = {0};
	g->up_bytes = 2 * (sizeof(struct fetched) + MAILBOX_HEAD);
	rig_open(g, &o);
	*state = g;
	return 0;
}

/* The mailbox of who asked has room for two answers: the others wait, and come. */
static void test_answers_wait(void **state)
{
	struct rig *g = *state;
	uint64_t seen = 0, full = count_get(COUNT_MAIL_FULL);
	for (int i = 0; i < 20; i++)
		order(g, (struct fetch){.url = str_z(url_of(g, "/voice")), .trusted = true});
	while (count_get(COUNT_MAIL_FULL) == full)
		poll(NULL, 0, 1);
	for (int i = 0; i < 20; i++) {
		struct reply p = wait_reply(g);
		assert_int_equal(p.r.fault, 0);
		assert_string_equal(p.body, "<Response/>");
		assert_int_equal(seen & BIT(p.r.number), 0);
		seen |= BIT(p.r.number);
		reply_free(&p);
	}
}

/* Closed with requests under way in each state: nothing leaks, nothing is told. */
static void test_closed_amid(void **state)
{
	struct rig *g = *state;
	char url[64];
	for (int i = 0; i < 20; i++)
		order(g, (struct fetch){.url = str_z(url_of(g, i & 1 ? "/late" : "/drip")), .trusted = true});
	snprintf(url, sizeof(url), "http://nobody.test:%u/", g->http.port);
	order(g, (struct fetch){.url = str_z(url)});
	while (g->http.requests < 10)
		poll(NULL, 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	    T(test_get),
	    T(test_post),
	    T(test_large_form),
	    T(test_failures),
	    T(test_redirects_counted),
	    T(test_not_there),
	    T(test_never_accepts),
	    T(test_retries),
	    T(test_bad_urls),
	    T(test_redirect_methods),
	    T(test_cookies),
	    T(test_basic),
	    T(test_digest),
	    T(test_cache),
	    cmocka_unit_test_setup_teardown(test_cache_bound, set_up_small, tear_down),
	    T(test_hanging),
	    T(test_bounds),
	    T(test_dropped),
	    T(test_closed_amid),
	    cmocka_unit_test_setup_teardown(test_answers_wait, set_up_narrow, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
