/*
 * The device's key. It lies in the one folder that is the engine's, which signs without help: whoever takes the engine over can
 * sign lessons as this device. They can only make components suspect elsewhere (docs/lessons.md).
 */
#include "lesson/lesson.h"

#include "image/pem.h"
#include "lib/bytes.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static_assert(LESSON_KEY == ED25519_KEY_SIZE && LESSON_SIGNATURE == ED25519_SIGNATURE_SIZE, "they are Ed25519's");

static void id_of(const uint8_t key[static LESSON_KEY], char ret_id[static LESSON_ORIGIN_MAX])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx hash;
	sha256_init(&hash);
	sha256_update(&hash, LESSON_KEY, key);
	sha256_digest(&hash, sizeof(digest), digest);
	bytes_to_hex(digest, LESSON_ORIGIN_MAX / 2, ret_id);
}

/* The private one first: half a pair can be made whole from it. */
static int make(const char *path, uint8_t ret_secret[static LESSON_KEY], struct err *err)
{
	char text[PEM_KEY_MAX];
	if (getrandom(ret_secret, LESSON_KEY, 0) != LESSON_KEY)
		return err_set(err, -EIO, "%s: no random bytes can be had", path);
	pem_private_print(ret_secret, text);
	int r = file_write(path, text, strlen(text), 0600, err);
	explicit_bzero(text, sizeof(text));
	return r;
}

static int publish(const char *path, const uint8_t key[static LESSON_KEY], struct err *err)
{
	char text[PEM_KEY_MAX];
	uint8_t there[LESSON_KEY];
	if (pem_public_read(path, there, NULL) == 0 && memcmp(there, key, LESSON_KEY) == 0)
		return 0;
	pem_public_print(key, text);
	return file_write(path, text, strlen(text), 0644, err);
}

int lesson_key_open(const char *dir, struct lesson_key *ret_key, struct err *err)
{
	char path[PATH_MAX], open_path[PATH_MAX];
	struct lesson_key key;
	if (snprintf(path, sizeof(path), "%s/lesson.key", dir) >= (int)sizeof(path) ||
	    snprintf(open_path, sizeof(open_path), "%s/lesson.pub", dir) >= (int)sizeof(open_path))
		return err_set(err, -ENAMETOOLONG, "%.100s...: the name is too long", dir);
	int r = pem_private_read(path, key.secret, err);
	if (r == -ENOENT)
		r = make(path, key.secret, err);
	if (r == 0) {
		ed25519_sha512_public_key(key.open, key.secret);
		id_of(key.open, key.id);
		r = publish(open_path, key.open, err);
	}
	if (r == 0)
		*ret_key = key;
	explicit_bzero(key.secret, sizeof(key.secret));
	return r;
}

bool lesson_trust_add(struct lesson_trust *trust, const uint8_t key[static LESSON_KEY])
{
	for (size_t i = 0; i < trust->n; i++)
		if (memcmp(trust->list[i].key, key, LESSON_KEY) == 0)
			return true;
	if (trust->n == LESSON_TRUSTED_MAX)
		return false;
	memcpy(trust->list[trust->n].key, key, LESSON_KEY);
	id_of(key, trust->list[trust->n].id);
	trust->n++;
	return true;
}

int lesson_trust_file(struct lesson_trust *trust, const char *path, struct err *err)
{
	uint8_t key[LESSON_KEY];
	int r = pem_public_read(path, key, err);
	if (r == 0 && !lesson_trust_add(trust, key))
		return err_set(err, -ENOSPC, "%s: there are %d trusted keys, no more can be", path, LESSON_TRUSTED_MAX);
	return r;
}

void lesson_sign(struct lesson *lesson, const struct lesson_key *key)
{
	memcpy(lesson->origin, key->id, sizeof(lesson->origin));
	auto_free char *text = lesson_print(lesson, false);
	ed25519_sha512_sign(key->open, key->secret, strlen(text), (const uint8_t *)text, lesson->signature);
}

static void moment(int64_t at_s, char ret_text[static 32])
{
	struct tm tm;
	time_t time = at_s;
	strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&time, &tm));
}

int lesson_check(const struct lesson *lesson, const struct lesson_trust *trust, int64_t now_s, struct err *err)
{
	const uint8_t *key = NULL;
	char when[32], now[32];
	for (size_t i = 0; i < trust->n; i++)
		if (strcmp(trust->list[i].id, lesson->origin) == 0)
			key = trust->list[i].key;
	if (!key)
		return err_set(err, -EPERM, "lesson %llu of %s: key %s is not trusted: name its file in 'lessons: trust'",
		               (unsigned long long)lesson->incident, lesson->device, lesson->origin);
	auto_free char *text = lesson_print(lesson, false);
	if (!ed25519_sha512_verify(key, strlen(text), (const uint8_t *)text, lesson->signature))
		return err_set(err, -EKEYREJECTED,
		               "lesson %llu of %s: its signature does not fit: it was changed, or another key signed it",
		               (unsigned long long)lesson->incident, lesson->device);
	moment(now_s, now);
	moment(lesson->learnt_s, when);
	if (lesson->learnt_s > now_s + LESSON_FUTURE_S)
		return err_set(err, -ERANGE, "lesson %llu of %s: it is from the future (%s; here it is %s): is a clock wrong?",
		               (unsigned long long)lesson->incident, lesson->device, when, now);
	moment(lesson->expires_s, when);
	if (lesson->expires_s <= now_s)
		return err_set(err, -ETIME, "lesson %llu of %s: it expired at %s", (unsigned long long)lesson->incident,
		               lesson->device, when);
	return 0;
}
