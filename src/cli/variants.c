/* `koboshi variants`: what there is to choose from, what each is made of, what is suspect, and how much any two share. */
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>

static const char *const layers[] = {"server", "runtime", "kernel", "libc"};

static void print_variants(const json_t *variants)
{
	static const char *const columns[] = {"NAME", "SUITE", "IMAGE", "SERVER", "RUNTIME", "KERNEL", "LIBC"};
	size_t i;
	json_t *variant;
	struct libscols_table *table = show_table_new(columns, countof(columns));
	json_array_foreach(variants, i, variant)
	{
		struct libscols_line *row = show_row(table);
		const char *image = show_string(variant, "image");
		show_cell(row, 0, show_string(variant, "name"), SHOW_BOLD);
		show_cell(row, 1, show_string(variant, "suite"), SHOW_PLAIN);
		show_cell(row, 2, image, show_mood_of(image));
		for (size_t j = 0; j < countof(layers); j++)
			show_cell(row, 3 + j, show_string(json_object_get(variant, "components"), layers[j]), SHOW_PLAIN);
	}
	show_table_print(table);
	json_array_foreach(variants, i, variant) if (*show_string(variant, "summary"))
	        printf("  %s: %s\n", show_string(variant, "name"), show_string(variant, "summary"));
}

static void print_suspicion(const json_t *variants)
{
	size_t i, j;
	json_t *variant, *suspect;
	bool headed = false;
	json_array_foreach(variants, i, variant) json_array_foreach(json_object_get(variant, "suspicion"), j, suspect)
	{
		char value[SHOW_TEXT_MAX];
		if (!headed)
			printf("\n%sSuspicion%s\n", show_on(SHOW_BOLD), show_off(SHOW_BOLD));
		headed = true;
		printf("  %-10s %s%s%s  %s\n", show_string(variant, "name"), show_on(SHOW_WARN),
		       show_string(suspect, "component"), show_off(SHOW_WARN), show_member(suspect, "value", value));
	}
}

static void print_overlap(const json_t *overlap)
{
	static const char *const columns[] = {"PAIR", "SERVER", "RUNTIME", "KERNEL", "LIBC", "PACKAGES IN COMMON"};
	size_t i;
	json_t *pair;
	if (json_array_size(overlap) == 0)
		return;
	printf("\n%sWhat two have in common%s\n", show_on(SHOW_BOLD), show_off(SHOW_BOLD));
	struct libscols_table *table = show_table_new(columns, countof(columns));
	json_array_foreach(overlap, i, pair)
	{
		struct libscols_line *row = show_row(table);
		char text[160];
		snprintf(text, sizeof(text), "%.60s, %.60s", show_string(pair, "a"), show_string(pair, "b"));
		show_cell(row, 0, text, SHOW_BOLD);
		for (size_t j = 0; j < countof(layers); j++) {
			const char *how = show_string(json_object_get(pair, "layers"), layers[j]);
			show_cell(row, 1 + j, how,
			          strcmp(how, "different") == 0 ? SHOW_GOOD
			          : strcmp(how, "same") == 0    ? SHOW_BAD
			                                        : SHOW_WARN);
		}
		snprintf(text, sizeof(text), "%lld (of %lld and %lld): %.0f %%",
		         (long long)json_integer_value(json_object_get(pair, "packages_same")),
		         (long long)json_integer_value(json_object_get(pair, "packages_a")),
		         (long long)json_integer_value(json_object_get(pair, "packages_b")),
		         100 * json_number_value(json_object_get(pair, "share")));
		show_cell(row, 5, text, SHOW_PLAIN);
	}
	show_table_print(table);
}

int cli_variants(const struct cli *cli)
{
	struct api_answer answer;
	if (cli_ask(cli, "/v1/variants", NULL, &answer) != 0)
		return CLI_FAILED;
	const json_t *variants = json_object_get(answer.json, "variants");
	if (!cli->json && json_array_size(variants) == 0)
		printf("no variant yet: koboshi-image makes them\n");
	else if (!cli->json) {
		print_variants(variants);
		print_suspicion(variants);
		print_overlap(json_object_get(answer.json, "overlap"));
	}
	api_answer_done(&answer);
	return 0;
}
