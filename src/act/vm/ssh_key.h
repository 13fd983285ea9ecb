#pragma once
/* SSH keys (Ed25519) in the forms that OpenSSH reads. */
#include "lib/err.h"

#define SSH_PRIVATE_MAX 640 /* with NUL */
#define SSH_PUBLIC_MAX 192
#define SSH_COMMENT_MAX 80

struct ssh_key {
	char private_half[SSH_PRIVATE_MAX]; /* a file of ssh-keygen's own form, without a passphrase */
	char public_half[SSH_PUBLIC_MAX];   /* "ssh-ed25519 AAAA... comment", without a line's end */
};

/* A new one. `comment`: letters without a blank, fewer than SSH_COMMENT_MAX. */
int ssh_key_make(const char *comment, struct ssh_key *ret_key, struct err *err) must_use;
