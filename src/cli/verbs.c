/* SPDX-License-Identifier: Apache-2.0
 *
 * verbs: `hookswitch verbs`: the verbs, their attributes and the error codes, from the tables that calls are served by (verb_table, fault_table), as Markdown; docs/verbs.md is what it prints
 * and a test compares the two. Main thread.
 */
#include "cli/cli_int.h"

#include "service/service.h"
#include "verb/verb.h"

/* A '|' would end the cell. */
static void cell(const char *s)
{
	for (; *s; s++) {
		if (*s == '|' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
	fputs(" |", stdout);
}

/* What a call says to a bad value; none where any text will do. A URL that leads nowhere has a code of its own. */
static void code_cell(const struct verb_info *v, const struct verb_attr *a)
{
	uint32_t code = verb_attr_code(v, a);

	if (code == 12200 && !strcmp(a->range, "URL"))
		code = 11100;
	if (code == 12200 && !strcmp(a->range, "text"))
		fputs(" |", stdout);
	else
		printf(" %u |", code);
}

static void attr_row(const struct verb_info *v, const struct verb_attr *a)
{
	printf("| `%s` | ", a->name);
	if (a->dflt[0])
		printf("`%s` | ", a->dflt);
	else
		fputs("| ", stdout);
	cell(a->range);
	code_cell(v, a);
	putchar(' ');
	cell(a->doc);
	putchar('\n');
}

static void verb_part(const struct verb_info *v)
{
	char first = v->doc[0] >= 'a' && v->doc[0] <= 'z' ? (char)(v->doc[0] - 'a' + 'A') : v->doc[0];

	printf("\n### %s\n\n%c%s.%s%s\n", v->name, first, v->doc + 1, v->answers ? " Answers the call." : "", v->takes_time ? " Takes time." : "");
	if (v->n_attrs)
		puts("\n| attribute | default | values | of a bad one | what it does |\n|---|---|---|---|---|");
	for (int i = 0; i < v->n_attrs; i++)
		attr_row(v, &v->attrs[i]);
}

static void not_served(void)
{
	puts(
	    "\n## Known and not served\n\nThese are told from mistakes: reached, they are error 13750.\n\n| verb | what it does | attributes |\n|---|---|---|");
	for (size_t i = 0; i < verb_n; i++) {
		const struct verb_info *v = &verb_table[i];

		if (v->served)
			continue;
		printf("| %s | %s |", v->name, v->doc);
		for (int k = 0; k < v->n_attrs; k++)
			printf("%s `%s`", k ? "," : "", v->attrs[k].name);
		puts(" |");
	}
}

static void faults(void)
{
	puts("\n## Error codes\n\nAn **error** ends what is being run: the fallback URL is asked, with ErrorCode and ErrorUrl; without one, or when it fails "
	     "too, the caller hears a sentence and the "
	     "call ends. A **warning** is traced, the default is used, and the document goes on.\n\n| code | level | what is wrong | what mends it "
	     "|\n|---|---|---|---|");
	for (size_t i = 0; i < fault_n; i++) {
		const struct fault_info *f = &fault_table[i];

		printf("| %u | %s | ", f->code, f->level == FAULT_ERROR ? "error" : "warning");
		cell(f->name);
		putchar(' ');
		cell(f->mend);
		putchar('\n');
	}
}

int verbs_main(const struct command *c, int argc, char **argv)
{
	struct args a;
	struct arg o;
	int r;

	args_open(&a, c, argc, argv);
	if ((r = args_next(&a, &o)) < 0)
		return r == -ECANCELED ? CLI_OK : CLI_USAGE;
	puts("# Verbs\n\nPrinted by `hookswitch verbs`, from the tables that calls are served by. Names of elements, attributes and their values are "
	     "case-sensitive, but for GET, POST, true and "
	     "false.\nAn attribute that is not listed is warning 12200, and is skipped.\n\n## Served");
	for (size_t i = 0; i < verb_n; i++)
		if (verb_table[i].served)
			verb_part(&verb_table[i]);
	not_served();
	faults();
	return CLI_OK;
}
