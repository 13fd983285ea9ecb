/*
 * The ladder: what is done about an instance that fell, the gentlest first.
 *
 *   restart   its agent restarts the service inside
 *   reboot    the hypervisor lets the guest boot anew from its verified image
 *   rebuild   it is destroyed, another one is built of what suits best
 *   replace   the same, and what it was made of is suspect: of another variant, as long as one can be had
 *
 * A compromise begins at the last one. So does whoever was mended twice lately: a fault that comes back is none of chance, and
 * whoever can make a service fall again and again shall meet other software. What else fell begins as low as its finding allows.
 *
 * It is remembered by kind of finding what helped: the rung that did when a lower one did not comes first, and one that mostly
 * did not help is passed over. Not for ever, or one bad day would decide: after PASSED_MAX times its tries are forgotten.
 *
 * Mending delays nothing: the service was steered away before, and a spare is awake meanwhile. Nor does it lower any bar: whoever
 * comes back was kept from clients by its gate all the while, and proved itself as a new guest does.
 */
#include "plan/inside.h"

#define TRIES_FEW 3u /* say nothing yet */
#define TRIES_LAST 8u
#define PASSED_MAX 8u

/* The lowest rung for what may be chance; what is not named here begins with a new guest. */
static const enum plan_rung lowest[FINDING_MAX_] = {
        [FINDING_TIMEOUT] = PLAN_RUNG_RESTART,    [FINDING_SLOW] = PLAN_RUNG_RESTART,
        [FINDING_ERROR] = PLAN_RUNG_RESTART,      [FINDING_UNREACHABLE] = PLAN_RUNG_RESTART,
        [FINDING_UNANSWERED] = PLAN_RUNG_RESTART, [FINDING_REFUSED] = PLAN_RUNG_RESTART,
        [FINDING_SILENT] = PLAN_RUNG_RESTART,     [FINDING_PANICKED] = PLAN_RUNG_REBOOT,
        [FINDING_PAUSED] = PLAN_RUNG_REBOOT, /* how a panic is told first */
        [FINDING_WATCHDOG] = PLAN_RUNG_REBOOT,    [FINDING_WRONG_CLOCK] = PLAN_RUNG_REBOOT,
        [FINDING_RESET] = PLAN_RUNG_REBOOT, /* its agent lost its key: only who was let boot anew gets another one */
};

static bool suits(enum finding cause, enum plan_rung rung)
{
	return lowest[cause] != PLAN_RUNG_NONE && rung >= lowest[cause];
}

static struct plan_tries *tries_of(struct plan *p, enum finding cause, enum plan_rung rung)
{
	assert(rung >= PLAN_RUNG_RESTART && rung < PLAN_RUNG_RESTART + PLAN_RUNGS_MENDING);
	return &p->tries[cause][rung - PLAN_RUNG_RESTART];
}

static bool mostly_fails(const struct plan_tries *tries)
{
	uint32_t n = tries->tried < TRIES_LAST ? tries->tried : TRIES_LAST;
	uint32_t worked = (uint32_t)__builtin_popcount(tries->last & ((1u << n) - 1));
	return n >= TRIES_FEW && 2 * worked < n;
}

static bool failed_last(const struct plan_tries *tries)
{
	return tries->tried && !(tries->last & 1);
}

/* Did a higher one help when this one did not? */
static bool is_outdone(struct plan *p, enum finding cause, enum plan_rung rung)
{
	for (enum plan_rung higher = rung + 1; higher < PLAN_RUNG_REBUILD; higher++) {
		const struct plan_tries *tries = tries_of(p, cause, higher);
		if (suits(cause, higher) && (p->config.ladder >> higher & 1) && (tries->last & 1) &&
		    failed_last(tries_of(p, cause, rung)))
			return true;
	}
	return false;
}

static bool is_passed_over(struct plan_turn *t, enum finding cause, enum plan_rung rung)
{
	struct plan_tries *tries = tries_of(t->p, cause, rung);
	if (!mostly_fails(tries) && !is_outdone(t->p, cause, rung))
		return false;
	t->update->tries_changed = true;
	if (tries->passed++ < PASSED_MAX)
		return true;
	*tries = (struct plan_tries){0};
	return false;
}

static enum plan_rung next_above(struct plan_turn *t, enum finding cause, enum plan_rung rung)
{
	while (++rung < PLAN_RUNG_REBUILD)
		if ((t->p->config.ladder >> rung & 1) && suits(cause, rung) && !is_passed_over(t, cause, rung))
			return rung;
	return PLAN_RUNG_NONE;
}

/* Somebody at work inside would be seen by these. A service that hangs makes its guest busy, and its agent, to whom the kernel
 * still opens connections, contradict the path: those two say nothing. */
static bool looks_strange(const struct plan_instance *i, int64_t now_us)
{
	for (enum finding f = FINDING_WEAK_FIRST; f < FINDING_MAX_; f++)
		if (f != FINDING_BUSY && f != FINDING_CONTRADICTED && plan_weak_points(&i->window, f, now_us))
			return true;
	return false;
}

bool ladder_is_exhausted(const struct plan_instance *i, int64_t now_us)
{
	for (size_t k = 0; k < PLAN_MENDED_MAX; k++)
		if (i->mended_us[k] == 0 || now_us - i->mended_us[k] > PLAN_MENDED_WITHIN_US)
			return false;
	return true;
}

/* Without an incident nobody would ever read what became of it. */
void ladder_begin(struct plan_turn *t, struct plan_instance *i)
{
	i->rung = PLAN_RUNG_NONE;
	i->cause = i->window.worst;
	if (i->verdict == PLAN_FAILED && i->incident && i->life == PLAN_LIFE_READY && !looks_strange(i, t->now_us) &&
	    !ladder_is_exhausted(i, t->now_us))
		i->rung = next_above(t, i->cause, PLAN_RUNG_NONE);
}

void ladder_tried(struct plan_turn *t, const struct plan_instance *i, bool worked)
{
	struct plan_tries *tries = tries_of(t->p, i->cause, i->rung);
	if (tries->tried < UINT32_MAX)
		tries->tried++;
	tries->worked += worked && tries->worked < UINT32_MAX;
	tries->last = (tries->last << 1 | worked) & ((1u << TRIES_LAST) - 1);
	tries->passed = 0;
	t->update->tries_changed = true;
}

/* Where nothing is known yet: as if it had helped here, and the gentler ones had not. */
void ladder_heard(struct plan_turn *t, enum finding cause, enum plan_rung rung)
{
	if (rung < PLAN_RUNG_RESTART || rung >= PLAN_RUNG_REBUILD || !suits(cause, rung))
		return;
	for (enum plan_rung r = PLAN_RUNG_RESTART; r <= rung; r++)
		if (tries_of(t->p, cause, r)->tried)
			return;
	for (enum plan_rung r = PLAN_RUNG_RESTART; r <= rung; r++)
		if (suits(cause, r))
			*tries_of(t->p, cause, r) = (struct plan_tries){.tried = 1, .worked = r == rung, .last = r == rung};
	t->update->tries_changed = true;
}

bool ladder_goes_on(struct plan_turn *t, struct plan_instance *i)
{
	if (i->window.fell_at_once) /* something graver befell it meanwhile */
		i->cause = i->window.worst;
	i->rung = next_above(t, i->cause, i->rung);
	return i->rung != PLAN_RUNG_NONE;
}
