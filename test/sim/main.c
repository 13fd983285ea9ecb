/*
 * sim [--runs N] [--seed N] [--verbose]: random runs of the plan in a world that goes wrong (sim.h). Each run is made of its
 * seed alone; a broken rule prints the seed, and `sim --seed N --verbose` tells that run's story.
 *
 * sim --every-step [--playbook NAME [--kill KILL]]: each playbook, killed at every point (every.c); KILL is what a broken one
 * was called, and its story is told.
 */
#include "sim.h"

#include <getopt.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const struct option table[] = {{"runs", required_argument, NULL, 'r'},
	                                      {"seed", required_argument, NULL, 's'},
	                                      {"verbose", no_argument, NULL, 'v'},
	                                      {"every-step", no_argument, NULL, 'e'},
	                                      {"playbook", required_argument, NULL, 'p'},
	                                      {"kill", required_argument, NULL, 'k'},
	                                      {0}};
	static struct sim s;
	uint64_t first = 1, runs = 1, failures = 0;
	bool verbose = false, every = false;
	const char *playbook = NULL, *kill = NULL;
	for (int c; (c = getopt_long(argc, argv, "r:s:vep:k:", table, NULL)) != -1;) {
		if (c == 'r')
			runs = strtoull(optarg, NULL, 10);
		else if (c == 's')
			first = strtoull(optarg, NULL, 10);
		else if (c == 'v')
			verbose = true;
		else if (c == 'e')
			every = true;
		else if (c == 'p')
			playbook = optarg;
		else if (c == 'k')
			kill = optarg;
		else
			return 2;
	}
	if (every)
		return every_step(playbook, kill);
	double began = seconds();
	unsigned long long steps = 0, orders = 0, faults = 0, crashes = 0, steers = 0;
	for (uint64_t seed = first; seed < first + runs && failures < 10; seed++) {
		sim_random_run(&s, seed, verbose ? stdout : NULL);
		steps += s.n_steps, orders += s.n_orders, faults += s.n_faults, crashes += s.n_crashes, steers += s.n_steers;
		if (!s.failure[0])
			continue;
		failures++;
		printf("seed %llu, at %.3f s: %s\n", (unsigned long long)seed, (double)s.now_us / 1e6, s.failure);
	}
	double took = seconds() - began;
	printf("%llu runs in %.1f s (%.0f/s): %llu steps, %llu orders, %llu steers, %llu faults, %llu crashes, %llu broken\n",
	       (unsigned long long)runs, took, (double)runs / took, steps, orders, steers, faults, crashes,
	       (unsigned long long)failures);
	return failures ? 1 : 0;
}
