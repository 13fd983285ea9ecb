/* Moments in a heap, in the order of their time; numbers from a seed. See sim.h. */
#include "sim.h"

#include <assert.h>
#include <stdarg.h>

uint32_t sim_random(struct sim *s, uint32_t below)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? (uint32_t)((z >> 32) * below >> 32) : 0;
}

bool sim_chance(struct sim *s, uint32_t ten_thousandths)
{
	return ten_thousandths && sim_random(s, 10000) < ten_thousandths;
}

int64_t sim_spread(struct sim *s, int64_t from_us, int64_t to_us)
{
	return s->odds.jitter ? from_us + (int64_t)sim_random(s, (uint32_t)(to_us - from_us) + 1) : from_us;
}

static bool before(const struct sim_moment *a, const struct sim_moment *b)
{
	return a->time_us != b->time_us ? a->time_us < b->time_us : a->order < b->order;
}

struct sim_moment *sim_at(struct sim *s, int64_t time_us, enum sim_what what, uint32_t a, uint32_t b)
{
	static struct sim_moment lost;
	if (s->n_moments == SIM_MOMENTS_MAX) {
		sim_fail(s, "more than %d things are to happen", SIM_MOMENTS_MAX);
		return &lost;
	}
	struct sim_moment m = {.time_us = time_us, .order = ++s->last_moment, .what = what, .a = a, .b = b};
	size_t k = s->n_moments++;
	for (; k && before(&m, &s->moments[(k - 1) / 2]); k = (k - 1) / 2)
		s->moments[k] = s->moments[(k - 1) / 2];
	s->moments[k] = m;
	return &s->moments[k]; /* to be filled at once */
}

static void sink(struct sim *s)
{
	struct sim_moment m = s->moments[s->n_moments];
	size_t k = 0;
	for (;;) {
		size_t child = 2 * k + 1;
		if (child >= s->n_moments)
			break;
		if (child + 1 < s->n_moments && before(&s->moments[child + 1], &s->moments[child]))
			child++;
		if (!before(&s->moments[child], &m))
			break;
		s->moments[k] = s->moments[child];
		k = child;
	}
	s->moments[k] = m;
}

bool sim_next(struct sim *s, struct sim_moment *ret_moment, int64_t until_us)
{
	if (s->n_moments == 0 || s->moments[0].time_us > until_us)
		return false;
	*ret_moment = s->moments[0];
	s->n_moments--;
	if (s->n_moments)
		sink(s);
	return true;
}

void sim_log(struct sim *s, const char *format, ...)
{
	if (!s->log)
		return;
	va_list args;
	va_start(args, format);
	fprintf(s->log, "%8.3f  ", (double)s->now_us / 1e6);
	vfprintf(s->log, format, args);
	fputc('\n', s->log);
	va_end(args);
}

void sim_fail(struct sim *s, const char *format, ...)
{
	if (s->failure[0])
		return; /* the first one is the cause */
	va_list args;
	va_start(args, format);
	vsnprintf(s->failure, sizeof(s->failure), format, args);
	va_end(args);
	sim_log(s, "BROKEN: %s", s->failure);
}
