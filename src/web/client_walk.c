/* SPDX-License-Identifier: Apache-2.0
 *
 * client_walk: the life of a request, from its URL to the one answer that is told. Each hop (the URL itself, then each redirect) is walked in full: parsed, given a place at its origin,
 * resolved, judged (client_where.c), exchanged (client_curl.c). Here stand its times (connect, read, total: the total spans all hops and attempts, waiting included), its retries, what a
 * status means (call-control.md 2.3), credentials after a 401 (RFC 9110 section 11.6), redirects (section 15.4). Web thread.
 *
 *   QUEUED ─► WHERE ─► ASKING ─► TELLING        PAUSE: before the next attempt; back to ASKING
 *      ▲                  │ 3xx
 *      └──────────────────┘
 */
#include "web/inside.h"

#include <openssl/x509_vfy.h>

#define PAUSE_MS 50 /* before an attempt is repeated: a service that restarts needs a moment, a caller does not hear it */

static void hop_begin(struct job *j);

/* ---- origins and their places ---- */
int origin_name(CURLU *u, char ret[ORIGIN_CAP])
{
	char *scheme = NULL, *host = NULL, *port = NULL;
	struct out o = {.p = ret, .cap = ORIGIN_CAP};
	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		o.over = true;
	else
		out_f(&o, "%s://%s:%s", scheme, host, port);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	out_c(&o, 0);
	for (size_t i = 0; i < o.n; i++)
		ret[i] = (char)(ret[i] >= 'A' && ret[i] <= 'Z' ? ret[i] | 32 : ret[i]);
	return o.over ? -EINVAL : 0;
}

static struct origin *origin_of(struct client *c, const char *name)
{
	uint64_t key = str_hash(str_z(name));
	struct origin *o;
	for (size_t at = 0; (o = hash_next(c->origins, key, &at));)
		if (str_eq(str_z(o->name), str_z(name)))
			return o;
	o = calloc(1, sizeof(*o));
	if (!o || str_zcpy(str_z(name), o->name, sizeof(o->name)) || hash_put(c->origins, key, o)) {
		free(o);
		return NULL;
	}
	o->key = key;
	link_init(&o->queue);
	link_init(&o->ready);
	return o;
}

/* A place was given back, or a waiting job went away: looked at in walk_ready. */
static void origin_look(struct client *c, struct origin *o)
{
	if (link_alone(&o->ready))
		link_append(&c->ready, &o->ready);
}

void walk_leave(struct job *j)
{
	where_drop(j);
	carry_stop(j);
	timer_stop(&j->step);
	cache_release(&j->c->cache, j->cached);
	j->cached = NULL;
	link_drop(&j->queue);
	if (!j->at)
		return;
	j->at->n_open -= j->state != JOB_QUEUED;
	origin_look(j->c, j->at);
	j->at = NULL;
}

void walk_ready(struct client *c)
{
	while (!link_alone(&c->ready)) {
		struct origin *o = container_of(c->ready.next, struct origin, ready);
		while (o->n_open < FETCH_ORIGIN_MAX && !link_alone(&o->queue)) {
			struct job *j = container_of(o->queue.next, struct job, queue);
			link_drop(&j->queue);
			o->n_open++;
			hop_begin(j);
		}
		link_drop(&o->ready);
		if (o->n_open || !link_alone(&o->queue))
			continue;
		hash_drop(c->origins, o->key, o);
		free(o);
	}
}

static void hop_place(struct job *j)
{
	j->at = origin_of(j->c, j->name);
	j->state = JOB_QUEUED;
	if (!j->at) {
		walk_fail(j, 0, 11200, "out of memory");
		return;
	}
	link_append(&j->at->queue, &j->queue);
	origin_look(j->c, j->at); /* begun at the end of this turn: never from inside another job's end */
}

/* ---- a hop ---- */
static bool is_trusted(const struct job *j)
{
	for (int i = 0; i < j->c->n_trusted; i++)
		if (str_eq(str_z(j->c->trusted[i]), str_z(j->name)))
			return true;
	return j->f.trusted && str_eq(str_z(j->first_name), str_z(j->name));
}

