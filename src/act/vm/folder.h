#pragma once
/*
 * What belongs to one instance on disk: <run_dir>/guest/<n>/ with seed.iso, key, agent.key, record, console.log, agent.sock,
 * lab.sock, secret.* and revoked (valid.h); carry.* while they are judged (carry.c); memory.pipe while its memory is taken as
 * evidence. The record tells a restarted koboshi-vm what the guest is; the domain alone does not know its service, variant and
 * keys. The guest itself is given the challenge key in its seed; agent.key is in nothing that it can read.
 */
#include "act/vm/vm.h"

#define FOLDER_CONSOLE_MAX (1u << 20) /* cut when it grows beyond; see folder_console_bound */
#define FOLDER_CONSOLE_KEPT (256u << 10)

struct folder_record {
	char service[CONF_NAME_MAX], variant[CONF_NAME_MAX];
	uint8_t manifest[IMAGE_SHA256];
	char settings[256]; /* folder_settings() of when it was made */
	uint8_t key[WIRE_KEY_SIZE];
	uint8_t agent_key[WIRE_KEY_SIZE]; /* written with the others, read by folder_agent_key() alone */
};

/* "<guests>/<n>/<file>", or the folder itself with file NULL. Always fits. */
void folder_path(const struct vm *vm, uint32_t number, const char *file, char ret_path[static VM_PATH_MAX]);

/* New and empty, 0700, whatever was there before. */
int folder_make(const struct vm *vm, uint32_t number, struct err *err) must_use;

/* Record and keys, all 0600, on disk when this returns. */
int folder_record_write(const struct vm *vm, uint32_t number, const struct folder_record *record, struct err *err) must_use;
int folder_record_read(const struct vm *vm, uint32_t number, struct folder_record *ret_record, struct err *err) must_use;
int folder_agent_key_write(const struct vm *vm, uint32_t number, const uint8_t key[static WIRE_KEY_SIZE],
                           struct err *err) must_use;
int folder_agent_key(const struct vm *vm, uint32_t number, uint8_t ret_key[static WIRE_KEY_SIZE], struct err *err) must_use;

/* What of the configuration is in a guest for good, in words. */
void folder_settings(const struct conf_service *service, uint32_t memory_mib, char *ret_text, size_t size);

/* Zeros over what is there, then gone. */
void folder_wipe(int dir, const char *file);

/* All files and the folder, secrets wiped; absent is success. */
int folder_remove(const struct vm *vm, uint32_t number, struct err *err) must_use;

/* What the embedded libvirt logged about an instance that is gone; nobody else would ever remove it. */
void folder_log_remove(const struct vm *vm, uint32_t number);

/* Empties that log when it is beyond FOLDER_LOG_MAX: what a guest provokes QEMU to say has no other limit. */
#define FOLDER_LOG_MAX (1u << 20)
void folder_log_bound(const struct vm *vm, uint32_t number);

/* Numbers of the folders that are there, at most `max`. */
size_t folder_list(const struct vm *vm, uint32_t *ret_numbers, size_t max);

/* Cuts the console's file when it has grown beyond FOLDER_CONSOLE_MAX; its last FOLDER_CONSOLE_KEPT bytes become console.old. */
void folder_console_bound(const struct vm *vm, uint32_t number);
