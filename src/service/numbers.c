/* SPDX-License-Identifier: Apache-2.0
 *
 * numbers: which file of the services folder answers which number. The runner reads the folder and sends a listing (this side opens no file); the table made from
 * it stands unchanged until the next listing comes. Sig thread. `struct number` pointers live until services_update: copy what is needed for longer.
 * What is wrong in the folder is logged once, when it comes up, not at each listing.
 */
#include "service/service.h"

struct blemish {
	char file[44];
	uint32_t code;
};

struct services {
	struct number *v;
	size_t n;
	struct blemish *bad;
	size_t n_bad;
	uint32_t edition; /* 0: none has come */
};

struct services *services_new(void)
{
	return calloc(1, sizeof(struct services));
}

static void services_done(struct services *s)
{
	free(s->v);
	free(s->bad);
}

void services_free(struct services *s)
{
	if (!s)
		return;
	services_done(s);
	free(s);
}

bool services_listed(const struct services *s)
{
	return s->edition > 0;
}

uint32_t services_edition(const struct services *s)
{
	return s->edition;
}

static bool name_ok(struct str s)
{
	if (s.n < 1 || s.n > limit_of(LIMIT_NUMBER) || s.n >= sizeof(((struct number *)0)->name))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("+*#_-", c))))
			return false;
	}
	return true;
}

static const struct {
	const char *kind, *suffix;
	enum service_kind is;
} kinds[] = {{"cgi", "", SERVICE_CGI}, {"xml", ".xml", SERVICE_XML}, {"txt", ".txt", SERVICE_TEXT}, {"wav", ".wav", SERVICE_SOUND}};

static uint32_t blemish_code(struct str kind)
{
	if (str_eq(kind, STR("link-out")))
		return 90011;
	if (str_eq(kind, STR("not-executable")))
		return 90012;
	return 90010;
}

static void blemish_add(struct services *s, struct str file, uint32_t code)
{
	struct blemish *b = realloc(s->bad, (s->n_bad + 1) * sizeof(*b));

	if (!b)
		return;
	s->bad = b;
	b += s->n_bad++;
	file.n = MIN(file.n, sizeof(b->file) - 1);
	if (file.n)
		memcpy(b->file, file.p, file.n);
	b->file[file.n] = 0;
	b->code = code;
}

/* One line of the listing becomes a number in *ret, or a blemish (false). */
static bool line_read(struct services *s, struct str line, struct number *ret)
{
	struct str kind, file = str_cut(line, '\t', &kind);

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
		struct str suffix = str_z(kinds[i].suffix), name = file;

		if (!str_eq(kind, str_z(kinds[i].kind)) || file.n <= suffix.n || file.n >= sizeof(ret->file))
			continue;
		name.n -= suffix.n;
		if (!str_eq(str_skip(file, name.n), suffix) || !name_ok(name))
			break;
		memcpy(ret->name, name.p, name.n);
		memcpy(ret->file, file.p, file.n);
		ret->kind = kinds[i].is;
		return true;
	}
	if (file.n && file.p[0] != '.')
		blemish_add(s, file, blemish_code(kind));
	return false;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct number *)a)->name, ((const struct number *)b)->name);
}

/* Sorted: files of one number stand side by side. They become one broken number that names them. */
static void join_doubles(struct services *s)
{
	size_t out = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct number *last = out ? &s->v[out - 1] : NULL;

		if (!last || strcmp(last->name, s->v[i].name) != 0) {
			s->v[out++] = s->v[i];
			continue;
		}
		struct out o = OUT(last->why);

		if (last->kind == SERVICE_BROKEN)
			o.n = strlen(last->why);
		else
			out_f(&o, "services/%s", last->file);
		out_f(&o, " and services/%s", s->v[i].file);
		out_z(&o);
		last->kind = SERVICE_BROKEN;
	}
	s->n = out;
}

static const struct number *find(const struct services *s, const char *name)
{
	struct number key = {.kind = SERVICE_NONE};

	if (!s->n || str_zcpy(str_z(name), key.name, sizeof(key.name)) < 0)
		return NULL;
	return bsearch(&key, s->v, s->n, sizeof(*s->v), by_name);
}

static void log_news(const struct services *old, const struct services *now)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct number *is = &now->v[i], *was = find(old, is->name);

		if (was && was->kind == is->kind && strcmp(was->file, is->file) == 0 && strcmp(was->why, is->why) == 0)
			continue;
		if (is->kind == SERVICE_BROKEN)
			log_line(LOG_ERROR, "error 90001: number %s answers 500: two files for it: %s; remove or rename one of them", is->name, is->why);
		else
			log_line(LOG_DEBUG, "number %s is answered by services/%s", is->name, is->file);
	}
	for (size_t i = 0; i < old->n; i++)
		if (!find(now, old->v[i].name))
			log_line(LOG_DEBUG, "number %s is gone", old->v[i].name);
}

static void log_blemishes(const struct services *old, const struct services *now)
{
	for (size_t i = 0; i < now->n_bad; i++) {
		const struct fault_info *f = fault_find(now->bad[i].code);
		bool known = false;

		for (size_t k = 0; k < old->n_bad && !known; k++)
			known = old->bad[k].code == now->bad[i].code && strcmp(old->bad[k].file, now->bad[i].file) == 0;
		if (!known)
			log_line(LOG_WARN, "services/%s: warning %u: %s; %s", now->bad[i].file, f->code, f->name, f->mend);
	}
}

int services_update(struct services *s, struct str listing)
{
	struct services now = {.edition = s->edition == UINT32_MAX ? 1 : s->edition + 1};
	size_t cap = 0, max = limit_of(LIMIT_NUMBERS);
	bool over = false;

	for (size_t i = 0; i < listing.n; i++)
		cap += listing.p[i] == '\n';
	now.v = calloc(MIN(cap, max) + 1, sizeof(*now.v));
	if (!now.v)
		return -ENOMEM;
	for (struct str rest = listing, line; rest.n;) {
		line = str_cut(rest, '\n', &rest);
		if (!rest.p)
			break; /* a line without its end was cut off */
		if (now.n == MIN(cap, max))
			over = true;
		else if (line_read(&now, line, &now.v[now.n]))
			now.n++;
	}
	if (over) {
		blemish_add(&now, STR("..."), 90013);
		count_add(COUNT_LIMIT_HIT, 1);
	}
	qsort(now.v, now.n, sizeof(*now.v), by_name);
	join_doubles(&now);
	log_news(s, &now);
	log_blemishes(s, &now);
	services_done(s);
	*s = now;
	return 0;
}

const struct number *services_find(const struct services *s, struct str number)
{
	char name[36];
	const struct number *n = NULL;

	if (name_ok(number) && str_zcpy(number, name, sizeof(name)) == 0)
		n = find(s, name);
	return n ? n : find(s, "default");
}

const struct number *services_each(const struct services *s, size_t *at)
{
	return *at < s->n ? &s->v[(*at)++] : NULL;
}
