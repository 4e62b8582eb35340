/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_cgi_header: any bytes as what a script prints, and its Location: resolved against the script's URL. Views lie within the input; a service: URL that comes out
 * names one file and no way out of the folder; resolving it again changes nothing.
 */
#include "service/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct str whole, struct str s)
{
	ASSERT(!s.n || (s.p >= whole.p && s.p + s.n <= whole.p + whole.n));
}

static void location(struct str ref)
{
	char url[1024], again[1024], name[36];
	struct str query;
	size_t n, m;

	if (url_resolve(STR("service:/100?step=1"), ref, url, sizeof(url), &n) < 0)
		return;
	if (url_service(str_n(url, n), name, &query) == 0) {
		ASSERT(name[0] && name[0] != '.' && !strchr(name, '/'));
		ASSERT(url_resolve(STR("service:/100"), str_n(url, n), again, sizeof(again), &m) == 0);
		ASSERT(m == n && memcmp(url, again, n) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);
	struct str out = str_n(copy, size);
	struct reply r;
	const char *why = NULL;
	uint32_t code;

	if (size)
		memcpy(copy, data, size);
	code = reply_cgi(out, &r, &why);
	ASSERT(code == 0 || (code == 11200 && why[0]));
	if (!code) {
		ASSERT(r.status >= 100 && r.status <= 599);
		inside(out, r.type);
		inside(out, r.full_type);
		inside(out, r.charset);
		inside(out, r.location);
		inside(out, r.body);
		location(r.location);
	}
	location(out);
	free(copy);
	return 0;
}
