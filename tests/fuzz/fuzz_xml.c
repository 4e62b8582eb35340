/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_xml: any bytes as a reply's body: as XML in UTF-8, in a charset named outside, and as plain text. The tree that comes out is walked: every view lies in readable
 * memory, indices count, depth and number of elements keep their limits; what is no document has a code of the table and a sentence.
 */
#include "service/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink;

static void touch(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		sink += (unsigned char)s.p[i];
}

static void walk(const struct document *d)
{
	const struct node *stack[64];
	int depth = 0;
	uint64_t n = 0;

	if (!d->root)
		return;
	stack[depth++] = d->root;
	while (depth) {
		const struct node *at = stack[--depth];

		n++;
		touch(at->name);
		touch(at->text);
		for (int i = 0; i < at->n_attrs; i++) {
			touch(at->attrs[i].name);
			touch(at->attrs[i].value);
			ASSERT(node_attr(at, at->attrs[i].name).p);
		}
		if (at->next) {
			ASSERT(at->next->index == at->index + 1);
			stack[depth++] = at->next;
		}
		if (at->child) {
			ASSERT(at->child->index == 0 && depth < 63);
			stack[depth++] = at->child;
		}
	}
	ASSERT(n <= limit_of(LIMIT_DOCUMENT_NODES));
}

static void read_as(const char *type, struct str body)
{
	struct document *d = NULL;
	struct fault f;
	uint32_t code = document_read(str_z(type), body, 200, &d, &f);

	if (code) {
		ASSERT(!d && f.code == code && fault_find(code) && fault_find(code)->level == FAULT_ERROR && f.text[0]);
		return;
	}
	walk(d);
	for (int i = 0; i < d->n_faults; i++)
		ASSERT(fault_find(d->faults[i].code)->level == FAULT_WARNING);
	document_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {"text/xml", "text/xml; charset=windows-1251", "text/html;charset=\"utf-16\"", "text/plain",
					    "text/plain; charset=koi8-r"};
	char *copy = malloc(size + 1); /* its own block, so that reading past the end is seen */

	if (size)
		memcpy(copy, data, size);
	for (size_t i = 0; i < N_ELEMENTS(types); i++)
		read_as(types[i], str_n(copy, size));
	free(copy);
	return 0;
}
