#pragma once
/*
 * One service's vault: where its parts lie and what is known of it.
 *
 *   PATH/data        what the guests share and write; nothing else here is ever shown to them
 *   PATH/repository  backups, unless the configuration names another place
 *   PATH/password    of the repository
 *   PATH/snapshots   our list of them (snapshots.h)
 *   PATH/changes     what rollbacks put aside (changes.h) ...
 *   PATH/kept/N      ... and the things themselves, by number
 *   PATH/staging     what comes out of the repository, until it is proven and put into its place
 *   PATH/cache       restic's
 */
#include "act/vault/changes.h"
#include "act/vault/restic.h"
#include "act/vault/snapshots.h"

#define VAULT_PATH_MAX CONF_VAULT_PATH_MAX

struct vault {
	uint32_t service; /* index in conf.services */
	const struct conf_vault *conf;
	const char *device;
	char data[VAULT_PATH_MAX], password[VAULT_PATH_MAX], list[VAULT_PATH_MAX], changes[VAULT_PATH_MAX], kept[VAULT_PATH_MAX],
	        staging[VAULT_PATH_MAX], cache[VAULT_PATH_MAX];
	struct snapshots snapshots;
	char problem[WIRE_TEXT_MAX]; /* "": none */
	int64_t next_us;             /* CLOCK_MONOTONIC: next backup */
	int64_t prune_us;            /* likewise: what is forgotten is then removed from the repository too */
};

/* Makes what is missing and reads the list. 0; else `problem` says what is wrong, and nothing can be done with it. */
int vault_open(struct vault *v, struct err *err) must_use;

void vault_restic(const struct vault *v, int64_t until_us, struct restic *ret);

/* What a job says while it works; fixed size, smaller than PIPE_BUF: all of it or nothing arrives. */
enum job_says { JOB_SNAPSHOT, JOB_FORGOTTEN, JOB_CHANGE, JOB_END };
struct job_word {
	enum job_says says;
	int32_t status;            /* JOB_END */
	struct snapshot snapshot;  /* JOB_SNAPSHOT; JOB_FORGOTTEN: its number */
	struct wire_change change; /* JOB_CHANGE */
	char text[WIRE_TEXT_MAX];  /* JOB_CHANGE: path; JOB_END: sentence */
};

struct job {
	enum order_type type;
	uint64_t number, incident;
	int64_t before_us;
	int64_t until_us; /* CLOCK_MONOTONIC */
	bool pruning;
};

/* Does it, in a process of its own, and says on `out` what it does; the last word is JOB_END. */
void job_run(const struct vault *v, const struct job *job, int out);

/* job_rollback.c: brings the data back to a snapshot. `ret_n`: changes that were put aside. */
int rollback_run(const struct vault *v, const struct job *job, const struct snapshot *to, int out, size_t *ret_n,
                 struct err *err) must_use;
int return_run(const struct vault *v, const struct job *job, int out, struct err *err) must_use;
void job_say(int out, const struct job_word *word);
