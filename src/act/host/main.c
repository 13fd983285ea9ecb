/*
 * koboshi-host: looks after what is koboshi's own on this host. It remembers how its programs, configuration, key and units
 * were when koboshid was started, and tells the engine when one of them changes: by inotify within moments, and by looking
 * once a minute, because a mount over a folder tells nobody. It changes nothing, and what it finds convicts no guest.
 *
 * Whoever is root here can stop it, change what it remembers, or answer in its place; it finds mistakes and those who do not
 * know of it.
 */
#include "act/host/memory.h"
#include "lib/bytes.h"
#include "lib/log.h"
#include "lib/privileges.h"
#include "wire/link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>

#define SETTLE_US 100000 /* a file that is being written is not judged in the middle */
#define LOOK_US 60000000
#define TOLD_MAX 8
#define EVENTS                                                                                                                   \
	(IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |         \
	 IN_MOVE_SELF | IN_ONLYDIR)

struct host {
	struct conf conf;
	char koboshid[PATH_MAX], libexec[PATH_MAX], config[PATH_MAX], remembered[PATH_MAX];
	struct own_places places;
	struct memory memory;
	struct own now;
	char told[TOLD_MAX][WIRE_TEXT_MAX]; /* what is not as it was, and said */
	size_t n_told;
	int engine, events, signals; /* -1: none */
	int64_t look_us;
};

static_assert(WIRE_TEXT_MAX == 200, "memory_compare fills a notice's text");

/* --- telling */

static void engine_tell(struct host *h, enum wire_notice what, const char *text)
{
	struct err err = {0};
	struct wire_message message = {.kind = WIRE_NOTICE};
	message.note.type = what;
	message.note.time_us = clock_monotonic_us();
	text_copy(message.note.text, sizeof(message.note.text), text);
	if (h->engine < 0 || wire_send(h->engine, &message, NULL, 0, &err) == 0)
		return;
	log_notice("host.engine", "link to the engine ended: %s", err.text);
	close(h->engine);
	h->engine = -1;
}

static bool has(char (*texts)[WIRE_TEXT_MAX], size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(texts[i], text) == 0)
			return true;
	return false;
}

static void compare(struct host *h)
{
	char found[TOLD_MAX][WIRE_TEXT_MAX] = {0};
	size_t n = memory_compare(&h->memory, &h->now, found, TOLD_MAX);
	for (size_t i = 0; i < n; i++)
		if (!has(h->told, h->n_told, found[i])) {
			log_warning("host.meddled", "%s", found[i]);
			engine_tell(h, NOTICE_MEDDLED, found[i]);
		}
	if (h->n_told && n == 0) {
		log_notice("host.meddled", "all of our files are as they were again");
		engine_tell(h, NOTICE_MEDDLED, "all of koboshi's own files are as they were again");
	}
	memcpy(h->told, found, sizeof(found));
	h->n_told = n;
}

/* --- watching */

/* Of the folder itself too, where it is one of ours: its files may be replaced by replacing it. */
static void watch_folder(const struct host *h, const char *path)
{
	char copy[PATH_MAX];
	text_copy(copy, sizeof(copy), path);
	(void)!inotify_add_watch(h->events, dirname(copy), EVENTS); /* not there: the look once a minute remains */
}

static void watch_all(const struct host *h)
{
	char drop_ins[PATH_MAX];
	snprintf(drop_ins, sizeof(drop_ins), "%s.d/x", h->config);
	watch_folder(h, drop_ins);
	for (size_t i = 0; i < h->now.n; i++)
		watch_folder(h, h->now.files[i].path);
	snprintf(drop_ins, sizeof(drop_ins), "%s/x", h->conf.files.rules);
	if (h->conf.files.rules[0])
		watch_folder(h, drop_ins);
}

static void look(struct host *h)
{
	own_look(&h->places, &h->now);
	watch_all(h); /* folders that came since; those that are watched already stay so */
	compare(h);
	h->look_us = clock_monotonic_us() + LOOK_US;
}

/* /usr/sbin and the like hold many others' files: only a name of ours is a reason to look. */
static bool name_is_ours(const struct host *h, const char *name)
{
	const char *dot = strrchr(name, '.');
	if (strncmp(name, "koboshi", 7) == 0 || (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".conf") == 0 ||
	                                                 strcmp(dot, ".yar") == 0 || strcmp(dot, ".yara") == 0)))
		return true;
	for (size_t i = 0; i < h->now.n; i++) {
		const char *slash = strrchr(h->now.files[i].path, '/');
		if (slash && strcmp(slash + 1, name) == 0)
			return true;
	}
	return false;
}

static void events_read(struct host *h)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t got = read(h->events, buffer, sizeof(buffer));
	bool ours = false;
	for (ssize_t at = 0; at < got;) {
		const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
		ours = ours || !event->len || name_is_ours(h, event->name);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	int64_t soon_us = clock_monotonic_us() + SETTLE_US;
	if (ours && soon_us < h->look_us)
		h->look_us = soon_us;
}

/* --- the loop */

static bool from_supervisor(struct host *h)
{
	int r = wire_engine_relink(&h->engine);
	if (r <= 0)
		return r == 0;
	engine_tell(h, NOTICE_READY, "");
	for (size_t i = 0; i < h->n_told; i++) /* a new engine has not heard it */
		engine_tell(h, NOTICE_MEDDLED, h->told[i]);
	return true;
}