static const char *set_port(struct job *j)
{
	char *port = NULL;
	uint64_t n = 0;
	if (curl_url_get(j->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK && str_u64(str_z(port), 65535, &n))
		n = 0;
	curl_free(port);
	j->port = (uint16_t)n;
	return n ? NULL : "no port that could be connected to";
}

static bool is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

static const char *set_host(struct job *j)
{
	char *zone = NULL;
	CURLUcode rc = curl_url_get(j->url, CURLUPART_ZONEID, &zone, 0);
	curl_free(zone);
	if (rc != CURLUE_NO_ZONEID)
		return "addresses with a zone are not for URLs of services";
	curl_free(j->host);
	j->host = NULL;
	if (curl_url_get(j->url, CURLUPART_HOST, &j->host, 0))
		return "no host name";
	if (is_ascii(j->host))
		return NULL;
	curl_free(j->host);
	j->host = NULL;
	if (curl_url_get(j->url, CURLUPART_HOST, &j->host, CURLU_PUNYCODE) || !is_ascii(j->host))
		return "a host name that DNS cannot be asked for";
	return curl_url_set(j->url, CURLUPART_HOST, j->host, 0) ? "a host name that is none" : NULL;
}

/* user:password@ is taken out of the URL: it is remembered for this origin and goes nowhere else. */
static const char *take_credentials(struct job *j)
{
	char *user = NULL, *pass = NULL;
	const char *bad = NULL;
	curl_url_get(j->url, CURLUPART_USER, &user, CURLU_URLDECODE);
	curl_url_get(j->url, CURLUPART_PASSWORD, &pass, CURLU_URLDECODE);
	if (user && jar_remember(&j->jar, j->name, user, pass ? pass : ""))
		bad = "user name or password are too long";
	curl_free(user);
	curl_free(pass);
	curl_url_set(j->url, CURLUPART_USER, NULL, 0);
	curl_url_set(j->url, CURLUPART_PASSWORD, NULL, 0);
	curl_url_set(j->url, CURLUPART_FRAGMENT, NULL, 0);
	return bad;
}

/* The parameters are added by hand: libcurl would spell their escapes in its own way, and what is asked for has to be what was signed, byte by byte. */
static const char *set_texts(struct job *j, struct str query)
{
	char *text = NULL;
	free(j->base_text);
	free(j->url_text);
	j->base_text = j->url_text = NULL;
	if (curl_url_get(j->url, CURLUPART_URL, &text, 0) == CURLUE_OK)
		j->base_text = strdup(text);
	curl_free(text);
	if (!j->base_text)
		return "no URL";
	struct str base = str_z(j->base_text);
	struct out o = {.p = malloc(base.n + query.n + 2), .cap = base.n + query.n + 2};
	j->url_text = o.p;
	if (!o.p)
		return "out of memory";
	out_str(&o, base);
	if (query.n && base.p[base.n - 1] != '?')
		out_c(&o, str_find(base, '?') ? '&' : '?');
	out_str(&o, query);
	out_c(&o, 0);
	return str_find(query, 0) ? "a NUL in its parameters" : NULL;
}

/* What is wrong with it, or NULL. query: added to it (the form of a GET). */
static const char *hop_set(struct job *j, const char *url, struct str query)
{
	char *scheme = NULL;
	if (memchr(url, '\\', strcspn(url, "?#")))
		return "a backslash: readers of URLs do not agree on what that means";
	CURLUcode rc = curl_url_set(j->url, CURLUPART_URL, url, CURLU_URLENCODE);
	if (rc)
		return curl_url_strerror(rc);
	if (curl_url_get(j->url, CURLUPART_SCHEME, &scheme, 0))
		return "no scheme";
	bool ok = str_eq(str_z(scheme), STR("http")) || str_eq(str_z(scheme), STR("https"));
	curl_free(scheme);
	if (!ok)
		return "only http and https are asked";
	const char *bad = set_host(j);
	if (!bad)
		bad = set_port(j);
	if (!bad && origin_name(j->url, j->name))
		bad = "the host name is too long";
	if (!bad)
		bad = take_credentials(j);
	if (!bad)
		bad = set_texts(j, query);
	j->authorized = false;
	return bad;
}

static void from_cache(struct job *j)
{
	struct cached *e = j->cached;
	struct fetched *r = &j->r;
	job_drop_body(j);
	j->fd = cache_fd(e);
	if (j->fd < 0) {
		walk_fail(j, 0, 11200, "no descriptor left");
		return;
	}
	j->from_cache_n = e->n;
	r->from_cache = 1;
	r->status = 200;
	(void)!str_zcpy(str_z(e->type), r->type, sizeof(r->type));
	job_tell(j);
}

static void tell_url(struct job *j)
{
	struct str s = str_z(j->base_text), rest;
	if (s.n >= sizeof(j->r.url))
		s = str_cut(s, '?', &rest); /* as a base it serves as well */
	if (str_zcpy(s, j->r.url, sizeof(j->r.url)))
		j->r.url[0] = 0;
}

/* It has a place at its origin. */
static void hop_begin(struct job *j)
{
	int64_t now = clock_boot_ms();
	j->state = JOB_WHERE;
	j->trusted = is_trusted(j);
	tell_url(j);
	if (j->f.cached && !j->post)
		j->cached = cache_find(&j->c->cache, j->trusted, j->url_text);
	if (j->cached && now < j->cached->fresh_until_ms) {
		from_cache(j);
		return;
	}
	timer_set(j->c->wheel, &j->step, now + j->over.connect_ms);
	where_ask(j);
}

static void ask(struct job *j)
{
	int64_t now = clock_boot_ms();
	j->state = JOB_ASKING;
	j->ask_ms = now;
	timer_set(j->c->wheel, &j->step, now + j->over.connect_ms);
	if (carry_ask(j))
		walk_fail(j, 0, 11200, "out of memory");
}

static void attempt(struct job *j)
{
	j->r.attempts++;
	ask(j);
}

void walk_where(struct job *j)
{
	attempt(j);
}

/* ---- times ---- */
void walk_connected(struct job *j)
{
	int64_t now = clock_boot_ms();
	j->connected = true;
	j->r.connect_ms = (uint32_t)(now - j->ask_ms);
	timer_set(j->c->wheel, &j->step, now + j->over.read_ms);
}

void walk_heard(struct job *j)
{
	timer_set(j->c->wheel, &j->step, clock_boot_ms() + j->over.read_ms);
}

static void on_step(struct timer *t, void *arg, int64_t now_ms)
{
	struct job *j = arg;
	if (j->state == JOB_PAUSE)
		attempt(j);
	else if (j->state == JOB_WHERE)
		walk_fail(j, 0, 11210, "the host of %s was not found within %u ms", j->name, j->over.connect_ms);
	else if (!j->connected)
		walk_fail(j, FETCH_RETRY_CT, 11201, "%s was not connected within %u ms", j->name, j->over.connect_ms);
	else
		walk_fail(j, FETCH_RETRY_RT, 11203, "%s sent nothing for %u ms", j->name, j->over.read_ms);
}

static void on_total(struct timer *t, void *arg, int64_t now_ms)
{
	struct job *j = arg;
	walk_fail(j, 0, 11203, "%s %s %u ms in all", j->name, j->state == JOB_QUEUED ? "had no free place within" : "did not end within", j->over.total_ms);
}

/* ---- ends ---- */
void walk_fail(struct job *j, unsigned retry_class, uint32_t fault, const char *fmt, ...)
{
	struct out o = OUT(j->r.why);
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_safe(&o, str_n(text, MIN((size_t)MAX(n, 0), sizeof(text) - 1)));
	out_z(&o);
	if ((retry_class & j->over.retry_on) && j->n_retries < j->over.retries) {
		j->n_retries++;
		carry_stop(j);
		j->addr_at = (j->addr_at + 1) % j->n_addrs;
		j->state = JOB_PAUSE;
		timer_set(j->c->wheel, &j->step, clock_boot_ms() + PAUSE_MS);
		return;
	}
	j->r.fault = fault;
	job_tell(j);
}

static uint32_t tls_fault(struct job *j, CURLcode code, const char **ret_what)
{
	long v = X509_V_OK;
	curl_easy_getinfo(j->easy, CURLINFO_SSL_VERIFYRESULT, &v);
	if (code != CURLE_PEER_FAILED_VERIFICATION) {
		*ret_what = "no TLS";
		return 11220;
	}
	/* libcurl looks at the name first, and then has not put down a result yet: "unspecified" stands for that. */
	if (v == X509_V_OK || v == X509_V_ERR_UNSPECIFIED || v == X509_V_ERR_HOSTNAME_MISMATCH || v == X509_V_ERR_IP_ADDRESS_MISMATCH) {
		*ret_what = "the certificate is another host's";
		return 11235;
	}
	bool time = v == X509_V_ERR_CERT_HAS_EXPIRED || v == X509_V_ERR_CERT_NOT_YET_VALID;
	*ret_what = time ? "the certificate has expired or is not valid yet" : "no path from the certificate to an authority that is known here";
	return time ? 11236 : 11237;
}

static void fail_connect(struct job *j)
{
	long err = 0;
	curl_easy_getinfo(j->easy, CURLINFO_OS_ERRNO, &err);
	/* Another address of the same name is no new attempt: a machine without IPv6 would else have none left. */
	if (j->addr_at + 1 < j->n_addrs && err != ETIMEDOUT) {
		j->addr_at++;
		ask(j);
		return;
	}
	uint32_t fault = err == ECONNREFUSED ? 11202 : err == ETIMEDOUT ? 11201 : 11205;
	walk_fail(j, FETCH_RETRY_CT, fault, "%s cannot be connected: %s", j->name, err ? strerror((int)err) : j->error);
}

static void fail_code(struct job *j, CURLcode code)
{
	const char *what;
	uint32_t fault;
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		fail_connect(j);
		return;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		fault = tls_fault(j, code, &what);
		walk_fail(j, 0, fault, "%s: %s: %s", j->name, what, j->error);
		return;
	case CURLE_RECV_ERROR:
		/* One code for a reset and for chunks that are none; only the text tells them apart. */
		fault = strstr(j->error, "hunk") ? 11206 : 11205;
		break;
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		fault = 11205;
		break;
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_WRITE_ERROR: /* on_header: the head is too large, or has two lengths */
		fault = 11206;
		break;
	default:
		fault = 11200;
	}
	walk_fail(j, j->connected ? 0 : FETCH_RETRY_CT, fault, "%s: %s", j->name, j->error[0] ? j->error : curl_easy_strerror(code));
}

