/* SPDX-License-Identifier: Apache-2.0
 *
 * config: one INI file and the command line, both read by the parameter table of base/. inih does the splitting; what it would do in silence is refused by
 * a pass before it: lines it would cut (over 199 bytes), sections it would drop because nothing stands in them, NUL bytes, continuation lines. That pass also takes the
 * [number …] sections, whose URLs are longer than inih's lines, by the table of service/. Every complaint is file:line, what is wrong, and what is allowed; all that is wrong is told
 * at once. At the start it is said on stderr and nothing has been started by then; when the file is read again it goes into the log. Any thread.
 */
#include "cli/cli_int.h"

#include <fcntl.h>
#include <ini.h>
#include <unistd.h>

#include "service/service.h"

#define CONFIG_VALUE  1200 /* a full list */
#define CONFIG_LINE   199  /* inih's buffer is 200 bytes with the NUL */
#define CONFIG_LONG   1199 /* a line of a number: a URL of 1000 bytes and its name */
#define CONFIG_FAULTS 50   /* complaints about one file */

void config_init(struct config *c)
{
	ASSERT(param_n <= CONFIG_PARAMS);
	*c = (struct config){0};
	params_init(&c->p);
}

void config_done(struct config *c)
{
	free(c->numbers);
	free(c->text);
	c->numbers = NULL;
	c->text = NULL;
	c->n_numbers = 0;
	c->text_n = 0;
}

_printf_(2, 3) static void config_say(const struct config *c, const char *fmt, ...)
{
	char line[2400];
	struct out o = OUT(line);
	va_list ap;

	va_start(ap, fmt);
	out_vf(&o, fmt, ap);
	va_end(ap);
	if (c->voice == CONFIG_STDERR)
		fprintf(stderr, "hookswitch: %s\n", out_z(&o));
	else if (c->voice == CONFIG_LOG)
		log_line(LOG_ERROR, "configuration: %s", out_z(&o));
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
	config_say(c, "%s", out_z(&o));
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
	struct str rest; /* of the text */
	const char *path;
	int line, n_bad;
	struct number_conf *number; /* the section that the lines belong to */
	bool numbers;               /* the lines are those of a number, whatever became of its section */
	int cap;                    /* of config->numbers */
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
	OUT_STR(o, " [number NUMBER]");
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
	if (r->n_bad++ < CONFIG_FAULTS)
		config_say(r->config, "%s:%d: %s%s%s%s%s", r->path, r->line, what, shown.n ? " " : "", out_z(&o), allowed ? "; allowed: " : "",
			   allowed ? allowed : "");
	else if (r->n_bad == CONFIG_FAULTS + 1)
		config_say(r->config, "%s: and more", r->path);
	return -EINVAL;
}

/* ---- [number …] ---- */

/* The section before is whole. */
static void number_close(struct config_reader *r)
{
	const char *lacks = r->number ? number_conf_lacks(r->number) : NULL;
	int line = r->line;

	if (lacks) {
		r->line = r->number->line;
		config_bad(r, "this number lacks", str_z(lacks), NULL);
		r->line = line;
	}
	r->number = NULL;
	r->numbers = false;
}

static int number_open(struct config_reader *r, struct str key)
{
	struct config *c = r->config;

	r->numbers = true;
	if (c->n_numbers == (int)limit_of(LIMIT_NUMBERS))
		return config_bad(r, "one number too many", STR_NONE, "4096 sections of numbers");
	if (c->n_numbers == r->cap) {
		int cap = r->cap ? 2 * r->cap : 16;
		struct number_conf *v = realloc(c->numbers, (size_t)cap * sizeof(*v));

		if (!v)
			return config_bad(r, "no memory", STR_NONE, NULL);
		c->numbers = v;
		r->cap = cap;
	}
	if (number_conf_open(key, &c->numbers[c->n_numbers]))
		return config_bad(r, "this is no number:", key,
				  "[number 100], [number 2...] for all that begin with 2, [number default]; 0-9 A-Z a-z + * # _ -, at most 32");
	r->number = &c->numbers[c->n_numbers++];
	r->number->line = r->line;
	return 0;
}

