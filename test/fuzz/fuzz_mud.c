/* Whatever is read keeps to its limits and compiles to a text in which nothing of the profile's can end nft's quotes or lines. */
#include "mud/profile.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void mud_check(const struct mud *mud)
{
	assert(mud->n_from <= mud->n_aces && mud->n_aces <= MUD_ACES_MAX);
	assert(mud->n_names <= MUD_NAMES_MAX && mud->n_controllers <= MUD_CONTROLLERS_MAX);
	assert(mud->cache_hours >= 1 && mud->cache_hours <= 168);
	for (size_t i = 0; i < mud->n_aces; i++) {
		const struct mud_ace *ace = &mud->aces[i];
		assert(ace->name[0] && memchr(ace->name, 0, sizeof(ace->name)));
		assert(ace->peer != MUD_NAME || ace->which < mud->n_names);
		assert(ace->peer != MUD_CONTROLLER || ace->which < mud->n_controllers);
		assert(ace->own_port.low <= ace->own_port.high && ace->remote_port.low <= ace->remote_port.high);
		assert(ace->own.prefix <= (ace->v6 ? 128 : 32) && ace->remote.prefix <= (ace->v6 ? 128 : 32));
	}
}

static void peers_any(void *arg unused_arg, const struct mud_ace *ace unused_arg, FILE *out)
{
	fputs("{ }", out);
}

/* What a tap keeps of it names nobody by name, and nothing but blanks, digits and nft's own letters is in its rules. */
static void profile_check(const uint8_t *bytes, size_t size)
{
	static const struct conf conf = {.guests4 = {{0x000200c0}, 26}, .guests6 = {{.s6_addr = {0x20, 1, 0xd, 0xb8}}, 64}};
	static const struct conf_service service = {.n_controllers4 = 1, .n_local6 = 1};
	struct err err = {0};
	struct mud *mud = mud_profile_read(&conf, &service, "fuzz", (const char *)bytes, size, &err);
	assert(mud || (err.code < 0 && err.text[0] && !strchr(err.text, '\n')));
	for (size_t i = 0; mud && i < mud->n_aces; i++) {
		char *text;
		size_t length;
		FILE *out = open_memstream(&text, &length);
		assert(out && mud->aces[i].peer != MUD_NAME);
		mud_match_put(&mud->aces[i], i < mud->n_from, peers_any, NULL, out);
		fclose(out);
		assert(strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.:/-!=%{} ") == length);
		free(text);
	}
	free(mud);
}

/* Per entry one line, and on each line an even number of quotes. */
static void rules_check(const struct mud *mud, const char *text)
{
	size_t quotes = 0, comments = 0;
	for (const char *c = text; *c; c++) {
		quotes += *c == '"';
		comments += strncmp(c, " counter ", 9) == 0 && strncmp(c, " counter name", 13) != 0;
		assert(*c != '\n' || quotes % 2 == 0);
		assert(*c == '\n' || *c == '\t' || (*c >= 0x20 && *c < 0x7f));
	}
	assert(comments >= mud->n_aces);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct err err = {0};
	struct mud *mud = mud_read("fuzz", (const char *)bytes, size, &err);
	if (!mud) {
		assert(err.code < 0 && err.text[0] && !strchr(err.text, '\n'));
		return 0;
	}
	mud_check(mud);
	profile_check(bytes, size);
	char *text;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	assert(out);
	mud_compile(mud, &(struct mud_target){.link = "kb7", .outside = MUD_LIMIT, .limit_per_second = 1}, out);
	fclose(out);
	rules_check(mud, text);
	free(text);
	free(mud);
	return 0;
}
