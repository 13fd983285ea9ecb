/*
 * koboshi-vm: the actuator that holds libvirt. The main thread only moves messages between links, queue and outbox and never
 * waits for libvirt; workers carry out orders; libvirt's loop has its own thread; a keeper looks after consoles, caps,
 * counters and the time that opening libvirt takes, once a second.
 *
 * It may be killed at any moment: guests live in processes of their own and the next koboshi-vm finds them again. So it ends with
 * _exit, mid-order or not, when the supervisor goes.
 *
 * Privileges: root (of its user namespace): libvirt's embedded driver as anything else would be qemu:///session, which may not
 * use our taps. No seccomp filter of ours: children inherit it, and QEMU needs more calls than we would allow; libvirt gives QEMU
 * its own. no_new_privs is set: nothing that we start is meant to gain privileges.
 */
#include "act/vm/accel.h"
#include "act/vm/cap.h"
#include "act/vm/folder.h"
#include "act/vm/orders.h"
#include "act/vm/queue.h"
#include "act/vm/reaper.h"
#include "act/vm/session.h"
#include "act/vm/usage.h"
#include "act/vm/valid.h"
#include "lib/bytes.h"
#include "lib/log.h"
#include "wire/link.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#define KEEP_MS 1000

struct program {
	struct vm vm;
	struct queue *queue;
	int engine;    /* its link, -1: none */
	uint64_t link; /* counts the engine's links; an answer belongs to one */
	bool ready_told;
	bool held; /* `out` was taken from the outbox and the engine's socket was full */
	uint64_t out_link;
	int out_fd; /* goes with `out`; -1: none */
	struct wire_message out;
};

static void order_carry(void *arg, const struct wire_order *order, uint64_t link)
{
	struct program *program = arg;
	struct wire_answer answer;
	vm_order_carry(&program->vm, order, &answer);
	if (answer.status < 0)
		log_warning("vm.order", "%s kb-%u: %s", order_type_name((enum order_type)order->type), order->instance,
		            answer.text);
	else if (order->type != ORDER_VM_OBSERVE)
		log_info("vm.order", "%s (%s, %u ms)", answer.text, order_type_name((enum order_type)order->type),
		         answer.took_us / 1000);
	outbox_answer(program->vm.outbox, link, &answer);
}

static void *keeper_run(void *arg)
{
	struct vm *vm = arg;
	for (;; usleep(KEEP_MS * 1000)) {
		uint32_t numbers[WIRE_INSTANCES_MAX];
		session_judge(vm, clock_monotonic_us());
		size_t n = folder_list(vm, numbers, countof(numbers));
		for (size_t i = 0; i < n; i++) {
			folder_console_bound(vm, numbers[i]);
			folder_log_bound(vm, numbers[i]);
			cap_rescue(vm, numbers[i]);
			usage_tell(vm, numbers[i]);
		}
	}
	return NULL;
}

/* A descriptor has been sent, or nobody wants it any more. Kept open it would keep the guest's port from the next engine. */
static void out_done(struct program *program)
{
	if (program->out_fd >= 0)
		close(program->out_fd);
	program->out_fd = -1;
	program->held = false;
}

static void engine_drop(struct program *program, const char *why)
{
	if (program->engine < 0)
		return;
	close(program->engine);
	program->engine = -1;
	out_done(program);
	size_t forgotten = queue_forget(program->queue);
	log_notice("vm.link", "%s; %zu orders that had not begun are forgotten", why, forgotten);
}

static void engine_take(struct program *program, int fd)
{
	engine_drop(program, "a new engine takes the old one's place");
	outbox_clear(program->vm.outbox);
	program->engine = fd;
	program->link++;
	program->ready_told = false;
	outbox_wake(program->vm.outbox);
}

/* Sends what waits until the socket is full or nothing is left. */
static void engine_feed(struct program *program)
{
	struct outbox *outbox = program->vm.outbox;
	if (program->engine >= 0 && !program->ready_told && atomic_load(&program->vm.conn)) {
		program->ready_told = true;
		outbox_note(outbox, NOTICE_READY, 0, (uint32_t)atomic_load(&program->vm.accelerator), "libvirt is open");
	}
	while (program->held || outbox_take(outbox, &program->out, &program->out_link, &program->out_fd)) {
		struct err err = {0};
		bool wanted = program->engine >= 0 && (program->out_link == 0 || program->out_link == program->link);
		int r = wanted ? wire_send(program->engine, &program->out, &program->out_fd, program->out_fd >= 0, &err) : 0;
		program->held = r == -EAGAIN;
		if (program->held)
			return;
		out_done(program);
		if (r < 0)
			engine_drop(program, err.text);
	}
}

