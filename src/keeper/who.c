/* SPDX-License-Identifier: Apache-2.0
 *
 * who: which process holds a port that we were refused? /proc/net/{udp,tcp}{,6} gives the inode of the socket, /proc/PID/fd the process. For the sentence a person reads
 * at start; keeper only. Without the right to look into other users' processes the answer is "".
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "keeper/keeper_int.h"

/* "  12: 0100007F:13C4 00000000:0000 07 …": the local address in host-order words, the port, and as tenth field the inode. 0 = not this line. */
static unsigned long inode_of_line(const char *line, bool v6, const struct addr *a)
{
	char host[33];
	unsigned port, state;
	unsigned long inode;
	if (sscanf(line, " %*u: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu", host, &port, &state, &inode) != 4 || port != a->port)
		return 0;
	uint32_t words[4] = {0}, any[4] = {0};
	size_t n_words = v6 ? 4 : 1;
	for (size_t i = 0; i < n_words; i++) {
		char word[9] = {0};
		memcpy(word, host + i * 8, 8);
		words[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	bool is_any = memcmp(words, any, n_words * 4) == 0;
	bool same_family = v6 == (a->family == AF_INET6);
	if (same_family ? !is_any && !addr_is_any(a) && memcmp(words, a->ip, n_words * 4) != 0 : !(v6 && is_any))
		return 0;
	return inode;
}

static unsigned long find_inode(const char *table, bool v6, const struct addr *a, bool listening)
{
	char line[512];
	unsigned long inode = 0;
	FILE *f = fopen(table, "re");
	if (!f)
		return 0;
	while (!inode && fgets(line, sizeof(line), f)) {
		if (listening && !strstr(line, " 0A "))
			continue;
		inode = inode_of_line(line, v6, a);
	}
	fclose(f);
	return inode;
}

static bool process_has(const char *pid, const char *link)
{
	char path[300], target[64];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *d = opendir(path);
	if (!d)
		return false;
	struct dirent *e;
	while (!found && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		found = strcmp(target, link) == 0;
	}
	closedir(d);
	return found;
}

static void name_process(const char *pid, char *ret, size_t cap)
{
	char path[300], comm[64] = "?";
	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	FILE *f = fopen(path, "re");
	if (f) {
		if (fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = '\0';
		fclose(f);
	}
	snprintf(ret, cap, "%s (pid %s)", comm, pid);
}

void who_holds(enum keep_kind kind, const struct addr *a, char *ret, size_t cap)
{
	char link[64];
	unsigned long inode = find_inode(kind == KEEP_UDP ? "/proc/net/udp" : "/proc/net/tcp", false, a, kind == KEEP_LISTEN);
	if (!inode)
		inode = find_inode(kind == KEEP_UDP ? "/proc/net/udp6" : "/proc/net/tcp6", true, a, kind == KEEP_LISTEN);
	ret[0] = '\0';
	DIR *d = inode ? opendir("/proc") : NULL;
	if (!d)
		return;
	snprintf(link, sizeof(link), "socket:[%lu]", inode);
	struct dirent *e;
	while (!ret[0] && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) && process_has(e->d_name, link))
			name_process(e->d_name, ret, cap);
	closedir(d);
}
