/*
 * Making a secret. Each is of one instance alone: whoever takes a guest over reads what is worth nothing once that guest has
 * fallen, and no other one has ever had it.
 */
#include "act/vm/secret.h"

#include "lib/bytes.h"

#include <arpa/inet.h>
#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define TOKEN_BYTES 32
#define PASSWORD_LETTERS 24 /* of 64 each: 144 bits */
#define SALT_BYTES 16
#define HOST_KEY_PATH "/etc/ssh/ssh_host_ed25519_key"

static int random_fill(void *to, size_t size, struct err *err)
{
	return getrandom(to, size, 0) == (ssize_t)size ? 0 : err_set(err, -EIO, "the kernel gives no random bytes");
}

static int token_make(const struct conf_instance *instance, struct secret *secret, struct err *err)
{
	uint8_t bytes[TOKEN_BYTES];
	int r = random_fill(bytes, sizeof(bytes), err);
	if (r < 0)
		return r;
	bytes_to_hex(bytes, sizeof(bytes), secret->given);
	explicit_bzero(bytes, sizeof(bytes));
	snprintf(secret->line, sizeof(secret->line), "%s %s\n", instance->name, secret->given);
	return 0;
}

/* Slow on purpose, with as much as libcrypt thinks right today. */
static int hash_make(const char *password, char *ret_hash, size_t size, struct err *err)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], salt[SALT_BYTES];
	int r = random_fill(salt, sizeof(salt), err);
	if (r < 0)
		return r;
	struct crypt_data data = {0}; /* 32 KiB */
	const char *hash = crypt_gensalt_rn("$y$", 0, salt, sizeof(salt), setting, sizeof(setting))
	                           ? crypt_rn(password, setting, &data, (int)sizeof(data))
	                           : NULL;
	bool fits = hash && text_copy(ret_hash, size, hash);
	explicit_bzero(&data, sizeof(data));
	return fits ? 0 : err_set(err, -ENOSYS, "libcrypt of this host does not make yescrypt hashes");
}

static int password_make(const struct conf_instance *instance, struct secret *secret, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	char password[PASSWORD_LETTERS + 1];
	int r = random_fill(password, PASSWORD_LETTERS, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < PASSWORD_LETTERS; i++)
		password[i] = letters[(uint8_t)password[i] % 64];
	password[PASSWORD_LETTERS] = '\0';
	r = hash_make(password, secret->given, sizeof(secret->given), err);
	if (r == 0)
		snprintf(secret->line, sizeof(secret->line), "%s %s %s\n", instance->name, secret->conf->user, password);
	explicit_bzero(password, sizeof(password));
	return r;
}

static int host_key_make(const struct conf_instance *instance, const struct ssh_key *key, struct secret *secret)
{
	char address4[INET_ADDRSTRLEN], address6[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET, &instance->address4, address4, sizeof(address4));
	inet_ntop(AF_INET6, &instance->address6, address6, sizeof(address6));
	text_copy(secret->given, sizeof(secret->given), key->private_half);
	snprintf(secret->line, sizeof(secret->line), "%s,%s,%s %s\n", instance->name, address4, address6, key->public_half);
	return 0;
}

static int user_key_make(const struct conf_instance *instance, const struct ssh_key *key, struct secret *secret)
{
	text_copy(secret->given, sizeof(secret->given), key->public_half);
	text_copy(secret->private_half, sizeof(secret->private_half), key->private_half);
	snprintf(secret->line, sizeof(secret->line), "%s %s %s\n", instance->name, secret->conf->user, key->public_half);
	return 0;
}

static int key_make(const struct conf_instance *instance, struct secret *secret, struct err *err)
{
	struct ssh_key key;
	char comment[SSH_COMMENT_MAX];
	snprintf(comment, sizeof(comment), "%s@%s", secret->conf->name, instance->name);
	int r = ssh_key_make(comment, &key, err);
	if (r < 0)
		return r;
	text_copy(secret->public_half, sizeof(secret->public_half), key.public_half);
	r = secret->conf->kind == CONF_SECRET_SSH_HOST_KEY ? host_key_make(instance, &key, secret)
	                                                   : user_key_make(instance, &key, secret);
	explicit_bzero(&key, sizeof(key));
	return r;
}

int secret_make(const struct conf_secret *conf, const struct conf_instance *instance, struct secret *ret_secret, struct err *err)
{
	memset(ret_secret, 0, sizeof(*ret_secret));
	ret_secret->conf = conf;
	switch (conf->kind) {
	case CONF_SECRET_TOKEN:
		return token_make(instance, ret_secret, err);
	case CONF_SECRET_PASSWORD:
		return password_make(instance, ret_secret, err);
	case CONF_SECRET_SSH_HOST_KEY:
	case CONF_SECRET_SSH_USER_KEY:
		return key_make(instance, ret_secret, err);
	case CONF_SECRET_KIND_MAX_:
		break;
	}
	return err_set(err, -EINVAL, "secret '%s' is of no kind", conf->name);
}

const char *secret_place(const struct conf_secret *conf)
{
	return conf->kind == CONF_SECRET_TOKEN ? conf->path : conf->kind == CONF_SECRET_SSH_HOST_KEY ? HOST_KEY_PATH : conf->user;
}
