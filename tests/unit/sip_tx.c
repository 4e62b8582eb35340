/* SPDX-License-Identifier: Apache-2.0
 *
 * The four transactions on virtual time, each flow with its ladder: we stand at the right, the peer at the left.
 */
#include "sip_fake.h"

/* ---- server INVITE ---- */

/*  peer            us
 *   |---INVITE---->|
 *   |<--100, 180---|
 *   |<----200------|
 *   |-----ACK----->|  (branch of its own)
 *   |-----BYE----->|
 *   |<----200------|  */
static void test_call(void **state)
{
	struct world *w = *state;
	struct sip_tx *invite;

	ask(w, ASK(.method = "INVITE"));
	expect(w, "<INVITE");
	invite = w->tx;
	sip_tx_set_owner(invite, 0x100000001);
	assert_ptr_equal(sip_invite_of(w->sip, 0x100000001), invite);
	reply(w, 100);
	assert_false(sent_has(w, "our"));
	reply(w, 180);
	assert_sent(w, "To: <sip:100@127.0.0.1>;tag=our\r\n");
	reply(w, 200);
	expect(w, ">100 >180 >200");
	ask(w, ASK(.method = "ACK", .branch = "z9hG4bKack", .to_tag = "our"));
	expect(w, "<ACK");
	sip_tx_acked(sip_invite_of(w->sip, 0x100000001), w->now_ms);
	expect(w, ".acked");
	assert_null(sip_invite_of(w->sip, 0x100000001));
	ask(w, ASK(.method = "BYE", .branch = "z9hG4bKbye", .to_tag = "our", .cseq = 2));
	reply(w, 200);
	expect(w, "<BYE >200");
	run(w, 10000);
	ask(w, ASK(.method = "INVITE")); /* a copy that was long on its way is no new call */
	expect(w, "");
	run(w, 22001);
	expect(w, "");
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/*   |---INVITE---->|
 *   |<----200------|  again at 0.5, 1.5, 3.5, 7.5 s, then each 4 s (13.3.1.4)
 *   |              |  64*T1: on_tx_end says that no ACK came (timer L)  */
static void test_ack_lost(void **state)
{
	struct world *w = *state;

	ask(w, ASK(.method = "INVITE"));
	w->stamps = true;
	reply(w, 200);
	run(w, 31999);
	expect(w, "<INVITE >200@0 >200@500 >200@1500 >200@3500 >200@7500 >200@11500 >200@15500 >200@19500 >200@23500 >200@27500 >200@31500");
	run(w, 1);
	expect(w, ".lost");
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/* The same on TCP: the 2xx crosses hops that may lose it. */
static void test_2xx_repeated_on_tcp(void **state)
{
	struct world *w = *state;

	w->flow = &w->tcp;
	ask(w, ASK(.method = "INVITE"));
	w->stamps = true;
	reply(w, 200);
	run(w, 2000);
	expect(w, "<INVITE >200@0 >200@500 >200@1500");
	sip_tx_acked(w->tx, w->now_ms);
	run(w, 10000);
	expect(w, ".acked");
}

/*   |---INVITE---->|
 *   |<----486------|  timer G: 0.5, 1.5, 3.5, 7.5 …
 *   |-----ACK----->|  (same branch)
 *   |-----ACK----->|  swallowed for timer I  */
static void test_refused(void **state)
{
	struct world *w = *state;

	ask(w, ASK(.method = "INVITE"));
	w->stamps = true;
	reply(w, 486);
	run(w, 4000);
	expect(w, "<INVITE >486@0 >486@500 >486@1500 >486@3500");
	ask(w, ASK(.method = "ACK", .to_tag = "our"));
	expect(w, ".acked");
	ask(w, ASK(.method = "ACK", .to_tag = "our"));
	ask(w, ASK(.method = "INVITE"));
	run(w, 4999);
	expect(w, "");
	assert_int_equal(sip_tx_count(w->sip), 1);
	run(w, 1);
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/* Timer H: the ACK of a refusal never comes. */
static void test_timer_h(void **state)
{
	struct world *w = *state;

	ask(w, ASK(.method = "INVITE"));
	reply(w, 486);
	run(w, 31999);
	assert_int_equal(sip_tx_count(w->sip), 1);
	w->said.n = 0;
	run(w, 1);
	expect(w, ".lost");
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/* On TCP a refusal is sent once, and timer I is zero. */
static void test_refused_on_tcp(void **state)
{
	struct world *w = *state;

	w->flow = &w->tcp;
	ask(w, ASK(.method = "INVITE"));
	reply(w, 486);
	run(w, 20000);
	expect(w, "<INVITE >486");
	ask(w, ASK(.method = "ACK", .to_tag = "our"));
	run(w, 0);
	expect(w, ".acked");
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/*   |---INVITE---->|
 *   |---INVITE---->|  nothing to repeat yet
 *   |<----180------|
 *   |---INVITE---->|
 *   |<----180------|
 *   |<----200------|
 *   |---INVITE---->|
 *   |<----200------|  */
static void test_invite_repeated(void **state)
{
	struct world *w = *state;
	uint64_t n = count_get(COUNT_SIP_REPEATED);

	ask(w, ASK(.method = "INVITE"));
	ask(w, ASK(.method = "INVITE"));
	expect(w, "<INVITE");
	reply(w, 180);
	ask(w, ASK(.method = "INVITE"));
	expect(w, ">180 >180");
	reply(w, 200);
	ask(w, ASK(.method = "INVITE"));
	expect(w, ">200 >200");
	assert_int_equal(count_get(COUNT_SIP_REPEATED), n + 3);
	assert_int_equal(reply(w, 200), -EPROTO); /* one final answer */
	assert_int_equal(reply(w, 486), -EPROTO);
	expect(w, "");
}

/*   |---INVITE---->|
 *   |<----180------|
 *   |---CANCEL---->|
 *   |<----487------|
 *   |<--200 (CANCEL)
 *   |---CANCEL---->|  again: the same 200, no second on_cancel
 *   |-----ACK----->|  */
static void test_cancel(void **state)
{
	struct world *w = *state;

	w->reply_on_cancel = 487;
	ask(w, ASK(.method = "INVITE"));
	reply(w, 180);
	expect(w, "<INVITE >180");
	ask(w, ASK(.method = "CANCEL"));
	expect(w, "<cancel >487 >200");
	assert_sent(w, "CSeq: 1 CANCEL");
	assert_sent(w, ";tag=our");
	ask(w, ASK(.method = "CANCEL"));
	expect(w, ">200");
	ask(w, ASK(.method = "ACK", .to_tag = "our"));
	expect(w, ".acked");
}

/* CANCEL after the final answer: 200 and nothing else; CANCEL of nothing: 481. */
static void test_cancel_late(void **state)
{
	struct world *w = *state;

	ask(w, ASK(.method = "INVITE"));
	reply(w, 200);
	ask(w, ASK(.method = "CANCEL"));
	expect(w, "<INVITE >200 >200");
	assert_sent(w, "CSeq: 1 CANCEL");
	ask(w, ASK(.method = "CANCEL", .branch = "z9hG4bKother"));
	expect(w, ">481");
	sip_tx_acked(w->tx, w->now_ms);
	expect(w, ".acked");
	ask(w, ASK(.method = "CANCEL"));
	expect(w, ">200");
}

/* A sender of RFC 2543: no cookie in the branch. INVITE, its copy, CANCEL, ACK are told apart by tags, Call-ID, CSeq, Via and Request-URI. */
static void test_rfc2543(void **state)
{
	struct world *w = *state;

	w->reply_on_cancel = 487;
	ask(w, ASK(.method = "INVITE", .branch = "1"));
	reply(w, 180);
	expect(w, "<INVITE >180");
	ask(w, ASK(.method = "INVITE", .branch = "1"));
	expect(w, ">180");
	ask(w, ASK(.method = "CANCEL", .branch = "1"));
	expect(w, "<cancel >487 >200");
	ask(w, ASK(.method = "ACK", .branch = "1", .to_tag = "foreign"));
	expect(w, "<ACK");
	ask(w, ASK(.method = "ACK", .branch = "1", .to_tag = "our"));
	expect(w, ".acked");
	ask(w, ASK(.method = "INVITE", .branch = "1", .cseq = 2));
	expect(w, "<INVITE");
	ask(w, ASK(.method = "OPTIONS", .branch = "z9hG4bK")); /* the bare cookie is no branch either */
	expect(w, "<OPTIONS");
	reply(w, 200);
	ask(w, ASK(.method = "OPTIONS", .branch = "z9hG4bK"));
	expect(w, ">200 >200");
}

/* One branch from two senders: two transactions. */
static void test_sent_by(void **state)
{
	struct world *w = *state;

	ask(w, ASK(.method = "INVITE"));
	input(w, STR("INVITE sip:100@h SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bKone\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\n"
		     "CSeq: 1 INVITE\r\n\r\n"));
	expect(w, "<INVITE <INVITE");
	assert_int_equal(sip_tx_count(w->sip), 2);
}

/* The ACK of a 2xx with the branch of its INVITE (old senders): still the dialog's. */
static void test_ack_same_branch(void **state)
{
	struct world *w = *state;

	ask(w, ASK(.method = "INVITE"));
	reply(w, 200);
	ask(w, ASK(.method = "ACK", .to_tag = "our"));
	expect(w, "<INVITE >200 <ACK");
	sip_tx_acked(w->tx, w->now_ms);
	ask(w, ASK(.method = "ACK", .to_tag = "our"));
	expect(w, ".acked <ACK");
}

/* ---- server, other methods ---- */

/*   |---OPTIONS--->|
 *   |---OPTIONS--->|  swallowed
 *   |<----200------|
 *   |---OPTIONS--->|
 *   |<----200------|  until timer J  */
static void test_options(void **state)
{
	struct world *w = *state;

	ask(w, ASK(.method = "OPTIONS"));
	ask(w, ASK(.method = "OPTIONS"));
	expect(w, "<OPTIONS");
	reply(w, 100);
	ask(w, ASK(.method = "OPTIONS"));
	expect(w, ">100 >100");
	reply(w, 200);
	ask(w, ASK(.method = "OPTIONS"));
	expect(w, ">200 >200");
	assert_int_equal(reply(w, 200), -EPROTO);
	run(w, 31999);
	ask(w, ASK(.method = "OPTIONS"));
	expect(w, ">200");
	run(w, 1);
	assert_int_equal(sip_tx_count(w->sip), 0);
	ask(w, ASK(.method = "OPTIONS"));
	expect(w, "<OPTIONS");
	run(w, 32000); /* nobody answers it: forgotten */
	expect(w, "");
	assert_int_equal(sip_tx_count(w->sip), 0);
	w->flow = &w->tcp;
	ask(w, ASK(.method = "NEWMETHOD"));
	reply(w, 501);
	ask(w, ASK(.method = "OTHERMETHOD")); /* the same branch, another method: another transaction */
	expect(w, "<? >501 <?");
	reply(w, 501);
	run(w, 0);
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/* ---- client INVITE ---- */

/*  peer            us
 *   |<---INVITE----|  timer A: 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s; timer B: 32 s  */
static void test_timer_a_b(void **state)
{
	struct world *w = *state;

	w->stamps = true;
	request(w, SIP_INVITE);
	run(w, 31999);
	expect(w, ">INVITE@0 >INVITE@500 >INVITE@1500 >INVITE@3500 >INVITE@7500 >INVITE@15500 >INVITE@31500");
	run(w, 1);
	expect(w, "^timeout");
	assert_int_equal(sip_tx_count(w->sip), 0);
	w->flow = &w->tcp;
	request(w, SIP_INVITE);
	run(w, 31999);
	expect(w, ">INVITE@32000");
	run(w, 1);
	expect(w, "^timeout");
}

/*   |<---INVITE----|
 *   |-----180----->|
 *   |-----486----->|
 *   |<----ACK------|
 *   |-----486----->|  its ACK was lost: again, until timer D
 *   |<----ACK------|  */
static void test_refusal(void **state)
{
	struct world *w = *state;
	struct sip_msg ack, invite;
	static char copy[8192];

	request(w, SIP_INVITE);
	answer(w, SIP_INVITE, 180, NULL);
	run(w, 3000);
	expect(w, ">INVITE ^180");
	answer(w, SIP_INVITE, 486, NULL);
	expect(w, ">ACK ^486");
	memcpy(copy, w->sent, w->n_sent);
	assert_int_equal(sip_parse(str_n(copy, w->n_sent), &ack), 0);
	assert_int_equal(sip_parse(str_n(w->last_of[SIP_INVITE], w->n_last_of[SIP_INVITE]), &invite), 0);
	assert_true(str_eq(ack.via, invite.via) && str_eq(ack.uri, invite.uri) && str_eq(ack.call_id, invite.call_id) && ack.cseq == invite.cseq);
	assert_true(str_eq(ack.to_tag, STR("peer")));
	answer(w, SIP_INVITE, 486, NULL);
	answer(w, SIP_INVITE, 180, NULL); /* late: refused by the table, told to nobody */
	expect(w, ">ACK");
	run(w, 31999);
	assert_int_equal(sip_tx_count(w->sip), 1);
	run(w, 1);
	assert_int_equal(sip_tx_count(w->sip), 0);
	w->flow = &w->tcp; /* timer D is zero */
	request(w, SIP_INVITE);
	answer(w, SIP_INVITE, 603, NULL);
	run(w, 0);
	expect(w, ">INVITE >ACK ^603");
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/*   |<---INVITE----|
 *   |-----200----->|
 *   |<----ACK------|  of the one above
 *   |-----200----->|  each one is told, until timer M  */
static void test_accepted(void **state)
{
	struct world *w = *state;
	struct sip_dlg d = our_dialog(w);
	struct sip_request r = {.dlg = &d, .cseq = 1, .rnd = 5};
	char first[4096];
	size_t n;

	request(w, SIP_INVITE);
	answer(w, SIP_INVITE, 200, "Contact: <sip:there@127.0.0.1:5071>\r\nRecord-Route: <sip:p2;lr>, <sip:p1;lr>\r\n");
	expect(w, ">INVITE ^200");
	assert_int_equal(sip_dlg_from_reply(&d, &w->got), 0);
	assert_int_equal(sip_ack(w->sip, &r, w->now_ms), 0);
	expect(w, ">ACK");
	assert_sent(w, "ACK sip:there@127.0.0.1:5071 SIP/2.0\r\n");
	assert_sent(w, "Route: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\n");
	assert_sent(w, "To: <sip:peer@127.0.0.1>;tag=peer\r\n");
	n = w->n_sent;
	memcpy(first, w->sent, n);
	answer(w, SIP_INVITE, 200,
	       "Contact: <sip:there@127.0.0.1:5071>\r\nRecord-Route: <sip:p2;lr>, <sip:p1;lr>\r\n"); /* d's views stand in w->got: the same text again */
	expect(w, "^200");
	assert_int_equal(sip_ack(w->sip, &r, w->now_ms), 0);
	assert_int_equal(w->n_sent, n);
	assert_memory_equal(w->sent, first, n);
	expect(w, ">ACK");
	run(w, 31999);
	assert_int_equal(sip_tx_count(w->sip), 1);
	run(w, 1);
	assert_int_equal(sip_tx_count(w->sip), 0);
	answer(w, SIP_INVITE, 200, NULL); /* too late */
	expect(w, "");
}

/*   |<---INVITE----|
 *   |              |  sip_cancel: waits (9.1)
 *   |-----100----->|
 *   |<---CANCEL----|
 *   |--200, 487--->|
 *   |<----ACK------|  */
static void test_cancel_early(void **state)
{
	struct world *w = *state;
	struct sip_msg cancel, invite;

	w->stamps = true;
	request(w, SIP_INVITE);
	assert_int_equal(sip_cancel(w->tx, w->now_ms), 0);
	assert_int_equal(sip_cancel(w->tx, w->now_ms), -EPROTO);
	run(w, 600);
	expect(w, ">INVITE@0 >INVITE@500");
	w->stamps = false;
	answer(w, SIP_INVITE, 100, NULL);
	expect(w, ">CANCEL ^100");
	assert_int_equal(sip_parse(str_n(w->last_of[SIP_CANCEL], w->n_last_of[SIP_CANCEL]), &cancel), 0);
	assert_int_equal(sip_parse(str_n(w->last_of[SIP_INVITE], w->n_last_of[SIP_INVITE]), &invite), 0);
	assert_true(str_eq(cancel.via, invite.via) && str_eq(cancel.uri, invite.uri) && str_eq(cancel.to, invite.to) && cancel.cseq == invite.cseq);
	answer(w, SIP_CANCEL, 200, NULL);
	expect(w, "");
	answer(w, SIP_INVITE, 487, NULL);
	expect(w, ">ACK ^487");
}

/* Cancelled while it rings; the 200 was already on its way. And a peer that takes the CANCEL and never ends: 64*T1. */
static void test_cancel_crossed(void **state)
{
	struct world *w = *state;

	request(w, SIP_INVITE);
	answer(w, SIP_INVITE, 180, NULL);
	assert_int_equal(sip_cancel(w->tx, w->now_ms), 0);
	answer(w, SIP_INVITE, 183, NULL);
	answer(w, SIP_INVITE, 200, NULL);
	expect(w, ">INVITE ^180 >CANCEL ^183 ^200");
	run(w, 40000);
	w->said.n = 0;
	request(w, SIP_INVITE);
	answer(w, SIP_INVITE, 180, NULL);
	assert_int_equal(sip_cancel(w->tx, w->now_ms), 0);
	answer(w, SIP_CANCEL, 200, NULL);
	run(w, 31999);
	expect(w, ">INVITE ^180 >CANCEL");
	run(w, 1);
	expect(w, "^timeout");
	run(w, 5000);
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/* Timer C: it rings for three minutes without a further word; each 180 starts it anew. */
static void test_timer_c(void **state)
{
	struct world *w = *state;

	request(w, SIP_INVITE);
	answer(w, SIP_INVITE, 180, NULL);
	run(w, 180000);
	answer(w, SIP_INVITE, 180, NULL);
	run(w, 180999);
	expect(w, ">INVITE ^180 ^180");
	run(w, 1);
	expect(w, ">CANCEL");
	answer(w, SIP_CANCEL, 200, NULL);
	answer(w, SIP_INVITE, 487, NULL);
	expect(w, ">ACK ^487");
}

/* A deadline of the one above (adoption: what was left of timer B). */
static void test_deadline(void **state)
{
	struct world *w = *state;
	struct sip_dlg d = our_dialog(w);

	w->tx = sip_request(w->sip, &(struct sip_request){.method = SIP_BYE, .dlg = &d, .cseq = 2, .rnd = 1, .deadline_ms = w->now_ms + 1200}, w->now_ms);
	run(w, 1199);
	expect(w, ">BYE >BYE");
	run(w, 1);
	expect(w, "^timeout");
}

/* ---- client, other methods ---- */

/*   |<-----BYE-----|  timer E: 0.5, 1.5, 3.5, 7.5, then each 4 s; timer F: 32 s  */
static void test_timer_e_f(void **state)
{
	struct world *w = *state;

	w->stamps = true;
	request(w, SIP_BYE);
	run(w, 31999);
	expect(w, ">BYE@0 >BYE@500 >BYE@1500 >BYE@3500 >BYE@7500 >BYE@11500 >BYE@15500 >BYE@19500 >BYE@23500 >BYE@27500 >BYE@31500");
	run(w, 1);
	expect(w, "^timeout");
	w->flow = &w->tcp;
	request(w, SIP_BYE);
	run(w, 31999);
	expect(w, ">BYE@32000");
	run(w, 1);
	expect(w, "^timeout");
}

/* 100 slows the repeats to T2; after the 200 timer K swallows copies. */
static void test_bye(void **state)
{
	struct world *w = *state;

	w->stamps = true;
	request(w, SIP_BYE);
	run(w, 600);
	answer(w, SIP_BYE, 100, NULL);
	run(w, 9400);
	answer(w, SIP_BYE, 100, NULL);
	expect(w, ">BYE@0 >BYE@500 ^100 >BYE@1500 >BYE@5500 >BYE@9500 ^100");
	answer(w, SIP_BYE, 200, NULL);
	answer(w, SIP_BYE, 200, NULL);
	run(w, 4999);
	expect(w, "^200");
	assert_int_equal(sip_tx_count(w->sip), 1);
	run(w, 1);
	assert_int_equal(sip_tx_count(w->sip), 0);
	w->flow = &w->tcp;
	request(w, SIP_BYE);
	answer(w, SIP_BYE, 481, NULL);
	run(w, 0);
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/* An answer that fits by branch but not by method, and one of a stranger's branch. */
static void test_wrong_answers(void **state)
{
	struct world *w = *state;

	request(w, SIP_BYE);
	memcpy(w->last_of[SIP_INFO], w->last_of[SIP_BYE], w->n_last_of[SIP_INFO] = w->n_last_of[SIP_BYE]);
	answer(w, SIP_INFO, 200, NULL); /* CSeq: 1 INFO */
	input(w, STR("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKnot\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\n\r\n"));
	answer(w, SIP_BYE, 200, "Via: SIP/2.0/UDP other\r\n"); /* went astray (8.1.3.3) */
	input(w, STR("SIP/2.0 20 OK\r\n\r\n"));
	expect(w, ">BYE");
}

/* ---- connections ---- */

/* The connection goes: requests of ours end at once, an answer of ours goes by a new one to where the Via says. */
static void test_connection_gone(void **state)
{
	struct world *w = *state;

	w->flow = &w->tcp;
	ask(w, ASK(.method = "INVITE"));
	sip_flow_gone(w->sip, &w->tcp, w->now_ms);
	reply(w, 180);
	reply(w, 486);
	expect(w, "<INVITE >connect:5070 >180 >486");
	assert_int_equal(w->sent_to.conn, 91);
	ask(w, ASK(.method = "OPTIONS", .branch = "z9hG4bKo"));
	w->send_err = -ENOTCONN; /* the wire knows before we were told */
	reply(w, 200);
	expect(w, "<OPTIONS >connect:5070");
	w->send_err = 0;
	request(w, SIP_INVITE);
	sip_flow_gone(w->sip, &w->udp, w->now_ms);
	expect(w, ">INVITE");
	sip_flow_gone(w->sip, &w->tcp, w->now_ms);
	expect(w, "^transport");
	request(w, SIP_INVITE);
	answer(w, SIP_INVITE, 180, NULL);
	sip_flow_gone(w->sip, &w->tcp, w->now_ms);
	expect(w, ">INVITE ^180 ^transport");
	request(w, SIP_BYE);
	answer(w, SIP_BYE, 200, NULL);
	sip_flow_gone(w->sip, &w->tcp, w->now_ms);
	expect(w, ">BYE ^200");
}

/* A request by TCP to somebody we are not connected with; and when that fails, the one above hears of it in a later turn. */
static void test_connect(void **state)
{
	struct world *w = *state;

	w->tcp.conn = 0;
	w->flow = &w->tcp;
	request(w, SIP_OPTIONS);
	assert_int_equal(w->sent_to.conn, 91);
	assert_int_equal(sip_tx_flow(w->tx)->conn, 91);
	expect(w, ">connect:40000 >OPTIONS");
	answer(w, SIP_OPTIONS, 200, NULL);
	w->connect_err = -ECONNREFUSED;
	w->said.n = 0;
	request(w, SIP_INVITE);
	expect(w, ">connect:40000");
	run(w, 0);
	expect(w, "^transport");
}

/* ---- the door ---- */

/* Strangers: one 403 no longer than what they sent, nothing for an ACK, nothing that they send becomes a transaction or a trace record. */
static void test_gate(void **state)
{
	struct world *w = *state;
	uint64_t n = count_get(COUNT_SIP_DENIED), cursor = 0;
	char buf[4096];
	struct trace_rec rec;
	size_t len;

	w->udp.peer = v4("203.0.113.9:5070");
	len = ask_print(w, ASK(.method = "INVITE"), buf, sizeof(buf));
	input(w, str_n(buf, len));
	expect(w, ">403");
	assert_true(w->n_sent <= len);
	assert_false(sent_has(w, "Hookswitch"));
	ask(w, ASK(.method = "ACK"));
	ask(w, ASK(.method = "BYE"));
	expect(w, ">403");
	input(w, STR("INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: sip:a@h\r\nt: sip:b@h\r\ni: 1\r\nCSeq: 1 INVITE\r\n\r\n"));
	input(w, STR("INVITE sip:b@h SIP/9.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: sip:a@h\r\nt: sip:b@h\r\ni: 1\r\nCSeq: 1 INVITE\r\n\r\n"));
	expect(w, ""); /* too short to be answered, or unsound */
	assert_int_equal(count_get(COUNT_SIP_DENIED), n + 5);
	assert_int_equal(sip_tx_count(w->sip), 0);
	assert_int_equal(trace_read(w->trace, &cursor, &rec, buf, sizeof(buf)), 0);
	w->udp.peer = v4("192.0.2.200:5070"); /* a network that was named */
	ask(w, ASK(.method = "INVITE"));
	expect(w, "<INVITE");
}

static void test_unsound(void **state)
{
	struct world *w = *state;
	uint64_t n = count_get(COUNT_SIP_BAD);

	input(w, STR("INVITE sip:b@h SIP/7.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;rport\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 "
		     "INVITE\r\n\r\n"));
	expect(w, ">505");
	input(w,
	      STR("ACK sip:b@h SIP/7.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 ACK\r\n\r\n"));
	expect(w, "");
	input(w, STR("INVITE x:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 "
		     "INVITE\r\n\r\n"));
	expect(w, ">416");
	input(
	    w,
	    STR("INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCSeq: 193942 INVITE\r\n\r\n")); /* RFC 4475 insuf: an answer of what is there */
	expect(w, ">400(partial)");
	assert_sent(w, "Via: SIP/2.0/UDP h;branch=z9hG4bK1;received=127.0.0.1\r\n");
	assert_sent(w, "CSeq: 193942 INVITE\r\n");
	input(w, STR("rubbish"));
	input(w, STR("GET / HTTP/1.1\r\n\r\n"));
	expect(w, "");
	assert_int_equal(count_get(COUNT_SIP_BAD), n + 6);
	assert_int_equal(sip_tx_count(w->sip), 0);
}

/* Draining: new calls and OPTIONS are turned away without a transaction; the ACK of that 503 is swallowed; calls that live go on. */
static void test_draining(void **state)
{
	struct world *w = *state;
	struct sip_msg m;
	char tag[64];

	sip_draining(w->sip, true, 30);
	ask(w, ASK(.method = "INVITE"));
	expect(w, ">503");
	assert_sent(w, "Retry-After: 30\r\n");
	assert_int_equal(sip_parse(str_n(w->sent, w->n_sent), &m), 0);
	assert_true(m.to_tag.n > 0);
	assert_int_equal(str_zcpy(m.to_tag, tag, sizeof(tag)), 0);
	ask(w, ASK(.method = "ACK", .to_tag = tag));
	expect(w, "");
	ask(w, ASK(.method = "OPTIONS"));
	expect(w, ">503");
	assert_int_equal(sip_tx_count(w->sip), 0);
	ask(w, ASK(.method = "INVITE", .to_tag = "our", .cseq = 2));
	ask(w, ASK(.method = "BYE", .to_tag = "our", .cseq = 3));
	expect(w, "<INVITE <BYE");
	sip_draining(w->sip, false, 0);
	ask(w, ASK(.method = "INVITE", .branch = "z9hG4bKnew"));
	expect(w, "<INVITE");
}

/* LIMIT_TRANSACTIONS, and one past it. */
static void test_full(void **state)
{
	struct world *w = *state;
	struct sip_dlg d = our_dialog(w);
	uint64_t max = limit_of(LIMIT_TRANSACTIONS), n = count_get(COUNT_LIMIT_HIT);
	char branch[32];

	trace_close(w->trace);
	w->trace = NULL;
	w->sip->o.trace = NULL;
	for (uint64_t i = 0; i < max; i++) {
		snprintf(branch, sizeof(branch), "z9hG4bKfull%lu", (unsigned long)i);
		ask(w, ASK(.method = "INVITE", .branch = branch));
		w->said.n = 0;
	}
	assert_int_equal(sip_tx_count(w->sip), max);
	ask(w, ASK(.method = "INVITE", .branch = "z9hG4bKpast"));
	expect(w, ">503");
	assert_sent(w, "Retry-After: ");
	assert_int_equal(count_get(COUNT_LIMIT_HIT), n + 1);
	assert_null(sip_request(w->sip, &(struct sip_request){.method = SIP_BYE, .dlg = &d, .cseq = 1}, w->now_ms));
	ask(w, ASK(.method = "CANCEL", .branch = "z9hG4bKfull49999")); /* a CANCEL finds its INVITE even so, and is answered without a transaction */
	expect(w, "<cancel >200");
}

static void test_keepalive(void **state)
{
	struct world *w = *state;

	w->flow = &w->tcp;
	input(w, STR("\r\n\r\n"));
	expect(w, ">pong");
	input(w, STR("\r\n"));
	w->flow = &w->udp;
	input(w, STR("\r\n\r\n"));
	input(w, STR(""));
	expect(w, "");
}

/* ---- adoption ---- */

/* The worker died after its 200 left and before the ACK came: the successor repeats it under the same tag, and takes the ACK. */
static void test_adopt_server(void **state)
{
	struct world *w = *state;
	char buf[4096], first[4096];
	size_t n = ask_print(w, ASK(.method = "INVITE"), buf, sizeof(buf)), n_first;

	input(w, str_n(buf, n));
	reply(w, 200);
	n_first = w->n_sent;
	memcpy(first, w->sent, n_first);
	expect(w, "<INVITE >200");
	sip_free(w->sip);
	w->sip = sip_new(&(struct sip_opts){.wire = &w->wire,
					    .wheel = w->wheel,
					    .user = &w->user,
					    .gate = &w->gate,
					    .key = test_key,
					    .node = 3,
					    .product = "Hookswitch test",
					    .advertise = user_advertise,
					    .arg = w});
	w->tx = sip_tx_adopt(w->sip, str_n(buf, n), &w->udp, 0x100000001, w->now_ms);
	assert_non_null(w->tx);
	expect(w, "");
	assert_ptr_equal(sip_invite_of(w->sip, 0x100000001), w->tx);
	assert_int_equal(sip_tx_owner(w->tx), 0x100000001);
	reply(w, 200);
	assert_int_equal(w->n_sent, n_first);
	assert_memory_equal(w->sent, first, n_first);
	input(w, str_n(buf, n));
	expect(w, ">200 >200");
	ask(w, ASK(.method = "ACK", .branch = "z9hG4bKack", .to_tag = "our"));
	sip_tx_acked(sip_invite_of(w->sip, 0x100000001), w->now_ms);
	expect(w, "<ACK .acked");
	assert_null(sip_tx_adopt(w->sip, STR("rubbish"), &w->udp, 1, w->now_ms));
}

/* A request of ours sent again with the same random number is the same to the byte; its answer finds the new transaction. */
static void test_adopt_client(void **state)
{
	struct world *w = *state;
	char first[4096];
	size_t n;

	request(w, SIP_BYE);
	n = w->n_sent;
	memcpy(first, w->sent, n);
	sip_free(w->sip);
	w->sip = sip_new(&(struct sip_opts){.wire = &w->wire,
					    .wheel = w->wheel,
					    .user = &w->user,
					    .gate = &w->gate,
					    .key = test_key,
					    .node = 3,
					    .product = "Hookswitch test",
					    .advertise = user_advertise,
					    .arg = w});
	request(w, SIP_BYE);
	assert_int_equal(w->n_sent, n);
	assert_memory_equal(w->sent, first, n);
	answer(w, SIP_BYE, 200, NULL);
	expect(w, ">BYE >BYE ^200");
}

/* ---- trace ---- */

/* A request bears the CallSid although it was not known when it came, and stands before what was sent because of it. */
static void test_trace(void **state)
{
	struct world *w = *state;
	struct trace_rec rec;
	char buf[4096], tag[SIP_ID_LEN + 1];
	struct out t = OUT(tag);
	uint64_t cursor = 0;

	w->reply_at_once = 180;
	ask(w, ASK(.method = "INVITE"));
	expect(w, "<INVITE >180");
	assert_int_equal(trace_read(w->trace, &cursor, &rec, buf, sizeof(buf)), 1);
	assert_int_equal(rec.kind, TRACE_SIP_IN);
	assert_int_equal(rec.code, 0);
	assert_memory_equal(rec.sid, w->sid, 16);
	assert_true(str_starts(str_n(buf, rec.n), STR("udp 127.0.0.1:5070 > 127.0.0.1:5060\r\nINVITE ")));
	assert_int_equal(trace_read(w->trace, &cursor, &rec, buf, sizeof(buf)), 1);
	assert_int_equal(rec.kind, TRACE_SIP_OUT);
	assert_int_equal(rec.code, 180);
	assert_memory_equal(rec.sid, w->sid, 16);
	assert_true(str_starts(str_n(buf, rec.n), STR("udp 127.0.0.1:5060 > 127.0.0.1:5070\r\nSIP/2.0 180 ")));
	sip_id_print(test_key, SIP_ID_TAG, &(struct sip_id){.h = 0x100000001, .rnd = 9, .node = 3}, &t);
	ask(w, ASK(.method = "ACK", .branch = "z9hG4bKack", .to_tag = out_z(&t)));
	assert_int_equal(trace_read(w->trace, &cursor, &rec, buf, sizeof(buf)), 1);
	assert_memory_equal(rec.sid, w->sid, 16);
	assert_int_equal(trace_read(w->trace, &cursor, &rec, buf, sizeof(buf)), 0);
}

static int setup(void **state)
{
	*state = world_new();
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_call),
	    T(test_ack_lost),
	    T(test_2xx_repeated_on_tcp),
	    T(test_refused),
	    T(test_timer_h),
	    T(test_refused_on_tcp),
	    T(test_invite_repeated),
	    T(test_cancel),
	    T(test_cancel_late),
	    T(test_rfc2543),
	    T(test_ack_same_branch),
	    T(test_sent_by),
	    T(test_options),
	    T(test_timer_a_b),
	    T(test_refusal),
	    T(test_accepted),
	    T(test_cancel_early),
	    T(test_cancel_crossed),
	    T(test_timer_c),
	    T(test_deadline),
	    T(test_timer_e_f),
	    T(test_bye),
	    T(test_wrong_answers),
	    T(test_connection_gone),
	    T(test_connect),
	    T(test_gate),
	    T(test_unsound),
	    T(test_draining),
	    T(test_full),
	    T(test_keepalive),
	    T(test_adopt_server),
	    T(test_adopt_client),
	    T(test_trace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
