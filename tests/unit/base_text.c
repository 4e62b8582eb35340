/* SPDX-License-Identifier: Apache-2.0
 *
 * base_text: views, the bounded writer, addresses and networks, call ids, checksums, random numbers. Tables of cases; each bound at the bound and
 * one past it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/inside.h"

#define assert_str(s, z)                                                                                                                                       \
	do {                                                                                                                                                   \
		struct str got_ = (s);                                                                                                                         \
		assert_int_equal(got_.n, strlen(z));                                                                                                           \
		assert_memory_equal(got_.p, (z), got_.n);                                                                                                      \
	} while (0)

static void test_compare(void **state)
{
	assert_true(str_ieq(STR("Call-ID"), STR("cALL-id")));
	assert_false(str_ieq(STR("Call-ID"), STR("Call-I")));
	assert_false(str_ieq(STR("@["), STR("`{"))); /* the neighbours of the letters */
	assert_true(str_ieq(STR_NONE, STR("")));
	assert_true(str_eq(STR_NONE, STR("")));
	assert_true(str_starts(STR("SIP/2.0"), STR("SIP/")));
	assert_true(str_starts(STR("SIP"), STR("SIP")));
	assert_false(str_starts(STR("SI"), STR("SIP")));
	assert_false(str_starts(STR("sip/2.0"), STR("SIP/")));
	assert_true(str_istarts(STR("sip/2.0"), STR("SIP/")));
	assert_true(str_starts(STR("x"), STR_NONE));
}

static void test_cut(void **state)
{
	struct str rest;

	assert_str(str_trim(STR(" \t\r\na b\n ")), "a b");
	assert_str(str_trim(STR(" \t ")), "");
	assert_str(str_skip(STR("abc"), 2), "c");
	assert_str(str_skip(STR("abc"), 4), "");
	assert_str(str_skip(STR_NONE, 1), "");
	assert_str(str_cut(STR("a=b=c"), '=', &rest), "a");
	assert_str(rest, "b=c");
	assert_str(str_cut(STR("a="), '=', &rest), "a");
	assert_str(rest, "");
	assert_non_null(rest.p); /* there was a separator */
	assert_str(str_cut(STR("a"), '=', &rest), "a");
	assert_null(rest.p);
	assert_str(str_cut(STR_NONE, '=', &rest), "");
	assert_null(rest.p);
	assert_null(str_find(STR_NONE, 'x'));
	assert_null(str_find(str_n("abc", 2), 'c'));
}

