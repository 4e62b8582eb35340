/* SPDX-License-Identifier: Apache-2.0
 *
 * net_hosts: /etc/hosts (hosts(5)), read once when the loop is opened: the resolver library would open the file again for each question, and the sig
 * thread touches no file. Looked through at each question; a longer file than 64 KiB is cut at its last whole line.
 */
#include "net/net_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define HOSTS_MAX (64 << 10)

struct str hosts_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *p = fd < 0 ? NULL : malloc(HOSTS_MAX);
	size_t n = 0;
	for (ssize_t r = 1; p && r > 0 && n < HOSTS_MAX; n += (size_t)MAX(r, 0))
		r = read(fd, p + n, HOSTS_MAX - n);
	if (fd >= 0)
		close(fd);
	if (n == HOSTS_MAX)
		while (n > 0 && p[n - 1] != '\n')
			n--;
	return str_n(p, p ? n : 0);
}

/* The next word of a line. */
static struct str word(struct str *line)
{
	size_t n = 0;
	*line = str_trim(*line);
	while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
		n++;
	struct str w = str_n(line->p, n);
	*line = str_skip(*line, n);
	return w;
}

int hosts_find(struct str text, struct str host, struct addr *ret, int cap)
{
	int n = 0;
	while (text.n && n < cap) {
		struct str line = str_cut(text, '\n', &text), rest;
		line = str_cut(line, '#', &rest);
		struct str ip = word(&line), name;
		while ((name = word(&line)).n)
			if (str_ieq(name, host) && addr_parse(ip, &ret[n]) == 0) {
				n++;
				break;
			}
	}
	return n;
}
