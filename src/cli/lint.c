/* SPDX-License-Identifier: Apache-2.0
 *
 * lint: `hookswitch lint FILE|URL|-`: what a call would meet in a document: each fault with line, level, code, and what mends it. The document is read by the reader that serves calls, and
 * looked over by the function that the interpreter asks (verb_check), so that lint and calls cannot disagree. A URL is asked by libcurl, as a person would ask it: from this machine,
 * with this person's rights. Main thread.
 */
#include "cli/cli_int.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <unistd.h>

#include "service/service.h"
#include "verb/verb.h"

#define LINT_FAULTS 2000

enum { LINT_CLEAN = 0, LINT_ERRORS = 1, LINT_UNREAD = 2 };

const struct cli_option lint_options[N_LINT_OPTIONS] = {
    {"type", "TYPE", "Content-Type of the document, when it cannot be seen from its name or begin"},
    {"base", "URL", "what relative URLs in it start from"},
    {"form", "FORM", "name=value&…: the URL is asked by POST with it (else by GET)"},
    {"strict", NULL, "warnings count as errors"},
};

struct lint {
	const char *what, *form; /* FILE, URL or "-" */
	struct str type, base;
	bool strict;
	char *body;
	size_t n, cap;
	char type_buf[200], base_buf[1100];
	int status;
	struct fault v[LINT_FAULTS];
	int n_faults;
};

/* ---- where it comes from ---- */

static int lint_grow(struct lint *l, const char *p, size_t n)
{
	if (l->n + n > limit_of(LIMIT_AUDIO_BODY) + 1)
		n = limit_of(LIMIT_AUDIO_BODY) + 1 - l->n; /* one byte too many is enough to see it */
	if (l->n + n + 1 > l->cap) {
		size_t cap = MAX(2 * l->cap, l->n + n + 4096);
		char *b = realloc(l->body, cap);

		if (!b)
			return -ENOMEM;
		l->body = b;
		l->cap = cap;
	}
	if (n)
		memcpy(l->body + l->n, p, n);
	l->n += n;
	return 0;
}

static int lint_file(struct lint *l)
{
	int fd = strcmp(l->what, "-") ? open(l->what, O_RDONLY | O_CLOEXEC) : STDIN_FILENO, err = 0;
	char buf[16384];
	ssize_t got;

	if (fd < 0)
		err = -errno;
	while (!err && l->n <= limit_of(LIMIT_AUDIO_BODY) && (got = read(fd, buf, sizeof(buf))) != 0)
		err = got < 0 ? (errno == EINTR ? 0 : -errno) : lint_grow(l, buf, (size_t)got);
	if (fd > STDIN_FILENO)
		close(fd);
	if (err)
		fprintf(stderr, "hookswitch lint: %s: %s\n", l->what, strerror(-err));
	return err;
}

static size_t lint_take(char *p, size_t size, size_t n, void *arg)
{
	struct lint *l = arg;

	if (l->n > limit_of(LIMIT_AUDIO_BODY) || lint_grow(l, p, size * n))
		return 0;
	return size * n;
}

static int lint_url(struct lint *l)
{
	char url[1100], why[CURL_ERROR_SIZE] = "";
	struct str bare = str_cut(str_z(l->what), '#', &(struct str){0}); /* overrides of the connection are not for the server */
	const char *type = NULL, *at = NULL;
	long status = 0;
	CURLcode e;
	CURL *h;

	if (str_zcpy(bare, url, sizeof(url))) {
		fprintf(stderr, "hookswitch lint: the URL is too long\n");
		return -EINVAL;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	h = curl_easy_init();
	if (!h)
		return -ENOMEM;
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "Hookswitch/" HOOKSWITCH_VERSION " lint");
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(h, CURLOPT_MAXREDIRS, (long)limit_of(LIMIT_REDIRECTS_FETCH));
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 5L);
	curl_easy_setopt(h, CURLOPT_TIMEOUT, 15L);
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, lint_take);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, l);
	if (l->form)
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, l->form);
	e = curl_easy_perform(h);
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(h, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(h, CURLINFO_EFFECTIVE_URL, &at);
	l->status = (int)status;
	if (!l->type.p)
		l->type = str_n(l->type_buf, (size_t)snprintf(l->type_buf, sizeof(l->type_buf), "%.*s", (int)sizeof(l->type_buf) - 1, type ? type : ""));
	if (!l->base.p && at)
		l->base = str_n(l->base_buf, (size_t)snprintf(l->base_buf, sizeof(l->base_buf), "%.*s", (int)sizeof(l->base_buf) - 1, at));
	curl_easy_cleanup(h);
	curl_global_cleanup();
	if (e == CURLE_OK || (e == CURLE_WRITE_ERROR && l->n > limit_of(LIMIT_AUDIO_BODY)))
		return 0;
	fprintf(stderr, "hookswitch lint: %s: %s\n", l->what, *why ? why : curl_easy_strerror(e));
	return -EIO;
}

/* ---- what it is ---- */

/* As a file of the services folder it would be NAME.xml: relative URLs start from service:/NAME. */
static void lint_base(struct lint *l, struct str name)
{
	struct number num = {.kind = SERVICE_XML};
	struct out o = OUT(l->base_buf);
	struct str rest, stem = str_cut(name, '.', &rest);

	if (!stem.n || stem.p[0] == '.' || str_zcpy(stem, num.name, sizeof(num.name)))
		return;
	url_of_number(&o, &num);
	l->base = out_view(&o);
}

