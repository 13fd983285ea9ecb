#pragma once
/* What one instance is told about itself: a NoCloud seed (meta-data, user-data, network-config on a disk called cidata). */
#include "conf/conf.h"
#include "wire/order.h"

struct seed {
	char meta_data[256];
	char user_data[1536];
	char network_config[1024];
};

/* Pure. `data`: where the guest is to mount the folder that it shares (DOMAIN_VAULT); NULL: nowhere. `tag` makes the instance's
 * identity new: cloud-init does nothing for an identity that it has seen. */
void seed_write(const struct conf_instance *instance, const uint8_t key[static WIRE_KEY_SIZE], uint32_t tag, const char *data,
                struct seed *ret_seed);

/* The disk. New bytes, caller frees. */
uint8_t *seed_disk(const struct seed *seed, size_t *ret_size);
