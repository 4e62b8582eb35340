/* SPDX-License-Identifier: Apache-2.0
 *
 * trace: `hookswitch trace CALLSID|last`: asks the HTTP interface of the running system (libcurl, the token of DATA/account.ini) and prints the ladder as it comes.
 */
#include "cli/cli_int.h"

#include <curl/curl.h>

const struct cli_option trace_options[N_TRACE_OPTIONS] = {
    {"json", NULL, "the records as JSON"},
    {"data", "DIR", "data folder with the account.ini of that system"},
    {"http", "ADDR:PORT", "its HTTP interface"},
    {"config", "FILE", "its configuration: data folder and address are taken from there"},
};

struct trace_ask {
	struct config config;
	bool json;
	const char *sid;
};

static int trace_args(struct trace_ask *t, const struct command *c, int argc, char **argv)
{
	const char *data = NULL, *http = NULL, *file = NULL;
	struct args a;
	struct arg o;
	int r;

	config_init(&t->config);
	args_open(&a, c, argc, argv);
	while ((r = args_next(&a, &o)) > 0) {
		if (!strcmp(o.option->name, "json"))
			t->json = true;
		else if (!strcmp(o.option->name, "data"))
			data = o.value;
		else if (!strcmp(o.option->name, "http"))
			http = o.value;
		else
			file = o.value;
	}
	if (r < 0)
		return r == -ECANCELED ? CLI_OK + 1 : CLI_USAGE + 1;
	if (file && config_file(&t->config, file))
		return CLI_CONFIG + 1;
	if ((data && config_option(&t->config, param_find(STR("paths"), STR("data")), data)) ||
	    (http && config_option(&t->config, param_find(STR("listen"), STR("http")), http)))
		return CLI_CONFIG + 1;
	if (optind + 1 != argc) {
		help_print(stderr, c);
		return CLI_USAGE + 1;
	}
	t->sid = argv[optind];
	return 0;
}

static int trace_get(const struct trace_ask *t, const struct account *a)
{
	char url[300], user[110];
	long status = 0;
	CURLcode e;
	CURL *h;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	h = curl_easy_init();
	if (!h)
		return CLI_FAILED;
	snprintf(url, sizeof(url), "http://%s/calls/%s/trace", t->config.p.http, t->sid);
	snprintf(user, sizeof(user), "%s:%s", a->sid, a->token);
	struct curl_slist *headers = curl_slist_append(NULL, t->json ? "Accept: application/json" : "Accept: text/plain");
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_USERPWD, user);
	curl_easy_setopt(h, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 5L);
	curl_easy_setopt(h, CURLOPT_TIMEOUT, 60L);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, stdout);
	e = curl_easy_perform(h);
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(h);
	curl_slist_free_all(headers);
	curl_global_cleanup();
	if (e != CURLE_OK)
		fprintf(stderr, "hookswitch trace: http://%s: %s; is Hookswitch running there? (--http ADDR:PORT)\n", t->config.p.http, curl_easy_strerror(e));
	else if (status == 404)
		fprintf(stderr, "hookswitch trace: no call %s in the trace\n", t->sid);
	else if (status == 401)
		fprintf(stderr, "hookswitch trace: the token of %s/account.ini does not open it; name the data folder of that system (--data DIR)\n",
			t->config.p.data);
	return e == CURLE_OK && status == 200 ? CLI_OK : CLI_FAILED;
}

int trace_main(const struct command *c, int argc, char **argv)
{
	static struct trace_ask t;
	struct account account;
	uint8_t sid[16];
	char why[700];
	int r = trace_args(&t, c, argc, argv);

	if (r)
		return r - 1;
	if (strcmp(t.sid, "last") && sid_parse(str_z(t.sid), "CA", sid)) {
		fprintf(stderr, "hookswitch trace: '%s' is no CallSid (CA + 32 hex digits) and not 'last'\n", t.sid);
		return CLI_USAGE;
	}
	if (account_read(t.config.p.data, &account, why, sizeof(why))) {
		fprintf(stderr, "hookswitch trace: %s\n", why);
		return CLI_CONFIG;
	}
	return trace_get(&t, &account);
}
