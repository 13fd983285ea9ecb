#pragma once
/*
 * What koboshi-vault tells of a service's data: its snapshots, and what rollbacks put aside. Nothing of it is kept here over a
 * restart: koboshi-vault knows it and tells it again.
 */
#include "wire/order.h"

#include <jansson.h>

#define VAULT_SNAPSHOTS_MAX 256
#define VAULT_CHANGES_MAX 512

struct engine;
struct engine_service;

struct engine_vault {
	bool told;                                           /* koboshi-vault has spoken since it was started */
	char problem[WIRE_TEXT_MAX];                         /* "": none */
	struct wire_snapshot snapshots[VAULT_SNAPSHOTS_MAX]; /* oldest first */
	size_t n_snapshots;
	struct vault_change {
		struct wire_change change;
		char path[WIRE_TEXT_MAX];
	} changes[VAULT_CHANGES_MAX]; /* oldest first */
	size_t n_changes;
	struct {                 /* what was asked for by the API last */
		uint64_t number; /* 0: nothing yet */
		bool done;
		int32_t status;
		char text[WIRE_TEXT_MAX];
	} asked;
};

void vault_lost(struct engine *e);                                 /* koboshi-vault is new, or gone */
void vault_notice(struct engine *e, const struct wire_note *note); /* of the kinds NOTICE_VAULT, NOTICE_SNAPSHOT, NOTICE_CHANGE */
void vault_answered(struct engine *e, const struct wire_order *order,
                    const struct wire_answer *answer); /* to what the API asked for */

/* For the status: null where the service has none. Appends to the reasons. */
json_t *vault_summary(const struct engine_service *s, json_t *reasons);

/* GET /v1/snapshots; GET /v1/data of an incident (0: all, those by hand too). */
json_t *vault_report(const struct engine *e);
json_t *vault_changes(const struct engine *e, uint64_t incident);

/* POST /v1/backup, /v1/restore, /v1/return: an HTTP status, and the answer's object. */
unsigned vault_backup(struct engine *e, const json_t *body, json_t **ret_answer);
unsigned vault_restore(struct engine *e, const json_t *body, json_t **ret_answer);
unsigned vault_return(struct engine *e, const json_t *body, json_t **ret_answer);
