/*
 * What a service's guests are given as secrets: the keys of one, and the checks that need more than one of them. Whatever stands
 * here goes into a seed and into commands of the guest's start, so names and paths are of few characters.
 */
#include "conf/conf_local.h"
#include "lib/bytes.h"

#include <stdio.h>
#include <string.h>

#define OUR_FOLDER "/etc/koboshi"

static const char *const kinds[CONF_SECRET_KIND_MAX_ + 1] = {
        [CONF_SECRET_TOKEN] = "token",
        [CONF_SECRET_PASSWORD] = "password",
        [CONF_SECRET_SSH_HOST_KEY] = "ssh-host-key",
        [CONF_SECRET_SSH_USER_KEY] = "ssh-user-key",
};

const char *conf_secret_kind_name(enum conf_secret_kind kind)
{
	return kinds[kind];
}

/* The length of the account's name that `text` begins with; 0: it begins with none. */
static size_t account_length(const char *text)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	bool begins = (text[0] >= 'a' && text[0] <= 'z') || text[0] == '_';
	return begins && length < CONF_NAME_MAX ? length : 0;
}

static int account_take(const struct yaml_node *node, const struct yaml_value *value, const char *key, char *to, struct err *err)
{
	size_t length = account_length(value->text);
	if (length == 0 || value->text[length])
		return yaml_fail(node, err,
		                 "'%s' must be the name of an account: a letter, then letters, digits, '-' and '_', at most %d, "
		                 "not '%.80s'",
		                 key, CONF_NAME_MAX - 1, value->text);
	text_copy(to, CONF_NAME_MAX, value->text);
	return 0;
}

static int secret_user(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	return account_take(node, value, "user", ((struct conf_secret *)object)->user, err);
}

static int secret_group(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	return account_take(node, value, "group", ((struct conf_secret *)object)->group, err);
}

static int secret_owner(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_secret *secret = object;
	const char *group = strchr(value->text, ':');
	size_t length = account_length(value->text), group_length = group ? account_length(group + 1) : 0;
	bool right = length > 0 && (group ? group == value->text + length && group_length > 0 && !group[1 + group_length]
	                                  : !value->text[length]);
	if (!right)
		return yaml_fail(node, err, "'owner' must be an account of the guest, or account:group, not '%.80s'",
		                 value->text);
	text_copy(secret->owner, sizeof(secret->owner), value->text);
	return 0;
}

static int secret_mode(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	size_t length = strlen(value->text);
	bool right = (length == 3 || (length == 4 && value->text[0] == '0')) && strspn(value->text, "01234567") == length;
	if (!right)
		return yaml_fail(node, err,
		                 "'mode' must be three octal digits with or without a 0 before them, such as 0440, not '%.80s'",
		                 value->text);
	((struct conf_secret *)object)->mode = (uint32_t)strtoul(value->text, NULL, 8);
	return 0;
}

int conf_guest_file(const struct yaml_node *node, const char *key, const char *text, char *to, size_t size, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._@+-";
	size_t length = strlen(text);
	if (strspn(text, letters) != length || text[length - 1] == '/')
		return yaml_fail(node, err, "'%s' must name a file by letters, digits and . _ @ + - only, not '%.80s'", key,
		                 text);
	if (strncmp(text, OUR_FOLDER, strlen(OUR_FOLDER)) == 0)
		return yaml_fail(node, err, "'%s' cannot be in %s: that is Koboshi's own in the guest", key, OUR_FOLDER);
	if (!text_copy(to, size, text))
		return yaml_fail(node, err, "'%s': a path of at most %zu bytes is needed, not '%.80s...'", key, size - 1, text);
	return 0;
}

static int secret_path(const struct yaml_node *node, const struct yaml_value *value, void *object, struct err *err)
{
	struct conf_secret *secret = object;
	return conf_guest_file(node, "path", value->text, secret->path, sizeof(secret->path), err);
}

