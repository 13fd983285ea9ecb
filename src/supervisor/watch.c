/*
 * One poll over a signal descriptor and a link to each child; everything else is a deadline. No library loop: this is the
 * process that all others lean on, so that it is kept small enough to be read in one sitting.
 *
 * A link between two children is made anew whenever one of them starts: the other gets its new end and forgets the old.
 */
#include "supervisor/watch.h"
#include "supervisor/status.h"
#include "lib/bytes.h"
#include "lib/log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define STOP_US 5000000     /* how long children may take to end by themselves */
#define UNLINKED_US 1000000 /* how long one may live on after closing its link */
#define ALIVE_US 1000000    /* the watchdog is fed at most that often */
#define LATE_US 1000000     /* our own loop stood still when it wakes that much too late */
#define MESSAGES_MAX 200    /* in one second from one child */
#define MESSAGES_AT_ONCE 16

static const struct child_reason hung = {"hung", "showed no progress"};
static const struct child_reason replaced = {"replaced", "did not answer the engine in time"};
static const struct child_reason unlinked = {"unlinked", "closed its link to the supervisor"};
static const struct child_reason garbled = {"garbled", "sent what it may not send"};
static const struct child_reason babbled = {"babbled", "sent too many messages"};
static const struct child_reason deaf = {"deaf", "does not take its messages"};
static const struct child_reason late = {"late", "did not end in time"};

struct watch {
	struct child children[CHILD_SPECS];
	const struct child_world *world;
	struct notify *notify;
	int signals;
	bool decides, ready, changed, stopping, stop_told;
	int64_t now_us, wake_us; /* of this round; when this round was meant to come */
	int64_t stop_until_us, alive_us;
};

int watch_signals(int *ret_fd, struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	for (size_t i = 0; i < countof(taken); i++)
		sigaddset(&set, taken[i]);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return err_set(err, -errno, "cannot block signals: %s", strerror(errno));
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_set(err, -errno, "cannot take signals: %s", strerror(errno));
	*ret_fd = fd;
	return 0;
}

static struct child *child_of(struct watch *w, enum wire_role role)
{
	for (size_t i = 0; i < CHILD_SPECS; i++)
		if (w->children[i].spec->role == role)
			return &w->children[i];
	return NULL;
}

static bool is_linked(const struct child *child)
{
	return child->pid && child->link >= 0 && !child->killed;
}

/* Links */

static void link_send(struct child *to, const struct child *peer, int end)
{
	struct wire_message message = {.kind = WIRE_LINK, .link.role = peer->spec->role};
	int r = wire_send(to->link, &message, &end, 1, NULL);
	if (r < 0 && r != -EPIPE) /* gone: its end is being reported already */
		child_kill(to, &deaf);
}

static void link_make(struct child *a, struct child *b)
{
	int pair[2];
	struct err err;
	if (wire_pair(pair, &err) < 0) {
		log_error("supervisor.link", "%s and %s: %s", a->spec->program, b->spec->program, err.text);
		return;
	}
	link_send(a, b, pair[0]);
	link_send(b, a, pair[1]);
	close(pair[0]);
	close(pair[1]);
}

/* The engine speaks with each actuator, the actuators not with one another. */
static void links_make(struct watch *w, struct child *fresh)
{
	for (size_t i = 0; i < CHILD_SPECS; i++) {
		struct child *peer = &w->children[i];
		bool speak = fresh->spec->role == WIRE_ENGINE || peer->spec->role == WIRE_ENGINE;
		if (peer != fresh && speak && is_linked(peer))
			link_make(fresh, peer);
	}
}

/* Messages */

static void beat_take(struct watch *w, struct child *engine, uint64_t beats)
{
	if (!progress_beat(&engine->progress, beats, w->now_us))
		return;
	if (!w->decides)
		log_notice("supervisor.ready", "the engine decides");
	w->decides = true;
	w->ready = w->ready || notify_send("READY=1"); /* else with the next beat */
	if (w->now_us - w->alive_us >= ALIVE_US) {
		w->alive_us = w->now_us;
		notify_alive(w->notify);
	}
}

static void replace_take(struct watch *w, enum wire_role role)
{
	struct child *child = child_of(w, role);
	if (!child || !child->pid || w->now_us - child->replaced_us < REPLACE_PAUSE_US)
		return; /* not there, or new already: the engine sees that by its link */
	child->replaced_us = w->now_us;
	child_kill(child, &replaced);
}

