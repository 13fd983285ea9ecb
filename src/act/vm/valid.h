#pragma once
/*
 * Which secrets are valid now, for those who have to check them: <run_dir>/secrets/SERVICE/NAME, one line for each instance that
 * stands. A line goes before the instance's place is taken by another one, and for good. Beside it NAME.kb-N: the private half of
 * a user's key. Each file is root's and its group's only, and appears whole.
 *
 *   token          kb-7 0123...          (64 hexadecimal digits)
 *   password       kb-7 ACCOUNT PASSWORD
 *   ssh-host-key   kb-7,ADDRESS4,ADDRESS6 ssh-ed25519 AAAA... NAME@kb-7      (a known_hosts file)
 *   ssh-user-key   kb-7 ACCOUNT ssh-ed25519 AAAA... NAME@kb-7
 *
 * What is told here comes from the instances' folders: the lists are made anew from them at any change, so there is nothing to be
 * repaired after a crash but to make them once more.
 */
#include "act/vm/secret.h"
#include "act/vm/vm.h"

/* Whether the groups are there that may read the lists of a service. */
int valid_groups(const struct conf_service *service, struct err *err) must_use;

/* Into the instance's folder; valid from the next valid_lists() on. */
int valid_keep(const struct vm *vm, uint32_t number, const struct secret *secret, struct err *err) must_use;

/* Makes the lists of a service what the folders say; NULL: of all. */
int valid_lists(struct vm *vm, const char *service, struct err *err) must_use;

/* Nothing of this instance is valid any more, also after a restart; the lists say so when this returns 0. `ret_n`: how many
 * secrets it had. Idempotent; an instance without a folder has none. */
int valid_revoke(struct vm *vm, uint32_t number, size_t *ret_n, struct err *err) must_use;
bool valid_is_revoked(const struct vm *vm, uint32_t number);
