/* SPDX-License-Identifier: Apache-2.0
 *
 * account: DATA/account.ini, the one account there is now: its id (AC + 32 hex) and the token that opens the HTTP interface (64 hex). Made at the first start, 0600,
 * written whole under another name and then renamed, so that it is never seen half. Main thread.
 */
#include "cli/cli_int.h"

#include <fcntl.h>
#include <ini.h>
#include <sys/stat.h>
#include <unistd.h>

static int account_pair(void *user, const char *section, const char *name, const char *value)
{
	struct account *a = user;

	if (strcmp(section, "account"))
		return 0;
	if (!strcmp(name, "account_sid"))
		return !str_zcpy(str_z(value), a->sid, sizeof(a->sid));
	if (!strcmp(name, "auth_token"))
		return !str_zcpy(str_z(value), a->token, sizeof(a->token));
	return 0;
}

static bool account_token_ok(const char *t)
{
	return strlen(t) == 64 && strspn(t, "0123456789abcdef") == 64;
}

int account_read(const char *data, struct account *ret, char *why, size_t cap)
{
	char path[512];
	FILE *f;
	int bad;

	snprintf(path, sizeof(path), "%s/account.ini", data);
	f = fopen(path, "re");
	if (!f) {
		int e = errno;

		snprintf(why, cap, "%s: %s", path, strerror(e));
		return -e;
	}
	*ret = (struct account){0};
	bad = ini_parse_file(f, account_pair, ret);
	fclose(f);
	if (bad || sid_parse(str_z(ret->sid), "AC", ret->id) || !account_token_ok(ret->token)) {
		snprintf(why, cap,
			 "%s: not as it was made: [account], account_sid = AC + 32 hex digits, auth_token = 64 hex digits (move it away and a new one is made)",
			 path);
		return -EINVAL;
	}
	return 0;
}

static int account_write(const char *path, uid_t uid, gid_t gid)
{
	uint8_t id[16], token[32];
	char sid[35], hex[64], text[400];
	struct out h = OUT(hex), o = OUT(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), r = 0;

	if (fd < 0)
		return -errno;
	rand_bytes(id, sizeof(id));
	rand_bytes(token, sizeof(token));
	sid_print("AC", id, sid);
	out_hex(&h, token, sizeof(token));
	out_f(&o, "; The account of this Hookswitch, made at its first start. The token opens the HTTP interface: keep it to yourself.\n[account]\n");
	out_f(&o, "account_sid = %s\nauth_token = %.*s\n", sid, STR_ARG(out_view(&h)));
	if (write(fd, o.p, o.n) != (ssize_t)o.n || fchmod(fd, 0600) || (uid != (uid_t)-1 && fchown(fd, uid, gid)) || fsync(fd))
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

int account_make(const char *data, uid_t uid, gid_t gid, char *why, size_t cap)
{
	char path[512], fresh[520];
	int r;

	snprintf(path, sizeof(path), "%s/account.ini", data);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	if (!access(path, F_OK))
		return 0;
	r = account_write(fresh, uid, gid);
	if (!r && rename(fresh, path))
		r = -errno;
	if (r)
		snprintf(why, cap, "%s: %s", path, strerror(-r));
	return r;
}
