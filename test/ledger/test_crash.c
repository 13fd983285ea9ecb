/*
 * Killed at any moment. A child writes at random and tells through a pipe what has returned 0; after some number of
 * reports it gets SIGKILL, and the parent looks: everything that was told is there, no number was given twice, batches
 * are whole. The next child goes on with the same ledger. What is not tried here is a power cut: for that there is only
 * SQLite's own record, and synchronous=FULL.
 */
#include "folder.h"
#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 200
#define REPORTS_MAX 60 /* of one round */
#define KINDS 32       /* incidents and instances that are written again and again */

enum told {
	TOLD_NUMBER,
	TOLD_INSTANCE,
	TOLD_INCIDENT,
	TOLD_STEP,
	TOLD_BEGUN,
	TOLD_ENDED,
	TOLD_BATCH,
	TOLD_PRUNED,
	TOLD_EVIDENCE
};

struct report {
	enum told told;
	uint64_t key, value;
};

/* What the reports add up to. The child has a copy, taken when it was forked, to choose from. */
static struct world {
	uint64_t random;
	uint32_t highest;          /* number given */
	uint64_t instances[KINDS]; /* version last written; 0: none yet */
	uint64_t incidents[KINDS];
	uint64_t steps[KINDS];
	uint64_t evidence[KINDS];
	uint64_t batch;
	uint64_t open[4096]; /* intents told begun and not told ended */
	unsigned n_open;
	uint64_t version; /* rises with every write */
} world;

static struct folder folder;
static struct err err;
static unsigned failures;

#define MUST(condition, ...)                                                                                                     \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			failures++;                                                                                              \
			fprintf(stderr, "line %d: %s: ", __LINE__, #condition);                                                  \
			fprintf(stderr, __VA_ARGS__);                                                                            \
			fputc('\n', stderr);                                                                                     \
		}                                                                                                                \
	} while (0)

static uint64_t choose(uint64_t below)
{
	world.random ^= world.random << 13;
	world.random ^= world.random >> 7;
	world.random ^= world.random << 17;
	return (world.random * 2685821657736338717u >> 11) % below;
}

/* ---- the child */

static int write_number(struct ledger *l, struct report *r)
{
	uint32_t number = 0;
	int e = ledger_instance_number(l, &number, &err);
	*r = (struct report){TOLD_NUMBER, number, 0};
	return e;
}

static int put_instance(struct ledger *l, uint64_t kind, uint64_t version)
{
	struct ledger_instance row = {.number = (uint32_t)kind + 1, .service = "web", .variant = "birch", .ended_us = kind & 1};
	snprintf(row.components, sizeof(row.components), "%" PRIu64, version);
	return ledger_instance_put(l, &row, &err);
}

static int write_instance(struct ledger *l, struct report *r)
{
	*r = (struct report){TOLD_INSTANCE, choose(KINDS), ++world.version};
	return put_instance(l, r->key, r->value);
}

static int put_incident(struct ledger *l, uint64_t kind, uint64_t version)
{
	struct ledger_incident row = {.number = kind + 1, .service = "web", .verdict = "failed", .phase = "absorb"};
	snprintf(row.outcome, sizeof(row.outcome), "%" PRIu64, version);
	memset(row.cause, 'c', choose(sizeof(row.cause)));
	return ledger_incident_put(l, &row, &err);
}

static int write_incident(struct ledger *l, struct report *r)
{
	*r = (struct report){TOLD_INCIDENT, choose(KINDS), ++world.version};
	return put_incident(l, r->key, r->value);
}

/* Steps of one incident count up. A step that was written and not told is in the ledger already: look first. */
static int count_step(void *arg, unused_arg const struct ledger_step *row)
{
	++*(uint64_t *)arg;
	return 0;
}

