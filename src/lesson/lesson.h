#pragma once
/*
 * A lesson: what an incident taught, as one signed document that other devices can use. Its form is docs/lessons.md.
 *
 * Signed is the document as lesson_print() writes it without its signature: sorted keys, no spaces. Each lesson has that one form
 * only, so it may come with any spaces and in any order. Reading is pure and bounded; the fuzzer's target.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LESSON_FORMAT 1
#define LESSON_BYTES_MAX 3840 /* of a document; it fits into a request */
#define LESSON_KEY 32
#define LESSON_SIGNATURE 64
#define LESSON_ORIGIN_MAX 33     /* 32 hexadecimal digits: half of the key's SHA-256 */
#define LESSON_COMPONENTS_MAX 4  /* kernel, libc, server, runtime */
#define LESSON_COMPONENT_MAX 169 /* "server nginx 1.22.1-9" */
#define LESSON_SOURCES_MAX 16
#define LESSON_SOURCE_MAX 64
#define LESSON_TRUSTED_MAX 9 /* our own and those that the configuration names */
#define LESSON_FUTURE_S 300  /* clocks may differ by so much */
#define LESSON_KEEP_MAX_S (400 * 86400)

struct lesson_components {
	char list[LESSON_COMPONENTS_MAX][LESSON_COMPONENT_MAX];
	size_t n;
};

struct lesson {
	char origin[LESSON_ORIGIN_MAX]; /* of the key that signed it */
	char device[32];                /* its name, for people */
	uint64_t incident;              /* there; with the origin it names the lesson */
	char service[32];
	char verdict[16];                    /* failed compromised */
	char finding[32], vantage[16];       /* what convicted */
	char beside[32], beside_vantage[16]; /* the other one, when it took two weak ones; "" */
	struct lesson_components victim;     /* what fell was made of */
	struct lesson_components survivor;   /* what stood in its place when the incident closed; none: nobody knows */
	char sources[LESSON_SOURCES_MAX][LESSON_SOURCE_MAX]; /* what was cut off in this incident, as containments are written */
	size_t n_sources;
	char rung[16];               /* what worked: replace restart reboot */
	int64_t learnt_s, expires_s; /* since 1970 */
	uint8_t signature[LESSON_SIGNATURE];
};

struct lesson_key {
	uint8_t secret[LESSON_KEY], open[LESSON_KEY];
	char id[LESSON_ORIGIN_MAX];
};

struct lesson_trust {
	struct {
		uint8_t key[LESSON_KEY];
		char id[LESSON_ORIGIN_MAX];
	} list[LESSON_TRUSTED_MAX];
	size_t n;
};

/* Form, limits and types only: nothing in it is to be believed before lesson_check(). -EINVAL and a sentence. */
int lesson_parse(const char *text, size_t size, struct lesson *ret_lesson, struct err *err) must_use;

/* The document; without its signature when it is to be signed. Caller frees; never NULL. */
char *lesson_print(const struct lesson *lesson, bool with_signature);

void lesson_sign(struct lesson *lesson, const struct lesson_key *key); /* fills origin and signature */

/* Who signed it, whether that is so, and whether it is of now: -EPERM (nobody we trust), -EKEYREJECTED (does not fit), -ERANGE
 * (of the future), -ETIME (expired). */
int lesson_check(const struct lesson *lesson, const struct lesson_trust *trust, int64_t now_s, struct err *err) must_use;

/* key.c: DIR/lesson.key (PEM, 0600) and DIR/lesson.pub; made when there is none. What is there and cannot be read is left alone.
 */
int lesson_key_open(const char *dir, struct lesson_key *ret_key, struct err *err) must_use;
/* False: there are LESSON_TRUSTED_MAX already. Twice is once. */
bool lesson_trust_add(struct lesson_trust *trust, const uint8_t key[static LESSON_KEY]);
int lesson_trust_file(struct lesson_trust *trust, const char *path, struct err *err) must_use;
