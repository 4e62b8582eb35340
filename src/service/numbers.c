/* SPDX-License-Identifier: Apache-2.0
 *
 * numbers: what answers which number: files of the services folder and [number …] sections. The runner reads the folder and sends a listing (this side opens no file), cli/ reads the
 * configuration; from both one table is made, sorted by key, which stands unchanged until one of them comes anew. Sig thread. `struct number` pointers live until then: copy
 * what is needed for longer. What is wrong in the folder is logged once, when it comes up, not at each listing.
 *
 * The number itself beats a prefix, the longest prefix the shorter ones, and these `default`; of a section and a file that say the same, the section. A section without voice_url does
 * not answer: it lends its fallback and callbacks to what answers its numbers otherwise.
 */
#include "service/service.h"

#define PREFIX_END "\xe2\x80\xa6" /* … */

struct blemish {
	char file[44];
	uint32_t code;
};

struct entry {
	char key[36]; /* that it is found by; number.name is that of what answers */
	struct number number;
	struct number_web *web; /* its own; NULL = none */
};

struct files {
	struct number *v; /* sorted by name */
	size_t n;
	struct number_web *webs; /* of .url files */
	size_t n_webs;
	struct blemish *bad;
	size_t n_bad;
};

struct services {
	struct files files;
	struct number_conf *conf; /* sorted by key */
	size_t n_conf;
	struct entry *v; /* of both; sorted by key */
	size_t n;
	uint32_t edition;
	bool listed, configured;
	uint32_t filler_after_ms, hedge_after_ms;
};

struct services *services_new(void)
{
	return calloc(1, sizeof(struct services));
}

static void files_done(struct files *f)
{
	free(f->v);
	free(f->webs);
	free(f->bad);
}

static void entries_free(struct entry *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].web);
	free(v);
}

void services_free(struct services *s)
{
	if (!s)
		return;
	files_done(&s->files);
	free(s->conf);
	entries_free(s->v, s->n);
	free(s);
}

bool services_listed(const struct services *s)
{
	return s->listed;
}

uint32_t services_edition(const struct services *s)
{
	return s->edition;
}

void services_web_default(struct services *s, uint32_t filler_after_ms, uint32_t hedge_after_ms)
{
	s->filler_after_ms = filler_after_ms;
	s->hedge_after_ms = hedge_after_ms;
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
} kinds[] = {
    {"cgi", "", SERVICE_CGI}, {"xml", ".xml", SERVICE_XML}, {"txt", ".txt", SERVICE_TEXT}, {"wav", ".wav", SERVICE_SOUND}, {"url", ".url", SERVICE_WEB}};

static uint32_t blemish_code(struct str kind)
{
	if (str_eq(kind, STR("link-out")))
		return 90011;
	if (str_eq(kind, STR("not-executable")))
		return 90012;
	return 90010;
}

static void blemish_add(struct files *f, struct str file, uint32_t code)
{
	struct blemish *b = realloc(f->bad, (f->n_bad + 1) * sizeof(*b));

	if (!b)
		return;
	f->bad = b;
	b += f->n_bad++;
	file.n = MIN(file.n, sizeof(b->file) - 1);
	if (file.n)
		memcpy(b->file, file.p, file.n);
	b->file[file.n] = 0;
	b->code = code;
}

/* The URL of a .url file: judged as the one of a section is. */
static bool url_read(struct files *f, struct str url, struct number *ret)
{
	struct number_conf c;

	if (number_conf_open(STR("default"), &c) < 0 || !url.n || number_conf_set(&c, number_key_find(STR("voice_url")), url) < 0)
		return false;
	f->webs[f->n_webs] = c.web;
	ret->web = &f->webs[f->n_webs++];
	return true;
}

