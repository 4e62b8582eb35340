/* SPDX-License-Identifier: Apache-2.0
 *
 * gate: the only maker of `struct authed`. SIP has two kinds of guests so far: this machine, and the networks that the operator named (allow=).
 */
#include "net/net.h"

int gate_init(struct gate *g, const struct params *p, const uint8_t account[16])
{
	*g = (struct gate){.loopback.kind = AUTHED_LOOPBACK, .network.kind = AUTHED_NETWORK};
	memcpy(g->loopback.account, account, sizeof(g->loopback.account));
	memcpy(g->network.account, account, sizeof(g->network.account));
	for (int i = 0; i < p->n_allow; i++) {
		int err = cidr_parse(str_z(p->allow[i]), &g->allow[g->n_allow]);
		if (err)
			return err;
		g->n_allow++;
	}
	return 0;
}

const struct authed *gate_check(const struct gate *g, const struct addr *peer)
{
	if (addr_is_loopback(peer))
		return &g->loopback;
	for (int i = 0; i < g->n_allow; i++)
		if (cidr_has(&g->allow[i], peer))
			return &g->network;
	return NULL;
}
