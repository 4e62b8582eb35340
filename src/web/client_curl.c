/* SPDX-License-Identifier: Apache-2.0
 *
 * client_curl: one exchange with one judged address, by libcurl's multi interface on the web thread's loop. libcurl frames HTTP/1.1 and speaks TLS, keeps connections and the cookies of
 * a job; it follows nothing, resolves nothing, asks no environment. The address is pinned three times: CONNECT_TO names it, the socket is opened for no other, and before the request
 * leaves the peer of the connection (which may be a kept one) is compared once more. Times are kept in client_walk.c.
 */
#include "web/inside.h"

#include "net/net.h"

#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEPT_CONNECTIONS 256
#define PASSES           64 /* of libcurl's "at once" in one turn */

/* ---- sockets ---- */
static void on_ear(uv_poll_t *p, int status, int events)
{
	struct ear *e = p->data;
	struct client *c = e->c;
	int fd = e->fd;
	if (status < 0)
		events = UV_READABLE | UV_WRITABLE;
	if (e->dns)
		where_event(c, fd, events);
	else
		carry_event(c, fd, events);
	client_turn(c);
}

static void on_ear_closed(uv_handle_t *h)
{
	struct ear *e = h->data;
	struct client *c = e->c;
	free(e);
	client_handle_closed(c);
}

struct ear *ear_set(struct client *c, struct ear *e, int fd, bool dns, int events)
{
	if (e && events == 0) {
		link_drop(&e->link);
		uv_close((uv_handle_t *)&e->poll, on_ear_closed); /* before the descriptor is closed: its number may come again at once */
		return NULL;
	}
	if (events == 0)
		return NULL;
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e || uv_poll_init(c->loop, &e->poll, fd)) {
			free(e);
			return NULL; /* no ear: its deadline ends it */
		}
		e->poll.data = e;
		e->c = c;
		e->fd = fd;
		e->dns = dns;
		c->n_handles++;
		link_append(&c->ears, &e->link);
	}
	uv_poll_start(&e->poll, events, on_ear);
	return e;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
	struct client *c = arg;
	int events = what == CURL_POLL_REMOVE ? 0 : (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
	curl_multi_assign(c->multi, fd, ear_set(c, sock, fd, false, events));
	return 0;
}

static int on_curl_timer(CURLM *multi, long ms, void *arg)
{
	struct client *c = arg;
	if (ms < 0)
		timer_stop(&c->curl_timer);
	else if (ms == 0)
		c->kick = true; /* not from in here: libcurl must not be entered twice */
	else
		timer_set(c->wheel, &c->curl_timer, clock_boot_ms() + ms);
	return 0;
}

static void timer_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct client *c = arg;
	c->kick = true;
}

void carry_event(struct client *c, int fd, int events)
{
	int running, bits = (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
	curl_multi_socket_action(c->multi, fd, bits, &running);
}

static bool take_done(struct client *c)
{
	int left;
	CURLMsg *m = curl_multi_info_read(c->multi, &left);
	struct job *j = NULL;
	if (!m)
		return false;
	if (m->msg != CURLMSG_DONE)
		return true;
	CURLcode code = m->data.result;
	curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&j);
	carry_stop(j); /* m is gone with it */
	walk_done(j, code);
	return true;
}

void carry_work(struct client *c)
{
	int running;
	for (int i = 0; i < PASSES; i++) {
		bool kicked = c->kick;
		c->kick = false;
		if (kicked)
			curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		bool done = false;
		while (take_done(c))
			done = true;
		if (!kicked && !done)
			return;
	}
}

/* ---- what libcurl asks in an exchange ---- */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct job *j = arg;
	struct sockaddr_storage ss = {0};
	struct addr a;
	memcpy(&ss, &to->addr, MIN(sizeof(ss), (size_t)to->addrlen));
	if (purpose != CURLSOCKTYPE_IPCXN || net_addr_from_sock(&ss, &a) || !addr_eq(&a, &j->addrs[j->addr_at])) {
		j->strange = true;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, to->protocol);
}

static int on_connected(void *arg, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
	struct job *j = arg;
	struct addr a;
	if (addr_parse(str_z(peer_ip), &a) || !addr_eq_host(&a, &j->addrs[j->addr_at])) {
		j->strange = true;
		return CURL_PREREQFUNC_ABORT;
	}
	walk_connected(j);
	return CURL_PREREQFUNC_OK;
}

