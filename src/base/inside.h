/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of base/ and their tests tell each other.
 */
#pragma once
#include "base/base.h"

uint32_t crc32c_table(const void *p, size_t n); /* the plain way */
uint32_t crc32c_cpu(const void *p, size_t n);   /* by the instruction; only if crc32c_has_cpu() */
bool crc32c_has_cpu(void);

void log_rescue(void); /* a dying process: lets the writer thread empty the ring, for 100 ms at most */

/* Called between the steps of trace_put, for the test that dies there, and in trace_read before it copies. NULL = none. */
enum trace_step { TRACE_STEP_TAIL, TRACE_STEP_HALF, TRACE_STEP_WRITTEN, TRACE_STEP_HEAD, TRACE_STEP_READ };
extern void (*trace_step_hook)(enum trace_step step);
