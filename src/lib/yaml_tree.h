#pragma once
/* The tree that yaml.c builds and yaml_read.c walks; for these two files only. */
#include "lib/yaml.h"

enum yaml_kind { YAML_KIND_SCALAR, YAML_KIND_LIST, YAML_KIND_MAP };

struct yaml_pair {
	struct yaml_node *key; /* maps only */
	struct yaml_node *value;
};

struct yaml_node {
	enum yaml_kind kind;
	bool plain;       /* a scalar without quotes */
	const char *file; /* owned by the tree */
	unsigned line, column;
	char *text;              /* scalars */
	struct yaml_pair *pairs; /* maps and lists */
	size_t n_pairs;
};

struct yaml_tree {
	char *files[YAML_FILES_MAX];
	size_t n_files;
	struct yaml_node *root; /* NULL: nothing yet */
};

int yaml_parse_text(const char *name, const char *text, size_t size, struct yaml_node **ret_root, struct err *err);
void yaml_node_free(struct yaml_node *node);
const struct yaml_node *yaml_map_get(const struct yaml_node *map, const char *key);
