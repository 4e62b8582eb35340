/* SPDX-License-Identifier: Apache-2.0
 *
 * api: the HTTP routes, one table, and who may ask: first the path is known, then the method, and before either is told the token is compared, so that a stranger
 * learns nothing but 401 (and /healthz). Runs on the web thread. RFC 9110 (405 with Allow, 401 with WWW-Authenticate), 7617 (Basic), 6750 (Bearer).
 */
#include "api/inside.h"

static void get_trace(struct api *a, const struct api_ask *q, struct web_answer *ret)
{
	uint8_t sid[16] = {0};
	size_t n = 0;
	char *body;
	static const uint8_t none[16];
	bool last = str_eq(q->arg, STR("last"));
	if (!last && !sid_parse(q->arg, "CA", sid) && memcmp(sid, none, sizeof(sid)) == 0) {
		api_error(ret, q->json, 404, 20404, "No call has that CallSid."); /* all zeros means the last one below */
		return;
	}
	if (!last && sid_parse(q->arg, "CA", sid)) {
		api_error(ret, q->json, 404, 20404, "That is no CallSid; it is CA and 32 hexadecimal digits, or `last`.");
		return;
	}
	if (q->json)
		body = api_trace_json(a->trace, sid, &n);
	else if (api_query_is(q->req->query, STR("bodies"), STR("1")))
		body = api_ladder_bodies(a->trace, sid, &n);
	else
		body = api_ladder(a->trace, sid, &n);
	if (body)
		api_body(ret, q->json ? "application/json" : "text/plain; charset=utf-8", body, n);
	else
		api_error(ret, q->json, 404, 20404, "No trace of this call. The ring keeps the newest calls only.");
}

static void get_trace_json(struct api *a, const struct api_ask *q, struct web_answer *ret)
{
	struct api_ask as_json = *q;
	as_json.json = true;
	get_trace(a, &as_json, ret);
}

static void get_routes(struct api *a, const struct api_ask *q, struct web_answer *ret)
{
	struct text_buf b = {0};
	for (size_t i = 0; i < api_n_routes; i++)
		text_f(&b, "%-5s %-30s %s\n", api_routes[i].method, api_routes[i].path, api_routes[i].doc);
	api_body(ret, "text/plain; charset=utf-8", b.p, b.n);
}

/* For those who balance and restart: 503 says that this node takes no new calls. It tells nothing else, so that it may be asked without a token. */
static void get_health(struct api *a, const struct api_ask *q, struct web_answer *ret)
{
	struct api_facts f;
	struct text_buf b = {0};
	api_facts(a, &f);
	const char *why = f.draining ? "draining" : f.store_full ? "the store is full" : NULL;
	text_f(&b, "%s\n", why ? why : f.store_failing ? "ok, but the store cannot write" : "ok");
	api_body(ret, "text/plain; charset=utf-8", b.p, b.n);
	if (b.p && why)
		ret->status = 503;
}

const struct api_route api_routes[] = {
    {"GET", "/calls/{CallSid}/trace",
     "what happened in a call, as a ladder (`last`: the last call; ?bodies=1: with all messages; ?format=json or Accept: JSON)", get_trace},
    {"GET", "/calls/{CallSid}/trace.json", "the same as JSON, enough to replay it", get_trace_json},
    {"GET", "/healthz", "200 while new calls are taken, 503 and why otherwise; needs no token", get_health, .open = true},
    {"GET", "/metrics", "what there is to count, for Prometheus", get_metrics},
    {"GET", "/routes", "this list", get_routes},
};
const size_t api_n_routes = N_ELEMENTS(api_routes);

struct api *api_new(const struct api_opts *o)
{
	struct api *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	memcpy(a->account, o->account, sizeof(a->account));
	memcpy(a->token, o->token, sizeof(a->token));
	a->account[sizeof(a->account) - 1] = a->token[sizeof(a->token) - 1] = '\0';
	a->version = o->version ? o->version : "";
	a->facts = o->facts;
	a->facts_arg = o->facts_arg;
	a->trace = trace_open(o->trace_mem, o->trace_size, false);
	if (!a->trace) {
		free(a);
		return NULL;
	}
	return a;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	trace_close(a->trace);
	explicit_bzero(a->token, sizeof(a->token));
	free(a);
}

void api_facts(const struct api *a, struct api_facts *ret)
{
	*ret = (struct api_facts){0};
	if (a->facts)
		a->facts(a->facts_arg, ret);
}

void api_body(struct web_answer *ret, const char *type, char *body, size_t n)
{
	*ret = (struct web_answer){.status = body ? 200 : 500, .type = type, .body = body, .n = body ? n : 0};
}

