/*
 * koboshi-vault: backups of what services write, and the way back. Runs restic once in a while, and when the engine says so; all
 * that takes long is a process of its own, one at a time, so that a rollback can end a backup and nobody waits for a dead disk.
 *
 * It reads and writes what guests have written, as root without most of root's rights, and it alone knows the repository's
 * password. The engine names incidents, snapshots and changes by number; no path comes from it.
 */
#include "act/vault/reach.h"
#include "act/vault/vault.h"

#include "lib/bytes.h"
#include "lib/log.h"
#include "lib/privileges.h"
#include "wire/link.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define QUEUE_MAX 16
#define NOTES_MAX 4096
#define ANSWERS_MAX 64
#define CHANGES_TOLD 512 /* of each vault, the newest */
#define SNAPSHOTS_TOLD 256
#define BACKUP_US 3600000000ll
#define BACK_US 540000000ll    /* the engine waits ten minutes */
#define RETRY_US 10000000      /* a vault that could not be opened */
#define PRUNE_US 86400000000ll /* from one removing of what is forgotten to the next */
#define NICE 10                /* nothing that serves shall wait for a backup */

struct host {
	struct conf conf;
	struct vault vaults[CONF_SERVICES_MAX];
	size_t n_vaults;
	bool open[CONF_SERVICES_MAX];
	int engine; /* -1: none */
	struct wire_order queue[QUEUE_MAX];
	size_t n_queue;
	struct {           /* under way */
		pid_t pid; /* 0: none */
		int fd;
		struct vault *vault;
		struct job job;
		uint64_t order; /* to be answered; 0: nobody asked */
		bool ended, unwanted;
		int32_t status;
		char text[WIRE_TEXT_MAX];
	} now;
	struct wire_note *notes; /* a ring */
	size_t first, n_notes;
	struct {
		uint64_t id;
		int32_t status;
		char text[WIRE_TEXT_MAX];
	} answers[ANSWERS_MAX]; /* behind the notes */
	size_t n_answers;
};

/* --- telling */

static void engine_drop(struct host *h, const char *why)
{
	log_notice("vault.engine", "link to the engine ended: %s", why);
	close(h->engine);
	h->engine = -1;
	h->n_notes = h->n_answers = 0;
}

static bool post(struct host *h, struct wire_message *message)
{
	struct err err = {0};
	int r = h->engine < 0 ? -EAGAIN : wire_send(h->engine, message, NULL, 0, &err);
	if (r < 0 && r != -EAGAIN)
		engine_drop(h, err.text);
	return r == 0;
}

static void flush(struct host *h)
{
	while (h->n_notes && h->engine >= 0) {
		struct wire_message message = {.kind = WIRE_NOTICE, .note = h->notes[h->first]};
		if (!post(h, &message))
			return;
		h->first = (h->first + 1) % NOTES_MAX;
		h->n_notes--;
	}
	while (h->n_answers && h->engine >= 0) {
		struct wire_message message = {.kind = WIRE_ANSWER};
		message.answer.id = h->answers[0].id;
		message.answer.status = h->answers[0].status;
		text_copy(message.answer.text, sizeof(message.answer.text), h->answers[0].text);
		if (!post(h, &message))
			return;
		memmove(&h->answers[0], &h->answers[1], --h->n_answers * sizeof(h->answers[0]));
	}
}

static struct wire_note *note_add(struct host *h, enum wire_notice type, uint32_t service)
{
	if (h->n_notes == NOTES_MAX) {
		h->first = (h->first + 1) % NOTES_MAX;
		h->n_notes--;
	}
	struct wire_note *note = &h->notes[(h->first + h->n_notes++) % NOTES_MAX];
	*note = (struct wire_note){.type = type, .time_us = clock_monotonic_us(), .service = service};
	return note;
}

static void answer(struct host *h, uint64_t id, int32_t status, const char *text)
{
	if (id == 0 || h->engine < 0 || h->n_answers == ANSWERS_MAX)
		return;
	h->answers[h->n_answers].id = id;
	h->answers[h->n_answers].status = status;
	text_copy(h->answers[h->n_answers++].text, WIRE_TEXT_MAX, text);
}

static void snapshot_tell(struct host *h, const struct vault *v, const struct snapshot *one, bool gone)
{
	note_add(h, NOTICE_SNAPSHOT, v->service)->snapshot = (struct wire_snapshot){
	        .number = one->number,
	        .begun_us = one->begun_us,
	        .ended_us = one->ended_us,
	        .bytes = one->bytes,
	        .files = one->files,
	        .state = gone           ? WIRE_SNAPSHOT_GONE
	                 : one->suspect ? WIRE_SNAPSHOT_SUSPECT
	                                : WIRE_SNAPSHOT_GOOD,
	};
}