static void order_take(struct program *program, const struct wire_message *message)
{
	struct err err = {0};
	if (message->kind != WIRE_ORDER) {
		engine_drop(program, "the engine sent something that is no order");
		return;
	}
	if (queue_push(program->queue, &message->order, program->link, &err) == 0)
		return;
	struct wire_answer answer = {.id = message->order.id, .status = err.code};
	text_copy(answer.text, sizeof(answer.text), err.text);
	outbox_answer(program->vm.outbox, program->link, &answer);
}

static void fds_close(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void engine_read(struct program *program)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX], r = 1;
	/* not for ever: the supervisor's link and the outbox want their turn too */
	for (int budget = WIRE_PENDING_MAX; budget > 0 && program->engine >= 0 && r == 1; budget--) {
		size_t n = 0;
		struct err err = {0};
		r = wire_receive(program->engine, &message, fds, &n, &err);
		if (r == 1) {
			fds_close(fds, n); /* no order brings a descriptor */
			order_take(program, &message);
		} else if (r < 0) {
			engine_drop(program, r == -EPIPE ? "the engine is gone" : err.text);
		}
	}
}

/* False: the supervisor is gone. */
static bool supervisor_read(struct program *program)
{
	struct wire_message message;
	int fds[WIRE_FDS_MAX];
	for (;;) {
		size_t n = 0;
		struct err err = {0};
		int r = wire_receive(WIRE_SUPERVISOR_FD, &message, fds, &n, &err);
		if (r == 0)
			return true;
		if (r < 0) {
			if (r != -EPIPE)
				log_error("vm.supervisor", "%s", err.text);
			return false;
		}
		if (message.kind == WIRE_LINK && message.link.role == WIRE_ENGINE && n == 1)
			engine_take(program, fds[0]);
		else
			fds_close(fds, n);
	}
}

static int loop_run(struct program *program)
{
	for (;;) {
		struct pollfd polled[] = {
		        {.fd = WIRE_SUPERVISOR_FD, .events = POLLIN},
		        {.fd = outbox_fd(program->vm.outbox), .events = POLLIN},
		        {.fd = program->engine, .events = (short)(POLLIN | (program->held ? POLLOUT : 0))},
		};
		if (poll(polled, countof(polled), -1) < 0) {
			if (errno == EINTR)
				continue;
			log_error("vm.poll", "%s", strerror(errno));
			return 1;
		}
		int engine = program->engine;
		if (polled[0].revents && !supervisor_read(program))
			return 0;
		if (polled[1].revents && outbox_woken(program->vm.outbox))
			engine_drop(program, "the engine does not take its answers");
		if (polled[2].revents & (POLLIN | POLLHUP | POLLERR) && program->engine == engine)
			engine_read(program);
		engine_feed(program);
	}
}

static int program_run(const struct conf *conf)
{
	static struct program program;
	struct err err = {0};
	pthread_t keeper;
	program.engine = program.out_fd = -1;
	struct outbox *outbox = outbox_new();
	int r = vm_init(&program.vm, conf, outbox, &err);
	if (r == 0 && valid_lists(&program.vm, NULL, &err) < 0) /* whatever we were at when we ended */
		log_error("vm.secrets", "%s", err.text);
	if (r == 0) {
		program.queue = queue_new(order_carry, &program);
		r = session_start(&program.vm, &err);
	}
	if (r == 0 && pthread_create(&keeper, NULL, keeper_run, &program.vm) != 0)
		r = err_set(&err, -EAGAIN, "no thread for the keeper");
	if (r < 0) {
		log_error("vm.start", "%s", err.text);
		return 1;
	}
	return loop_run(&program);
}

static int usage(int status)
{
	fputs("usage: koboshi-vm --config FILE [--prove-kvm]\n"
	      "Started by koboshid, which gives it a link on descriptor 3. With --prove-kvm it boots one guest under KVM, "
	      "records whether\n"
	      "that worked and ends: 0 when it did.\n",
	      status == 0 ? stdout : stderr);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	                                        {"prove-kvm", no_argument, NULL, 'k'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {0}};
	const char *file = NULL;
	bool prove = false;
	static struct conf conf;
	struct err err = {0};
	for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
		if (option == 'h')
			return usage(0);
		if (option == '?')
			return usage(2);
		if (option == 'k')
			prove = true;
		if (option == 'c')
			file = optarg;
	}
	if (!file || optind != argc)
		return usage(2);
	log_init("koboshi-vm", LOG_LEVEL_INFO);
	if (conf_load(file, &conf, &err) < 0) {
		log_error("vm.config", "%s", err.text);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	reaper_split();
	if (prove) {
		int r = accel_prove(&conf, &err);
		log_info("vm.accel", "%s", r == 0 ? "a guest boots under KVM: accel 'auto' uses it from now on" : err.text);
		_exit(r == 0 ? 0 : 1);
	}
	_exit(program_run(&conf));
}