/* clang-format off */
const struct yaml_key conf_secret_keys[] = {
	{.key = "kind", .type = YAML_WORD, YAML_FIELD(struct conf_secret, kind), .required = true, .words = kinds,
	 .help = "_token_: 256 random bits as 64 hexadecimal digits, in a file of the guest. _password_: of an account; the guest is "
	         "told its yescrypt hash only. _ssh-host-key_: the guest's own (Ed25519). _ssh-user-key_: lets in whoever has the "
	         "private half, which stays on this host."},
	{.key = "path", .type = YAML_PATH, YAML_FIELD(struct conf_secret, path), .hook = secret_path,
	 .help = "Of a token: the file in the guest."},
	{.key = "owner", .type = YAML_TEXT, YAML_FIELD(struct conf_secret, owner), .hook = secret_owner, .fallback = "root",
	 .help = "Of a token: whose file it is in the guest, _account_ or _account:group_."},
	{.key = "mode", .type = YAML_TEXT, .width = 16, .hook = secret_mode, .fallback = "0400",
	 .help = "Of a token: mode of the file in the guest, octal."},
	{.key = "user", .type = YAML_TEXT, YAML_FIELD(struct conf_secret, user), .hook = secret_user,
	 .help = "Of a password and a user key: the account in the guest."},
	{.key = "group", .type = YAML_TEXT, YAML_FIELD(struct conf_secret, group), .hook = secret_group,
	 .help = "Group of this host that may read the list of those that are valid, beside root: of whoever checks them. Default: none."},
	{.key = NULL},
};
/* clang-format on */

struct place {
	const struct yaml_tree *tree;
	const struct conf_service *service;
	const struct conf_secret *secret;
	struct err *err;
};

/* NULL: the key is not there. */
static const struct yaml_node *place_of(const struct place *p, const char *key)
{
	char path[2 * CONF_NAME_MAX + 64];
	snprintf(path, sizeof(path), "services/%s/secrets/%s", p->service->name, p->secret->name);
	const struct yaml_node *all = yaml_tree_find(p->tree, path);
	if (!key)
		return all;
	snprintf(path, sizeof(path), "services/%s/secrets/%s/%s", p->service->name, p->secret->name, key);
	const struct yaml_node *one = yaml_tree_find(p->tree, path);
	return one != all ? one : NULL;
}

static int check_kind(const struct place *p)
{
	static const struct {
		const char *key;
		unsigned kinds, needed; /* bit per kind */
	} rows[] = {
	        {"path", 1u << CONF_SECRET_TOKEN, 1u << CONF_SECRET_TOKEN},
	        {"owner", 1u << CONF_SECRET_TOKEN, 0},
	        {"mode", 1u << CONF_SECRET_TOKEN, 0},
	        {"user", 1u << CONF_SECRET_PASSWORD | 1u << CONF_SECRET_SSH_USER_KEY,
	         1u << CONF_SECRET_PASSWORD | 1u << CONF_SECRET_SSH_USER_KEY},
	};
	for (size_t i = 0; i < countof(rows); i++) {
		const struct yaml_node *node = place_of(p, rows[i].key);
		unsigned kind = 1u << p->secret->kind;
		if (!node && (rows[i].needed & kind))
			return yaml_fail(place_of(p, NULL), p->err, "secret '%s' is a %s and needs '%s'", p->secret->name,
			                 kinds[p->secret->kind], rows[i].key);
		if (node && !(rows[i].kinds & kind))
			return yaml_fail(node, p->err, "secret '%s' is a %s, which has no '%s'", p->secret->name,
			                 kinds[p->secret->kind], rows[i].key);
	}
	return 0;
}

static bool same_matter(const struct conf_secret *a, const struct conf_secret *b)
{
	return a->kind == b->kind && (a->kind == CONF_SECRET_SSH_HOST_KEY ||
	                              (a->kind == CONF_SECRET_TOKEN ? strcmp(a->path, b->path) : strcmp(a->user, b->user)) == 0);
}

int conf_secrets_check(const struct yaml_tree *tree, const struct conf_service *service, struct err *err)
{
	struct place p = {.tree = tree, .service = service, .err = err};
	for (size_t i = 0; i < service->n_secrets; i++) {
		p.secret = &service->secrets[i];
		int e = check_kind(&p);
		if (e < 0)
			return e;
		for (size_t j = 0; j < i; j++)
			if (same_matter(p.secret, &service->secrets[j]))
				return yaml_fail(place_of(&p, NULL), err,
				                 "secrets '%s' and '%s' of service '%s' are for the same place in the guest",
				                 service->secrets[j].name, p.secret->name, service->name);
	}
	return 0;
}
