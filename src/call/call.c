/* SPDX-License-Identifier: Apache-2.0
 *
 * call: calls as objects: birth, events to the one above, orders from it, commit, end. Sig thread. What is SIP about a leg stands in leg.c and door.c, what is SDP in talk.c,
 * what is sound in stream.c, the way back after a restart in adopt.c.
 */
#include "call/call_int.h"

const char *const call_state_names[CALL_N_STATES] = {"free", "ringing", "up", "ending", "over"};

void call_now(struct calls *cs)
{
	cs->now_ms = cs->o.now ? cs->o.now(cs->o.arg) : clock_boot_ms();
}

static void timer_due(struct timer *t, void *arg, int64_t now_ms)
{
	struct call *c = arg;

	c->all->now_ms = now_ms;
	call_tell(c, &(struct call_event){.kind = CALL_EV_TIMER});
}

struct calls *calls_new(const struct calls_opts *o)
{
	struct calls *cs = calloc(1, sizeof(*cs));

	if (!cs)
		return NULL;
	cs->o = *o;
	cs->calls = table_new(slab_head(o->slab)->n_calls, sizeof(struct call));
	cs->legs = table_new(slab_head(o->slab)->n_legs, sizeof(struct leg));
	link_init(&cs->bin_calls);
	memcpy(cs->account, slab_head(o->slab)->account, sizeof(cs->account));
	door_init(cs);
	if (!cs->calls || !cs->legs) {
		calls_free(cs);
		return NULL;
	}
	return cs;
}

void calls_free(struct calls *cs)
{
	if (!cs)
		return;
	handle h;
	struct call *c;
	for (uint32_t at = 0; cs->calls && (c = table_each(cs->calls, &at, &h));) {
		timer_stop(&c->timer);
		arena_free(c->arena);
	}
	struct leg *l;
	for (uint32_t at = 0; cs->legs && (l = table_each(cs->legs, &at, &h));) {
		timer_stop(&l->timer);
		arena_free(l->arena);
	}
	table_free(cs->calls);
	table_free(cs->legs);
	free(cs);
}

void calls_set_sip(struct calls *cs, struct sip *s)
{
	cs->o.sip = s;
}
const struct sip_user *calls_sip_user(struct calls *cs)
{
	return &cs->sip_user;
}
uint32_t calls_count(const struct calls *cs)
{
	return table_count(cs->calls);
}
int64_t calls_now(const struct calls *cs)
{
	return cs->now_ms;
}

/* at: a handle to adopt, 0 = a new slot. NULL = full. */
struct call *call_new(struct calls *cs, enum call_dir dir, handle at)
{
	handle h = at;
	struct call *c = at ? table_add_at(cs->calls, at) : table_add(cs->calls, &h);

	if (!c)
		return NULL;
	c->h = h;
	c->all = cs;
	c->r.gen = handle_gen(h);
	c->r.dir = dir;
	timer_init(&c->timer, timer_due, c);
	link_init(&c->bin);
	c->arena = arena_new(limit_of(LIMIT_CALL_TEXT));
	if (!c->arena) {
		table_drop(cs->calls, h);
		return NULL;
	}
	if (at)
		return c;
	rand_bytes(c->r.sid, sizeof(c->r.sid));
	memcpy(c->r.account, cs->account, sizeof(c->r.account));
	c->r.created_ms = clock_utc_ms();
	c->r.created_boot_ms = cs->now_ms;
	c->r.state = CALL_RINGING;
	sid_print("CA", c->r.sid, c->sid);
	count_add(COUNT_CALLS, 1);
	return c;
}

static void empty_bin(struct calls *cs)
{
	LINK_EACH_SAFE (it, &cs->bin_calls) {
		struct call *c = container_of(it, struct call, bin);
		if (c->busy)
			continue;
		link_drop(&c->bin);
		arena_free(c->arena);
		table_drop(cs->calls, c->h);
	}
}

void calls_turn(struct calls *cs, int64_t now_ms)
{
	cs->now_ms = now_ms;
	empty_bin(cs);
}

static void drop_texts(struct call *c)
{
	struct text *t[] = {&c->r.number,       &c->r.app.doc,     &c->r.app.doc_type,  &c->r.app.base_url,   &c->r.app.req_url,
			    &c->r.app.req_form, &c->r.app.cookies, &c->r.app.error_url, &c->r.app.number_key, &c->r.app.callbacks};

	for (size_t i = 0; i < N_ELEMENTS(t); i++) {
		slab_drop(c->all->o.slab, *t[i]);
		*t[i] = (struct text){0};
	}
}

/* The slot is free for others: the record says so first. */
void call_free(struct call *c)
{
	timer_stop(&c->timer);
	if (c->leg) {
		leg_free(c->leg);
		c->leg = NULL;
	}
	c->r.state = CALL_FREE;
	slab_write_call(c->all->o.slab, handle_slot(c->h), &c->r);
	for (int i = 0; i < c->n_drops; i++)
		slab_drop(c->all->o.slab, c->drops[i]);
	c->n_drops = 0;
	drop_texts(c);
	if (link_alone(&c->bin))
		link_append(&c->all->bin_calls, &c->bin);
}

