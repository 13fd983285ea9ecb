/* The guest's own settings. Read once, before anything is guarded: a line that is not understood stops the agent, so that a
 * misspelt guard is not a missing one. */
#include "guest/conf.h"
#include "lib/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_WORDS 3

static bool take_text(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);
	if (length == 0 || length >= size)
		return false;
	memcpy(to, from, length + 1);
	return true;
}

static bool take_number(const char *from, unsigned long min, unsigned long max, unsigned long *ret_number)
{
	char *end;
	errno = 0;
	unsigned long number = strtoul(from, &end, 10);
	if (from[0] < '0' || from[0] > '9' || *end || errno || number < min || number > max)
		return false;
	*ret_number = number;
	return true;
}

static bool take_choice(const char *from, const char *yes, const char *no, bool *ret_yes)
{
	if (strcmp(from, yes) != 0 && strcmp(from, no) != 0)
		return false;
	*ret_yes = strcmp(from, yes) == 0;
	return true;
}

static bool take_place(const char *from, char (*places)[CONF_TEXT], unsigned *n_places)
{
	if (from[0] != '/' || *n_places == CONF_PLACES || !take_text(places[*n_places], CONF_TEXT, from))
		return false;
	(*n_places)++;
	return true;
}

static bool take_listen(struct conf *c, const char *kind, const char *from)
{
	unsigned long port;
	bool udp;
	if (c->n_listens == CONF_PORTS || !take_choice(kind, "udp", "tcp", &udp) || !take_number(from, 1, UINT16_MAX, &port))
		return false;
	c->listens[c->n_listens++] = (struct conf_port){.udp = udp, .port = (uint16_t)port};
	return true;
}

static bool take_harden(struct conf *c, const char *from)
{
	bool memory;
	if (!take_choice(from, "memory", "namespaces", &memory))
		return false;
	c->no_memory |= memory;
	c->no_namespaces |= !memory;
	return true;
}

static bool take_module(struct conf *c, const char *from)
{
	if (c->n_modules == CONF_MODULES || !take_text(c->modules[c->n_modules], sizeof(c->modules[0]), from))
		return false;
	c->n_modules++;
	return true;
}

static bool take_file(char to[static CONF_TEXT], const char *from)
{
	return from[0] == '/' && take_text(to, CONF_TEXT, from);
}

/* One line's words; false when they say nothing that we know. */
static bool take_words(struct conf *c, char *words[static LINE_WORDS], unsigned n)
{
	const char *key = words[0];
	unsigned long number;
	if (n == 3)
		return strcmp(key, "listen") == 0 && take_listen(c, words[1], words[2]);
	if (n != 2)
		return false;
	if (strcmp(key, "list") == 0)
		return take_file(c->list, words[1]);
	if (strcmp(key, "restart") == 0)
		return take_file(c->restart, words[1]);
	if (strcmp(key, "stop") == 0)
		return take_file(c->stop, words[1]);
	if (strcmp(key, "carry") == 0)
		return take_file(c->carry, words[1]);
	if (strcmp(key, "root") == 0)
		return take_choice(words[1], "trusted", "hashed", &c->root_trusted);
	if (strcmp(key, "late") == 0)
		return take_choice(words[1], "allow", "deny", &c->late_allow);
	if (strcmp(key, "reads") == 0)
		return take_choice(words[1], "on", "off", &c->reads);
	if (strcmp(key, "harden") == 0)
		return take_harden(c, words[1]);
	if (strcmp(key, "mount") == 0)
		return take_place(words[1], c->mounts, &c->n_mounts);
	if (strcmp(key, "watch") == 0)
		return take_place(words[1], c->watches, &c->n_watches);
	if (strcmp(key, "spare") == 0)
		return take_place(words[1], c->spared, &c->n_spared);
	if (strcmp(key, "module") == 0)
		return take_module(c, words[1]);
	if (strcmp(key, "deadline") == 0 && take_number(words[1], 10, 60000, &number))
		return c->deadline_ms = (unsigned)number, true;
	if (strcmp(key, "service") == 0 && take_number(words[1], 1, UINT16_MAX, &number))
		return c->service = (uint16_t)number, true;
	if (strcmp(key, "learn") == 0 && take_number(words[1], 1, 7 * 86400, &number))
		return c->learn_s = (unsigned)number, true;
	return false;
}

static int read_line(const char *path, unsigned number, char *line, struct conf *c, struct err *err)
{
	char *words[LINE_WORDS] = {NULL}, *rest = line, *word;
	unsigned n = 0;
	line[strcspn(line, "#\n")] = '\0';
	while ((word = strtok_r(n ? NULL : line, " \t", &rest))) {
		if (n == LINE_WORDS)
			return err_set(err, -EINVAL, "%s:%u: there are too many words in this line", path, number);
		words[n++] = word;
	}
	if (n == 0 || take_words(c, words, n))
		return 0;
	return err_set(err, -EINVAL, "%s:%u: `%s` is no setting, has a value that it cannot have, or there are too many of it",
	               path, number, words[0]);
}

int conf_read(const char *path, struct conf *ret_conf, struct err *err)
{
	struct conf conf;
	memset(&conf, 0, sizeof(conf));
	conf.deadline_ms = 5000;
	conf.reads = true;
	text_copy(conf.carry, sizeof(conf.carry), "/etc/koboshi/carry");
	FILE *file = fopen(path, "re");
	if (!file)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	char line[512];
	int r = 0;
	for (unsigned number = 1; r == 0 && fgets(line, sizeof(line), file); number++)
		r = read_line(path, number, line, &conf, err);
	fclose(file);
	if (r == 0 && !conf.list[0])
		r = err_set(err, -EINVAL, "%s: no list of programs is named", path);
	if (r == 0)
		*ret_conf = conf;
	return r;
}