static int write_step(struct ledger *l, struct report *r)
{
	uint64_t kind = choose(KINDS), count = 0;
	struct ledger_step row = {.incident = kind + 1, .phase = "absorb", .step = "detected"};
	if (!world.incidents[kind])
		return write_incident(l, r);
	int e = ledger_step_each(l, row.incident, count_step, &count, &err);
	snprintf(row.text, sizeof(row.text), "%" PRIu64, count + 1);
	*r = (struct report){TOLD_STEP, kind, count + 1};
	if (count + 1 >= LEDGER_STEPS_MAX)
		return write_number(l, r);
	return e < 0 ? e : ledger_step_add(l, &row, &err);
}

static int write_begin(struct ledger *l, struct report *r)
{
	struct ledger_intent intent = {.order = "vm-destroy"};
	int e = ledger_intent_begin(l, &intent, &err);
	*r = (struct report){TOLD_BEGUN, intent.number, 0};
	return e;
}

static int write_end(struct ledger *l, struct report *r)
{
	if (world.n_open == 0)
		return write_begin(l, r);
	*r = (struct report){TOLD_ENDED, world.open[world.n_open - 1], 0};
	int e = ledger_intent_end(l, r->key, 0, "done", &err);
	return e == -ENOENT ? 0 : e; /* ended by the child before, which had no time to tell */
}

static int put_suspicion(struct ledger *l, const char *component, uint64_t value)
{
	struct ledger_suspicion row = {.value = (double)value};
	text_copy(row.component, sizeof(row.component), component);
	return ledger_suspicion_put(l, &row, &err);
}

/* Three rows that belong together; every eighth batch is given up. */
static int write_batch(struct ledger *l, struct report *r)
{
	uint64_t value = ++world.version;
	bool give_up = choose(8) == 0;
	*r = (struct report){TOLD_BATCH, 0, give_up ? 0 : value};
	int e = ledger_begin(l, &err);
	if (e == 0)
		e = put_suspicion(l, "a", value);
	if (e == 0)
		e = put_suspicion(l, "b", value);
	if (e == 0)
		e = put_suspicion(l, "c", value);
	if (e == 0 && !give_up)
		return ledger_commit(l, &err);
	ledger_rollback(l);
	return e;
}

static int write_prune(struct ledger *l, struct report *r)
{
	*r = (struct report){TOLD_PRUNED, 0, 0};
	return ledger_incident_prune(l, 3, &err);
}

/* A file that is taken again and again, another size each time. */
static int write_evidence(struct ledger *l, struct report *r)
{
	struct ledger_evidence row = {.instance = 7, .file = "kb-7.memory", .sha256 = "00", .taken_us = 5};
	*r = (struct report){TOLD_EVIDENCE, choose(KINDS), ++world.version};
	row.incident = r->key + 1;
	row.bytes = r->value;
	return ledger_evidence_put(l, &row, &err);
}

static void remember(const struct report *r);

static void child_run(int report_fd)
{
	static int (*const writers[])(struct ledger *, struct report *) = {
	        write_number, write_instance, write_incident, write_step,  write_step,
	        write_begin,  write_end,      write_batch,    write_prune, write_evidence,
	};
	struct ledger *l = folder_open(&folder, false);
	for (;;) {
		struct report report;
		if (writers[choose(countof(writers))](l, &report) < 0) {
			fprintf(stderr, "child: %s\n", err.text);
			_exit(1);
		}
		if (write(report_fd, &report, sizeof(report)) != sizeof(report))
			_exit(1);
		remember(&report);
	}
}

/* ---- the parent */

static void remember_open(uint64_t number)
{
	assert(world.n_open < countof(world.open));
	world.open[world.n_open++] = number;
}

static void remember_ended(uint64_t number)
{
	for (unsigned i = 0; i < world.n_open; i++)
		if (world.open[i] == number)
			world.open[i] = world.open[--world.n_open];
}