void call_commit(struct call *c)
{
	slab_write_call(c->all->o.slab, handle_slot(c->h), &c->r);
	for (int i = 0; i < c->n_drops; i++)
		slab_drop(c->all->o.slab, c->drops[i]);
	c->n_drops = 0;
}

int call_keep(struct call *c, struct text *t, struct str s)
{
	struct text n;

	if (c->n_drops == DROPS_MAX)
		call_commit(c); /* more changes between two commits than any verb makes: the record is consistent with the texts it names at each step */
	int err = slab_text(c->all->o.slab, s, &n);
	if (err)
		return err;
	if (t->n)
		c->drops[c->n_drops++] = *t;
	*t = n;
	return 0;
}

struct str call_text(const struct call *c, struct text t)
{
	return slab_str(c->all->o.slab, t);
}

void call_state(struct call *c, enum call_state s)
{
	char buf[64];
	struct out o = OUT(buf);

	if (c->r.state == s)
		return;
	out_f(&o, "call: %s, %s", call_state_names[c->r.state], call_state_names[s]);
	c->r.state = s;
	call_note(c, TRACE_STATE, s, out_view(&o));
}

/* ---- events upward ---- */

static void deliver(struct call *c)
{
	struct calls *cs = c->all;
	const struct call_user *u = cs->o.user;

	c->busy = true;
	while (c->ev_n) {
		struct call_event e = c->events[c->ev_first];
		c->ev_first = (c->ev_first + 1) % EVENTS_MAX;
		c->ev_n--;
		if (c->told_end)
			continue; /* nothing after the end */
		c->told_end = e.kind == CALL_EV_ENDED;
		base_enter(c->sid);
		if (cs->o.out->poison && cs->o.out->poison(cs->o.out->arg, c->h, (uint32_t)e.kind << 16 | c->r.app.path[0]) && e.kind != CALL_EV_ENDED) {
			log_line(LOG_ERROR, "%s: this step has ended the program twice; the call is ended instead", c->sid);
			call_hangup(c, PARTY_SYSTEM, "internal error");
			continue;
		}
		u->on_event(u->arg, c, &e);
	}
	base_enter("");
	c->busy = false;
}

void call_tell(struct call *c, const struct call_event *e)
{
	if (c->ev_n == EVENTS_MAX) {
		/* Only digits and heard frames come in such numbers, and both are found elsewhere; all others have room kept. */
		if (e->kind == CALL_EV_DIGIT || e->kind == CALL_EV_HEARD)
			return;
		c->ev_first = (c->ev_first + 1) % EVENTS_MAX;
		c->ev_n--;
	}
	c->events[(c->ev_first + c->ev_n++) % EVENTS_MAX] = *e;
	if (!c->busy)
		deliver(c);
}

/* ---- orders ---- */

int call_ring(struct call *c)
{
	return c->leg->ops->ring(c->leg);
}
int call_answer(struct call *c)
{
	return call_is_up(c) ? 0 : c->leg->ops->answer(c->leg);
}
bool call_is_up(const struct call *c)
{
	return c->r.state == CALL_UP;
}

int call_reject(struct call *c, int status)
{
	if (c->r.state >= CALL_ENDING)
		return -EPROTO;
	c->r.hangup_by = PARTY_SERVICE;
	return c->leg->ops->reject(c->leg, status);
}

void call_hangup(struct call *c, enum call_party by, const char *reason)
{
	if (c->r.state >= CALL_ENDING)
		return;
	c->r.hangup_by = (uint8_t)by;
	c->leg->ops->hangup(c->leg, reason);
}

int call_play(struct call *c, const struct play_order *p, uint32_t *ret_number)
{
	if (!c->leg->stream)
		return -EPROTO;
	uint32_t n = ++c->r.app.play_number;
	struct media_cmd cmd = {.kind = MEDIA_PLAY,
				.play = {.number = n, .sound = p->sound, .sound_gen = p->sound_gen, .pos = p->pos, .loop = p->loop, .loops = p->loops}};

	call_commit(c);
	stream_do(c->leg, &cmd);
	*ret_number = n;
	return 0;
}

void call_play_stop(struct call *c)
{
	stream_do(c->leg, &(struct media_cmd){.kind = MEDIA_STOP});
}
void call_echo(struct call *c, bool on)
{
	stream_do(c->leg, &(struct media_cmd){.kind = MEDIA_ECHO, .on.on = on});
}
void call_tap(struct call *c, bool on)
{
	stream_do(c->leg, &(struct media_cmd){.kind = MEDIA_TAP, .on.on = on});
}