static void changes_tell(struct host *h, const struct vault *v)
{
	struct changes changes;
	struct err err = {0};
	if (changes_load(v->changes, &changes, &err) < 0)
		log_warning("vault.changes", "%s", err.text);
	for (size_t i = changes.n > CHANGES_TOLD ? changes.n - CHANGES_TOLD : 0; i < changes.n; i++) {
		struct wire_note *note = note_add(h, NOTICE_CHANGE, v->service);
		note->change = (struct wire_change){.number = changes.all[i].number,
		                                    .incident = changes.all[i].incident,
		                                    .bytes = changes.all[i].bytes,
		                                    .kind = changes.all[i].kind};
		changes_path_text(changes.all[i].path, note->text, sizeof(note->text));
	}
	changes_free(&changes);
}

static void problem_set(struct host *h, struct vault *v, const char *problem)
{
	if (strcmp(v->problem, problem) == 0)
		return;
	if (*problem)
		log_warning("vault.problem", "service %s: %s", h->conf.services[v->service].name, problem);
	else
		log_notice("vault.problem", "service %s: it is well again", h->conf.services[v->service].name);
	text_copy(v->problem, sizeof(v->problem), problem);
	text_copy(note_add(h, NOTICE_VAULT, v->service)->text, WIRE_TEXT_MAX, problem);
}

static void all_tell(struct host *h)
{
	h->n_notes = h->n_answers = 0;
	note_add(h, NOTICE_READY, 0);
	for (size_t i = 0; i < h->n_vaults; i++) {
		const struct vault *v = &h->vaults[i];
		const struct snapshots *list = &v->snapshots;
		text_copy(note_add(h, NOTICE_VAULT, v->service)->text, WIRE_TEXT_MAX, v->problem);
		for (size_t k = list->n > SNAPSHOTS_TOLD ? list->n - SNAPSHOTS_TOLD : 0; k < list->n; k++)
			snapshot_tell(h, v, &list->all[k], false);
		changes_tell(h, v);
	}
}

/* --- jobs */

static void list_save(struct host *h, struct vault *v)
{
	struct err err = {0};
	if (snapshots_save(v->list, &v->snapshots, &err) < 0)
		problem_set(h, v, err.text);
}

static void job_start(struct host *h, struct vault *v, const struct job *job, uint64_t order)
{
	int ends[2];
	bool backup = job->type == ORDER_VAULT_BACKUP;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		answer(h, order, -errno, "no pipe could be made");
		return;
	}
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close(WIRE_SUPERVISOR_FD);
		if (h->engine >= 0)
			close(h->engine);
		if (backup)
			(void)!setpriority(PRIO_PROCESS, 0, NICE);
		job_run(v, job, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		answer(h, order, -EAGAIN, "no process could be started");
		return;
	}
	h->now.pid = pid;
	h->now.fd = ends[0];
	h->now.vault = v;
	h->now.job = *job;
	h->now.order = order;
	h->now.ended = h->now.unwanted = false;
	h->now.status = -EPIPE;
	text_copy(h->now.text, sizeof(h->now.text), "the process ended in the middle of it");
}

static void job_kill(struct host *h, const char *why)
{
	log_notice("vault.end", "%s is ended: %s", order_type_name(h->now.job.type), why);
	h->now.unwanted = true;
	h->now.status = -ECANCELED;
	text_copy(h->now.text, sizeof(h->now.text), why);
	kill(h->now.pid, SIGKILL); /* ours, and not reaped yet */
}

static void word_take(struct host *h, const struct job_word *word)
{
	struct vault *v = h->now.vault;
	bool drop[SNAPSHOTS_MAX] = {false};
	if (word->says == JOB_SNAPSHOT) {
		snapshot_tell(h, v, snapshots_add(&v->snapshots, &word->snapshot), false);
		list_save(h, v);
	} else if (word->says == JOB_FORGOTTEN) {
		for (size_t i = 0; i < v->snapshots.n; i++)
			drop[i] = v->snapshots.all[i].number == word->snapshot.number;
		snapshots_drop(&v->snapshots, drop);
		snapshot_tell(h, v, &word->snapshot, true);
		list_save(h, v);
	} else if (word->says == JOB_CHANGE) {
		struct wire_note *note = note_add(h, NOTICE_CHANGE, v->service);
		note->change = word->change;
		text_copy(note->text, sizeof(note->text), word->text);
	} else if (!h->now.unwanted) {
		h->now.ended = true;
		h->now.status = word->status;
		text_copy(h->now.text, sizeof(h->now.text), word->text);
	}
}

