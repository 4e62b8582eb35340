/* SPDX-License-Identifier: Apache-2.0
 *
 * timers: the table of RFC 3261 (section 17, table 4 of the appendix) and RFC 6026, by name. The only place of the room where a time is written down.
 */
#include "sip/sip_int.h"

#define T1 500
#define T2 4000
#define T4 5000

const struct sip_timer_info sip_timer_table[TIMER_N] = {
    [TIMER_T1] = {"T1", T1, T1, 0, "17.1.1.1", "estimate of a round trip"},
    [TIMER_T2] = {"T2", T2, T2, 0, "17.1.2.2", "longest pause between repeats of a non-INVITE request and of an INVITE answer"},
    [TIMER_T4] = {"T4", T4, T4, 0, "17.1.2.2", "longest time a message stays in the network"},
    [TIMER_A] = {"A", T1, -1, 64 * T1, "17.1.1.2", "INVITE sent again"},
    [TIMER_B] = {"B", 64 * T1, 64 * T1, 0, "17.1.1.2", "no answer to an INVITE"},
    [TIMER_C] = {"C", 181000, 181000, 0, "16.6", "a ringing INVITE is given up; each 101 to 199 starts it anew"},
    [TIMER_D] = {"D", 64 * T1, 0, 0, "17.1.1.2", "repeats of a refusal are acknowledged"},
    [TIMER_E] = {"E", T1, -1, T2, "17.1.2.2", "request sent again"},
    [TIMER_F] = {"F", 64 * T1, 64 * T1, 0, "17.1.2.2", "no answer to a request"},
    [TIMER_G] = {"G", T1, -1, T2, "17.2.1", "refusal of an INVITE sent again"},
    [TIMER_H] = {"H", 64 * T1, 64 * T1, 0, "17.2.1", "no ACK"},
    [TIMER_I] = {"I", T4, 0, 0, "17.2.1", "repeated ACKs are swallowed"},
    [TIMER_J] = {"J", 64 * T1, 0, 0, "17.2.2", "repeats of a request are answered"},
    [TIMER_K] = {"K", T4, 0, 0, "17.1.2.2", "repeated answers are swallowed"},
    [TIMER_L] = {"L", 64 * T1, 64 * T1, 0, "RFC 6026 8.7", "repeats of an accepted INVITE are known"},
    [TIMER_M] = {"M", 64 * T1, 64 * T1, 0, "RFC 6026 8.4", "repeated 2xx are passed up"},
    [TIMER_2XX] = {"2xx", T1, T1, T2, "13.3.1.4", "2xx to an INVITE sent again until its ACK, on any transport"},
    [TIMER_CANCEL] = {"cancel", 64 * T1, 64 * T1, 0, "9.1", "no final answer to a cancelled INVITE"},
    [TIMER_SERVE] = {"serve", 64 * T1, 64 * T1, 0, "17.2.2", "a request that the one above never answered is forgotten: its sender has given up"},
};