static void remember(const struct report *r)
{
	if (r->value > world.version)
		world.version = r->value;
	switch (r->told) {
	case TOLD_NUMBER:
		MUST(r->key > world.highest, "number %" PRIu64 " was given before (%u)", r->key, world.highest);
		world.highest = (uint32_t)r->key;
		break;
	case TOLD_INSTANCE:
		world.instances[r->key] = r->value;
		break;
	case TOLD_INCIDENT:
		world.incidents[r->key] = r->value;
		break;
	case TOLD_STEP:
		world.steps[r->key] = r->value;
		break;
	case TOLD_BEGUN:
		remember_open(r->key);
		break;
	case TOLD_ENDED:
		remember_ended(r->key);
		break;
	case TOLD_BATCH:
		world.batch = r->value > world.batch ? r->value : world.batch;
		break;
	case TOLD_EVIDENCE:
		world.evidence[r->key] = r->value;
		break;
	case TOLD_PRUNED:
	default:
		break;
	}
}

/* A row holds what was told last, or one version more: the write that the kill met. */
static unsigned untold;

static void check_number(const char *what, uint64_t kind, uint64_t told, uint64_t found)
{
	MUST(found >= told, "%s %" PRIu64 " is %" PRIu64 ", told was %" PRIu64, what, kind, found, told);
	untold += found > told;
}

static void check_version(const char *what, uint64_t kind, uint64_t told, const char *text)
{
	check_number(what, kind, told, strtoull(text, NULL, 10));
}

static int check_evidence(void *arg, const struct ledger_evidence *row)
{
	bool *seen = arg;
	uint64_t kind = row->incident - 1;
	MUST(!seen[kind], "evidence %" PRIu64 " is there twice", row->incident);
	check_number("evidence", row->incident, world.evidence[kind], row->bytes);
	world.evidence[kind] = row->bytes;
	seen[kind] = true;
	return 0;
}

static int check_instance(void *arg, const struct ledger_instance *row)
{
	bool *seen = arg;
	check_version("instance", row->number, world.instances[row->number - 1], row->components);
	world.instances[row->number - 1] = strtoull(row->components, NULL, 10);
	seen[row->number - 1] = true;
	return 0;
}

static int check_incident(void *arg, const struct ledger_incident *row)
{
	bool *seen = arg;
	check_version("incident", row->number, world.incidents[row->number - 1], row->outcome);
	world.incidents[row->number - 1] = strtoull(row->outcome, NULL, 10);
	seen[row->number - 1] = true;
	return 0;
}

static int check_step(void *arg, const struct ledger_step *row)
{
	uint64_t *count = arg;
	MUST(strtoull(row->text, NULL, 10) == ++*count, "step %s at place %" PRIu64, row->text, *count);
	return 0;
}

struct open_seen {
	uint64_t numbers[4096];
	unsigned count;
};

static int see_open(void *arg, const struct ledger_intent *row)
{
	struct open_seen *seen = arg;
	assert(seen->count < countof(seen->numbers));
	seen->numbers[seen->count++] = row->number;
	return 0;
}

