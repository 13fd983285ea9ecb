/* See suspects.h. */
#include "sense/suspects.h"

#include <string.h>

#define CUT_LEAST_S 600
#define CUT_MOST_S 86400

static void moment_put(struct suspects_moment *moment, const struct nflog_address *who, size_t n, int64_t now_us)
{
	moment->time_us = now_us;
	moment->n = n < CALLERS_MAX ? n : CALLERS_MAX;
	memcpy(moment->who, who, moment->n * sizeof(*who));
}

void suspects_calm(struct suspects *suspects, const struct nflog_address *who, size_t n, int64_t now_us)
{
	moment_put(&suspects->calm[suspects->n_calm++ % SUSPECTS_CALM_MAX], who, n, now_us);
}

void suspects_fall(struct suspects *suspects, const struct nflog_address *who, size_t n, int64_t now_us)
{
	moment_put(&suspects->falls[suspects->n_falls++ % SUSPECTS_FALLS_MAX], who, n, now_us);
}

static bool was_there(const struct suspects_moment *moment, const struct nflog_address *who)
{
	for (size_t i = 0; i < moment->n; i++)
		if (moment->who[i].ipv6 == who->ipv6 && memcmp(moment->who[i].bytes, who->bytes, sizeof(who->bytes)) == 0)
			return true;
	return false;
}

static size_t held(uint32_t ever, size_t max)
{
	return ever < max ? ever : max;
}

/* Counts one; false: it is not suspected. */
static bool judge(const struct suspects *suspects, const struct nflog_address *who, int64_t since_us, struct suspect *ret)
{
	*ret = (struct suspect){.who = *who, .of_calm = (uint32_t)held(suspects->n_calm, SUSPECTS_CALM_MAX)};
	for (size_t i = 0; i < held(suspects->n_falls, SUSPECTS_FALLS_MAX); i++) {
		if (suspects->falls[i].time_us < since_us)
			continue;
		ret->of_falls++;
		ret->falls += was_there(&suspects->falls[i], who);
	}
	for (size_t i = 0; i < ret->of_calm; i++)
		ret->calm += was_there(&suspects->calm[i], who);
	return ret->falls >= SUSPECTS_FALLS_ENOUGH && ret->of_calm >= SUSPECTS_CALM_LEAST && 2 * ret->calm < ret->of_calm;
}

static bool worse(const struct suspect *a, const struct suspect *b)
{
	return a->falls != b->falls ? a->falls > b->falls : a->calm < b->calm;
}

/* Into its place among the worst, if there is one for it. */
static size_t rank(struct suspect *list, size_t n, const struct suspect *one)
{
	size_t at = n;
	while (at > 0 && worse(one, &list[at - 1]))
		at--;
	if (at == SUSPECTS_MAX)
		return n;
	n += n < SUSPECTS_MAX;
	memmove(&list[at + 1], &list[at], (n - 1 - at) * sizeof(*list));
	list[at] = *one;
	return n;
}

/* Each that was at any fall is asked about once. */
size_t suspects_name(const struct suspects *suspects, int64_t within_us, int64_t now_us,
                     struct suspect ret_suspects[static SUSPECTS_MAX])
{
	size_t n = 0, falls = held(suspects->n_falls, SUSPECTS_FALLS_MAX);
	int64_t since_us = now_us - within_us;
	for (size_t i = 0; i < falls; i++)
		for (size_t k = 0; k < suspects->falls[i].n; k++) {
			const struct nflog_address *who = &suspects->falls[i].who[k];
			struct suspect one;
			bool asked = false;
			for (size_t before = 0; before < i && !asked; before++)
				asked = was_there(&suspects->falls[before], who);
			if (!asked && judge(suspects, who, since_us, &one))
				n = rank(ret_suspects, n, &one);
		}
	return n;
}

int64_t suspects_cut_s(uint32_t before)
{
	int64_t cut_s = CUT_LEAST_S;
	for (; before > 0 && cut_s < CUT_MOST_S; before--)
		cut_s *= 2;
	return cut_s < CUT_MOST_S ? cut_s : CUT_MOST_S;
}
