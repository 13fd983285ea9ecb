/*
 * What an instance could read, in the ledger: by name, kind and place. What koboshi-vm put into its seed beyond the usual it
 * tells before it answers; the rest every guest has. Refused is all of it as soon as koboshi-vm says that it revoked it, or that
 * the guest is gone with all its files; that row stands in the journal before the one that says so of the instance.
 */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

#define OF_EACH 4 /* that every guest has */

struct made_job {
	struct ledger_secret rows[OF_EACH + 1];
	size_t n;
};

static int made_work(struct ledger *l, void *arg, struct err *err)
{
	const struct made_job *job = arg;
	int r = 0;
	for (size_t i = 0; i < job->n && r == 0; i++)
		r = ledger_secret_put(l, &job->rows[i], err);
	return r;
}

static void done(void *arg, int status, const struct err *err)
{
	auto_free void *job = arg;
	(void)job;
	if (status < 0)
		log_error("engine.secrets", "what a guest could read is not in the ledger: %s", err->text);
}

static struct made_job *job_new(void)
{
	struct made_job *job = calloc(1, sizeof(*job));
	assert(job);
	return job;
}

static void add(struct made_job *job, uint32_t instance, const char *kind, const char *name, const char *place)
{
	struct ledger_secret *row = &job->rows[job->n++];
	row->instance = instance;
	row->made_us = clock_real_us();
	text_copy(row->kind, sizeof(row->kind), kind);
	text_copy(row->name, sizeof(row->name), name);
	text_copy(row->place, sizeof(row->place), place);
}

void secrets_told(struct engine *e, const struct wire_note *note)
{
	char kind[16], name[CONF_NAME_MAX], place[CONF_PATH_MAX];
	if (sscanf(note->text, "%15s %31s %191s", kind, name, place) != 3) {
		log_warning("engine.secrets", "koboshi-vm told of a secret of kb-%u without kind, name and place",
		            note->instance);
		return;
	}
	struct made_job *job = job_new();
	add(job, note->instance, kind, name, place);
	journal_put(e->journal, made_work, done, job);
}

void secrets_made(struct engine *e, uint32_t instance)
{
	struct conf_instance i;
	char four[INET_ADDRSTRLEN], six[INET6_ADDRSTRLEN], addresses[INET_ADDRSTRLEN + INET6_ADDRSTRLEN + 1], mac[18];
	struct made_job *job = job_new();
	conf_instance(&e->conf, instance, &i);
	inet_ntop(AF_INET, &i.address4, four, sizeof(four));
	inet_ntop(AF_INET6, &i.address6, six, sizeof(six));
	snprintf(addresses, sizeof(addresses), "%s %s", four, six);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", i.mac[0], i.mac[1], i.mac[2], i.mac[3], i.mac[4], i.mac[5]);
	add(job, instance, "key", "challenge", "/etc/koboshi/challenge.key");
	add(job, instance, "key", "agent", "memory of its agent");
	add(job, instance, "address", i.name, addresses);
	add(job, instance, "mac", i.name, mac);
	journal_put(e->journal, made_work, done, job);
}

struct revoked_job {
	uint32_t instance;
	int64_t time_us;
};

static int revoked_work(struct ledger *l, void *arg, struct err *err)
{
	const struct revoked_job *job = arg;
	return ledger_secret_revoked(l, job->instance, job->time_us, err);
}

void secrets_revoked(struct engine *e, uint32_t instance)
{
	struct revoked_job *job = malloc(sizeof(*job));
	assert(job);
	*job = (struct revoked_job){instance, clock_real_us()};
	journal_put(e->journal, revoked_work, done, job);
}
