/* SPDX-License-Identifier: Apache-2.0
 *
 * 104: throws two dice. A script may be any program; this one is C. The build makes services/104 of it.
 */
#include <stdio.h>
#include <sys/random.h>

static int throw_one(void)
{
	unsigned char b;

	do { /* 252 is a multiple of six: no side is favoured */
		if (getrandom(&b, 1, 0) != 1)
			return 1;
	} while (b >= 252);
	return b % 6 + 1;
}

int main(void)
{
	int a = throw_one(), b = throw_one();

	printf("Content-Type: text/plain\n\nYou threw a %d and a %d. That makes %d.\n", a, b, a + b);
	return 0;
}
