/* SPDX-License-Identifier: Apache-2.0
 *
 * param: all parameters, one table: the INI file, the command line, --help, the man page and the documentation are read and printed from it. A value
 * is looked at whole before anything is changed. Pure; used by one thread at start. Who reads the file, and says file:line, is cli/.
 */
#include "base/base.h"

static int check_listen(const char *v)
{
	struct addr a;
	const char *colon = strchr(v, ':');

	if (addr_parse(str_z(v), &a) < 0)
		return -EINVAL;
	/* the port has to be said, if only as 0 */
	if (v[0] == '[')
		return v[strlen(v) - 1] == ']' ? -EINVAL : 0;
	return colon && !strchr(colon + 1, ':') ? 0 : -EINVAL;
}

static int check_advertise(const char *v)
{
	struct addr a;

	if (!v[0])
		return 0;
	return addr_parse(str_z(v), &a) < 0 || addr_is_any(&a) ? -EINVAL : 0;
}

static int check_network(const char *v)
{
	struct cidr c;

	return cidr_parse(str_z(v), &c) < 0 ? -EINVAL : 0;
}

static int check_path(const char *v)
{
	return v[0] ? 0 : -EINVAL;
}

static bool only(const char *v, const char *set)
{
	return strspn(v, set) == strlen(v);
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static int check_user(const char *v)
{
	return only(v, LOWER UPPER DIGIT "_-.") && v[0] != '-' ? 0 : -EINVAL;
}

static int check_language(const char *v)
{
	return v[0] && v[0] != '-' && only(v, LOWER UPPER DIGIT "-") ? 0 : -EINVAL;
}

static int check_voice(const char *v)
{
	return !v[0] || str_eq(str_z(v), STR("kal")) || str_eq(str_z(v), STR("slt")) ? 0 : -EINVAL;
}

static int check_method(const char *v)
{
	return str_eq(str_z(v), STR("POST")) || str_eq(str_z(v), STR("GET")) ? 0 : -EINVAL;
}

#define TEXT(f) .type = PARAM_TEXT, .offset = offsetof(struct params, f), .cap = sizeof(((struct params *)0)->f)
#define LIST(f)                                                                                                                                                \
	.type = PARAM_LIST, .offset = offsetof(struct params, f), .cap = N_ELEMENTS(((struct params *)0)->f), .count_offset = offsetof(struct params, n_##f)
#define NUMBER(f) .type = PARAM_NUMBER, .offset = offsetof(struct params, f)

#define LIST_ENTRY 64 /* bytes of an entry of a list */
_Static_assert(sizeof(((struct params *)0)->sip[0]) == LIST_ENTRY && sizeof(((struct params *)0)->allow[0]) == LIST_ENTRY &&
		   sizeof(((struct params *)0)->web_allow[0]) == LIST_ENTRY,
	       "param: lists have entries of one size");
_Static_assert(offsetof(struct params, rtp_high) == offsetof(struct params, rtp_low) + sizeof(uint64_t), "param: a range is two numbers side by side");

const struct param_info param_table[] = {
    {"listen", "sip", "sip", LIST(sip), .min = 1, .dflt = "127.0.0.1:5060", .unit = "ADDR:PORT", .check = check_listen,
     .doc = "Where SIP is taken, by UDP and by TCP; may be given several times. Port 0 takes a free one.",
     .allowed = "ADDRESS:PORT, as in 192.0.2.1:5060 or [::]:5060, up to 8 of them"},
    {"listen", "http", "http", TEXT(http), .dflt = "127.0.0.1:8080", .unit = "ADDR:PORT", .check = check_listen,
     .doc = "Where the HTTP interface is served. Port 0 takes a free one.", .allowed = "ADDRESS:PORT, as in 127.0.0.1:8080 or [::1]:8080"},
    {"listen", "advertise", NULL, TEXT(advertise), .dflt = "", .unit = "ADDR[:PORT]", .check = check_advertise,
     .doc = "Address told to peers in SIP and SDP in place of the local one, for a machine behind a translating router; empty: the address that the packet "
	    "came to.",
     .allowed = "an IP address with or without port, or nothing"},
    {"media", "rtp", "rtp", .type = PARAM_RANGE, .offset = offsetof(struct params, rtp_low), .min = 1024, .max = 65535, .dflt = "10000-19999",
     .unit = "LOW-HIGH", .doc = "UDP ports for sound, both included; a call takes an even one and the next.",
     .allowed = "LOW-HIGH, ports from 1024 to 65535, LOW below HIGH"},
    {"media", "media_threads", NULL, NUMBER(media_threads), .min = 0, .max = 64, .dflt = "0", .unit = "threads",
     .doc = "Threads that carry sound; 0: one per processor core.", .allowed = "0 to 64"},
    {"media", "quiet_s", NULL, NUMBER(quiet_s), .min = 1, .max = 86400, .dflt = "60", .unit = "s",
     .doc = "A call in which neither sound nor signalling was heard for so long is probed, and ended if nobody answers.", .allowed = "1 to 86400 seconds"},
    {"paths", "data", "data", TEXT(data), .dflt = "./var", .unit = "DIR", .check = check_path,
     .doc = "Folder of what the system keeps: account, call records, recordings.", .allowed = "a path of at most 255 bytes"},
    {"paths", "services", "services", TEXT(services), .dflt = "./services", .unit = "DIR", .check = check_path,
     .doc = "Folder of the services: the file 100 answers the number 100.", .allowed = "a path of at most 255 bytes"},
    {"paths", "sounds", NULL, TEXT(sounds), .dflt = "/usr/share/asterisk/sounds/en", .unit = "DIR", .check = check_path,
     .doc = "Folder of the sounds that documents may play by name.", .allowed = "a path of at most 255 bytes"},
    {"limits", "max_calls", NULL, NUMBER(max_calls), .min = 1, .max = 100000, .dflt = "2000", .unit = "calls",
     .doc = "Calls at one time; one more is answered 503.", .allowed = "1 to 100000"},
    {"limits", "max_call_s", NULL, NUMBER(max_call_s), .min = 1, .max = 86400, .dflt = "14400", .unit = "s", .doc = "Longest call; then it is ended.",
     .allowed = "1 to 86400 seconds"},
    {"limits", "drain_s", NULL, NUMBER(drain_s), .min = 0, .max = 3600, .dflt = "30", .unit = "s",
     .doc = "How long calls may go on after SIGTERM, before they are ended.", .allowed = "0 to 3600 seconds"},
    {"limits", "trace_mb", NULL, NUMBER(trace_mb), .min = 1, .max = 4096, .dflt = "64", .unit = "MiB",
     .doc = "Memory for the trace of all calls; the oldest records go first.", .allowed = "1 to 4096 MiB"},
    {"access", "allow", NULL, LIST(allow), .dflt = "", .unit = "NETWORK", .check = check_network,
     .doc = "Networks that may place calls, beside this machine itself; may be given several times. Empty: this machine only.",
     .allowed = "networks as in 192.168.1.0/24 or 2001:db8::/32, up to 16 of them"},
    {"access", "user", NULL, TEXT(user), .dflt = "", .unit = "USER", .check = check_user,
     .doc = "User that the system becomes when it was started as root; empty: hookswitch, or the user who called sudo.",
     .allowed = "a user name of at most 31 bytes"},
    {"access", "script_user", NULL, TEXT(script_user), .dflt = "", .unit = "USER", .check = check_user,
     .doc = "User that scripts run as when the system was started as root, never root itself; empty: hookswitch-script, or nobody where there is no such user.",
     .allowed = "a user name of at most 31 bytes"},
    {"speech", "language", NULL, TEXT(language), .dflt = "en-US", .unit = "TAG", .check = check_language,
     .doc = "Language of what is spoken where a document names none.", .allowed = "a language tag as in en-US, at most 15 bytes"},
    {"speech", "voice", NULL, TEXT(voice), .dflt = "", .unit = "NAME", .check = check_voice,
     .doc = "Voice of what is spoken where a document names none; empty: by the language.", .allowed = "kal, slt, or nothing"},
    {"cgi", "wall_s", NULL, NUMBER(cgi_wall_s), .min = 1, .max = 300, .dflt = "15", .unit = "s",
     .doc = "Time that a script may take; then it is killed with all it started.", .allowed = "1 to 300 seconds"},
    {"cgi", "cpu_s", NULL, NUMBER(cgi_cpu_s), .min = 1, .max = 300, .dflt = "10", .unit = "s", .doc = "Processor time that a script may use.",
     .allowed = "1 to 300 seconds"},
    {"cgi", "as_mb", NULL, NUMBER(cgi_as_mb), .min = 16, .max = 1048576, .dflt = "2048", .unit = "MiB", .doc = "Address space of a script.",
     .allowed = "16 to 1048576 MiB"},
    {"cgi", "data_mb", NULL, NUMBER(cgi_data_mb), .min = 1, .max = 1048576, .dflt = "256", .unit = "MiB", .doc = "Memory that a script may write to.",
     .allowed = "1 to 1048576 MiB"},
    {"cgi", "files", NULL, NUMBER(cgi_files), .min = 8, .max = 65536, .dflt = "64", .unit = "files", .doc = "Files that a script may hold open.",
     .allowed = "8 to 65536"},
    {"cgi", "procs", NULL, NUMBER(cgi_procs), .min = 1, .max = 65536, .dflt = "64", .unit = "processes",
     .doc = "Processes that the user of the scripts may have.", .allowed = "1 to 65536"},
    {"cgi", "method", NULL, TEXT(cgi_method), .dflt = "POST", .unit = "METHOD", .check = check_method,
     .doc = "How the parameters of a call reach a script: POST on its standard input, GET in QUERY_STRING; in both cases as CALL_… variables too.",
     .allowed = "POST or GET"},
    {"web", "allow", NULL, LIST(web_allow), .dflt = "", .unit = "NETWORK", .check = check_network,
     .doc =
	 "Private networks that a reply of a service may send us to, beside the places that this configuration names; may be given several times. Empty: none.",
     .allowed = "networks as in 192.168.1.0/24 or fd00::/8, up to 16 of them"},
    {"web", "connect_ms", NULL, NUMBER(web_connect_ms), .min = 100, .max = 10000, .dflt = "5000", .unit = "ms",
     .doc = "Time for the connection to a web service; a URL's #ct= outranks it.", .allowed = "100 to 10000 ms"},
    {"web", "read_ms", NULL, NUMBER(web_read_ms), .min = 100, .max = 15000, .dflt = "15000", .unit = "ms",
     .doc = "Time for a web service's answer once it is connected; a URL's #rt= outranks it.", .allowed = "100 to 15000 ms"},
    {"web", "total_ms", NULL, NUMBER(web_total_ms), .min = 100, .max = 15000, .dflt = "15000", .unit = "ms",
     .doc = "Time for a request to a web service in all, redirects and retries with it; a URL's #tt= outranks it.", .allowed = "100 to 15000 ms"},
    {"web", "retries", NULL, NUMBER(web_retries), .min = 0, .max = 5, .dflt = "1", .unit = "times",
     .doc = "How often a request to a web service that could not be connected is tried again; a URL's #rc= outranks it.", .allowed = "0 to 5"},
    {"web", "filler_after_ms", NULL, NUMBER(filler_after_ms), .min = 0, .max = 60000, .dflt = "0", .unit = "ms",
     .doc =
	 "How long an answered caller hears silence while a service thinks, before a sentence asks for patience; 0: never. A number's own value counts more.",
     .allowed = "0 to 60000 milliseconds"},
    {"web", "hedge_after_ms", NULL, NUMBER(hedge_after_ms), .min = 0, .max = 60000, .dflt = "0", .unit = "ms",
     .doc = "How long a number's service may think before its fallback URL is asked beside it; the first good reply counts. 0: never. A number's own value "
	    "counts more.",
     .allowed = "0 to 60000 milliseconds"},
    {"reject", "status", NULL, NUMBER(reject_status), .min = 400, .max = 699, .dflt = "404", .unit = "status",
     .doc = "SIP status of a call that a document rejects without saying that it is busy.", .allowed = "400 to 699"},
    {"log", "level", "log", .type = PARAM_LEVEL, .offset = offsetof(struct params, log), .dflt = "info", .unit = "LEVEL",
     .doc = "How much is said on standard error.", .allowed = "error, warn, info or debug"},
};
const size_t param_n = N_ELEMENTS(param_table);

const struct param_info *param_find(struct str section, struct str name)
{
	for (size_t i = 0; i < param_n; i++)
		if (str_eq(section, str_z(param_table[i].section)) && str_eq(name, str_z(param_table[i].name)))
			return &param_table[i];
	return NULL;
}

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

/* One text, checked, into buf of cap bytes. */
static int text_check(const struct param_info *i, struct str s, char *buf, size_t cap)
{
	if (has_control(s))
		return -EINVAL;
	if (str_zcpy(s, buf, cap) < 0)
		return -ENOSPC;
	return i->check ? i->check(buf) : 0;
}

static int set_text(char *field, const struct param_info *i, struct str s)
{
	char buf[256];
	int r;

	ASSERT(i->cap <= sizeof(buf));
	r = text_check(i, s, buf, i->cap);
	if (r < 0)
		return r;
	/* nothing fails below */
	memcpy(field, buf, s.n + 1);
	return 0;
}

static int set_list(char *field, int *count, const struct param_info *i, struct str s, bool first)
{
	char add[MAX(PARAM_SIP_MAX, PARAM_NET_MAX)][LIST_ENTRY] = {0};
	size_t have = first ? 0 : (size_t)*count, n = 0;
	int r;

	for (struct str rest = s; rest.p;) {
		struct str one = str_trim(str_cut(rest, ',', &rest));

		if (!one.n && n == 0 && !rest.p)
			break; /* an empty value */
		if (have + n == i->cap)
			return -ENOSPC;
		r = text_check(i, one, add[n++], LIST_ENTRY);
		if (r < 0)
			return r;
	}
	if (have + n < i->min)
		return -EINVAL;
	/* nothing fails below */
	for (size_t k = 0; k < n; k++)
		memcpy(field + (have + k) * LIST_ENTRY, add[k], LIST_ENTRY);
	*count = (int)(have + n);
	return 0;
}

static int number_check(const struct param_info *i, struct str s, uint64_t *ret)
{
	int r = str_u64(s, i->max, ret);

	if (r < 0)
		return r == -ERANGE ? r : -EINVAL;
	return *ret < i->min ? -ERANGE : 0;
}

static int set_range(uint64_t field[2], const struct param_info *i, struct str s)
{
	struct str high;
	struct str low = str_cut(s, '-', &high);
	uint64_t v[2];
	int r = number_check(i, low, &v[0]);

	r = r < 0 ? r : number_check(i, high, &v[1]);
	if (r < 0)
		return r;
	if (v[0] >= v[1])
		return -ERANGE;
	field[0] = v[0];
	field[1] = v[1];
	return 0;
}

int param_set(struct params *p, const struct param_info *i, const char *value, bool first)
{
	char *field = (char *)p + i->offset;
	struct str s = str_trim(str_z(value));
	uint64_t v;
	int r;

	switch (i->type) {
	case PARAM_TEXT:
		return set_text(field, i, s);
	case PARAM_LIST:
		return set_list(field, (int *)((char *)p + i->count_offset), i, s, first);
	case PARAM_RANGE:
		return set_range((uint64_t *)field, i, s);
	case PARAM_LEVEL:
		return log_level_parse(s, (enum log_level *)field);
	case PARAM_NUMBER:
		r = number_check(i, s, &v);
		if (r == 0)
			*(uint64_t *)field = v;
		return r;
	}
	ASSERT(!"a type of parameter that is none");
	return -EINVAL;
}

void params_init(struct params *p)
{
	memset(p, 0, sizeof(*p));
	for (size_t i = 0; i < param_n; i++)
		ASSERT(param_set(p, &param_table[i], param_table[i].dflt, true) == 0);
}