/* RFC 9112 section 6.3: lengths that contradict each other are no length at all. curl would believe the last. */
static bool length_again(struct job *j, struct str line)
{
	struct str value, name = str_cut(line, ':', &value);
	uint64_t length, before = j->length;
	if (str_starts(line, STR("HTTP/"))) /* another answer: after 100 or 401 */
		j->length = 0;
	if (!str_ieq(str_trim(name), STR("Content-Length")) || str_u64(str_trim(value), UINT64_MAX - 1, &length))
		return false;
	j->length = length + 1;
	return before && before != j->length;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct job *j = arg;
	j->head_n += (uint32_t)n;
	walk_heard(j);
	return j->head_n > FETCH_HEAD_MAX || length_again(j, str_n(p, n)) ? 0 : n;
}

static bool keep(struct job *j, const char *p, size_t n)
{
	curl_off_t whole = -1;
	curl_easy_getinfo(j->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &whole);
	j->too_large = n > j->f.max_body - j->body_n || whole > (curl_off_t)j->f.max_body;
	j->no_room = n > FETCH_BODIES_MAX - j->c->body_bytes;
	if (j->too_large || j->no_room)
		return false;
	if (j->fd < 0)
		j->fd = memfd_create("fetched", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	for (size_t at = 0; at < n;) {
		ssize_t w = j->fd >= 0 ? pwrite(j->fd, p + at, n - at, j->body_n) : -1;
		j->no_room = w <= 0;
		if (j->no_room)
			return false;
		at += (size_t)w;
		j->body_n += (uint32_t)w;
		j->c->body_bytes += (uint64_t)w;
	}
	return true;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct job *j = arg;
	long status = 0;
	walk_heard(j);
	curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 200 && status < 300)
		return keep(j, p, n) ? n : 0;
	/* Of an answer that is no document only the status is of use: a little is read so that the connection can be kept. */
	j->odd_n += (uint32_t)n;
	j->enough = j->odd_n > FETCH_ODD_MAX;
	return j->enough ? 0 : n;
}

struct str carry_header(struct job *j, const char *name, unsigned at)
{
	struct curl_header *h;
	if (!j->easy || curl_easy_header(j->easy, name, at, CURLH_HEADER, -1, &h) != CURLHE_OK)
		return STR_NONE;
	return str_z(h->value);
}

/* ---- an exchange ---- */
static void add_cookies(struct job *j)
{
	struct jar_lines l = {j->f.cookies};
	struct str line;
	char text[8192];
	curl_easy_setopt(j->easy, CURLOPT_COOKIEFILE, "");
	while (jar_cookie_next(&l, &line))
		if (str_zcpy(line, text, sizeof(text)) == 0)
			curl_easy_setopt(j->easy, CURLOPT_COOKIELIST, text);
}

static int easy_new(struct job *j)
{
	struct client *c = j->c;
	CURL *e = j->easy = curl_easy_init();
	if (!e)
		return -ENOMEM;
	curl_easy_setopt(e, CURLOPT_PRIVATE, j);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, j->error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(e, CURLOPT_CAINFO, c->ca_bundle);
	curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(e, CURLOPT_USERAGENT, c->product);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, j);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, j);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, j);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, j);
	if (!j->f.cached)
		add_cookies(j);
	return 0;
}

static void add(struct job *j, const char *fmt, ...) _printf_(2, 3);
static void add(struct job *j, const char *fmt, ...)
{
	char line[1024];
	struct out o = OUT(line);
	va_list ap;
	va_start(ap, fmt);
	out_vf(&o, fmt, ap);
	va_end(ap);
	struct curl_slist *more = o.over ? NULL : curl_slist_append(j->headers, out_z(&o));
	j->headers = more ? more : j->headers;
}

/* The same from the first attempt to the last: what a service knows a repeat by. */
static void token_text(const struct job *j, char ret[37])
{
	struct out o = {.p = ret, .cap = 37};
	const uint8_t *t = j->f.token;
	out_hex(&o, t, 4);
	for (int i = 4; i < 10; i += 2) {
		out_c(&o, '-');
		out_hex(&o, t + i, 2);
	}
	out_c(&o, '-');
	out_hex(&o, t + 10, 6);
	out_z(&o);
}