/* It has nothing to order here. */
static void from_engine(struct host *h)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(h->engine, &message, fds, &n_fds, NULL);
	for (size_t i = 0; r == 1 && i < n_fds; i++)
		close(fds[i]);
	if (r == 0)
		return;
	close(h->engine);
	h->engine = -1;
}

/* The supervisor found the changed configuration good: it is what shall be, and we start anew with it. */
static int reload(struct host *h, struct err *err)
{
	int r = conf_load(h->config, &h->conf, err); /* it may name other files */
	if (r < 0)
		return r;
	own_look(&h->places, &h->now);
	memory_take_config(&h->memory, &h->now);
	return memory_save(h->remembered, &h->memory, err);
}

static int serve(struct host *h, struct err *err)
{
	for (;;) {
		struct pollfd watched[] = {{.fd = WIRE_SUPERVISOR_FD, .events = POLLIN},
		                           {.fd = h->engine, .events = POLLIN},
		                           {.fd = h->events, .events = POLLIN},
		                           {.fd = h->signals, .events = POLLIN}};
		int64_t left_us = h->look_us - clock_monotonic_us();
		int n = poll(watched, countof(watched), left_us > 0 ? (int)(left_us / 1000 + 1) : 0);
		if (n < 0 && errno != EINTR)
			return err_set(err, -errno, "cannot wait: %s", strerror(errno));
		if (n > 0 && watched[3].revents)
			return reload(h, err);
		if (n > 0 && watched[2].revents)
			events_read(h);
		if (n > 0 && watched[1].revents)
			from_engine(h);
		if (n > 0 && watched[0].revents && !from_supervisor(h))
			return 0;
		if (clock_monotonic_us() >= h->look_us)
			look(h);
	}
}

/* --- start */

static void path_of_program(const char *link, char ret_path[static PATH_MAX])
{
	ssize_t length = readlink(link, ret_path, PATH_MAX - 1);
	ret_path[length > 0 ? length : 0] = '\0';
	char *deleted = strstr(ret_path, " (deleted)"); /* replaced since: the name is what counts */
	if (deleted)
		*deleted = '\0';
}

/* Its start time as the kernel counts it. */
static uint64_t born(pid_t pid)
{
	char path[32];
	uint8_t *bytes;
	size_t size;
	unsigned long long time = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, 4096, &bytes, &size, NULL) < 0)
		return 0;
	const char *name_end = strrchr((char *)bytes, ')');
	if (name_end)
		sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &time);
	free(bytes);
	return time;
}

static int watches_open(struct host *h, struct err *err)
{
	sigset_t hangup;
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);
	signal(SIGPIPE, SIG_IGN);
	h->signals = signalfd(-1, &hangup, SFD_CLOEXEC | SFD_NONBLOCK);
	h->events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (h->signals < 0 || h->events < 0)
		return err_set(err, -errno, "cannot watch signals and files: %s", strerror(errno));
	return 0;
}

static int run(struct host *h, const char *config, struct err *err)
{
	static const int kept[] = {CAP_DAC_READ_SEARCH}; /* a file may have been closed to root in name only */
	char link[32];
	pid_t koboshid = getppid();
	h->engine = -1;
	int r = conf_load(config, &h->conf, err);
	r = r == 0 ? watches_open(h, err) : r;
	if (r < 0)
		return r;
	text_copy(h->config, sizeof(h->config), config);
	snprintf(h->remembered, sizeof(h->remembered), "%s/host.own", h->conf.run_dir);
	snprintf(link, sizeof(link), "/proc/%d/exe", koboshid);
	path_of_program(link, h->koboshid); /* before our rights are given away: it may not be asked for after */
	path_of_program("/proc/self/exe", h->libexec);
	dirname(h->libexec);
	h->places = (struct own_places){
	        .koboshid = h->koboshid, .libexec = h->libexec, .config = h->config, .conf = &h->conf, .root = ""};
	r = privileges_keep(kept, countof(kept), err);
	if (r < 0)
		return r;
	own_look(&h->places, &h->now);
	if (!memory_load(h->remembered, koboshid, born(koboshid), &h->memory))
		h->memory = (struct memory){.own = h->now, .koboshid = koboshid, .born = born(koboshid)};
	memory_adopt(&h->memory, &h->now);
	r = memory_save(h->remembered, &h->memory, err);
	if (r < 0)
		return r;
	log_info("host.ready", "%zu files of our own are looked after%s", h->memory.own.n,
	         h->now.crowded ? "; there are more than can be" : "");
	look(h);
	return serve(h, err);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {0}};
	static struct host host;
	struct err err = {0};
	const char *config = NULL;
	log_init("koboshi-host", LOG_LEVEL_INFO);
	for (int c; (c = getopt_long(argc, argv, "c:", options, NULL)) != -1;)
		if (c == 'c')
			config = optarg;
	if (!config) {
		fputs("koboshi-host: is started by koboshid, with --config FILE\n", stderr);
		return 2;
	}
	if (run(&host, config, &err) == 0)
		return 0;
	log_error("host.failed", "%s", err.text);
	return 1;
}
