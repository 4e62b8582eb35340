/* SPDX-License-Identifier: Apache-2.0
 *
 * sign: the two signatures of a request; pure, any thread.
 *
 * The field's own: base64(HMAC-SHA1(token, S)), S = the URL as it is requested (no credentials, no fragment: neither is on the wire), and for a form each parameter sorted by
 * name, name then value; of a repeated name the values are made unique and sorted. And Standard Webhooks: HMAC-SHA256 over "id.timestamp.body", with a time stamp against replay;
 * the key is the token's bytes as they are, so a receiver's library is given "whsec_" and the base64 of the token.
 */
#include "web/web.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define PAIRS_MAX 4096

struct pair {
	struct str name, value;
};

static int hex_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Decoded into to, which has room for s.n bytes; a % that starts nothing stands for itself. */
static struct str decode(struct str s, char *to)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		int hi = s.p[i] == '%' && s.n - i > 2 ? hex_of(s.p[i + 1]) : -1;
		int lo = hi >= 0 ? hex_of(s.p[i + 2]) : -1;
		if (lo >= 0) {
			to[n++] = (char)(hi << 4 | lo);
			i += 2;
		} else {
			to[n++] = s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	return str_n(to, n);
}

static int str_order(struct str a, struct str b)
{
	int d = MIN(a.n, b.n) ? memcmp(a.p, b.p, MIN(a.n, b.n)) : 0;
	return d ? d : (a.n > b.n) - (a.n < b.n);
}

static int pair_order(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int d = str_order(x->name, y->name);
	return d ? d : str_order(x->value, y->value);
}

static size_t pairs_of(struct str form, struct pair *pairs, char *to)
{
	size_t n = 0;
	for (struct str rest = form; rest.p && n < PAIRS_MAX;) {
		struct str value, one = str_cut(rest, '&', &rest);
		if (one.n == 0)
			continue;
		struct str name = str_cut(one, '=', &value);
		pairs[n].name = decode(name, to);
		pairs[n].value = decode(value, to + name.n);
		to += name.n + value.n;
		n++;
	}
	return n;
}

static int print_base64(const unsigned char *mac, unsigned n, struct out *o)
{
	char text[4 * ((EVP_MAX_MD_SIZE + 2) / 3) + 1];
	EVP_EncodeBlock((unsigned char *)text, mac, (int)n);
	out_str(o, str_z(text));
	out_c(o, 0);
	return o->over ? -ENOSPC : 0;
}

int sign_twilio(struct str token, struct str url, struct str form, char *ret_base64, size_t cap)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n_mac = 0;
	struct pair *pairs = calloc(PAIRS_MAX, sizeof(*pairs));
	struct out text = {.p = malloc(url.n + 2 * form.n + 1), .cap = url.n + 2 * form.n + 1}, o = {.p = ret_base64, .cap = cap};
	int err = pairs && text.p ? 0 : -ENOMEM;
	if (!err) {
		/* The decoded pairs stand in the second half, the text to be signed in the first. */
		size_t n = pairs_of(form, pairs, text.p + url.n + form.n);
		qsort(pairs, n, sizeof(*pairs), pair_order);
		out_str(&text, url);
		for (size_t i = 0; i < n; i++) {
			if (i && pair_order(&pairs[i - 1], &pairs[i]) == 0)
				continue;
			out_str(&text, pairs[i].name);
			out_str(&text, pairs[i].value);
		}
		if (!HMAC(EVP_sha1(), token.p, (int)token.n, (const unsigned char *)text.p, text.n, mac, &n_mac))
			err = -EIO;
	}
	free(pairs);
	free(text.p);
	return err ? err : print_base64(mac, n_mac, &o);
}

int sign_webhook(struct str token, struct str id, int64_t utc_s, struct str body, char *ret, size_t cap)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n_mac = 0;
	size_t room = id.n + body.n + 32;
	struct out text = {.p = malloc(room), .cap = room}, o = {.p = ret, .cap = cap};
	if (!text.p)
		return -ENOMEM;
	out_str(&text, id);
	out_f(&text, ".%lld.", (long long)utc_s);
	out_str(&text, body);
	const unsigned char *done = HMAC(EVP_sha256(), token.p, (int)token.n, (const unsigned char *)text.p, text.n, mac, &n_mac);
	free(text.p);
	if (!done)
		return -EIO;
	OUT_STR(&o, "v1,");
	return print_base64(mac, n_mac, &o);
}
