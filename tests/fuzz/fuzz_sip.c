/* SPDX-License-Identifier: Apache-2.0
 *
 * The SIP room on whatever bytes: framing, parsing and every accessor (no view may leave the message, both line finders agree), then the same bytes as a stream of messages
 * into the transactions, answered at once by a user who says yes or no by turns, on a clock that jumps. What we print must be parsed by ourselves without complaint.
 */
#include "sip/sip_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct sip *sip;
	struct wheel *wheel;
	int64_t now_ms;
	unsigned turn;
} w;

static volatile char sink; /* each byte of a view is read */

static void inside(struct str whole, struct str v)
{
	ASSERT(v.n == 0 || (v.p >= whole.p && v.p + v.n <= whole.p + whole.n));
	for (size_t i = 0; i < v.n; i++)
		sink ^= v.p[i];
}

static void accessors(struct str in)
{
	struct sip_lines a, b;
	struct sip_name_addr na;
	struct sip_msg m;
	struct sip_dlg d;
	struct flow f = {.kind = FLOW_UDP}, to;
	struct sip_id id;
	struct sip_via v;
	struct str rest, one;
	static const uint8_t key[16];
	int err = sip_parse(in, &m);

	sip_lines_plain(in, &a);
	if (sip_lines_avx2(in, &b))
		ASSERT(a.n == b.n && a.blank == b.blank && memcmp(a.end, b.end, (size_t)a.n * sizeof(a.end[0])) == 0);
	inside(in, m.raw);
	inside(in, m.uri);
	inside(in, m.via);
	inside(in, m.from);
	inside(in, m.to_tag);
	inside(in, m.body);
	for (int i = 0; i < m.n_hdr; i++)
		for (rest = m.hdr[i].value; sip_list(&rest, &one);) {
			inside(in, one);
			if (sip_name_addr_parse(one, &na) == 0) {
				inside(in, na.display);
				inside(in, na.uri);
				inside(in, na.params);
			}
			(void)!sip_via_parse(one, &v);
		}
	(void)!sip_id_parse(key, SIP_ID_TAG, m.to_tag, &id);
	(void)!sip_id_parse(key, SIP_ID_BRANCH, m.branch, &id);
	(void)!sip_id_parse(key, SIP_ID_CALL, m.call_id, &id);
	if (err)
		return;
	if (sip_dlg_from_invite(&d, &m, STR("tag"), &f) == 0)
		sip_dlg_flow(&d, &to);
	if (sip_dlg_from_reply(&d, &m) == 0)
		sip_dlg_flow(&d, &to);
}

static int on_send(void *arg, const struct flow *to, const void *p, size_t n)
{
	struct sip_msg m;
	int err;

	if (n == 2)
		return 0;
	err = sip_parse(str_n(p, n), &m);
	if (!m.is_request && m.status < 300) /* a refusal may have to copy what is malformed */
		ASSERT(err == 0);
	return w.turn % 7 == 0 ? -ENOTCONN : 0;
}

static int on_connect(void *arg, struct flow *to)
{
	to->conn = ++w.turn;
	return w.turn % 5 == 0 ? -ECONNREFUSED : 0;
}

static void on_request(void *arg, const struct authed *who, struct sip_tx *tx, const struct sip_msg *m, const struct flow *from)
{
	struct sip_dlg d;

	if (!tx) {
		sip_tx_acked(sip_invite_of(w.sip, 1), w.now_ms);
		return;
	}
	sip_tx_set_owner(tx, 1);
	if (++w.turn & 1)
		sip_tx_reply(tx, &(struct sip_reply){.status = 180, .to_tag = STR("t"), .contact_user = STR("u")}, w.now_ms);
	if (w.turn & 2)
		sip_tx_reply(tx, &(struct sip_reply){.status = w.turn & 4 ? 200 : 486, .to_tag = STR("t")}, w.now_ms);
	if (m->method == SIP_INVITE && sip_dlg_from_invite(&d, m, STR("t"), from) == 0) {
		struct sip_request r = {.method = w.turn & 8 ? SIP_BYE : SIP_INVITE, .dlg = &d, .cseq = 1, .rnd = w.turn, .owner = 1};
		struct sip_tx *mine = sip_request(w.sip, &r, w.now_ms);

		if (mine && w.turn & 16)
			(void)!sip_cancel(mine, w.now_ms);
		(void)!sip_ack(w.sip, &r, w.now_ms);
	}
}

static void on_cancel(void *arg, struct sip_tx *invite, const struct sip_msg *m)
{
	sip_tx_reply(invite, &(struct sip_reply){.status = 487}, w.now_ms);
}

static void on_reply(void *arg, struct sip_tx *tx, const struct sip_msg *m, enum sip_why why)
{
	if (m && m->status < 200 && sip_tx_method(tx) == SIP_INVITE)
		(void)!sip_cancel(tx, w.now_ms);
}

static void on_tx_end(void *arg, struct sip_tx *tx, enum sip_why why) {}

static void feed(struct str in)
{
	static const uint8_t key[16];
	static const struct sip_user user = {.on_request = on_request, .on_cancel = on_cancel, .on_reply = on_reply, .on_tx_end = on_tx_end};
	static const struct wire wire = {.send = on_send, .connect = on_connect};
	struct gate gate = {0};
	struct flow f = {.kind = FLOW_UDP};

	w.now_ms = 1000;
	w.turn = in.n ? (unsigned char)in.p[in.n - 1] : 0;
	w.wheel = wheel_new(w.now_ms);
	w.sip = sip_new(&(struct sip_opts){.wire = &wire, .wheel = w.wheel, .user = &user, .gate = &gate, .key = key, .product = "fuzz"});
	ASSERT(addr_parse(STR("127.0.0.1:5070"), &f.peer) == 0 && addr_parse(STR("127.0.0.1:5060"), &f.local) == 0);
	while (in.n) {
		size_t need, n;
		ssize_t frame = sip_frame(in, &need);

		ASSERT(frame <= (ssize_t)in.n);
		n = frame > 0 ? (size_t)frame : in.n;
		f.kind = w.turn & 1 ? FLOW_TCP : FLOW_UDP;
		f.conn = f.kind == FLOW_TCP ? 3 : 0;
		sip_input(w.sip, &f, str_n(in.p, n), w.now_ms);
		w.now_ms += (int64_t)(w.turn % 9) * 4000;
		wheel_run(w.wheel, w.now_ms);
		if (w.turn % 11 == 0)
			sip_flow_gone(w.sip, &f, w.now_ms);
		sip_turn(w.sip, w.now_ms);
		in = str_skip(in, n);
		w.turn++;
	}
	sip_free(w.sip);
	wheel_free(w.wheel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = str_n(data, size);

	accessors(in);
	feed(in);
	return 0;
}
