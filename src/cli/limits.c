/* SPDX-License-Identifier: Apache-2.0
 *
 * limits: `hookswitch limits` and `hookswitch params`: the tables of base/, and the keys of a number's section, as people read them.
 */
#include "cli/cli_int.h"

#include "service/service.h"

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
	puts("\n; A section for each number: what its services are. [number 2...] stands for all that begin with 2, [number default] for all others;\n"
	     "; the longest match counts, and a section before a file of the services folder. Read again by SIGHUP.\n;[number 100]");
	for (size_t i = 0; i < number_key_n; i++)
		printf("; %s (%s)\n;%s = %s\n", number_keys[i].doc, number_keys[i].allowed, number_keys[i].name, number_keys[i].dflt);
	return CLI_OK;
}
