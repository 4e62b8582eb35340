/* SPDX-License-Identifier: Apache-2.0
 *
 * redirect: <Redirect>: another document takes the place of this one. A call that rings goes on ringing. So many in a row that no verb takes time between them end the
 * call: documents that point at each other are a fault of theirs. Sig thread.
 */
#include "verb/inside.h"

static enum step redirect_begin(struct run *r, const struct node *n)
{
	struct app_record *app = call_app(r->c);
	bool get = method_get(r, n, 13710);

	if (app->redirects >= limit_of(LIMIT_REDIRECTS)) {
		count_add(COUNT_LIMIT_HIT, 1);
		return run_error(r, 11215, "line %d: %u documents in a row without a verb that takes time", n->line, app->redirects);
	}
	app->redirects++;
	if (!call_is_up(r->c))
		call_ring(r->c);
	return request_to(r, n->text, STR_NONE, get);
}

const struct verb_impl verb_redirect = {.name = "Redirect", .begin = redirect_begin};
