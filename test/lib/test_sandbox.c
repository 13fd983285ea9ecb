/*
 * The sandbox, from inside: each case runs in a process of its own that confines itself as the engine does and then tries
 * something. What the engine needs is tried with SANDBOX_KILL, so that no fallback hides a missing call; what an attacker
 * would try with SANDBOX_DENY, as on a device.
 */
#include "lib/privileges.h"
#include "lib/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <microhttpd.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "skip.h"
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <uv.h>

static char dir[64], state_dir[96], images[96], outside[96];
static int api, open_port, closed_port; /* made outside of the sandbox */
static struct user somebody = {.uid = 65534, .gid = 65534};
static bool has_landlock_net;

#define NEED(condition)                                                                                                          \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			dprintf(STDERR_FILENO, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno));     \
			_exit(1);                                                                                                \
		}                                                                                                                \
	} while (0)

static int listener(int *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void file_make(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	assert_true(fd >= 0 && write(fd, "{}", 2) == 2 && fchmod(fd, mode) == 0);
	close(fd);
}

static int folders_make(unused_arg void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/kbsb.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	snprintf(state_dir, sizeof(state_dir), "%s/state", dir);
	snprintf(images, sizeof(images), "%s/images", dir);
	snprintf(outside, sizeof(outside), "%s/outside", dir);
	assert_int_equal(mkdir(state_dir, 0700) | mkdir(images, 0755) | mkdir(outside, 0777) | chmod(outside, 0777), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(state_dir, somebody.uid, somebody.gid), 0);
	char path[128];
	snprintf(path, sizeof(path), "%s/manifest.json", images);
	file_make(path, 0644);
	snprintf(path, sizeof(path), "%s/secret", outside);
	file_make(path, 0666);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/api", dir);
	api = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(api, (struct sockaddr *)&address, sizeof(address)) | listen(api, 8), 0);
	listener(&open_port);
	listener(&closed_port);
	return 0;
}

static int folders_remove(unused_arg void **state)
{
	pid_t pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static bool offline; /* of the next one */

static void confine(enum sandbox_violation violation)
{
	struct sandbox_report report;
	struct err err;
	struct sandbox wanted = {.user = geteuid() == 0 ? &somebody : NULL,
	                         .violation = violation,
	                         .offline = offline,
	                         .paths = {{state_dir, true}, {images, false}, {"/does/not/exist", true}},
	                         .n_paths = 3,
	                         .limit_connect = true,
	                         .connect_ports = {(uint16_t)open_port},
	                         .n_connect_ports = 1};
	if (sandbox_apply(&wanted, &report, &err) < 0) {
		dprintf(STDERR_FILENO, "sandbox_apply: %s\n", err.text);
		_exit(2);
	}
	has_landlock_net = true;
	for (size_t i = 0; i < report.n_lines; i++) {
		dprintf(STDERR_FILENO, "not to be had here: %s\n", report.lines[i]);
		if (strstr(report.lines[i], "TCP ports") || strstr(report.lines[i], "missing"))
			has_landlock_net = false;
	}
}

/* The wait status of a process that did this. */
static int tried(enum sandbox_violation violation, void (*act)(void))
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(20);
		confine(violation);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void works(void (*act)(void))
{
	int status = tried(SANDBOX_KILL, act);
	if (status != 0)
		fail_msg("ended with wait status %#x%s", status,
		         WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? ": a call is missing" : "");
}

static void is_refused(void (*act)(void))
{
	assert_int_equal(tried(SANDBOX_DENY, act), 0);
}

static void is_deadly(void (*act)(void))
{
	int status = tried(SANDBOX_DENY, act);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* What the engine needs */

static void use_ledger(void)
{
	char path[128];
	sqlite3 *db;
	snprintf(path, sizeof(path), "%s/ledger.db", state_dir);
	NEED(sqlite3_open(path, &db) == SQLITE_OK);
	NEED(sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(x) STRICT", 0, 0, 0) !=
	     SQLITE_OK);
	NEED(sqlite3_exec(db, "CREATE TABLE t(x INT) STRICT; INSERT INTO t VALUES (1), (random()); SELECT * FROM t ORDER BY x", 0,
	                  0, 0) == SQLITE_OK);
	NEED(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE); VACUUM", 0, 0, 0) == SQLITE_OK);
	NEED(sqlite3_close(db) == SQLITE_OK);
}

static void use_files(void)
{
	char from[128], to[128], bytes[8];
	struct stat status;
	snprintf(from, sizeof(from), "%s/manifest.json", images);
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	NEED(fd >= 0 && read(fd, bytes, sizeof(bytes)) == 2 && fstat(fd, &status) == 0);
	snprintf(from, sizeof(from), "%s/a", state_dir);
	snprintf(to, sizeof(to), "%s/b", state_dir);
	fd = open(from, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	NEED(fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0 && rename(from, to) == 0 && unlink(to) == 0);
	FILE *stream = fopen(to, "we");
	NEED(stream && fprintf(stream, "%d", 1) == 1 && fclose(stream) == 0 && unlink(to) == 0);
}

static void on_work(uv_work_t *job)
{
	*(bool *)job->data = true;
}

static void on_worked(uv_work_t *job, unused_arg int status)
{
	uv_stop(job->loop);
}

static void on_timer(uv_timer_t *timer)
{
	uv_timer_stop(timer);
}

static void on_connected(uv_connect_t *request, int status)
{
	*(int *)request->data = status;
}

static void use_loop(void)
{
	uv_loop_t loop;
	uv_work_t job;
	uv_timer_t timer;
	uv_tcp_t tcp;
	uv_connect_t request;
	uv_signal_t hangup;
	bool worked = false;
	int connected = 1;
	struct sockaddr_in address = {
	        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)open_port)};
	job.data = &worked;
	request.data = &connected;
	NEED(uv_loop_init(&loop) == 0 && uv_timer_init(&loop, &timer) == 0 && uv_timer_start(&timer, on_timer, 5, 0) == 0);
	NEED(uv_signal_init(&loop, &hangup) == 0 && uv_signal_start(&hangup, NULL, SIGHUP) == 0);
	NEED(uv_tcp_init(&loop, &tcp) == 0 && uv_tcp_connect(&request, &tcp, (struct sockaddr *)&address, on_connected) == 0);
	NEED(uv_queue_work(&loop, &job, on_work, on_worked) == 0);
	uv_signal_stop(&hangup);
	for (int i = 0; i < 100 && (!worked || connected == 1); i++)
		uv_run(&loop, UV_RUN_ONCE);
	NEED(worked && connected == 0);
	char host[64];
	size_t size = sizeof(host);
	(void)uv_os_gethostname(host, &size);
	(void)uv_hrtime();
}

static enum MHD_Result on_request(unused_arg void *data, struct MHD_Connection *connection, unused_arg const char *url,
                                  unused_arg const char *method, unused_arg const char *version, unused_arg const char *upload,
                                  unused_arg size_t *size, unused_arg void **state)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(2, (char[]){"{}"}, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result r = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return r;
}

static void on_completed(void *data, unused_arg struct MHD_Connection *connection, unused_arg void **state,
                         unused_arg enum MHD_RequestTerminationCode code)
{
	*(bool *)data = true;
}

static void use_api(void)
{
	bool done = false;
	struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET,
	                                             api, MHD_OPTION_NOTIFY_COMPLETED, on_completed, &done, MHD_OPTION_END);
	NEED(daemon);
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
	for (int i = 0; i < 100 && !done; i++) {
		struct pollfd watched = {.fd = info->epoll_fd, .events = POLLIN};
		poll(&watched, 1, 100);
		NEED(MHD_run(daemon) == MHD_YES);
	}
	NEED(done);
	MHD_stop_daemon(daemon);
}

