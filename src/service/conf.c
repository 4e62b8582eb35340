/* SPDX-License-Identifier: Apache-2.0
 *
 * conf: one [number …] section of the configuration, key by key. The keys are one table (house rule 12): the reader of the file, `hookswitch params` and the manual page are made
 * from it. A value is looked at whole before anything is changed. Pure, any thread. Which number is answered by what follows from all sections together: numbers.c.
 */
#include "service/service.h"

#define URL(f)    .type = NUMBER_KEY_URL, .offset = offsetof(struct number_web, f)
#define METHOD(f) .type = NUMBER_KEY_METHOD, .offset = offsetof(struct number_web, f), .dflt = "POST", .unit = "METHOD", .allowed = "POST or GET"
#define MS(f)     .type = NUMBER_KEY_MS, .offset = offsetof(struct number_web, f), .unit = "ms", .max = 60000
#define WEB_URL   "an http or https URL of at most 1000 bytes"

const struct number_key number_keys[] = {
    {"voice_url", URL(voice_url), .dflt = "", .unit = "URL", .allowed = WEB_URL,
     .doc = "Is asked what to do with a call to this number. Without it a file of the services folder, or a shorter match, answers, and the section gives "
	    "fallback and callbacks to it."},
    {"voice_method", METHOD(voice_get), .doc = "How voice_url is asked."},
    {"voice_fallback_url", URL(fallback_url), .service = true, .dflt = "", .unit = "URL", .allowed = WEB_URL ", or service:/NAME",
     .doc = "Is asked when what answers fails, with ErrorCode and ErrorUrl; empty: the caller hears that the service failed."},
    {"voice_fallback_method", METHOD(fallback_get), .doc = "How voice_fallback_url is asked."},
    {"status_callback", URL(status_callback), .dflt = "", .unit = "URL", .allowed = WEB_URL, .doc = "Is told what becomes of the call."},
    {"status_callback_method", METHOD(callback_get), .doc = "How status_callback is told."},
    {"status_callback_event", .type = NUMBER_KEY_EVENTS, .offset = offsetof(struct number_web, callback_events), .dflt = "completed", .unit = "EVENTS",
     .allowed = "initiated, ringing, answered, completed", .doc = "What status_callback is told, a list."},
    {"filler_after_ms", MS(filler_after_ms), .dflt = "as [web] says", .allowed = "0 to 60000 ms",
     .doc = "An answered caller who waits longer for the service hears something; 0: nothing."},
    {"hedge_after_ms", MS(hedge_after_ms), .dflt = "as [web] says", .allowed = "0 to 60000 ms",
     .doc = "A service that takes longer is not waited for alone: the fallback is asked too, and the first good reply counts; 0: never."},
};
const size_t number_key_n = N_ELEMENTS(number_keys);

static const char *const events[] = {"initiated", "ringing", "answered", "completed"};
_Static_assert(N_ELEMENTS(events) == CALLBACK_COMPLETED + 1, "conf: the words of enum callback_event, in its order");

const struct number_key *number_key_find(struct str name)
{
	for (size_t i = 0; i < number_key_n; i++)
		if (str_eq(name, str_z(number_keys[i].name)))
			return &number_keys[i];
	return NULL;
}

/* "2…" and "2...": an ellipsis, as `*` is a digit. Returns what stands before it. */
static bool prefix_of(struct str key, struct str *ret)
{
	static const struct str ends[] = {{"\xe2\x80\xa6", 3}, {"...", 3}};

	for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
		if (key.n <= ends[i].n || !str_eq(str_skip(key, key.n - ends[i].n), ends[i]))
			continue;
		*ret = str_n(key.p, key.n - ends[i].n);
		return true;
	}
	return false;
}

int number_conf_open(struct str key, struct number_conf *ret)
{
	struct number_conf c = {.web.callback_events = BIT(CALLBACK_COMPLETED)};
	struct out o = {.p = c.key, .cap = sizeof(c.key) - 1};
	bool prefix = prefix_of(key, &key);

	if (key.n < 1 || key.n > limit_of(LIMIT_NUMBER))
		return -EINVAL;
	for (size_t i = 0; i < key.n; i++) {
		char k = key.p[i];

		if (!((k >= '0' && k <= '9') || (k >= 'A' && k <= 'Z') || (k >= 'a' && k <= 'z') || (k && strchr("+*#_-", k))))
			return -EINVAL;
	}
	out_str(&o, key);
	if (prefix)
		OUT_STR(&o, "\xe2\x80\xa6");
	ASSERT(!o.over);
	*ret = c;
	return 0;
}

static int set_url(char *field, const struct number_key *k, struct str v)
{
	struct url u;

	if (v.n > 1000)
		return -ENOSPC;
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] <= 0x20 || (unsigned char)v.p[i] >= 0x7f)
			return -EINVAL;
	if (v.n && (url_parse(v, &u) < 0 || (!k->service && str_ieq(u.scheme, STR("service")))))
		return -EINVAL;
	return str_zcpy(v, field, sizeof(((struct number_web *)0)->voice_url));
}

static int set_events(uint8_t *field, struct str v)
{
	uint8_t set = 0;

	while (v.n) {
		size_t n = 0, i = 0;

		while (n < v.n && !strchr(", \t", v.p[n]))
			n++;
		while (n && i < N_ELEMENTS(events) && !str_eq(str_n(v.p, n), str_z(events[i])))
			i++;
		if (i == N_ELEMENTS(events))
			return -EINVAL;
		if (n)
			set |= (uint8_t)BIT(i);
		v = str_skip(v, n + 1);
	}
	*field = set;
	return set ? 0 : -EINVAL;
}

static int set_ms(uint32_t *field, const struct number_key *k, struct str v)
{
	uint64_t ms;
	int r = str_u64(v, k->max, &ms);

	if (r < 0)
		return r == -ERANGE ? r : -EINVAL;
	if (ms < k->min)
		return -ERANGE;
	*field = (uint32_t)ms;
	return 0;
}

int number_conf_set(struct number_conf *c, const struct number_key *k, struct str value)
{
	struct number_web web = c->web;
	void *field = (char *)&web + k->offset;
	uint32_t bit = BIT(k - number_keys);
	int r = -EINVAL;

	value = str_trim(value);
	if (c->given & bit)
		return -EEXIST;
	if (k->type == NUMBER_KEY_URL)
		r = set_url(field, k, value);
	else if (k->type == NUMBER_KEY_EVENTS)
		r = set_events(field, value);
	else if (k->type == NUMBER_KEY_MS)
		r = set_ms(field, k, value);
	else if (str_eq(value, STR("GET")) || str_eq(value, STR("POST")))
		r = (*(bool *)field = str_eq(value, STR("GET")), 0);
	if (r)
		return r;
	/* nothing fails below */
	c->web = web;
	c->given |= bit;
	return 0;
}

const char *number_conf_lacks(const struct number_conf *c)
{
	uint32_t events_bit = BIT(number_key_find(STR("status_callback_event")) - number_keys);

	if (!*c->web.voice_url && !*c->web.fallback_url && !*c->web.status_callback)
		return "voice_url, voice_fallback_url or status_callback";
	if (c->web.voice_get && !*c->web.voice_url)
		return "voice_url for its voice_method";
	if (c->web.fallback_get && !*c->web.fallback_url)
		return "voice_fallback_url for its voice_fallback_method";
	if ((c->web.callback_get || c->given & events_bit) && !*c->web.status_callback)
		return "status_callback for what is said of it";
	return NULL;
}