static void job_over(struct host *h)
{
	struct vault *v = h->now.vault;
	int64_t now_us = clock_monotonic_us();
	const char *what = order_type_name(h->now.job.type);
	bool backup = h->now.job.type == ORDER_VAULT_BACKUP;
	close(h->now.fd);
	while (waitpid(h->now.pid, NULL, 0) < 0 && errno == EINTR)
		;
	h->now.pid = 0;
	if (h->now.status < 0 && !h->now.unwanted)
		log_warning("vault.job", "service %s: %s: %s", h->conf.services[v->service].name, what, h->now.text);
	else
		log_info("vault.job", "service %s: %s: %s", h->conf.services[v->service].name, what, h->now.text);
	if (backup && !h->now.unwanted) {
		problem_set(h, v, h->now.status < 0 ? h->now.text : "");
		if (h->now.job.pruning)
			v->prune_us = now_us + PRUNE_US;
	}
	if (h->now.job.type == ORDER_VAULT_ROLLBACK && h->now.status == 0) {
		snapshots_rolled(&v->snapshots, h->now.job.incident, h->now.job.before_us);
		list_save(h, v);
	}
	if (v->conf->every_ms)
		v->next_us = now_us + (int64_t)v->conf->every_ms * 1000;
	answer(h, h->now.order, h->now.status, h->now.text);
}

static void job_read(struct host *h)
{
	struct job_word word;
	ssize_t got = read(h->now.fd, &word, sizeof(word));
	if (got == (ssize_t)sizeof(word))
		word_take(h, &word);
	else if (got >= 0 || errno != EINTR)
		job_over(h);
}

static void next_order(struct host *h)
{
	struct wire_order order = h->queue[0];
	struct vault *v = NULL;
	memmove(&h->queue[0], &h->queue[1], --h->n_queue * sizeof(h->queue[0]));
	for (size_t i = 0; i < h->n_vaults; i++)
		if (h->vaults[i].service == order.service)
			v = h->open[i] ? &h->vaults[i] : NULL;
	if (!v) {
		answer(h, order.id, -ENOTSUP, "this service has no vault that could be used");
		return;
	}
	if (order.type == ORDER_VAULT_ROLLBACK && snapshots_is_rolled(&v->snapshots, order.incident, order.before_us)) {
		answer(h, order.id, 0, "that was done already");
		return;
	}
	bool backup = order.type == ORDER_VAULT_BACKUP;
	struct job job = {.type = (enum order_type)order.type,
	                  .number = order.number,
	                  .incident = order.incident,
	                  .before_us = order.before_us,
	                  .until_us = clock_monotonic_us() + (backup ? BACKUP_US : BACK_US)};
	if (order.type == ORDER_VAULT_ROLLBACK && snapshots_doubt(&v->snapshots, order.before_us)) {
		for (size_t i = 0; i < v->snapshots.n; i++)
			if (v->snapshots.all[i].suspect)
				snapshot_tell(h, v, &v->snapshots.all[i], false);
		list_save(h, v);
	}
	job_start(h, v, &job, order.id);
}

/* The first vault whose time has come. */
static void next_backup(struct host *h)
{
	int64_t now_us = clock_monotonic_us();
	for (size_t i = 0; i < h->n_vaults; i++) {
		struct vault *v = &h->vaults[i];
		struct err err = {0};
		if (v->next_us > now_us)
			continue;
		if (!h->open[i]) {
			h->open[i] = vault_open(v, &err) == 0;
			problem_set(h, v, h->open[i] ? "" : err.text);
			v->next_us = h->open[i] ? v->next_us : now_us + RETRY_US;
		}
		if (!h->open[i] || !v->conf->every_ms)
			continue;
		struct job job = {.type = ORDER_VAULT_BACKUP, .until_us = now_us + BACKUP_US, .pruning = v->prune_us <= now_us};
		job_start(h, v, &job, 0);
		return;
	}
}

static void work(struct host *h)
{
	while (!h->now.pid && h->n_queue)
		next_order(h);
	if (!h->now.pid)
		next_backup(h);
}

/* --- the loop */

static void take_order(struct host *h, const struct wire_order *order)
{
	bool back = order->type == ORDER_VAULT_ROLLBACK;
	if (back && h->now.pid && h->now.job.type == ORDER_VAULT_ROLLBACK && h->now.job.incident == order->incident &&
	    h->now.vault->service == order->service) {
		h->now.order = order->id; /* asked again for what is being done */
		return;
	}
	if (h->n_queue == QUEUE_MAX) {
		answer(h, order->id, -EBUSY, "too much is waiting already");
		return;
	}
	size_t at = h->n_queue;
	while (back && at > 0 && h->queue[at - 1].type != ORDER_VAULT_ROLLBACK)
		at--;
	memmove(&h->queue[at + 1], &h->queue[at], (h->n_queue - at) * sizeof(h->queue[0]));
	h->queue[at] = *order;
	h->n_queue++;
	if (back && h->now.pid && h->now.job.type == ORDER_VAULT_BACKUP && !h->now.unwanted)
		job_kill(h, "a rollback comes first");
}

