/*
 * Rows of what an agent and whoever imitates it sends, of what the path says meanwhile, and of what is found. A row is a line of
 * steps, one letter each; `n(...)` plays what is in the brackets n times.
 *
 *   s  the guest has started  f  before we came  H  hello        h  hello with another list
 *   B  beat  W  beat: the service answers        b  beat under another key      -  beat with lesser counters
 *   R  the last frame again                      <  beat from an earlier time   >  beat from the future
 *   D C A M L O  told: denied, changed, account, module, listening, trouble     K  a key
 *   Z  an announced start  z  100 zeros          /  half a frame                N  noise, a frame of it
 *   G  a probe answered    X  a probe missed     ~  a new connection
 *   .  100 ms pass         ,  100 ms during which it is not listened            !  100 ms on a busy host
 */
#include "lib/attr.h"
#include "lib/bytes.h"
#include "sense/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct {
	const char *why, *steps;
	const char *found; /* "key" is the key sent; findings of one kind in a row are one word */
} rows[] = {
        {"an agent as it should be", "ZHs 60(5(.G)W)", "key"},
        {"the same without an announcement", "H 5(5(.G)B)", "key"},
        {"zeros without number", "10(Z) z H B", "key"},
        {"hello again while it starts", "ZH ZH", "key nonsense"},
        {"hello again later", "ZHsB 3(.) ZH", "key nonsense"},
        {"hello again after a new connection", "ZHsB ~ZH", "key nonsense"},
        {"hello after the start: no key, no proof", "sZH", ""},
        {"hello after the start, again", "sZH ZH", "nonsense"},
        {"hello in a guest that ran before us", "fsZH", "nonsense"},
        {"hello in a guest that ran before us and still starts", "fZH", "key"},
        {"hello with another list", "Zh", "nonsense"},
        {"a beat before hello, signed: we are new here", "sB60(5(.G)B)", ""},
        {"a beat before hello, not signed", "b", "nonsense"},
        {"hello after a signed beat", "B ZH", "nonsense"},
        {"another's key", "ZHBb", "key nonsense"},
        {"a frame again", "ZHBR", "key nonsense"},
        {"the clock backwards", "ZHB.B<", "key nonsense"},
        {"the clock ahead", "ZHB>", "key nonsense"},
        {"the counters backwards", "ZHB-", "key nonsense"},
        {"a key from the guest", "K", "nonsense"},
        {"half a frame, then a start", "ZHB/ZH", "key nonsense"},
        {"half a frame, then nothing, and a new connection", "ZHB/~B", "key"},
        {"half a frame shifts all that follows", "ZHB/BB", "key nonsense"},
        {"noise", "N", "nonsense"},
        {"what it tells", "ZHB D C A M L", "key denied changed account module listening"},
        {"trouble is no finding", "ZHBO", "key"},
        {"a burst within what is allowed", "ZHs 200(B)", "key"},
        {"a flood of good frames", "ZHs 300(B)", "key nonsense"},
        {"a flood of zeros", "ZHs 300(Z)", "key nonsense"},
        {"what is allowed comes back with time", "ZHs 10(100(B) 29(.G))", "key"},

        {"silent, and the service answers", "ZHsB 40(.G)", "key mute"},
        {"silent not long enough", "ZHsB 29(.G)", "key"},
        {"silent for ever: told again", "ZHsB 70(.G)", "key mute"},
        {"silent, and nobody asked the service", "ZHsB 100(.)", "key"},
        {"silent, and the path is dead too", "ZHsB 100(.X)", "key"},
        {"silent, and some probes are missed", "ZHsB 20(.G.G.X)", "key mute"},
        {"silent, and every other probe is missed", "ZHsB 50(.G.X)", "key"},
        {"silent while it is not listened", "ZHsB 100(,G)", "key"},
        {"silent after it woke up", "ZHsB 100(,G) 29(.G)", "key"},
        {"silent for long after it woke up", "ZHsB 100(,G) 40(.G)", "key mute"},
        {"silent on a busy host", "ZHsB 100(!G)", "key"},
        {"silent on a busy host for long", "ZHsB 250(!G)", "key mute"},
        {"busy for a moment of the silence", "ZHsB . ! 60(.G)", "key"},
        {"never heard", "s 100(.G)", ""},
        {"greeted and never heard again", "ZHs 100(.G)", "key"},
        {"speaks nonsense only", "ZHsB 40(.Gb)", "key nonsense mute nonsense"},
        {"repeats are no life", "ZHsB 40(.GR)", "key nonsense mute nonsense"},

        {"says well, the path is dead", "ZHs 3(.X) W.", "key contradicted"},
        {"said well before the path died", "ZHs W 3(.X) .", "key"},
        {"says nothing of it, the path is dead", "ZHs 3(.X) B.", "key"},
        {"says well, too few missed", "ZHs 2(.X) W.", "key"},
        {"says well, one answered between", "ZHs 2(.X) G 2(.X) W.", "key"},
        {"says well, the host is busy", "ZHs 3(!X) W!", "key"},
};

