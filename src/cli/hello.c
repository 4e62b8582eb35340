/* SPDX-License-Identifier: Apache-2.0
 *
 * hello: what is said when calls can be taken for the first time: one line for programs (`ready …` on stdout) and a block for people: what is listened on, each number and
 * what answers it, how to place the first call. Sig thread, before the first packet is read; the files of the services folder are read here only for their first comment.
 */
#include "cli/cli_int.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper/keeper.h"
#include "service/service.h"

/* The first comment of a file: `# …` behind `#!`, or `<!-- … -->`. Empty if there is none. */
static void hello_comment(const char *folder, const struct number *n, char *ret, size_t cap)
{
	char path[400], buf[512];
	struct out o = {.p = ret, .cap = cap};
	ssize_t got;
	int fd;

	*ret = 0;
	snprintf(path, sizeof(path), "%s/%s", folder, n->file);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	got = fd >= 0 ? read(fd, buf, sizeof(buf)) : -1;
	if (fd >= 0)
		close(fd);
	if (got <= 0 || n->kind == SERVICE_SOUND || n->kind == SERVICE_TEXT)
		return;
	for (struct str rest = str_n(buf, (size_t)got); rest.p && !o.n;) {
		struct str line = str_trim(str_cut(rest, '\n', &rest)), end;

		if (str_starts(line, STR("<!--"))) {
			line = str_trim(str_skip(line, 4));
			end = str_n(line.p, line.n >= 3 ? line.n - 3 : 0);
			out_safe(&o, str_trim(end));
		} else if (str_starts(line, STR("# ")) && !str_starts(line, STR("# SPDX"))) {
			out_safe(&o, str_skip(line, 2));
		}
	}
	out_z(&o);
}

static const char *hello_kind(const struct number *n)
{
	switch (n->kind) {
	case SERVICE_CGI:
		return "script";
	case SERVICE_XML:
		return "document";
	case SERVICE_TEXT:
		return "text";
	case SERVICE_SOUND:
		return "sound";
	case SERVICE_WEB:
		return "web";
	default:
		return "fault";
	}
}

/* Without user and password: this is read over shoulders. */
static void hello_web(const struct number *n, bool first)
{
	ASSERT(n->web);
	struct str url = str_z(n->web->voice_url);
	const char *at = str_find(url, '@'), *colon = strchr(n->web->voice_url, ':'), *slash = colon ? strchr(colon + 3, '/') : NULL;

	if (at && (!slash || at < slash))
		url = str_skip(url, (size_t)(at - url.p));
	fprintf(stderr, "%s  %-10s %-9s %.*s%.*s\n", first ? "numbers:\n" : "", n->name, "web", url.p == n->web->voice_url ? 0 : 3, "...", STR_ARG(url));
}

static void hello_numbers(const struct worker *w)
{
	const struct number *n;
	size_t at = 0;
	int count = 0;

	while ((n = services_each(w->services, &at))) {
		char comment[160];

		if (n->kind == SERVICE_WEB) {
			hello_web(n, count++ == 0);
			continue;
		}
		if (n->kind == SERVICE_BROKEN) { /* why: it names the files */
			fprintf(stderr, "%s  %-10s %-9s %s\n", count++ ? "" : "numbers:\n", n->name, hello_kind(n), n->why);
			continue;
		}
		hello_comment(w->p.services, n, comment, sizeof(comment));
		fprintf(stderr, "%s  %-10s %-9s %s/%s%s%s\n", count++ ? "" : "numbers:\n", n->name, hello_kind(n), w->p.services, n->file, *comment ? "  " : "",
			comment);
	}
	if (!count)
		fprintf(stderr,
			"numbers: none yet. Make the first one:\n"
			"  printf '#!/bin/sh\\necho \"Content-Type: text/plain\"\\necho\\necho \"Hello, this is my telephone.\"\\n' > %s/100\n"
			"  chmod +x %s/100\n",
			w->p.services, w->p.services);
}

static const char *hello_addr(const struct addr *a, char *buf, size_t cap)
{
	struct out o = {.p = buf, .cap = cap};

	addr_print(&o, a);
	return out_z(&o);
}

/* How this program is called from the folder we stand in: its name if it is installed, else its path. */
static void hello_program(char *ret, size_t cap)
{
	char exe[512], here[512];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	size_t l;

	snprintf(ret, cap, "hookswitch");
	if (n <= 0)
		return;
	exe[n] = 0;
	if (str_starts(str_z(exe), STR("/usr/")) || str_starts(str_z(exe), STR("/bin/")))
		return;
	l = getcwd(here, sizeof(here)) ? strlen(here) : 0;
	if (l && !strncmp(exe, here, l) && exe[l] == '/')
		snprintf(ret, cap, ".%s", exe + l);
	else
		snprintf(ret, cap, "%s", exe);
}

/* The number to try first: 100, as the examples have it, else the first that there is. */
static const char *hello_first(const struct worker *w)
{
	const struct number *n = services_find(w->services, STR("100"));
	size_t at = 0;

	if (n && strcmp(n->name, "default"))
		return "100";
	while ((n = services_each(w->services, &at)))
		if (isalnum((unsigned char)n->name[0]) && strcmp(n->name, "default") && strspn(n->name, "0123456789*#") == strlen(n->name))
			return n->name;
	return "100";
}

void hello_ready(const struct worker *w)
{
	char sip[PARAM_SIP_MAX * 64], http[64], one[64], program[520];
	struct out o = OUT(sip);
	struct addr dial;
	bool local;
	const char *number;

	for (int i = 0; i < w->p.n_sip; i++)
		out_f(&o, "%s%s", i ? "," : "", hello_addr(&w->sip_at[i].bound, one, sizeof(one)));
	out_z(&o);
	hello_addr(&w->http_at, http, sizeof(http));
	fprintf(stderr, "hookswitch %s: listening on sip %s (udp and tcp), http %s; data in %s; at most %llu calls\n", HOOKSWITCH_VERSION, sip, http, w->p.data,
		(unsigned long long)w->p.max_calls);
	hello_numbers(w);
	dial = w->sip_at[0].bound;
	if (addr_is_any(&dial)) { /* every address of this machine: the one that is always there */
		uint16_t port = dial.port;

		(void)!addr_parse(dial.family == AF_INET6 ? STR("::1") : STR("127.0.0.1"), &dial);
		dial.port = port;
	}
	hello_addr(&dial, one, sizeof(one));
	local = !strcmp(one, "127.0.0.1:5060");
	hello_program(program, sizeof(program));
	number = hello_first(w);
	fprintf(stderr, "the first call: %s call %s%s%s\n", program, number, local ? "" : " --server ", local ? "" : one);
	fprintf(stderr, "  or dial sip:%s@%s on a softphone, with the setting \"no registration\" (no account is needed)\n", number, one);
	fflush(stderr);
	printf("ready sip=%s http=%s keeper=%d\n", sip, http, (int)keep_pid(w->keep));
	fflush(stdout);
}
