#pragma once
/*
 * Ed25519 keys as PEM files (RFC 8410), by nettle: for whoever checks or makes signatures and must stay small. The builder's
 * key.c reads the same files by OpenSSL.
 */
#include "lib/err.h"

#include <nettle/eddsa.h>
#include <stddef.h>
#include <stdint.h>

#define PEM_KEY_MAX 256 /* of one that is printed */

/* Other kinds of key are refused; the sentence names the file. */
int pem_public_read(const char *path, uint8_t ret_key[static ED25519_KEY_SIZE], struct err *err) must_use;
int pem_private_read(const char *path, uint8_t ret_key[static ED25519_KEY_SIZE], struct err *err) must_use;

void pem_public_print(const uint8_t key[static ED25519_KEY_SIZE], char ret_text[static PEM_KEY_MAX]);
void pem_private_print(const uint8_t key[static ED25519_KEY_SIZE], char ret_text[static PEM_KEY_MAX]);
