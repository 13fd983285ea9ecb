#pragma once
/* What the files of this room share: the table, and the checks that need more than one key. */
#include "conf/conf.h"
#include "lib/yaml.h"

#define CONF_RUN_DIR_MAX 60 /* libvirt's sockets are up to 45 bytes below it, and a socket's path ends at 107 */

extern const struct yaml_key conf_keys[];
extern const struct yaml_key conf_secret_keys[];

/* Hook of `variants`: a name, or a pattern that stands for several. */
int conf_variant(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err) must_use;

/* Takes the path of a file in the guest, which goes into a seed and into commands of the guest's start: of few characters. */
int conf_guest_file(const struct yaml_node *node, const char *key, const char *text, char *to, size_t size,
                    struct err *err) must_use;

/* Fills what depends on other keys, then checks keys against one another. */
int conf_check(const struct yaml_tree *tree, struct conf *conf, struct err *err) must_use;

/* The secrets of one service. */
int conf_secrets_check(const struct yaml_tree *tree, const struct conf_service *service, struct err *err) must_use;
