/* SPDX-License-Identifier: Apache-2.0
 *
 * A world for the tests of sip/: a wire that remembers, a wheel on virtual time, one above that writes down what it is told. What happens is one line of words:
 *   <INVITE   a request reached the one above       <ACK     an ACK without a transaction     <cancel   on_cancel
 *   >180      an answer of ours left                >BYE     a request of ours left           ^200      an answer reached the one above
 *   ^timeout  ^transport                            .acked   .lost   on_tx_end
 * With `stamps` each word that leaves bears its time: >INVITE@500.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sip/sip_int.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* no test needs all of it */

#define T0 1000000
static const uint8_t test_key[16] = "0123456789abcde";

struct world {
	struct sip *sip;
	struct wheel *wheel;
	struct wire wire;
	struct gate gate;
	struct sip_user user;
	struct flow udp, tcp;    /* of the peer */
	const struct flow *flow; /* in use */
	int64_t now_ms;
	bool stamps;
	char words[4096];
	struct out said;
	struct sip_tx *tx;       /* last one given to the one above */
	struct sip_msg got;      /* last message given to the one above; its bytes stand in got_text */
	char got_text[8192];
	char sent[8192];         /* last bytes that left */
	size_t n_sent;
	struct flow sent_to;
	char last_of[SIP_N_METHODS][8192]; /* last request of ours by method */
	size_t n_last_of[SIP_N_METHODS];
	int reply_at_once;       /* status sent from within on_request; 0 = none */
	int reply_on_cancel;
	int send_err, connect_err, next_conn;
	struct trace *trace;
	void *ring;
	uint8_t sid[16];
};

