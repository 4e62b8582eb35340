/* SPDX-License-Identifier: Apache-2.0
 *
 * conceal: what is heard where a frame is missing. The idea is that of G.711 appendix I: speech repeats itself, so the last pitch period is played on, first
 * the last one, later two of them so that it buzzes less, from 20 ms on more quietly, and by 80 ms nothing is left but noise at the level of the background.
 * Never digital silence: a line that is dead still sounds broken. Where frames come again the made-up sound is faded into them. Pure function; on media threads.
 */
#include <math.h>
#include "media/media_int.h"

#define PITCH_MIN   40  /* 200 Hz */
#define PITCH_MAX   160 /* 50 Hz */
#define COMPARE     160 /* samples over which two stretches are held to be alike */
#define FADE_IN     48  /* samples in which made-up sound gives way to the real */
#define EASE_IN     16  /* samples in which a step between them is smoothed out */
#define FULL_TO     160 /* samples played at full level */
#define GONE_AT     640 /* from here on only noise */
#define FLOOR_LEAST 6.0f
#define FLOOR_MOST  60.0f /* -55 dBFS: louder is no background */

void conceal_init(struct conceal *c)
{
	memset(c, 0, sizeof(*c));
	c->floor = FLOOR_LEAST;
	c->noise = 1;
}

static void remember(struct conceal *c, const int16_t *pcm)
{
	memmove(c->past, c->past + AUDIO_FRAME, (CONCEAL_HISTORY - AUDIO_FRAME) * sizeof(int16_t));
	memcpy(c->past + CONCEAL_HISTORY - AUDIO_FRAME, pcm, AUDIO_FRAME * sizeof(int16_t));
}

/* Follows the quietest frames: down at once, up slowly (6 dB in about 3 s). */
static void learn_floor(struct conceal *c, const int16_t *pcm)
{
	float e = 0;
	for (int i = 0; i < AUDIO_FRAME; i++)
		e += (float)pcm[i] * (float)pcm[i];
	float rms = sqrtf(e / AUDIO_FRAME);
	c->floor = rms < c->floor ? rms : c->floor * 1.005f;
	c->floor = fminf(fmaxf(c->floor, FLOOR_LEAST), FLOOR_MOST);
}

/* How alike the newest sound and that of `lag` samples ago are; each `step`th sample is looked at. */
static float likeness(const struct conceal *c, int lag, int step)
{
	const int16_t *a = c->past + CONCEAL_HISTORY - COMPARE, *b = a - lag;
	float ab = 0, bb = 1;
	for (int i = 0; i < COMPARE; i += step) {
		ab += (float)a[i] * (float)b[i];
		bb += (float)b[i] * (float)b[i];
	}
	return ab <= 0 ? 0 : ab * ab / bb;
}

static int find_pitch(const struct conceal *c)
{
	int best = PITCH_MAX;
	float most = 0;
	for (int lag = PITCH_MIN; lag <= PITCH_MAX; lag += 2) {
		float l = likeness(c, lag, 2);
		if (l > most) {
			most = l;
			best = lag;
		}
	}
	int from = MAX(best - 1, PITCH_MIN), to = MIN(best + 1, PITCH_MAX);
	most = 0;
	for (int lag = from; lag <= to; lag++) {
		float l = likeness(c, lag, 1);
		if (l > most) {
			most = l;
			best = lag;
		}
	}
	return best;
}

/* The last `n` samples as a loop: its end is blended with what stood before its beginning, so that it closes without a click. */
static void make_period(struct conceal *c, int n)
{
	const int16_t *last = c->past + CONCEAL_HISTORY - n;
	int q = MIN(c->pitch / 4, CONCEAL_HISTORY - n);
	memcpy(c->period, last, (size_t)n * sizeof(int16_t));
	for (int i = 0; i < q; i++) {
		int w = (i + 1) * 256 / (q + 1);
		c->period[n - q + i] = (int16_t)((last[n - q + i] * (256 - w) + last[i - q] * w) / 256);
	}
	c->n_period = n;
	c->at = 0;
}

static int16_t noise(struct conceal *c)
{
	c->noise = c->noise * 1664525u + 1013904223u;
	/* evenly spread: the peak is the rms times the root of three */
	return (int16_t)lrintf(c->floor * 1.732f * (float)((int)(c->noise >> 8 & 0xffff) - 32768) / 32768.0f);
}

static int16_t made_up(struct conceal *c)
{
	int t = c->lost++;
	if (t >= GONE_AT || !c->any)
		return noise(c);
	int x = c->period[c->at];
	c->at = (c->at + 1) % c->n_period;
	if (t < EASE_IN)
		x = MAX(MIN(x + c->step * (EASE_IN - t) / EASE_IN, INT16_MAX), INT16_MIN);
	if (t < FULL_TO)
		return (int16_t)x;
	int gain = 256 * (GONE_AT - t) / (GONE_AT - FULL_TO);
	return (int16_t)((x * gain + noise(c) * (256 - gain)) / 256);
}

static void begin(struct conceal *c)
{
	if (c->lost > 0 || !c->any)
		return;
	c->pitch = find_pitch(c);
	c->step = c->past[CONCEAL_HISTORY - 1] - c->past[CONCEAL_HISTORY - 1 - c->pitch];
	make_period(c, c->pitch);
}

void conceal_lost(struct conceal *c, int16_t *pcm)
{
	begin(c);
	/* One period repeated for long buzzes; the loop is made anew, of two, from the real sound that is still remembered. */
	if (c->any && c->lost == FULL_TO && 2 * c->pitch <= CONCEAL_HISTORY - AUDIO_FRAME)
		make_period(c, 2 * c->pitch);
	for (int i = 0; i < AUDIO_FRAME; i++)
		pcm[i] = made_up(c);
	c->lost = MIN(c->lost, GONE_AT);
	remember(c, pcm);
}

bool conceal_good(struct conceal *c, int16_t *pcm, bool seam)
{
	bool join = c->any && (seam || c->lost > 0);
	if (join) {
		begin(c);
		for (int i = 0; i < FADE_IN; i++) {
			int w = (i + 1) * 256 / (FADE_IN + 1);
			pcm[i] = (int16_t)((made_up(c) * (256 - w) + pcm[i] * w) / 256);
		}
	}
	c->lost = 0;
	c->any = true;
	learn_floor(c, pcm);
	remember(c, pcm);
	return join;
}
