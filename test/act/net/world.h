#pragma once
/*
 * The world of koboshi-net's tests with the program in it: three guests that serve, orders that must succeed, and the questions
 * that every test asks (who is reached, which gate). The small world below it is lab.h's.
 */
#include "lab.h"

#define SERVICE4 "203.0.113.10"
#define SERVICE6 "2001:db8:10::10"
#define SOON 2000 /* a wait for what should come */
#define QUIET 150 /* a wait for what should not */

extern const char *world_program; /* what is started; world_begin() says it before the first world */

/* First of all in main(): argv[1] is the program. 0, or what main() is to return instead of testing anything. */
int world_begin(int argc, char **argv);
#define LAB_TEST(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

struct world {
	struct lab lab;
	int web[4], name[4]; /* by instance: TCP 80 and UDP 53 */
	struct conf_instance i[4];
	char address4[4][INET_ADDRSTRLEN], address6[4][INET6_ADDRSTRLEN], gateway4[INET_ADDRSTRLEN], gateway6[INET6_ADDRSTRLEN];
};

struct wire_answer fine(struct world *w, struct wire_order order);
void steer(struct world *w, uint32_t to, uint32_t victim);
void gate(struct world *w, uint32_t instance, enum wire_gate which);
void configure(struct world *w, const char *more); /* the program starts anew, with this beside its settings */
int world_setup(void **state);
int world_setup_hidden(void **state);
int world_teardown(void **state);
uint32_t reached(struct world *w, const char *to, int *ret_client, int *ret_server, char *ret_peer);
uint32_t reached_udp(struct world *w, const char *to);
void assert_passes(int from, int to);
void assert_target(struct world *w, uint32_t target);
enum wire_gate gate_of(struct world *w, uint32_t instance);
