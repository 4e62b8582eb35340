/* SPDX-License-Identifier: Apache-2.0
 *
 * floor: what the packets of a call cost when nothing is thought about them: INVITE is answered by 100 and 200, ACK by BYE, after N frames of sound if asked for. One thread, one socket, no
 * state machine, no retransmission, no parser to speak of, no sound. It stands beside Hookswitch in the table of bench/run; it is not a server.
 *   floor PORT FRAMES
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { CALLS = 8192, TEXT = 2048 };
struct call {
	struct sockaddr_in sip, rtp;
	char from[300], to[300], id[200], uri[200];
	int left;
};
static struct call calls[CALLS];
static int playing[CALLS], n_playing, next, sock, media, port, n_frames;

/* The value of a header line, copied; "" if it is not there. */
static void header(const char *msg, const char *name, char *to, size_t cap)
{
	const char *p = strstr(msg, name), *e = p ? strstr(p + 2, "\r\n") : NULL;
	size_t n = p && e ? (size_t)(e - p) - strlen(name) : 0;

	n = n < cap ? n : cap - 1;
	if (n)
		memcpy(to, p + strlen(name), n);
	to[n] = 0;
}

static void say(const struct sockaddr_in *to, const char *text, int n)
{
	sendto(sock, text, (size_t)n, 0, (const struct sockaddr *)to, sizeof(*to));
}

static void bye(int i)
{
	struct call *c = &calls[i];
	char out[TEXT];

	say(&c->sip, out,
	    snprintf(out, sizeof(out),
		     "BYE %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKf%d\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 BYE\r\nMax-Forwards: "
		     "70\r\nContent-Length: 0\r\n\r\n",
		     c->uri, port, i, c->to, c->from, c->id));
}

static void invite(const char *msg, const struct sockaddr_in *src)
{
	struct call *c = &calls[next];
	char via[300], cseq[60], contact[200], out[TEXT];
	const char *m = strstr(msg, "m=audio ");
	char sdp[200];
	int n_sdp = snprintf(sdp, sizeof(sdp), "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n", port + 1);

	header(msg, "\r\nVia: ", via, sizeof(via));
	header(msg, "\r\nFrom: ", c->from, sizeof(c->from));
	header(msg, "\r\nTo: ", c->to, sizeof(c->to) - 20);
	header(msg, "\r\nCall-ID: ", c->id, sizeof(c->id));
	header(msg, "\r\nCSeq: ", cseq, sizeof(cseq));
	header(msg, "\r\nContact: <", contact, sizeof(contact));
	snprintf(c->uri, sizeof(c->uri), "%.*s", (int)strcspn(contact, ">"), contact);
	say(src, out,
	    snprintf(out, sizeof(out), "SIP/2.0 100 Trying\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContent-Length: 0\r\n\r\n", via,
		     c->from, c->to, c->id, cseq));
	snprintf(c->to + strlen(c->to), 20, ";tag=f%d", next);
	c->sip = c->rtp = *src;
	c->rtp.sin_port = htons((uint16_t)(m ? strtol(m + 8, NULL, 10) : 9));
	c->left = n_frames;
	say(src, out,
	    snprintf(out, sizeof(out),
		     "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:127.0.0.1:%d>\r\nContent-Type: "
		     "application/sdp\r\nContent-Length: %d\r\n\r\n%s",
		     via, c->from, c->to, c->id, cseq, port, n_sdp, sdp));
	next = (next + 1) % CALLS;
}

static void ack(const char *msg)
{
	char to[300];
	const char *tag;
	long i;

	header(msg, "\r\nTo: ", to, sizeof(to));
	tag = strstr(to, ";tag=f");
	i = tag ? strtol(tag + 6, NULL, 10) : -1;
	if (i < 0 || i >= CALLS)
		return;
	if (calls[i].left)
		playing[n_playing++] = (int)i;
	else
		bye((int)i);
}

static void frames(void)
{
	static char rtp[172] = {(char)0x80};

	for (int k = 0; k < n_playing; k++) {
		struct call *c = &calls[playing[k]];

		sendto(media, rtp, sizeof(rtp), 0, (const struct sockaddr *)&c->rtp, sizeof(c->rtp));
		if (--c->left == 0) {
			bye(playing[k]);
			playing[k--] = playing[--n_playing];
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct itimerspec every = {{0, 20000000}, {0, 20000000}};
	int timer = timerfd_create(CLOCK_MONOTONIC, 0), big = 1 << 22;
	struct pollfd fds[2];

	port = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0;
	n_frames = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
	me.sin_port = htons((uint16_t)port);
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	media = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	if (!port || bind(sock, (struct sockaddr *)&me, sizeof(me)) || timerfd_settime(timer, 0, &every, NULL))
		return 1;
	fds[0] = (struct pollfd){sock, POLLIN, 0};
	fds[1] = (struct pollfd){timer, POLLIN, 0};
	puts("ready");
	fflush(stdout);
	while (poll(fds, 2, -1) >= 0) {
		struct sockaddr_in src;
		socklen_t len = sizeof(src);
		char msg[TEXT + 1];
		uint64_t ticks;
		ssize_t n;

		while ((n = recvfrom(sock, msg, TEXT, MSG_DONTWAIT, (struct sockaddr *)&src, &len)) > 0) {
			msg[n] = 0;
			if (!strncmp(msg, "INVITE ", 7))
				invite(msg, &src);
			else if (!strncmp(msg, "ACK ", 4))
				ack(msg);
		}
		if (fds[1].revents && read(timer, &ticks, sizeof(ticks)) > 0)
			while (ticks--)
				frames();
	}
	return 0;
}
