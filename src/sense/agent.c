/* See agent.h. A stream without edges becomes frames, frames become findings. */
#include "sense/agent.h"

#include "lib/bytes.h"

#include <stdio.h>
#include <string.h>

#define SECOND_US 1000000
#define AHEAD_US 10000000 /* emulated clocks are off, more so on a busy host: so far and twice the time is a lie */
#define CONTRADICTED_EVERY_US 5000000

/* --- telling */

struct ear {
	struct agent_watch *watch;
	int64_t now_us;
	agent_tell *tell;
	void *arg;
};

static void say(const struct ear *ear, enum finding finding, const char *detail)
{
	struct agent_watch *w = ear->watch;
	if (ear->now_us - w->second_us >= SECOND_US) {
		w->second_us = ear->now_us;
		memset(w->told, 0, sizeof(w->told));
	}
	if (w->told[finding] >= AGENT_TOLD_MAX) {
		w->untold++;
		return;
	}
	w->told[finding]++;
	ear->tell(ear->arg, finding, detail);
}

static void nonsense(const struct ear *ear, const char *detail)
{
	ear->watch->nonsense++;
	say(ear, FINDING_NONSENSE, detail);
}

/* The guest's words, so that nobody takes them for ours: in quotes that they cannot end. */
static void told(const struct ear *ear, enum finding finding, const char *before, const char *words, const char *after)
{
	char detail[AGENT_DETAIL], quoted[AGENT_TEXT];
	size_t around = sizeof("its agent says: \"\"") + strlen(before) + strlen(after), room = sizeof(detail) - around;
	text_copy(quoted, sizeof(quoted), words);
	for (char *c = quoted; (c = strchr(c, '"'));)
		*c = '\'';
	if (strlen(quoted) > room)
		memcpy(quoted + room - 3, "...", 4);
	snprintf(detail, sizeof(detail), "its agent says: %s\"%s\"%s", before, quoted, after);
	say(ear, finding, detail);
}

/* --- frames */

static void take_told(const struct ear *ear, const struct agent_frame *frame)
{
	static const char *const denied[AGENT_DENIED_MAX_] = {
	        [AGENT_UNLISTED] = " from running: it is not listed", [AGENT_SCRIPT] = " from running: a script, not listed",
	        [AGENT_MEMORY] = " from running: it lies in memory",  [AGENT_DELETED] = " from running: it is deleted",
	        [AGENT_LOADER] = " from the dynamic loader",
	};
	const char *words = frame->told.text;
	switch ((enum agent_what)frame->told.what) {
	case AGENT_DENIED:
		told(ear, FINDING_DENIED, "kept ", words, denied[frame->told.detail]);
		break;
	case AGENT_CHANGED:
		told(ear, FINDING_CHANGED, "", words, " was changed");
		break;
	case AGENT_ACCOUNT:
		told(ear, FINDING_ACCOUNT, "accounts or keys changed: ", words, "");
		break;
	case AGENT_MODULE:
		told(ear, FINDING_MODULE, "kernel module ", words, " was loaded");
		break;
	case AGENT_LISTENING:
		told(ear, FINDING_LISTENING, "somebody listens on ", words, "");
		break;
	case AGENT_TROUBLE:
		text_copy(ear->watch->trouble, sizeof(ear->watch->trouble), words);
		break;
	case AGENT_RESTARTED: /* what that is worth the path will tell */
	case AGENT_STOPPED:
		ear->watch->carried_out++;
		ear->watch->order_status = frame->told.detail;
		break;
	case AGENT_CARRIED:
		ear->watch->carried++;
		text_copy(ear->watch->carried_path, sizeof(ear->watch->carried_path), words);
		break;
	case AGENT_WHAT_MAX_:
		break;
	}
}

/* From now on silence counts anew. */
static void excuse(struct agent_watch *w, int64_t now_us)
{
	w->since_us = now_us;
	w->goods = w->misses = 0;
	w->busy = false;
}

