/* SPDX-License-Identifier: Apache-2.0
 *
 * nist: non-INVITE server transaction, RFC 3261 section 17.2.2. One function per state. A request that the one above never answers is forgotten after 64*T1, when its
 * sender has given up.
 *
 *   trying ──1xx──► proceeding ──200..699──► completed ──J──► done
 */
#include "sip/sip_int.h"

static void answer(struct sip_tx *tx, const void *data)
{
	const struct str *bytes = data;

	sip_tx_keep(tx, *bytes);
	sip_tx_send(tx, *bytes);
}

static void trying(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	switch (event) {
	case EV_REPEAT: /* 17.2.2: swallowed, there is nothing to repeat */
		break;
	case EV_1XX:
		answer(sip_tx_of(f), data);
		fsm_go(f, NIST_PROCEEDING, now_ms);
		break;
	case EV_2XX:
	case EV_ERROR:
		answer(sip_tx_of(f), data);
		fsm_go(f, NIST_COMPLETED, now_ms);
		break;
	case EV_END:
		fsm_go(f, NIST_DONE, now_ms);
		break;
	}
}

static void proceeding(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	switch (event) {
	case EV_REPEAT:
		sip_tx_send_last(sip_tx_of(f));
		break;
	case EV_1XX:
		answer(sip_tx_of(f), data);
		break;
	case EV_2XX:
	case EV_ERROR:
		answer(sip_tx_of(f), data);
		fsm_go(f, NIST_COMPLETED, now_ms);
		break;
	case EV_END:
		fsm_go(f, NIST_DONE, now_ms);
		break;
	}
}

static void completed(struct fsm *f, int event, const void *data, int64_t now_ms)
{
	if (event == EV_REPEAT)
		sip_tx_send_last(sip_tx_of(f));
	else if (event == EV_END)
		fsm_go(f, NIST_DONE, now_ms);
}

static void enter_trying(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_SERVE, now_ms);
}

static void enter_completed(struct fsm *f, int64_t now_ms)
{
	sip_tx_arm(sip_tx_of(f), TIMER_N, TIMER_J, now_ms);
}

/* clang-format off */
static const struct fsm_state states[NIST_N] = {
	[NIST_TRYING] = {
		.name = "trying", .event = trying, .enter = enter_trying,
		.accepts = BIT(EV_REPEAT) | BIT(EV_1XX) | BIT(EV_2XX) | BIT(EV_ERROR) | BIT(EV_END),
		.goes_to = BIT(NIST_PROCEEDING) | BIT(NIST_COMPLETED) | BIT(NIST_DONE),
	},
	[NIST_PROCEEDING] = {
		.name = "proceeding", .event = proceeding,
		.accepts = BIT(EV_REPEAT) | BIT(EV_1XX) | BIT(EV_2XX) | BIT(EV_ERROR) | BIT(EV_END),
		.goes_to = BIT(NIST_COMPLETED) | BIT(NIST_DONE),
	},
	[NIST_COMPLETED] = {
		.name = "completed", .event = completed, .enter = enter_completed,
		.accepts = BIT(EV_REPEAT) | BIT(EV_END),
		.goes_to = BIT(NIST_DONE),
	},
	[NIST_DONE] = {.name = "done", .enter = sip_tx_bin},
};
/* clang-format on */
const struct fsm_type sip_nist = {.name = "nist", .states = states, .n_states = NIST_N, .event_names = sip_event_names, .n_events = EV_N};
