/* SPDX-License-Identifier: Apache-2.0
 *
 * listener: says what is in a sound, for `hookswitch call` and for tests: seconds of speech, of silence and of single tones, the digits dialled in it (spandsp),
 * and the level of what is not silent. Frame by frame of 20 ms; any thread, one at a time.
 *
 * A pure tone obeys x[n] + x[n-2] = 2 cos(w) x[n-1]; the cosine that fits best gives the frequency, and the share of the energy that a sine of that frequency explains
 * says whether it is one. A vowel can be that for a moment, but does not hold its pitch: a tone lasts, and stays where it is.
 * Levels are those of the rms against 32768.
 */
#include <math.h>
#include <stdlib.h>
#include <spandsp.h>
#include "media/media.h"

#define SILENT_DBFS -50.0
#define TONE_SHARE  0.97
#define TONE_DRIFT  6 /* Hz from frame to frame */
#define TONE_FRAMES 5

struct listener {
	dtmf_rx_state_t *dtmf;
	int16_t frame[AUDIO_FRAME];
	size_t n;
	uint64_t n_speech, n_silent, n_tone; /* frames */
	double energy;                       /* of what is not silent */
	uint64_t n_energy;                   /* samples */
	int run_hz, run;                     /* tone going on */
	double run_sum, hz_sum;              /* of the frequencies: of that tone, of those before */
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

/* Share of the frame's energy that the best sine of w (radians a sample) explains: least squares in two unknowns. */
static double share_of(const int16_t *x, double w)
{
	double cc = 0, ss = 0, cs = 0, xc = 0, xs = 0, xx = 0;
	for (int i = 0; i < AUDIO_FRAME; i++) {
		double c = cos(w * i), s = sin(w * i);
		cc += c * c;
		ss += s * s;
		cs += c * s;
		xc += x[i] * c;
		xs += x[i] * s;
		xx += (double)x[i] * x[i];
	}
	double det = cc * ss - cs * cs;
	if (det < 1e-6 || xx <= 0)
		return 0;
	return (ss * xc * xc - 2 * cs * xc * xs + cc * xs * xs) / det / xx;
}

/* Frequency of a pure tone, 0 = none. */
static int tone_of(const int16_t *x)
{
	double xy = 0, yy = 0;
	for (int i = 2; i < AUDIO_FRAME; i++) {
		xy += ((double)x[i] + x[i - 2]) * x[i - 1];
		yy += (double)x[i - 1] * x[i - 1];
	}
	double c = yy > 0 ? xy / yy : 0; /* 2 cos w */
	if (c <= -2 || c >= 2)
		return 0;
	double w = acos(c / 2);
	/* Below 60 Hz there is less than one turn in a frame, and any rumble looks like it. */
	int hz = (int)lrint(w * AUDIO_HZ / (2 * M_PI));
	return hz >= 60 && share_of(x, w) >= TONE_SHARE ? hz : 0;
}

static void end_run(struct listener *l)
{
	if (l->run >= TONE_FRAMES) {
		l->n_tone += (uint64_t)l->run;
		l->hz_sum += l->run_sum;
	} else {
		l->n_speech += (uint64_t)l->run;
	}
	l->run = 0;
	l->run_sum = 0;
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
	if (l->run && (!hz || abs(hz - l->run_hz) > TONE_DRIFT))
		end_run(l);
	if (!hz) {
		l->n_speech++;
		return;
	}
	l->run_hz = hz;
	l->run++;
	l->run_sum += hz;
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
	ret->tone_hz = ret->tone_s > 0 ? (int)lrint((l->hz_sum + (tone ? l->run_sum : 0)) / (double)(l->n_tone + (tone ? (uint64_t)l->run : 0))) : 0;
	ret->level_dbfs = l->n_energy ? 10 * log10(l->energy / (double)l->n_energy / 32768.0 / 32768.0) : -120.0;
	memcpy(ret->digits, l->digits, l->n_digits);
}
