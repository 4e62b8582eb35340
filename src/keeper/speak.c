/* SPDX-License-Identifier: Apache-2.0
 *
 * speak: text to samples with flite. Runs in a child of the runner. Voices: kal (8 kHz; the same text is the same samples everywhere) and slt (16 kHz, for people).
 * flite speaks English letters: text is folded to ASCII first. Cutting long texts into pieces is verb/'s.
 */
#include <flite/flite.h>
#include <stdlib.h>

#include "keeper/keeper_int.h"

cst_voice *register_cmu_us_kal(const char *voxdir);
cst_voice *register_cmu_us_slt(const char *voxdir);

/* One code point; what is no UTF-8 is its byte (Latin-1). Returns the bytes it took. */
static size_t next_char(struct str s, uint32_t *ret)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 1;
	*ret = p[0];
	if (n == 1 || n > s.n)
		return 1;
	uint32_t c = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 1;
		c = c << 6 | (p[i] & 0x3fu);
	}
	*ret = c;
	return n;
}

static const char *fold(uint32_t c)
{
	static const char *const latin[64] = {"A",  "A", "A", "A", "Ae", "A", "Ae", "C", "E", "E", "E", "E", "I",  "I", "I",  "I",
					      "Th", "N", "O", "O", "O",  "O", "Oe", "x", "O", "U", "U", "U", "Ue", "Y", "Th", "ss",
					      "a",  "a", "a", "a", "ae", "a", "ae", "c", "e", "e", "e", "e", "i",  "i", "i",  "i",
					      "th", "n", "o", "o", "o",  "o", "oe", "/", "o", "u", "u", "u", "ue", "y", "th", "y"};
	if (c >= 0xc0 && c <= 0xff)
		return latin[c - 0xc0];
	switch (c) {
	case 0x2018:
	case 0x2019:
		return "'";
	case 0x201c:
	case 0x201d:
		return "\"";
	case 0x2013:
	case 0x2014:
		return ", ";
	case 0x2026:
		return "...";
	case 0x20ac:
		return " euros ";
	case 0xa3:
		return " pounds ";
	case 0xb0:
		return " degrees ";
	default:
		return " ";
	}
}

size_t speak_fold(struct str s, char *ret, size_t cap)
{
	struct out o = {.p = ret, .cap = cap - 1};
	while (s.n > 0) {
		uint32_t c;
		s = str_skip(s, next_char(s, &c));
		if (c >= 0x20 && c < 0x7f)
			out_c(&o, (char)c);
		else
			out_str(&o, str_z(fold(c)));
	}
	ret[o.n] = '\0';
	return o.n;
}

static int add_wave(const cst_wave *w, struct pcm *to)
{
	float block[1024];
	struct resampler *r = resampler_new((uint32_t)w->sample_rate);
	if (!r)
		return -ENOMEM;
	int e = 0;
	for (int at = 0; at < w->num_samples && e == 0; at += (int)N_ELEMENTS(block)) {
		int n = MIN(w->num_samples - at, (int)N_ELEMENTS(block));
		for (int i = 0; i < n; i++)
			block[i] = (float)w->samples[(size_t)(at + i) * (size_t)MAX(w->num_channels, 1)] / 32768.0f;
		e = resampler_add(r, block, (size_t)n, to);
	}
	if (e == 0)
		e = resampler_add(r, NULL, 0, to);
	resampler_free(r);
	return e;
}

int speak(struct str text, const char *voice, struct pcm *to)
{
	size_t cap = text.n * 9 + 1; /* the longest that one byte becomes */
	char *ascii = malloc(cap);
	if (!ascii)
		return -ENOMEM;
	int e = 0;
	size_t n = speak_fold(text, ascii, cap);
	if (str_trim(str_n(ascii, n)).n > 0) {
		flite_init();
		cst_voice *v = str_eq(str_z(voice), STR("slt")) ? register_cmu_us_slt(NULL) : register_cmu_us_kal(NULL);
		cst_wave *w = v ? flite_text_to_wave(ascii, v) : NULL;
		e = w ? add_wave(w, to) : -EIO;
		if (w)
			delete_wave(w);
	}
	free(ascii);
	return e;
}
