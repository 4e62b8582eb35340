/* SPDX-License-Identifier: Apache-2.0
 *
 * limits: `hookswitch limits` and `hookswitch params`: two tables of base/ as people read them.
 */
#include "cli/cli_int.h"

int limits_main(const struct command *c, int argc, char **argv)
{
	struct args a;
	struct arg o;
	int r;

	args_open(&a, c, argc, argv);
	if ((r = args_next(&a, &o)) < 0)
		return r == -ECANCELED ? CLI_OK : CLI_USAGE;
	printf("%-24s %12s %-10s %s\n", "limit", "value", "unit", "one past it");
	for (int i = 0; i < LIMIT_N; i++)
		printf("%-24s %12llu %-10s %s\n", limit_table[i].name, (unsigned long long)limit_table[i].value, limit_table[i].unit ? limit_table[i].unit : "",
		       limit_table[i].over ? limit_table[i].over : "");
	return CLI_OK;
}

int params_main(const struct command *c, int argc, char **argv)
{
	const char *section = "";
	struct args a;
	struct arg o;
	int r;

	args_open(&a, c, argc, argv);
	if ((r = args_next(&a, &o)) < 0)
		return r == -ECANCELED ? CLI_OK : CLI_USAGE;
	/* In the form of a configuration file: it can be kept and changed. */
	puts("; Hookswitch: every parameter with its default. Take the ';' away to change one.");
	for (size_t i = 0; i < param_n; i++) {
		const struct param_info *p = &param_table[i];

		if (strcmp(section, p->section))
			printf("\n[%s]\n", section = p->section);
		printf("; %s", p->doc);
		if (p->allowed)
			printf(" (%s)", p->allowed);
		printf("\n;%s = %s\n", p->name, p->dflt ? p->dflt : "");
	}
	return CLI_OK;
}
