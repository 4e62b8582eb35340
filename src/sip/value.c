/* SPDX-License-Identifier: Apache-2.0
 *
 * value: the insides of header values, as pure functions over views: lists, parameters, name-addr, Via (RFC 3261 sections 7.3, 20 and 25.1).
 * White space and folds are allowed wherever the grammar has LWS (RFC 4475 section 3.1.1.1 uses all of it).
 */
#include "sip/sip_int.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_token(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-.!%*_+`'~", c));
}

bool sip_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_token(s.p[i]))
			return false;
	return s.n > 0;
}

bool sip_quoted_end(struct str in, size_t at, size_t *ret_end)
{
	for (size_t i = at + 1; i < in.n; i++) {
		if (in.p[i] == '\\') {
			i++;
		} else if (in.p[i] == '"') {
			*ret_end = i + 1;
			return true;
		}
	}
	return false;
}

/* Where the first `sep` stands that is neither quoted nor in <>; in.n = nowhere. An open quote or bracket reaches to the end. */
static size_t find_bare(struct str in, char sep)
{
	bool angle = false;

	if (!str_find(in, sep)) /* mostly */
		return in.n;
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == sep && !angle)
			return i;
		if (c == '"' && !angle) {
			size_t end;

			if (!sip_quoted_end(in, i, &end))
				return in.n;
			i = end - 1;
		} else if (c == '<') {
			angle = true;
		} else if (c == '>') {
			angle = false;
		}
	}
	return in.n;
}

bool sip_list(struct str *rest, struct str *ret_one)
{
	while (rest->n) {
		size_t at = find_bare(*rest, ',');
		struct str one = str_trim(str_n(rest->p, at));

		*rest = str_skip(*rest, at + 1);
		if (one.n) {
			*ret_one = one;
			return true;
		}
	}
	return false;
}

bool sip_param_next(struct str *rest, struct str *ret_one, struct str *ret_name, struct str *ret_value)
{
	while (rest->n) {
		size_t at = find_bare(*rest, ';');
		struct str one = str_trim(str_n(rest->p, at)), value = STR_NONE;

		*rest = str_skip(*rest, at + 1);
		if (!one.n)
			continue;
		*ret_one = one;
		*ret_name = str_trim(str_cut(one, '=', &value));
		*ret_value = str_trim(value);
		return true;
	}
	return false;
}

bool sip_params_sound(struct str params)
{
	params = str_trim(params);
	while (params.n) {
		size_t at = find_bare(params, ';');

		if (!str_trim(str_n(params.p, at)).n)
			return false;
		params = str_skip(params, at + 1);
	}
	return true;
}

bool sip_param(struct str params, struct str name, struct str *ret_value)
{
	struct str one, n, v;

	while (sip_param_next(&params, &one, &n, &v)) {
		if (!str_ieq(n, name))
			continue;
		if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"')
			v = str_n(v.p + 1, v.n - 2);
		*ret_value = v;
		return true;
	}
	return false;
}

/* What stands behind '>': nothing, or parameters. */
static int take_params(struct str rest, struct sip_name_addr *na)
{
	rest = str_trim(rest);
	if (rest.n && rest.p[0] != ';')
		return -EBADMSG;
	na->params = str_skip(rest, 1);
	return 0;
}

static int take_angle(struct str in, size_t open, struct sip_name_addr *ret)
{
	struct str rest = str_skip(in, open + 1);
	const char *close = str_find(rest, '>');

	if (!close)
		return -EBADMSG;
	ret->uri = str_trim(str_n(rest.p, (size_t)(close - rest.p)));
	if (!ret->uri.n)
		return -EBADMSG;
	return take_params(str_skip(rest, (size_t)(close - rest.p) + 1), ret);
}

/* addr-spec without brackets: what follows a semicolon belongs to the header, and neither '?' nor ',' may stand in the URI (RFC 3261 section 20.10). */
static int take_bare(struct str in, struct sip_name_addr *ret)
{
	struct str rest = STR_NONE, uri = str_trim(str_cut(in, ';', &rest));

	for (size_t i = 0; i < uri.n; i++)
		if (is_space(uri.p[i]) || uri.p[i] == '"' || uri.p[i] == ',' || uri.p[i] == '?' || uri.p[i] == '>')
			return -EBADMSG;
	if (!uri.n)
		return -EBADMSG;
	ret->uri = uri;
	ret->params = str_trim(rest);
	return 0;
}

int sip_name_addr_parse(struct str in, struct sip_name_addr *ret)
{
	struct sip_name_addr na = {0};
	size_t at = 0;
	int err;

	in = str_trim(in);
	if (in.n && in.p[0] == '"') {
		if (!sip_quoted_end(in, 0, &at))
			return -EBADMSG;
		na.display = str_n(in.p + 1, at - 2);
		while (at < in.n && is_space(in.p[at]))
			at++;
		if (at == in.n || in.p[at] != '<')
			return -EBADMSG;
		err = take_angle(in, at, &na);
	} else {
		/* A display name of bare words may hold a comma that ought to be quoted (RFC 4475 section 3.1.2.15): it is clear what is meant. */
		while (at < in.n && in.p[at] != '<' && in.p[at] != ';' && in.p[at] != '"')
			at++;
		if (at < in.n && in.p[at] == '<') {
			na.display = str_trim(str_n(in.p, at));
			err = take_angle(in, at, &na);
		} else {
			err = take_bare(in, &na);
		}
	}
	if (!err)
		*ret = na;
	return err;
}

/* "SIP / 2.0 / UDP host:port ; params" with LWS anywhere around the slashes. */
int sip_via_parse(struct str in, struct sip_via *ret)
{
	struct sip_via v = {0};
	struct str head, protocol, version, rest = STR_NONE;
	size_t n = 0;

	head = str_trim(str_cut(str_trim(in), ';', &v.params));
	protocol = str_trim(str_cut(head, '/', &rest));
	version = str_trim(str_cut(rest, '/', &rest));
	rest = str_trim(rest);
	if (!str_ieq(protocol, STR("SIP")) || !version.n || !rest.n)
		return -EBADMSG;
	while (n < rest.n && is_token(rest.p[n]))
		n++;
	v.transport = str_n(rest.p, n);
	v.sent_by = str_trim(str_skip(rest, n));
	if (!n || !v.sent_by.n || v.sent_by.p == rest.p + n)
		return -EBADMSG;
	for (size_t i = 0; i < v.sent_by.n; i++)
		if ((unsigned char)v.sent_by.p[i] < 0x20 && !is_space(v.sent_by.p[i]))
			return -EBADMSG;
	*ret = v;
	return 0;
}

void sip_sent_by(struct str sent_by, struct addr *ret_host, uint16_t *ret_port)
{
	struct str port = STR_NONE, host;
	uint64_t v;

	*ret_host = (struct addr){0};
	*ret_port = 0;
	if (sent_by.n && sent_by.p[0] == '[') {
		host = str_cut(sent_by, ']', &port);
		host = str_skip(host, 1);
		(void)str_cut(port, ':', &port);
	} else {
		host = str_trim(str_cut(sent_by, ':', &port));
	}
	if (addr_parse(host, ret_host))
		*ret_host = (struct addr){0};
	if (str_u64(str_trim(port), 65535, &v) == 0)
		*ret_port = (uint16_t)v;
}

bool sip_cookie(struct str branch)
{
	return branch.n > 7 && str_istarts(branch, STR("z9hG4bK"));
}