void api_error(struct web_answer *ret, bool json, int status, uint32_t code, const char *message)
{
	struct text_buf b = {0};
	if (json)
		text_f(&b, "{\"code\":%u,\"message\":\"%s\",\"status\":%d}\n", code, message, status);
	else
		text_f(&b, "%d: %s\n", status, message);
	api_body(ret, json ? "application/json" : "text/plain; charset=utf-8", b.p, b.n);
	ret->status = status;
}

bool api_query_is(struct str query, struct str name, struct str value)
{
	while (query.p) {
		struct str v, n = str_cut(str_cut(query, '&', &query), '=', &v);
		if (str_eq(n, name))
			return str_eq(v, value);
	}
	return false;
}

/* Time does not depend on where the two differ; only on the length of what was sent. */
static bool same_secret(struct str given, const char *secret)
{
	size_t n = strlen(secret);
	unsigned char diff = given.n != n;
	for (size_t i = 0; i < given.n; i++)
		diff |= (unsigned char)(given.p[i] ^ secret[n ? i % n : 0]);
	return diff == 0 && n > 0;
}

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

static int base64_read(struct str s, char *ret, size_t cap, size_t *ret_n)
{
	uint32_t bits = 0;
	int n_bits = 0;
	struct out o = {.p = ret, .cap = cap};
	while (s.n && s.p[s.n - 1] == '=')
		s.n--;
	for (size_t i = 0; i < s.n; i++) {
		int v = base64_value(s.p[i]);
		if (v < 0)
			return -EBADMSG;
		bits = bits << 6 | (uint32_t)v;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			out_c(&o, (char)(bits >> n_bits));
		}
	}
	*ret_n = o.n;
	return o.over ? -ENOSPC : 0;
}

static bool may(const struct api *a, struct str authorization)
{
	struct str rest, password, user, scheme = str_cut(str_trim(authorization), ' ', &rest);
	char plain[160];
	size_t n;
	rest = str_trim(rest);
	if (str_ieq(scheme, STR("Bearer")))
		return same_secret(rest, a->token);
	if (!str_ieq(scheme, STR("Basic")) || base64_read(rest, plain, sizeof(plain), &n))
		return false;
	user = str_cut(str_n(plain, n), ':', &password);
	bool user_ok = same_secret(user, a->account), password_ok = same_secret(password, a->token);
	return user_ok && password_ok;
}

/* Does path fit the pattern? A segment in braces takes one segment that is not empty. */
static bool fits(struct str pattern, struct str path, struct str *ret_arg)
{
	while (pattern.p && path.p) {
		struct str want = str_cut(pattern, '/', &pattern), have = str_cut(path, '/', &path);
		if (want.n && want.p[0] == '{') {
			if (have.n == 0)
				return false;
			*ret_arg = have;
		} else if (!str_eq(want, have)) {
			return false;
		}
	}
	return !pattern.p && !path.p;
}

static bool wants_json(const struct web_request *r)
{
	struct str rest = r->accept;
	while (rest.p) {
		struct str params, one = str_cut(str_cut(rest, ',', &rest), ';', &params);
		if (str_ieq(str_trim(one), STR("application/json")))
			return true;
	}
	return api_query_is(r->query, STR("format"), STR("json"));
}

void api_handle(void *api, const struct web_request *r, struct web_answer *ret)
{
	struct api *a = api;
	struct api_ask q = {.req = r, .json = wants_json(r)};
	struct str method = str_eq(r->method, STR("HEAD")) ? STR("GET") : r->method;
	bool known = false, allowed = may(a, r->authorization);
	for (size_t i = 0; i < api_n_routes; i++) {
		q.arg = STR_NONE;
		if (!allowed && !api_routes[i].open)
			continue;
		if (!fits(str_z(api_routes[i].path), r->path, &q.arg))
			continue;
		known = true;
		if (str_eq(method, str_z(api_routes[i].method))) {
			api_routes[i].handler(a, &q, ret);
			return;
		}
	}
	if (!allowed && !known) {
		api_error(ret, q.json, 401, 20003, "The account's id and token are needed: Basic AccountSid:AuthToken, or Bearer AuthToken.");
		ret->challenge = "Basic realm=\"hookswitch\", charset=\"UTF-8\"";
	} else if (known) {
		api_error(ret, q.json, 405, 20004, "This can only be read.");
		ret->allow = "GET, HEAD"; /* all that the table has */
	} else {
		api_error(ret, q.json, 404, 20404, "Nothing stands here; GET /routes lists what does.");
	}
}
