/* SPDX-License-Identifier: Apache-2.0
 *
 * Each allocation of the room fails in turn while calls are made both ways: nothing crashes or leaks, a request without room is answered 503, and a request of ours is
 * either sent or refused at once.
 */
#include "sip_fake.h"

static int fail_in, n_allocs; /* the n-th allocation from now on fails; 0 = none */
static bool counting;
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static bool fails(void)
{
	if (!counting)
		return false;
	n_allocs++;
	return fail_in && --fail_in == 0;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

static void tell(struct world *w, const struct ask *a)
{
	char buf[4096];
	size_t n = ask_print(w, a, buf, sizeof(buf));

	counting = true;
	sip_input(w->sip, w->flow, str_n(buf, n), w->now_ms);
	counting = false;
}

static void say(struct world *w, int status)
{
	counting = true;
	reply(w, status);
	counting = false;
}

static void incoming(struct world *w)
{
	w->reply_on_cancel = 487;
	w->tx = NULL;
	tell(w, ASK(.method = "INVITE"));
	if (!w->tx)
		return expect(w, ">503");
	expect(w, "<INVITE");
	counting = true;
	sip_tx_set_owner(w->tx, 0x100000001);
	counting = false;
	say(w, 180);
	tell(w, ASK(.method = "INVITE"));
	tell(w, ASK(.method = "CANCEL"));
	assert_true(sent_has(w, "SIP/2.0 200 OK") && sent_has(w, "CANCEL"));
	tell(w, ASK(.method = "ACK", .to_tag = "our"));
	run(w, 40000);
	w->said.n = 0;
}

static void outgoing(struct world *w)
{
	struct sip_dlg d = our_dialog(w);

	counting = true;
	w->tx = sip_request(w->sip, &(struct sip_request){.method = SIP_INVITE, .dlg = &d, .cseq = 1, .rnd = 77}, w->now_ms);
	counting = false;
	if (!w->tx)
		return expect(w, "");
	answer(w, SIP_INVITE, 180, NULL);
	counting = true;
	assert_int_equal(sip_cancel(w->tx, w->now_ms), 0);
	counting = false;
	answer(w, SIP_INVITE, 487, NULL);
	answer(w, SIP_INVITE, 487, NULL);
	run(w, 80000);
	w->said.n = 0;
}

static void test_calls(void **state)
{
	int n = 1;

	for (bool failed = true; failed; n++) {
		struct world *w = world_new();

		fail_in = n;
		incoming(w);
		outgoing(w);
		failed = fail_in == 0;
		fail_in = 0;
		assert_int_equal(sip_tx_count(w->sip), 0);
		incoming(w); /* and then all is well again */
		outgoing(w);
		world_free(w);
	}
	print_message("%d allocations failed in turn\n", n - 2);
	assert_true(n - 2 >= 8);
}

static void test_new(void **state)
{
	struct world *w = world_new();
	struct sip *s = NULL;
	int n;

	for (n = 1; !s; n++) {
		fail_in = n;
		counting = true;
		s = sip_new(&w->sip->o);
		counting = false;
	}
	fail_in = 0;
	assert_true(n > 6);
	sip_free(s);
	sip_free(NULL);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_new)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
