/* SPDX-License-Identifier: Apache-2.0
 *
 * sound: the sounds that calls play, as the sig side sees them: what was ordered from the runner (speech, decoded files) and what the media threads hold. A sound is
 * named by what it is made of, so two calls that say the same share one; unused ones stay until LIMIT_SOUND_CACHE is full, the longest unused goes first. Bytes
 * are never touched here: the runner's memfd is handed on to every media thread, then closed. Sig thread.
 *
 * The token of an order follows from its key: a worker that takes over asks for the same sound with the same token, and gets what the runner still keeps.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "verb/inside.h"

#define SOUNDS_MAX  16384
#define SAMPLE_SIZE 2

struct sound {
	struct link link; /* all; in the order of last use */
	struct link refs;
	handle h;
	enum sound_state state;
	enum ask_kind kind;
	struct str arg[2], in; /* views into key */
	char *key;
	size_t key_n;
	uint64_t key_hash;
	uint8_t token[16];
	uint32_t n_samples;
	int fd;     /* CAME: of the samples; WANTED: of what is to be decoded; -1 none */
	bool stale; /* found by no key any more */
	uint32_t fault;
	bool missing;
	char why[256];
};

struct soundbox {
	struct verbs *v;
	struct table *table;
	struct hash *by_key, *by_token;
	struct link all;
	uint64_t bytes;
};

struct soundbox *soundbox_new(struct verbs *v)
{
	struct soundbox *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return NULL;
	ss->v = v;
	link_init(&ss->all);
	ss->table = table_new(SOUNDS_MAX, sizeof(struct sound));
	ss->by_key = hash_new(SOUNDS_MAX);
	ss->by_token = hash_new(SOUNDS_MAX);
	if (ss->table && ss->by_key && ss->by_token)
		return ss;
	soundbox_free(ss);
	return NULL;
}

static uint64_t token_hash(const uint8_t token[16])
{
	uint64_t k;

	memcpy(&k, token, sizeof(k));
	return k;
}

static void sound_unname(struct soundbox *ss, struct sound *s)
{
	if (!s->stale)
		hash_drop(ss->by_key, s->key_hash, s);
	s->stale = true;
}

static void sound_free(struct soundbox *ss, struct sound *s)
{
	sound_unname(ss, s);
	if (s->state == SOUND_CAME || s->state == SOUND_READY)
		ss->bytes -= (uint64_t)s->n_samples * SAMPLE_SIZE;
	hash_drop(ss->by_token, token_hash(s->token), s);
	link_drop(&s->link);
	if (s->fd >= 0)
		close(s->fd);
	free(s->key);
	table_drop(ss->table, s->h);
}

void soundbox_free(struct soundbox *ss)
{
	if (!ss)
		return;
	LINK_EACH_SAFE (l, &ss->all)
		sound_free(ss, container_of(l, struct sound, link));
	hash_free(ss->by_key);
	hash_free(ss->by_token);
	table_free(ss->table);
	free(ss);
}

/* ---- room ---- */

static void media_drop(struct soundbox *ss, struct sound *s)
{
	struct media_cmd c = {.kind = MEDIA_SOUND_DROP, .sound = {.sound = handle_slot(s->h), .sound_gen = handle_gen(s->h)}};

	if (s->n_samples && ss->v->out->sound(ss->v->out->arg, &c, -1) < 0)
		log_line(LOG_WARN, "a sound could not be dropped by the media threads");
	sound_free(ss, s);
}

static int make_room(struct soundbox *ss, uint64_t bytes)
{
	uint64_t max = limit_of(LIMIT_SOUND_CACHE);

	LINK_EACH_SAFE (l, &ss->all) {
		struct sound *s = container_of(l, struct sound, link);

		if (ss->bytes + bytes <= max && table_count(ss->table) < SOUNDS_MAX)
			break;
		if (s->state == SOUND_READY && link_alone(&s->refs))
			media_drop(ss, s);
	}
	if (ss->bytes + bytes <= max && table_count(ss->table) < SOUNDS_MAX)
		return 0;
	count_add(COUNT_LIMIT_HIT, 1);
	return -ENOSPC;
}

