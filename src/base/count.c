/* SPDX-License-Identifier: Apache-2.0
 *
 * count: the counters, one table. Each thread may add; a counter has a cache line of its own, so that two media threads that count packets do not wait
 * for each other more than they must. They begin at 0 with each worker.
 */
#include <stdatomic.h>

#include "base/base.h"

const struct count_info count_table[COUNT_N] = {
    [COUNT_CALLS] = {"calls", "Calls taken, in and out."},
    [COUNT_CALLS_REFUSED] = {"calls_refused", "Calls answered with a final error before a document was asked for."},
    [COUNT_SIP_IN] = {"sip_in", "SIP messages received that parse."},
    [COUNT_SIP_OUT] = {"sip_out", "SIP messages sent, repeats included."},
    [COUNT_SIP_BAD] = {"sip_bad", "Datagrams and frames that are no SIP message."},
    [COUNT_SIP_REPEATED] = {"sip_repeated", "SIP messages received again and answered from the record."},
    [COUNT_SIP_DENIED] = {"sip_denied", "SIP requests from addresses that are not allowed."},
    [COUNT_RTP_IN] = {"rtp_in", "RTP packets received and used."},
    [COUNT_RTP_OUT] = {"rtp_out", "RTP packets sent."},
    [COUNT_RTP_BAD] = {"rtp_bad", "Packets on media ports that are no RTP or RTCP."},
    [COUNT_RTP_STRANGER] = {"rtp_stranger", "RTP packets from an address that is not the peer's."},
    [COUNT_RTP_LATE] = {"rtp_late", "RTP packets that came after their time to be played."},
    [COUNT_RTP_CONCEALED] = {"rtp_concealed", "Frames made up for packets that did not come."},
    [COUNT_DIGITS] = {"digits", "Digits heard."},
    [COUNT_REQUESTS] = {"requests", "Requests for a document."},
    [COUNT_REQUESTS_FAILED] = {"requests_failed", "Requests for a document that ended in an error."},
    [COUNT_FSM_REFUSED] = {"fsm_refused", "Events that a state does not accept."},
    [COUNT_LIMIT_HIT] = {"limit_hit", "Times that a limit was exceeded (hookswitch limits)."},
    [COUNT_MAIL_FULL] = {"mail_full", "Messages between threads that found the mailbox full."},
    [COUNT_ADOPTED] = {"adopted", "Calls taken over from a worker that died."},
};

static struct {
	_Alignas(64) atomic_uint_fast64_t n;
} counts[COUNT_N];

void count_add(enum count c, uint64_t n)
{
	ASSERT(c < COUNT_N);
	atomic_fetch_add_explicit(&counts[c].n, n, memory_order_relaxed);
}

uint64_t count_get(enum count c)
{
	ASSERT(c < COUNT_N);
	return atomic_load_explicit(&counts[c].n, memory_order_relaxed);
}
