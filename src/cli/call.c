/* SPDX-License-Identifier: Apache-2.0
 *
 * call: the small telephone: `hookswitch call 100`. Our own client side (the same sip, call and media rooms as in the worker) in one process without keeper: a private slab, one
 * media thread, sockets of its own. It says what happens on the wire, sends digits, listens, and says what it heard. RFC 3261 sections 8.1, 13.2.
 */
#include "cli/cli_int.h"

#include <signal.h>
#include <sndfile.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include "call/call.h"
#include "keeper/keeper.h"
#include "media/media.h"
#include "rtp/rtp.h"
#include "service/service.h"
#include "sip/sip.h"

enum { CALL_ANSWERED = 0, CALL_REFUSED = 1, CALL_NO_REPLY = 2, CALL_WRONG = 3 };

#define PHONE_CALLS   4
#define PHONE_UP      (1u << 20)
#define RTP_FIRST     20000
#define RTP_SPAN      40000
#define RING_MS       180000 /* RFC 3261 16.6 timer C: nobody rings longer */
#define END_WAIT_MS   4000   /* for the answer to our BYE */
#define LINGER_MS     300
#define DIGITS_A_TIME 60

const struct cli_option call_options[N_CALL_OPTIONS] = {
    {"from", "X", "the number we call from (hookswitch)"},
    {"digits", "DIGITS", "sent when the call is answered; w waits 0.5 s, W 1 s"},
    {"duration", "SECONDS", "hangs up after that time (30)"},
    {"wav", "FILE", "writes what is heard"},
    {"server", "ADDR:PORT", "where the call is sent (127.0.0.1:5060, or the address in the URI)"},
    {"tcp", NULL, "by TCP"},
};

struct phone {
	const char *from, *digits, *wav_path, *server, *target;
	int64_t duration_ms;
	bool tcp;
	char uri[300];
	struct params p;
	struct flow flow;
	struct wheel *wheel;
	struct net *net;
	struct slab *slab;
	struct mailbox *up;
	struct media_threads *media;
	struct rtp_pool *pool;
	uint16_t rtp_next;
	struct gate gate;
	struct sip *sip;
	struct calls *calls;
	struct call *call;
	struct listener *ear;
	char events[64]; /* digits that came as telephone-events */
	size_t n_events;
	uint32_t last_event;
	SNDFILE *wav;
	struct timer limit;
	int64_t answered_ms, ended_ms, stop_at_ms;
	bool ours;     /* we hung up */
	bool progress; /* somebody said something */
	bool ended;
	int status, interrupts;
	uint8_t over[16]; /* CallSid whose end is to be acknowledged, as a store would */
	bool over_set;
};

/* ---- what is told ---- */

static void say_heard(const struct phone *p)
{
	struct listener_report r;

	if (!p->answered_ms)
		return;
	listener_report(p->ear, &r);
	/* A vowel is a tone for a moment: a tone is one only where there is more of it than that. */
	if (r.tone_s < 0.1 || r.tone_s * 3 < r.speech_s) {
		r.speech_s += r.tone_s;
		r.tone_s = 0;
	}
	printf("heard: %.1f s speech, %.1f s silence", r.speech_s, r.silence_s);
	if (p->n_events || *r.digits)
		printf("; digits: %s", p->n_events ? p->events : r.digits);
	if (r.tone_s > 0)
		printf("; tone %d Hz %.1f s", r.tone_hz, r.tone_s);
	putchar('\n');
}

static void say_end(const struct phone *p)
{
	double s = p->answered_ms ? (double)(p->ended_ms - p->answered_ms) / 1000.0 : 0;

	if (p->answered_ms)
		printf("hung up by %s after %.1f s\n", p->ours ? "us" : "the other side", s);
	else if (p->status && p->status != 408)
		printf("%d %s\n", p->status, sip_reason(p->status));
	else if (p->ours)
		printf("given up\n");
	else
		printf("no reply from %s\n", p->server);
}

/* ---- the call ---- */

static void digits_next(struct phone *p)
{
	size_t n = strlen(p->digits);

	n = MIN(n, (size_t)DIGITS_A_TIME);
	if (n && call_send_digits(p->call, str_n(p->digits, n)))
		fprintf(stderr, "hookswitch call: the digits cannot be sent\n");
	p->digits += n;
}

static void on_answered(struct phone *p)
{
	p->answered_ms = calls_now(p->calls);
	printf("200 %s\n", sip_reason(200));
	call_tap(p->call, true);
	digits_next(p);
	timer_set(p->wheel, &p->limit, p->answered_ms + p->duration_ms);
}

