/* SPDX-License-Identifier: Apache-2.0
 *
 * panic: the end of a process that caught itself in a mistake. Says where, what and in which call, straight by write(2), then aborts: the keeper starts
 * the next worker and the calls go on. Any thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "base/inside.h"

static _Thread_local const char *at_hand = "";
static void (*panic_hook)(void);

void base_enter(const char *call_sid)
{
	at_hand = call_sid ? call_sid : "";
}

const char *base_at(void)
{
	return at_hand;
}

void base_set_panic_hook(void (*hook)(void))
{
	panic_hook = hook;
}

void base_panic(const char *file, int line, const char *func, const char *what)
{
	static _Thread_local bool again;
	char buf[512];
	struct out o = OUT(buf);

	out_f(&o, "panic: %s:%d: %s: %s", file, line, func, what);
	if (at_hand[0])
		out_f(&o, " (call %s)", at_hand);
	o.n = MIN(o.n, sizeof(buf) - 1);
	buf[o.n++] = '\n';
	/* nobody is left to be told if this fails */
	if (write(STDERR_FILENO, buf, o.n) < 0)
		abort();
	if (!again) { /* what follows may fail as well; then not once more */
		again = true;
		log_rescue();
		if (panic_hook)
			panic_hook();
	}
	abort();
}