static int number_pair(struct config_reader *r, struct str line)
{
	const struct number_key *k;
	struct str name, value;
	char names[300];
	struct out o = OUT(names);
	size_t n = 0;
	int err;

	while (n < line.n && line.p[n] != '=' && line.p[n] != ':')
		n++;
	if (n == line.n)
		return config_bad(r, "not understood", STR_NONE, "[section], name = value, ; comment");
	name = str_trim(str_n(line.p, n));
	value = str_skip(line, n + 1);
	for (size_t i = 1; i < value.n; i++) /* as inih has it: a comment may stand behind white space */
		if (value.p[i] == ';' && (value.p[i - 1] == ' ' || value.p[i - 1] == '\t'))
			value.n = i;
	value = str_trim(value);
	k = number_key_find(name);
	for (size_t i = 0; !k && i < number_key_n; i++)
		out_f(&o, "%s%s", i ? " " : "", number_keys[i].name);
	if (!k)
		return config_bad(r, "no such parameter of a number:", name, out_z(&o));
	err = r->number ? number_conf_set(r->number, k, value) : 0;
	if (!err)
		return 0;
	out_f(&o, "%s = ", k->name);
	out_safe(&o, str_n(value.p, MIN(value.n, 120u)));
	if (err == -EEXIST)
		return config_bad(r, "said twice in this section:", name, NULL);
	return config_bad(r, err == -ERANGE ? "out of range:" : err == -ENOSPC ? "too long:" : "no good value:", out_view(&o), k->allowed);
}

static int by_key(const void *a, const void *b)
{
	const struct number_conf *x = *(const struct number_conf *const *)a, *y = *(const struct number_conf *const *)b;
	int r = strcmp(x->key, y->key);

	return r ? r : x->line - y->line;
}

static void numbers_twice(struct config_reader *r)
{
	int n = r->config->n_numbers;
	const struct number_conf **v = calloc((size_t)n + 1, sizeof(*v));

	if (!v) {
		config_bad(r, "no memory", STR_NONE, NULL);
		return;
	}
	for (int i = 0; i < n; i++)
		v[i] = &r->config->numbers[i];
	qsort(v, (size_t)n, sizeof(*v), by_key);
	for (int i = 1; i < n; i++) {
		char text[80];
		struct out o = OUT(text);

		if (strcmp(v[i - 1]->key, v[i]->key))
			continue;
		out_f(&o, "%s, first in line %d", v[i]->key, v[i - 1]->line);
		r->line = v[i]->line;
		config_bad(r, "this number stands twice:", out_view(&o), NULL);
	}
	free(v);
}

/* ---- lines ---- */

static int config_header(struct config_reader *r, struct str t)
{
	char buf[900];
	struct out o = OUT(buf);
	const char *end = str_find(t, ']');
	struct str name = end ? str_n(t.p + 1, (size_t)(end - t.p - 1)) : STR_NONE;

	number_close(r);
	if (str_starts(name, STR("number ")) || str_starts(name, STR("number\t")) || str_eq(name, STR("number")))
		return number_open(r, str_trim(str_skip(name, 6)));
	if (config_section_known(name))
		return 0;
	config_sections(&o);
	return config_bad(r, "there is no section", t, out_z(&o));
}

/* One raw line: what inih would swallow in silence, and what it does not get to see. */
static int config_line(struct config_reader *r, struct str line)
{
	struct str t = str_trim(line);

	if (line.n > (r->numbers ? CONFIG_LONG : CONFIG_LINE))
		return config_bad(r, "this line is too long", STR_NONE, r->numbers ? "1199 bytes" : "199 bytes");
	if (str_find(line, 0))
		return config_bad(r, "a NUL byte", STR_NONE, NULL);
	if (!t.n || *t.p == ';' || *t.p == '#')
		return 0;
	if (*line.p == ' ' || *line.p == '\t')
		return config_bad(r, "this line begins with white space", STR_NONE, "[section] and name = value at the start of the line");
	if (*t.p == '[')
		return config_header(r, t);
	return r->numbers ? number_pair(r, t) : 0;
}

