/* SPDX-License-Identifier: Apache-2.0
 *
 * nict: non-INVITE client transaction, RFC 3261 section 17.1.2. One function per state.
 *
 *   trying ──1xx──► proceeding ──200..699──► completed ──K──► done
 *     └───────────────┴── F, transport ──► done
 */
#include "sip/sip_int.h"

static void open_state(struct fsm *f, int event, const void *data, int64_t now_ms, bool tried)
{
	struct sip_tx *tx = sip_tx_of(f);

	switch (event) {
	case EV_1XX:
		if (!tried)
			fsm_go(f, NICT_PROCEEDING, now_ms);
		sip_tx_tell(tx, data, SIP_WHY_DONE);
		break;
	case EV_2XX:
	case EV_ERROR:
		fsm_go(f, NICT_COMPLETED, now_ms);
		sip_tx_tell(tx, data, SIP_WHY_DONE);
		break;
	case EV_RETRY:
		sip_tx_send_text(tx);
		if (tried)
			tx->interval_ms = sip_timer_table[TIMER_E].max_ms; /* 17.1.2.2: in proceeding it is T2 at once */
		sip_tx_again(tx, TIMER_E, now_ms);
		break;
	case EV_END:
	case EV_TRANSPORT:
		fsm_go(f, NICT_DONE, now_ms);
		sip_tx_tell(tx, NULL, event == EV_END ? SIP_WHY_TIMEOUT : SIP_WHY_TRANSPORT);
		break;
	}
}

static void trying(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	open_state(f, event, data, now_ms, false);
}

static void proceeding(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	open_state(f, event, data, now_ms, true);
}

static void completed(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	if (event == EV_END) /* repeated answers are swallowed */
		fsm_go(f, NICT_DONE, now_ms);
}

static void enter_trying(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_E, TIMER_F, now_ms);
}

static void enter_completed(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_K, now_ms);
}

#define ANSWERS (BIT(EV_1XX) | BIT(EV_2XX) | BIT(EV_ERROR))

/* clang-format off */
static const struct fsm_state states[NICT_N] = {
	[NICT_TRYING] = {
		.name = "trying", .event = trying, .enter = enter_trying,
		.accepts = ANSWERS | BIT(EV_RETRY) | BIT(EV_END) | BIT(EV_TRANSPORT),
		.goes_to = BIT(NICT_PROCEEDING) | BIT(NICT_COMPLETED) | BIT(NICT_DONE),
	},
	[NICT_PROCEEDING] = {
		.name = "proceeding", .event = proceeding, /* timers E and F run on */
		.accepts = ANSWERS | BIT(EV_RETRY) | BIT(EV_END) | BIT(EV_TRANSPORT),
		.goes_to = BIT(NICT_COMPLETED) | BIT(NICT_DONE),
	},
	[NICT_COMPLETED] = {
		.name = "completed", .event = completed, .enter = enter_completed,
		.accepts = ANSWERS | BIT(EV_END),
		.goes_to = BIT(NICT_DONE),
	},
	[NICT_DONE] = {.name = "done", .enter = sip_tx_bin},
};
/* clang-format on */
const struct fsm_type sip_nict = {.name = "nict", .states = states, .n_states = NICT_N, .event_names = sip_event_names, .n_events = EV_N};
