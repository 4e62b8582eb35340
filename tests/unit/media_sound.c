/* SPDX-License-Identifier: Apache-2.0
 *
 * media_sound: the pieces that sound is made of: G.711 against spandsp, concealment by what it does to a voice, the listener by what it says of known sounds.
 */
#include <spandsp.h>
#include "media/media_int.h"
#include "media_rig.h"

static void test_g711(void **state)
{
	static int16_t pcm[65536], back[65536];
	static uint8_t code[65536];
	uint8_t all[256], again[256];
	for (int i = 0; i < 65536; i++)
		pcm[i] = (int16_t)(i - 32768);
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	for (enum codec_id law = CODEC_PCMU; law <= CODEC_PCMA; law++) {
		media_encode(law, pcm, code, 65536);
		media_decode(law, code, back, 65536);
		for (int i = 0; i < 65536; i++) {
			int16_t oracle = law == CODEC_PCMU ? ulaw_to_linear(code[i]) : alaw_to_linear(code[i]);
			uint8_t theirs = law == CODEC_PCMU ? linear_to_ulaw(pcm[i]) : linear_to_alaw(pcm[i]);
			int16_t their_back = law == CODEC_PCMU ? ulaw_to_linear(theirs) : alaw_to_linear(theirs);
			assert_int_equal(back[i], oracle);
			/* where a value lies between two steps either is right */
			assert_true(abs(back[i] - pcm[i]) <= abs(their_back - pcm[i]) + 16);
			assert_true(abs(back[i] - pcm[i]) <= MAX(16, abs(pcm[i]) / 24));
		}
		media_decode(law, all, back, 256);
		media_encode(law, back, again, 256);
		for (int i = 0; i < 256; i++) /* but for the two zeros of µ-law a code survives */
			assert_true(again[i] == all[i] || (law == CODEC_PCMU && back[i] == 0));
	}
}

static double rms(const int16_t *pcm, int n)
{
	double e = 0;
	for (int i = 0; i < n; i++)
		e += (double)pcm[i] * pcm[i];
	return sqrt(e / n);
}

/* A steady voice: one lost frame in five is hardly to be told, in level and shape; a long hole fades to noise and comes back without a click. */
static void test_conceal(void **state)
{
	static int16_t voice[16000], out[16000];
	struct conceal c;
	double phase = 0;
	for (int i = 0; i < 16000; i++) {
		phase += 2 * M_PI * 127.3 / AUDIO_HZ;
		voice[i] = (int16_t)(5000 * sin(phase) + 3000 * sin(2 * phase + 1) + 1500 * sin(5 * phase));
	}
	conceal_init(&c);
	for (int f = 0; f < 100; f++) {
		memcpy(out + 160 * f, voice + 160 * f, 320);
		if (f % 5 == 4)
			conceal_lost(&c, out + 160 * f);
		else
			conceal_good(&c, out + 160 * f, false);
	}
	int at;
	assert_true(rig_alike(voice + 160 * 4, 160, out, 160 * 4, 160 * 4, 1, &at) > 0.95);
	assert_true(rig_alike(voice, 15000, out, 0, 0, 1, &at) > 0.95);
	for (int i = 161; i < 16000; i++) /* no step that the voice does not have: its own are 1,400 at most */
		assert_true(abs(out[i] - out[i - 1]) < 2800);
	/* the hole */
	conceal_init(&c);
	for (int f = 0; f < 100; f++) {
		memcpy(out + 160 * f, voice + 160 * f, 320);
		if (f >= 20 && f < 60)
			conceal_lost(&c, out + 160 * f);
		else
			conceal_good(&c, out + 160 * f, false);
	}
	double full = rms(voice, 3200);
	assert_true(rms(out + 160 * 20, 160) > 0.7 * full);
	assert_true(rms(out + 160 * 22, 160) < 0.8 * full);
	for (int f = 24; f < 60; f++) {
		double level = rms(out + 160 * f, 160);
		assert_true(level > 2 && level < 80);
	}
	assert_true(rig_alike(voice + 160 * 61, 160 * 39, out, 160 * 61, 160 * 61, 1, &at) > 0.999);
	/* nothing heard yet: noise, no rubbish */
	conceal_init(&c);
	conceal_lost(&c, out);
	assert_true(rms(out, 160) > 2 && rms(out, 160) < 20);
	/* a seam: what comes does not follow what was; it does so without a click */
	conceal_init(&c);
	for (int f = 0; f < 10; f++) {
		memcpy(out + 160 * f, voice + 163 * f, 320);
		assert_int_equal(conceal_good(&c, out + 160 * f, f > 0), f > 0);
	}
	for (int i = 1; i < 1600; i++)
		assert_true(abs(out[i] - out[i - 1]) < 2800);
}

static void tones(int16_t *pcm, int n, double hz1, double hz2, double peak)
{
	for (int i = 0; i < n; i++)
		pcm[i] = (int16_t)(peak * sin(2 * M_PI * hz1 * i / AUDIO_HZ) + (hz2 > 0 ? peak * sin(2 * M_PI * hz2 * i / AUDIO_HZ) : 0));
}

static void through_g711(int16_t *pcm, int n)
{
	static uint8_t code[80000];
	media_encode(CODEC_PCMU, pcm, code, (size_t)n);
	media_decode(CODEC_PCMU, code, pcm, (size_t)n);
}

static void test_listener(void **state)
{
	static int16_t pcm[80000];
	struct listener_report r;
	struct listener *l = listener_new();
	listener_report(l, &r);
	assert_true(r.speech_s == 0 && r.silence_s == 0 && r.level_dbfs == -120);
	memset(pcm, 0, sizeof(pcm));               /* 2 s of nothing */
	rig_speech(pcm + 16000, 24000, 4);         /* 3 s of speech */
	tones(pcm + 40000, 16000, 440, 0, 8000);   /* 2 s of a tone */
	tones(pcm + 56000, 1600, 697, 1209, 5000); /* digits: 1, 9 */
	tones(pcm + 60000, 1600, 852, 1477, 5000);
	through_g711(pcm, 64000);
	for (int at = 0; at < 64000; at += 77) /* in pieces of any size */
		listener_put(l, pcm + at, (size_t)MIN(77, 64000 - at));
	listener_report(l, &r);
	assert_true(fabs(r.tone_s - 2) <= 0.04);
	assert_in_range(r.tone_hz, 438, 442);
	assert_true(r.speech_s > 2.9 && r.speech_s < 3.5); /* digits are no silence */
	assert_true(fabs(r.silence_s - 2.6) < 0.3);
	assert_string_equal(r.digits, "19");
	listener_free(l);
	/* levels: a sine of peak 8000 is 20 log10(8000 / 32768) - 3.01 */
	static const int hz[] = {100, 350, 1000, 2100, 3400};
	for (size_t i = 0; i < N_ELEMENTS(hz); i++) {
		l = listener_new();
		tones(pcm, 8000, hz[i], 0, 8000);
		through_g711(pcm, 8000);
		listener_put(l, pcm, 8000);
		listener_report(l, &r);
		assert_true(fabs(r.level_dbfs + 15.26) < 0.1);
		assert_true(abs(r.tone_hz - hz[i]) <= 2);
		assert_true(r.tone_s > 0.9);
		listener_free(l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_g711), cmocka_unit_test(test_conceal), cmocka_unit_test(test_listener)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
