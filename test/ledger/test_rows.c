/* Every call of the ledger, each followed by closing and opening again where a fact must have stayed. */
#include "one.h"
#include "lib/bytes.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void reopen(void)
{
	ledger_close(ledger);
	ledger = folder_open(&folder, false);
}

static void test_numbers_rise_for_ever(unused_arg void **state)
{
	uint32_t number;
	for (uint32_t i = 1; i <= 5; i++) {
		MUST(ledger_instance_number(ledger, &number, &err));
		assert_int_equal(number, i);
		if (i == 3)
			reopen();
	}
	MUST(ledger_instance_floor(ledger, 3, &err));
	MUST(ledger_instance_number(ledger, &number, &err));
	assert_int_equal(number, 6);
	MUST(ledger_instance_floor(ledger, 100, &err));
	MUST(ledger_instance_floor(ledger, 0, &err));
	reopen();
	MUST(ledger_instance_number(ledger, &number, &err));
	assert_int_equal(number, 100);
	MUST(ledger_instance_floor(ledger, UINT32_MAX, &err));
	MUST(ledger_instance_number(ledger, &number, &err));
	assert_int_equal(number, UINT32_MAX);
	assert_int_equal(ledger_instance_number(ledger, &number, &err), -EOVERFLOW);
}

/* Between begin and commit a number is the caller's only with the commit: a rollback gives it to the next. */
static void test_a_number_in_a_batch(unused_arg void **state)
{
	uint32_t number;
	MUST(ledger_begin(ledger, &err));
	MUST(ledger_instance_number(ledger, &number, &err));
	ledger_rollback(ledger);
	MUST(ledger_begin(ledger, &err));
	MUST(ledger_instance_number(ledger, &number, &err));
	MUST(ledger_commit(ledger, &err));
	assert_int_equal(number, 1);
	MUST(ledger_instance_number(ledger, &number, &err));
	assert_int_equal(number, 2);
}

struct list {
	unsigned count, stop_after;
	char text[512]; /* what was seen, in order */
};

static int add_item(struct list *list, const char *format, ...) printf_like(2, 3);
static int add_item(struct list *list, const char *format, ...)
{
	va_list args;
	size_t length = strlen(list->text);
	va_start(args, format);
	vsnprintf(list->text + length, sizeof(list->text) - length, format, args);
	va_end(args);
	return ++list->count == list->stop_after;
}

static int see_instance(void *arg, const struct ledger_instance *row)
{
	return add_item(arg, "%u %s %s %s %s %s %lld %lld %lld %llu;", row->number, row->service, row->variant, row->role,
	                row->state, row->components, (long long)row->created_us, (long long)row->exposed_us,
	                (long long)row->ended_us, (unsigned long long)row->incident);
}

static void test_instances(unused_arg void **state)
{
	struct ledger_instance row = {.service = "web",
	                              .variant = "birch",
	                              .role = "active",
	                              .state = "ready",
	                              .components = "kernel linux 6; server nginx 1",
	                              .created_us = 10,
	                              .exposed_us = 20};
	for (row.number = 1; row.number <= 4; row.number++)
		MUST(ledger_instance_put(ledger, &row, &err));
	row.number = 3;
	strcpy(row.role, "none");
	strcpy(row.state, "ended");
	row.ended_us = 50;
	row.incident = 7;
	MUST(ledger_instance_put(ledger, &row, &err));
	row.number = 1;
	row.ended_us = 60;
	MUST(ledger_instance_put(ledger, &row, &err));
	reopen();
	static const char living[] = "2 web birch active ready kernel linux 6; server nginx 1 10 20 0 0;"
	                             "4 web birch active ready kernel linux 6; server nginx 1 10 20 0 0;";
	static const char first_ended[] = "1 web birch none ended kernel linux 6; server nginx 1 10 20 60 7;";
	struct list all = {0}, one = {0}, none = {0}, stopped = {.stop_after = 1};
	MUST(ledger_instance_each(ledger, 10, see_instance, &all, &err));
	assert_int_equal(all.count, 4);
	assert_int_equal(strncmp(all.text, living, strlen(living)), 0);
	assert_int_equal(strncmp(all.text + strlen(living), first_ended, strlen(first_ended)), 0);
	MUST(ledger_instance_each(ledger, 1, see_instance, &one, &err));
	assert_int_equal(one.count, 3);
	MUST(ledger_instance_each(ledger, 0, see_instance, &none, &err));
	assert_string_equal(none.text, living);
	assert_int_equal(ledger_instance_each(ledger, 10, see_instance, &stopped, &err), 0);
	assert_int_equal(stopped.count, 1);
	row.number = 0;
	assert_int_equal(ledger_instance_put(ledger, &row, &err), -EINVAL);
}

