/* SPDX-License-Identifier: Apache-2.0
 *
 * hangup: <Hangup/>. It ends an answered call; the driver has answered it before (only Reject refuses a call). Sig thread.
 */
#include "verb/inside.h"

static enum step hangup_begin(struct run *r, const struct node *n)
{
	return run_end(r, PARTY_SERVICE, NULL);
}

const struct verb_impl verb_hangup = {.name = "Hangup", .begin = hangup_begin};
