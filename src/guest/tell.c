/* A ring with a lock that is held for a copy; bounded in room and in rate, because an intruder decides how much there is to tell.
 */
#include "guest/tell.h"
#include "lib/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING 32
#define RECENT 32

struct tell_counters tell_counters;

static struct {
	pthread_mutex_t lock;
	int event;
	struct tell_one ring[RING];
	unsigned first, n;
	struct {
		uint32_t what, detail;
		uint64_t text;
		int64_t at_us;
	} recent[RECENT];
	unsigned turn;
	double tokens;
	int64_t filled_us;
} tells = {.lock = PTHREAD_MUTEX_INITIALIZER, .event = -1, .tokens = TELL_PER_S};

int tell_init(struct err *err)
{
	tells.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return tells.event < 0 ? err_set(err, -errno, "no eventfd: %s", strerror(errno)) : tells.event;
}

static uint64_t text_mixed(const char *text)
{
	uint64_t mixed = 0xcbf29ce484222325u;
	for (; *text; text++)
		mixed = (mixed ^ (uint8_t)*text) * 0x100000001b3u;
	return mixed;
}

static bool told_lately(uint32_t what, uint32_t detail, const char *text, int64_t now_us)
{
	uint64_t mixed = text_mixed(text);
	for (unsigned i = 0; i < RECENT; i++)
		if (tells.recent[i].what == what && tells.recent[i].detail == detail && tells.recent[i].text == mixed &&
		    now_us - tells.recent[i].at_us < TELL_AGAIN_S * INT64_C(1000000))
			return true;
	unsigned at = tells.turn++ % RECENT;
	tells.recent[at].what = what;
	tells.recent[at].detail = detail;
	tells.recent[at].text = mixed;
	tells.recent[at].at_us = now_us;
	return false;
}

static bool token_take(int64_t now_us)
{
	tells.tokens += (double)(now_us - tells.filled_us) / 1e6 * TELL_PER_S;
	tells.filled_us = now_us;
	if (tells.tokens > 2 * TELL_PER_S)
		tells.tokens = 2 * TELL_PER_S;
	if (tells.tokens < 1)
		return false;
	tells.tokens -= 1;
	return true;
}

void tell(enum agent_what what, uint32_t detail, const char *text)
{
	static const uint64_t one = 1;
	int64_t now_us = clock_monotonic_us();
	bool put = false;
	pthread_mutex_lock(&tells.lock);
	if (tells.n < RING && !told_lately(what, detail, text, now_us) && token_take(now_us)) {
		struct tell_one *to = &tells.ring[(tells.first + tells.n++) % RING];
		to->what = what;
		to->detail = detail;
		text_copy(to->text, sizeof(to->text), text);
		put = true;
	}
	pthread_mutex_unlock(&tells.lock);
	if (!put)
		tell_counters.lost++;
	else if (tells.event >= 0 && write(tells.event, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

bool tell_take(struct tell_one *ret_one)
{
	pthread_mutex_lock(&tells.lock);
	bool there = tells.n > 0;
	if (there) {
		*ret_one = tells.ring[tells.first];
		tells.first = (tells.first + 1) % RING;
		tells.n--;
	}
	pthread_mutex_unlock(&tells.lock);
	return there;
}