static void test_the_longest_texts(unused_arg void **state)
{
	struct ledger_incident row = {.number = 9, .verdict = "compromised123", .phase = "absorb"}, got;
	memset(row.cause, 'c', sizeof(row.cause) - 1);
	memset(row.outcome, 'o', sizeof(row.outcome) - 1);
	memset(row.service, 's', sizeof(row.service) - 1);
	memset(row.shared, 'h', sizeof(row.shared) - 1);
	memset(row.boot_id, 'b', sizeof(row.boot_id) - 1);
	memset(row.victim_variant, 'v', sizeof(row.victim_variant) - 1);
	memset(row.active_variant, 'a', sizeof(row.active_variant) - 1);
	MUST(ledger_incident_put(ledger, &row, &err));
	MUST(ledger_incident_get(ledger, row.number, &got, &err));
	assert_memory_equal(&got, &row, sizeof(row)); /* both were zero behind the texts' ends */
}

static int see_incident(void *arg, const struct ledger_incident *row)
{
	return add_item(arg, "%llu %s;", (unsigned long long)row->number, row->phase);
}

static uint64_t incident_new(const char *phase, int64_t closed_us)
{
	struct ledger_incident row = {.service = "web", .victim = 3, .verdict = "failed", .opened_us = 5, .closed_us = closed_us};
	strcpy(row.phase, phase);
	MUST(ledger_incident_last(ledger, &row.number, &err));
	row.number++;
	MUST(ledger_incident_put(ledger, &row, &err));
	return row.number;
}

/* Each field has a value of its own, so that two columns that changed places show. */
static void test_every_field_of_an_incident(unused_arg void **state)
{
	struct ledger_incident got, row = {.number = 4,
	                                   .service = "web",
	                                   .victim = 11,
	                                   .active_before = 12,
	                                   .active_after = 13,
	                                   .victim_variant = "amber",
	                                   .active_variant = "birch",
	                                   .verdict = "failed",
	                                   .phase = "absorb",
	                                   .cause = "refused a new connection",
	                                   .shared = "libc",
	                                   .opened_us = 21,
	                                   .closed_us = 22,
	                                   .first_evidence_us = 31,
	                                   .verdict_us = 32,
	                                   .steered_us = 33,
	                                   .standby_us = 34,
	                                   .spare_us = 35,
	                                   .boot_id = "9c5e1e5a",
	                                   .outcome = "stood up again"};
	MUST(ledger_incident_put(ledger, &row, &err));
	MUST(ledger_incident_get(ledger, 4, &got, &err));
	assert_memory_equal(&got, &row, sizeof(row));
	row = (struct ledger_incident){.number = 4,
	                               .service = "dns",
	                               .victim = 41,
	                               .active_before = 42,
	                               .active_after = 43,
	                               .victim_variant = "cedar",
	                               .active_variant = "amber",
	                               .verdict = "planned",
	                               .phase = "closed",
	                               .cause = "asked for",
	                               .shared = "kernel",
	                               .opened_us = 51,
	                               .closed_us = 52,
	                               .first_evidence_us = 61,
	                               .verdict_us = 62,
	                               .steered_us = 63,
	                               .standby_us = 64,
	                               .spare_us = 65,
	                               .boot_id = "0d11",
	                               .outcome = "switched"};
	MUST(ledger_incident_put(ledger, &row, &err));
	reopen();
	MUST(ledger_incident_get(ledger, 4, &got, &err));
	assert_memory_equal(&got, &row, sizeof(row));
}

static void test_incidents(unused_arg void **state)
{
	struct ledger_incident row;
	uint64_t last = 99;
	MUST(ledger_incident_last(ledger, &last, &err));
	assert_int_equal(last, 0);
	assert_int_equal(incident_new("absorb", 0), 1);
	assert_int_equal(incident_new("absorb", 0), 2);
	MUST(ledger_incident_get(ledger, 1, &row, &err));
	strcpy(row.phase, "closed");
	row.closed_us = 9;
	MUST(ledger_incident_put(ledger, &row, &err));
	reopen();
	struct list list = {0}, one = {0};
	MUST(ledger_incident_each(ledger, 10, see_incident, &list, &err));
	assert_string_equal(list.text, "2 absorb;1 closed;");
	MUST(ledger_incident_each(ledger, 1, see_incident, &one, &err));
	assert_string_equal(one.text, "2 absorb;");
	assert_int_equal(ledger_incident_get(ledger, 3, &row, &err), -ENOENT);
	row.number = 0;
	assert_int_equal(ledger_incident_put(ledger, &row, &err), -EINVAL);
}