static void on_heard(struct phone *p, const struct call_event *e)
{
	listener_put(p->ear, e->samples, e->n_samples);
	if (p->wav && sf_write_short(p->wav, e->samples, (sf_count_t)e->n_samples) != (sf_count_t)e->n_samples) {
		fprintf(stderr, "hookswitch call: %s: %s\n", p->wav_path, sf_strerror(p->wav));
		sf_close(p->wav);
		p->wav = NULL;
	}
}

static void on_digit(struct phone *p, const struct call *c, uint32_t upto)
{
	while (p->last_event < upto) {
		char d = call_digit(c, ++p->last_event);

		if (d && p->n_events + 1 < sizeof(p->events))
			p->events[p->n_events++] = d;
	}
}

static void on_event(void *arg, struct call *c, const struct call_event *e)
{
	struct phone *p = arg;

	if (!p->call)
		p->call = c; /* an event within call_dial */
	switch (e->kind) {
	case CALL_EV_PROGRESS:
		p->progress = true;
		printf("%d %s\n", e->status, sip_reason(e->status));
		break;
	case CALL_EV_ANSWERED:
		on_answered(p);
		break;
	case CALL_EV_HEARD:
		on_heard(p, e);
		break;
	case CALL_EV_DIGIT:
		on_digit(p, c, e->number);
		break;
	case CALL_EV_SENT:
		digits_next(p);
		break;
	case CALL_EV_NEW:
		call_reject(c, 486);
		break; /* nobody calls us */
	case CALL_EV_ENDED:
		p->ended = true;
		p->ended_ms = calls_now(p->calls);
		p->status = e->status;
		p->stop_at_ms = p->ended_ms + LINGER_MS;
		timer_set(p->wheel, &p->limit, p->stop_at_ms);
		break;
	default:
		break;
	}
	fflush(stdout);
}

static void hang_up(struct phone *p)
{
	if (p->ended || !p->call)
		return;
	p->ours = true;
	call_hangup(p->call, PARTY_CALLER, "caller hangs up");
}

static void limit_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct phone *p = arg;

	if (p->ended || p->ours) {
		net_stop(p->net);
		return;
	}
	hang_up(p);
	timer_set(p->wheel, t, now_ms + END_WAIT_MS);
}

static void on_signal(void *arg, int signum)
{
	struct phone *p = arg;

	if (p->interrupts++ || p->ended)
		net_stop(p->net);
	hang_up(p);
	timer_set(p->wheel, &p->limit, net_now_ms(p->net) + END_WAIT_MS);
}

/* ---- the outside of the rooms ---- */

static void on_datagram(void *arg, const struct flow *from, struct str bytes)
{
	struct phone *p = arg;

	sip_input(p->sip, from, bytes, net_now_ms(p->net));
}

static ssize_t on_stream(void *arg, const struct flow *from, struct str bytes, size_t *ret_need)
{
	struct phone *p = arg;
	size_t used = 0;
	ssize_t n;

	while (used < bytes.n && (n = sip_frame(str_skip(bytes, used), ret_need)) != 0) {
		if (n < 0)
			return n;
		if (bytes.p[used] != '\r' && bytes.p[used] != '\n')
			sip_input(p->sip, from, str_n(bytes.p + used, (size_t)n), net_now_ms(p->net));
		used += (size_t)n;
	}
	if (*ret_need)
		*ret_need += used;
	return (ssize_t)used;
}

static void on_closed(void *arg, const struct flow *f)
{
	struct phone *p = arg;

	sip_flow_gone(p->sip, f, net_now_ms(p->net));
}

static void on_turn(void *arg, int64_t now_ms)
{
	struct phone *p = arg;

	sip_turn(p->sip, now_ms);
	if (p->over_set) {
		p->over_set = false;
		calls_stored(p->calls, p->over, true);
	}
	calls_turn(p->calls, now_ms);
	/* When we hung up, the end was told with the answer to our BYE. When they did, our answer may have to be said again. */
	if (p->ended && (!p->answered_ms || p->ours || now_ms >= p->stop_at_ms))
		net_stop(p->net);
}

static int out_media(void *arg, int thread, const struct media_cmd *c, int fd)
{
	struct phone *p = arg;

	return media_threads_post(p->media, thread, c, fd);
}

static void out_store(void *arg, const struct call_record *r, const struct call_facts *f, bool end)
{
	struct phone *p = arg;

	if (!end)
		return;
	memcpy(p->over, r->sid, sizeof(p->over));
	p->over_set = true;
}

