/* See usual.h. */
#include "sense/usual.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double usual_median(double *values, size_t n)
{
	qsort(values, n, sizeof(values[0]), compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void usual_learn(struct usual *usual, double value)
{
	usual->values[usual->next] = value;
	usual->next = (usual->next + 1) % USUAL_SAMPLES;
	usual->n += usual->n < USUAL_SAMPLES;
}

void usual_sum(const struct usual *usual, struct usual_sum *ret_sum)
{
	double values[USUAL_SAMPLES];
	size_t n = usual->n;
	*ret_sum = (struct usual_sum){0};
	if (n == 0)
		return;
	memcpy(values, usual->values, n * sizeof(values[0]));
	ret_sum->median = usual_median(values, n);
	ret_sum->most = values[n - 1];
	for (size_t i = 0; i < n; i++)
		values[i] = values[i] > ret_sum->median ? values[i] - ret_sum->median : ret_sum->median - values[i];
	ret_sum->spread = usual_median(values, n);
}

double usual_bound(const struct usual_sum *sum, double times)
{
	double far = sum->median + USUAL_SPREADS * sum->spread, more = times * sum->median;
	return far > more ? far : more;
}
