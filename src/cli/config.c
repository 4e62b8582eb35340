/* SPDX-License-Identifier: Apache-2.0
 *
 * config: one INI file and the command line, both read by the parameter table of base/. inih does the splitting; what it would do in silence is refused by
 * a pass before it: lines it would cut (over 199 bytes), sections it would drop because nothing stands in them, NUL bytes, continuation lines. Every complaint
 * is file:line, what is wrong, and what is allowed; nothing has been started by then. Main thread.
 */
#include "cli/cli_int.h"

#include <ini.h>

#define CONFIG_VALUE 1200 /* a full list */
#define CONFIG_LINE  199  /* inih's buffer is 200 bytes with the NUL */

void config_init(struct config *c)
{
	ASSERT(param_n <= CONFIG_PARAMS);
	*c = (struct config){0};
	params_init(&c->p);
}

static void config_allowed(const struct param_info *i, struct out *o)
{
	if (i->allowed)
		out_f(o, "%s", i->allowed);
	else
		out_f(o, "%llu to %llu", (unsigned long long)i->min, (unsigned long long)i->max);
}

/* where: "file:3: " or "--sip "; what the value is shown as comes cleaned of control bytes. */
static int config_put(struct config *c, const struct param_info *i, const char *value, const char *where)
{
	bool *seen = &c->seen[i - param_table];
	char buf[600];
	struct out o = OUT(buf);
	int r = param_set(&c->p, i, value, !*seen);

	if (!r) {
		*seen = true;
		return 0;
	}
	out_f(&o, "%s%s.%s = ", where, i->section, i->name);
	out_safe(&o, str_z(value));
	out_f(&o, "%s; allowed: ", r == -ERANGE ? " is out of range" : r == -ENOSPC ? " is too long or one too many" : " is no good value");
	config_allowed(i, &o);
	fprintf(stderr, "hookswitch: %s\n", out_z(&o));
	return -EINVAL;
}

int config_option(struct config *c, const struct param_info *i, const char *value)
{
	char where[80];
	struct out o = OUT(where);

	out_f(&o, "--%s: ", i->option ? i->option : "set");
	return config_put(c, i, value, out_z(&o));
}

int config_assign(struct config *c, const char *assignment)
{
	struct str value, name, section = str_cut(str_cut(str_z(assignment), '=', &value), '.', &name);
	const struct param_info *i = name.p ? param_find(section, name) : NULL;

	if (!i || !value.p) {
		fprintf(stderr, "hookswitch: --set %s: not SECTION.NAME=VALUE of a parameter there is; `hookswitch params` prints them\n", assignment);
		return -EINVAL;
	}
	return config_put(c, i, value.p, "--set: ");
}

/* ---- the file ---- */

struct config_reader {
	struct config *config;
	FILE *f;
	const char *path;
	int line;
	bool failed;
};

static bool config_section_known(struct str s)
{
	for (size_t i = 0; i < param_n; i++)
		if (str_eq(s, str_z(param_table[i].section)))
			return true;
	return false;
}

static void config_sections(struct out *o)
{
	for (size_t i = 0; i < param_n; i++) {
		bool told = false;

		for (size_t j = 0; j < i && !told; j++)
			told = !strcmp(param_table[i].section, param_table[j].section);
		if (!told)
			out_f(o, "%s[%s]", o->n ? " " : "", param_table[i].section);
	}
}

static void config_names(struct str section, struct out *o)
{
	for (size_t i = 0; i < param_n; i++)
		if (str_eq(section, str_z(param_table[i].section)))
			out_f(o, "%s%s", o->n ? " " : "", param_table[i].name);
}

static int config_bad(struct config_reader *r, const char *what, struct str shown, const char *allowed)
{
	char buf[900];
	struct out o = OUT(buf);

	out_safe(&o, shown);
	fprintf(stderr, "hookswitch: %s:%d: %s%s%s%s%s\n", r->path, r->line, what, shown.n ? " " : "", out_z(&o), allowed ? "; allowed: " : "",
		allowed ? allowed : "");
	r->failed = true;
	return -EINVAL;
}

/* One raw line: what inih would swallow in silence. */
static int config_line(struct config_reader *r, struct str line)
{
	char buf[800];
	struct out o = OUT(buf);
	struct str t = str_trim(line), name;
	const char *end;

	if (line.n > CONFIG_LINE)
		return config_bad(r, "this line is too long", STR_NONE, "199 bytes");
	if (str_find(line, 0))
		return config_bad(r, "a NUL byte", STR_NONE, NULL);
	if (!t.n || *t.p == ';' || *t.p == '#')
		return 0;
	if (*line.p == ' ' || *line.p == '\t')
		return config_bad(r, "this line begins with white space", STR_NONE, "[section] and name = value at the start of the line");
	if (*t.p != '[')
		return 0;
	end = str_find(t, ']');
	name = end ? str_n(t.p + 1, (size_t)(end - t.p - 1)) : STR_NONE;
	if (config_section_known(name))
		return 0;
	config_sections(&o);
	return config_bad(r, "there is no section", t, out_z(&o));
}

