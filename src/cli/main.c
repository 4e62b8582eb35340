/* SPDX-License-Identifier: Apache-2.0
 *
 * main: the program. One table of commands; the parser, `--help`, `help CMD` and the man page (`hookswitch man`) are printed from it and from the parameter table.
 */
#include "cli/cli_int.h"

#define SERVE_USAGE "[--config FILE] [--data DIR] [--services DIR] [--sip ADDR:PORT]... [--rtp LOW-HIGH] [--http ADDR:PORT] [--log LEVEL]"
#define CALL_USAGE  "NUMBER|URI [--from X] [--digits \"w1w2#\"] [--duration S] [--wav OUT] [--server ADDR:PORT] [--tcp]"

static int version_main(const struct command *c, int argc, char **argv)
{
	puts("hookswitch " HOOKSWITCH_VERSION);
	return CLI_OK;
}

const struct command commands[] = {
    {"serve", SERVE_USAGE, "Takes calls and lets the services answer them; stays in the foreground.",
     "Prints `ready sip=ADDR:PORT http=ADDR:PORT keeper=PID` on stdout when calls can be taken; logs go to stderr. SIGTERM: new calls get 503, the living ones "
     "have drain_s seconds, then BYE; a second SIGTERM ends at once. Started as root it goes on as the user `hookswitch` or the one who called sudo; scripts "
     "run as "
     "a user of their own. SIGHUP: the numbers of the configuration file are read again, all or none; what is wrong is logged. "
     "Exit status 78: the configuration is wrong or an address is taken, and nothing was started.",
     serve_options, N_SERVE_OPTIONS, true, false, serve_main},
    {"call", CALL_USAGE, "A small telephone: dials, says what happens on the wire and what it heard.",
     "In --digits, 'w' waits half a second and 'W' a second. Exit status: 0 answered, 1 refused (the status is printed), 2 no reply, 3 usage.", call_options,
     N_CALL_OPTIONS, false, false, call_main},
    {"trace", "CALLSID|last [--json] [--data DIR] [--http ADDR:PORT]", "Prints the ladder of a call, from the trace of the running Hookswitch.",
     "Asks GET /calls/CALLSID/trace at --http with the token of DATA/account.ini.", trace_options, N_TRACE_OPTIONS, false, false, trace_main},
    {"lint", "FILE|URL|- [--type TYPE] [--base URL] [--form FORM] [--strict]", "Reads a document as a call would and says what is wrong with it.",
     "One line for each fault: place, level, code, what mends it. Exit status: 0 no errors (there may be warnings), 1 errors, 2 it could not be read, 64 "
     "usage.",
     lint_options, N_LINT_OPTIONS, false, false, lint_main},
    {"params", "", "Prints every parameter with its default, in the form of a configuration file.", NULL, NULL, 0, false, false, params_main},
    {"limits", "", "Prints every limit and what happens one past it.", NULL, NULL, 0, false, false, limits_main},
    {"verbs", "", "Prints every verb with its attributes, and every error code with what mends it, as Markdown.", NULL, NULL, 0, false, false, verbs_main},
    {"man", "", "Prints the manual page in roff.", NULL, NULL, 0, false, false, man_main},
    {"help", "[COMMAND]", "Prints what a command does and its options.", NULL, NULL, 0, false, false, help_main},
    {"version", "", "Prints the version.", NULL, NULL, 0, false, false, version_main},
    {"keeper-process", "", "The keeper.", NULL, NULL, 0, false, true, keeper_main},
    {"worker", "", "The worker.", NULL, worker_options, N_WORKER_OPTIONS, true, true, worker_main},
    {"runner", "", "The runner.", NULL, serve_options, N_SERVE_OPTIONS, true, true, runner_child_main},
};
const size_t n_commands = N_ELEMENTS(commands);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < n_commands; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";
	const struct command *c;

	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	c = command_find(name);
	if (!c) {
		fprintf(stderr, "hookswitch: there is no command '%s'; try `hookswitch help`\n", name);
		return CLI_USAGE;
	}
	if (argc < 2) {
		help_print(stderr, NULL);
		return CLI_USAGE;
	}
	return c->run(c, argc - 1, argv + 1);
}
