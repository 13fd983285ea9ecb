/*
 * ORDER_VM_CHANNEL: a connection to the port of a guest's agent, for the engine. We connect, because the socket lies in the
 * guest's closed folder, and keep nothing: whoever holds the connection is heard, and QEMU takes one at a time. One that is made
 * while an older one is still open waits in the socket's backlog until that is gone; so the engine asks when it has none, and
 * neither its death nor ours leaves one behind.
 */
#include "act/vm/orders.h"

#include "act/vm/folder.h"
#include "lib/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int channel_open(const char *path, int *ret_fd, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, -ENAMETOOLONG, "%s does not fit a socket address", path);
	text_copy(address.sun_path, sizeof(address.sun_path), path);
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "no socket for %s: %s", path, strerror(errno));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set(err, -errno, "%s: cannot connect to the agent's port: %s", path, strerror(errno));
	*ret_fd = take_fd(&fd);
	return 0;
}

int vm_channel(struct vm *vm, const struct wire_order *order, struct wire_answer *answer, struct err *err)
{
	char path[VM_PATH_MAX];
	uint8_t key[WIRE_KEY_SIZE];
	int fd = -1;
	folder_path(vm, order->instance, "agent.sock", path);
	int r = folder_agent_key(vm, order->instance, key, err);
	if (r == 0)
		r = channel_open(path, &fd, err);
	if (r < 0)
		return r;
	outbox_channel(vm->outbox, order->instance, key, fd);
	snprintf(answer->text, sizeof(answer->text), "the port of kb-%u's agent is connected", order->instance);
	return 0;
}
