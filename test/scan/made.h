#pragma once
/* A folder to make files in. */
#include <stdbool.h>
#include <stddef.h>

extern char made_dir[64];

void made_open(void);
void made_close(void);
const char *made_path(const char *name); /* in the folder; a few are valid at a time */
void made_file(const char *name, const void *bytes, size_t size);
void made_text(const char *name, const char *text);
