/* SPDX-License-Identifier: Apache-2.0
 *
 * help: the tables of commands and parameters, printed for people (`--help`, `help COMMAND`) and as a manual page in roff (`man`; the build writes
 * packaging/hookswitch.1 with it). Nothing about a command or parameter is written down here.
 */
#include "cli/cli_int.h"

#include "service/service.h"

static bool command_has(const struct command *c, const char *option)
{
	for (int i = 0; i < c->n_options; i++)
		if (!strcmp(c->options[i].name, option))
			return true;
	return false;
}

static void help_option(FILE *f, const char *name, const char *arg, const char *doc, const char *dflt)
{
	char left[64];

	snprintf(left, sizeof(left), "--%s%s%s", name, arg ? " " : "", arg ? arg : "");
	fprintf(f, "  %-27s %s", left, doc);
	if (dflt && *dflt)
		fprintf(f, " [%s]", dflt);
	fputc('\n', f);
}

static void help_command(FILE *f, const struct command *c)
{
	fprintf(f, "usage: hookswitch %s %s\n\n%s\n", c->name, c->usage, c->doc);
	if (c->more)
		fprintf(f, "%s\n", c->more);
	if (!c->n_options && !c->params)
		return;
	fputs("\noptions:\n", f);
	for (size_t i = 0; c->params && i < param_n; i++)
		if (param_table[i].option && !command_has(c, param_table[i].option))
			help_option(f, param_table[i].option, param_table[i].unit, param_table[i].doc, param_table[i].dflt);
	for (int i = 0; i < c->n_options; i++)
		help_option(f, c->options[i].name, c->options[i].arg, c->options[i].doc, NULL);
	help_option(f, "help", NULL, "prints this", NULL);
}

void help_print(FILE *f, const struct command *c)
{
	if (c) {
		help_command(f, c);
		return;
	}
	fputs("usage: hookswitch COMMAND [OPTIONS]\n\nA phone system: a call becomes a request to a script, and the reply is spoken.\n\ncommands:\n", f);
	for (size_t i = 0; i < n_commands; i++)
		if (!commands[i].hidden)
			fprintf(f, "  %-9s %s\n", commands[i].name, commands[i].doc);
	fputs("\n`hookswitch help COMMAND` says more; `hookswitch man | man -l -` is the manual page.\n", f);
}

int help_main(const struct command *self, int argc, char **argv)
{
	const struct command *c = NULL;

	if (argc > 1 && argv[1][0] != '-') {
		c = command_find(argv[1]);
		if (!c || c->hidden) {
			fprintf(stderr, "hookswitch: there is no command '%s'\n", argv[1]);
			return CLI_USAGE;
		}
	}
	help_print(stdout, c);
	return CLI_OK;
}

/* Text for roff: no line may begin with a control character, a backslash is a character, a hyphen is a minus. */
static void roff(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '-')
			fputs("\\-", stdout);
		else if (*s == '"')
			fputs("\\(dq", stdout);
		else
			fputc(*s, stdout);
	}
}

static void roff_option(const char *name, const char *arg, const char *doc)
{
	fputs(".TP\n.B \\-\\-", stdout);
	roff(name);
	if (arg)
		printf(" \\fI%s\\fR", arg);
	fputc('\n', stdout);
	roff(doc);
	fputc('\n', stdout);
}

static void roff_command(const struct command *c)
{
	printf(".SS ");
	roff(c->name);
	fputc(' ', stdout);
	roff(c->usage);
	fputc('\n', stdout);
	roff(c->doc);
	fputc('\n', stdout);
	if (c->more) {
		roff(c->more);
		fputc('\n', stdout);
	}
	for (size_t i = 0; c->params && i < param_n; i++)
		if (param_table[i].option && !command_has(c, param_table[i].option))
			roff_option(param_table[i].option, param_table[i].unit, param_table[i].doc);
	for (int i = 0; i < c->n_options; i++)
		roff_option(c->options[i].name, c->options[i].arg, c->options[i].doc);
}

static void roff_param(const struct param_info *p)
{
	fputs(".TP\n.B ", stdout);
	roff(p->section);
	putchar('.');
	roff(p->name);
	fputs("\n", stdout);
	roff(p->doc);
	if (p->allowed) {
		fputs(" Allowed: ", stdout);
		roff(p->allowed);
		putchar('.');
	}
	if (p->dflt && *p->dflt) {
		fputs(" Default: ", stdout);
		roff(p->dflt);
		putchar('.');
	}
	putchar('\n');
}

static void roff_numbers(void)
{
	fputs(".SH NUMBERS\nA section [number 100] says what service answers a number; [number 2...] all numbers that begin with 2, [number default] all "
	      "others. The longest match "
	      "counts, and a section before a file of the services folder. SIGHUP reads the file again: all of it, or nothing changes.\n",
	      stdout);
	for (size_t i = 0; i < number_key_n; i++) {
		fputs(".TP\n.B ", stdout);
		roff(number_keys[i].name);
		putchar('\n');
		roff(number_keys[i].doc);
		fputs(" Allowed: ", stdout);
		roff(number_keys[i].allowed);
		fputs(".\n", stdout);
	}
}

int man_main(const struct command *self, int argc, char **argv)
{
	fputs(".TH HOOKSWITCH 1 \"\" \"hookswitch " HOOKSWITCH_VERSION "\" \"User commands\"\n.SH NAME\nhookswitch \\- a phone system that scripts answer\n",
	      stdout);
	fputs(".SH SYNOPSIS\n.B hookswitch\n.I COMMAND\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n", stdout);
	fputs("A SIP telephone dials a number; the call becomes a request to a script or file of the services folder; the reply is spoken, played and done.\n",
	      stdout);
	fputs(".SH COMMANDS\n", stdout);
	for (size_t i = 0; i < n_commands; i++)
		if (!commands[i].hidden)
			roff_command(&commands[i]);
	fputs(".SH CONFIGURATION\nOne INI file, given by \\-\\-config; section and name of each parameter. A list takes several lines, or commas.\n", stdout);
	for (size_t i = 0; i < param_n; i++)
		roff_param(&param_table[i]);
	roff_numbers();
	fputs(".SH FILES\n.TP\n.I DATA/account.ini\nThe account and its token, made at the first start.\n.TP\n.I DATA/hookswitch.db\nThe calls that were, in "
	      "SQLite.\n",
	      stdout);
	fputs(".SH EXIT STATUS\n0 well, 1 failed, 64 usage, 78 configuration: nothing was started.\n", stdout);
	return CLI_OK;
}