static void mail(void *arg, int fd)
{
	struct phone *p = arg;
	char m[sizeof(uint32_t) + sizeof(struct media_event)];
	struct media_event e;
	ssize_t n;

	while ((n = mailbox_take(p->up, m, sizeof(m), NULL)) > 0) {
		memset(&e, 0, sizeof(e));
		memcpy(&e, m + sizeof(uint32_t), MIN((size_t)n - sizeof(uint32_t), sizeof(e)));
		calls_media_event(p->calls, &e, net_now_ms(p->net));
	}
}

static void want_pairs(void *arg, uint8_t pool, int n)
{
	struct phone *p = arg;
	struct rtp_pair pair;

	for (int i = 0; i < MIN(n, 4) && !rtp_bind_pair(rtp_pool_host(p->pool), &p->rtp_next, RTP_FIRST + RTP_SPAN, &pair); i++)
		rtp_pool_give(p->pool, &pair, 1);
}

static int pool_of(void *arg, const struct addr *local)
{
	return 0;
}

static void advertise(void *arg, const struct flow *f, struct addr *ret)
{
	const struct phone *p = arg;

	*ret = p->flow.local;
}

/* ---- arguments ---- */

static int phone_args(struct phone *p, const struct command *c, int argc, char **argv)
{
	struct args a;
	struct arg o;
	uint64_t s;
	int r;

	args_open(&a, c, argc, argv);
	while ((r = args_next(&a, &o)) > 0) {
		if (!strcmp(o.option->name, "from"))
			p->from = o.value;
		else if (!strcmp(o.option->name, "digits"))
			p->digits = o.value;
		else if (!strcmp(o.option->name, "wav"))
			p->wav_path = o.value;
		else if (!strcmp(o.option->name, "server"))
			p->server = o.value;
		else if (!strcmp(o.option->name, "tcp"))
			p->tcp = true;
		else if (!str_u64(str_z(o.value), 86400, &s) && s)
			p->duration_ms = (int64_t)s * 1000;
		else
			return fprintf(stderr, "hookswitch call: --duration %s: allowed: 1 to 86400 seconds\n", o.value), CALL_WRONG;
	}
	if (r < 0)
		return r == -ECANCELED ? -1 : CALL_WRONG;
	if (optind + 1 != argc || !*argv[optind]) {
		help_print(stderr, c);
		return CALL_WRONG;
	}
	if (strspn(p->digits, "0123456789*#ABCDabcdwW") != strlen(p->digits))
		return fprintf(stderr, "hookswitch call: --digits %s: allowed: 0-9 * # A-D, w and W\n", p->digits), CALL_WRONG;
	p->target = argv[optind];
	return 0;
}

/* RFC 3261 25.1: what may stand in a user part as it is; the rest is escaped. */
static void user_escape(struct out *o, struct str user)
{
	for (size_t i = 0; i < user.n; i++) {
		unsigned char b = (unsigned char)user.p[i];

		if ((b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') || (b && strchr("-_.!~*'()&=+$,;?/", b)))
			out_c(o, (char)b);
		else
			out_f(o, "%%%02X", b);
	}
}

/* The server's address, and the URI: NUMBER, or sip:…; the address in the URI counts where no --server is given. */
static int phone_target(struct phone *p)
{
	bool is_uri = str_istarts(str_z(p->target), STR("sip:"));
	struct out o = OUT(p->uri);
	struct sip_uri u;

	p->flow.kind = p->tcp ? FLOW_TCP : FLOW_UDP;
	if (p->server && addr_parse(str_z(p->server), &p->flow.peer))
		return fprintf(stderr, "hookswitch call: --server %s: allowed: ADDRESS:PORT\n", p->server), CALL_WRONG;
	if (is_uri) {
		out_str(&o, str_z(p->target));
		if (o.over || sip_uri_parse(out_view(&o), &u))
			return fprintf(stderr, "hookswitch call: %s is no SIP URI\n", p->target), CALL_WRONG;
		if (!p->server && sip_uri_host(&u, &p->flow.peer))
			return fprintf(stderr, "hookswitch call: %s names no address; say where to send it: --server ADDR:PORT\n", p->target), CALL_WRONG;
	} else {
		if (!p->server && addr_parse(STR("127.0.0.1:5060"), &p->flow.peer))
			return CALL_WRONG;
		OUT_STR(&o, "sip:");
		user_escape(&o, str_z(p->target));
		out_c(&o, '@');
		addr_print(&o, &p->flow.peer);
		if (o.over)
			return fprintf(stderr, "hookswitch call: that number is too long\n"), CALL_WRONG;
	}
	if (!p->flow.peer.port)
		p->flow.peer.port = 5060;
	out_z(&o);
	return 0;
}

/* ---- opening ---- */

static int phone_fault(const char *what, int err)
{
	fprintf(stderr, "hookswitch call: %s: %s\n", what, strerror(err < 0 ? -err : err));
	return CALL_NO_REPLY;
}

/* By copies: the storage is not looked at as another type (the compiler may assume that it is none). */
static socklen_t sock_of(const struct addr *a, struct sockaddr_storage *ss)
{
	if (a->family == AF_INET6) {
		struct sockaddr_in6 s = {.sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};

		memcpy(&s.sin6_addr, a->ip, 16);
		memcpy(ss, &s, sizeof(s));
		return sizeof(s);
	}
	struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(a->port)};

	memcpy(&s.sin_addr, a->ip, 4);
	memcpy(ss, &s, sizeof(s));
	return sizeof(s);
}

static void addr_of(const struct sockaddr_storage *ss, struct addr *ret)
{
	struct sockaddr_in6 s6;
	struct sockaddr_in s4;

	*ret = (struct addr){.family = ss->ss_family};
	if (ss->ss_family == AF_INET6) {
		memcpy(&s6, ss, sizeof(s6));
		ret->port = ntohs(s6.sin6_port);
		ret->scope = s6.sin6_scope_id;
		memcpy(ret->ip, &s6.sin6_addr, 16);
	} else {
		memcpy(&s4, ss, sizeof(s4));
		ret->port = ntohs(s4.sin_port);
		memcpy(ret->ip, &s4.sin_addr, 4);
	}
}

/* The address that packets to the server would leave from: asked of a connected socket, nothing is sent. */
static int phone_source(struct phone *p)
{
	struct sockaddr_storage ss = {0};
	socklen_t n = sock_of(&p->flow.peer, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&ss, n) || (n = sizeof(ss), getsockname(fd, (struct sockaddr *)&ss, &n)))
		r = -errno;
	else
		addr_of(&ss, &p->flow.local);
	close(fd);
	p->flow.local.port = 0;
	return r;
}

