/* The list of snapshots: a small text file, and the choices among them. See snapshots.h. */
#include "act/vault/snapshots.h"

#include "lib/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_BYTES_MAX (SNAPSHOTS_MAX * 256)
#define HEAD "koboshi-vault 1"
#define HOUR_US 3600000000ll
#define SAME_US 5000000ll

static bool is_id(const char *id)
{
	size_t length = strlen(id);
	return length >= 8 && length < SNAPSHOT_ID_MAX && strspn(id, "0123456789abcdef") == length;
}

static bool line_read(const char *line, struct snapshot *ret)
{
	char state[16];
	int end = 0;
	int n = sscanf(line, "%" SCNu64 " %64s %" SCNd64 " %" SCNd64 " %" SCNu64 " %" SCNu32 " %15s%n", &ret->number, ret->id,
	               &ret->begun_us, &ret->ended_us, &ret->bytes, &ret->files, state, &end);
	ret->suspect = n == 7 && strcmp(state, "suspect") == 0;
	return n == 7 && line[end] == '\0' && (ret->suspect || strcmp(state, "good") == 0) && is_id(ret->id) && ret->number > 0 &&
	       ret->begun_us > 0 && ret->ended_us >= ret->begun_us;
}

int snapshots_load(const char *path, struct snapshots *ret, struct err *err)
{
	auto_free uint8_t *text = NULL;
	size_t size;
	int r = file_read(path, FILE_BYTES_MAX, &text, &size, err);
	if (r < 0)
		return r;
	static struct snapshots s;
	memset(&s, 0, sizeof(s));
	unsigned at = 0;
	char *rest = (char *)text;
	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		if (at++ == 0) {
			if (sscanf(line, HEAD " %" SCNu64, &s.last) != 1)
				return err_set(err, -EBADMSG, "%s: is no list of snapshots", path);
			continue;
		}
		if (s.n_rolled < SNAPSHOTS_ROLLED && sscanf(line, "rolled %" SCNu64 " %" SCNd64, &s.rolled[s.n_rolled].incident,
		                                            &s.rolled[s.n_rolled].before_us) == 2) {
			s.n_rolled++;
			continue;
		}
		bool good = s.n < SNAPSHOTS_MAX && line_read(line, &s.all[s.n]);
		if (!good || s.all[s.n].number > s.last || (s.n && s.all[s.n].number <= s.all[s.n - 1].number))
			return err_set(err, -EBADMSG, "%s:%u: is damaged", path, at);
		s.n++;
	}
	if (at == 0)
		return err_set(err, -EBADMSG, "%s: is empty", path);
	*ret = s;
	return 0;
}

int snapshots_save(const char *path, const struct snapshots *s, struct err *err)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return err_set(err, -ENOMEM, "no memory for the list of snapshots");
	fprintf(out, HEAD " %" PRIu64 "\n", s->last);
	for (size_t i = 0; i < s->n; i++) {
		const struct snapshot *one = &s->all[i];
		fprintf(out, "%" PRIu64 " %s %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu32 " %s\n", one->number, one->id,
		        one->begun_us, one->ended_us, one->bytes, one->files, one->suspect ? "suspect" : "good");
	}
	for (size_t i = 0; i < s->n_rolled; i++)
		fprintf(out, "rolled %" PRIu64 " %" PRId64 "\n", s->rolled[i].incident, s->rolled[i].before_us);
	int r = fclose(out) == 0 ? file_write(path, text, size, 0600, err) : err_set(err, -ENOMEM, "no memory for %s", path);
	free(text);
	return r;
}

const struct snapshot *snapshots_add(struct snapshots *s, const struct snapshot *fresh)
{
	if (s->n == SNAPSHOTS_MAX) {
		size_t leave = 0;
		while (leave < s->n && !s->all[leave].suspect)
			leave++;
		leave = leave < s->n ? leave : 0;
		memmove(&s->all[leave], &s->all[leave + 1], (s->n - leave - 1) * sizeof(s->all[0]));
		s->n--;
	}
	struct snapshot *one = &s->all[s->n++];
	*one = *fresh;
	one->number = ++s->last;
	return one;
}

const struct snapshot *snapshots_before(const struct snapshots *s, int64_t before_us)
{
	const struct snapshot *best = NULL;
	for (size_t i = 0; i < s->n; i++)
		if (!s->all[i].suspect && s->all[i].ended_us < before_us && (!best || s->all[i].ended_us >= best->ended_us))
			best = &s->all[i];
	return best;
}

const struct snapshot *snapshots_find(const struct snapshots *s, uint64_t number)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->all[i].number == number)
			return &s->all[i];
	return NULL;
}

size_t snapshots_doubt(struct snapshots *s, int64_t since_us)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		if (s->all[i].ended_us >= since_us && !s->all[i].suspect) {
			s->all[i].suspect = true;
			n++;
		}
	return n;
}

/* The newest of each span of time stay, for so many spans that have one. */
static void keep_by(const struct snapshots *s, bool suspect, int64_t span_us, uint32_t wanted, bool drop[])
{
	int64_t last_span = -1;
	for (size_t i = s->n; i-- > 0 && wanted > 0;) {
		int64_t span = s->all[i].begun_us / span_us;
		if (s->all[i].suspect != suspect || span == last_span)
			continue;
		last_span = span;
		drop[i] = false;
		wanted--;
	}
}

size_t snapshots_to_forget(const struct snapshots *s, const struct conf_vault *conf, bool ret_drop[static SNAPSHOTS_MAX])
{
	size_t n = 0;
	memset(ret_drop, 1, s->n * sizeof(ret_drop[0]));
	for (int suspect = 0; suspect < 2; suspect++) {
		keep_by(s, suspect, 1, conf->keep_last, ret_drop);
		keep_by(s, suspect, HOUR_US, conf->keep_hourly, ret_drop);
		keep_by(s, suspect, 24 * HOUR_US, conf->keep_daily, ret_drop);
	}
	for (size_t i = 0; i < s->n; i++)
		n += ret_drop[i];
	return n;
}

void snapshots_rolled(struct snapshots *s, uint64_t incident, int64_t before_us)
{
	if (s->n_rolled == SNAPSHOTS_ROLLED)
		memmove(&s->rolled[0], &s->rolled[1], --s->n_rolled * sizeof(s->rolled[0]));
	s->rolled[s->n_rolled].incident = incident;
	s->rolled[s->n_rolled++].before_us = before_us;
}

bool snapshots_is_rolled(const struct snapshots *s, uint64_t incident, int64_t before_us)
{
	for (size_t i = 0; i < s->n_rolled; i++)
		if (s->rolled[i].incident == incident && s->rolled[i].before_us > before_us - SAME_US &&
		    s->rolled[i].before_us < before_us + SAME_US)
			return true;
	return false;
}

void snapshots_drop(struct snapshots *s, const bool drop[static SNAPSHOTS_MAX])
{
	size_t kept = 0;
	for (size_t i = 0; i < s->n; i++)
		if (!drop[i])
			s->all[kept++] = s->all[i];
	s->n = kept;
}