int call_send_digits(struct call *c, struct str digits)
{
	struct media_cmd cmd = {.kind = MEDIA_DIGITS};

	if (digits.n >= sizeof(cmd.digits.text))
		return -E2BIG;
	int err = str_zcpy(digits, cmd.digits.text, sizeof(cmd.digits.text));
	if (!err)
		stream_do(c->leg, &cmd);
	return err;
}

void call_play_at(const struct call *c, uint32_t *ret_pos, uint32_t *ret_loop)
{
	const struct media_line *line = &slab_lines(c->all->o.slab)[handle_slot(c->leg->h)];
	bool same = line->gen == c->leg->r.gen && line->play_number == c->r.app.play_number;

	*ret_pos = same ? line->play_pos : 0;
	*ret_loop = same ? line->play_loop : 0;
}

uint32_t call_digits(const struct call *c)
{
	const struct media_line *line = &slab_lines(c->all->o.slab)[handle_slot(c->leg->h)];

	return line->gen == c->leg->r.gen ? __atomic_load_n(&line->digit_n, __ATOMIC_ACQUIRE) : 0;
}

char call_digit(const struct call *c, uint32_t number)
{
	uint32_t last = call_digits(c);

	if (number == 0 || number > last || last - number >= LINE_DIGITS)
		return 0;
	return slab_lines(c->all->o.slab)[handle_slot(c->leg->h)].digits[number % LINE_DIGITS];
}

void call_timer(struct call *c, int64_t at_ms)
{
	if (at_ms)
		timer_set(c->all->o.wheel, &c->timer, at_ms);
	else
		timer_stop(&c->timer);
}

struct app_record *call_app(struct call *c)
{
	return &c->r.app;
}
struct call_record *call_record_of(struct call *c)
{
	return &c->r;
}
void call_set_user(struct call *c, void *p)
{
	c->user = p;
}
void *call_user_of(const struct call *c)
{
	return c->user;
}
const uint8_t *call_sid(const struct call *c)
{
	return c->r.sid;
}
handle call_handle(const struct call *c)
{
	return c->h;
}
struct call *call_get(struct calls *cs, handle h)
{
	return table_get(cs->calls, h);
}
struct calls *call_all(struct call *c)
{
	return c->all;
}
void call_note(struct call *c, enum trace_kind k, uint32_t code, struct str payload)
{
	trace_put(c->all->o.trace, k, c->r.sid, code, payload);
}

struct call *call_of(struct calls *cs, handle leg)
{
	struct leg *l = table_get(cs->legs, leg);

	return l ? l->call : NULL;
}

const uint8_t *calls_sid_of(struct calls *cs, handle leg)
{
	struct call *c = call_of(cs, leg);

	return c ? c->r.sid : NULL;
}

struct call *calls_by_sid(struct calls *cs, const uint8_t sid[16])
{
	struct call *c;
	handle h;

	for (uint32_t at = 0; (c = table_each(cs->calls, &at, &h));)
		if (memcmp(c->r.sid, sid, sizeof(c->r.sid)) == 0)
			return c;
	return NULL;
}

/* ---- the end ---- */

/* The leg is gone and its stream is closed: the row of the end goes to the store; the slot is free when it has acknowledged. */
void call_over(struct call *c)
{
	if (c->r.state == CALL_OVER || c->r.state == CALL_FREE)
		return;
	call_state(c, CALL_OVER);
	if (!c->r.ended_ms) {
		c->r.ended_ms = clock_utc_ms();
		c->r.ended_boot_ms = c->all->now_ms;
	}
	c->r.stored = 2;
	call_timer(c, 0);
	call_commit(c);
	struct call_facts f;
	call_facts(c, &f);
	call_tell(c, &(struct call_event){.kind = CALL_EV_ENDED, .status = c->r.status, .by = c->r.hangup_by});
	if (c->all->o.out->store)
		c->all->o.out->store(c->all->o.out->arg, &c->r, &f, true);
	else
		call_free(c);
}

void calls_stored(struct calls *cs, const uint8_t sid[16], bool end)
{
	if (!end)
		return;
	struct call *c = calls_by_sid(cs, sid);
	if (!c || c->r.state != CALL_OVER)
		return;
	c->r.stored = 3;
	call_settled(c);
}

/* Status callbacks that the store has not got yet stand in the record only: it stays until they are there too. */
void call_settled(struct call *c)
{
	if (c->r.state == CALL_OVER && c->r.stored == 3 && !c->r.app.callbacks.n)
		call_free(c);
}

void calls_drain(struct calls *cs, int64_t now_ms)
{
	cs->now_ms = now_ms;
	cs->draining = true;
}

void calls_end_all(struct calls *cs, int64_t now_ms)
{
	struct call *c;
	handle h;

	cs->now_ms = now_ms;
	for (uint32_t at = 0; (c = table_each(cs->calls, &at, &h));)
		call_hangup(c, PARTY_SYSTEM, "system is going down");
}