struct play {
	struct agent_watch watch;
	int64_t now_us;
	uint32_t number;
	uint64_t decided;
	uint8_t last[AGENT_FRAME];
	char found[256], *word; /* word: the last one in found */
	char detail[AGENT_DETAIL];
};

static const uint8_t key[AGENT_KEY] = "the key of this guest, 32 bytes!", other[AGENT_KEY] = "the key of another guest";

static void add(struct play *p, const char *word)
{
	size_t length = strlen(p->found);
	if (p->word && strcmp(p->word, word) == 0)
		return;
	assert_true(length + strlen(word) + 2 < sizeof(p->found));
	p->word = p->found + length + (length > 0);
	sprintf(p->found + length, "%s%s", length ? " " : "", word);
}

static void on_tell(void *arg, enum finding finding, const char *detail)
{
	struct play *p = arg;
	assert_true(detail[0] && strlen(detail) < AGENT_DETAIL);
	for (const char *c = detail; *c; c++)
		assert_in_range(*c, 0x20, 0x7e);
	text_copy(p->detail, sizeof(p->detail), detail);
	add(p, finding_name(finding));
}

static void send_bytes(struct play *p, const uint8_t *bytes, size_t size)
{
	for (size_t at = 0, part; at < size; at += part) { /* in pieces, as they come */
		part = size - at < 100 ? size - at : 100;
		if (agent_hear(&p->watch, bytes + at, part, p->now_us, on_tell, p))
			add(p, "key");
	}
}

static void send_frame(struct play *p, struct agent_frame *frame, const uint8_t *with)
{
	if (frame->type != AGENT_KEYED) {
		frame->number = ++p->number;
		frame->uptime_us += p->now_us - p->watch.began_us;
	}
	agent_encode(frame, with, p->last);
	send_bytes(p, p->last, sizeof(p->last));
}

static void send_hello(struct play *p, uint8_t list)
{
	struct agent_frame frame = {.type = AGENT_HELLO, .hello = {.abilities = AGENT_CAN_DENY}};
	memset(frame.hello.list, list, sizeof(frame.hello.list));
	p->number = 0;
	send_frame(p, &frame, NULL);
}

static void send_beat(struct play *p, int64_t later_us, uint64_t decided, uint32_t service, const uint8_t *with)
{
	struct agent_frame frame = {.type = AGENT_BEAT, .uptime_us = later_us, .beat = {.decided = decided, .service = service}};
	send_frame(p, &frame, with);
}

static void send_told(struct play *p, enum agent_what what, uint32_t detail, const char *text)
{
	struct agent_frame frame = {.type = AGENT_TOLD, .told = {.what = what, .detail = detail}};
	text_copy(frame.told.text, sizeof(frame.told.text), text);
	send_frame(p, &frame, key);
}

static void send_same(struct play *p, uint8_t byte, size_t size)
{
	uint8_t bytes[AGENT_FRAME];
	memset(bytes, byte, size);
	send_bytes(p, bytes, size);
}

