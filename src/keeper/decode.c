/* SPDX-License-Identifier: Apache-2.0
 *
 * decode: a sound file of unknown origin to samples with libsndfile (wav, aiff, au, gsm, flac, ogg, mp3). Runs in a child of the runner that can open no file. Several
 * channels become one, any rate becomes AUDIO_HZ; what is longer than the buffer is cut.
 */
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>

#include "keeper/keeper_int.h"

#define BLOCK        4096
#define CHANNELS_MAX 16
#define RATE_MIN     1000
#define RATE_MAX     384000

static int add_all(SNDFILE *f, const SF_INFO *info, struct pcm *to)
{
	size_t channels = (size_t)info->channels;
	float *raw = malloc(BLOCK * channels * sizeof(*raw));
	struct resampler *r = resampler_new((uint32_t)info->samplerate);
	int e = raw && r ? 0 : -ENOMEM;
	sf_count_t got;
	while (e == 0 && to->n < to->max && (got = sf_readf_float(f, raw, BLOCK)) > 0) {
		for (size_t i = 0; i < (size_t)got; i++) {
			float sum = 0;
			for (size_t c = 0; c < channels; c++)
				sum += raw[i * channels + c];
			raw[i] = sum / (float)channels;
		}
		e = resampler_add(r, raw, (size_t)got, to);
	}
	if (e == 0)
		e = resampler_add(r, NULL, 0, to);
	resampler_free(r);
	free(raw);
	return e;
}

int decode(int fd, struct pcm *to, char *why, size_t cap)
{
	SF_INFO info = {0};
	SNDFILE *f = sf_open_fd(fd, SFM_READ, &info, 0);
	if (!f) {
		snprintf(why, cap, "no sound file that can be read: %s", sf_strerror(NULL));
		return -EBADMSG;
	}
	int e = -EBADMSG;
	if (info.channels < 1 || info.channels > CHANNELS_MAX || info.samplerate < RATE_MIN || info.samplerate > RATE_MAX)
		snprintf(why, cap, "%d channels of %d Hz: no sound for a telephone", info.channels, info.samplerate);
	else
		e = add_all(f, &info, to);
	sf_close(f);
	if (e == 0 && to->n == 0) {
		snprintf(why, cap, "the file holds no sound");
		e = -EBADMSG;
	}
	return e;
}
