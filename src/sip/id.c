/* SPDX-License-Identifier: Apache-2.0
 *
 * id: local tag, branch and Call-ID that say where they belong. 13 bytes (node, slot, generation, 32 random bits) and a 32-bit keyed check over them and the
 * kind, printed in base32hex (RFC 4648 section 7, lower case, no padding): 28 characters. A stranger cannot make one that we take for ours, nor turn a tag into a branch.
 */
#include "sip/sip_int.h"

#define BODY  13
#define WHOLE (BODY + 4)
#define CHARS ((WHOLE * 8 + 4) / 5)

static const char alphabet[] = "0123456789abcdefghijklmnopqrstuv";
static const struct {
	const char *text;
	size_t n;
} prefixes[] = {[SIP_ID_TAG] = {"", 0}, [SIP_ID_BRANCH] = {"z9hG4bK", 7}, [SIP_ID_CALL] = {"", 0}};

_Static_assert(CHARS + 7 <= SIP_ID_LEN, "id: fits where it is promised to");

static void put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t check_of(const uint8_t key[16], enum sip_id_kind kind, const uint8_t body[BODY])
{
	uint8_t in[BODY + 1];

	memcpy(in, body, BODY);
	in[BODY] = (uint8_t)kind;
	return (uint32_t)siphash(key, in, sizeof(in));
}

void sip_id_print(const uint8_t key[16], enum sip_id_kind kind, const struct sip_id *id, struct out *o)
{
	uint8_t b[WHOLE];
	uint32_t bits = 0;
	int n = 0;

	b[0] = id->node;
	put_u32(b + 1, handle_slot(id->h));
	put_u32(b + 5, handle_gen(id->h));
	put_u32(b + 9, id->rnd);
	put_u32(b + BODY, check_of(key, kind, b));
	out_str(o, str_n(prefixes[kind].text, prefixes[kind].n));
	for (int i = 0; i < WHOLE; i++) {
		bits = bits << 8 | b[i];
		for (n += 8; n >= 5; n -= 5)
			out_c(o, alphabet[bits >> (n - 5) & 31]);
		bits &= 0xff;
	}
	out_c(o, alphabet[bits << (5 - n) & 31]);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'v' ? c - 'a' + 10 : -1;
}

int sip_id_parse(const uint8_t key[16], enum sip_id_kind kind, struct str s, struct sip_id *ret)
{
	uint8_t b[WHOLE + 1] = {0};
	uint32_t bits = 0;
	int n = 0, at = 0;

	if (kind == SIP_ID_CALL) /* "@host" is free */
		s = str_cut(s, '@', &(struct str){0});
	if (!str_istarts(s, str_n(prefixes[kind].text, prefixes[kind].n)) || s.n != CHARS + prefixes[kind].n)
		return -EBADMSG;
	s = str_skip(s, prefixes[kind].n);
	for (size_t i = 0; i < s.n; i++) {
		int d = digit_of(s.p[i]);

		if (d < 0)
			return -EBADMSG;
		bits = (bits << 5 | (uint32_t)d) & 0xfff;
		n += 5;
		if (n >= 8) {
			n -= 8;
			b[at++] = (uint8_t)(bits >> n);
		}
	}
	if (bits & (BIT(n) - 1)) /* one text for one id */
		return -EBADMSG;
	if (get_u32(b + BODY) != check_of(key, kind, b))
		return -EBADMSG;
	*ret = (struct sip_id){.node = b[0], .h = handle_of(get_u32(b + 1), get_u32(b + 5)), .rnd = get_u32(b + 9)};
	return 0;
}
