/* SPDX-License-Identifier: Apache-2.0
 *
 * media_sound: the sound buffers of one media thread. A sound comes as a memfd of 16-bit samples and is mapped with all its pages at once, so that playing it
 * never waits for a page; it is unmapped when it was dropped and no stream plays it any more. Orders only, not on the packet road.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "media/media_int.h"

static struct sound *find(struct media *m, uint32_t id, uint32_t gen)
{
	for (int i = 0; i < m->n_sounds; i++)
		if (m->sounds[i]->id == id && m->sounds[i]->gen == gen && !m->sounds[i]->dropped)
			return m->sounds[i];
	return NULL;
}

static bool grow(struct media *m)
{
	if (m->n_sounds < m->cap_sounds)
		return true;
	int cap = m->cap_sounds ? 2 * m->cap_sounds : 64;
	struct sound **more = realloc(m->sounds, (size_t)cap * sizeof(struct sound *));
	if (!more)
		return false;
	m->sounds = more;
	m->cap_sounds = cap;
	return true;
}

/* A file shorter than it is said to be would kill the thread by SIGBUS: it is refused here. */
static const int16_t *map(int fd, size_t n)
{
	struct stat st;
	if (n == 0 || fstat(fd, &st) != 0 || st.st_size < 0 || (size_t)st.st_size < n)
		return NULL;
	void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

void sound_put(struct media *m, uint32_t id, uint32_t gen, uint32_t n_samples, int fd)
{
	struct sound *s = NULL;
	if (fd < 0 || find(m, id, gen) || !grow(m) || !(s = calloc(1, sizeof(*s))))
		return;
	*s = (struct sound){.id = id, .gen = gen, .n_samples = n_samples, .map_n = (size_t)n_samples * sizeof(int16_t)};
	s->samples = map(fd, s->map_n);
	if (!s->samples && n_samples) {
		log_line(LOG_ERROR, "media: sound %u cannot be mapped", id);
		free(s);
		return;
	}
	m->sounds[m->n_sounds++] = s;
}

static void unmap(struct sound *s)
{
	if (s->samples)
		munmap((void *)(uintptr_t)s->samples, s->map_n);
	free(s);
}

static void forget(struct media *m, struct sound *s)
{
	for (int i = 0; i < m->n_sounds; i++)
		if (m->sounds[i] == s) {
			m->sounds[i] = m->sounds[--m->n_sounds];
			break;
		}
	unmap(s);
}

void sound_drop(struct media *m, uint32_t id, uint32_t gen)
{
	struct sound *s = find(m, id, gen);
	if (!s)
		return;
	s->dropped = true;
	if (!s->plays)
		forget(m, s);
}

struct sound *sound_take(struct media *m, uint32_t id, uint32_t gen)
{
	struct sound *s = find(m, id, gen);
	if (s)
		s->plays++;
	return s;
}

void sound_leave(struct media *m, struct sound *s)
{
	if (s && --s->plays == 0 && s->dropped)
		forget(m, s);
}

void media_sounds_free(struct media *m)
{
	for (int i = 0; i < m->n_sounds; i++)
		unmap(m->sounds[i]);
	free(m->sounds);
}