static void word(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void word(struct world *w, const char *fmt, ...)
{
	char text[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (w->said.n)
		out_c(&w->said, ' ');
	out_str(&w->said, str_z(text));
	assert_false(w->said.over);
}

/* What happened since the last time. */
static void expect(struct world *w, const char *want)
{
	if (!str_eq(out_view(&w->said), str_z(want)))
		fail_msg("happened '%.*s'\n        wanted   '%s'", STR_ARG(out_view(&w->said)), want);
	w->said.n = 0;
}

static int wire_send(void *arg, const struct flow *to, const void *p, size_t n)
{
	struct world *w = arg;
	struct sip_msg m;

	if (w->send_err)
		return w->send_err;
	assert_true(n <= sizeof(w->sent));
	memcpy(w->sent, p, n);
	w->n_sent = n;
	w->sent_to = *to;
	if (n == 2) {
		word(w, ">pong");
		return 0;
	}
	if (sip_parse(str_n(w->sent, n), &m)) {
		word(w, ">%d(partial)", m.status);
		return 0;
	}
	if (m.is_request) {
		memcpy(w->last_of[m.method], p, n);
		w->n_last_of[m.method] = n;
		word(w, w->stamps ? ">%s@%ld" : ">%s", sip_method_names[m.method], (long)(w->now_ms - T0));
	} else {
		word(w, w->stamps ? ">%d@%ld" : ">%d", m.status, (long)(w->now_ms - T0));
	}
	return 0;
}

static int wire_connect(void *arg, struct flow *to)
{
	struct world *w = arg;

	word(w, ">connect:%u", to->peer.port);
	if (w->connect_err)
		return w->connect_err;
	to->conn = (uint32_t)++w->next_conn;
	return 0;
}

static void keep(struct world *w, const struct sip_msg *m)
{
	assert_true(m->raw.n <= sizeof(w->got_text));
	memcpy(w->got_text, m->raw.p, m->raw.n);
	assert_int_equal(sip_parse(str_n(w->got_text, m->raw.n), &w->got), 0);
}

static void user_request(void *arg, const struct authed *who, struct sip_tx *tx, const struct sip_msg *m, const struct flow *from)
{
	struct world *w = arg;

	assert_non_null(who);
	assert_true(!tx == (m->method == SIP_ACK));
	word(w, "<%s", sip_method_names[m->method]);
	keep(w, m);
	if (tx) {
		w->tx = tx;
		assert_memory_equal(sip_tx_flow(tx), from, sizeof(*from));
		assert_int_equal(sip_tx_cseq(tx), m->cseq);
	}
	if (tx && w->reply_at_once) {
		sip_tx_set_owner(tx, 0x100000001);
		assert_int_equal(sip_tx_reply(tx, &(struct sip_reply){.status = w->reply_at_once, .to_tag = STR("our")}, w->now_ms), 0);
	}
}

static void user_cancel(void *arg, struct sip_tx *invite, const struct sip_msg *m)
{
	struct world *w = arg;

	word(w, "<cancel");
	assert_ptr_equal(invite, w->tx);
	assert_int_equal(m->method, SIP_CANCEL);
	if (w->reply_on_cancel)
		assert_int_equal(sip_tx_reply(invite, &(struct sip_reply){.status = w->reply_on_cancel, .to_tag = STR("our")}, w->now_ms), 0);
}

static void user_reply(void *arg, struct sip_tx *tx, const struct sip_msg *m, enum sip_why why)
{
	struct world *w = arg;

	assert_ptr_equal(tx, w->tx);
	if (!m) {
		word(w, why == SIP_WHY_TIMEOUT ? "^timeout" : "^transport");
		return;
	}
	word(w, "^%d", m->status);
	keep(w, m);
}

static void user_end(void *arg, struct sip_tx *tx, enum sip_why why)
{
	struct world *w = arg;

	word(w, why == SIP_WHY_DONE ? ".acked" : ".lost");
	assert_ptr_equal(tx, w->tx);
}

static const uint8_t *user_sid(void *arg, handle owner)
{
	struct world *w = arg;

	return owner == 0x100000001 ? w->sid : NULL;
}

static void user_advertise(void *arg, const struct flow *f, struct addr *ret)
{
	*ret = f->local;
}

static struct addr v4(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(str_z(text), &a), 0);
	return a;
}

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct params *p = calloc(1, sizeof(*p));
	struct sip_opts o;

	w->said = OUT(w->words);
	w->now_ms = T0;
	w->wheel = wheel_new(T0);
	w->wire = (struct wire){.send = wire_send, .connect = wire_connect, .arg = w};
	w->next_conn = 90;
	w->udp = (struct flow){.kind = FLOW_UDP, .local = v4("127.0.0.1:5060"), .peer = v4("127.0.0.1:5070")};
	w->tcp = (struct flow){.kind = FLOW_TCP, .conn = 7, .local = v4("127.0.0.1:5060"), .peer = v4("127.0.0.1:40000")};
	w->flow = &w->udp;
	memset(w->sid, 0xc5, sizeof(w->sid));
	snprintf(p->allow[0], sizeof(p->allow[0]), "192.0.2.0/24");
	p->n_allow = 1;
	assert_int_equal(gate_init(&w->gate, p, w->sid), 0);
	free(p);
	w->ring = aligned_alloc(4096, 1 << 20);
	memset(w->ring, 0, 1 << 20);
	w->trace = trace_open(w->ring, 1 << 20, true);
	assert_non_null(w->trace);
	w->user = (struct sip_user){.on_request = user_request, .on_cancel = user_cancel, .on_reply = user_reply, .on_tx_end = user_end, .arg = w};
	o = (struct sip_opts){.wire = &w->wire, .wheel = w->wheel, .user = &w->user, .gate = &w->gate, .trace = w->trace, .key = test_key, .node = 3,
	    .product = "Hookswitch test", .advertise = user_advertise, .arg = w, .sid_of = user_sid};
	w->sip = sip_new(&o);
	assert_non_null(w->sip);
	return w;
}

static void world_free(struct world *w)
{
	sip_free(w->sip);
	wheel_free(w->wheel);
	trace_close(w->trace);
	free(w->ring);
	free(w);
}

/* Virtual time goes on, one deadline after the other. */
static void run(struct world *w, int64_t ms)
{
	int64_t until = w->now_ms + ms, next;

	while ((next = wheel_next_ms(w->wheel)) <= until) {
		w->now_ms = MAX(w->now_ms, next);
		wheel_run(w->wheel, w->now_ms);
		sip_turn(w->sip, w->now_ms);
	}
	w->now_ms = until;
	wheel_run(w->wheel, w->now_ms);
	sip_turn(w->sip, w->now_ms);
}

