/* SPDX-License-Identifier: Apache-2.0
 *
 * codec: the codec table (RFC 3551 section 6, RFC 4733). Every rate, payload type and frame length of the house is read from here.
 */
#include "base/base.h"

const struct codec_info codec_table[CODEC_N] = {
    [CODEC_PCMU] = {.name = "PCMU", .rate_hz = AUDIO_HZ, .pt = 0, .frame_ms = FRAME_MS, .frame_samples = AUDIO_FRAME, .frame_bytes = AUDIO_FRAME},
    [CODEC_PCMA] = {.name = "PCMA", .rate_hz = AUDIO_HZ, .pt = 8, .frame_ms = FRAME_MS, .frame_samples = AUDIO_FRAME, .frame_bytes = AUDIO_FRAME},
    [CODEC_EVENT] = {.name = "telephone-event", .rate_hz = AUDIO_HZ, .pt = 101, .frame_ms = FRAME_MS, .frame_samples = AUDIO_FRAME, .frame_bytes = 4},
};
