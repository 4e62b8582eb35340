/* SPDX-License-Identifier: Apache-2.0
 *
 * runner_sound: speech and decoded files at −20 dBFS, 8 kHz, made once for all who ask; what is no sound file is said to be none.
 */
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/keeper_int.h"

static char dir[64];
static pid_t runner;
static int keeper_end, link_end;
static struct params params;
static struct run_answer answer;
static int16_t *sound;
static int sound_fd = -1;

static void new_link(void)
{
	int pair[2];
	struct keep_msg m = {.type = KEEP_LINK};
	assert_int_equal(link_pair(pair), 0);
	assert_int_equal(link_send(keeper_end, &m, sizeof(m), &pair[1], 1, true), 0);
	close(pair[1]);
	link_end = pair[0];
}

static int setup(void **state)
{
	int pair[2];
	params_init(&params);
	snprintf(dir, sizeof(dir), "/tmp/runner_sound.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(params.services, sizeof(params.services), "%s", dir);
	snprintf(params.sounds, sizeof(params.sounds), "%s", dir);
	assert_int_equal(link_pair(pair), 0);
	runner = fork();
	if (runner == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		close(pair[0]);
		_exit(runner_main(pair[1], &params, geteuid() == 0 ? "nobody" : NULL));
	}
	close(pair[1]);
	keeper_end = pair[0];
	new_link();
	return 0;
}

static int teardown(void **state)
{
	char cmd[100];
	int status;
	close(link_end);
	close(keeper_end);
	assert_int_equal(waitpid(runner, &status, 0), runner);
	assert_int_equal(status, 0);
	free(sound);
	close(sound_fd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void next_answer(void)
{
	do {
		struct pollfd p = {.fd = link_end, .events = POLLIN};
		assert_int_equal(poll(&p, 1, 20000), 1);
		if (sound_fd >= 0)
			close(sound_fd);
		assert_int_equal(run_take(link_end, &answer, &sound_fd), 1);
	} while (answer.state == RUN_FOLDER);
	assert_int_equal(answer.state, RUN_DONE);
	free(sound);
	sound = NULL;
	if (sound_fd >= 0) {
		sound = calloc(answer.n + 1, sizeof(*sound));
		assert_int_equal(read(sound_fd, sound, answer.n * sizeof(*sound)), answer.n * sizeof(*sound));
	}
}

static void post(enum run_kind kind, const char *a, const char *b, const char *text, int fd)
{
	struct run_request q = {.kind = kind, .args = {str_z(a), str_z(b)}, .n_args = 2, .in = str_z(text), .fd = fd};
	rand_bytes(q.token, sizeof(q.token));
	assert_int_equal(run_post(link_end, &q), 0);
}

/* Level of what is not silence, measured in another way than it was set: frames within 25 dB of the loudest. */
static double active_db(void)
{
	double loudest = 0, sum = 0, n = 0;
	for (int turn = 0; turn < 2; turn++)
		for (uint32_t at = 0; at + AUDIO_FRAME <= answer.n; at += AUDIO_FRAME) {
			double s = 0;
			for (int i = 0; i < AUDIO_FRAME; i++)
				s += (double)sound[at + (uint32_t)i] * sound[at + (uint32_t)i];
			if (turn == 0)
				loudest = fmax(loudest, s);
			else if (s > loudest * pow(10, -2.5)) {
				sum += s;
				n += AUDIO_FRAME;
			}
		}
	return n > 0 ? 10 * log10(sum / n / (32768.0 * 32768.0)) : -100;
}

static bool about(double v, double wanted, double off)
{
	if (fabs(v - wanted) > off)
		print_message("%f is not about %f\n", v, wanted);
	return fabs(v - wanted) <= off;
}

static void speaks(void **state)
{
	static const char text[] = "Welcome. You have three new messages. Press one to hear them.";
	static const char *const voices[] = {"kal", "slt", "no such voice"};
	for (int i = 0; i < 3; i++) {
		post(RUN_SPEAK, voices[i], "en", text, -1);
		next_answer();
		assert_int_equal(answer.fault, RUN_OK);
		assert_in_range(answer.n, 2 * AUDIO_HZ, 8 * AUDIO_HZ);
		assert_true(about(active_db(), -20, 1.5));
		int peak = 0;
		for (uint32_t k = 0; k < answer.n; k++)
			peak = MAX(peak, abs(sound[k]));
		assert_in_range(peak, 3000, 31200);
	}
}

static void speaks_the_same_again(void **state)
{
	post(RUN_SPEAK, "kal", "en", "This is said twice.", -1);
	next_answer();
	uint32_t n = answer.n;
	uint64_t hash = str_hash(str_n(sound, n * 2));
	int64_t from = clock_boot_ms();
	close(link_end);
	new_link(); /* also to another worker, and at once */
	post(RUN_SPEAK, "kal", "en", "This is said twice.", -1);
	next_answer();
	assert_in_range(clock_boot_ms() - from, 0, 50);
	assert_int_equal(answer.n, n);
	assert_true(str_hash(str_n(sound, n * 2)) == hash);
	assert_ptr_equal(mmap(NULL, n * 2, PROT_READ | PROT_WRITE, MAP_SHARED, sound_fd, 0), MAP_FAILED); /* nobody can change it for the others */
}

static void once_for_all(void **state)
{
	for (int i = 0; i < 50; i++)
		post(RUN_SPEAK, "slt", "en", "Fifty callers hear this sentence, and it is made once for all of them.", -1);
	int64_t from = clock_boot_ms();
	uint32_t n = 0;
	for (int i = 0; i < 50; i++) {
		next_answer();
		assert_int_equal(answer.fault, RUN_OK);
		assert_true(n == 0 || n == answer.n);
		n = answer.n;
	}
	print_message("50 answers in %d ms\n", (int)(clock_boot_ms() - from));
}

static void says_nothing_politely(void **state)
{
	post(RUN_SPEAK, "kal", "en", " \xe3\x81\x82 ", -1);
	next_answer();
	assert_int_equal(answer.fault, RUN_OK);
	assert_int_equal(answer.n, 0);
	char text[200];
	size_t n = speak_fold(STR("Gr\xc3\xbc\xc3\x9f Gott \xe2\x80\x93 caf\xc3\xa9 \xff\xc3"), text, sizeof(text));
	assert_int_equal(n, strlen(text));
	assert_string_equal(text, "Gruess Gott ,  cafe yA");
}

static void write_wave(const char *name, int rate, int channels, int format, double hz, double level)
{
	char path[128];
	SF_INFO info = {.samplerate = rate, .channels = channels, .format = format};
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	SNDFILE *f = sf_open(path, SFM_WRITE, &info);
	assert_non_null(f);
	for (int i = 0; i < rate; i++) {
		float v[2];
		for (int c = 0; c < channels; c++)
			v[c] = (float)(level * sin(2 * M_PI * hz * i / rate));
		assert_int_equal(sf_writef_float(f, v, 1), 1);
	}
	sf_close(f);
}

/* Zero crossings tell the pitch of a sine. */
static double pitch(void)
{
	int n = 0;
	for (uint32_t i = 801; i < answer.n - 800; i++)
		n += (sound[i - 1] < 0) != (sound[i] < 0);
	return n / 2.0 / ((answer.n - 1600) / (double)AUDIO_HZ);
}

static void decodes(void **state)
{
	static const struct {
		const char *name;
		int rate, channels, format;
	} files[] = {{"a.wav", 8000, 1, SF_FORMAT_WAV | SF_FORMAT_PCM_16}, {"b.wav", 44100, 2, SF_FORMAT_WAV | SF_FORMAT_PCM_24},
		     {"c.wav", 8000, 1, SF_FORMAT_WAV | SF_FORMAT_GSM610}, {"d.aiff", 48000, 1, SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
		     {"e.au", 16000, 1, SF_FORMAT_AU | SF_FORMAT_ULAW},    {"f.flac", 22050, 1, SF_FORMAT_FLAC | SF_FORMAT_PCM_16}};
	for (size_t i = 0; i < N_ELEMENTS(files); i++) {
		write_wave(files[i].name, files[i].rate, files[i].channels, files[i].format, 440, i % 2 ? 0.9 : 0.01);
		post(RUN_DECODE, i % 2 ? "services" : "sounds", files[i].name, "", -1);
		next_answer();
		assert_string_equal(answer.last_line, "");
		assert_int_equal(answer.fault, RUN_OK);
		assert_in_range(answer.n, 7900, 8400); /* GSM 06.10 comes in blocks of 40 ms */
		assert_true(about(active_db(), -20, 1));
		assert_true(about(pitch(), 440, 5));
	}
	write_wave("a.wav", 8000, 1, SF_FORMAT_WAV | SF_FORMAT_PCM_16, 600, 0.3); /* another content, the same name */
	post(RUN_DECODE, "services", "a.wav", "", -1);
	next_answer();
	assert_true(about(pitch(), 600, 5));
}

static void decodes_a_body(void **state)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/b.wav", dir);
	int fd = memfd_create("body", MFD_CLOEXEC);
	FILE *f = fopen(path, "r");
	static char all[1 << 20];
	size_t n = fread(all, 1, sizeof(all), f);
	fclose(f);
	assert_int_equal(write(fd, all, n), n);
	post(RUN_DECODE, "body", "", "", fd);
	next_answer();
	assert_int_equal(answer.fault, RUN_OK);
	assert_true(about(pitch(), 440, 5));
	assert_int_equal(ftruncate(fd, 30), 0); /* a torn one */
	post(RUN_DECODE, "body", "", "", fd);
	close(fd);
	next_answer();
	assert_int_equal(answer.fault, RUN_BAD_SOUND);
	post(RUN_DECODE, "body", "", "", -1);
	next_answer();
	assert_int_equal(answer.fault, RUN_BAD_SOUND);
}

static void what_is_no_sound(void **state)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/g.wav", dir);
	FILE *f = fopen(path, "w");
	fputs("<html>not found</html>", f);
	fclose(f);
	for (int i = 0; i < 3; i++)
		post(RUN_DECODE, "services", "g.wav", "", -1);
	for (int i = 0; i < 3; i++) {
		next_answer();
		assert_int_equal(answer.fault, RUN_BAD_SOUND);
		assert_int_equal(answer.n, 0);
		assert_non_null(strstr(answer.last_line, "no sound file"));
	}
	static const char *const paths[] = {"none.wav", "../../etc/passwd", "", "."};
	for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
		post(RUN_DECODE, "sounds", paths[i], "", -1);
		next_answer();
		assert_int_equal(answer.fault, RUN_NOT_FOUND);
	}
}

static void forgets_the_oldest(void **state)
{
	struct sounds *s = sound_cache_new(1000);
	uint32_t n;
	int fd = memfd_create("x", MFD_CLOEXEC), got;
	for (uint64_t i = 0; i < 5; i++) {
		sound_cache_put(s, (struct sound_key){i, i}, fd, 100); /* 200 bytes: five fit */
		assert_true((got = sound_cache_get(s, (struct sound_key){0, 0}, &n)) >= 0);
		close(got);
	}
	sound_cache_put(s, (struct sound_key){9, 9}, fd, 200);
	assert_int_equal(sound_cache_get(s, (struct sound_key){1, 1}, &n), -1);
	assert_int_equal(sound_cache_get(s, (struct sound_key){2, 2}, &n), -1);
	assert_true((got = sound_cache_get(s, (struct sound_key){0, 0}, &n)) >= 0);
	close(got);
	sound_cache_put(s, (struct sound_key){8, 8}, fd, 501); /* larger than all of it */
	assert_int_equal(sound_cache_get(s, (struct sound_key){8, 8}, &n), -1);
	assert_true((got = sound_cache_get(s, (struct sound_key){9, 9}, &n)) >= 0);
	assert_int_equal(n, 200);
	close(got);
	close(fd);
	sound_cache_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(speaks),  cmocka_unit_test(speaks_the_same_again), cmocka_unit_test(once_for_all),     cmocka_unit_test(says_nothing_politely),
	    cmocka_unit_test(decodes), cmocka_unit_test(decodes_a_body),        cmocka_unit_test(what_is_no_sound), cmocka_unit_test(forgets_the_oldest),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
