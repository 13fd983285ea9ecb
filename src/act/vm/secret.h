#pragma once
/* One secret of one instance: freshly made, in two halves. What the guest is given is not always what the host has to keep. */
#include "conf/conf.h"
#include "act/vm/ssh_key.h"

#define SECRET_LINE_MAX 384 /* with NUL */

struct secret {
	const struct conf_secret *conf;
	char given[SSH_PRIVATE_MAX];        /* to the guest: token, yescrypt hash, private host key, public user key */
	char public_half[SSH_PUBLIC_MAX];   /* SSH: of either key; else "" */
	char line[SECRET_LINE_MAX];         /* in the list of those that are valid, with its end: see valid.h */
	char private_half[SSH_PRIVATE_MAX]; /* user key: what the host keeps; else "" */
};

/* `conf` is kept by pointer. The caller wipes all of it. */
int secret_make(const struct conf_secret *conf, const struct conf_instance *instance, struct secret *ret_secret,
                struct err *err) must_use;

/* Where the guest has it: a path, or an account. */
const char *secret_place(const struct conf_secret *conf);