static int see_step(void *arg, const struct ledger_step *row)
{
	return add_item(arg, "%llu %lld %lld %s %s %s;", (unsigned long long)row->incident, (long long)row->time_us,
	                (long long)row->since_us, row->phase, row->step, row->text);
}

static void test_steps(unused_arg void **state)
{
	struct ledger_step row = {.incident = 1, .time_us = 9, .phase = "absorb", .step = "detected", .text = "refused"};
	struct list list = {0}, other = {0};
	assert_int_equal(ledger_step_add(ledger, &row, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no incident 1"));
	incident_new("absorb", 0);
	incident_new("absorb", 0);
	MUST(ledger_step_add(ledger, &row, &err));
	row.time_us = 3; /* the clock was set back: the order stays the order of writing */
	row.since_us = 800;
	strcpy(row.step, "steered");
	MUST(ledger_step_add(ledger, &row, &err));
	reopen();
	MUST(ledger_step_each(ledger, 1, see_step, &list, &err));
	assert_string_equal(list.text, "1 9 0 absorb detected refused;1 3 800 absorb steered refused;");
	MUST(ledger_step_each(ledger, 2, see_step, &other, &err));
	assert_int_equal(other.count, 0);
}

/* An update of the incident must not take its steps away. */
static void test_steps_stay_with_an_updated_incident(unused_arg void **state)
{
	struct ledger_incident row;
	struct ledger_step step = {.incident = 1, .phase = "absorb", .step = "detected"};
	struct list list = {0};
	incident_new("absorb", 0);
	MUST(ledger_step_add(ledger, &step, &err));
	MUST(ledger_incident_get(ledger, 1, &row, &err));
	strcpy(row.phase, "recover");
	MUST(ledger_incident_put(ledger, &row, &err));
	MUST(ledger_step_each(ledger, 1, see_step, &list, &err));
	assert_int_equal(list.count, 1);
}

static void test_steps_are_bounded(unused_arg void **state)
{
	struct ledger_step row = {.incident = 1, .phase = "absorb", .step = "detected"};
	incident_new("absorb", 0);
	MUST(ledger_begin(ledger, &err));
	for (unsigned i = 0; i < LEDGER_STEPS_MAX; i++)
		MUST(ledger_step_add(ledger, &row, &err));
	assert_int_equal(ledger_step_add(ledger, &row, &err), -E2BIG);
	MUST(ledger_commit(ledger, &err));
}

static void test_prune(unused_arg void **state)
{
	struct ledger_step step = {.phase = "absorb", .step = "detected"};
	for (unsigned i = 0; i < 6; i++) {
		step.incident = incident_new(i == 1 ? "recover" : "closed", i == 1 ? 0 : 7);
		MUST(ledger_step_add(ledger, &step, &err));
	}
	MUST(ledger_incident_prune(ledger, 2, &err));
	reopen();
	struct list list = {0}, gone = {0}, kept = {0};
	MUST(ledger_incident_each(ledger, 10, see_incident, &list, &err));
	assert_string_equal(list.text, "6 closed;5 closed;2 recover;");
	MUST(ledger_step_each(ledger, 4, see_step, &gone, &err));
	MUST(ledger_step_each(ledger, 5, see_step, &kept, &err));
	assert_int_equal(gone.count, 0);
	assert_int_equal(kept.count, 1);
	MUST(ledger_incident_prune(ledger, 0, &err));
	reopen();
	assert_int_equal(incident_new("absorb", 0), 7); /* a pruned number does not come back */
	MUST(ledger_begin(ledger, &err));
	MUST(ledger_incident_prune(ledger, 0, &err));
	MUST(ledger_commit(ledger, &err));
}

static int see_intent(void *arg, const struct ledger_intent *row)
{
	return add_item(arg, "%llu %s %u %u %u %llu %d %s;", (unsigned long long)row->number, row->order, row->service,
	                row->instance, row->variant, (unsigned long long)row->incident, row->status, row->text);
}

static void test_ended_rows_are_bounded(unused_arg void **state)
{
	struct ledger_instance instance = {.ended_us = 5};
	struct ledger_intent intent = {.order = "vm-destroy"};
	struct list list = {.stop_after = UINT32_MAX}, open = {0};
	MUST(ledger_begin(ledger, &err));
	for (instance.number = 1; instance.number <= LEDGER_ENDED_KEPT + 10; instance.number++) {
		MUST(ledger_instance_put(ledger, &instance, &err));
		MUST(ledger_intent_begin(ledger, &intent, &err));
		if (instance.number != 4)
			MUST(ledger_intent_end(ledger, intent.number, 0, "", &err));
	}
	MUST(ledger_commit(ledger, &err));
	MUST(ledger_incident_prune(ledger, 0, &err));
	MUST(ledger_instance_each(ledger, UINT32_MAX, see_instance, &list, &err));
	assert_int_equal(list.count, LEDGER_ENDED_KEPT);
	assert_int_equal(atoi(list.text), LEDGER_ENDED_KEPT + 10);
	MUST(ledger_intent_each_open(ledger, see_intent, &open, &err));
	assert_string_equal(open.text, "4 vm-destroy 0 0 0 0 0 ;"); /* open ones are never pruned */
}

static void test_intents(unused_arg void **state)
{
	struct ledger_intent a = {.order = "vm-destroy", .service = 1, .instance = 2, .variant = 3, .incident = 4, .text = "why"};
	struct ledger_intent b = {.order = "vm-create"};
	int64_t before = clock_real_us();
	MUST(ledger_intent_begin(ledger, &a, &err));
	MUST(ledger_intent_begin(ledger, &b, &err));
	assert_int_equal(a.number, 1);
	assert_int_equal(b.number, 2);
	assert_true(a.begun_us >= before && a.begun_us <= b.begun_us);
	reopen();
	struct list both = {0}, one = {0}, none = {0};
	MUST(ledger_intent_each_open(ledger, see_intent, &both, &err));
	assert_string_equal(both.text, "1 vm-destroy 1 2 3 4 0 why;2 vm-create 0 0 0 0 0 ;");
	MUST(ledger_intent_end(ledger, 1, -ENOENT, "was gone", &err));
	assert_int_equal(ledger_intent_end(ledger, 1, 0, "", &err), -ENOENT);
	assert_int_equal(ledger_intent_end(ledger, 9, 0, "", &err), -ENOENT);
	reopen();
	MUST(ledger_intent_each_open(ledger, see_intent, &one, &err));
	assert_string_equal(one.text, "2 vm-create 0 0 0 0 0 ;");
	char endless[2000];
	memset(endless, 'x', sizeof(endless));
	endless[sizeof(endless) - 1] = '\0';
	MUST(ledger_intent_end(ledger, 2, 0, endless, &err));
	MUST(ledger_intent_each_open(ledger, see_intent, &none, &err));
	assert_int_equal(none.count, 0);
}

static int see_suspicion(void *arg, const struct ledger_suspicion *row)
{
	return add_item(arg, "%s %.3f %lld %llu;", row->component, row->value, (long long)row->since_us,
	                (unsigned long long)row->incident);
}

struct containments {
	struct ledger_containment rows[8];
	size_t n;
};

static int see_containment(void *arg, const struct ledger_containment *row)
{
	struct containments *seen = arg;
	seen->rows[seen->n++] = *row;
	return 0;
}

static void test_containments(unused_arg void **state)
{
	struct ledger_containment row = {.number = 1,
	                                 .subject = "source 203.0.113.9/32",
	                                 .reason = "it guesses passwords",
	                                 .who = "operator",
	                                 .begun_us = 5,
	                                 .until_us = 9,
	                                 .state = "wanted"};
	struct containments seen = {0}, rest = {0};
	uint64_t last;
	MUST(ledger_containment_last(ledger, &last, &err));
	assert_int_equal(last, 0);
	for (row.number = 1; row.number <= 3; row.number++)
		MUST(ledger_containment_put(ledger, &row, &err));
	row.number = 2;
	row.ended_us = 7;
	snprintf(row.state, sizeof(row.state), "ended");
	snprintf(row.proof, sizeof(row.proof), "203.0.113.9/32 is cut no more");
	MUST(ledger_containment_put(ledger, &row, &err));
	MUST(ledger_containment_each(ledger, 10, see_containment, &seen, &err));
	assert_int_equal(seen.n, 3); /* who lives comes first */
	assert_int_equal(seen.rows[0].number, 1);
	assert_int_equal(seen.rows[1].number, 3);
	assert_memory_equal(&seen.rows[2], &row, sizeof(row));
	MUST(ledger_containment_each(ledger, 0, see_containment, &rest, &err));
	assert_int_equal(rest.n, 2);
	MUST(ledger_containment_last(ledger, &last, &err));
	assert_int_equal(last, 3);
}

static int see_evidence(void *arg, const struct ledger_evidence *row)
{
	return add_item(arg, "%llu %s %lld %lld%s;", (unsigned long long)row->incident, row->file, (long long)row->taken_us,
	                (long long)row->dropped_us, row->open ? " open" : "");
}

static int copy_evidence(void *arg, const struct ledger_evidence *row)
{
	*(struct ledger_evidence *)arg = *row;
	return 1;
}

static void evidence_new(uint64_t incident, const char *file, int64_t taken_us)
{
	struct ledger_evidence row = {.incident = incident, .instance = 4, .bytes = 1, .taken_us = taken_us};
	text_copy(row.file, sizeof(row.file), file);
	MUST(ledger_evidence_put(ledger, &row, &err));
}

static void test_evidence(unused_arg void **state)
{
	struct ledger_evidence row = {.incident = 2, .instance = 11, .bytes = 1ull << 40, .taken_us = 21}, got = {0};
	struct list all = {0}, two = {0}, one = {0}, again = {0};
	memset(row.file, 'f', sizeof(row.file) - 1);
	memset(row.sha256, 'a', sizeof(row.sha256) - 1);
	MUST(ledger_evidence_put(ledger, &row, &err));
	reopen();
	MUST(ledger_evidence_each(ledger, 0, 9, copy_evidence, &got, &err));
	assert_memory_equal(&got, &row, sizeof(row));
	incident_new("closed", 9);
	incident_new("closed", 9);
	incident_new("absorb", 0);
	evidence_new(1, "kb-4.flows", 5);
	evidence_new(3, "kb-4.flows", 6);
	evidence_new(3, "kb-4.memory", 7);
	MUST(ledger_evidence_each(ledger, 3, 9, see_evidence, &all, &err));
	assert_string_equal(all.text, "3 kb-4.memory 7 0 open;3 kb-4.flows 6 0 open;");
	MUST(ledger_evidence_each(ledger, 0, 2, see_evidence, &two, &err));
	assert_string_equal(two.text, all.text);
	/* once more, because the first try was interrupted */
	evidence_new(3, "kb-4.flows", 8);
	MUST(ledger_evidence_each(ledger, 3, 9, see_evidence, &again, &err));
	assert_string_equal(again.text, "3 kb-4.flows 8 0 open;3 kb-4.memory 7 0 open;");
	MUST(ledger_evidence_each(ledger, 1, 9, see_evidence, &one, &err));
	assert_string_equal(one.text, "1 kb-4.flows 5 0;");
	row.incident = 0;
	assert_int_equal(ledger_evidence_put(ledger, &row, &err), -EINVAL);
}

/* Whoever dropped the second had dropped the first before, even if nobody heard of it. */
static void test_evidence_is_dropped_from_the_oldest_on(unused_arg void **state)
{
	struct list list = {0}, later = {0};
	for (uint64_t incident = 1; incident <= 3; incident++)
		evidence_new(incident, "kb-4.flows", 5);
	MUST(ledger_evidence_dropped(ledger, 2, 77, &err));
	reopen();
	MUST(ledger_evidence_each(ledger, 0, 9, see_evidence, &list, &err));
	assert_string_equal(list.text, "3 kb-4.flows 5 0;2 kb-4.flows 5 77;1 kb-4.flows 5 77;");
	MUST(ledger_evidence_dropped(ledger, 3, 88, &err));
	MUST(ledger_evidence_each(ledger, 0, 9, see_evidence, &later, &err));
	assert_string_equal(later.text, "3 kb-4.flows 5 88;2 kb-4.flows 5 77;1 kb-4.flows 5 77;");
}

static void test_dropped_evidence_is_bounded(unused_arg void **state)
{
	struct list list = {.stop_after = UINT32_MAX};
	MUST(ledger_begin(ledger, &err));
	for (uint64_t incident = 1; incident <= LEDGER_EVIDENCE_KEPT + 10; incident++)
		evidence_new(incident, "kb-4.flows", 5);
	MUST(ledger_evidence_dropped(ledger, LEDGER_EVIDENCE_KEPT + 8, 77, &err));
	MUST(ledger_commit(ledger, &err));
	MUST(ledger_evidence_each(ledger, 0, UINT32_MAX, see_evidence, &list, &err));
	assert_int_equal(list.count, LEDGER_EVIDENCE_KEPT + 2); /* what is there is never pruned */
	assert_int_equal(atoi(list.text), LEDGER_EVIDENCE_KEPT + 10);
}

static void test_suspicions(unused_arg void **state)
{
	struct ledger_suspicion row = {.component = "server nginx 1.22", .value = 1.5, .since_us = 7, .incident = 3};
	struct list list = {0}, rest = {0};
	MUST(ledger_suspicion_put(ledger, &row, &err));
	row.value = 2.25;
	MUST(ledger_suspicion_put(ledger, &row, &err));
	strcpy(row.component, "kernel linux 6");
	MUST(ledger_suspicion_put(ledger, &row, &err));
	reopen();
	MUST(ledger_suspicion_each(ledger, see_suspicion, &list, &err));
	assert_string_equal(list.text, "kernel linux 6 2.250 7 3;server nginx 1.22 2.250 7 3;");
	row.value = 0;
	MUST(ledger_suspicion_put(ledger, &row, &err));
	MUST(ledger_suspicion_put(ledger, &row, &err));
	MUST(ledger_suspicion_each(ledger, see_suspicion, &rest, &err));
	assert_string_equal(rest.text, "server nginx 1.22 2.250 7 3;");
	row.value = -1;
	assert_int_equal(ledger_suspicion_put(ledger, &row, &err), -EINVAL);
	row.value = NAN;
	assert_int_equal(ledger_suspicion_put(ledger, &row, &err), -EINVAL);
}

static void test_all_or_nothing(unused_arg void **state)
{
	struct list list = {0};
	struct ledger_instance wrong = {.number = 0};
	MUST(ledger_begin(ledger, &err));
	incident_new("absorb", 0);
	ledger_rollback(ledger);
	MUST(ledger_begin(ledger, &err));
	incident_new("recover", 0);
	assert_int_equal(ledger_instance_put(ledger, &wrong, &err), -EINVAL);
	incident_new("adapt", 0);
	assert_int_equal(ledger_commit(ledger, &err), -ECANCELED);
	MUST(ledger_begin(ledger, &err));
	incident_new("closed", 1);
	MUST(ledger_commit(ledger, &err));
	MUST(ledger_begin(ledger, &err));
	incident_new("absorb", 0);
	reopen();
	ledger_rollback(ledger);
	MUST(ledger_incident_each(ledger, 10, see_incident, &list, &err));
	assert_int_equal(list.count, 1);
	assert_non_null(strstr(list.text, "closed;"));
}

static void test_in_memory(unused_arg void **state)
{
	struct ledger *other;
	char because[LEDGER_TEXT_MAX] = "x";
	uint32_t number;
	MUST(ledger_open(":memory:", &other, because, &err));
	assert_string_equal(because, "");
	MUST(ledger_instance_number(other, &number, &err));
	assert_int_equal(number, 1);
	ledger_close(other);
	ledger_close(NULL);
}

static void test_only_the_owner_may_read_it(unused_arg void **state)
{
	struct stat status;
	assert_int_equal(stat(folder.path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
}

int main(void)
{
#define LEDGER_TEST(f) cmocka_unit_test_setup_teardown(f, one_open, one_close)
	const struct CMUnitTest tests[] = {
	        LEDGER_TEST(test_numbers_rise_for_ever),
	        LEDGER_TEST(test_a_number_in_a_batch),
	        LEDGER_TEST(test_instances),
	        LEDGER_TEST(test_the_longest_texts),
	        LEDGER_TEST(test_every_field_of_an_incident),
	        LEDGER_TEST(test_incidents),
	        LEDGER_TEST(test_steps),
	        LEDGER_TEST(test_steps_stay_with_an_updated_incident),
	        LEDGER_TEST(test_steps_are_bounded),
	        LEDGER_TEST(test_prune),
	        LEDGER_TEST(test_ended_rows_are_bounded),
	        LEDGER_TEST(test_intents),
	        LEDGER_TEST(test_suspicions),
	        LEDGER_TEST(test_containments),
	        LEDGER_TEST(test_evidence),
	        LEDGER_TEST(test_evidence_is_dropped_from_the_oldest_on),
	        LEDGER_TEST(test_dropped_evidence_is_bounded),
	        LEDGER_TEST(test_all_or_nothing),
	        LEDGER_TEST(test_in_memory),
	        LEDGER_TEST(test_only_the_owner_may_read_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
