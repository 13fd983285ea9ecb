#pragma once
/* A prober, and the scripted server that it asks, in a loop of their own that stops when what a test awaits was told. */
#include "sense/sense.h"
#include "server.h"

struct stage {
	uv_loop_t loop;
	uv_timer_t patience;
	struct server server;
	struct sense_target target;
	struct sense_prober *prober;
	unsigned n_reports, stop_at, n_found[FINDING_MAX_];
	struct evidence last;
	char detail[300];
	bool free_at_report;
};

int stage_set_up(void **state);
int stage_tear_down(void **state);
#define STAGED(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)

/* From the next begin() on: no HTTP, but this. */
void ask_plainly(struct stage *stage, enum conf_probe_protocol protocol, const char *send, const char *expect);

/* Asks what is the target now, about nothing that was asked before. */
void begin(struct stage *stage);
void await(struct stage *stage, unsigned n_more);
void await_finding(struct stage *stage, enum finding finding); /* until it is told once more */