/* ---- what was answered ---- */
static bool challenged(struct job *j, const char *scheme)
{
	struct str line;
	for (unsigned i = 0; (line = carry_header(j, "WWW-Authenticate", i)).p; i++)
		if (str_istarts(str_trim(line), str_z(scheme)))
			return true;
	return false;
}

/* True: it is asked again, with Authorization. */
static bool authorize(struct job *j)
{
	struct cred *c = jar_cred(&j->jar, j->name);
	if (!c || j->authorized)
		return false;
	c->kind = challenged(j, "Digest") ? CRED_DIGEST : challenged(j, "Basic") ? CRED_BASIC : CRED_UNASKED;
	if (c->kind == CRED_UNASKED)
		return false;
	j->authorized = true;
	ask(j);
	return true;
}

static void redirect(struct job *j, long status)
{
	struct str to = carry_header(j, "Location", 0);
	char url[FETCH_URL_MAX + 1];
	if (to.n == 0 || str_zcpy(to, url, sizeof(url))) {
		walk_fail(j, 0, 11216, "%s redirects (%ld) %s", j->name, status, to.n ? "to a URL that is too long" : "without saying where to");
		return;
	}
	if (j->n_redirects++ >= FETCH_REDIRECTS) {
		walk_fail(j, 0, 11215, "more than %u redirects", (unsigned)FETCH_REDIRECTS);
		return;
	}
	if (status < 307)
		j->post = false;
	walk_leave(j);
	job_drop_body(j);
	const char *bad = hop_set(j, url, STR_NONE);
	if (bad)
		walk_fail(j, 0, 11216, "redirected to what is no URL for us: %s", bad);
	else
		hop_place(j);
}