static int phone_socket(struct phone *p)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	int fd = net_bind_udp(&p->flow.local, 0);

	if (fd < 0)
		return fd;
	if (getsockname(fd, (struct sockaddr *)&ss, &n)) {
		close(fd);
		return -errno;
	}
	addr_of(&ss, &p->flow.local);
	return net_add_udp(p->net, fd, 0, &p->flow.local);
}

static int phone_wav(struct phone *p)
{
	SF_INFO info = {.samplerate = AUDIO_HZ, .channels = 1, .format = SF_FORMAT_WAV | SF_FORMAT_PCM_16};

	if (!p->wav_path)
		return 0;
	p->wav = sf_open(p->wav_path, SFM_WRITE, &info);
	return p->wav ? 0 : (fprintf(stderr, "hookswitch call: %s: %s\n", p->wav_path, sf_strerror(NULL)), CALL_WRONG);
}

static int phone_open_net(struct phone *p)
{
	static struct net_user user = {.on_datagram = on_datagram, .on_stream = on_stream, .on_closed = on_closed, .on_turn = on_turn};
	struct net_opts n = {.user = &user};
	int r = phone_source(p);

	if (r)
		return phone_fault("no way to that server", r);
	user.arg = p;
	n.wheel = p->wheel = wheel_new(clock_boot_ms());
	p->net = p->wheel ? net_open(&n) : NULL;
	if (!p->net)
		return phone_fault("the event loop", ENOMEM);
	r = phone_socket(p);
	if (!r && p->tcp) {
		const struct wire *w = net_wire(p->net);
		struct addr from = p->flow.local;

		p->flow.local.port = 0;
		r = w->connect(w->arg, &p->flow);
		p->flow.local = from;
	}
	if (!r)
		r = net_add_signal(p->net, SIGINT, on_signal, p);
	if (!r)
		r = net_add_signal(p->net, SIGTERM, on_signal, p);
	return r ? phone_fault("the network", r) : 0;
}

static int phone_open_media(struct phone *p)
{
	struct slab_sizes sizes = {.n_calls = PHONE_CALLS, .n_legs = PHONE_CALLS, .heap_bytes = 1u << 20};
	struct addr host = p->flow.local;
	int r = slab_open(-1, &sizes, true, &p->slab);

	if (r)
		return phone_fault("memory", r);
	p->up = mailbox_new(PHONE_UP);
	p->ear = listener_new();
	if (!p->up || !p->ear)
		return phone_fault("memory", ENOMEM);
	p->media = media_threads_start(1, slab_lines(p->slab), PHONE_CALLS, p->up, MAIL_MEDIA);
	if (!p->media)
		return phone_fault("the media thread", ENOMEM);
	host.port = 0;
	p->rtp_next = (uint16_t)(RTP_FIRST + rand_u32() % (RTP_SPAN / 2) * 2);
	p->pool = rtp_pool_new(0, &host, want_pairs, p);
	if (!p->pool)
		return phone_fault("memory", ENOMEM);
	want_pairs(p, 0, 2);
	r = net_add_fd(p->net, mailbox_fd(p->up), mail, p);
	return r ? phone_fault("memory", r) : 0;
}

