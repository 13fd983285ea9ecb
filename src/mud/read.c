/* The description itself: RFC 8520, section 3. What its policies name is read from the access lists at once, in the policies'
 * order. */
#include "mud/inside.h"

#include "lib/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 256
#define LISTS_MAX 32 /* that one policy names */

static int read_version(struct reading *r, const struct place *at, const json_t *value)
{
	long version;
	return mud_number(r, at, value, 1, 1, &version);
}

static int read_url(struct reading *r, const struct place *at, const json_t *value)
{
	int e = mud_text(r, at, value, r->mud->url, sizeof(r->mud->url));
	if (e == 0 && strncmp(r->mud->url, "https://", 8) != 0)
		return mud_refuse(r, at, "must begin with https:// (RFC 8520, section 3.2)");
	return e;
}

static int read_update(struct reading *r, const struct place *at, const json_t *value)
{
	return mud_text(r, at, value, r->mud->last_update, sizeof(r->mud->last_update));
}

static int read_systeminfo(struct reading *r, const struct place *at, const json_t *value)
{
	return mud_text(r, at, value, r->mud->systeminfo, sizeof(r->mud->systeminfo));
}

static int read_validity(struct reading *r, const struct place *at, const json_t *value)
{
	long hours;
	int e = mud_number(r, at, value, 1, 168, &hours);
	if (e == 0)
		r->mud->cache_hours = (unsigned)hours;
	return e;
}

static int read_supported(struct reading *r, const struct place *at, const json_t *value)
{
	if (!json_is_boolean(value))
		return mud_refuse(r, at, "must be true or false");
	r->mud->supported = json_is_true(value);
	return 0;
}

/* Checked and not kept: nothing follows from it. */
static int read_remark(struct reading *r, const struct place *at, const json_t *value)
{
	char text[TEXT_MAX];
	return mud_text(r, at, value, text, sizeof(text));
}

static int read_extension(struct reading *r, const struct place *at, const json_t *value unused_arg)
{
	return mud_refuse(r, at, "extensions are not supported by this compiler");
}

static int read_extensions(struct reading *r, const struct place *at, const json_t *value)
{
	return mud_list(r, at, value, 1, read_extension);
}

/* --- policies */

static int read_list_name(struct reading *r, const struct place *at, const json_t *value)
{
	char name[MUD_WORD_MAX];
	int e = mud_text(r, at, value, name, sizeof(name));
	return e < 0 ? e : mud_acl(r, at, name);
}

static int read_list(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {{"name", read_list_name, true}};
	return mud_object(r, at, value, members, countof(members));
}

static int read_lists(struct reading *r, const struct place *at, const json_t *value)
{
	return mud_list(r, at, value, LISTS_MAX, read_list);
}

static int read_access_lists(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {{"access-list", read_lists, true}};
	return mud_object(r, at, value, members, countof(members));
}

static int read_policy(struct reading *r, const struct place *at, const json_t *value)
{
	static const struct member members[] = {{"access-lists", read_access_lists, true}};
	return mud_object(r, at, value, members, countof(members));
}

/* Policies wait until all else is known, and what the device sends comes first: see mud_policies. */
static int later(struct reading *r unused_arg, const struct place *at unused_arg, const json_t *value unused_arg)
{
	return 0;
}

static const struct member description[] = {
        {"mud-version", read_version, true},      {"mud-url", read_url, true},
        {"last-update", read_update, true},       {"mud-signature", read_remark, false},
        {"cache-validity", read_validity, false}, {"is-supported", read_supported, true},
        {"systeminfo", read_systeminfo, false},   {"mfg-name", read_remark, false},
        {"model-name", read_remark, false},       {"firmware-rev", read_remark, false},
        {"software-rev", read_remark, false},     {"documentation", read_remark, false},
        {"extensions", read_extensions, false},   {"from-device-policy", later, false},
        {"to-device-policy", later, false},
};

static int read_description(struct reading *r, const struct place *at, const json_t *value)
{
	return mud_object(r, at, value, description, countof(description));
}

static const struct member whole[] = {
        {"ietf-mud:mud", read_description, true},
        {"ietf-access-control-list:acls", later, true},
};

static const json_t *either(const json_t *object, const char *name, const char *short_name)
{
	const json_t *value = json_object_get(object, name);
	return value ? value : json_object_get(object, short_name);
}

static int policies(struct reading *r, const json_t *root)
{
	static const struct {
		const char *name, *qualified;
	} both[] = {{"from-device-policy", "ietf-mud:from-device-policy"}, {"to-device-policy", "ietf-mud:to-device-policy"}};
	const json_t *mud = either(root, "ietf-mud:mud", "mud");
	struct place top = {.key = "ietf-mud:mud"};
	for (size_t i = 0; i < countof(both); i++) {
		const json_t *policy = either(mud, both[i].qualified, both[i].name);
		struct place at = {.up = &top, .key = both[i].name};
		r->to_device = i == 1;
		int e = policy ? read_policy(r, &at, policy) : 0;
		if (e < 0)
			return e;
		if (i == 0)
			r->mud->n_from = r->mud->n_aces;
	}
	return 0;
}

static int read_whole(struct reading *r, const json_t *root)
{
	int e = mud_object(r, NULL, root, whole, countof(whole));
	r->acls = either(root, "ietf-access-control-list:acls", "acls");
	return e < 0 ? e : policies(r, root);
}

struct mud *mud_read(const char *name, const char *text, size_t size, struct err *err)
{
	json_error_t where;
	if (size > MUD_FILE_MAX) {
		err_set(err, -EFBIG, "%s: has %zu bytes, %u at most", name, size, MUD_FILE_MAX);
		return NULL;
	}
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
	if (!root) {
		err_set(err, -EINVAL, "%s:%d:%d: no JSON: %s", name, where.line, where.column, where.text);
		return NULL;
	}
	struct mud *mud = calloc(1, sizeof(*mud));
	if (!mud)
		abort();
	mud->cache_hours = 48; /* RFC 8520, section 3.5 */
	struct reading r = {.file = name, .err = err, .mud = mud};
	int e = read_whole(&r, root);
	json_decref(root);
	if (e < 0) {
		free(mud);
		return NULL;
	}
	return mud;
}

struct mud *mud_load(const char *path, struct err *err)
{
	auto_free uint8_t *text = NULL;
	size_t size;
	if (file_read(path, MUD_FILE_MAX, &text, &size, err) < 0)
		return NULL;
	return mud_read(path, (const char *)text, size, err);
}
