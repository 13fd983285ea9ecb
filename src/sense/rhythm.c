/* See rhythm.h. */
#include "sense/rhythm.h"

#include "sense/usual.h"

#include <stdio.h>
#include <string.h>

static bool is_there(const struct rhythm_place *place, const struct rhythm_call *call)
{
	return place->last_us && place->call.port == call->port && place->call.protocol == call->protocol &&
	       place->call.to.ipv6 == call->to.ipv6 && memcmp(place->call.to.bytes, call->to.bytes, sizeof(call->to.bytes)) == 0;
}

static struct rhythm_place *place_of(struct rhythm *rhythm, const struct rhythm_call *call, bool fresh)
{
	struct rhythm_place *oldest = &rhythm->places[0];
	for (size_t i = 0; i < RHYTHM_PLACES; i++) {
		struct rhythm_place *place = &rhythm->places[i];
		if (is_there(place, call))
			return place;
		if (place->last_us < oldest->last_us)
			oldest = place;
	}
	*oldest = (struct rhythm_place){.usual = fresh};
	return oldest;
}

static double distance(double a, double b)
{
	return a > b ? a - b : b - a;
}

/* All but one near the median? `ret_median` is that, `ret_far` how far the others are from it at most. */
static bool is_even(const struct rhythm_place *place, double *ret_median, double *ret_far)
{
	double values[RHYTHM_BEATS], most = 0, second = 0;
	memcpy(values, place->intervals, sizeof(values));
	*ret_median = usual_median(values, RHYTHM_BEATS);
	for (size_t i = 0; i < RHYTHM_BEATS; i++) {
		double far = distance(values[i], *ret_median);
		second = far > most ? most : far > second ? far : second;
		most = far > most ? far : most;
	}
	*ret_far = second;
	return *ret_median >= RHYTHM_LEAST_US / 1e6 && second <= RHYTHM_NEAR * *ret_median;
}

bool rhythm_add(struct rhythm *rhythm, const struct rhythm_call *call, bool fresh, int64_t time_us, char *ret_text, size_t size)
{
	char to[INET6_ADDRSTRLEN];
	double median, far;
	struct rhythm_place *place = place_of(rhythm, call, fresh);
	bool again = place->last_us && place->call.from_port == call->from_port && call->from_port;
	int64_t last_us = place->last_us;
	if (again)
		return false;
	place->call = *call;
	place->last_us = time_us;
	if (!last_us)
		return false;
	place->intervals[place->next] = (double)(time_us - last_us) / 1e6;
	place->next = (place->next + 1) % RHYTHM_BEATS;
	place->n += place->n < RHYTHM_BEATS;
	if (place->usual || place->n < RHYTHM_BEATS || !is_even(place, &median, &far) ||
	    (place->told_us && time_us - place->told_us < RHYTHM_REPEAT_US))
		return false;
	place->told_us = time_us;
	nflog_address_text(&call->to, to);
	snprintf(ret_text, size, "regularity: %s port %u called every %.1f s (within %.1f s), %d times; usual is none", to,
	         call->port, median, far, RHYTHM_BEATS + 1);
	return true;
}