static bool config_next(struct config_reader *r, struct str *ret)
{
	if (!r->rest.n)
		return false;
	*ret = str_cut(r->rest, '\n', &r->rest);
	if (r->line++ == 0 && str_starts(*ret, STR("\xef\xbb\xbf")))
		*ret = str_skip(*ret, 3);
	while (ret->n && ret->p[ret->n - 1] == '\r')
		ret->n--;
	return true;
}

static int config_prepass(struct config_reader *r)
{
	struct str line;

	while (config_next(r, &line))
		config_line(r, line);
	number_close(r);
	numbers_twice(r);
	return r->n_bad ? -EINVAL : 0;
}

/* Lines of numbers are empty ones for inih, so that it counts right. Every other line fits: the pass before has seen to it. */
static char *config_gets(char *buf, int n, void *stream)
{
	struct config_reader *r = stream;
	struct str line;

	if (!config_next(r, &line))
		return NULL;
	if (line.n && *line.p == '[')
		r->numbers = str_starts(line, STR("[number"));
	if (r->numbers)
		line = STR("");
	ASSERT(line.n < (size_t)n);
	if (line.n)
		memcpy(buf, line.p, line.n); /* inih wants no line end */
	buf[line.n] = 0;
	return buf;
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
			r->n_bad++;
	}
	return 1; /* go on: all that is wrong is told at once */
}

int config_text(struct config *c, const char *path, struct str text)
{
	struct config_reader r = {.config = c, .path = path, .rest = text};
	int bad;

	if (text.n > limit_of(LIMIT_CONFIG))
		return config_bad(&r, "the file is too large", STR_NONE, "1 MiB");
	if (config_prepass(&r))
		return -EINVAL;
	r.rest = text;
	r.line = 0;
	r.numbers = false;
	bad = ini_parse_stream(config_gets, &r, config_pair, &r);
	if (bad && !r.n_bad) {
		r.line = bad;
		config_bad(&r, "not understood", STR_NONE, "[section], name = value, ; comment");
	}
	return r.n_bad ? -EINVAL : 0;
}

/* The whole file, as far as it may be large. */
static int config_read(struct config *c, const char *path)
{
	size_t cap = limit_of(LIMIT_CONFIG) + 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t got = 1;

	if (fd < 0)
		return -errno;
	free(c->text);
	c->text = malloc(cap);
	c->text_n = 0;
	if (!c->text)
		err = -ENOMEM;
	while (!err && got > 0 && c->text_n < cap) {
		got = read(fd, c->text + c->text_n, cap - c->text_n);
		if (got < 0 && errno != EINTR)
			err = -errno;
		c->text_n += got > 0 ? (size_t)got : 0;
		got = got < 0 ? 1 : got;
	}
	close(fd);
	return err;
}

int config_file(struct config *c, const char *path)
{
	int err = config_read(c, path);

	if (err) {
		config_say(c, "%s: %s", path, strerror(-err));
		return -EINVAL;
	}
	c->path = path;
	return config_text(c, path, str_n(c->text, c->text_n));
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

void config_differ(const struct config *was, const struct config *is, struct out *o)
{
	for (size_t k = 0; k < param_n; k++) {
		char a[CONFIG_VALUE], b[CONFIG_VALUE];

		config_print(&was->p, &param_table[k], a);
		config_print(&is->p, &param_table[k], b);
		if (strcmp(a, b))
			out_f(o, "%s%s.%s", o->n ? " " : "", param_table[k].section, param_table[k].name);
	}
}
