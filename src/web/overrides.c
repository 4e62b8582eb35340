/* SPDX-License-Identifier: Apache-2.0
 *
 * overrides: what a service's URL says behind its # about how it wants to be asked: #ct=2000&rc=3&rp=ct,5xx (call-control.md 2.3). Pure, any thread. The fragment is neither sent nor
 * signed. What is not understood is a warning (11240 of an edge, 11243 of all others) and the default is used; a fragment without "=" is a place in a page and says nothing.
 */
#include "web/inside.h"

static const struct number {
	struct str name;
	uint64_t min, max;
	size_t offset;
} numbers[] = {
    {{"ct", 2}, 100, 10000, offsetof(struct override, connect_ms)},
    {{"rt", 2}, 100, 15000, offsetof(struct override, read_ms)},
    {{"tt", 2}, 100, 15000, offsetof(struct override, total_ms)},
    {{"rc", 2}, 0, 5, offsetof(struct override, retries)},
};

static const struct policy {
	struct str name;
	unsigned bits;
} policies[] = {
    {{"ct", 2}, FETCH_RETRY_CT},
    {{"rt", 2}, FETCH_RETRY_RT},
    {{"4xx", 3}, FETCH_RETRY_4XX},
    {{"5xx", 3}, FETCH_RETRY_5XX},
    {{"all", 3}, FETCH_RETRY_CT | FETCH_RETRY_RT | FETCH_RETRY_4XX | FETCH_RETRY_5XX},
};

/* The field's names of places: known, and nothing follows from them here. */
static const char *const edges[] = {"ashburn",     "ashburn-ix", "dublin",    "frankfurt",    "frankfurt-ix", "london-ix", "roaming",
				    "san-jose-ix", "sao-paulo",  "singapore", "singapore-ix", "sydney",       "tokyo",     "umatilla"};

static void warn(struct override *o, int code, struct str name, struct str value)
{
	struct out w = OUT(o->warning);
	if (o->warning[0])
		return; /* one is enough to look there */
	out_f(&w, "%d: connection override ", code);
	out_safe(&w, (struct str){name.p, MIN(name.n, 16u)});
	OUT_STR(&w, "=");
	out_safe(&w, (struct str){value.p, MIN(value.n, 32u)});
	OUT_STR(&w, " is not understood; the default is used");
	out_z(&w);
}

static bool set_number(struct override *o, struct str name, struct str value, bool *ret_ok)
{
	for (size_t i = 0; i < N_ELEMENTS(numbers); i++) {
		uint64_t v;
		if (!str_eq(numbers[i].name, name))
			continue;
		*ret_ok = str_u64(value, numbers[i].max, &v) == 0 && v >= numbers[i].min;
		if (*ret_ok)
			*(uint32_t *)((char *)o + numbers[i].offset) = (uint32_t)v;
		return true;
	}
	return false;
}

static bool set_policy(struct override *o, struct str list)
{
	unsigned bits = 0;
	for (struct str rest = list; rest.p;) {
		struct str one = str_cut(rest, ',', &rest);
		unsigned found = 0;
		for (size_t i = 0; i < N_ELEMENTS(policies); i++)
			found |= str_eq(policies[i].name, one) ? policies[i].bits : 0;
		if (!found)
			return false;
		bits |= found;
	}
	o->retry_on = bits;
	return bits;
}

static bool edges_known(struct str list)
{
	for (struct str rest = list; rest.p;) {
		struct str one = str_cut(rest, ',', &rest);
		bool found = false;
		for (size_t i = 0; i < N_ELEMENTS(edges); i++)
			found = found || str_eq(str_z(edges[i]), one);
		if (!found)
			return false;
	}
	return true;
}

void override_parse(struct str fragment, struct override *ret)
{
	_Static_assert(sizeof(unsigned) == sizeof(uint32_t), "set_number writes both");
	*ret = (struct override){.connect_ms = 5000, .read_ms = 15000, .total_ms = 15000, .retries = 1, .retry_on = FETCH_RETRY_CT};
	for (struct str rest = fragment; rest.p;) {
		struct str value, one = str_cut(rest, '&', &rest), name = str_cut(one, '=', &value);
		bool ok = true;
		if (!value.p)
			continue;
		if (set_number(ret, name, value, &ok)) {
			if (!ok)
				warn(ret, 11243, name, value);
		} else if (str_eq(name, STR("rp"))) {
			if (!set_policy(ret, value))
				warn(ret, 11243, name, value);
		} else if (str_eq(name, STR("e"))) {
			if (!edges_known(value))
				warn(ret, 11240, name, value);
		} else if (!str_eq(name, STR("sni")) || !(str_eq(value, STR("y")) || str_eq(value, STR("n")))) {
			/* sni: certificates are always checked against the host's name, whatever it says */
			warn(ret, 11243, name, value);
		}
	}
}
