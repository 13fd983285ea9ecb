#pragma once
/*
 * What is usual: a ring of the last values of something, and how far from their median is far. Robust on purpose: median and
 * median distance from it, which a few strange values do not move. Who leaves out what was alarming keeps an intruder from
 * teaching it. Pure.
 */
#include <stddef.h>

#define USUAL_SAMPLES 64
#define USUAL_SPREADS 8 /* so many median distances away is far */

struct usual { /* all zero: nothing yet */
	double values[USUAL_SAMPLES];
	size_t next, n;
};

struct usual_sum {
	double median, spread, most;
};

void usual_learn(struct usual *usual, double value);
void usual_sum(const struct usual *usual, struct usual_sum *ret_sum); /* zeros while nothing is learnt */
double usual_bound(const struct usual_sum *sum, double times);        /* beyond: both far and more than `times` the median */

/* Sorts `values`; n > 0. */
double usual_median(double *values, size_t n);
