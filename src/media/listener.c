/* SPDX-License-Identifier: Apache-2.0
 *
 * listener: says what is in a sound, for `hookswitch call` and for tests: seconds of speech, of silence and of single tones, the digits dialled in it (spandsp),
 * and the level of what is not silent. Frame by frame of 20 ms; any thread, one at a time.
 *
 * A pure tone obeys x[n] + x[n-2] = 2 cos(w) x[n-1]; the cosine that fits best is found by least squares, and where next to nothing is left over the frame is a tone.
 * Levels are those of the rms against 32768.
 */
#include <math.h>
#include <stdlib.h>
#include <spandsp.h>
#include "media/media.h"

#define SILENT_DBFS -50.0
#define TONE_REST   0.02 /* share of the energy that a tone may leave unexplained: G.711 noise is 0.0001, two tones 0.1 and more */
#define TONE_FRAMES 3    /* vowels can look like a tone for a moment */

struct listener {
	dtmf_rx_state_t *dtmf;
	int16_t frame[AUDIO_FRAME];
	size_t n;
	uint64_t n_speech, n_silent, n_tone; /* frames */
	double energy;                       /* of what is not silent */
	uint64_t n_energy;                   /* samples */
	int run_hz, run;                     /* tone going on */
	double hz_sum;
	uint64_t hz_n;
	char digits[128];
	size_t n_digits;
};

static void on_digits(void *arg, const char *digits, int n)
{
	struct listener *l = arg;
	for (int i = 0; i < n && l->n_digits + 1 < sizeof(l->digits); i++)
		l->digits[l->n_digits++] = digits[i];
}

struct listener *listener_new(void)
{
	struct listener *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->dtmf = dtmf_rx_init(NULL, on_digits, l);
	if (!l->dtmf) {
		free(l);
		return NULL;
	}
	return l;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	dtmf_rx_free(l->dtmf);
	free(l);
}

/* Frequency of a pure tone, 0 = none. */
static int tone_of(const int16_t *x)
{
	double xy = 0, yy = 0, ss = 0, rest = 0;
	for (int i = 2; i < AUDIO_FRAME; i++) {
		double sum = (double)x[i] + x[i - 2], y = x[i - 1];
		xy += sum * y;
		yy += y * y;
		ss += (double)x[i] * x[i];
	}
	double c = yy > 0 ? xy / yy : 0; /* 2 cos w */
	if (c <= -2 || c >= 2 || ss <= 0)
		return 0;
	for (int i = 2; i < AUDIO_FRAME; i++) {
		double r = (double)x[i] + x[i - 2] - c * x[i - 1];
		rest += r * r;
	}
	/* Low tones are nearly straight lines, which any loud rumble is too: below 60 Hz nothing is said. */
	int hz = (int)lrint(acos(c / 2) * AUDIO_HZ / (2 * M_PI));
	return rest < TONE_REST * ss && hz >= 60 ? hz : 0;
}

static void end_run(struct listener *l)
{
	if (l->run >= TONE_FRAMES)
		l->n_tone += (uint64_t)l->run;
	else
		l->n_speech += (uint64_t)l->run;
	l->run = 0;
}

static void put_frame(struct listener *l)
{
	double e = 0;
	dtmf_rx(l->dtmf, l->frame, AUDIO_FRAME);
	for (int i = 0; i < AUDIO_FRAME; i++)
		e += (double)l->frame[i] * l->frame[i];
	if (e <= 0 || 10 * log10(e / AUDIO_FRAME / 32768.0 / 32768.0) < SILENT_DBFS) {
		end_run(l);
		l->n_silent++;
		return;
	}
	l->energy += e;
	l->n_energy += AUDIO_FRAME;
	int hz = tone_of(l->frame);
	if (l->run && (!hz || abs(hz - l->run_hz) > 10))
		end_run(l);
	if (!hz) {
		l->n_speech++;
		return;
	}
	l->run_hz = hz;
	l->run++;
	l->hz_sum += hz;
	l->hz_n++;
}

void listener_put(struct listener *l, const int16_t *samples, size_t n)
{
	while (n) {
		size_t part = MIN(n, AUDIO_FRAME - l->n);
		memcpy(l->frame + l->n, samples, part * sizeof(int16_t));
		l->n += part;
		samples += part;
		n -= part;
		if (l->n == AUDIO_FRAME) {
			put_frame(l);
			l->n = 0;
		}
	}
}

void listener_report(const struct listener *l, struct listener_report *ret)
{
	const double frame_s = FRAME_MS / 1000.0;
	bool tone = l->run >= TONE_FRAMES;
	memset(ret, 0, sizeof(*ret));
	ret->speech_s = frame_s * (double)(l->n_speech + (tone ? 0 : (uint64_t)l->run));
	ret->silence_s = frame_s * (double)l->n_silent;
	ret->tone_s = frame_s * (double)(l->n_tone + (tone ? (uint64_t)l->run : 0));
	ret->tone_hz = ret->tone_s > 0 && l->hz_n ? (int)lrint(l->hz_sum / (double)l->hz_n) : 0;
	ret->level_dbfs = l->n_energy ? 10 * log10(l->energy / (double)l->n_energy / 32768.0 / 32768.0) : -120.0;
	memcpy(ret->digits, l->digits, l->n_digits);
}
