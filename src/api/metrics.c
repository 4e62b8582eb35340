/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics: what there is to count, in the text format of Prometheus (0.0.4). Web thread; all that is read are atomics, what `facts` tells, and /proc/self. Counters begin at 0 with each
 * worker, as the format wants it (process_start_time_seconds says when). Names: hookswitch_…, and those that Prometheus gives to every process.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/inside.h"
#include "service/service.h"

static void head(struct text_buf *b, const char *name, const char *type, const char *doc)
{
	text_f(b, "# HELP %s %s\n# TYPE %s %s\n", name, doc, name, type);
}

static void one(struct text_buf *b, const char *name, const char *type, const char *doc, uint64_t v)
{
	head(b, name, type, doc);
	text_f(b, "%s %llu\n", name, (unsigned long long)v);
}

/* Inside quotes: backslash, quote and line feed are escaped; what is no UTF-8 or a control byte becomes text. */
static const char *label(const char *s, char *buf, size_t cap)
{
	char safe[256];
	struct out o = {.p = buf, .cap = cap}, t = OUT(safe);

	out_safe(&t, str_z(s));
	for (size_t i = 0; i < t.n; i++) {
		if (safe[i] == '\\' || safe[i] == '"')
			out_c(&o, '\\');
		out_c(&o, safe[i]);
	}
	return out_z(&o);
}

static void counters(struct text_buf *b)
{
	char name[80];

	for (int i = 0; i < COUNT_N; i++) {
		snprintf(name, sizeof(name), "hookswitch_%s_total", count_table[i].name);
		one(b, name, "counter", count_table[i].doc, count_get((enum count)i));
	}
	one(b, "hookswitch_log_dropped_total", "counter", "Log lines that found no room.", log_dropped());
}

/* Buckets are kept one by one and told as sums; bounds in units of which there are per_second in a second. */
static void buckets(struct text_buf *b, const char *name, const char *labels, const uint64_t *v, const uint32_t *bounds, double per_second)
{
	uint64_t n = 0;

	for (int i = 0; i < STATS_BUCKETS; i++) {
		n += v[i];
		text_f(b, "%s_bucket{%sle=\"%g\"} %llu\n", name, labels, bounds[i] / per_second, (unsigned long long)n);
	}
}

static void services(struct text_buf *b)
{
	static const char requests[] = "hookswitch_service_requests_total", seconds[] = "hookswitch_service_request_seconds";
	struct stats_service s;
	char name[128], labels[160];

	head(b, requests, "counter", "Requests for a document, by the number that answers.");
	for (size_t at = 0; stats_each(&at, &s);) {
		label(s.name, name, sizeof(name));
		text_f(b, "%s{service=\"%s\",result=\"ok\"} %llu\n%s{service=\"%s\",result=\"failed\"} %llu\n", requests, name, (unsigned long long)s.ok,
		       requests, name, (unsigned long long)s.failed);
	}
	head(b, seconds, "histogram", "How long a request for a document took.");
	for (size_t at = 0; stats_each(&at, &s);) {
		snprintf(labels, sizeof(labels), "service=\"%s\",", label(s.name, name, sizeof(name)));
		unsigned long long n = s.ok + s.failed;
		buckets(b, seconds, labels, s.bucket, stats_ms, 1e3);
		text_f(b, "%s_bucket{%sle=\"+Inf\"} %llu\n", seconds, labels, n);
		text_f(b, "%s_sum{service=\"%s\"} %.3f\n%s_count{service=\"%s\"} %llu\n", seconds, name, (double)s.sum_ms / 1e3, seconds, name, n);
	}
}

static void media(struct text_buf *b)
{
	static const char jitter[] = "hookswitch_media_jitter_seconds";
	struct stats_media m;

	stats_media_get(&m);
	one(b, "hookswitch_media_packets_total", "counter", "RTP packets received in calls that are over.", m.in);
	one(b, "hookswitch_media_lost_packets_total", "counter", "RTP packets that did not come in calls that are over.", m.lost);
	one(b, "hookswitch_media_concealed_frames_total", "counter", "Frames made up in calls that are over.", m.concealed);
	head(b, jitter, "histogram", "Interarrival jitter (RFC 3550) of calls that are over.");
	buckets(b, jitter, "", m.bucket, stats_jitter_us, 1e6);
	text_f(b, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", jitter, (unsigned long long)m.calls, jitter, (double)m.sum_us / 1e6, jitter,
	       (unsigned long long)m.calls);
}

