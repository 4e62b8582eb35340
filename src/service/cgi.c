/* SPDX-License-Identifier: Apache-2.0
 *
 * cgi: a request as a CGI run (RFC 3875): environment and standard input, and the header block of what the script prints (section 6). Pure, sig thread. The
 * environment is made here from nothing: no variable of ours is inherited, every value of the peer stands behind the prefix CALL_ (or is REMOTE_ADDR, digits and
 * dots), so that no header of a phone can name HTTP_PROXY, LD_PRELOAD or BASH_ENV. The runner executes; limits of time and memory are its matter.
 */
#include "keeper/keeper.h"
#include "service/service.h"

#define ENV_FIXED 4096 /* room for the variables that are not the peer's */

static void form_print(struct out *o, const struct pair *pairs, int n)
{
	for (int i = 0; i < n; i++) {
		if (i)
			out_c(o, '&');
		out_url(o, pairs[i].name);
		out_c(o, '=');
		out_url(o, pairs[i].value);
	}
}

/* Values lose control bytes: a newline in a caller's name would make two lines of a careless `env` or log, a NUL would end the variable. */
static void env_value(struct out *o, struct str v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] >= 0x20 && v.p[i] != 0x7f)
			out_c(o, v.p[i]);
	out_c(o, 0);
}

static void env(struct out *o, const char *name, struct str v)
{
	out_str(o, str_z(name));
	out_c(o, '=');
	env_value(o, v);
}