static void lint_look(struct lint *l)
{
	static const struct {
		const char *suffix, *type;
	} types[] = {{".xml", "text/xml"}, {".txt", "text/plain"}, {".wav", "audio/x-wav"}};
	const char *slash = strrchr(l->what, '/');
	struct str name = str_z(slash ? slash + 1 : l->what), text = str_n(l->body, l->n);
	struct reply rep;
	const char *why;

	if (!l->base.p && strcmp(l->what, "-"))
		lint_base(l, name);
	for (size_t i = 0; i < N_ELEMENTS(types) && !l->type.p; i++) {
		struct str s = str_z(types[i].suffix);

		if (name.n > s.n && str_eq(str_skip(name, name.n - s.n), s))
			l->type = str_z(types[i].type);
	}
	if (l->type.p)
		return;
	if (str_starts(text, STR("\xef\xbb\xbf")))
		text = str_skip(text, 3);
	if (str_starts(str_trim(text), STR("<"))) {
		l->type = STR("text/xml");
	} else if (!reply_cgi(str_n(l->body, l->n), &rep, &why)) { /* what a script printed */
		l->type = str_n(l->type_buf, MIN(rep.full_type.n, sizeof(l->type_buf)));
		if (l->type.n)
			memcpy(l->type_buf, rep.full_type.p, l->type.n);
		l->status = rep.status;
		l->n = rep.body.n;
		if (l->n && l->body)
			memmove(l->body, rep.body.p, l->n);
	} else {
		l->type = STR("text/plain");
	}
}

/* ---- what is wrong with it ---- */

static void lint_put(struct lint *l, const struct fault *f)
{
	if (l->n_faults < LINT_FAULTS)
		l->v[l->n_faults++] = *f;
}

static int by_line(const void *a, const void *b)
{
	const struct fault *x = a, *y = b;

	return x->line != y->line ? x->line - y->line : (x->code > y->code) - (x->code < y->code);
}

static void lint_read(struct lint *l)
{
	struct document *d;
	struct fault f = {0};

	if (document_read(l->type, str_n(l->body, l->n), l->status, &d, &f)) {
		lint_put(l, &f);
		return;
	}
	for (int i = 0; i < d->n_faults; i++)
		lint_put(l, &d->faults[i]);
	l->n_faults += verb_check(d->root, l->base, CHECK_WORDS | CHECK_VALUES | CHECK_ROAD, l->v + l->n_faults, LINT_FAULTS - l->n_faults);
	qsort(l->v, (size_t)l->n_faults, sizeof(*l->v), by_line);
	document_free(d);
}

static int lint_tell(const struct lint *l)
{
	const char *name = strcmp(l->what, "-") ? l->what : "stdin";
	int n[2] = {0};

	for (int i = 0; i < l->n_faults; i++) {
		const struct fault_info *f = fault_find(l->v[i].code);
		enum fault_level level = f ? f->level : FAULT_ERROR;
		char text[800];
		struct out o = OUT(text);

		out_safe(&o, str_z(l->v[i].text));
		n[level]++;
		printf("%s:%d: %s %u: %s (%s; %s)\n", name, MAX(l->v[i].line, 1), level == FAULT_ERROR ? "error" : "warning", l->v[i].code, out_z(&o),
		       f ? f->name : "", f ? f->mend : "");
	}
	printf("%s: %d %s, %d %s\n", name, n[FAULT_ERROR], n[FAULT_ERROR] == 1 ? "error" : "errors", n[FAULT_WARNING],
	       n[FAULT_WARNING] == 1 ? "warning" : "warnings");
	return n[FAULT_ERROR] || (l->strict && n[FAULT_WARNING]) ? LINT_ERRORS : LINT_CLEAN;
}

static int lint_args(struct lint *l, const struct command *c, int argc, char **argv)
{
	struct args a;
	struct arg o;
	int r;

	args_open(&a, c, argc, argv);
	while ((r = args_next(&a, &o)) > 0) {
		if (!strcmp(o.option->name, "type"))
			l->type = str_z(o.value);
		else if (!strcmp(o.option->name, "base"))
			l->base = str_z(o.value);
		else if (!strcmp(o.option->name, "form"))
			l->form = o.value;
		else
			l->strict = true;
	}
	if (r < 0)
		return r == -ECANCELED ? CLI_OK + 1 : CLI_USAGE + 1;
	if (optind + 1 != argc) {
		help_print(stderr, c);
		return CLI_USAGE + 1;
	}
	l->what = argv[optind];
	return 0;
}

int lint_main(const struct command *c, int argc, char **argv)
{
	static struct lint l = {.status = 200};
	int r = lint_args(&l, c, argc, argv);
	bool web = false;

	if (r)
		return r - 1;
	web = str_istarts(str_z(l.what), STR("http://")) || str_istarts(str_z(l.what), STR("https://"));
	if (web ? lint_url(&l) : lint_file(&l))
		return LINT_UNREAD;
	if (!web)
		lint_look(&l);
	lint_read(&l);
	r = lint_tell(&l);
	free(l.body);
	return r;
}
