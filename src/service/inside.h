/* SPDX-License-Identifier: Apache-2.0
 *
 * inside: what the files of service/ share.
 */
#pragma once
#include "service/service.h"

/* dialect.c: documents of the old proxy */
bool dialect_known(const struct node *root); /* one of its words stands below the root */
void dialect_turn(struct node *root);        /* into verbs */
