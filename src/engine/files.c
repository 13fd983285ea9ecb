/* See files.h. Nothing is decided here: a bad file is evidence like any other. */
#include "engine/engine.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <string.h>

void files_ready(struct engine *e)
{
	e->files.n_problems = 0;
}

static void event_keep(struct engine_files *files, const struct wire_note *note)
{
	struct files_event *event = &files->events[files->n_events++ % FILES_EVENTS_MAX];
	*event = (struct files_event){.time_us = note->time_us, .instance = note->instance, .bad = note->type == NOTICE_FILE_BAD};
	text_copy(event->text, sizeof(event->text), note->text);
}

/* "SHA256 PATH" */
static void unknown_keep(struct engine_files *files, const struct wire_note *note)
{
	if (strspn(note->text, "0123456789abcdef") != 64 || note->text[64] != ' ')
		return;
	size_t n = files->n_unknown < FILES_UNKNOWN_MAX ? (size_t)files->n_unknown : FILES_UNKNOWN_MAX;
	for (size_t i = 0; i < n; i++)
		if (strncmp(files->unknown[i].sha256, note->text, 64) == 0)
			return;
	struct files_unknown *unknown = &files->unknown[files->n_unknown++ % FILES_UNKNOWN_MAX];
	*unknown = (struct files_unknown){.time_us = note->time_us};
	memcpy(unknown->sha256, note->text, 64);
	text_copy(unknown->path, sizeof(unknown->path), note->text + 65);
}

static void bad_found(struct engine *e, const struct wire_note *note)
{
	struct engine_service *s = note->instance ? service_of_instance(e, note->instance) : NULL;
	log_warning("engine.files", "%s%s", note->text, s ? "" : " (of no instance that is there)");
	if (!s)
		return;
	struct evidence evidence = {.time_us = note->time_us,
	                            .instance = note->instance,
	                            .vantage = VANTAGE_FILES,
	                            .finding = FINDING_MALWARE,
	                            .began_us = note->time_us};
	service_found(s, &evidence, note->text);
}

void files_notice(struct engine *e, const struct wire_note *note)
{
	struct engine_files *files = &e->files;
	if (note->type == NOTICE_FILE_BAD || note->type == NOTICE_FILE_SKIPPED)
		event_keep(files, note);
	if (note->type == NOTICE_FILE_BAD)
		bad_found(e, note);
	else if (note->type == NOTICE_FILE_UNKNOWN)
		unknown_keep(files, note);
	else if (note->type == NOTICE_FILE_COUNTS)
		files->counts = note->files;
	else if (note->type == NOTICE_FILE_TROUBLE && files->n_problems < FILES_PROBLEMS_MAX)
		text_copy(files->problems[files->n_problems++], WIRE_TEXT_MAX, note->text);
}