static void env_call(struct out *o, const struct pair *p)
{
	OUT_STR(o, "CALL_");
	for (size_t i = 0; i < p->name.n; i++) {
		char c = p->name.p[i];

		if (c >= 'a' && c <= 'z')
			c -= 'a' - 'A';
		out_c(o, (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_');
	}
	out_c(o, '=');
	env_value(o, p->value);
}

static struct str pair_of(const struct pair *pairs, int n, struct str name)
{
	for (int i = 0; i < n; i++)
		if (str_eq(pairs[i].name, name))
			return pairs[i].value;
	return STR("");
}

static void env_print(struct out *o, const struct pair *pairs, int n, const struct number *num, struct str query, struct str body, bool get)
{
	struct str host = pair_of(pairs, n, STR("SipDomain"));
	char buf[64];
	struct out name = OUT(buf), length = {0};
	char digits[24];

	out_c(&name, '/');
	out_str(&name, str_z(num->name));
	env(o, "GATEWAY_INTERFACE", STR("CGI/1.1"));
	env(o, "SERVER_SOFTWARE", STR("Hookswitch/" HOOKSWITCH_VERSION));
	env(o, "SERVER_PROTOCOL", STR("HTTP/1.1"));
	env(o, "SERVER_NAME", host.n && host.n < 256 ? host : STR("localhost"));
	env(o, "SERVER_PORT", STR("5060"));
	env(o, "REMOTE_ADDR", pair_of(pairs, n, STR("SipSourceIp")));
	env(o, "REQUEST_METHOD", get ? STR("GET") : STR("POST"));
	env(o, "SCRIPT_NAME", out_view(&name));
	env(o, "PATH_INFO", STR(""));
	env(o, "QUERY_STRING", query);
	if (!get) {
		length = OUT(digits);
		out_u64(&length, body.n);
		env(o, "CONTENT_TYPE", STR("application/x-www-form-urlencoded"));
		env(o, "CONTENT_LENGTH", out_view(&length));
	}
	env(o, "PATH", STR("/usr/local/bin:/usr/bin:/bin"));
	env(o, "LANG", STR("C.UTF-8"));
	for (int i = 0; i < n; i++)
		env_call(o, &pairs[i]);
}

static struct out arena_out(struct arena *a, size_t cap)
{
	return (struct out){.p = arena_alloc(a, cap), .cap = cap};
}

struct str request_form(const struct pair *pairs, int n, struct arena *a)
{
	size_t cap = 1;

	for (int i = 0; i < n; i++)
		cap += 3 * (pairs[i].name.n + pairs[i].value.n) + 2;
	struct out o = arena_out(a, cap);

	if (!o.p)
		return STR_NONE;
	form_print(&o, pairs, n);
	return out_view(&o);
}

int request_cgi(const struct pair *pairs, int n, const struct number *num, struct str query, const char *method, struct arena *a, struct run_request *ret)
{
	bool get = method && strcmp(method, "GET") == 0;
	size_t plain = 0, max = limit_of(LIMIT_CGI_FORM);

	for (int i = 0; i < n; i++)
		plain += pairs[i].name.n + pairs[i].value.n + 16;
	if (plain > max || query.n > max)
		return -E2BIG;
	struct out form = arena_out(a, max + 1), full = arena_out(a, max + query.n + 2), e = arena_out(a, ENV_FIXED + plain + max + 2 * query.n + 2);

	if (!form.p || !full.p || !e.p)
		return -ENOMEM;
	form_print(&form, pairs, n);
	if (form.over || form.n > max)
		return -E2BIG;
	out_str(&full, query);
	if (get && query.n)
		out_c(&full, '&');
	if (get)
		out_str(&full, out_view(&form));
	env_print(&e, pairs, n, num, out_view(&full), get ? STR("") : out_view(&form), get);
	if (e.over)
		return -E2BIG;
	/* nothing fails below */
	ret->kind = RUN_CGI;
	ret->args[0] = arena_str(a, str_z(num->file));
	ret->n_args = 1;
	ret->env = out_view(&e);
	ret->in = get ? STR_NONE : out_view(&form);
	ret->fd = -1;
	return ret->args[0].p ? 0 : -ENOMEM;
}

/* ---- the answer ---- */

static struct str line_cut(struct str s, struct str *rest)
{
	struct str line = str_cut(s, '\n', rest);

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static bool is_token(struct str s)
{
	if (!s.n)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", s.p[i]))
			return false;
	return true;
}

static struct str charset_of(struct str params)
{
	while (params.n) {
		struct str value, one = str_trim(str_cut(params, ';', &params)), name = str_trim(str_cut(one, '=', &value));

		value = str_trim(value);
		if (!str_ieq(name, STR("charset")) || !value.n)
			continue;
		if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
			value = str_n(value.p + 1, value.n - 2);
		return value;
	}
	return STR_NONE;
}

static uint32_t field(struct reply *r, struct str name, struct str value, const char **why)
{
	uint64_t status;

	if (str_ieq(name, STR("content-type"))) {
		struct str params;

		r->full_type = value;
		r->type = str_trim(str_cut(value, ';', &params));
		r->charset = charset_of(params);
	} else if (str_ieq(name, STR("location"))) {
		r->location = value;
	} else if (str_ieq(name, STR("status"))) {
		struct str rest;

		if (str_u64(str_cut(value, ' ', &rest), 599, &status) < 0 || status < 100) {
			*why = "its Status: is no number from 100 to 599";
			return 11200;
		}
		r->status = (int)status;
	}
	return 0;
}

/* Where the block ends is found before anything is read, so that a document without header block is told as such. */
uint32_t reply_cgi(struct str out, struct reply *ret, const char **ret_why)
{
	struct reply r = {.status = 200};
	struct str rest = out;
	size_t used = 0, max = limit_of(LIMIT_CGI_HEADER);
	bool any = false;

	*ret_why = "";
	if (!out.n) {
		*ret_why = "it printed nothing; print Content-Type: text/xml, an empty line, then the document";
		return 11200;
	}
	for (;;) {
		struct str line = line_cut(rest, &rest), value, name;

		used = rest.p ? (size_t)(rest.p - out.p) : out.n;
		if (used > max) {
			*ret_why = "its header block is too long";
			return 11200;
		}
		if (!line.n && rest.p)
			break;
		name = str_cut(line, ':', &value);
		if (!value.p || !is_token(name)) {
			*ret_why = any ? "a line of its header block is no header (is the empty line after the headers missing?)"
				       : "it printed no header block; print Content-Type: text/xml and an empty line first";
			return 11200;
		}
		if (!rest.p) {
			*ret_why = "the empty line after its header block is missing";
			return 11200;
		}
		any = true;
		uint32_t fault = field(&r, name, str_trim(value), ret_why);

		if (fault)
			return fault;
	}
	if (!any) {
		*ret_why = "its header block is empty; print Content-Type: text/xml and an empty line first";
		return 11200;
	}
	r.body = rest;
	*ret = r;
	return 0;
}
