/* SPDX-License-Identifier: Apache-2.0
 *
 * args: the command line, read by getopt_long with option lists made from the tables: those of the command and, if it takes parameters, those of the
 * parameter table that have an option name. Says what is wrong by itself. Main thread, before anything is started.
 */
#include "cli/cli_int.h"

enum { ARG_HELP = 1000, ARG_PARAM = 2000 };

static bool args_has(const struct command *c, const char *name)
{
	for (int i = 0; i < c->n_options; i++)
		if (!strcmp(c->options[i].name, name))
			return true;
	return false;
}

void args_open(struct args *a, const struct command *c, int argc, char **argv)
{
	int n = 0;

	*a = (struct args){.command = c, .argc = argc, .argv = argv};
	for (int i = 0; i < c->n_options; i++)
		a->longs[n++] = (struct option){c->options[i].name, c->options[i].arg ? required_argument : no_argument, NULL, i + 1};
	for (size_t i = 0; c->params && i < param_n; i++) {
		if (!param_table[i].option || args_has(c, param_table[i].option))
			continue;
		ASSERT(n < ARGS_MAX - 2);
		a->longs[n++] = (struct option){param_table[i].option, required_argument, NULL, ARG_PARAM + (int)i};
	}
	a->longs[n++] = (struct option){"help", no_argument, NULL, ARG_HELP};
	a->longs[n] = (struct option){NULL, 0, NULL, 0};
	optind = 0; /* glibc: begin anew */
	opterr = 0;
}

int args_next(struct args *a, struct arg *ret)
{
	int o = getopt_long(a->argc, a->argv, ":h", a->longs, NULL);

	*ret = (struct arg){.value = optarg};
	if (o == -1)
		return 0;
	if (o == ARG_HELP || o == 'h') {
		help_print(stdout, a->command);
		return -ECANCELED;
	}
	if (o == '?' || o == ':') {
		const char *what = a->argv[optind - 1];

		if (o == ':')
			fprintf(stderr, "hookswitch %s: %s needs a value\n", a->command->name, what);
		else
			fprintf(stderr, "hookswitch %s: there is no option %s; try `hookswitch help %s`\n", a->command->name, what, a->command->name);
		return -EINVAL;
	}
	if (o >= ARG_PARAM)
		ret->param = &param_table[o - ARG_PARAM];
	else
		ret->option = &a->command->options[o - 1];
	return 1;
}