/* One line of the listing becomes a number in *ret, or a blemish (false). */
static bool line_read(struct files *f, struct str line, struct number *ret)
{
	struct str url, kind, file = str_cut(line, '\t', &kind);

	memset(ret, 0, sizeof(*ret));
	kind = str_cut(kind, '\t', &url);
	for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
		struct str suffix = str_z(kinds[i].suffix), name = file;

		if (!str_eq(kind, str_z(kinds[i].kind)) || file.n <= suffix.n || file.n >= sizeof(ret->file))
			continue;
		name.n -= suffix.n;
		if (!str_eq(str_skip(file, name.n), suffix) || !name_ok(name))
			break;
		if (kinds[i].is == SERVICE_WEB && !url_read(f, url, ret)) {
			blemish_add(f, file, 90014);
			return false;
		}
		memcpy(ret->name, name.p, name.n);
		memcpy(ret->file, file.p, file.n);
		ret->kind = kinds[i].is;
		return true;
	}
	if (file.n && file.p[0] != '.')
		blemish_add(f, file, blemish_code(kind));
	return false;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct number *)a)->name, ((const struct number *)b)->name);
}

/* Sorted: files of one number stand side by side. They become one broken number that names them. */
static void join_doubles(struct files *f)
{
	size_t out = 0;

	for (size_t i = 0; i < f->n; i++) {
		struct number *last = out ? &f->v[out - 1] : NULL;

		if (!last || strcmp(last->name, f->v[i].name) != 0) {
			f->v[out++] = f->v[i];
			continue;
		}
		struct out o = OUT(last->why);

		if (last->kind == SERVICE_BROKEN)
			o.n = strlen(last->why);
		else
			out_f(&o, "services/%s", last->file);
		out_f(&o, " and services/%s", f->v[i].file);
		out_z(&o);
		last->kind = SERVICE_BROKEN;
		last->web = NULL;
	}
	f->n = out;
}

static const struct number *file_find(const struct files *f, const char *name)
{
	struct number key = {.kind = SERVICE_NONE};

	if (!f->n || str_zcpy(str_z(name), key.name, sizeof(key.name)) < 0)
		return NULL;
	return bsearch(&key, f->v, f->n, sizeof(*f->v), by_name);
}

static bool file_same(const struct number *a, const struct number *b)
{
	return a->kind == b->kind && strcmp(a->file, b->file) == 0 && strcmp(a->why, b->why) == 0 &&
	       (a->kind != SERVICE_WEB || strcmp(a->web->voice_url, b->web->voice_url) == 0);
}

static void log_news(const struct files *old, const struct files *now)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct number *is = &now->v[i], *was = file_find(old, is->name);

		if (was && file_same(was, is))
			continue;
		if (is->kind == SERVICE_BROKEN)
			log_line(LOG_ERROR, "error 90001: number %s answers 500: two files for it: %s; remove or rename one of them", is->name, is->why);
		else
			log_line(LOG_DEBUG, "number %s is answered by services/%s", is->name, is->file);
	}
	for (size_t i = 0; i < old->n; i++)
		if (!file_find(now, old->v[i].name))
			log_line(LOG_DEBUG, "number %s is gone", old->v[i].name);
}

static void log_blemishes(const struct files *old, const struct files *now)
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

/* ---- the table: files and sections together ---- */

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static int by_conf_key(const void *a, const void *b)
{
	return strcmp(((const struct number_conf *)a)->key, ((const struct number_conf *)b)->key);
}

static struct entry *entry_find(const struct services *s, struct str key)
{
	struct entry want;

	if (!s->n || str_zcpy(key, want.key, sizeof(want.key)) < 0)
		return NULL;
	return bsearch(&want, s->v, s->n, sizeof(*s->v), by_key);
}

static const struct number_conf *conf_find(const struct services *s, struct str key)
{
	struct number_conf want;

	if (!s->n_conf || str_zcpy(key, want.key, sizeof(want.key)) < 0)
		return NULL;
	return bsearch(&want, s->conf, s->n_conf, sizeof(*s->conf), by_conf_key);
}

