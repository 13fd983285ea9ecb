/* A table of interpreters and one walk along the arguments. Where a call can be read in two ways, both files are taken for
 * scripts: a data file that is refused is told and seen, a script that runs is not. */
#include "guest/script.h"

#include <string.h>

struct grammar {
	const char *name;     /* what its file's name begins with; a version may follow */
	const char *takes;    /* options (letters) with an argument of their own */
	const char *code;     /* options whose argument is the program's text: there is no file then */
	const char *file;     /* options whose argument is a script */
	bool plain;           /* the first argument that is no option is a script */
	const char *suffixes; /* each with its dot and a space behind */
};

static const struct grammar grammars[SCRIPT_MAX_] = {
        [SCRIPT_OTHER] = {"program", "", "", "", true, ""},
        [SCRIPT_BUSYBOX] = {"busybox", "", "", "", false, ""},
        [SCRIPT_SH] = {"sh", "oO", "c", "", true, ".sh .bash "},
        [SCRIPT_AWK] = {"awk", "Fve", "", "fE", false, ".awk "},
        [SCRIPT_LUA] = {"lua", "el", "", "", true, ".lua .luac "},
        [SCRIPT_PHP] = {"php", "cdgz", "rBR", "fFE", true, ".php .phtml .phar .inc "},
        [SCRIPT_PHP_SERVER] = {"php-fpm", "", "", "", false, ".php .phtml .phar .inc "},
        [SCRIPT_PYTHON] = {"python", "WX", "cm", "", true, ".py .pyc .pyo .pth "},
        [SCRIPT_PERL] = {"perl", "", "eE", "", true, ".pl .pm .plx "},
        [SCRIPT_RUBY] = {"ruby", "rIECFKWTx", "e", "", true, ".rb "},
        [SCRIPT_NODE] = {"node", "rC", "ep", "", true, ".js .mjs .cjs "},
};

/* Names that mean the same. */
static const struct {
	const char *name;
	uint8_t language;
} others[] = {
        {"ash", SCRIPT_SH},   {"bash", SCRIPT_SH},    {"dash", SCRIPT_SH},     {"hush", SCRIPT_SH},  {"ksh", SCRIPT_SH},
        {"mksh", SCRIPT_SH},  {"zsh", SCRIPT_SH},     {"yash", SCRIPT_SH},     {"gawk", SCRIPT_AWK}, {"mawk", SCRIPT_AWK},
        {"nawk", SCRIPT_AWK}, {"luajit", SCRIPT_LUA}, {"nodejs", SCRIPT_NODE}, {"rbash", SCRIPT_SH}, {"php-cgi", SCRIPT_PHP},
};

/* "lua5.4" and "python3.11" are lua and python: behind the name only a version may stand. */
static bool named(const char *name, const char *base)
{
	size_t length = strlen(base);
	return strncmp(name, base, length) == 0 && name[length + strspn(name + length, "0123456789.-")] == '\0';
}

uint8_t script_language(const char *name)
{
	for (unsigned language = SCRIPT_BUSYBOX; language < SCRIPT_MAX_; language++)
		if (named(name, grammars[language].name))
			return (uint8_t)language;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (named(name, others[i].name))
			return others[i].language;
	return SCRIPT_OTHER;
}

const char *script_name(uint8_t language)
{
	return grammars[language < SCRIPT_MAX_ ? language : SCRIPT_OTHER].name;
}

bool script_loader(const char *name)
{
	return strncmp(name, "ld-linux", 8) == 0 || strncmp(name, "ld-musl-", 8) == 0 || strncmp(name, "ld.so", 5) == 0 ||
	       strncmp(name, "ld64.so", 7) == 0 || (strncmp(name, "ld-2.", 5) == 0 && strstr(name, ".so"));
}

bool script_suffix(uint8_t language, const char *path)
{
	const char *dot = strrchr(path, '.');
	if (!dot || strchr(dot, '/') || strlen(dot) > 8 || language >= SCRIPT_MAX_)
		return false;
	char wanted[10];
	size_t length = strlen(dot);
	memcpy(wanted, dot, length);
	memcpy(wanted + length, " ", 2);
	return strstr(grammars[language].suffixes, wanted);
}

struct walk {
	const char *line;
	size_t size, at, n;
	size_t *ret_at;
	bool named; /* an option named the script: what follows is data */
};

static const char *next(struct walk *w)
{
	if (w->at >= w->size)
		return NULL;
	const char *word = w->line + w->at;
	w->at += strnlen(word, w->size - w->at) + 1;
	return word;
}

static void candidate(struct walk *w, const char *word)
{
	if (word && word[0] && w->n < SCRIPT_CANDIDATES)
		w->ret_at[w->n++] = (size_t)(word - w->line);
}

/* A busybox is what it was called by; "busybox sh FILE" says so one word later. */
static uint8_t applet(struct walk *w)
{
	const char *word = next(w);
	for (int tries = 0; word && tries < 2; tries++, word = next(w)) {
		const char *slash = strrchr(word, '/');
		const char *name = slash ? slash + 1 : word;
		uint8_t language = script_language(name[0] == '-' ? name + 1 : name);
		if (language == SCRIPT_SH || language == SCRIPT_AWK)
			return language;
		if (language != SCRIPT_BUSYBOX)
			break;
	}
	return SCRIPT_BUSYBOX;
}

/* One option, the rest of its word included. False: the program's text stands in the arguments, no file follows. */
static bool option(struct walk *w, const struct grammar *g, const char *word)
{
	if (word[1] == '-') { /* long ones bring their argument along, or we read both ways */
		const char *value = strchr(word, '=');
		if (value)
			candidate(w, value + 1);
		return true;
	}
	for (const char *letter = word + 1; *letter; letter++) {
		if (strchr(g->code, *letter))
			return false;
		if (strchr(g->file, *letter)) {
			candidate(w, letter[1] ? letter + 1 : next(w));
			w->named = true;
			return true;
		}
		if (strchr(g->takes, *letter)) {
			if (!letter[1])
				next(w);
			return true;
		}
	}
	return true;
}

size_t script_arguments(uint8_t *language, const char *line, size_t size, size_t ret_at[static SCRIPT_CANDIDATES])
{
	struct walk w = {.line = line, .size = size, .ret_at = ret_at};
	if (*language == SCRIPT_BUSYBOX)
		*language = applet(&w);
	else
		next(&w);
	const struct grammar *g = &grammars[*language < SCRIPT_MAX_ ? *language : SCRIPT_OTHER];
	const char *word;
	bool behind_option = false;
	while ((word = next(&w))) {
		if (strcmp(word, "--") == 0) {
			if (g->plain)
				candidate(&w, next(&w));
			break;
		}
		if (strcmp(word, "-") == 0) /* for sh the end of options, for others standard input: what follows is data then */
			continue;
		if ((word[0] == '-' || (word[0] == '+' && *language == SCRIPT_SH)) && word[1]) {
			if (!option(&w, g, word))
				break;
			behind_option = word[1] == '-' && !strchr(word, '=');
			continue;
		}
		if (!g->plain) /* awk's text or data */
			continue;
		if (w.named)
			break;
		candidate(&w, word);
		if (!behind_option)
			break;
		behind_option = false;
	}
	return w.n;
}
