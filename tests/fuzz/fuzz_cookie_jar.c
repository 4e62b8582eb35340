/* SPDX-License-Identifier: Apache-2.0
 *
 * A call's jar on whatever bytes: each line handed to libcurl has the seven fields of a cookie and is none of its commands; credentials that were read are read again the same from what
 * is printed; and libcurl's own engine takes the lines.
 */
#include "web/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cookies(struct str text)
{
	struct jar_lines l = {text};
	struct str line;
	char z[512];
	CURL *e = curl_easy_init();
	curl_easy_setopt(e, CURLOPT_COOKIEFILE, "");
	while (jar_cookie_next(&l, &line)) {
		ASSERT(!str_find(line, '\n') && str_find(line, '\t') && !str_starts(line, STR("#auth\t")));
		if (str_zcpy(line, z, sizeof(z)) == 0)
			curl_easy_setopt(e, CURLOPT_COOKIELIST, z);
	}
	curl_easy_cleanup(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct jar j, k;
	static char buf[JAR_MAX];
	struct out o = OUT(buf);
	jar_read(&j, str_n(data, size));
	jar_print(&j, NULL, &o);
	jar_read(&k, out_view(&o));
	ASSERT(!o.over && k.n_creds == j.n_creds);
	for (int i = 0; i < j.n_creds; i++) {
		ASSERT(str_eq(str_z(j.creds[i].origin), str_z(k.creds[i].origin)) && j.creds[i].kind == k.creds[i].kind);
		ASSERT(str_eq(str_z(j.creds[i].user), str_z(k.creds[i].user)) && str_eq(str_z(j.creds[i].pass), str_z(k.creds[i].pass)));
	}
	cookies(str_n(data, size));
	return 0;
}
