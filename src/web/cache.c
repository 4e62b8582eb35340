/* SPDX-License-Identifier: Apache-2.0
 *
 * cache: sounds that were fetched, by URL, for as long as the origin allows (RFC 9111: max-age, no-store, no-cache; validators ETag and Last-Modified of RFC 9110 section 8.8). Web
 * thread. Bounded in bytes and entries; what was unused for longest goes first. Bodies are sealed memfds, handed out as descriptors of their own, so an entry may go while its sound is
 * being heard. What a trusted origin answered is kept apart: a reply that may not ask there does not get it from here either.
 */
#include "web/inside.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRIES_MAX 4096
#define AGE_MAX_S   (7 * 24 * 3600)

int cache_open(struct cache *k, uint64_t max_bytes)
{
	*k = (struct cache){.max_bytes = max_bytes, .by_url = hash_new(2 * ENTRIES_MAX)};
	link_init(&k->used);
	return k->by_url ? 0 : -ENOMEM;
}

static void entry_free(struct cached *e)
{
	close(e->fd);
	free(e->url);
	free(e);
}

static void entry_drop(struct cache *k, struct cached *e)
{
	hash_drop(k->by_url, e->key, e);
	link_drop(&e->used);
	k->bytes -= e->n;
	k->n--;
	e->gone = true;
	if (e->n_held == 0)
		entry_free(e);
}

void cache_close(struct cache *k)
{
	if (!k->by_url)
		return;
	while (!link_alone(&k->used))
		entry_drop(k, container_of(k->used.next, struct cached, used));
	hash_free(k->by_url);
	k->by_url = NULL;
}

static bool entry_is(const struct cached *e, bool trusted, const char *url)
{
	return e->url[0] == (trusted ? 'T' : 'U') && str_eq(str_z(e->url + 1), str_z(url));
}

struct cached *cache_find(struct cache *k, bool trusted, const char *url)
{
	struct cached *e;
	for (size_t at = 0; (e = hash_next(k->by_url, str_hash(str_z(url)), &at));) {
		if (!entry_is(e, trusted, url))
			continue;
		link_drop(&e->used);
		link_append(&k->used, &e->used);
		e->n_held++;
		return e;
	}
	return NULL;
}

void cache_release(struct cache *k, struct cached *e)
{
	if (e && --e->n_held == 0 && e->gone)
		entry_free(e);
}

/* Seconds it stays fresh; -1 = not to be kept. */
static int64_t age_of(struct str control)
{
	int64_t age = 0;
	bool ask = false;
	for (struct str rest = control; rest.p;) {
		struct str value, one = str_trim(str_cut(rest, ',', &rest)), name = str_cut(one, '=', &value);
		uint64_t s;
		if (str_ieq(name, STR("no-store")))
			return -1;
		if (str_ieq(name, STR("no-cache")))
			ask = true;
		if (str_ieq(name, STR("max-age")) && str_u64(value, UINT32_MAX, &s) == 0)
			age = (int64_t)MIN(s, (uint64_t)AGE_MAX_S);
	}
	return ask ? 0 : age;
}

void cache_renew(struct cached *e, const struct cache_rule *r, int64_t now_ms)
{
	int64_t age = age_of(r->control);
	e->fresh_until_ms = now_ms + MAX(age, 0) * 1000;
	if (r->etag.n)
		(void)!str_zcpy(r->etag, e->etag, sizeof(e->etag));
}

static bool may_keep(const struct cache *k, const struct cache_rule *r, uint32_t n, int64_t *ret_age)
{
	*ret_age = age_of(r->control);
	return *ret_age >= 0 && n > 0 && n <= k->max_bytes && !str_eq(str_trim(r->vary), STR("*")) && (*ret_age > 0 || r->etag.n || r->modified.n);
}

static int fd_again(int fd)
{
	char path[40];
	struct out o = OUT(path);
	out_f(&o, "/proc/self/fd/%d", fd);
	int again = open(out_z(&o), O_RDONLY | O_CLOEXEC); /* with an offset of its own, which dup would share */
	return again >= 0 ? again : -errno;
}

int cache_fd(const struct cached *e)
{
	return fd_again(e->fd);
}

static struct cached *entry_new(bool trusted, const char *url, int fd)
{
	size_t n = strlen(url);
	struct cached *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->url = malloc(n + 2);
	e->fd = e->url ? fd_again(fd) : -1;
	if (e->fd < 0) {
		free(e->url);
		free(e);
		return NULL;
	}
	e->url[0] = trusted ? 'T' : 'U';
	memcpy(e->url + 1, url, n + 1);
	return e;
}

void cache_put(struct cache *k, bool trusted, const char *url, const struct cache_rule *r, int fd, uint32_t n, int64_t now_ms)
{
	int64_t age;
	struct cached *old = cache_find(k, trusted, url);
	if (old) {
		entry_drop(k, old);
		cache_release(k, old);
	}
	if (!may_keep(k, r, n, &age) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		return;
	struct cached *e = entry_new(trusted, url, fd);
	if (!e)
		return;
	while (!link_alone(&k->used) && (k->bytes + n > k->max_bytes || k->n >= ENTRIES_MAX))
		entry_drop(k, container_of(k->used.next, struct cached, used));
	e->key = str_hash(str_z(url));
	e->n = n;
	e->fresh_until_ms = now_ms + age * 1000;
	/* A validator that is too long is none. */
	if (str_zcpy(r->etag, e->etag, sizeof(e->etag)))
		e->etag[0] = 0;
	if (str_zcpy(r->modified, e->modified, sizeof(e->modified)))
		e->modified[0] = 0;
	if (str_zcpy(r->type, e->type, sizeof(e->type)))
		e->type[0] = 0;
	if (hash_put(k->by_url, e->key, e)) {
		entry_free(e);
		return;
	}
	link_append(&k->used, &e->used);
	k->bytes += n;
	k->n++;
}