static void take_beat(const struct ear *ear, const struct agent_frame *frame)
{
	struct agent_watch *w = ear->watch;
	if (frame->beat.decided < w->decided || frame->beat.denied < w->denied || frame->beat.late < w->late ||
	    frame->beat.lost < w->lost)
		nonsense(ear, "its agent's counters run backwards");
	w->decided = frame->beat.decided;
	w->denied = frame->beat.denied;
	w->late = frame->beat.late;
	w->lost = frame->beat.lost;
	w->service = frame->beat.service;
	w->spoke = true;
	w->beat_us = ear->now_us;
	excuse(w, ear->now_us);
}

/* True: it gets the key. */
static bool take_hello(const struct ear *ear, const struct agent_frame *frame)
{
	struct agent_watch *w = ear->watch;
	if (w->greeted) {
		nonsense(ear, "an agent says hello a second time: the first one was ended, and this one gets no key");
		return false;
	}
	if (!w->starting && w->found) {
		nonsense(ear, "an agent says hello in a guest that started long ago: it gets no key");
		return false;
	}
	if (!w->starting) { /* slow, perhaps because of us: no key for whoever is inside by now, but that proves nothing */
		w->greeted = true;
		text_copy(w->trouble, sizeof(w->trouble), "it said hello too late to get its key");
		return false;
	}
	if (memcmp(frame->hello.list, w->list, AGENT_HASH) != 0) {
		nonsense(ear, "its agent took another list of programs than its image's: it gets no key");
		return false;
	}
	w->greeted = true;
	w->number = frame->number;
	w->uptime_us = frame->uptime_us;
	w->abilities = frame->hello.abilities;
	w->programs = frame->hello.programs;
	return true;
}

/* A frame that is signed with the key, or a hello: is it this one's turn, at this time? */
static bool out_of_order(const struct ear *ear, const struct agent_frame *frame)
{
	const struct agent_watch *w = ear->watch;
	char detail[AGENT_DETAIL];
	if (frame->type != AGENT_HELLO && frame->number <= w->number) {
		snprintf(detail, sizeof(detail), "frame %u of its agent came after frame %u: repeated", frame->number, w->number);
		nonsense(ear, detail);
		return true;
	}
	if (frame->type != AGENT_HELLO && frame->uptime_us < w->uptime_us) {
		nonsense(ear, "its agent's clock runs backwards");
		return true;
	}
	int64_t passed_us = ear->now_us - w->began_us;
	if (w->began_us && frame->uptime_us > 2 * passed_us + AHEAD_US) {
		snprintf(detail, sizeof(detail), "its agent says that it is up for %lld s; it was started %lld s ago",
		         (long long)(frame->uptime_us / SECOND_US), (long long)(passed_us / SECOND_US));
		nonsense(ear, detail);
		return true;
	}
	return false;
}

static bool take_frame(const struct ear *ear)
{
	struct agent_watch *w = ear->watch;
	struct agent_frame frame;
	struct err err = {0};
	if (agent_decode(w->bytes, w->key, &frame, &err) < 0) {
		nonsense(ear, err.text);
		return false;
	}
	if (frame.type == AGENT_KEYED) {
		nonsense(ear, "its agent sends a key, which only the host does");
		return false;
	}
	if (frame.type == AGENT_RESTART) {
		nonsense(ear, "its agent sends an order, which only the host does");
		return false;
	}
	if (out_of_order(ear, &frame))
		return false;
	if (frame.type == AGENT_HELLO)
		return take_hello(ear, &frame);
	w->greeted = true;
	w->number = frame.number;
	w->uptime_us = frame.uptime_us;
	if (frame.type == AGENT_BEAT)
		take_beat(ear, &frame);
	else
		take_told(ear, &frame);
	return false;
}

/* --- bytes */

static bool may_take(const struct ear *ear)
{
	struct agent_watch *w = ear->watch;
	int64_t passed_us = ear->now_us - w->allowed_us, most = (int64_t)AGENT_BURST * SECOND_US;
	if (w->allowed_us == 0 || passed_us > 60 * (int64_t)SECOND_US)
		w->allowed = most;
	else if (passed_us > 0)
		w->allowed += passed_us * AGENT_RATE;
	w->allowed = w->allowed > most ? most : w->allowed;
	w->allowed_us = ear->now_us;
	if (w->allowed >= SECOND_US) {
		w->allowed -= SECOND_US;
		return true;
	}
	if (w->dropped++ % AGENT_BURST == 0)
		nonsense(ear, "its agent's port is flooded: more frames than an agent sends, the rest is dropped");
	return false;
}