static void use_network(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	NEED(fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) == 0);
	NEED(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0); /* a source of our own, any port */
	address.sin_port = htons((uint16_t)open_port);
	NEED(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	NEED(fd >= 0 || errno == EAFNOSUPPORT);
}

static void abort_and_be_counted(void)
{
	abort();
}

/* What it must not be able to do */

#define REFUSED(call)                                                                                                            \
	do {                                                                                                                     \
		errno = 0;                                                                                                       \
		NEED((call) < 0 && (errno == EPERM || errno == EACCES));                                                         \
	} while (0)

static void try_files(void)
{
	char path[128], other[128];
	REFUSED(open("/etc/shadow", O_RDONLY));
	REFUSED(open("/etc/passwd", O_RDONLY)); /* anybody may, but not the engine */
	REFUSED(open("/proc/1/environ", O_RDONLY));
	REFUSED(open("/", O_RDONLY | O_DIRECTORY));
	snprintf(path, sizeof(path), "%s/secret", outside);
	REFUSED(open(path, O_RDONLY));
	REFUSED(open(path, O_WRONLY));
	snprintf(path, sizeof(path), "%s/new", outside);
	REFUSED(open(path, O_WRONLY | O_CREAT, 0600));
	snprintf(path, sizeof(path), "%s/manifest.json", images);
	REFUSED(open(path, O_WRONLY));
	snprintf(other, sizeof(other), "%s/link", state_dir);
	REFUSED(link(path, other));
	REFUSED(symlink("/etc/shadow", other));
	REFUSED(mknod(other, S_IFIFO | 0600, 0));
}