/* ---- orders ---- */

/* kind NUL arg NUL arg NUL text */
static char *key_make(const struct sound_order *o, size_t *ret_n)
{
	size_t cap = o->arg[0].n + o->arg[1].n + o->in.n + 4;
	struct out k = {.p = malloc(cap), .cap = cap};

	if (!k.p)
		return NULL;
	out_c(&k, (char)('0' + o->kind));
	out_str(&k, o->arg[0]);
	out_c(&k, 0);
	out_str(&k, o->arg[1]);
	out_c(&k, 0);
	out_str(&k, o->in);
	*ret_n = k.n;
	return k.p;
}

static struct sound *key_find(struct soundbox *ss, const char *key, size_t n, uint64_t h)
{
	struct sound *s;

	for (size_t at = 0; (s = hash_next(ss->by_key, h, &at));)
		if (s->key_n == n && memcmp(s->key, key, n) == 0)
			return s;
	return NULL;
}

static void token_make(uint8_t token[16], const char *key, size_t n)
{
	static const uint8_t a[16] = "sound, first 8", b[16] = "sound, last 8";
	uint64_t half[2] = {siphash(a, key, n), siphash(b, key, n)};

	memcpy(token, half, 16);
}

/* Its bytes are given to the runner, who cannot find them by itself: of a reply, or of the web (under two names: remote.c). */
static bool is_given(const struct sound *s)
{
	return str_eq(s->arg[0], STR("body")) || str_ieq(s->arg[0], STR("web"));
}

static struct sound *sound_new(struct soundbox *ss, const struct sound_order *o, char *key, size_t n, uint64_t hash)
{
	handle h;
	struct sound *s = make_room(ss, 0) < 0 ? NULL : table_add(ss->table, &h);

	if (!s)
		return NULL;
	*s = (struct sound){.h = h, .state = SOUND_WANTED, .kind = o->kind, .key = key, .key_n = n, .key_hash = hash, .fd = o->fd};
	s->arg[0] = str_n(key + 1, o->arg[0].n);
	s->arg[1] = str_n(key + o->arg[0].n + 2, o->arg[1].n);
	s->in = str_n(key + n - o->in.n, o->in.n);
	link_init(&s->refs);
	link_init(&s->link);
	link_append(&ss->all, &s->link);
	if (str_ieq(s->arg[0], STR("web"))) /* under one URL there is one sound after the other */
		rand_bytes(s->token, sizeof(s->token));
	else
		token_make(s->token, key, n);
	if (hash_put(ss->by_key, hash, s) == 0 && hash_put(ss->by_token, token_hash(s->token), s) == 0)
		return s;
	s->fd = -1;
	s->key = NULL;
	sound_free(ss, s);
	return NULL;
}

static void fail(struct soundbox *ss, struct sound *s, uint32_t fault, const char *why);

/* true = it failed, and those who waited were told (any sound may be gone). */
static bool sound_order(struct soundbox *ss, struct sound *s)
{
	struct ask q = {.kind = s->kind, .token = s->token, .arg = {s->arg[0], s->arg[1]}, .in = s->in, .wall_ms = SOUND_WALL_MS, .fd = s->fd};
	int err;

	if (is_given(s))
		q.arg[0] = STR("body"), q.arg[1] = STR_NONE;
	err = runner_tell(ss->v, &q);
	if (err == -EMSGSIZE || err == -E2BIG) {
		fail(ss, s, 90007, strerror(-err));
		return true;
	}
	if (err) { /* busy, or being started again: who waits has a deadline */
		verbs_try_again(ss->v);
		return false;
	}
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->state = SOUND_ASKED;
	return false;
}

static void ref_hang(struct sound_ref *ref, struct sound *s, struct run *r)
{
	ref->s = s;
	ref->r = r;
	link_init(&ref->link);
	link_append(&s->refs, &ref->link);
}

