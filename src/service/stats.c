/* SPDX-License-Identifier: Apache-2.0
 *
 * stats: how the services do, in numbers for those who watch: requests, failures and a histogram of latencies for each service, in a bounded table; what was lost and how it trembled on
 * the ways of sound. Written by the sig thread, read by any other: each number is an atomic of its own, a row is there when the count of rows says so. They begin at 0 with each worker.
 * Services beyond the table stand together in the row `other`.
 */
#include <stdatomic.h>

#include "service/service.h"

const uint32_t stats_ms[STATS_BUCKETS] = {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 15000};
const uint32_t stats_jitter_us[STATS_BUCKETS] = {100, 500, 1000, 2000, 5000, 10000, 20000, 30000, 50000, 100000, 200000, 500000};

struct row {
	char name[STATS_NAME];
	atomic_uint_fast64_t ok, failed, sum, bucket[STATS_BUCKETS];
};
static struct row rows[STATS_SERVICES + 1] = {[STATS_SERVICES] = {.name = "other"}};
static atomic_uint n_rows;
static atomic_uint_fast64_t media_in, media_lost, media_concealed, jitter_n, jitter_sum, jitter_bucket[STATS_BUCKETS];

static void plus(atomic_uint_fast64_t *n, uint64_t by)
{
	atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}
static uint64_t get(const atomic_uint_fast64_t *n)
{
	return atomic_load_explicit((atomic_uint_fast64_t *)n, memory_order_relaxed);
}

/* Few services: a walk is as good as a hash. */
static struct row *row_of(struct str name)
{
	unsigned n = atomic_load_explicit(&n_rows, memory_order_relaxed);

	name.n = MIN(name.n, (size_t)STATS_NAME - 1);
	for (unsigned i = 0; i < n; i++)
		if (str_eq(str_z(rows[i].name), name))
			return &rows[i];
	if (n == STATS_SERVICES)
		return &rows[n];
	if (name.n)
		memcpy(rows[n].name, name.p, name.n);
	atomic_store_explicit(&n_rows, n + 1, memory_order_release);
	return &rows[n];
}

static void histogram(atomic_uint_fast64_t *bucket, const uint32_t *bounds, uint32_t v)
{
	for (int i = 0; i < STATS_BUCKETS; i++)
		if (v <= bounds[i]) {
			plus(&bucket[i], 1);
			return;
		}
}

void stats_request(struct str service, uint32_t ms, bool failed)
{
	struct row *r = row_of(service);

	plus(failed ? &r->failed : &r->ok, 1);
	plus(&r->sum, ms);
	histogram(r->bucket, stats_ms, ms);
}

void stats_media(uint32_t in, uint32_t lost, uint32_t concealed, uint32_t jitter_us)
{
	plus(&media_in, in);
	plus(&media_lost, lost);
	plus(&media_concealed, concealed);
	plus(&jitter_n, 1);
	plus(&jitter_sum, jitter_us);
	histogram(jitter_bucket, stats_jitter_us, jitter_us);
}

static void told(const struct row *r, struct stats_service *ret)
{
	*ret = (struct stats_service){.ok = get(&r->ok), .failed = get(&r->failed), .sum_ms = get(&r->sum)};
	memcpy(ret->name, r->name, sizeof(ret->name));
	for (int i = 0; i < STATS_BUCKETS; i++)
		ret->bucket[i] = get(&r->bucket[i]);
}

bool stats_each(size_t *at, struct stats_service *ret)
{
	size_t n = atomic_load_explicit(&n_rows, memory_order_acquire);

	if (*at < n)
		told(&rows[*at], ret);
	else if (*at == n && n == STATS_SERVICES && get(&rows[n].ok) + get(&rows[n].failed))
		told(&rows[n], ret);
	else
		return false;
	++*at;
	return true;
}

void stats_media_get(struct stats_media *ret)
{
	*ret = (struct stats_media){
	    .in = get(&media_in), .lost = get(&media_lost), .concealed = get(&media_concealed), .calls = get(&jitter_n), .sum_us = get(&jitter_sum)};
	for (int i = 0; i < STATS_BUCKETS; i++)
		ret->bucket[i] = get(&jitter_bucket[i]);
}