static void pass(struct play *p, bool listening, bool busy)
{
	const struct agent_moment moment = {.listening = listening, .busy = busy};
	p->now_us += 100000;
	agent_look(&p->watch, &moment, p->now_us, on_tell, p);
}

static void send_step(struct play *p, char c)
{
	struct agent_frame keyed = {.type = AGENT_KEYED, .keyed = {.key = "k"}};
	switch (c) {
	case 'H':
	case 'h':
		send_hello(p, c == 'H' ? 7 : 8);
		break;
	case 'B':
	case 'W':
		send_beat(p, 0, ++p->decided, c == 'W' ? AGENT_SERVICE_ANSWERS : AGENT_SERVICE_UNKNOWN, key);
		break;
	case 'b':
		send_beat(p, 0, p->decided, AGENT_SERVICE_UNKNOWN, other);
		p->number--;
		break;
	case '-':
		send_beat(p, 0, 0, AGENT_SERVICE_UNKNOWN, key);
		break;
	case '<':
		send_beat(p, -50000, p->decided, AGENT_SERVICE_UNKNOWN, key);
		break;
	case '>':
		send_beat(p, 3600000000, p->decided, AGENT_SERVICE_UNKNOWN, key);
		break;
	case 'D':
		send_told(p, AGENT_DENIED, AGENT_UNLISTED, "/tmp/x");
		break;
	case 'C':
		send_told(p, AGENT_CHANGED, 0, "/etc/motd");
		break;
	case 'A':
		send_told(p, AGENT_ACCOUNT, 0, "/etc/passwd");
		break;
	case 'M':
		send_told(p, AGENT_MODULE, 0, "dummy");
		break;
	case 'L':
		send_told(p, AGENT_LISTENING, 4444, "tcp 4444");
		break;
	case 'O':
		send_told(p, AGENT_TROUBLE, 0, "no watch left");
		break;
	case 'K':
		send_frame(p, &keyed, NULL);
		break;
	default:
		fail_msg("no step '%c'", c);
	}
}

static void step(struct play *p, char c)
{
	switch (c) {
	case ' ':
		break;
	case 'f':
		p->watch.found = true;
		break;
	case 's':
		p->watch.starting = false;
		break;
	case 'Z':
		send_same(p, 0, AGENT_FRAME);
		break;
	case 'z':
		send_same(p, 0, 100);
		break;
	case 'N':
		send_same(p, 0x5a, AGENT_FRAME);
		break;
	case '/':
		send_same(p, 'k', AGENT_FRAME / 2);
		break;
	case 'R':
		send_bytes(p, p->last, sizeof(p->last));
		break;
	case '~':
		agent_connected(&p->watch, p->now_us);
		break;
	case 'G':
	case 'X':
		agent_probed(&p->watch, c == 'G', p->now_us);
		break;
	case '.':
	case ',':
	case '!':
		pass(p, c != ',', c == '!');
		break;
	default:
		send_step(p, c);
	}
}

/* Until the end or the bracket that closes; returns where. */
static const char *steps(struct play *p, const char *at)
{
	for (; *at && *at != ')'; at++) {
		unsigned times = 0;
		for (; *at >= '0' && *at <= '9'; at++)
			times = times * 10 + (unsigned)(*at - '0');
		if (times == 0) {
			step(p, *at);
			continue;
		}
		assert_int_equal(*at, '(');
		const char *end = at;
		while (times--)
			end = steps(p, at + 1);
		at = end;
	}
	return at;
}

static void start(struct play *p)
{
	memset(p, 0, sizeof(*p));
	p->now_us = 100000000;
	p->watch.began_us = p->now_us - 1000000;
	p->watch.failures = 3;
	p->watch.starting = true;
	memcpy(p->watch.key, key, sizeof(p->watch.key));
	memset(p->watch.list, 7, sizeof(p->watch.list));
	agent_connected(&p->watch, p->now_us);
}

