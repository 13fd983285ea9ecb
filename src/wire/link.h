#pragma once
/*
 * One end of a link: a non-blocking SOCK_SEQPACKET socket with decoded messages in and out, and descriptors on the side.
 * No loop inside: the caller watches `fd` with whatever it has.
 */
#include "wire/order.h"

/* Sends one message (kind and body filled by the caller) with `n_fds` <= WIRE_FDS_MAX descriptors; they stay the caller's.
 * 0, -EAGAIN when the peer does not read (bounded by the socket buffer), -EPIPE when it is gone, or -errno. */
int wire_send(int fd, struct wire_message *message, const int *fds, size_t n_fds, struct err *err) must_use;

/* Receives one message. 1: got one; 0: nothing there; -EPIPE: peer closed; -EBADMSG: did not decode (drop the link); -errno.
 * Received descriptors (close-on-exec) are the caller's; `ret_n_fds` tells how many. */
int wire_receive(int fd, struct wire_message *ret_message, int ret_fds[static WIRE_FDS_MAX], size_t *ret_n_fds,
                 struct err *err) must_use;

/* For a child that is linked to nobody but the engine: what comes from the supervisor on WIRE_SUPERVISOR_FD. 1: a new link to the
 * engine, which is in `engine` now, non-blocking (an old one, unless -1, was closed); 0: nothing of use; negative: the supervisor
 * has ended. */
int wire_engine_relink(int *engine) must_use;

/* A connected pair, close-on-exec, non-blocking. */
int wire_pair(int ret_pair[static 2], struct err *err) must_use;

/* Children are started with their supervisor link on this descriptor. The engine also gets the API's listening socket. */
#define WIRE_SUPERVISOR_FD 3
#define WIRE_API_FD 4
/* Where the tarpit listens: koboshi-decoy keeps these, koboshi-net reads their ports for its rules. Not there: nobody answers. */
#define WIRE_DECOY4_FD 5
#define WIRE_DECOY6_FD 6