static bool holds(const uint64_t *numbers, unsigned count, uint64_t number)
{
	for (unsigned i = 0; i < count; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

/* One intent may have begun, or one have ended, without being told; nothing else may differ. */
static void check_intents(struct ledger *l)
{
	static struct open_seen seen;
	seen.count = 0;
	MUST(ledger_intent_each_open(l, see_open, &seen, &err) == 0, "%s", err.text);
	for (unsigned i = 0; i < seen.count; i++)
		untold += !holds(world.open, world.n_open, seen.numbers[i]);
	for (unsigned i = 0; i < world.n_open; i++)
		untold += !holds(seen.numbers, seen.count, world.open[i]);
	memcpy(world.open, seen.numbers, sizeof(world.open));
	world.n_open = seen.count;
}

struct batch_seen {
	unsigned count;
	double value;
};

static int see_batch(void *arg, const struct ledger_suspicion *row)
{
	struct batch_seen *seen = arg;
	MUST(seen->count == 0 || row->value == seen->value, "%s is %.0f, its batch is %.0f", row->component, row->value,
	     seen->value);
	seen->value = row->value;
	seen->count++;
	return 0;
}

static void check_batch(struct ledger *l)
{
	struct batch_seen seen = {0};
	MUST(ledger_suspicion_each(l, see_batch, &seen, &err) == 0, "%s", err.text);
	MUST(seen.count == 0 || seen.count == 3, "%u of a batch of 3", seen.count);
	MUST((uint64_t)seen.value >= world.batch, "batch %.0f, told was %" PRIu64, seen.value, world.batch);
	untold += (uint64_t)seen.value > world.batch;
	world.batch = (uint64_t)seen.value;
}

static void check_steps(struct ledger *l)
{
	for (uint64_t kind = 0; kind < KINDS; kind++) {
		uint64_t count = 0;
		MUST(ledger_step_each(l, kind + 1, check_step, &count, &err) == 0, "%s", err.text);
		MUST(count >= world.steps[kind], "incident %" PRIu64 " has %" PRIu64 " steps, told were %" PRIu64, kind + 1,
		     count, world.steps[kind]);
		untold += count > world.steps[kind];
		world.steps[kind] = count;
	}
}

static void check_world(void)
{
	bool instances[KINDS] = {0}, incidents[KINDS] = {0}, evidence[KINDS] = {0};
	uint32_t number;
	struct ledger *l = folder_open(&folder, false);
	untold = 0;
	MUST(ledger_instance_each(l, UINT32_MAX, check_instance, instances, &err) == 0, "%s", err.text);
	MUST(ledger_incident_each(l, UINT32_MAX, check_incident, incidents, &err) == 0, "%s", err.text);
	MUST(ledger_evidence_each(l, 0, UINT32_MAX, check_evidence, evidence, &err) == 0, "%s", err.text);
	for (unsigned i = 0; i < KINDS; i++) {
		MUST(!world.instances[i] || instances[i], "instance %u is gone", i + 1);
		MUST(!world.incidents[i] || incidents[i], "incident %u is gone", i + 1);
		MUST(!world.evidence[i] || evidence[i], "evidence %u is gone", i + 1);
	}
	check_steps(l);
	check_intents(l);
	check_batch(l);
	MUST(untold <= 1, "%u writes that nobody told of: one can be under way", untold);
	MUST(ledger_instance_number(l, &number, &err) == 0, "%s", err.text);
	MUST(number > world.highest, "number %u was given before (%u)", number, world.highest);
	world.highest = number;
	ledger_close(l);
}

static unsigned reports_read;

static bool report_read(int fd)
{
	struct report report;
	ssize_t got = read(fd, &report, sizeof(report)); /* one write of the child, which a pipe never tears */
	if (got != sizeof(report))
		return false;
	remember(&report);
	reports_read++;
	return true;
}

static void round_run(void)
{
	int pipes[2];
	int status;
	uint64_t reports = choose(REPORTS_MAX), spin = choose(2000);
	if (pipe(pipes) < 0)
		abort();
	pid_t child = fork();
	if (child == 0) {
		close(pipes[0]);
		choose(2); /* not the parent's next choice */
		child_run(pipes[1]);
	}
	close(pipes[1]);
	for (uint64_t i = 0; i < reports && report_read(pipes[0]); i++)
		;
	/* The child works on meanwhile: some steps of ours let the kill fall anywhere in its next write. */
	for (volatile uint64_t i = 0; i < spin * 40; i++)
		;
	kill(child, SIGKILL);
	while (report_read(pipes[0]))
		;
	close(pipes[0]);
	if (waitpid(child, &status, 0) != child)
		abort();
	MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child ended by itself: %d", status);
}

int main(int argc, char **argv)
{
	world.random = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)clock_real_us();
	printf("seed %" PRIu64 "\n", world.random);
	fflush(stdout);
	folder_new(&folder);
	ledger_close(folder_open(&folder, false)); /* the first opening is a matter of its own: see the damage tests */
	unsigned rounds = 0;
	while (rounds < ROUNDS && failures == 0) {
		round_run();
		check_world();
		rounds++;
	}
	printf("%u rounds, %u writes told, %u failures\n", rounds, reports_read, failures);
	folder_remove(&folder);
	return failures != 0;
}
