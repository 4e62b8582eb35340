/* SPDX-License-Identifier: Apache-2.0
 *
 * ict: INVITE client transaction, RFC 3261 section 17.1.1 with RFC 6026 section 7.2 (accepted) and section 9.1 (giving up, cancelled) drawn in. One function per
 * state; the callback to the one above is always the last thing done, since it may act on this very transaction.
 *
 *   calling ──1xx──► proceeding ──300..699──► completed ──D──► done
 *      │ │ └─2xx──►───────┴──────2xx────────► accepted ───M──► done
 *      │ └─cancel─► giving up ──1xx──► cancelled ─ (as proceeding)
 *      └─B, transport─► done
 */
#include "sip/sip_int.h"

static void give_up(struct sip_tx *tx, enum sip_why why, int64_t now_ms)
{
	fsm_go(&tx->fsm, ICT_DONE, now_ms);
	sip_tx_tell(tx, NULL, why);
}

/* A final answer, whatever the state before. */
static void final(struct sip_tx *tx, int event, const struct sip_msg *m, int64_t now_ms)
{
	if (event == EV_ERROR) {
		sip_tx_send_ack(tx, m);
		fsm_go(&tx->fsm, ICT_COMPLETED, now_ms);
	} else {
		fsm_go(&tx->fsm, ICT_ACCEPTED, now_ms);
	}
	sip_tx_tell(tx, m, SIP_WHY_DONE);
}

static void cancel_now(struct sip_tx *tx, int64_t now_ms)
{
	fsm_go(&tx->fsm, ICT_CANCELLED, now_ms);
	sip_tx_send_cancel(tx, now_ms);
}

static void calling(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);

	switch (event) {
	case EV_1XX:
		fsm_go(f, ICT_PROCEEDING, now_ms);
		sip_tx_tell(tx, data, SIP_WHY_DONE);
		break;
	case EV_2XX:
	case EV_ERROR:
		final(tx, event, data, now_ms);
		break;
	case EV_CANCEL: /* 9.1: not before something has come back */
		fsm_go(f, ICT_GIVING_UP, now_ms);
		break;
	case EV_RETRY:
		sip_tx_send_text(tx);
		sip_tx_again(tx, TIMER_A, now_ms);
		break;
	case EV_END:
		give_up(tx, SIP_WHY_TIMEOUT, now_ms);
		break;
	case EV_TRANSPORT:
		give_up(tx, SIP_WHY_TRANSPORT, now_ms);
		break;
	}
}

static void giving_up(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);

	if (event == EV_1XX) {
		cancel_now(tx, now_ms);
		sip_tx_tell(tx, data, SIP_WHY_DONE);
	} else {
		calling(f, event, data, now_ms);
	}
}

static void proceeding(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);
	const struct sip_msg *m = data;

	switch (event) {
	case EV_1XX:
		if (m->status > 100)
			sip_tx_arm(tx, TIMER_N, TIMER_C, now_ms);
		sip_tx_tell(tx, m, SIP_WHY_DONE);
		break;
	case EV_2XX:
	case EV_ERROR:
		final(tx, event, m, now_ms);
		break;
	case EV_CANCEL:
	case EV_END:
		cancel_now(tx, now_ms);
		break;
	case EV_TRANSPORT:
		give_up(tx, SIP_WHY_TRANSPORT, now_ms);
		break;
	}
}

static void cancelled(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);

	switch (event) {
	case EV_1XX:
		sip_tx_tell(tx, data, SIP_WHY_DONE);
		break;
	case EV_2XX: /* it was answered before the CANCEL came there: the one above sends ACK and BYE */
	case EV_ERROR:
		final(tx, event, data, now_ms);
		break;
	case EV_END:
		give_up(tx, SIP_WHY_TIMEOUT, now_ms);
		break;
	case EV_TRANSPORT:
		give_up(tx, SIP_WHY_TRANSPORT, now_ms);
		break;
	}
}

static void completed(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	if (event == EV_ERROR)
		sip_tx_send_last(sip_tx_of(f));
	else if (event == EV_END)
		fsm_go(f, ICT_DONE, now_ms);
}

static void accepted(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	if (event == EV_2XX)
		sip_tx_tell(sip_tx_of(f), data, SIP_WHY_DONE);
	else if (event == EV_END)
		fsm_go(f, ICT_DONE, now_ms);
}

static void enter_calling(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_A, TIMER_B, now_ms);
}

static void enter_proceeding(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_C, now_ms);
}

static void enter_cancelled(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_CANCEL, now_ms);
}

static void enter_completed(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_D, now_ms);
}

static void enter_accepted(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_M, now_ms);
}

#define ANSWERS (BIT(EV_1XX) | BIT(EV_2XX) | BIT(EV_ERROR))
#define FINALS  (BIT(ICT_COMPLETED) | BIT(ICT_ACCEPTED))

/* clang-format off */
static const struct fsm_state states[ICT_N] = {
	[ICT_CALLING] = {
		.name = "calling", .event = calling, .enter = enter_calling,
		.accepts = ANSWERS | BIT(EV_CANCEL) | BIT(EV_RETRY) | BIT(EV_END) | BIT(EV_TRANSPORT),
		.goes_to = BIT(ICT_PROCEEDING) | BIT(ICT_GIVING_UP) | FINALS | BIT(ICT_DONE),
	},
	[ICT_GIVING_UP] = {
		.name = "giving up", .event = giving_up, /* timers A and B run on */
		.accepts = ANSWERS | BIT(EV_RETRY) | BIT(EV_END) | BIT(EV_TRANSPORT),
		.goes_to = BIT(ICT_CANCELLED) | FINALS | BIT(ICT_DONE),
	},
	[ICT_PROCEEDING] = {
		.name = "proceeding", .event = proceeding, .enter = enter_proceeding,
		.accepts = ANSWERS | BIT(EV_CANCEL) | BIT(EV_END) | BIT(EV_TRANSPORT),
		.goes_to = BIT(ICT_CANCELLED) | FINALS | BIT(ICT_DONE),
	},
	[ICT_CANCELLED] = {
		.name = "cancelled", .event = cancelled, .enter = enter_cancelled,
		.accepts = ANSWERS | BIT(EV_END) | BIT(EV_TRANSPORT),
		.goes_to = FINALS | BIT(ICT_DONE),
	},
	[ICT_COMPLETED] = {
		.name = "completed", .event = completed, .enter = enter_completed,
		.accepts = BIT(EV_ERROR) | BIT(EV_END),
		.goes_to = BIT(ICT_DONE),
	},
	[ICT_ACCEPTED] = {
		.name = "accepted", .event = accepted, .enter = enter_accepted,
		.accepts = BIT(EV_2XX) | BIT(EV_END),
		.goes_to = BIT(ICT_DONE),
	},
	[ICT_DONE] = {.name = "done", .enter = sip_tx_bin},
};
/* clang-format on */
const struct fsm_type sip_ict = {.name = "ict", .states = states, .n_states = ICT_N, .event_names = sip_event_names, .n_events = EV_N};