/* Characters before the ellipsis of a prefix; 0: it is none. */
static size_t prefix_n(const char *key)
{
	struct str k = str_z(key), end = STR(PREFIX_END);

	return k.n > end.n && str_eq(str_skip(k, k.n - end.n), end) ? k.n - end.n : 0;
}

/* The keys that match a number, longest first, from prefixes of at most *n characters on; after these `default`. *n goes down; false: none is left. */
static bool shorter_key(const char *number, int *n, char ret[36])
{
	struct out o = {.p = ret, .cap = 35};

	if (*n < 0)
		return false;
	if (*n > 0) {
		out_str(&o, str_n(number, (size_t)*n));
		OUT_STR(&o, PREFIX_END);
	} else {
		OUT_STR(&o, "default");
	}
	ret[o.n] = 0;
	--*n;
	return true;
}

/* A key, and how many characters a prefix that matches it beside itself may have; -1: nothing does. */
static int shorter_n(const char *key)
{
	size_t n = prefix_n(key);

	if (strcmp(key, "default") == 0)
		return -1;
	return n ? (int)n - 1 : (int)strlen(key);
}

static const struct entry *entry_above(const struct services *s, const char *key)
{
	const struct entry *e;
	char other[36];

	for (int n = shorter_n(key); shorter_key(key, &n, other);)
		if ((e = entry_find(s, str_z(other))) && e->number.kind != SERVICE_NONE)
			return e;
	return NULL;
}

/* The section that lends to a file: the one that matches its number best, if that names no voice_url. */
static const struct number_conf *conf_lender(const struct services *s, const char *key)
{
	const struct number_conf *c = conf_find(s, str_z(key));
	char other[36];

	for (int n = shorter_n(key); !c && shorter_key(key, &n, other);)
		c = conf_find(s, str_z(other));
	return c && !*c->web.voice_url ? c : NULL;
}

static bool conf_says(const struct number_conf *c, const char *key)
{
	return c->given & BIT(number_key_find(str_z(key)) - number_keys);
}

static void web_lend(struct number_web *web, const struct number_conf *c)
{
	if (*c->web.fallback_url) {
		memcpy(web->fallback_url, c->web.fallback_url, sizeof(web->fallback_url));
		web->fallback_get = c->web.fallback_get;
	}
	if (*c->web.status_callback) {
		memcpy(web->status_callback, c->web.status_callback, sizeof(web->status_callback));
		web->callback_get = c->web.callback_get;
		web->callback_events = c->web.callback_events;
	}
	if (conf_says(c, "filler_after_ms"))
		web->filler_after_ms = c->web.filler_after_ms;
	if (conf_says(c, "hedge_after_ms"))
		web->hedge_after_ms = c->web.hedge_after_ms;
}

/* What the number becomes with what the section says. */
static int entry_web(const struct services *s, struct entry *e, const struct number_web *web, const struct number_conf *c)
{
	if (!web && !c)
		return 0;
	e->web = calloc(1, sizeof(*e->web));
	if (!e->web)
		return -ENOMEM;
	e->web->filler_after_ms = s->filler_after_ms;
	e->web->hedge_after_ms = s->hedge_after_ms;
	if (web)
		*e->web = *web;
	if (c)
		web_lend(e->web, c);
	e->number.web = e->web;
	return 0;
}

/* All that are shorter are done already. */
static int entry_make(const struct services *s, struct entry *e)
{
	const struct number_conf *c = conf_find(s, str_z(e->key));
	const struct number *file = file_find(&s->files, e->key);
	const struct entry *above;

	if (c && *c->web.voice_url) {
		int r = entry_web(s, e, NULL, c);

		e->number.kind = SERVICE_WEB;
		memcpy(e->number.name, e->key, sizeof(e->number.name));
		if (!r) {
			memcpy(e->web->voice_url, c->web.voice_url, sizeof(e->web->voice_url));
			e->web->voice_get = c->web.voice_get;
			e->web->callback_events = c->web.callback_events;
		}
		return r;
	}
	if (file) {
		e->number = *file;
		return entry_web(s, e, file->web, conf_lender(s, e->key));
	}
	above = entry_above(s, e->key);
	if (!above)
		return 0; /* nothing to lend to: SERVICE_NONE */
	e->number = above->number;
	return entry_web(s, e, above->web, c);
}

