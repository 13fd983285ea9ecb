#pragma once
/* The configuration's table as text: for the manual, for editors. */
#include <stdio.h>

void conf_print_manual(FILE *to);      /* scdoc: the key list of koboshi.conf(5) */
void conf_print_json_schema(FILE *to); /* draft 2020-12 */