static void read_rule(struct job *j, struct cache_rule *r)
{
	*r = (struct cache_rule){.control = carry_header(j, "Cache-Control", 0),
				 .etag = carry_header(j, "ETag", 0),
				 .modified = carry_header(j, "Last-Modified", 0),
				 .vary = carry_header(j, "Vary", 0),
				 .type = carry_header(j, "Content-Type", 0)};
}

static void good(struct job *j, long status)
{
	struct str type = carry_header(j, "Content-Type", 0), encoding = str_trim(carry_header(j, "Content-Encoding", 0));
	struct cache_rule rule;
	if (encoding.n && !str_ieq(encoding, STR("identity"))) {
		walk_fail(j, 0, 11206, "%s sent a body encoded as %.*s, which was not asked for", j->name, (int)MIN(encoding.n, 20u), encoding.p);
		return;
	}
	if (str_zcpy(type, j->r.type, sizeof(j->r.type)))
		j->r.type[0] = 0;
	read_rule(j, &rule);
	if (j->f.cached && status == 200 && !j->post && !j->authorized && j->fd >= 0)
		cache_put(&j->c->cache, j->trusted, j->url_text, &rule, j->fd, j->body_n, clock_boot_ms());
	job_tell(j);
}

static void on_answer(struct job *j)
{
	struct cache_rule rule;
	long status = 0;
	curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
	j->r.status = (uint16_t)status;
	if (status == 401 && authorize(j))
		return;
	if (status >= 200 && status < 300) {
		good(j, status);
	} else if (status == 304 && j->cached) {
		read_rule(j, &rule);
		cache_renew(j->cached, &rule, clock_boot_ms());
		from_cache(j);
	} else if (status >= 300 && status < 400 && status != 304) {
		redirect(j, status);
	} else {
		unsigned retry = status >= 400 && status < 500 ? FETCH_RETRY_4XX : status >= 500 ? FETCH_RETRY_5XX : 0;
		walk_fail(j, retry, 11200, "%s answered %ld", j->name, status);
	}
}