static void keys_put(struct services *s)
{
	for (size_t i = 0; i < s->files.n; i++)
		memcpy(s->v[s->n++].key, s->files.v[i].name, sizeof(s->v->key));
	for (size_t i = 0; i < s->n_conf; i++)
		if (!file_find(&s->files, s->conf[i].key))
			memcpy(s->v[s->n++].key, s->conf[i].key, sizeof(s->v->key));
	qsort(s->v, s->n, sizeof(*s->v), by_key);
}

/* s: a candidate, with files and sections in place; its table is made. */
static int table_make(struct services *s)
{
	int r = 0;

	s->n = 0;
	s->v = calloc(s->files.n + s->n_conf + 1, sizeof(*s->v));
	if (!s->v)
		return -ENOMEM;
	keys_put(s);
	for (size_t i = 0; i < s->files.n; i++)
		if (s->files.v[i].kind == SERVICE_WEB) {
			struct number_web *w = &s->files.webs[s->files.v[i].web - s->files.webs];

			w->filler_after_ms = s->filler_after_ms;
			w->hedge_after_ms = s->hedge_after_ms;
		}
	for (int n = 0; n <= (int)limit_of(LIMIT_NUMBER) + 1 && !r; n++) /* `default`, prefixes from short to long, numbers */
		for (size_t i = 0; i < s->n && !r; i++) {
			const char *key = s->v[i].key;
			size_t p = prefix_n(key);
			int rank = strcmp(key, "default") == 0 ? 0 : p ? (int)p : (int)limit_of(LIMIT_NUMBER) + 1;

			if (rank == n)
				r = entry_make(s, &s->v[i]);
		}
	if (r) {
		entries_free(s->v, s->n);
		s->v = NULL;
		s->n = 0;
	}
	return r;
}

static void edition_next(struct services *s)
{
	s->edition = s->edition == UINT32_MAX ? 1 : s->edition + 1;
}

static int listing_read(struct files *f, struct str listing)
{
	size_t cap = 0, urls = 0, max = limit_of(LIMIT_NUMBERS);
	bool over = false;

	for (size_t i = 0; i < listing.n; i++) {
		cap += listing.p[i] == '\n';
		urls += str_starts(str_skip(listing, i), STR("\turl\t"));
	}
	f->v = calloc(MIN(cap, max) + 1, sizeof(*f->v));
	f->webs = calloc(urls + 1, sizeof(*f->webs));
	if (!f->v || !f->webs)
		return -ENOMEM;
	for (struct str rest = listing, line; rest.n;) {
		line = str_cut(rest, '\n', &rest);
		if (!rest.p)
			break; /* a line without its end was cut off */
		if (f->n == MIN(cap, max))
			over = true;
		else if (line_read(f, line, &f->v[f->n]))
			f->n++;
	}
	if (over) {
		blemish_add(f, STR("..."), 90013);
		count_add(COUNT_LIMIT_HIT, 1);
	}
	qsort(f->v, f->n, sizeof(*f->v), by_name);
	join_doubles(f);
	return 0;
}

int services_update(struct services *s, struct str listing)
{
	struct services now = *s;
	int r;

	now.files = (struct files){0};
	r = listing_read(&now.files, listing);
	if (!r)
		r = table_make(&now);
	if (r) {
		files_done(&now.files);
		return r;
	}
	/* nothing fails below */
	log_news(&s->files, &now.files);
	log_blemishes(&s->files, &now.files);
	files_done(&s->files);
	entries_free(s->v, s->n);
	*s = now;
	s->listed = true;
	edition_next(s);
	return 0;
}

