/* SPDX-License-Identifier: Apache-2.0
 *
 * worker: the process that takes calls. It opens the rooms in the order of the house, each standing on those before, and closes them in reverse; what they tell each other is
 * in wires.c. It is started by the keeper as often as needed: all that must outlive it comes from the keeper (sockets, slab, trace ring) and is adopted here before the first
 * packet is read. A fault at the start is said in one line and is exit status 78.
 */
#include "cli/cli_int.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api.h"
#include "call/call.h"
#include "keeper/keeper.h"
#include "media/media.h"
#include "rtp/rtp.h"
#include "service/service.h"
#include "sip/sip.h"
#include "store/store.h"
#include "verb/verb.h"
#include "web/web.h"

#define UP_BYTES      (4u << 20)
#define CACHE_BYTES   (64u << 20) /* of sounds from the web */
#define HEAP_A_CALL   32768u
#define HEAP_MIN      (8u << 20)
#define HEAP_MAX      (1u << 30)
#define FDS_OF_A_LEG  2
#define FDS_BESIDE    1024 /* listeners, database, threads, connections, a portion of ports ahead of need */
#define START_WAIT_MS 3000

static int fault(const char *what, int err)
{
	fprintf(stderr, "hookswitch: %s: %s\n", what, strerror(err < 0 ? -err : err));
	return CLI_CONFIG;
}

/* ---- limits ---- */

/* Two descriptors a leg: as many calls as the kernel lets us have. */
static void open_limits(struct worker *w)
{
	struct rlimit l = {.rlim_cur = 1024, .rlim_max = 1024};
	uint64_t beside, calls;

	if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &l);
	}
	beside = MIN((uint64_t)FDS_BESIDE, l.rlim_cur / 2);
	calls = (l.rlim_cur - beside) / FDS_OF_A_LEG;
	if (calls < w->p.max_calls) {
		log_line(LOG_WARN, "limits: %llu open files allow %llu calls, not the %llu of limits.max_calls; raise the limit (ulimit -n) for more",
			 (unsigned long long)l.rlim_cur, (unsigned long long)calls, (unsigned long long)w->p.max_calls);
		w->p.max_calls = MAX(calls, 1u);
	}
}

/* ---- what the keeper holds ---- */

static int open_slab(struct worker *w)
{
	struct slab_sizes s = {.n_calls = (uint32_t)w->p.max_calls, .n_legs = (uint32_t)w->p.max_calls};
	bool fresh;
	int fd, r;

	s.heap_bytes = (uint32_t)MIN(MAX(w->p.max_calls * HEAP_A_CALL, (uint64_t)HEAP_MIN), (uint64_t)HEAP_MAX);
	r = keep_memory(w->keep, "slab", slab_bytes(&s), &fd, &fresh);
	if (r)
		return fault("the keeper has no memory for the calls", r);
	r = slab_open(fd, &s, fresh, &w->slab);
	if (r == -EPROTO) {
		log_line(LOG_ERROR, "slab: not of a layout that this program reads: the calls in it are lost");
		r = slab_open(fd, &s, true, &w->slab);
	}
	close(fd);
	if (r)
		return fault("the memory for the calls cannot be mapped", r);
	return 0;
}

/* A worker that died before it was ready has taken no call: this start is the first one still. One byte, held by the keeper, says whether one was. */
static int open_first(struct worker *w)
{
	bool fresh;
	char was = 0;
	int r = keep_memory(w->keep, "ready", 1, &w->ready_fd, &fresh);

	if (r)
		return fault("the keeper", r);
	w->first = pread(w->ready_fd, &was, 1, 0) != 1 || was != '1';
	return 0;
}

