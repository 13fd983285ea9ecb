#pragma once
/* The two ways that koboshi-scan is run. */
#include "scan/scan.h"

/* Judges the files at `paths`, and what is below the folders, and prints a line (or a JSON object) for each. The exit status: 0
 * nothing bad, 1 something bad, 3 nothing bad, but something could not be judged or a rule or list could not be used. */
int once(const struct conf_files *conf, char **paths, size_t n_paths, bool json);

/* Watches the configured folders and tells the engine, until the supervisor ends. */
int serve(const struct conf *conf, struct err *err) must_use;

/* For a sentence: what is no printable ASCII becomes '?', and of what is longer than fits the end is kept. */
void path_print(char *to, size_t size, const char *folder, const char *path);
