/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as what a web service sends back, through the real client on its real thread: a socket of the test answers each request with the input and closes. Whatever comes
 * out has a fault code of the table or a status, its numbers agree with its memfd, and its jar can be handed in again. First byte: whether the answer may be cached.
 */
#include "web/inside.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	int listen;
	struct web *web;
	struct client *client;
	struct mailbox *up;
	char url[64], jar[JAR_MAX];
	size_t jar_n;
	uint32_t number;
} f;

static void none(void *arg, const struct web_request *r, struct web_answer *ret)
{
	ret->status = 404;
}

static void start(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);

	f.listen = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT(!bind(f.listen, (void *)&a, n) && !listen(f.listen, 64) && !getsockname(f.listen, (void *)&a, &n));
	snprintf(f.url, sizeof(f.url), "http://127.0.0.1:%u/#rc=0&tt=400", ntohs(a.sin_port));
	f.up = mailbox_new(1 << 20);
	ASSERT(!web_start(&(struct web_opts){.handler = none, .product = "fuzz"}, &f.web));
	ASSERT(!client_open(f.web, &(struct client_opts){.up = f.up, .product = "fuzz", .auth_token = "t", .cache_bytes = 1 << 20}, &f.client));
}

/* One connection is answered; a redirect to ourselves is answered the same until the client gives up. */
static void serve(const uint8_t *data, size_t size)
{
	char buf[4096];
	int fd = accept4(f.listen, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (recv(fd, buf, sizeof(buf), 0) > 0)
		(void)!send(fd, data, size, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	close(fd);
}

static void judge(const struct fetched *r, int fd)
{
	struct stat st;

	ASSERT(r->number == f.number && (r->fault || r->status >= 100));
	ASSERT(!r->fault || r->why[0]);
	ASSERT(!r->n || fd >= 0);
	f.jar_n = 0;
	if (fd < 0)
		return;
	ASSERT(!fstat(fd, &st) && (uint64_t)st.st_size >= (uint64_t)r->n + r->cookies_n && r->cookies_n <= sizeof(f.jar));
	f.jar_n = r->cookies_n ? (size_t)pread(fd, f.jar, r->cookies_n, r->n) : 0;
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fetched r;
	int fd;

	if (!f.web)
		start();
	if (size < 1 || size > 16384)
		return 0;
	struct fetch q = {.number = ++f.number,
			  .trusted = true,
			  .sign = true,
			  .cached = data[0] & 1,
			  .max_body = 4096,
			  .url = str_z(f.url),
			  .cookies = str_n(f.jar, f.jar_n),
			  .accept = STR("*/*")};
	rand_bytes(q.token, sizeof(q.token));
	ASSERT(!client_fetch(f.client, &q));
	for (;;) {
		struct pollfd p[2] = {{.fd = f.listen, .events = POLLIN}, {.fd = mailbox_fd(f.up), .events = POLLIN}};

		ASSERT(poll(p, 2, 10000) > 0);
		if (p[1].revents && mailbox_take(f.up, &r, sizeof(r), &fd) > 0)
			break;
		if (p[0].revents)
			serve(data + 1, size - 1);
	}
	judge(&r, fd);
	return 0;
}
