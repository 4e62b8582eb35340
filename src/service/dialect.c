/* SPDX-License-Identifier: Apache-2.0
 *
 * dialect: the old proxy's documents, which have any other root than <Response>: a line of words, upper and lower case alike, that become verbs, so that verb/ sees nothing else. Only
 * playMadiaFile (so spelled) is attested; the others are our reconstruction, see docs/old-dialect.md. A document in which none of the words stands is not of the dialect.
 * Pure, sig thread.
 */
#include "service/inside.h"

static const struct {
	const char *word, *verb;
} words[] = {
    {"playMadiaFile", "Play"}, {"playMediaFile", "Play"}, {"play", "Play"},        {"redirect", "Dial"}, {"transfer", "Dial"},
    {"dial", "Dial"},          {"hangup", "Hangup"},      {"terminate", "Hangup"}, {"end", "Hangup"},
};

static const char *verb_of(struct str name)
{
	for (size_t i = 0; i < N_ELEMENTS(words); i++)
		if (str_ieq(name, str_z(words[i].word)))
			return words[i].verb;
	return NULL;
}

bool dialect_known(const struct node *root)
{
	for (const struct node *n = root->child; n; n = n->next)
		if (verb_of(n->name))
			return true;
	return false;
}

void dialect_turn(struct node *root)
{
	root->name = STR("Response");
	root->attrs = NULL;
	root->n_attrs = 0;
	for (struct node *n = root->child; n; n = n->next) {
		const char *verb = verb_of(n->name);

		if (!verb)
			continue; /* no verb either, or one as it is: Say */
		n->name = str_z(verb);
		n->attrs = NULL; /* the dialect knows none */
		n->n_attrs = 0;
		n->child = NULL;
	}
}