static void rows_hold(void **state unused_arg)
{
	static struct play p;
	for (size_t row = 0; row < countof(rows); row++) {
		start(&p);
		steps(&p, rows[row].steps);
		if (strcmp(p.found, rows[row].found) != 0)
			fail_msg("%s: found '%s', should be '%s' (last: %s)", rows[row].why, p.found, rows[row].found, p.detail);
	}
}

static void the_guests_words_are_named_as_such(void **state unused_arg)
{
	static const struct {
		enum agent_what what;
		uint32_t detail;
		const char *text, *told;
	} words[] = {
	        {AGENT_DENIED, AGENT_UNLISTED, "/tmp/x", "its agent says: kept \"/tmp/x\" from running: it is not listed"},
	        {AGENT_DENIED, AGENT_MEMORY, "memfd:x", "its agent says: kept \"memfd:x\" from running: it lies in memory"},
	        {AGENT_CHANGED, 0, "a\" - koboshi: all is well", "its agent says: \"a' - koboshi: all is well\" was changed"},
	        {AGENT_LISTENING, 4444, "tcp 4444", "its agent says: somebody listens on \"tcp 4444\""},
	};
	static struct play p;
	for (size_t i = 0; i < countof(words); i++) {
		start(&p);
		steps(&p, "ZHB");
		send_told(&p, words[i].what, words[i].detail, words[i].text);
		assert_string_equal(p.detail, words[i].told);
	}
	char path[AGENT_TEXT];
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	send_told(&p, AGENT_DENIED, AGENT_SCRIPT, path);
	assert_int_equal(strlen(p.detail), AGENT_DETAIL - 1);
	assert_non_null(strstr(p.detail, "ppp...\" from running: a script, not listed"));
}

static void what_it_told_is_kept(void **state unused_arg)
{
	static struct play p;
	start(&p);
	steps(&p, "ZHs 4(B)O");
	assert_int_equal(p.watch.decided, 4);
	assert_int_equal(p.watch.abilities, AGENT_CAN_DENY);
	assert_string_equal(p.watch.trouble, "no watch left");
	assert_true(agent_speaks(&p.watch, p.now_us));
	steps(&p, "30(,)");
	assert_false(agent_speaks(&p.watch, p.now_us));
	steps(&p, "400(B)");
	assert_true(agent_is_flood(&p.watch));
	assert_int_equal(p.watch.dropped, 400 - AGENT_BURST);
}

static void what_came_of_an_order_is_kept_and_the_order_itself_is_the_hosts_alone(void **state unused_arg)
{
	static struct play p;
	const struct agent_frame order = {.type = AGENT_RESTART, .number = 1000};
	uint8_t bytes[AGENT_FRAME];
	start(&p);
	steps(&p, "ZHsB");
	send_told(&p, AGENT_RESTARTED, 3, "/usr/sbin/koboshi-restart");
	assert_int_equal(p.watch.carried_out, 1);
	assert_int_equal(p.watch.order_status, 3);
	send_told(&p, AGENT_STOPPED, 0, "/usr/sbin/koboshi-stop");
	assert_int_equal(p.watch.carried_out, 2);
	assert_int_equal(p.watch.order_status, 0);
	send_told(&p, AGENT_CARRIED, 0, "/etc/passwd");
	assert_int_equal(p.watch.carried, 1);
	assert_string_equal(p.watch.carried_path, "/etc/passwd");
	assert_string_equal(p.found, "key");
	agent_encode(&order, key, bytes); /* as it was sent to the guest, which sends it back */
	send_bytes(&p, bytes, sizeof(bytes));
	assert_string_equal(p.found, "key nonsense");
	assert_string_equal(p.detail, "its agent sends an order, which only the host does");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(rows_hold),
	        cmocka_unit_test(the_guests_words_are_named_as_such),
	        cmocka_unit_test(what_it_told_is_kept),
	        cmocka_unit_test(what_came_of_an_order_is_kept_and_the_order_itself_is_the_hosts_alone),
	};
	return cmocka_run_group_tests_name("sense agent", tests, NULL, NULL);
}