int sound_want(struct run *r, struct sound_ref *ref, const struct sound_order *o)
{
	struct soundbox *ss = r->v->sounds;
	size_t n = 0;
	char *key = key_make(o, &n);
	uint64_t hash = key ? str_hash(str_n(key, n)) : 0;
	struct sound *s = key ? key_find(ss, key, n, hash) : NULL;
	bool fresh = false;

	if (s && o->fresh) {
		sound_unname(ss, s);
		if (s->state == SOUND_READY && link_alone(&s->refs))
			media_drop(ss, s);
		s = NULL;
	}
	if (s || !key) {
		free(key);
		if (o->fd >= 0)
			close(o->fd);
		if (!s)
			return -ENOMEM;
	} else {
		s = sound_new(ss, o, key, n, hash);
		if (!s) {
			free(key);
			if (o->fd >= 0)
				close(o->fd);
			return -ENOSPC;
		}
		fresh = true;
	}
	if (ref->s != s) {
		sound_let(ref);
		ref_hang(ref, s, r);
	}
	link_drop(&s->link);
	link_append(&ss->all, &s->link);
	if (fresh)
		sound_order(ss, s); /* with somebody who holds it: it may fail at once */
	return 0;
}

void sound_let(struct sound_ref *ref)
{
	struct sound *s = ref->s;
	struct soundbox *ss;

	if (!s)
		return;
	ss = ref->r->v->sounds;
	link_drop(&ref->link);
	ref->s = NULL;
	if (!link_alone(&s->refs))
		return;
	switch (s->state) {
	case SOUND_ASKED: /* nobody waits any more */
		runner_taken(ss->v, s->token, true);
		sound_free(ss, s);
		break;
	case SOUND_READY:
		if (s->stale)
			media_drop(ss, s);
		break;
	default:
		sound_free(ss, s);
	}
}

void sound_move(struct sound_ref *to, struct sound_ref *from)
{
	struct sound *s = from->s;

	if (s != to->s) {
		sound_let(to);
		if (s)
			ref_hang(to, s, from->r);
	}
	sound_let(from);
}

enum sound_state sound_state(const struct sound_ref *ref)
{
	return ref->s ? ref->s->state : SOUND_NONE;
}

bool sound_missing(const struct sound_ref *ref)
{
	return ref->s && ref->s->missing;
}

const char *sound_why(const struct sound_ref *ref, uint32_t *ret_fault)
{
	*ret_fault = ref->s ? ref->s->fault : 0;
	return ref->s ? ref->s->why : "";
}

void sound_numbers(const struct sound_ref *ref, struct play_order *ret)
{
	ret->sound = handle_slot(ref->s->h);
	ret->sound_gen = handle_gen(ref->s->h);
	ret->n_samples = ref->s->n_samples;
}

/* ---- answers ---- */

/* Each who waits is told. One who is told may let go of any sound, this one too: a link of our own keeps it, and the list is taken apart from its head. */
static void tell(struct soundbox *ss, struct sound *s)
{
	struct link waiting, guard;

	link_init(&waiting);
	link_init(&guard);
	while (!link_alone(&s->refs)) {
		struct link *l = s->refs.next;

		link_drop(l);
		link_append(&waiting, l);
	}
	link_append(&s->refs, &guard);
	while (!link_alone(&waiting)) {
		struct link *l = waiting.next;
		struct sound_ref *ref = container_of(l, struct sound_ref, link);

		link_drop(l);
		link_append(&s->refs, l);
		if (ref->r->awaits && ref == &ref->r->cur) {
			const char *was = base_at();

			base_enter(ref->r->sid);
			run_go(ref->r, run_sound(ref->r));
			base_enter(was);
		}
	}
	link_drop(&guard);
	if (link_alone(&s->refs) && s->state == SOUND_FAILED)
		sound_free(ss, s);
	else if (link_alone(&s->refs) && s->stale)
		media_drop(ss, s);
}

static void fail(struct soundbox *ss, struct sound *s, uint32_t fault, const char *why)
{
	struct out o = OUT(s->why);

	sound_unname(ss, s); /* the next one who wants it asks anew: the file may be there then */
	s->state = SOUND_FAILED;
	s->fault = fault;
	out_str(&o, str_z(why));
	out_z(&o);
	tell(ss, s);
}