static int config_prepass(struct config_reader *r)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, r->f)) >= 0) {
		struct str s = str_n(line, (size_t)n);

		r->line++;
		if (r->line == 1 && str_starts(s, STR("\xef\xbb\xbf")))
			s = str_skip(s, 3);
		while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
			s.n--;
		config_line(r, s);
	}
	free(line);
	if (fseek(r->f, 0, SEEK_SET)) /* a pipe: it would be read as empty */
		return config_bad(r, "not a file that can be read twice", STR_NONE, NULL);
	r->line = 0;
	return r->failed ? -EINVAL : 0;
}

static char *config_gets(char *buf, int n, void *stream)
{
	struct config_reader *r = stream;

	r->line++; /* every line fits: the pass before has seen to it */
	return fgets(buf, n, r->f);
}

static int config_pair(void *user, const char *section, const char *name, const char *value)
{
	struct config_reader *r = user;
	const struct param_info *i = param_find(str_z(section), str_z(name));
	char buf[800], where[400];
	struct out o = OUT(buf), w = OUT(where);

	if (!i && !*section) {
		config_sections(&o);
		config_bad(r, "in no section:", str_z(name), out_z(&o));
	} else if (!i) {
		config_names(str_z(section), &o);
		config_bad(r, "no such parameter:", str_z(name), out_z(&o));
	} else {
		out_f(&w, "%s:%d: ", r->path, r->line);
		if (config_put(r->config, i, value ? value : "", out_z(&w)))
			r->failed = true;
	}
	return 1; /* go on: all that is wrong is told at once */
}

int config_file(struct config *c, const char *path)
{
	struct config_reader r = {.config = c, .path = path, .f = fopen(path, "re")};
	int bad;

	if (!r.f) {
		fprintf(stderr, "hookswitch: %s: %s\n", path, strerror(errno));
		return -EINVAL;
	}
	if (config_prepass(&r)) {
		fclose(r.f);
		return -EINVAL;
	}
	bad = ini_parse_stream(config_gets, &r, config_pair, &r);
	fclose(r.f);
	if (bad && !r.failed) {
		r.line = bad;
		config_bad(&r, "not understood", STR_NONE, "[section], name = value, ; comment");
	}
	return r.failed ? -EINVAL : 0;
}

/* ---- the command line ---- */

int config_args(struct config *c, struct args *a, void (*other)(void *arg, const struct arg *o), void *arg)
{
	const char *file = NULL;
	struct arg o;
	int r;

	/* The file ranks below the options, wherever --config stands. */
	while ((r = args_next(a, &o)) > 0)
		if (o.option && !strcmp(o.option->name, "config"))
			file = o.value;
	if (r < 0)
		return r == -ECANCELED ? CLI_OK + 1 : CLI_USAGE + 1;
	if (file && config_file(c, file))
		return CLI_CONFIG + 1;
	memset(c->seen, 0, sizeof(c->seen));
	args_open(a, a->command, a->argc, a->argv);
	while (args_next(a, &o) > 0) {
		int bad = 0;

		if (o.param)
			bad = config_option(c, o.param, o.value);
		else if (!strcmp(o.option->name, "set"))
			bad = config_assign(c, o.value);
		else if (other)
			other(arg, &o);
		if (bad)
			return CLI_CONFIG + 1;
	}
	return 0;
}

static int config_add(char **argv, int *n, int cap, const struct param_info *i, const char *value)
{
	char *s = NULL;

	if (*n + 2 >= cap || asprintf(&s, "%s.%s=%s", i->section, i->name, value) < 0)
		return -ENOSPC;
	argv[(*n)++] = strdup("--set");
	argv[(*n)++] = s;
	return argv[*n - 2] ? 0 : -ENOMEM;
}

/* The value of a parameter as it would be written. */
static void config_print(const struct params *p, const struct param_info *i, char ret[CONFIG_VALUE])
{
	const char *field = (const char *)p + i->offset;
	const uint64_t *number = (const uint64_t *)(const void *)field;
	struct out o = {.p = ret, .cap = CONFIG_VALUE};

	if (i->type == PARAM_LIST)
		for (int k = 0; k < *(const int *)(const void *)((const char *)p + i->count_offset); k++)
			out_f(&o, "%s%s", k ? "," : "", field + (size_t)k * sizeof(p->sip[0]));
	else if (i->type == PARAM_NUMBER)
		out_u64(&o, *number);
	else if (i->type == PARAM_RANGE)
		out_f(&o, "%llu-%llu", (unsigned long long)number[0], (unsigned long long)number[1]);
	else if (i->type == PARAM_LEVEL)
		out_f(&o, "%s", log_level_name(*(const enum log_level *)(const void *)field));
	else
		out_f(&o, "%s", field);
	out_z(&o);
}

int config_argv(const struct config *c, char **argv, int n, int cap)
{
	struct config d;

	config_init(&d);
	for (size_t k = 0; k < param_n; k++) {
		const struct param_info *i = &param_table[k];
		char have[CONFIG_VALUE], dflt[CONFIG_VALUE];

		config_print(&c->p, i, have);
		config_print(&d.p, i, dflt);
		if (strcmp(have, dflt) && config_add(argv, &n, cap, i, have))
			return -ENOSPC;
	}
	return n;
}