static int open_trace(struct worker *w)
{
	bool fresh;
	int fd, r;

	w->trace_size = (size_t)w->p.trace_mb << 20;
	r = keep_memory(w->keep, "trace", w->trace_size, &fd, &fresh);
	if (r)
		return fault("the keeper has no memory for the trace", r);
	w->trace_mem = mmap(NULL, w->trace_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (w->trace_mem == MAP_FAILED) {
		w->trace_mem = NULL;
		return fault("the trace cannot be mapped", ENOMEM);
	}
	w->trace = trace_open(w->trace_mem, w->trace_size, true);
	return w->trace ? 0 : fault("the trace", ENOMEM);
}

/* One socket from the keeper, or one line that says who has it and what to do. */
static int take_socket(struct worker *w, enum keep_kind kind, const char *what, const struct addr *want, int *ret_fd, struct addr *ret_bound)
{
	const char *proto = kind == KEEP_UDP ? "udp" : "tcp";
	char who[128] = "", here[64], there[64];
	struct out h = OUT(here), t = OUT(there);
	struct addr other = *want;
	int r = keep_socket(w->keep, kind, want, ret_fd, ret_bound, who, sizeof(who));

	if (!r)
		return 0;
	addr_print(&h, want);
	other.port = (uint16_t)(want->port < 65000 ? want->port + 10 : want->port - 10);
	addr_print(&t, &other);
	if (r == -EADDRINUSE)
		fprintf(stderr, "hookswitch: %s %s/%s is taken by %s; use --%s %s\n", what, out_z(&h), proto, *who ? who : "another program", what, out_z(&t));
	else if (r == -EADDRNOTAVAIL)
		fprintf(stderr, "hookswitch: %s %s/%s: this machine has no such address; `ip addr` lists those it has\n", what, out_z(&h), proto);
	else
		fprintf(stderr, "hookswitch: %s %s/%s: %s\n", what, out_z(&h), proto, strerror(-r));
	return CLI_CONFIG;
}

static int open_listener(struct worker *w, int i)
{
	struct addr want, bound;
	int fd, r;

	if (addr_parse(str_z(w->p.sip[i]), &want))
		return fault(w->p.sip[i], EINVAL);
	r = take_socket(w, KEEP_UDP, "sip", &want, &fd, &bound);
	if (r)
		return r;
	w->sip_at[i].bound = bound;
	r = net_add_udp(w->net, fd, (uint8_t)i, &bound);
	if (r)
		return fault(w->p.sip[i], r);
	r = take_socket(w, KEEP_LISTEN, "sip", &bound, &fd, &bound); /* TCP on the same port, also when it was 0 */
	if (r)
		return r;
	r = net_add_listen(w->net, fd, (uint8_t)i, &bound);
	return r ? fault(w->p.sip[i], r) : 0;
}

/* Ports for sound: one pool for each host that SIP is taken on. */
static int open_pool(struct worker *w, int i)
{
	struct addr host = w->sip_at[i].bound;
	int r, n = w->n_pools;

	host.port = 0;
	for (int k = 0; k < n; k++)
		if (addr_eq_host(rtp_pool_host(w->pools[k]), &host)) {
			w->sip_at[i].pool = k;
			return 0;
		}
	r = keep_pool(w->keep, (uint8_t)n, &host, (uint16_t)w->p.rtp_low, (uint16_t)w->p.rtp_high);
	if (r)
		return fault("the ports for sound", r);
	w->pools[n] = rtp_pool_new((uint8_t)n, &host, wire_want_pairs, w);
	if (!w->pools[n])
		return fault("the ports for sound", ENOMEM);
	w->sip_at[i].pool = n;
	w->n_pools++;
	return 0;
}

static int open_sockets(struct worker *w)
{
	struct addr want;
	int r = 0;

	for (int i = 0; i < w->p.n_sip && !r; i++) {
		r = open_listener(w, i);
		r = r ? r : open_pool(w, i);
	}
	if (r)
		return r;
	if (addr_parse(str_z(w->p.http), &want))
		return fault(w->p.http, EINVAL);
	if (*w->p.advertise && addr_parse(str_z(w->p.advertise), &w->advertise))
		return fault(w->p.advertise, EINVAL);
	return take_socket(w, KEEP_LISTEN, "http", &want, &w->http_fd, &w->http_at);
}

/* ---- the rooms ---- */

static int open_threads(struct worker *w)
{
	char path[300], why[300] = "";
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	w->n_media = w->p.media_threads ? (int)w->p.media_threads : (int)MIN(MAX(cores, 1), 64);
	w->up = mailbox_new(UP_BYTES);
	if (!w->up)
		return fault("the mailbox", ENOMEM);
	w->media = media_threads_start(w->n_media, slab_lines(w->slab), (uint32_t)w->p.max_calls, w->up, MAIL_MEDIA);
	if (!w->media)
		return fault("the media threads", ENOMEM);
	snprintf(path, sizeof(path), "%s/hookswitch.db", w->p.data);
	if (store_open(path, w->up, MAIL_STORE, &w->store, why, sizeof(why))) {
		fprintf(stderr, "hookswitch: %s: %s\n", path, why);
		return CLI_CONFIG;
	}
	return 0;
}

static int open_calls(struct worker *w)
{
	struct verbs_opts v = {.params = &w->p, .out = wire_verb_out(w), .trace = w->trace, .wheel = w->wheel, .version = HOOKSWITCH_VERSION};
	struct calls_opts c = {.slab = w->slab,
			       .wheel = w->wheel,
			       .trace = w->trace,
			       .params = &w->p,
			       .out = wire_call_out(w),
			       .pools = w->pools,
			       .n_pools = w->n_pools,
			       .pool_of = wire_pool_of,
			       .advertise = wire_advertise,
			       .now = wire_now,
			       .arg = w,
			       .n_media = w->n_media};
	struct sip_opts s = {.wire = net_wire(w->net),
			     .wheel = w->wheel,
			     .gate = &w->gate,
			     .trace = w->trace,
			     .key = slab_head(w->slab)->key,
			     .node = (uint8_t)slab_head(w->slab)->node,
			     .product = "Hookswitch/" HOOKSWITCH_VERSION,
			     .advertise = wire_advertise,
			     .arg = w,
			     .sid_of = wire_sid_of};

	w->services = v.services = services_new();
	w->verbs = v.services ? verbs_new(&v) : NULL;
	if (!w->verbs)
		return fault("the interpreter", ENOMEM);
	c.user = verbs_call_user(w->verbs);
	w->calls = calls_new(&c);
	if (!w->calls)
		return fault("the calls", ENOMEM);
	verbs_set_calls(w->verbs, w->calls);
	s.user = calls_sip_user(w->calls);
	w->sip = sip_new(&s);
	if (!w->sip)
		return fault("sip", ENOMEM);
	calls_set_sip(w->calls, w->sip);
	return 0;
}

static int open_numbers(struct worker *w)
{
	int r;

	services_web_default(w->services, (uint32_t)w->p.filler_after_ms, (uint32_t)w->p.hedge_after_ms);
	r = reload_open(w);
	return r ? fault("the numbers of the configuration", r) : 0;
}

static int open_client(struct worker *w)
{
	struct cidr allow[PARAM_NET_MAX];
	struct client_opts o = {.up = w->up, .up_tag = MAIL_WEB, .product = "Hookswitch/" HOOKSWITCH_VERSION, .allow = allow, .cache_bytes = CACHE_BYTES};
	int r;

	for (int i = 0; i < w->p.n_web_allow; i++)
		if (cidr_parse(str_z(w->p.web_allow[i]), &allow[o.n_allow++]))
			return fault("web.allow", EINVAL);
	memcpy(o.auth_token, w->account.token, sizeof(o.auth_token));
	r = client_open(w->web, &o, &w->client);
	wire_trust(w);
	return r ? fault("the HTTP client", r) : 0;
}

static int open_web(struct worker *w)
{
	struct api_opts o = {.trace_mem = w->trace_mem, .trace_size = w->trace_size, .version = HOOKSWITCH_VERSION, .facts = wire_facts, .facts_arg = w};
	struct web_opts web = {.listen_fds = &w->http_fd, .n_listen = 1, .handler = api_handle, .product = "Hookswitch/" HOOKSWITCH_VERSION};
	int r;

	memcpy(o.account, w->account.sid, sizeof(o.account));
	memcpy(o.token, w->account.token, sizeof(o.token));
	w->api = web.arg = api_new(&o);
	if (!w->api)
		return fault("the HTTP interface", ENOMEM);
	r = web_start(&web, &w->web);
	return r ? fault("the HTTP interface", r) : open_client(w);
}

static int open_links(struct worker *w)
{
	int r = net_add_fd(w->net, keep_fd(w->keep), wire_keep_fd, w);

	r = r ? r : net_add_fd(w->net, mailbox_fd(w->up), wire_mail_fd, w);
	if (!r && w->run_fd >= 0)
		r = net_add_fd(w->net, w->run_fd, wire_run_fd, w);
	return r ? fault("the links", r) : 0;
}

static bool pools_fed(const struct worker *w)
{
	for (int i = 0; i < w->n_pools; i++)
		if (!w->pool_fed[i])
			return false;
	return true;
}

/* What must be there before a call is taken: ports for its sound; at the very first start also what the numbers are, so that they can be printed (after a restart callers
 * wait, and a call that comes before the listing waits for it by itself). */
static bool is_supplied(const struct worker *w)
{
	return pools_fed(w) && (!w->first || services_listed(w->services) || w->run_fd < 0);
}

static void wait_supplies(struct worker *w)
{
	int64_t until = clock_boot_ms() + START_WAIT_MS, left;

	for (int i = 0; i < w->n_pools; i++)
		wire_want_pairs(w, (uint8_t)i, 64);
	while (!is_supplied(w) && (left = until - clock_boot_ms()) > 0) {
		struct pollfd f[2] = {{.fd = keep_fd(w->keep), .events = POLLIN}, {.fd = services_listed(w->services) ? -1 : w->run_fd, .events = POLLIN}};

		if (poll(f, 2, (int)left) < 0 && errno != EINTR)
			return;
		if (f[0].revents)
			keep_read(w->keep);
		if (f[1].revents)
			wire_run_fd(w, w->run_fd);
		if (f[0].revents & (POLLHUP | POLLERR) || f[1].revents & (POLLHUP | POLLERR))
			return;
	}
}

static int adopt(struct worker *w)
{
	int n, r;

	if (w->first)
		return 0;
	r = keep_fetch_conns(w->keep, wire_held_conn, w);
	if (r)
		log_line(LOG_WARN, "adoption: the held connections did not come: %s", strerror(-r));
	n = calls_adopt(w->calls, wire_fetch_pairs, w, clock_boot_ms());
	__atomic_store_n(&w->line->kind, POISON_IDLE, __ATOMIC_RELEASE); /* the last call that was adopted is not at fault for what comes now */
	log_line(LOG_INFO, "started again: %d calls adopted", n);
	return 0;
}

static int worker_open(struct worker *w)
{
	struct net_opts n = {.user = wire_net_user(w), .on_conn = wire_conn, .arg = w};
	char why[700];
	int r;

	w->keep = keep_open(3, wire_keep_user(w));
	if (!w->keep)
		return fault("the keeper", EPIPE);
	w->line = keep_poison(w->keep, 0);
	r = open_first(w);
	r = r ? r : open_slab(w);
	if (r)
		return r;
	if (account_read(w->p.data, &w->account, why, sizeof(why))) {
		fprintf(stderr, "hookswitch: %s\n", why);
		return CLI_CONFIG;
	}
	if (w->first)
		memcpy(slab_head(w->slab)->account, w->account.id, sizeof(w->account.id));
	if (gate_init(&w->gate, &w->p, w->account.id))
		return fault("access.allow", EINVAL);
	w->wheel = wheel_new(clock_boot_ms());
	n.wheel = w->wheel;
	w->net = w->wheel ? net_open(&n) : NULL;
	if (!w->net)
		return fault("the event loop", ENOMEM);
	timer_init(&w->drain, wire_drain_due, w);
	(void)((r = open_trace(w)) || (r = open_sockets(w)) || (r = open_threads(w)) || (r = open_calls(w)) || (r = open_numbers(w)) || (r = open_web(w)) ||
	       (r = open_links(w)) || (r = adopt(w)));
	return r;
}

static void worker_close(struct worker *w)
{
	reload_close(w);
	client_close(w->client);
	web_stop(w->web);
	api_free(w->api);
	sip_free(w->sip);
	calls_free(w->calls);
	verbs_free(w->verbs);
	services_free(w->services);
	store_close(w->store);
	media_threads_stop(w->media);
	mailbox_free(w->up);
	for (int i = 0; i < w->n_pools; i++)
		rtp_pool_free(w->pools[i]);
	net_close(w->net);
	wheel_free(w->wheel);
	trace_close(w->trace);
	if (w->trace_mem)
		munmap(w->trace_mem, w->trace_size);
	slab_close(w->slab);
	keep_close(w->keep);
}

static void worker_option(void *arg, const struct arg *o)
{
	struct worker *w = arg;

	if (!strcmp(o->option->name, "held"))
		w->config_path = o->value;
}

int worker_main(const struct command *c, int argc, char **argv)
{
	static struct worker w = {.http_fd = -1, .run_fd = 4, .first = true};
	struct args a;
	int r;

	prctl(PR_SET_NAME, "hookswitch:work");
	config_init(&w.config);
	args_open(&a, c, argc, argv);
	r = config_args(&w.config, &a, worker_option, &w);
	if (r)
		return r - 1;
	w.p = w.config.p;
	signal(SIGPIPE, SIG_IGN);
	reload_block(); /* before there is another thread */
	open_limits(&w);
	if (log_open(w.p.log))
		return fault("the log", ENOMEM);
	r = worker_open(&w);
	if (r) { /* nothing was taken yet; the process ends with what it opened */
		log_close();
		return w.first ? r : CLI_FAILED; /* there are calls to come back to: the keeper tries again */
	}
	wait_supplies(&w);
	if (w.first)
		hello_ready(&w);
	if (pwrite(w.ready_fd, "1", 1, 0) != 1)
		log_line(LOG_WARN, "worker: the next one will say `ready` again");
	(void)!keep_ready(w.keep);
	r = net_run(w.net);
	worker_close(&w);
	log_close();
	return r ? CLI_FAILED : CLI_OK;
}