bool agent_is_flood(const struct agent_watch *watch)
{
	return watch->allowed_us && watch->allowed < SECOND_US;
}

/* True: the frame is whole. */
static bool take_byte(struct agent_watch *w, uint8_t byte)
{
	w->zeros = byte ? 0 : w->zeros + 1;
	if (w->zeros >= AGENT_FRAME) {
		w->anew = true;
		w->filled = 0;
	}
	if (w->anew && byte == 0)
		return false;
	w->anew = false;
	w->bytes[w->filled++] = byte;
	return w->filled == AGENT_FRAME;
}

bool agent_hear(struct agent_watch *watch, const uint8_t *bytes, size_t size, int64_t now_us, agent_tell *tell, void *arg)
{
	const struct ear ear = {watch, now_us, tell, arg};
	bool key = false;
	for (size_t i = 0; i < size; i++) {
		/* endless zeros are a flood too */
		bool whole = take_byte(watch, bytes[i]), announced = watch->anew && watch->zeros % AGENT_FRAME == 0;
		if (!whole && !announced)
			continue;
		watch->filled = whole ? 0 : watch->filled;
		if (may_take(&ear) && whole)
			key = take_frame(&ear) || key;
	}
	return key;
}

void agent_connected(struct agent_watch *watch, int64_t now_us)
{
	watch->filled = watch->zeros = 0;
	watch->anew = false;
	excuse(watch, now_us);
}

/* --- silence and contradiction */

void agent_probed(struct agent_watch *watch, bool good, int64_t now_us)
{
	watch->goods += good;
	watch->misses += !good;
	if (!good && watch->row == 0)
		watch->row_us = now_us;
	watch->row = good ? 0 : watch->row + 1;
}

static void look_silence(const struct ear *ear)
{
	struct agent_watch *w = ear->watch;
	char detail[AGENT_DETAIL];
	uint32_t times = w->busy ? AGENT_SILENCE_BUSY : 1;
	int64_t silent_us = ear->now_us - w->since_us;
	if (!w->spoke || silent_us < times * AGENT_SILENCE_US || w->goods < times * AGENT_SILENCE_GOODS ||
	    w->misses > w->goods / 2)
		return;
	snprintf(detail, sizeof(detail), "its agent has been silent for %.1f s while %u of %u probes were answered in time",
	         (double)silent_us / SECOND_US, w->goods, w->goods + w->misses);
	say(ear, FINDING_MUTE, detail);
	excuse(w, ear->now_us); /* and again after as long a silence */
}

static void look_contradiction(const struct ear *ear, bool busy)
{
	struct agent_watch *w = ear->watch;
	char detail[AGENT_DETAIL];
	if (busy || w->row < w->failures || w->failures == 0 || w->service != AGENT_SERVICE_ANSWERS || w->beat_us <= w->row_us ||
	    (w->contradicted_us && ear->now_us - w->contradicted_us < CONTRADICTED_EVERY_US))
		return;
	w->contradicted_us = ear->now_us;
	snprintf(detail, sizeof(detail), "its agent says that the service answers; %u probes in a row were missed", w->row);
	say(ear, FINDING_CONTRADICTED, detail);
}

void agent_look(struct agent_watch *watch, const struct agent_moment *moment, int64_t now_us, agent_tell *tell, void *arg)
{
	const struct ear ear = {watch, now_us, tell, arg};
	if (!moment->listening) {
		excuse(watch, now_us);
		watch->row = 0;
		return;
	}
	watch->busy = watch->busy || moment->busy;
	look_silence(&ear);
	look_contradiction(&ear, moment->busy);
}

bool agent_speaks(const struct agent_watch *watch, int64_t now_us)
{
	return watch->spoke && now_us - watch->beat_us < AGENT_SILENCE_US;
}