static void queues(struct text_buf *b, const struct api_facts *f)
{
	char name[128];

	one(b, "hookswitch_calls_living", "gauge", "Calls at the moment.", f->calls);
	one(b, "hookswitch_draining", "gauge", "1: no new calls are taken, the program ends.", f->draining);
	one(b, "hookswitch_store_failing", "gauge", "1: rows cannot be written at the moment.", f->store_failing);
	one(b, "hookswitch_outbox_pending", "gauge", "Status callbacks that have neither been answered nor given up.", f->outbox_pending);
	one(b, "hookswitch_outbox_in_flight", "gauge", "Status callbacks that are being sent.", f->outbox_in_flight);
	head(b, "hookswitch_mailbox_room_bytes", "gauge", "Room for messages to a thread.");
	for (int i = 0; i < f->n_boxes; i++)
		text_f(b, "hookswitch_mailbox_room_bytes{box=\"%s\"} %llu\n", label(f->boxes[i].name, name, sizeof(name)),
		       (unsigned long long)f->boxes[i].room);
}

/* Field `nth` of /proc/self/stat, counted behind the name in brackets, which may hold anything. */
static uint64_t stat_field(struct str text, int nth)
{
	struct str rest = text, one = STR_NONE;
	uint64_t v;

	for (size_t i = text.n; i-- > 0;)
		if (text.p[i] == ')') {
			rest = str_skip(text, i + 2);
			break;
		}
	for (int i = 3; i <= nth && rest.n; i++)
		one = str_cut(rest, ' ', &rest);
	return str_u64(one, UINT64_MAX, &v) ? 0 : v;
}

static size_t slurp(const char *path, char *buf, size_t cap)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(buf, 1, cap, f) : 0;

	if (f)
		fclose(f);
	return n;
}

static uint64_t boot_utc_s(void)
{
	return (uint64_t)(clock_utc_ms() - clock_boot_ms()) / 1000;
}

static uint64_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n > 3 ? n - 3 : 0; /* . and .. and the folder itself */
}

static void process(struct text_buf *b, const char *version)
{
	char buf[1024];
	struct str s = str_n(buf, slurp("/proc/self/stat", buf, sizeof(buf)));
	long hz = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	struct rlimit l = {0};
	char name[128];

	(void)!getrlimit(RLIMIT_NOFILE, &l);
	head(b, "hookswitch_build_info", "gauge", "The program; always 1.");
	text_f(b, "hookswitch_build_info{version=\"%s\"} 1\n", label(version, name, sizeof(name)));
	head(b, "process_cpu_seconds_total", "counter", "Processor time of the worker, user and system.");
	text_f(b, "process_cpu_seconds_total %.2f\n", (double)(stat_field(s, 14) + stat_field(s, 15)) / (double)hz);
	one(b, "process_threads", "gauge", "Threads of the worker.", stat_field(s, 20));
	head(b, "process_start_time_seconds", "gauge", "When the worker was started, in seconds since 1970.");
	text_f(b, "process_start_time_seconds %.2f\n", (double)boot_utc_s() + (double)stat_field(s, 22) / (double)hz);
	one(b, "process_virtual_memory_bytes", "gauge", "Virtual memory of the worker.", stat_field(s, 23));
	one(b, "process_resident_memory_bytes", "gauge", "Resident memory of the worker.", stat_field(s, 24) * (uint64_t)page);
	one(b, "process_open_fds", "gauge", "Descriptors that are open.", open_fds());
	one(b, "process_max_fds", "gauge", "Descriptors that may be open.", l.rlim_cur);
}

void get_metrics(struct api *a, const struct api_ask *q, struct web_answer *ret)
{
	struct text_buf b = {0};
	struct api_facts f;

	api_facts(a, &f);
	queues(&b, &f);
	counters(&b);
	services(&b);
	media(&b);
	process(&b, a->version);
	api_body(ret, "text/plain; version=0.0.4; charset=utf-8", b.p, b.n);
}
