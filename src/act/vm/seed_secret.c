/*
 * What of the secrets stands in the seed, by cloud-init's own keys, so that any cloud image takes them: tokens as write_files,
 * SSH's as ssh_keys and ssh_authorized_keys, passwords as hashes. An account that the image has not is made by `users`; of one
 * that it has already cloud-init changes the password only by `chpasswd`, so the hash stands in both. Every value is one line.
 */
#include "act/vm/seed.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void seed_put(struct seed_text *to, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int length = vsnprintf(to->at, to->room, format, args);
	va_end(args);
	assert(length >= 0 && (size_t)length < to->room); /* everything in it has a limit */
	to->at += length;
	to->room -= (size_t)length;
}

void seed_put_base64(struct seed_text *to, const uint8_t *bytes, size_t size)
{
	assert(size < INT_MAX && 4 * ((size + 2) / 3) < to->room);
	int length = EVP_EncodeBlock((unsigned char *)to->at, bytes, (int)size);
	to->at += length;
	to->room -= (size_t)length;
}

/* Between double quotes, with \n for a line's end: what is put there has neither quotes nor backslashes. */
static void put_lines(struct seed_text *to, const char *key, const char *lines)
{
	seed_put(to, "%s: \"", key);
	for (const char *end; (end = strchr(lines, '\n')); lines = end + 1)
		seed_put(to, "%.*s\\n", (int)(end - lines), lines);
	seed_put(to, "%s\"\n", lines);
}

static const struct secret *of_account(const struct secret *secrets, size_t n, enum conf_secret_kind kind, const char *user)
{
	for (size_t i = 0; i < n; i++)
		if (secrets[i].conf->kind == kind && strcmp(secrets[i].conf->user, user) == 0)
			return &secrets[i];
	return NULL;
}

static void put_account(struct seed_text *to, const char *user, const struct secret *password, const struct secret *key)
{
	seed_put(to, "  - name: %s\n    lock_passwd: %s\n", user, password ? "false" : "true");
	if (password)
		seed_put(to, "    hashed_passwd: \"%s\"\n", password->given);
	if (key)
		seed_put(to, "    ssh_authorized_keys:\n      - \"%s\"\n", key->given);
}

/* root is there whether it has secrets or not: nobody gets a password that is not asked for. */
static void put_accounts(struct seed_text *to, const struct secret *secrets, size_t n)
{
	const struct secret *root_key = of_account(secrets, n, CONF_SECRET_SSH_USER_KEY, "root");
	seed_put(to, "disable_root: %s\nssh_pwauth: false\nusers:\n", root_key ? "false" : "true");
	put_account(to, "root", of_account(secrets, n, CONF_SECRET_PASSWORD, "root"), root_key);
	for (size_t i = 0; i < n; i++) {
		const char *user = secrets[i].conf->user;
		bool of_one = secrets[i].conf->kind == CONF_SECRET_PASSWORD || secrets[i].conf->kind == CONF_SECRET_SSH_USER_KEY;
		const struct secret *password = of_account(secrets, n, CONF_SECRET_PASSWORD, user),
		                    *key = of_account(secrets, n, CONF_SECRET_SSH_USER_KEY, user);
		bool first = &secrets[i] == (password && key && key < password ? key : password ? password : key);
		if (of_one && first && strcmp(user, "root") != 0)
			put_account(to, user, password, key);
	}
}

static void put_passwords(struct seed_text *to, const struct secret *secrets, size_t n)
{
	bool any = false;
	for (size_t i = 0; i < n; i++) {
		if (secrets[i].conf->kind != CONF_SECRET_PASSWORD)
			continue;
		if (!any)
			seed_put(to, "chpasswd:\n  expire: false\n  users:\n");
		any = true;
		seed_put(to, "  - name: %s\n    password: \"%s\"\n    type: hash\n", secrets[i].conf->user, secrets[i].given);
	}
}

static void put_host_key(struct seed_text *to, const struct secret *secrets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (secrets[i].conf->kind != CONF_SECRET_SSH_HOST_KEY)
			continue;
		seed_put(to, "ssh_deletekeys: true\nssh_keys:\n");
		put_lines(to, "  ed25519_private", secrets[i].given);
		put_lines(to, "  ed25519_public", secrets[i].public_half);
	}
}

void seed_put_secrets(struct seed_text *to, const struct secret *secrets, size_t n)
{
	put_accounts(to, secrets, n);
	put_passwords(to, secrets, n);
	put_host_key(to, secrets, n);
}

void seed_put_tokens(struct seed_text *to, const struct secret *secrets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct conf_secret *conf = secrets[i].conf;
		if (conf->kind == CONF_SECRET_TOKEN)
			seed_put(to, "  - path: %s\n    owner: %s%s\n    permissions: \"%04o\"\n    content: \"%s\"\n",
			         conf->path, conf->owner, strchr(conf->owner, ':') ? "" : ":root", conf->mode, secrets[i].given);
	}
}