static void message_take(struct watch *w, struct child *child, const struct wire_message *message, size_t n_fds)
{
	if (w->now_us - child->second_us >= 1000000) {
		child->second_us = w->now_us;
		child->messages = 0;
	}
	bool from_engine = child->spec->role == WIRE_ENGINE;
	if (++child->messages > MESSAGES_MAX)
		child_kill(child, &babbled);
	else if (from_engine && n_fds == 0 && message->kind == WIRE_PROGRESS)
		beat_take(w, child, message->progress.beats);
	else if (from_engine && n_fds == 0 && message->kind == WIRE_REPLACE)
		replace_take(w, (enum wire_role)message->replace.role);
	else
		child_kill(child, &garbled);
}

static void link_read(struct watch *w, struct child *child)
{
	for (int i = 0; i < MESSAGES_AT_ONCE && !child->killed; i++) {
		struct wire_message message;
		int fds[WIRE_FDS_MAX];
		size_t n_fds = 0;
		int r = wire_receive(child->link, &message, fds, &n_fds, NULL);
		for (size_t j = 0; r == 1 && j < n_fds; j++)
			close(fds[j]);
		if (r == 0)
			return;
		if (r == 1) {
			message_take(w, child, &message, n_fds);
			continue;
		}
		if (r == -EPIPE && w->now_us + UNLINKED_US < child->kill_at_us)
			child->kill_at_us = w->now_us + UNLINKED_US; /* most often it is just ending */
		else if (r != -EPIPE)
			child_kill(child, &garbled);
		child_unlink(child);
		return;
	}
}

/* Lives */

static void child_run(struct watch *w, struct child *child)
{
	struct err err;
	if (child_start(child, w->world, w->now_us, &err) < 0) {
		child->start_at_us = w->now_us + restart_pause_us(&child->failures, 0);
		log_error("supervisor.start", "%s", err.text);
		return;
	}
	w->changed = true;
	links_make(w, child);
}

static void reap(struct watch *w)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		for (size_t i = 0; i < CHILD_SPECS; i++)
			if (w->children[i].pid == pid) {
				child_ended(&w->children[i], status, w->now_us, w->stopping);
				w->changed = true;
			}
	/* Any other one was an orphan of a child: a guest's process, a helper of libvirt. */
}

/* Again when the listener's queue was full. */
static void stop_tell(struct watch *w)
{
	w->stop_told = w->stop_told || notify_send("STOPPING=1");
}

static void stop(struct watch *w)
{
	if (w->stopping)
		return;
	w->stopping = true;
	w->stop_until_us = w->now_us + STOP_US;
	stop_tell(w);
	log_notice("supervisor.stop", "stopping; guests go on");
	for (size_t i = 0; i < CHILD_SPECS; i++) {
		child_unlink(&w->children[i]);
		w->children[i].kill_at_us = w->stop_until_us;
	}
}

static void want(struct watch *w, const struct settings *settings)
{
	for (size_t i = 0; i < CHILD_SPECS; i++) {
		struct child *child = &w->children[i];
		bool was_unwanted = child->unwanted;
		child->unwanted = !child_is_wanted(child->spec, settings);
		if (was_unwanted && !child->unwanted && !child->pid)
			child->start_at_us = w->now_us;
		w->changed = w->changed || was_unwanted != child->unwanted;
	}
}

/* A file that cannot be used, by us or by the engine, must not be what an actuator starts with: all parts change or none does.
 * What was made when we started stays as it is. */
static int config_check(struct watch *w, struct err *err)
{
	struct settings fresh, seen;
	const struct settings *old = w->world->settings;
	const struct place *place = w->world->place;
	int r = settings_load(w->world->config, NULL, &fresh, err);
	if (r < 0)
		return r;
	if (strcmp(fresh.user, old->user) != 0 || strcmp(fresh.run_dir, old->run_dir) != 0 ||
	    strcmp(fresh.state_dir, old->state_dir) != 0)
		return err_set(err, -EINVAL, "%s: user, paths.run or paths.state changed: that needs a restart of koboshid",
		               w->world->config);
	r = place->engine_is_us ? 0 : settings_load(w->world->config, &place->engine, &seen, err);
	if (r < 0)
		return err_prefix(err, "root can use it, the engine as user '%s' cannot", old->user);
	want(w, &fresh);
	return 0;
}

