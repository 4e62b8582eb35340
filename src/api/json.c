/* SPDX-License-Identifier: Apache-2.0
 *
 * json: the records of a call as a JSON array, each payload whole, so that the call can be replayed from it. Bytes that are no UTF-8 go as base64 under another name: nothing is
 * changed on the way.
 */
#include "api/inside.h"

#include <jansson.h>

static char *base64(struct str s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *p = malloc((s.n + 2) / 3 * 4 + 1), *at = p;
	if (!p)
		return NULL;
	for (size_t i = 0; i < s.n; i += 3) {
		uint32_t v = 0;
		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (i + k < s.n ? (uint8_t)s.p[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			*at++ = i + k > s.n ? '=' : digits[v >> (18 - 6 * k) & 63];
	}
	*at = '\0';
	return p;
}

static int add_payload(json_t *o, struct str s)
{
	json_t *v = json_stringn(s.n ? s.p : "", s.n); /* NULL if it is no UTF-8 */
	if (v)
		return json_object_set_new(o, "payload", v);
	char *b = base64(s);
	int err = b ? json_object_set_new(o, "payload_base64", json_string(b)) : -1;
	free(b);
	return err;
}

static json_t *record_json(const struct record *r)
{
	char utc[40], sid[35];
	struct out o = OUT(utc);
	out_utc(&o, r->head.utc_us);
	sid_print("CA", r->head.sid, sid);
	json_t *j = json_pack("{s:I, s:s, s:s, s:I, s:s}", "number", (json_int_t)r->head.number, "utc", out_z(&o), "kind", record_kind(r), "code",
			      (json_int_t)r->head.code, "sid", sid);
	if (j && add_payload(j, r->payload)) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static int add_bytes(const char *p, size_t n, void *arg)
{
	struct text_buf *b = arg;
	text_add(b, str_n(p, n));
	return b->failed ? -1 : 0;
}

char *api_trace_json(const struct trace *t, const uint8_t sid[16], size_t *ret_n)
{
	struct records rs;
	struct text_buf b = {0};
	json_t *all = NULL;
	if (records_get(t, sid, &rs) == 0)
		all = json_array();
	for (size_t i = 0; all && i < rs.n; i++) {
		if (json_array_append_new(all, record_json(&rs.all[i]))) {
			json_decref(all);
			all = NULL;
		}
	}
	if (all && json_dump_callback(all, add_bytes, &b, JSON_INDENT(1)) == 0)
		text_add(&b, STR("\n"));
	json_decref(all);
	records_done(&rs);
	*ret_n = b.n;
	return b.p;
}