static void add_signatures(struct job *j, const char *id)
{
	char sig[128];
	struct str key = str_z(j->c->auth_token), body = j->post ? j->f.form : STR_NONE;
	int64_t utc_s = clock_utc_ms() / 1000;
	if (sign_twilio(key, str_z(j->url_text), body, sig, sizeof(sig)) == 0)
		add(j, "X-Twilio-Signature: %s", sig);
	if (sign_webhook(key, str_z(id), utc_s, body, sig, sizeof(sig)))
		return;
	add(j, "webhook-id: %s", id);
	add(j, "webhook-timestamp: %lld", (long long)utc_s);
	add(j, "webhook-signature: %s", sig);
}

static bool plain_value(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return s.n > 0;
}

static void add_headers(struct job *j)
{
	char id[37];
	token_text(j, id);
	curl_slist_free_all(j->headers);
	j->headers = NULL;
	if (plain_value(j->f.accept))
		add(j, "Accept: %.*s", STR_ARG(j->f.accept));
	else
		add(j, "Accept: */*");
	if (j->post)
		add(j, "Content-Type: application/x-www-form-urlencoded; charset=utf-8");
	add(j, "Expect:");
	if (!j->f.cached)
		add(j, "I-Twilio-Idempotency-Token: %s", id);
	if (j->f.sign)
		add_signatures(j, id);
	if (j->cached && j->cached->etag[0])
		add(j, "If-None-Match: %s", j->cached->etag);
	if (j->cached && j->cached->modified[0])
		add(j, "If-Modified-Since: %s", j->cached->modified);
	curl_easy_setopt(j->easy, CURLOPT_HTTPHEADER, j->headers);
}

static void set_where(struct job *j)
{
	char text[96];
	struct out o = OUT(text);
	OUT_STR(&o, "::");
	addr_print(&o, &j->addrs[j->addr_at]);
	curl_slist_free_all(j->connect_to);
	j->connect_to = curl_slist_append(NULL, out_z(&o));
	curl_easy_setopt(j->easy, CURLOPT_URL, j->url_text);
	curl_easy_setopt(j->easy, CURLOPT_CONNECT_TO, j->connect_to);
}

static void set_method(struct job *j)
{
	if (!j->post) {
		curl_easy_setopt(j->easy, CURLOPT_HTTPGET, 1L);
		return;
	}
	curl_easy_setopt(j->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(j->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)j->f.form.n);
	curl_easy_setopt(j->easy, CURLOPT_POSTFIELDS, j->f.form.n ? j->f.form.p : "");
}

/* Without Authorization until the origin has asked for it; Basic then from the start, Digest whenever it asks (its nonce is good for this job only). */
static void set_credentials(struct job *j)
{
	struct cred *c = jar_cred(&j->jar, j->name);
	bool now = c && (c->kind == CRED_BASIC || (c->kind == CRED_DIGEST && j->authorized));
	curl_easy_setopt(j->easy, CURLOPT_HTTPAUTH, c && c->kind == CRED_DIGEST ? (long)CURLAUTH_DIGEST : (long)CURLAUTH_BASIC);
	curl_easy_setopt(j->easy, CURLOPT_USERNAME, now ? c->user : NULL);
	curl_easy_setopt(j->easy, CURLOPT_PASSWORD, now ? c->pass : NULL);
	j->authorized = now;
}

int carry_ask(struct job *j)
{
	int err = j->easy ? 0 : easy_new(j);
	if (err)
		return err;
	job_drop_body(j);
	j->connected = j->strange = j->enough = j->too_large = j->no_room = false;
	j->head_n = j->odd_n = 0;
	j->length = 0;
	j->error[0] = 0;
	set_where(j);
	set_method(j);
	add_headers(j);
	set_credentials(j);
	if (!j->connect_to || !j->headers || curl_multi_add_handle(j->c->multi, j->easy))
		return -ENOMEM;
	j->in_multi = true;
	return 0;
}

void carry_stop(struct job *j)
{
	if (j->in_multi)
		curl_multi_remove_handle(j->c->multi, j->easy);
	j->in_multi = false;
}

void carry_free_job(struct job *j)
{
	carry_stop(j);
	curl_easy_cleanup(j->easy);
	curl_slist_free_all(j->headers);
	curl_slist_free_all(j->connect_to);
}

/* ---- life ---- */
int carry_open(struct client *c)
{
	timer_init(&c->curl_timer, timer_due, c);
	c->multi = curl_multi_init();
	if (!c->multi)
		return -ENOMEM;
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return 0;
}

void carry_close(struct client *c)
{
	if (c->multi)
		curl_multi_cleanup(c->multi); /* kept connections end; their ears with them */
	c->multi = NULL;
	timer_stop(&c->curl_timer);
}