static int phone_open_call(struct phone *p)
{
	static struct call_user user = {.on_event = on_event};
	static struct call_out out = {.media = out_media, .store = out_store};
	struct calls_opts c = {.slab = p->slab,
			       .wheel = p->wheel,
			       .params = &p->p,
			       .user = &user,
			       .out = &out,
			       .pools = &p->pool,
			       .n_pools = 1,
			       .pool_of = pool_of,
			       .advertise = advertise,
			       .arg = p,
			       .n_media = 1};
	struct sip_opts s = {.wire = net_wire(p->net),
			     .wheel = p->wheel,
			     .gate = &p->gate,
			     .key = slab_head(p->slab)->key,
			     .product = "Hookswitch-call/" HOOKSWITCH_VERSION,
			     .advertise = advertise,
			     .arg = p};
	struct out o = OUT(p->p.allow[0]);

	user.arg = out.arg = p;
	/* The server, and nobody else, may ask us something (its BYE). */
	addr_print_host(&o, &p->flow.peer);
	out_f(&o, "/%d", p->flow.peer.family == AF_INET6 ? 128 : 32);
	out_z(&o);
	p->p.n_allow = 1;
	if (gate_init(&p->gate, &p->p, slab_head(p->slab)->account))
		return phone_fault("the gate", EINVAL);
	p->calls = calls_new(&c);
	if (!p->calls)
		return phone_fault("memory", ENOMEM);
	s.user = calls_sip_user(p->calls);
	p->sip = sip_new(&s);
	if (!p->sip)
		return phone_fault("memory", ENOMEM);
	calls_set_sip(p->calls, p->sip);
	return 0;
}

static int phone_dial(struct phone *p)
{
	struct call_dial d = {.uri = str_z(p->uri), .from_user = str_z(p->from), .flow = p->flow};
	struct call *c;

	timer_init(&p->limit, limit_due, p);
	printf("INVITE %s\n", p->uri);
	fflush(stdout);
	timer_set(p->wheel, &p->limit, clock_boot_ms() + RING_MS);
	c = call_dial(p->calls, &d, clock_boot_ms());
	if (!c)
		return phone_fault("the call cannot be made", ENOMEM);
	p->call = c;
	return net_run(p->net) ? phone_fault("the network", EIO) : 0;
}

static void phone_close(struct phone *p)
{
	if (p->media)
		media_threads_stop(p->media);
	sip_free(p->sip);
	calls_free(p->calls);
	if (p->pool)
		rtp_pool_free(p->pool);
	if (p->net)
		net_close(p->net);
	if (p->wheel)
		wheel_free(p->wheel);
	if (p->up)
		mailbox_free(p->up);
	if (p->ear)
		listener_free(p->ear);
	if (p->wav)
		sf_close(p->wav);
	if (p->slab)
		slab_close(p->slab);
}

int call_main(const struct command *c, int argc, char **argv)
{
	static struct phone p = {.from = "hookswitch", .digits = "", .duration_ms = 30000};
	char shown[64];
	struct out o = OUT(shown);
	int r;

	signal(SIGPIPE, SIG_IGN); /* nobody reads what we say any more: the call is hung up in order all the same */
	params_init(&p.p);
	log_set_level(LOG_ERROR); /* what there is to say is said on stdout */
	r = phone_args(&p, c, argc, argv);
	if (r)
		return r < 0 ? CALL_ANSWERED : r;
	r = phone_target(&p);
	if (r)
		return r;
	addr_print(&o, &p.flow.peer);
	p.server = out_z(&o);
	(void)((r = phone_wav(&p)) || (r = phone_open_net(&p)) || (r = phone_open_media(&p)) || (r = phone_open_call(&p)) || (r = phone_dial(&p)));
	if (!r) {
		say_end(&p);
		say_heard(&p);
		r = p.answered_ms ? CALL_ANSWERED : !p.status || (p.status == 408 && !p.progress) ? CALL_NO_REPLY : CALL_REFUSED;
	}
	phone_close(&p);
	return r;
}