static void input(struct world *w, struct str bytes)
{
	char *exact = malloc(bytes.n ? bytes.n : 1);

	memcpy(exact, bytes.p, bytes.n);
	sip_input(w->sip, w->flow, str_n(exact, bytes.n), w->now_ms);
	free(exact);
	sip_turn(w->sip, w->now_ms);
}

struct ask {
	const char *method, *branch, *to_tag, *via_rest, *more, *body;
	uint32_t cseq;
};
#define ASK(...) (&(struct ask){__VA_ARGS__})

static size_t ask_print(const struct world *w, const struct ask *a, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};

	out_f(&o, "%s sip:100@127.0.0.1 SIP/2.0\r\n", a->method);
	out_f(&o, "Via: SIP/2.0/%s 127.0.0.1:5070;branch=%s%s\r\n", w->flow->kind == FLOW_TCP ? "TCP" : "UDP", a->branch ? a->branch : "z9hG4bKone",
	    a->via_rest ? a->via_rest : ";rport");
	out_f(&o, "From: <sip:phone@127.0.0.1>;tag=ph\r\nTo: <sip:100@127.0.0.1>%s%s\r\n", a->to_tag ? ";tag=" : "", a->to_tag ? a->to_tag : "");
	out_f(&o, "Call-ID: call@phone\r\nCSeq: %u %s\r\nMax-Forwards: 70\r\nContact: <sip:phone@127.0.0.1:5070>\r\nUser-Agent: a telephone of some length\r\n",
	    a->cseq ? a->cseq : 1, a->method);
	out_f(&o, "%sContent-Length: %zu\r\n\r\n%s", a->more ? a->more : "", a->body ? strlen(a->body) : 0, a->body ? a->body : "");
	assert_false(o.over);
	return o.n;
}

static void ask(struct world *w, const struct ask *a)
{
	char buf[8192];

	input(w, str_n(buf, ask_print(w, a, buf, sizeof(buf))));
}

static int reply(struct world *w, int status)
{
	return sip_tx_reply(w->tx, &(struct sip_reply){.status = status, .to_tag = status == 100 ? STR_NONE : STR("our"), .contact_user = STR("100")}, w->now_ms);
}

/* The peer answers the last request of ours of this method. */
static void answer(struct world *w, enum sip_method method, int status, const char *more)
{
	char buf[8192];
	struct out o = OUT(buf);
	struct sip_msg m;

	assert_int_equal(sip_parse(str_n(w->last_of[method], w->n_last_of[method]), &m), 0);
	out_f(&o, "SIP/2.0 %d Whatever\r\nVia: %.*s\r\nFrom: %.*s\r\nTo: %.*s%s\r\n", status, STR_ARG(m.via), STR_ARG(m.from), STR_ARG(m.to),
	    m.to_tag.n || status == 100 ? "" : ";tag=peer");
	out_f(&o, "Call-ID: %.*s\r\nCSeq: %u %s\r\n%sContent-Length: 0\r\n\r\n", STR_ARG(m.call_id), m.cseq, sip_method_names[method], more ? more : "");
	assert_false(o.over);
	input(w, out_view(&o));
}

/* Our end of a dialog towards the peer. */
static struct sip_dlg our_dialog(const struct world *w)
{
	return (struct sip_dlg){.call_id = STR("ours@us"), .local_tag = STR("ourtag"), .local = STR("<sip:us@127.0.0.1>"), .remote = STR("<sip:peer@127.0.0.1>"),
	    .target = STR("sip:peer@127.0.0.1:5070"), .flow = *w->flow};
}

static void request(struct world *w, enum sip_method method)
{
	struct sip_dlg d = our_dialog(w);

	w->tx = sip_request(w->sip, &(struct sip_request){.method = method, .dlg = &d, .cseq = 1, .rnd = 77, .owner = 0x100000001, .contact_user = STR("us")}, w->now_ms);
	assert_non_null(w->tx);
}

static bool sent_has(const struct world *w, const char *text)
{
	return memmem(w->sent, w->n_sent, text, strlen(text)) != NULL;
}

#define assert_sent(w, text)                                                                                                                           \
	do {                                                                                                                                           \
		if (!sent_has((w), (text)))                                                                                                            \
			fail_msg("'%s' is not in\n%.*s", (text), (int)(w)->n_sent, (w)->sent);                                                         \
	} while (0)
