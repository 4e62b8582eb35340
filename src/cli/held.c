/* SPDX-License-Identifier: Apache-2.0
 *
 * held: the text of the configuration file as it was taken last, in memory that the keeper holds: `serve` makes it (it may read what the user that the system becomes must not), each
 * worker finds it, and a reload replaces it. So a restart changes no number, whatever stands in the file by then. Two copies, written in turn; the generation is
 * written last, so that a worker that dies while it writes leaves the other copy.
 */
#include "cli/cli_int.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int held_make(struct str text)
{
	int fd = memfd_create(HELD_NAME, MFD_ALLOW_SEALING), err = 0;
	struct held *h;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*h)) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		err = -errno;
	h = err ? NULL : held_map(fd);
	if (!h) {
		close(fd);
		return err ? err : -ENOMEM;
	}
	held_write(h, text);
	munmap(h, sizeof(*h));
	return fd;
}

struct held *held_map(int fd)
{
	void *h = mmap(NULL, sizeof(struct held), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return h == MAP_FAILED ? NULL : h;
}

static bool held_whole(const struct held_copy *c)
{
	return c->gen && c->n <= sizeof(c->text) && crc32c(c->text, c->n) == c->crc;
}

/* The copy that was written later; NULL = neither is whole. */
static const struct held_copy *held_newest(const struct held *h)
{
	const struct held_copy *a = &h->copy[0], *b = &h->copy[1];
	bool a_whole = held_whole(a), b_whole = held_whole(b);

	if (a_whole && b_whole)
		return (int32_t)(a->gen - b->gen) > 0 ? a : b;
	return a_whole ? a : b_whole ? b : NULL;
}

int held_read(const struct held *h, struct str *ret)
{
	const struct held_copy *c = held_newest(h);

	if (!c)
		return -ENOENT;
	*ret = str_n(c->text, c->n);
	return 0;
}

void held_write(struct held *h, struct str text)
{
	const struct held_copy *now = held_newest(h);
	struct held_copy *c = now == &h->copy[0] ? &h->copy[1] : &h->copy[0];
	uint32_t gen = now ? now->gen + 1 : 1;

	ASSERT(text.n <= sizeof(c->text));
	__atomic_store_n(&c->gen, 0, __ATOMIC_SEQ_CST); /* it counts as torn from here on */
	if (text.n)
		memcpy(c->text, text.p, text.n);
	c->n = (uint32_t)text.n;
	c->crc = crc32c(c->text, text.n);
	__atomic_store_n(&c->gen, gen ? gen : 1, __ATOMIC_RELEASE);
}