/* CAME: to the media threads; when they have it, to those who wait. */
static void hand_on(struct soundbox *ss, struct sound *s)
{
	struct media_cmd c = {.kind = MEDIA_SOUND, .sound = {.sound = handle_slot(s->h), .sound_gen = handle_gen(s->h), .n_samples = s->n_samples}};
	int err = s->n_samples ? ss->v->out->sound(ss->v->out->arg, &c, s->fd) : 0;

	if (err == -EAGAIN) {
		verbs_try_again(ss->v);
		return;
	}
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	if (err < 0) {
		ss->bytes -= (uint64_t)s->n_samples * SAMPLE_SIZE;
		fail(ss, s, 90008, strerror(-err));
		return;
	}
	s->state = SOUND_READY;
	tell(ss, s);
}

static bool is_whole(int fd, uint32_t n_samples)
{
	struct stat st;

	return n_samples == 0 || (fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size >= (uint64_t)n_samples * SAMPLE_SIZE);
}

static void came(struct soundbox *ss, struct sound *s, const struct told *t, int fd)
{
	bool whole = is_whole(fd, t->n);

	runner_taken(ss->v, s->token, false);
	if (!t->fault && whole && make_room(ss, (uint64_t)t->n * SAMPLE_SIZE) == 0) {
		s->n_samples = t->n;
		ss->bytes += (uint64_t)t->n * SAMPLE_SIZE;
		s->fd = fd;
		s->state = SOUND_CAME;
		hand_on(ss, s);
		return;
	}
	if (fd >= 0)
		close(fd);
	s->missing = t->missing;
	if (t->fault)
		fail(ss, s, t->fault, t->why);
	else if (!whole)
		fail(ss, s, 90002, "the runner gave fewer samples than it said");
	else
		fail(ss, s, 90004, "the cache is full of sounds in use");
}

bool soundbox_answer(struct soundbox *ss, const struct told *t, int fd)
{
	struct sound *s = NULL;

	for (size_t at = 0; (s = hash_next(ss->by_token, token_hash(t->token), &at));)
		if (memcmp(s->token, t->token, sizeof(s->token)) == 0 && (s->state == SOUND_ASKED || s->state == SOUND_WANTED))
			break;
	if (!s)
		return false;
	if (t->state == TOLD_DONE) {
		came(ss, s, t, fd);
		return true;
	}
	if (fd >= 0)
		close(fd);
	if (t->state == TOLD_UNKNOWN) {
		s->state = SOUND_WANTED;
		sound_order(ss, s);
	}
	return true;
}

/* A run that is told may free any sound: each pass begins again after one that told. */
static bool retry_one(struct soundbox *ss)
{
	LINK_EACH (l, &ss->all) {
		struct sound *s = container_of(l, struct sound, link);

		if (s->state == SOUND_WANTED && sound_order(ss, s))
			return true;
		if (ss->v->again.at_ms) /* no room again */
			return false;
		if (s->state == SOUND_CAME) {
			hand_on(ss, s);
			return true;
		}
	}
	return false;
}

void soundbox_retry(struct soundbox *ss)
{
	while (retry_one(ss))
		;
}

static bool lost_one(struct soundbox *ss)
{
	LINK_EACH (l, &ss->all) {
		struct sound *s = container_of(l, struct sound, link);

		if (s->state != SOUND_ASKED)
			continue;
		if (!is_given(s)) {
			s->state = SOUND_WANTED;
			continue;
		}
		fail(ss, s, 90006, "the runner ended while it read the sound");
		return true;
	}
	return false;
}

void soundbox_runner_gone(struct soundbox *ss)
{
	while (lost_one(ss))
		;
	soundbox_retry(ss);
}

void soundbox_folder_changed(struct soundbox *ss)
{
	LINK_EACH_SAFE (l, &ss->all) {
		struct sound *s = container_of(l, struct sound, link);

		if (s->kind != ASK_DECODE || !str_eq(s->arg[0], STR("services")) || s->stale)
			continue;
		sound_unname(ss, s);
		if (s->state == SOUND_READY && link_alone(&s->refs))
			media_drop(ss, s);
	}
}
