/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of base/ and their tests tell each other.
 */
#pragma once
#include "base/base.h"

uint32_t crc32c_table(const void *p, size_t n); /* the plain way */
uint32_t crc32c_cpu(const void *p, size_t n);   /* by the instruction; only if crc32c_has_cpu() */
bool crc32c_has_cpu(void);
