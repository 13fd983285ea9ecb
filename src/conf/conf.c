/*
 * From files to one checked struct. The work is in the table (schema.c) and the cross checks (check.c); this file only
 * says which files are laid over one another and that a failure touches nothing.
 */
#include "conf/conf_local.h"
#include "lib/bytes.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* The host name as a name of ours: other characters become '-'. */
static void device_default(char device[CONF_NAME_MAX])
{
	char host[256] = "";
	size_t n = 0;
	gethostname(host, sizeof(host) - 1);
	for (const char *at = host; *at && *at != '.' && n < CONF_NAME_MAX - 1; at++) {
		char c = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
		bool letter = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
		if (letter || n > 0)
			device[n++] = (char)(letter || digit ? c : '-');
	}
	device[n] = '\0';
	if (n == 0)
		text_copy(device, CONF_NAME_MAX, "device");
}

static int conf_from_tree(const struct yaml_tree *tree, struct conf *ret_conf, struct err *err)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	if (!conf)
		abort();
	int e = yaml_tree_read(tree, conf_keys, conf, err);
	if (e == 0)
		e = conf_check(tree, conf, err);
	if (e == 0 && !conf->device[0])
		device_default(conf->device);
	if (e == 0)
		memcpy(ret_conf, conf, sizeof(*conf));
	free(conf);
	return e;
}

int conf_parse(const char *name, const char *text, size_t size, struct conf *ret_conf, struct err *err)
{
	struct yaml_tree *tree = yaml_tree_new();
	int e = yaml_tree_add(tree, name, text, size, err);
	if (e == 0)
		e = conf_from_tree(tree, ret_conf, err);
	yaml_tree_free(tree);
	return e;
}

static int is_drop_in(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	return entry->d_name[0] != '.' && length > 5 && strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

/* Plain byte order: the same on every device, whatever its locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_drop_ins(struct yaml_tree *tree, const char *path, struct err *err)
{
	char folder[PATH_MAX], file[PATH_MAX + NAME_MAX + 2];
	struct dirent **entries;
	int e = 0;
	if (snprintf(folder, sizeof(folder), "%s.d", path) >= (int)sizeof(folder))
		return err_set(err, -ENAMETOOLONG, "%s: the name is too long", path);
	int n = scandir(folder, &entries, is_drop_in, by_name);
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return err_set(err, -errno, "%s: cannot read the folder: %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", folder, entries[i]->d_name);
		if (e == 0)
			e = yaml_tree_add_file(tree, file, err);
		free(entries[i]);
	}
	free(entries);
	return e;
}

int conf_load(const char *path, struct conf *ret_conf, struct err *err)
{
	struct yaml_tree *tree = yaml_tree_new();
	int e = yaml_tree_add_file(tree, path, err);
	if (e == 0)
		e = add_drop_ins(tree, path, err);
	if (e == 0)
		e = conf_from_tree(tree, ret_conf, err);
	yaml_tree_free(tree);
	return e;
}

const struct conf_service *conf_service_named(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_services; i++)
		if (strcmp(conf->services[i].name, name) == 0)
			return &conf->services[i];
	return NULL;
}

void conf_vault_data(const struct conf_vault *vault, char ret_path[static CONF_VAULT_PATH_MAX])
{
	snprintf(ret_path, CONF_VAULT_PATH_MAX, "%s/data", vault->path);
}

void conf_ledger_dir(const char *state_dir, char ret_path[static CONF_PATH_MAX + 16])
{
	snprintf(ret_path, CONF_PATH_MAX + 16, "%s/ledger", state_dir);
}