static void from_engine(struct host *h)
{
	struct wire_message message;
	struct err err = {.text = "it sent what is no order for koboshi-vault"};
	int fds[WIRE_FDS_MAX];
	size_t n_fds = 0;
	int r = wire_receive(h->engine, &message, fds, &n_fds, &err);
	for (size_t i = 0; r == 1 && i < n_fds; i++)
		close(fds[i]);
	if (r == 1 && message.kind == WIRE_ORDER && order_role((enum order_type)message.order.type) == WIRE_VAULT)
		take_order(h, &message.order);
	else if (r != 0)
		engine_drop(h, err.text);
}

static bool from_supervisor(struct host *h)
{
	int r = wire_engine_relink(&h->engine);
	if (r <= 0)
		return r == 0;
	h->n_queue = 0; /* what the one before wanted, this one asks for again */
	h->now.order = 0;
	all_tell(h);
	return true;
}

static int patience_ms(const struct host *h)
{
	int64_t until_us = INT64_MAX;
	for (size_t i = 0; i < h->n_vaults && !h->now.pid; i++)
		if ((h->vaults[i].conf->every_ms || !h->open[i]) && h->vaults[i].next_us < until_us)
			until_us = h->vaults[i].next_us;
	int64_t left_us = until_us - clock_monotonic_us();
	return until_us == INT64_MAX ? -1 : left_us <= 0 ? 0 : left_us > 60000000 ? 60000 : (int)(left_us / 1000 + 1);
}

static int serve(struct host *h, struct err *err)
{
	for (;;) {
		work(h);
		flush(h);
		bool waits = h->n_notes || h->n_answers;
		struct pollfd watched[] = {{.fd = WIRE_SUPERVISOR_FD, .events = POLLIN},
		                           {.fd = h->engine, .events = (short)(POLLIN | (waits ? POLLOUT : 0))},
		                           {.fd = h->now.pid ? h->now.fd : -1, .events = POLLIN}};
		int n = poll(watched, countof(watched), patience_ms(h));
		if (n < 0 && errno != EINTR)
			return err_set(err, -errno, "cannot wait: %s", strerror(errno));
		if (n > 0 && watched[2].revents)
			job_read(h);
		if (n > 0 && (watched[1].revents & ~POLLOUT))
			from_engine(h);
		if (n > 0 && watched[0].revents && !from_supervisor(h))
			return 0;
	}
}

static int run(struct host *h, const char *config, struct err *err)
{
	/* guests write as whom they like, and what comes back must be as it was */
	static const int kept[] = {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_CHOWN, CAP_FOWNER, CAP_FSETID};
	int r = conf_load(config, &h->conf, err);
	r = r == 0 ? privileges_keep(kept, countof(kept), err) : r;
	if (r < 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	if (r == 0 && !reach_is_limited())
		log_warning("vault.landlock",
		            "this kernel cannot limit what restic reads (needs Landlock of Linux 5.19): who is root in a guest "
		            "could lead it out of the data");
	h->engine = -1;
	h->notes = calloc(NOTES_MAX, sizeof(*h->notes));
	if (!h->notes)
		return err_set(err, -ENOMEM, "no memory");
	for (uint32_t i = 0; i < h->conf.n_services; i++) {
		struct vault *v = &h->vaults[h->n_vaults];
		if (!h->conf.services[i].vault.path[0])
			continue;
		v->service = i;
		v->conf = &h->conf.services[i].vault;
		v->device = h->conf.device;
		v->prune_us = clock_monotonic_us() + PRUNE_US;
		h->open[h->n_vaults] = vault_open(v, err) == 0;
		if (!h->open[h->n_vaults])
			problem_set(h, v, err->text);
		h->n_vaults++;
	}
	log_info("vault.ready", "%zu vaults", h->n_vaults);
	return serve(h, err);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {0}};
	static struct host host;
	struct err err = {0};
	const char *config = NULL;
	log_init("koboshi-vault", LOG_LEVEL_INFO);
	for (int c; (c = getopt_long(argc, argv, "c:", options, NULL)) != -1;)
		if (c == 'c')
			config = optarg;
	if (!config) {
		fputs("koboshi-vault: is started by koboshid, with --config FILE\n", stderr);
		return 2;
	}
	int r = run(&host, config, &err);
	free(host.notes);
	if (r == 0)
		return 0;
	log_error("vault.failed", "%s", err.text);
	return 1;
}
