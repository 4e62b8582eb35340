/* SPDX-License-Identifier: Apache-2.0
 *
 * ist: INVITE server transaction, RFC 3261 section 17.2.1 with RFC 6026 section 7.1 (accepted) drawn in. The 2xx, which RFC 3261 section 13.3.1.4 leaves to the core, is repeated
 * here: on every transport, until the one above says that its ACK came. 100 is not automatic: the record of the call stands first.
 *
 *   proceeding ──300..699──► completed ──ACK──► confirmed ──I──► done
 *       └────────2xx───────► accepted ───ACK──► acked ──────L──► done      (H and L without an ACK: on_tx_end says TIMEOUT)
 */
#include "sip/sip_int.h"

static void answer(struct sip_tx *tx, const void *data)
{
	const struct str *bytes = data;

	sip_tx_keep(tx, *bytes);
	sip_tx_send(tx, *bytes);
}

static void proceeding(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);

	switch (event) {
	case EV_REPEAT:
		sip_tx_send_last(tx);
		break;
	case EV_1XX:
		answer(tx, data);
		break;
	case EV_2XX:
		answer(tx, data);
		fsm_go(f, IST_ACCEPTED, now_ms);
		break;
	case EV_ERROR:
		answer(tx, data);
		fsm_go(f, IST_COMPLETED, now_ms);
		break;
	case EV_CANCEL:
		tx->sip->o.user->on_cancel(tx->sip->o.user->arg, tx, data);
		break;
	}
}

static void completed(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);

	switch (event) {
	case EV_REPEAT:
		sip_tx_send_last(tx);
		break;
	case EV_RETRY:
		sip_tx_send_last(tx);
		sip_tx_again(tx, TIMER_G, now_ms);
		break;
	case EV_ACK:
		fsm_go(f, IST_CONFIRMED, now_ms);
		sip_tx_ended(tx, SIP_WHY_DONE);
		break;
	case EV_END:
		fsm_go(f, IST_DONE, now_ms);
		sip_tx_ended(tx, SIP_WHY_TIMEOUT);
		break;
	}
}

static void confirmed(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	if (event == EV_END) /* repeats of ACK and INVITE are swallowed */
		fsm_go(f, IST_DONE, now_ms);
}

static void accepted(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	struct sip_tx *tx = sip_tx_of(f);

	switch (event) {
	case EV_REPEAT: /* its 2xx was lost: sooner than the timer */
		sip_tx_send_last(tx);
		break;
	case EV_RETRY:
		sip_tx_send_last(tx);
		sip_tx_again(tx, TIMER_2XX, now_ms);
		break;
	case EV_ACK:
		fsm_go(f, IST_ACKED, now_ms);
		sip_tx_ended(tx, SIP_WHY_DONE);
		break;
	case EV_END:
		fsm_go(f, IST_DONE, now_ms);
		sip_tx_ended(tx, SIP_WHY_TIMEOUT);
		break;
	}
}

/* Timer L runs on, so that a late copy of the INVITE is no new call. */
static void acked(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	if (event == EV_END)
		fsm_go(f, IST_DONE, now_ms);
}

static void enter_completed(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_G, TIMER_H, now_ms);
}

static void enter_confirmed(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_I, now_ms);
}

static void enter_accepted(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_2XX, TIMER_L, now_ms);
}

static void enter_acked(struct fsm *f, int64_t now_ms)
{
	timer_stop(&sip_tx_of(f)->retry);
}

/* clang-format off */
static const struct fsm_state states[IST_N] = {
	[IST_PROCEEDING] = {
		.name = "proceeding", .event = proceeding,
		.accepts = BIT(EV_REPEAT) | BIT(EV_1XX) | BIT(EV_2XX) | BIT(EV_ERROR) | BIT(EV_CANCEL),
		.goes_to = BIT(IST_COMPLETED) | BIT(IST_ACCEPTED),
	},
	[IST_COMPLETED] = {
		.name = "completed", .event = completed, .enter = enter_completed,
		.accepts = BIT(EV_REPEAT) | BIT(EV_RETRY) | BIT(EV_ACK) | BIT(EV_END),
		.goes_to = BIT(IST_CONFIRMED) | BIT(IST_DONE),
	},
	[IST_CONFIRMED] = {
		.name = "confirmed", .event = confirmed, .enter = enter_confirmed,
		.accepts = BIT(EV_REPEAT) | BIT(EV_ACK) | BIT(EV_END),
		.goes_to = BIT(IST_DONE),
	},
	[IST_ACCEPTED] = {
		.name = "accepted", .event = accepted, .enter = enter_accepted,
		.accepts = BIT(EV_REPEAT) | BIT(EV_RETRY) | BIT(EV_ACK) | BIT(EV_END),
		.goes_to = BIT(IST_ACKED) | BIT(IST_DONE),
	},
	[IST_ACKED] = {
		.name = "acked", .event = acked, .enter = enter_acked,
		.accepts = BIT(EV_REPEAT) | BIT(EV_ACK) | BIT(EV_END),
		.goes_to = BIT(IST_DONE),
	},
	[IST_DONE] = {.name = "done", .enter = sip_tx_bin},
};
/* clang-format on */
const struct fsm_type sip_ist = {.name = "ist", .states = states, .n_states = IST_N, .event_names = sip_event_names, .n_events = EV_N};