/* The engine hears of a bad file too: it looks by itself and shows why in its status. */
static void reload(struct watch *w)
{
	struct err err = {0};
	int r = config_check(w, &err);
	if (r < 0)
		log_error("supervisor.reload", "the changed configuration is not taken: %s", err.text);
	else
		log_notice("supervisor.reload", "every part reads its configuration again");
	for (size_t i = 0; i < CHILD_SPECS && !w->stopping; i++)
		if (r == 0 || w->children[i].spec->role == WIRE_ENGINE)
			child_reload(&w->children[i], w->now_us);
}

static void signals_take(struct watch *w)
{
	struct signalfd_siginfo info;
	while (read(w->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			stop(w);
		else if (info.ssi_signo == SIGHUP)
			reload(w);
	}
	reap(w); /* SIGCHLDs merge: always look */
}

/* Deadlines */

static int64_t deadline_of(const struct watch *w, const struct child *child)
{
	if (!child->pid)
		return w->stopping || child->unwanted ? INT64_MAX : child->start_at_us;
	if (child->killed)
		return INT64_MAX;
	bool watched = child->spec->role == WIRE_ENGINE && child->progress.deadline_us < child->kill_at_us;
	return watched && !w->stopping ? child->progress.deadline_us : child->kill_at_us;
}

static void deadlines_judge(struct watch *w)
{
	for (size_t i = 0; i < CHILD_SPECS; i++) {
		struct child *child = &w->children[i];
		if (deadline_of(w, child) > w->now_us)
			continue;
		if (!child->pid)
			child_run(w, child);
		else if (child->kill_at_us <= w->now_us)
			child_kill(child, w->stopping ? &late : &unlinked);
		else
			child_kill(child, &hung);
	}
}

static bool all_ended(const struct watch *w)
{
	for (size_t i = 0; i < CHILD_SPECS; i++)
		if (w->children[i].pid)
			return false;
	return true;
}

static void wait_and_take(struct watch *w)
{
	w->wake_us = INT64_MAX;
	struct pollfd fds[CHILD_SPECS + 1];
	for (size_t i = 0; i < CHILD_SPECS; i++) {
		int64_t deadline = deadline_of(w, &w->children[i]);
		w->wake_us = deadline < w->wake_us ? deadline : w->wake_us;
		fds[i] = (struct pollfd){.fd = w->children[i].killed ? -1 : w->children[i].link, .events = POLLIN};
	}
	fds[CHILD_SPECS] = (struct pollfd){.fd = w->signals, .events = POLLIN};
	int64_t left_us = w->wake_us == INT64_MAX ? -1000 : w->wake_us - clock_monotonic_us();
	int n = poll(fds, countof(fds), w->wake_us == INT64_MAX ? -1 : left_us > 0 ? (int)(left_us / 1000 + 1) : 0);
	w->now_us = clock_monotonic_us();
	for (size_t i = 0; i < CHILD_SPECS && n > 0; i++)
		if (fds[i].revents)
			link_read(w, &w->children[i]);
	if (n > 0 && fds[CHILD_SPECS].revents)
		signals_take(w);
	if (w->wake_us != INT64_MAX && w->now_us - w->wake_us > LATE_US)
		progress_excuse(&child_of(w, WIRE_ENGINE)->progress, w->now_us);
}

void watch_run(const struct child_world *world, struct notify *notify, int signals)
{
	static struct watch w;
	w = (struct watch){.world = world, .notify = notify, .signals = signals, .now_us = clock_monotonic_us()};
	for (size_t i = 0; i < CHILD_SPECS; i++)
		w.children[i] = (struct child){.spec = &child_specs[i],
		                               .pidfd = -1,
		                               .link = -1,
		                               .last_exit = "-",
		                               .start_at_us = w.now_us,
		                               .kill_at_us = INT64_MAX,
		                               .replaced_us = INT64_MIN / 2};
	want(&w, world->settings);
	while (!w.stopping || !all_ended(&w)) {
		deadlines_judge(&w);
		if (w.changed)
			status_publish(world->place, w.children);
		w.changed = false;
		wait_and_take(&w);
		if (w.stopping)
			stop_tell(&w);
	}
	stop_tell(&w);
	status_remove(world->place);
}