static void test_number(void **state)
{
	static const struct {
		const char *s;
		uint64_t max;
		int r;
		uint64_t v;
	} cases[] = {
	    {"0", 9, 0, 0},
	    {"65535", 65535, 0, 65535},
	    {"65536", 65535, -ERANGE, 0},
	    {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
	    {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
	    {"99999999999999999999", UINT64_MAX, -ERANGE, 0},
	    {"00000000000000000007", 9, 0, 7},
	    {"000000000000000000007", 9, -EBADMSG, 0}, /* 21 digits */
	    {"", 9, -EBADMSG, 0},
	    {"-1", 9, -EBADMSG, 0},
	    {"+1", 9, -EBADMSG, 0},
	    {" 1", 9, -EBADMSG, 0},
	    {"1a", 99, -EBADMSG, 0},
	    {"99999999999999999999x", 9, -EBADMSG, 0},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		uint64_t v = 42;

		assert_int_equal(str_u64(str_z(cases[i].s), cases[i].max, &v), cases[i].r);
		assert_true(v == (cases[i].r ? 42 : cases[i].v)); /* untouched on error */
	}
}

static void test_zcpy(void **state)
{
	char buf[4];

	assert_int_equal(str_zcpy(STR("abc"), buf, sizeof(buf)), 0);
	assert_string_equal(buf, "abc");
	assert_int_equal(str_zcpy(STR("abcd"), buf, sizeof(buf)), -ENOSPC);
	assert_int_equal(str_zcpy(STR("a\0b"), buf, sizeof(buf)), -EBADMSG);
	assert_int_equal(str_zcpy(STR_NONE, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
	assert_int_equal(str_zcpy(STR_NONE, buf, 0), -ENOSPC);
}

static void test_utf8(void **state)
{
	static const struct {
		const char *s;
		size_t n;
	} cases[] = {
	    {"a", 1},
	    {"\x7f", 1},
	    {"\xc2\x80", 2},
	    {"\xdf\xbf", 2},
	    {"\xe0\xa0\x80", 3},
	    {"\xed\x9f\xbf", 3},
	    {"\xee\x80\x80", 3},
	    {"\xef\xbf\xbf", 3},
	    {"\xf0\x90\x80\x80", 4},
	    {"\xf4\x8f\xbf\xbf", 4},
	    {"", 0},
	    {"\x80", 0},
	    {"\xc1\xbf", 0},
	    {"\xc2", 0},
	    {"\xc2\x41", 0},
	    {"\xe0\x9f\xbf", 0},
	    {"\xed\xa0\x80", 0},
	    {"\xe2\x82", 0},
	    {"\xe2\x82\x28", 0},
	    {"\xf0\x8f\xbf\xbf", 0},
	    {"\xf4\x90\x80\x80", 0},
	    {"\xf5\x80\x80\x80", 0},
	    {"\xf0\x9f\x98", 0},
	    {"\xff", 0},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++)
		assert_int_equal(str_utf8(str_z(cases[i].s)), cases[i].n);
}

static void test_str_hash(void **state)
{
	assert_true(str_hash(STR("abc")) == str_hash(STR("abc")));
	assert_true(str_hash(STR("abc")) != str_hash(STR("abd")));
	assert_true(str_hash(STR_NONE) == str_hash(STR("")));
}

static void test_out_bounds(void **state)
{
	char buf[8];
	struct out o;

	for (size_t n = 0; n <= 9; n++) {
		memset(buf, '#', sizeof(buf));
		o = OUT(buf);
		out_str(&o, str_n("123456789", n));
		assert_int_equal(o.over, n > 8);
		assert_int_equal(o.n, MIN(n, sizeof(buf)));
		assert_memory_equal(buf, "12345678", o.n);
		if (n < 8)
			assert_true(buf[n] == '#');
	}
	o = OUT(buf);
	for (int i = 0; i < 8; i++)
		out_c(&o, 'x');
	assert_false(o.over);
	out_c(&o, 'y');
	assert_true(o.over);
	assert_string_equal(out_z(&o), "xxxxxxx"); /* the last byte is given to the NUL */

	o = OUT(buf);
	OUT_STR(&o, "1234567");
	OUT_STR(&o, "89"); /* cut … */
	o.n = 2;
	OUT_STR(&o, "x"); /* … and from then on nothing is written, though there would be room */
	assert_str(out_view(&o), "12");
	o = (struct out){0};
	out_c(&o, 'x');
	out_f(&o, "x");
	assert_true(o.over);
	assert_string_equal(out_z(&o), "");
}

static void test_out_format(void **state)
{
	static char big[2048], text[1500];
	char buf[8];
	struct out o = OUT(buf);

	out_f(&o, "%s", "12345678"); /* fits to the last byte */
	assert_false(o.over);
	assert_str(out_view(&o), "12345678");
	o = OUT(buf);
	out_f(&o, "%s", "123456789");
	assert_true(o.over);
	assert_str(out_view(&o), "12345678");
	o = OUT(buf);
	out_f(&o, "%s", "");
	assert_false(o.over);
	memset(text, 't', sizeof(text) - 1);
	o = OUT(big);
	out_f(&o, "<%s>", text);
	assert_false(o.over);
	assert_int_equal(o.n, sizeof(text) + 1);
	assert_int_equal(big[o.n - 1], '>');
	out_f(&o, "<%s>", text);
	assert_true(o.over);
	assert_true(o.n < sizeof(big));
}

static void test_out_forms(void **state)
{
	char buf[256];
	struct out o = OUT(buf);

	out_u64(&o, 0);
	out_c(&o, ' ');
	out_u64(&o, UINT64_MAX);
	out_c(&o, ' ');
	out_hex(&o, "\x00\xff\x1a", 3);
	assert_string_equal(out_z(&o), "0 18446744073709551615 00ff1a");
	o = OUT(buf);
	out_url(&o, STR("aZ09-._* +&=/\xc3\xa4%\n"));
	assert_string_equal(out_z(&o), "aZ09-._*+%2B%26%3D%2F%C3%A4%25%0A");
	o = OUT(buf);
	out_json(&o, STR("a\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa4\xff\xe2\x82"));
	assert_string_equal(out_z(&o), "a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	o = OUT(buf);
	out_safe(&o, STR("a\n\x1b[0m\x7f\xc3\xa4\xff\xc2\x9b"));
	assert_string_equal(out_z(&o), "a\\x0a\\x1b[0m\\x7f\xc3\xa4\\xff\\xc2\\x9b");
}

static void test_addr(void **state)
{
	static const struct {
		const char *s, *printed; /* NULL = refused */
	} cases[] = {
	    {"1.2.3.4:5060", "1.2.3.4:5060"},
	    {"1.2.3.4", "1.2.3.4:0"},
	    {"1.2.3.4:0", "1.2.3.4:0"},
	    {"1.2.3.4:65535", "1.2.3.4:65535"},
	    {"[::1]:5060", "[::1]:5060"},
	    {"[::1]", "[::1]:0"},
	    {"::1", "[::1]:0"},
	    {"::", "[::]:0"},
	    {"2001:DB8:0:0::1", "[2001:db8::1]:0"},
	    {"::ffff:1.2.3.4", "1.2.3.4:0"}, /* unfolded */
	    {"[::ffff:7f00:1]:9", "127.0.0.1:9"},
	    {"fe80::1%3", "[fe80::1]:0"},
	    {"[fe80::1%3]:7", "[fe80::1]:7"},
	    {"", NULL},
	    {":", NULL},
	    {":5060", NULL},
	    {"1.2.3.4:65536", NULL},
	    {"1.2.3.4:005060", NULL},
	    {"1.2.3.4:", NULL},
	    {"1.2.3.4:5x", NULL},
	    {"1.2.3", NULL},
	    {"1.2.3.256", NULL},
	    {"01.2.3.4", NULL},
	    {"1.2.3.4 ", NULL},
	    {"[1.2.3.4]:5", NULL},
	    {"[::1", NULL},
	    {"[::1]5060", NULL},
	    {"[::1]:", NULL},
	    {"::1]:5", NULL},
	    {"1:2:3:4:5:6:7:8:9", NULL},
	    {"fe80::1%", NULL},
	    {"fe80::1%eth0", NULL},
	    {"1.2.3.4%1", NULL},
	    {"localhost", NULL},
	    {"1111:2222:3333:4444:5555:6666:123.123.123.123.123.123.123", NULL},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct addr a = {0};
		char buf[64];
		struct out o = OUT(buf);

		assert_int_equal(addr_parse(str_z(cases[i].s), &a), cases[i].printed ? 0 : -EBADMSG);
		addr_print(&o, &a);
		assert_string_equal(out_z(&o), cases[i].printed ? cases[i].printed : "-");
	}
	{
		struct addr a;
		struct str nul = STR("1.2.3.4\0");

		assert_int_equal(addr_parse(nul, &a), -EBADMSG);
	}
}

static struct addr addr(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(str_z(s), &a), 0);
	return a;
}

static void test_addr_judged(void **state)
{
	char buf[64];
	struct out o = OUT(buf);

	assert_true(addr_eq(&(struct addr){0}, &(struct addr){0}));
	assert_true(addr_eq(&(struct addr[]){addr("1.2.3.4:5")}[0], &(struct addr[]){addr("[::ffff:1.2.3.4]:5")}[0]));
	assert_false(addr_eq(&(struct addr[]){addr("1.2.3.4:5")}[0], &(struct addr[]){addr("1.2.3.4:6")}[0]));
	assert_true(addr_eq_host(&(struct addr[]){addr("1.2.3.4:5")}[0], &(struct addr[]){addr("1.2.3.4:6")}[0]));
	assert_false(addr_eq_host(&(struct addr[]){addr("1.2.3.4")}[0], &(struct addr[]){addr("1.2.3.5")}[0]));
	assert_false(addr_eq_host(&(struct addr[]){addr("0.0.0.0")}[0], &(struct addr[]){addr("::")}[0]));
	assert_true(addr_eq_host(&(struct addr[]){addr("fe80::1%2")}[0], &(struct addr[]){addr("fe80::1")}[0]));
	assert_false(addr_eq_host(&(struct addr[]){addr("fe80::1%2")}[0], &(struct addr[]){addr("fe80::1%3")}[0]));
	assert_true(addr_is_any(&(struct addr[]){addr("0.0.0.0:5060")}[0]));
	assert_true(addr_is_any(&(struct addr[]){addr("::")}[0]));
	assert_false(addr_is_any(&(struct addr){0}));
	assert_false(addr_is_any(&(struct addr[]){addr("0.0.0.1")}[0]));
	assert_true(addr_is_loopback(&(struct addr[]){addr("127.255.0.1")}[0]));
	assert_true(addr_is_loopback(&(struct addr[]){addr("::1")}[0]));
	assert_true(addr_is_loopback(&(struct addr[]){addr("::ffff:127.0.0.1")}[0]));
	assert_false(addr_is_loopback(&(struct addr[]){addr("128.0.0.1")}[0]));
	assert_false(addr_is_loopback(&(struct addr[]){addr("::2")}[0]));
	assert_false(addr_is_loopback(&(struct addr){0}));
	addr_print_host(&o, &(struct addr[]){addr("[2001:db8::1]:5060")}[0]);
	assert_string_equal(out_z(&o), "2001:db8::1");
}

static void test_cidr(void **state)
{
	static const struct {
		const char *net, *in, *out; /* in NULL: no network */
	} cases[] = {
	    {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
	    {"10.1.2.3/8", "10.0.0.0", "9.255.255.255"}, /* what is behind the mask does not count */
	    {"192.168.1.128/25", "192.168.1.128", "192.168.1.127"},
	    {"192.168.1.128/25", "::ffff:192.168.1.255", "192.168.2.128"},
	    {"1.2.3.4", "1.2.3.4", "1.2.3.5"},
	    {"1.2.3.4/32", "1.2.3.4", "1.2.3.5"},
	    {"0.0.0.0/0", "255.1.2.3", "::1"}, /* all of IPv4 and none of IPv6 */
	    {"::/0", "2001:db8::1", "1.2.3.4"},
	    {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
	    {"::1/128", "::1", "::2"},
	    {"::1", "::1", "::"},
	    {"::ffff:10.0.0.0/104", "10.2.3.4", "11.2.3.4"},
	    {"::ffff:0:0/96", "10.2.3.4", "::1"},
	    {"::ffff:0:0/95", NULL, NULL},
	    {"1.2.3.4/33", NULL, NULL},
	    {"::/129", NULL, NULL},
	    {"1.2.3.4/", NULL, NULL},
	    {"1.2.3.4/0008", NULL, NULL},
	    {"1.2.3.4/-1", NULL, NULL},
	    {"1.2.3/8", NULL, NULL},
	    {"[::1]/128", NULL, NULL},
	    {"", NULL, NULL},
	};

	for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
		struct cidr c;
		struct addr in, out;

		assert_int_equal(cidr_parse(str_z(cases[i].net), &c), cases[i].in ? 0 : -EBADMSG);
		if (!cases[i].in)
			continue;
		in = addr(cases[i].in);
		out = addr(cases[i].out);
		assert_true(cidr_has(&c, &in));
		assert_false(cidr_has(&c, &out));
		assert_false(cidr_has(&c, &(struct addr){0}));
	}
}

static void test_sid(void **state)
{
	uint8_t sid[16], back[16];
	char z[35];

	for (int i = 0; i < 16; i++)
		sid[i] = (uint8_t)(i * 17);
	sid_print("CA", sid, z);
	assert_string_equal(z, "CA00112233445566778899aabbccddeeff");
	assert_int_equal(sid_parse(str_z(z), "CA", back), 0);
	assert_memory_equal(sid, back, 16);
	assert_int_equal(sid_parse(STR("CA00112233445566778899AABBCCDDEEFF"), "CA", back), 0);
	assert_memory_equal(sid, back, 16);
	memset(back, 7, sizeof(back));
	assert_int_equal(sid_parse(str_z(z), "AC", back), -EBADMSG);
	assert_int_equal(sid_parse(str_n(z, 33), "CA", back), -EBADMSG);
	assert_int_equal(sid_parse(STR("CA00112233445566778899aabbccddeeff0"), "CA", back), -EBADMSG);
	assert_int_equal(sid_parse(STR("CA00112233445566778899aabbccddeefg"), "CA", back), -EBADMSG);
	assert_int_equal(back[0], 7);
}

static void test_siphash(void **state)
{
	/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", appendix A and the vectors published with it: key 00 … 0f, input 00, 01, 02 … */
	static const uint64_t want[] = {0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d, 0xcf2794e0277187b7, 0x18765564cd99a68d,
					0xcbc9466e58fee3ce, 0xab0200f58b01d137, 0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
					0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5};
	uint8_t key[16], in[16];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = in[i] = i;
	for (size_t n = 0; n < N_ELEMENTS(want); n++)
		assert_true(siphash(key, in, n) == want[n]);
}

static void test_crc32c(void **state)
{
	static const uint8_t zeros[32];
	uint8_t ones[32], up[32], noise[1024 + 8];

	memset(ones, 0xff, sizeof(ones));
	for (uint8_t i = 0; i < 32; i++)
		up[i] = i;
	/* RFC 3720 B.4 */
	assert_int_equal(crc32c(zeros, 32), 0x8a9136aa);
	assert_int_equal(crc32c(ones, 32), 0x62a8ab43);
	assert_int_equal(crc32c(up, 32), 0x46dd794e);
	assert_int_equal(crc32c_table(up, 32), 0x46dd794e);
	assert_int_equal(crc32c("123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(NULL, 0), 0);
	if (!crc32c_has_cpu())
		skip();
	rand_bytes(noise, sizeof(noise));
	for (size_t n = 0; n <= 1024; n++)
		assert_int_equal(crc32c_cpu(noise + n % 8, n), crc32c_table(noise + n % 8, n));
}

/* What a child of fork() draws must not be what its parent draws. */
static void test_rand_fork(void **state)
{
	uint64_t a, b;
	int fd[2];
	pid_t pid;

	rand_bytes(&a, sizeof(a)); /* fills the buffer that is inherited */
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		rand_bytes(&b, sizeof(b));
		_exit(write(fd[1], &b, sizeof(b)) != sizeof(b));
	}
	rand_bytes(&a, sizeof(a));
	assert_int_equal(read(fd[0], &b, sizeof(b)), sizeof(b));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(a != b);
	close(fd[0]);
	close(fd[1]);
}

static void test_rand(void **state)
{
	uint8_t a[600] = {0}, b[600] = {0};
	unsigned bits = 0;

	rand_bytes(a, sizeof(a)); /* more than the buffer holds */
	rand_bytes(b, 256);
	rand_bytes(b + 256, 256);
	rand_bytes(b + 512, 88);
	for (size_t i = 0; i < sizeof(a); i++)
		bits += (unsigned)__builtin_popcount(a[i]) + (unsigned)__builtin_popcount(b[i]);
	assert_in_range(bits, 4400, 5200); /* of 9600, half; ± 8 sigma */
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(rand_u32() != rand_u32() || rand_u32() != rand_u32());
	rand_bytes(a, 0);

	rand_seed(7);
	rand_bytes(a, 21);
	rand_seed(7);
	memset(b, 0, sizeof(b));
	rand_bytes(b, 21);
	assert_memory_equal(a, b, 21);
	assert_int_equal(b[21], 0);
	rand_seed(8);
	rand_bytes(b, 21);
	assert_memory_not_equal(a, b, 21);
}

static void test_clock(void **state)
{
	int64_t boot = clock_boot_ms(), utc = clock_utc_ms(), us = clock_utc_us();

	assert_true(boot > 0 && clock_boot_ms() >= boot);
	assert_true(utc > 1600000000000 && us / 1000 - utc < 60000 && us / 1000 - utc > -60000);
}

static void test_codecs(void **state)
{
	for (int i = 0; i < CODEC_N; i++) {
		assert_non_null(codec_table[i].name);
		assert_int_equal(codec_table[i].frame_samples * 1000, (long)codec_table[i].rate_hz * codec_table[i].frame_ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_compare),   cmocka_unit_test(test_cut),      cmocka_unit_test(test_number),      cmocka_unit_test(test_zcpy),
	    cmocka_unit_test(test_utf8),      cmocka_unit_test(test_str_hash), cmocka_unit_test(test_out_bounds),  cmocka_unit_test(test_out_format),
	    cmocka_unit_test(test_out_forms), cmocka_unit_test(test_addr),     cmocka_unit_test(test_addr_judged), cmocka_unit_test(test_cidr),
	    cmocka_unit_test(test_sid),       cmocka_unit_test(test_siphash),  cmocka_unit_test(test_crc32c),      cmocka_unit_test(test_rand_fork),
	    cmocka_unit_test(test_rand),      cmocka_unit_test(test_clock),    cmocka_unit_test(test_codecs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
