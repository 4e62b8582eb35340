/* SPDX-License-Identifier: Apache-2.0
 *
 * A URL's fragment with overrides on whatever bytes: what comes out is always within its bounds, and a warning is a printable sentence. Then the same bytes as a form to be signed:
 * the order of its parameters does not matter.
 */
#include "web/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_form(struct str form)
{
	char a[64], b[64], turned[4096];
	struct out o = OUT(turned);
	struct str rest, first = str_cut(form, '&', &rest);
	if (form.n >= sizeof(turned))
		return;
	out_str(&o, rest); /* the first one goes to the end */
	out_c(&o, '&');
	out_str(&o, first);
	ASSERT(sign_twilio(STR("tok"), STR("http://a/"), form, a, sizeof(a)) == 0);
	ASSERT(sign_twilio(STR("tok"), STR("http://a/"), out_view(&o), b, sizeof(b)) == 0);
	ASSERT(str_eq(str_z(a), str_z(b)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct override o;
	override_parse(str_n(data, size), &o);
	ASSERT(o.connect_ms >= 100 && o.connect_ms <= 10000 && o.read_ms >= 100 && o.read_ms <= 15000 && o.total_ms >= 100 && o.total_ms <= 15000);
	ASSERT(o.retries <= 5 && o.retry_on && o.retry_on <= 15 && memchr(o.warning, 0, sizeof(o.warning)));
	for (const char *p = o.warning; *p; p++)
		ASSERT((unsigned char)*p >= 0x20);
	one_form(str_n(data, size));
	return 0;
}
