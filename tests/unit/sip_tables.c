/* SPDX-License-Identifier: Apache-2.0
 *
 * Every cell of the four tables: each event in each state is either taken or refused as the table says, and each edge that a table names is walked. Printed as a
 * matrix: + taken, . refused. A cell or an edge that is not reached fails.
 */
#include "sip_fake.h"

static int last_from, last_to, n_refused;
static uint32_t walked[8]; /* edges by state, of the machine at hand */
static const struct fsm_type *at_hand;

static void hook(const struct fsm *f, int event, int from, int to)
{
	if (f->type != at_hand)
		return;
	if (to < 0) {
		n_refused++;
		return;
	}
	last_from = from;
	last_to = to;
	walked[from] |= BIT(to);
}

static struct sip_tx *make(struct world *w, const struct fsm_type *type, int state)
{
	struct sip_dlg d = our_dialog(w);
	struct sip_tx *tx;

	if (type == &sip_ict || type == &sip_nict) {
		tx = sip_request(w->sip, &(struct sip_request){.method = type == &sip_ict ? SIP_INVITE : SIP_INFO, .dlg = &d, .cseq = 1, .rnd = 1}, w->now_ms);
	} else {
		ask(w, ASK(.method = type == &sip_ist ? "INVITE" : "INFO"));
		tx = w->tx;
	}
	assert_non_null(tx);
	w->tx = tx;
	tx->fsm.state = state;
	return tx;
}

/* What comes with an event of this machine. */
static const void *data_of(const struct fsm_type *type, int event, struct sip_msg *m, struct str *bytes)
{
	if (type == &sip_ict || type == &sip_nict) {
		m->is_request = false;
		m->status = event == EV_1XX ? 180 : event == EV_2XX ? 200 : 486;
		return m;
	}
	if (event == EV_1XX || event == EV_2XX || event == EV_ERROR) {
		*bytes = m->raw;
		return bytes;
	}
	m->method = SIP_CANCEL; /* on_cancel looks at it */
	return m;
}

static bool cell(const struct fsm_type *type, int state, int event)
{
	struct world *w = world_new();
	struct sip_tx *tx = make(w, type, state);
	bool accepts = type->states[state].accepts & BIT(event), last = !type->states[state].accepts;
	static struct sip_msg m;
	struct str bytes;
	int ret;

	assert_int_equal(
	    sip_parse(STR("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@h>;tag=1\r\nt: <sip:b@h>;tag=2\r\ni: 1\r\nCSeq: 1 INVITE\r\n\r\n"),
		      &m),
	    0);
	n_refused = 0;
	last_to = -1;
	ret = fsm_post(&tx->fsm, event, data_of(type, event, &m, &bytes), w->now_ms);
	assert_int_equal(ret, accepts ? 0 : -EPROTO);
	assert_int_equal(n_refused, accepts ? 0 : 1);
	if (accepts && last_to >= 0)
		assert_int_equal(tx->fsm.state, last_to);
	else
		assert_int_equal(tx->fsm.state, state);
	if (tx->fsm.state == type->n_states - 1 && !last) { /* done: gone from every index, freed at the end of the turn and not before */
		size_t n = sip_tx_count(w->sip);

		assert_false(link_alone(&tx->bin));
		sip_turn(w->sip, w->now_ms);
		assert_int_equal(sip_tx_count(w->sip), n - 1);
	}
	world_free(w);
	return accepts;
}

static void table(const struct fsm_type *type)
{
	int taken = 0, cells = 0, edges = 0;

	at_hand = type;
	memset(walked, 0, sizeof(walked));
	fsm_set_hook(hook);
	print_message("%-12s", type->name);
	for (int e = 0; e < type->n_events; e++)
		print_message(" %9s", type->event_names[e]);
	print_message("\n");
	for (int s = 0; s < type->n_states; s++) {
		print_message("  %-10s", type->states[s].name);
		for (int e = 0; e < type->n_events; e++, cells++) {
			bool yes = cell(type, s, e);

			taken += yes;
			print_message(" %9s", yes ? "+" : ".");
		}
		print_message("\n");
	}
	for (int s = 0; s < type->n_states; s++) {
		edges += __builtin_popcount(walked[s]);
		if (walked[s] != type->states[s].goes_to)
			fail_msg("%s, %s: edges %x of the table, %x walked", type->name, type->states[s].name, type->states[s].goes_to, walked[s]);
	}
	fsm_set_hook(NULL);
	print_message("%s: %d cells, %d taken, %d refused, %d edges walked\n", type->name, cells, taken, cells - taken, edges);
}

static void test_ict(void **state)
{
	table(&sip_ict);
}

static void test_nict(void **state)
{
	table(&sip_nict);
}

static void test_ist(void **state)
{
	table(&sip_ist);
}

static void test_nist(void **state)
{
	table(&sip_nist);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_ict), cmocka_unit_test(test_nict), cmocka_unit_test(test_ist), cmocka_unit_test(test_nist)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