void walk_done(struct job *j, CURLcode code)
{
	if (code == CURLE_OK || j->enough)
		on_answer(j);
	else if (j->strange)
		walk_fail(j, 0, 11100, "refused: %s would have been connected at another address than the one that was looked at", j->name);
	else if (j->too_large)
		walk_fail(j, 0, 11750, "%s sent more than %u bytes", j->name, j->f.max_body);
	else if (j->no_room)
		walk_fail(j, 0, 11750, "no room for what %s sent", j->name);
	else
		fail_code(j, code);
}

/* ---- the beginning ---- */
void job_start(struct job *j)
{
	char url[FETCH_URL_MAX + 1];
	struct str fragment, plain = str_cut(j->f.url, '#', &fragment);
	const char *bad = "too long, or with a NUL";
	override_parse(fragment, &j->over);
	jar_read(&j->jar, j->f.cached ? STR_NONE : j->f.cookies);
	timer_init(&j->step, on_step, j);
	timer_init(&j->total, on_total, j);
	j->start_ms = clock_boot_ms();
	timer_set(j->c->wheel, &j->total, j->start_ms + j->over.total_ms);
	j->post = j->f.method == FETCH_POST;
	j->url = curl_url();
	if (!j->url) {
		walk_fail(j, 0, 11200, "out of memory");
		return;
	}
	if (str_zcpy(plain, url, sizeof(url)) == 0)
		bad = hop_set(j, url, j->post ? STR_NONE : j->f.form);
	if (bad) {
		walk_fail(j, 0, 11100, "the URL is not good: %s", bad);
		return;
	}
	(void)!str_zcpy(str_z(j->name), j->first_name, sizeof(j->first_name));
	hop_place(j);
}
