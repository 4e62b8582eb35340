/* SPDX-License-Identifier: Apache-2.0
 *
 * mos: the estimate against values of the E-model worked out by hand, and its shape: never better with more loss, more jitter, a longer way; always between 1 and 4.5.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verb/inside.h"

static int hundredths(double v)
{
	return (int)(v * 100 + 0.5);
}

static void test_values(void **state)
{
	/* R = 93.2 - 0.024 * 25 = 92.6 */
	assert_int_equal(hundredths(mos_estimate(1000, 0, 0, 0)), 440);
	/* 5 % lost: Ie_eff = 95 * 5 / 30.1 = 15.78, R = 76.82, 1 + 2.689 + 0.210 */
	assert_int_equal(hundredths(mos_estimate(950, 50, 0, 0)), 390);
	/* 20 % lost: Ie_eff = 42.13, R = 50.47 */
	assert_int_equal(hundredths(mos_estimate(800, 200, 0, 0)), 260);
	/* 400 ms one way: Id = 0.024 * 425 + 0.11 * 247.7 = 37.45, R = 55.75 */
	assert_int_equal(hundredths(mos_estimate(1000, 0, 0, 800000)), 288);
	assert_int_equal(hundredths(mos_estimate(0, 0, 0, 0)), 100);
	assert_int_equal(hundredths(mos_estimate(1, UINT32_MAX, UINT32_MAX, UINT32_MAX)), 100);
}

static void test_shape(void **state)
{
	for (uint32_t lost = 0; lost <= 1000; lost += 50)
		for (uint32_t jitter = 0; jitter <= 500000; jitter += 20000)
			for (uint32_t rtt = 0; rtt <= 3000000; rtt += 300000) {
				double v = mos_estimate(1000 - lost, lost, jitter, rtt);

				assert_true(v >= 1 && v <= 4.5);
				if (lost < 1000)
					assert_true(mos_estimate(950 - MIN(lost, 950), lost + 50, jitter, rtt) <= v);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_shape)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
