#pragma once
/* What one instance is told about itself: a NoCloud seed (meta-data, user-data, network-config on a disk called cidata). */
#include "act/vm/carry.h"
#include "act/vm/secret.h"
#include "conf/conf.h"
#include "wire/order.h"

#define SEED_CARRY_MAX (CONF_CARRY_TOTAL_MAX / 3 * 4 + 4096) /* in base64, and what stands around it */

struct seed {
	char meta_data[256];
	char user_data[8192 + SEED_CARRY_MAX]; /* CONF_SECRETS_MAX secrets, each at its longest, fit, and all that is carried */
	char network_config[1024];
};

struct seed_parts {
	const struct conf_instance *instance;
	const struct conf_service *service;
	const uint8_t *key;           /* WIRE_KEY_SIZE */
	uint32_t tag;                 /* makes the identity new: cloud-init does nothing for one that it has seen */
	const char *data;             /* where the guest is to mount the folder that it shares (DOMAIN_VAULT); NULL: nowhere */
	const struct secret *secrets; /* of the service, all of them */
	const struct carry *carry;    /* NULL: nothing */
};

/* Pure. What is returned holds secrets: the caller wipes it. */
void seed_write(const struct seed_parts *parts, struct seed *ret_seed);

/* The disk. New bytes, caller frees. */
uint8_t *seed_disk(const struct seed *seed, size_t *ret_size);

/* What is left of a text's room; for the two files that write seeds. */
struct seed_text {
	char *at;
	size_t room;
};
void seed_put(struct seed_text *to, const char *format, ...) printf_like(2, 3);
void seed_put_base64(struct seed_text *to, const uint8_t *bytes, size_t size);

/* Accounts, passwords, the host's key: keys of their own. Tokens: items below write_files. */
void seed_put_secrets(struct seed_text *to, const struct secret *secrets, size_t n);
void seed_put_tokens(struct seed_text *to, const struct secret *secrets, size_t n);
