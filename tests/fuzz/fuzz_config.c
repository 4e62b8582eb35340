/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration file on whatever bytes: it is taken whole or refused; what is taken gives the same when it is read again; its numbers make a table, and each is found by its name.
 */
#include "cli/cli_int.h"
#include "service/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void help_print(FILE *f, const struct command *c)
{
	ASSERT(!f); /* nobody asks */
}

static void numbers_try(const struct config *c)
{
	struct services *s = services_new();
	size_t at = 0;
	int answering = 0;

	ASSERT(s && services_configure(s, c->numbers, c->n_numbers) == 0);
	for (int i = 0; i < c->n_numbers; i++) {
		const struct number_conf *n = &c->numbers[i];
		const struct number *found = services_find(s, str_z(n->key));

		ASSERT(!number_conf_lacks(n) && n->web.callback_events);
		if (!*n->web.voice_url)
			continue;
		answering++;
		ASSERT(found && found->kind == SERVICE_WEB && strcmp(found->name, n->key) == 0 && strcmp(found->web->voice_url, n->web.voice_url) == 0);
	}
	while (services_each(s, &at))
		answering--;
	ASSERT(answering == 0);
	services_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config a, b;
	char names[4000];
	struct out o = OUT(names);

	config_init(&a);
	config_init(&b);
	a.voice = b.voice = CONFIG_QUIET;
	if (config_text(&a, "fuzz", str_n(data, size)) == 0) {
		ASSERT(config_text(&b, "fuzz", str_n(data, size)) == 0 && a.n_numbers == b.n_numbers);
		config_differ(&a, &b, &o);
		ASSERT(o.n == 0);
		numbers_try(&a);
	}
	config_done(&a);
	config_done(&b);
	return 0;
}
