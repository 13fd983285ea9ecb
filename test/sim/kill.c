/* A kill that is chosen beforehand: at one point of all that a run comes to, of whom, and what becomes of what is on its way. */
#include "sim.h"

const char *sim_point_name(enum sim_point point)
{
	static const char *const names[SIM_POINT_MAX_] = {"sent", "done", "writing", "written"};
	return names[point];
}

bool sim_takes_effect(struct sim *s, enum sim_hand hand)
{
	return s->kill.effect[hand] == SIM_EFFECT_CHANCE ? sim_chance(s, 5000) : s->kill.effect[hand] == SIM_EFFECT_ALL;
}

static void strike(struct sim *s, enum sim_point point)
{
	s->killed_at = point;
	for (size_t k = 0; k < SIM_FLIGHTS_MAX; k++)
		if (s->flights[k].used && !s->flights[k].executed)
			s->under_way[s->flights[k].hand]++;
	sim_log(s, "point %u (%s): killed", s->n_points, sim_point_name(point));
	for (unsigned hand = 0; hand < SIM_HAND_MAX_; hand++)
		if (s->kill.hand[hand])
			sim_kill_hand(s, (enum sim_hand)hand);
	s->dying = s->kill.engine;
}

void sim_point(struct sim *s, enum sim_point point)
{
	if (!s->dying && ++s->n_points == s->kill.at)
		strike(s, point);
}
