/* SPDX-License-Identifier: Apache-2.0
 *
 * echo: <Echo/>. What the caller says comes back until the caller hangs up. Sig thread.
 */
#include "verb/inside.h"

static enum step echo_begin(struct run *r, const struct node *n)
{
	call_app(r->c)->verb_state = VS_ECHO;
	call_commit(r->c);
	call_echo(r->c, true);
	return STEP_WAIT;
}

static enum step echo_resume(struct run *r, const struct node *n)
{
	call_echo(r->c, true);
	return STEP_WAIT;
}

const struct verb_impl verb_echo = {.name = "Echo", .begin = echo_begin, .resume = echo_resume};
