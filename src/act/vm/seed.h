#pragma once
/* What one instance is told about itself: a NoCloud seed (meta-data, user-data, network-config on a disk called cidata). */
#include "act/vm/secret.h"
#include "conf/conf.h"
#include "wire/order.h"

struct seed {
	char meta_data[256];
	char user_data[8192]; /* CONF_SECRETS_MAX secrets, each at its longest, fit */
	char network_config[1024];
};

/* Pure. `data`: where the guest is to mount the folder that it shares (DOMAIN_VAULT); NULL: nowhere. `tag` makes the instance's
 * identity new: cloud-init does nothing for an identity that it has seen. What is returned holds secrets: the caller wipes it. */
void seed_write(const struct conf_instance *instance, const uint8_t key[static WIRE_KEY_SIZE], uint32_t tag, const char *data,
                const struct secret *secrets, size_t n_secrets, struct seed *ret_seed);

/* The disk. New bytes, caller frees. */
uint8_t *seed_disk(const struct seed *seed, size_t *ret_size);

/* What is left of a text's room; for the two files that write seeds. */
struct seed_text {
	char *at;
	size_t room;
};
void seed_put(struct seed_text *to, const char *format, ...) printf_like(2, 3);

/* Accounts, passwords, the host's key: keys of their own. Tokens: items below write_files. */
void seed_put_secrets(struct seed_text *to, const struct secret *secrets, size_t n);
void seed_put_tokens(struct seed_text *to, const struct secret *secrets, size_t n);
