/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_ssml: any bytes inside a Say: what is made of them is text of the length that is spoken, cut into pieces of which each is either text without a mark or one break within
 * its bounds; all of it ends.
 */
#include "verb/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void pieces(struct str text)
{
	size_t sum = 0;
	struct str p;
	uint32_t ms;

	for (uint32_t i = 0; i < 64 && text_piece(text, i, &p); i++) {
		ASSERT(p.n > 0 && p.p >= text.p && p.p + p.n <= text.p + text.n);
		sum += p.n;
		if (ssml_break(p, &ms))
			ASSERT(ms > 0 && ms <= 10000);
		else
			ASSERT(!str_find(p, BREAK_MARK) && !str_find(p, BREAK_END));
	}
	ASSERT(sum <= text.n);
}

static void say(const struct node *n, struct str language)
{
	static char raw[16384], folded[16384];
	struct out o = OUT(raw);
	bool cut;

	ssml_text(n, language, &o);
	pieces(str_n(folded, text_fold(out_view(&o), folded, sizeof(folded), limit_of(LIMIT_SAY_TEXT), &cut)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t cap = size + 64;
	struct out o = {.p = malloc(cap), .cap = cap};
	struct document *d = NULL;
	struct fault f;

	OUT_STR(&o, "<Response><Say>");
	out_str(&o, str_n((const char *)data, size));
	OUT_STR(&o, "</Say></Response>");
	if (document_read(STR("text/xml"), out_view(&o), 200, &d, &f) == 0) {
		for (const struct node *n = d->root->child; n; n = n->next) {
			say(n, STR("en-GB"));
			say(n, STR("de"));
		}
		document_free(d);
	}
	free(o.p);
	return 0;
}
