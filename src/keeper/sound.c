/* SPDX-License-Identifier: Apache-2.0
 *
 * sound: samples on their way to the worker: a bounded buffer, the level at which all prompts are heard, resampling to AUDIO_HZ, and the cache of finished sounds in
 * sealed memfds (least recently used goes first). The buffer and the level work in children that speak or decode, the cache in the runner.
 */
#include <fcntl.h>
#include <math.h>
#include <speex/speex_resampler.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

#define FULL        32768.0
#define TARGET_DB   -20.0
#define GAIN_MAX_DB 40.0 /* what is softer than −60 dBFS is no speech */
#define SPEECH_DB   16.0 /* a frame is speech when it is at most this much below the mean of speech (ITU-T P.56 takes 15.9) */
#define KNEE        0.7  /* of full: above it peaks are bent, not cut */
#define CEILING     0.95
#define N_SOUNDS    512

int pcm_add(struct pcm *b, const float *p, size_t n)
{
	n = MIN(n, b->max - b->n);
	if (b->n + n > b->cap) {
		size_t cap = MIN(MAX(b->cap * 2, b->n + n + 65536), b->max);
		int16_t *grown = realloc(b->p, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		b->p = grown;
		b->cap = cap;
	}
	for (size_t i = 0; i < n; i++) {
		float v = p[i] * (float)FULL;
		b->p[b->n++] = v != v ? 0 : v > 32767.0f ? 32767 : v < -32768.0f ? -32768 : (int16_t)lrintf(v);
	}
	return 0;
}

/* Mean square of the frames at or above floor. */
static double mean_square(const struct pcm *b, double floor)
{
	double sum = 0;
	size_t n = 0;
	for (size_t at = 0; at < b->n; at += AUDIO_FRAME) {
		size_t len = MIN((size_t)AUDIO_FRAME, b->n - at);
		double s = 0;
		for (size_t i = 0; i < len; i++)
			s += (double)b->p[at + i] * b->p[at + i];
		if (s / (double)len < floor || s == 0)
			continue;
		sum += s;
		n += len;
	}
	return n > 0 ? sum / (double)n : 0;
}

static int16_t bend(double v)
{
	double a = fabs(v) / FULL;
	if (a > KNEE)
		a = KNEE + (CEILING - KNEE) * tanh((a - KNEE) / (CEILING - KNEE));
	return (int16_t)lrint(copysign(a * FULL, v));
}

void pcm_level(struct pcm *b)
{
	double ms = mean_square(b, 0);
	for (int i = 0; i < 8; i++)
		ms = mean_square(b, ms * pow(10, -SPEECH_DB / 10));
	if (ms <= 0)
		return;
	double gain_db = TARGET_DB - 10 * log10(ms / (FULL * FULL));
	if (gain_db > GAIN_MAX_DB)
		return;
	double gain = pow(10, gain_db / 20);
	for (size_t i = 0; i < b->n; i++)
		b->p[i] = bend(b->p[i] * gain);
}

int pcm_write(const struct pcm *b, int fd)
{
	size_t n = b->n * sizeof(*b->p);
	for (size_t at = 0; at < n;) {
		ssize_t r = pwrite(fd, (const char *)b->p + at, n - at, (off_t)at);
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		at += (size_t)r;
	}
	return 0;
}

/* ---- resampling ---- */
struct resampler {
	SpeexResamplerState *s; /* NULL: the rate is right */
};

struct resampler *resampler_new(uint32_t rate_hz)
{
	struct resampler *r = calloc(1, sizeof(*r));
	if (!r || rate_hz == AUDIO_HZ)
		return r;
	r->s = speex_resampler_init(1, rate_hz, AUDIO_HZ, SPEEX_RESAMPLER_QUALITY_DEFAULT, NULL);
	if (!r->s) {
		free(r);
		return NULL;
	}
	speex_resampler_skip_zeros(r->s);
	return r;
}

void resampler_free(struct resampler *r)
{
	if (r && r->s)
		speex_resampler_destroy(r->s);
	free(r);
}

int resampler_add(struct resampler *r, const float *p, size_t n, struct pcm *to)
{
	static const float silence[1024];
	if (!r->s)
		return p ? pcm_add(to, p, n) : 0;
	if (!p) { /* what still hangs in the filter */
		p = silence;
		n = MIN((size_t)speex_resampler_get_input_latency(r->s), N_ELEMENTS(silence));
	}
	float out[1024];
	while (n > 0) {
		spx_uint32_t took = (spx_uint32_t)MIN(n, 4096u), made = N_ELEMENTS(out);
		if (speex_resampler_process_float(r->s, 0, p, &took, out, &made) != RESAMPLER_ERR_SUCCESS || (took == 0 && made == 0))
			return -EIO;
		int e = pcm_add(to, out, made);
		if (e < 0)
			return e;
		p += took;
		n -= took;
	}
	return 0;
}

/* ---- memfds ---- */
int memfd_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ? -errno : 0;
}

int memfd_view(int fd)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int view = open(path, O_RDONLY | O_CLOEXEC);
	return view >= 0 ? view : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* ---- cache ---- */
struct sound {
	struct sound_key key;
	int fd; /* -1 = free */
	uint32_t n;
	uint64_t used;
};
struct sounds {
	struct sound all[N_SOUNDS];
	uint64_t max_bytes, bytes, clock;
};

struct sounds *sound_cache_new(uint64_t max_bytes)
{
	struct sounds *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->max_bytes = max_bytes;
	for (int i = 0; i < N_SOUNDS; i++)
		s->all[i].fd = -1;
	return s;
}

static void forget(struct sounds *s, struct sound *x)
{
	close(x->fd);
	x->fd = -1;
	s->bytes -= (uint64_t)x->n * 2;
}

void sound_cache_free(struct sounds *s)
{
	for (int i = 0; s && i < N_SOUNDS; i++)
		if (s->all[i].fd >= 0)
			forget(s, &s->all[i]);
	free(s);
}

static struct sound *find_sound(struct sounds *s, struct sound_key k)
{
	for (int i = 0; i < N_SOUNDS; i++)
		if (s->all[i].fd >= 0 && s->all[i].key.a == k.a && s->all[i].key.b == k.b)
			return &s->all[i];
	return NULL;
}

int sound_cache_get(struct sounds *s, struct sound_key k, uint32_t *ret_n)
{
	struct sound *x = find_sound(s, k);
	if (!x)
		return -1;
	x->used = ++s->clock;
	*ret_n = x->n;
	return memfd_view(x->fd);
}

/* A free place, or that of the one unused for longest. */
static struct sound *find_place(struct sounds *s, uint64_t bytes)
{
	for (;;) {
		struct sound *place = NULL, *oldest = NULL;
		for (int i = 0; i < N_SOUNDS; i++) {
			struct sound *x = &s->all[i];
			if (x->fd < 0)
				place = x;
			else if (!oldest || x->used < oldest->used)
				oldest = x;
		}
		if (place && s->bytes + bytes <= s->max_bytes)
			return place;
		if (!oldest)
			return NULL;
		forget(s, oldest);
	}
}

void sound_cache_put(struct sounds *s, struct sound_key k, int fd, uint32_t n)
{
	uint64_t bytes = (uint64_t)n * 2;
	if (bytes > s->max_bytes || find_sound(s, k))
		return;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return;
	struct sound *x = find_place(s, bytes);
	if (!x) {
		close(own);
		return;
	}
	*x = (struct sound){.key = k, .fd = own, .n = n, .used = ++s->clock};
	s->bytes += bytes;
}