static void try_sockets(void)
{
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0));
	REFUSED(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	REFUSED(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
	REFUSED(socket(AF_VSOCK, SOCK_STREAM, 0));
}

static void try_other_port(void)
{
	struct sockaddr_in address = {
	        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)closed_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!has_landlock_net)
		return;
	REFUSED(connect(fd, (struct sockaddr *)&address, sizeof(address)));
	address.sin_port = htons(8080);
	REFUSED(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static void try_rights(void)
{
	NEED(setuid(0) < 0 && seteuid(0) < 0 && setgid(0) < 0);
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {0};
	NEED(syscall(SYS_capget, &head, sets) == 0);
	for (int i = 0; i < 2; i++)
		NEED(!sets[i].effective && !sets[i].permitted && !sets[i].inheritable);
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
	REFUSED(setrlimit(RLIMIT_NOFILE, &limit));
	REFUSED(kill(getppid(), 0));
	REFUSED(syscall(SYS_tgkill, getppid(), getppid(), 0));
	REFUSED((intptr_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == -1 ? -1
	                                                                                                                 : 0);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REFUSED(mprotect(page, 4096, PROT_READ | PROT_EXEC));
	REFUSED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); /* fork */
}

static void try_exec(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void try_ptrace(void)
{
	ptrace(PTRACE_ATTACH, getppid(), 0, 0);
}

static void try_mount(void)
{
	mount("none", dir, "tmpfs", 0, "");
}

static void try_namespace(void)
{
	unshare(CLONE_NEWUSER);
}

static void try_memory_of_others(void)
{
	process_vm_readv(getppid(), NULL, 0, NULL, 0, 0);
}

static void try_uring(void)
{
	syscall(425, 1, NULL);
}

static void test_ledger_works(unused_arg void **state)
{
	works(use_ledger);
}

static void test_files_work(unused_arg void **state)
{
	works(use_files);
}

static void test_loop_works(unused_arg void **state)
{
	works(use_loop);
}

/* Packets are logged by a link's number, rules are written by its name. */
static void use_links(void)
{
	struct ifreq request = {.ifr_ifindex = 1};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFNAME, &request) < 0 || strcmp(request.ifr_name, "lo") != 0)
		_exit(1);
}

static void test_links_work(unused_arg void **state)
{
	works(use_links);
}

static void test_network_works(unused_arg void **state)
{
	works(use_network);
}

/* The client is outside, where sockets of that family can be made. */
static void test_api_works(unused_arg void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/api", dir);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	assert_int_equal(send(client, request, sizeof(request) - 1, 0), sizeof(request) - 1);
	works(use_api);
	char text[256] = "";
	assert_true(recv(client, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "200"));
	close(client);
}

static void test_assert_still_aborts(unused_arg void **state)
{
	int status = tried(SANDBOX_KILL, abort_and_be_counted);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_other_files_are_refused(unused_arg void **state)
{
	is_refused(try_files);
}

static void test_other_sockets_are_refused(unused_arg void **state)
{
	is_refused(try_sockets);
}

static void test_other_ports_are_refused(unused_arg void **state)
{
	is_refused(try_other_port);
}

static void test_no_way_back_to_rights(unused_arg void **state)
{
	is_refused(try_rights);
}

static void test_attackers_calls_are_deadly(unused_arg void **state)
{
	is_deadly(try_exec);
	is_deadly(try_ptrace);
	is_deadly(try_mount);
	is_deadly(try_namespace);
	is_deadly(try_memory_of_others);
	is_deadly(try_uring);
}

static void use_no_network(void)
{
	NEED(socket(AF_INET, SOCK_DGRAM, 0) < 0 && errno == EPERM);
	NEED(socket(AF_INET6, SOCK_STREAM, 0) < 0 && errno == EPERM);
	NEED(accept(api, NULL, NULL) < 0 && errno == EPERM);
	NEED(shutdown(api, SHUT_RDWR) < 0 && errno == EPERM);
	NEED(write(STDERR_FILENO, "", 0) == 0);
}

static void test_whoever_is_offline_has_no_sockets(unused_arg void **state)
{
	offline = true;
	is_refused(use_no_network);
	offline = false;
}

static void keep_network_rights(void)
{
	static const int kept[] = {CAP_NET_ADMIN, CAP_NET_RAW};
	struct err err;
	NEED(privileges_keep(kept, countof(kept), &err) == 0);
	NEED(socket(AF_PACKET, SOCK_RAW, 0) >= 0);
	NEED(chown(dir, 1, 1) < 0 && errno == EPERM);
	NEED(sethostname("x", 1) < 0 && errno == EPERM);
}

static void test_an_actuator_keeps_only_what_it_names(unused_arg void **state)
{
	int status;
	if (geteuid() != 0)
		skip_for("it needs root");
	pid_t pid = fork();
	if (pid == 0) {
		keep_network_rights();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ledger_works),
	        cmocka_unit_test(test_files_work),
	        cmocka_unit_test(test_loop_works),
	        cmocka_unit_test(test_network_works),
	        cmocka_unit_test(test_links_work),
	        cmocka_unit_test(test_api_works),
	        cmocka_unit_test(test_assert_still_aborts),
	        cmocka_unit_test(test_other_files_are_refused),
	        cmocka_unit_test(test_other_sockets_are_refused),
	        cmocka_unit_test(test_other_ports_are_refused),
	        cmocka_unit_test(test_whoever_is_offline_has_no_sockets),
	        cmocka_unit_test(test_no_way_back_to_rights),
	        cmocka_unit_test(test_attackers_calls_are_deadly),
	        cmocka_unit_test(test_an_actuator_keeps_only_what_it_names),
	};
	return cmocka_run_group_tests(tests, folders_make, folders_remove);
}