/* ---- the configuration ---- */

static void log_change(const struct number_conf *was, const struct number_conf *is)
{
	const struct number_conf *c = is ? is : was;

	ASSERT(c);
	const char *url = *c->web.voice_url ? c->web.voice_url : "fallback and callbacks only";
	const char *what = !was ? "came" : !is ? "went" : "changed";

	log_line(LOG_INFO, "configuration: number %s %s%s%s", c->key, what, is ? ": " : "", is ? url : "");
}

/* Both are sorted. */
static void log_changes(const struct services *old, const struct services *now)
{
	size_t i = 0, k = 0;
	int changes = 0;

	while (i < old->n_conf || k < now->n_conf) {
		const struct number_conf *was = i < old->n_conf ? &old->conf[i] : NULL, *is = k < now->n_conf ? &now->conf[k] : NULL;
		int order = !was ? 1 : !is ? -1 : strcmp(was->key, is->key);

		i += order <= 0;
		k += order >= 0;
		if (order == 0 && was->given == is->given && memcmp(&was->web, &is->web, sizeof(was->web)) == 0)
			continue;
		if (changes++ < 32)
			log_change(order <= 0 ? was : NULL, order >= 0 ? is : NULL);
	}
	if (changes > 32)
		log_line(LOG_INFO, "configuration: and %d numbers more came, went or changed", changes - 32);
	else if (!changes)
		log_line(LOG_INFO, "configuration: no number changed");
}

int services_configure(struct services *s, const struct number_conf *v, int n)
{
	struct services now = *s;
	int r = 0;

	now.n_conf = (size_t)n;
	now.conf = calloc((size_t)n + 1, sizeof(*now.conf));
	if (!now.conf)
		return -ENOMEM;
	if (n)
		memcpy(now.conf, v, (size_t)n * sizeof(*v));
	qsort(now.conf, now.n_conf, sizeof(*now.conf), by_conf_key);
	for (size_t i = 1; i < now.n_conf && !r; i++)
		r = by_conf_key(&now.conf[i - 1], &now.conf[i]) ? 0 : -EEXIST;
	if (!r)
		r = table_make(&now);
	if (r) {
		free(now.conf);
		return r;
	}
	/* nothing fails below */
	if (s->configured)
		log_changes(s, &now);
	free(s->conf);
	entries_free(s->v, s->n);
	*s = now;
	s->configured = true;
	if (s->listed) /* before it, an edition would say that the folder is known */
		edition_next(s);
	return 0;
}

/* ---- looking up ---- */

const struct number *services_find(const struct services *s, struct str number)
{
	const struct entry *e = NULL;
	char name[36], other[36];

	if (str_zcpy(number, name, sizeof(name)) < 0)
		name[0] = 0;
	if (prefix_n(name)) { /* the name of a number that is a prefix */
		e = entry_find(s, number);
		return e && e->number.kind != SERVICE_NONE ? &e->number : NULL;
	}
	if (name_ok(number))
		e = entry_find(s, number);
	else
		name[0] = 0;
	for (int n = (int)strlen(name); (!e || e->number.kind == SERVICE_NONE) && shorter_key(name, &n, other);)
		e = entry_find(s, str_z(other));
	return e && e->number.kind != SERVICE_NONE ? &e->number : NULL;
}

const struct number *services_file(const struct services *s, struct str name)
{
	char z[36];

	return str_zcpy(name, z, sizeof(z)) < 0 ? NULL : file_find(&s->files, z);
}

const struct number *services_each(const struct services *s, size_t *at)
{
	while (*at < s->n) {
		const struct entry *e = &s->v[(*at)++];

		if (e->number.kind != SERVICE_NONE && strcmp(e->key, e->number.name) == 0) /* not what only lends */
			return &e->number;
	}
	return NULL;
}
