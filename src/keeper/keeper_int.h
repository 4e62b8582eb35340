/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_int: what the files of this room know of each other. Heap behind the slab; the messages between keeper, worker and runner; the parts of the runner.
 */
#pragma once
#include "keeper/keeper.h"

/* ---- slab ---- */
enum slab_record { SLAB_CALL, SLAB_LEG, SLAB_RECORDS };
struct record_head *slab_copy(const struct slab *s, enum slab_record k, uint32_t slot, int copy); /* tests look at the two copies */

struct heap;
struct heap *heap_new(char *mem, uint32_t n_bytes, const uint8_t key[16], bool adopting);
void heap_free(struct heap *h);
int heap_put(struct heap *h, struct str t, struct text *ret) _must_;
struct str heap_get(const struct heap *h, struct text t);
void heap_drop(struct heap *h, struct text t);
void heap_keep(struct heap *h, struct text t);
void heap_sweep(struct heap *h);
uint32_t heap_used(const struct heap *h);
