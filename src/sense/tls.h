#pragma once
/*
 * The client's side of TLS on the socket of a probe. Blocks nowhere and holds a bounded amount of what the peer sends. Private
 * to this room.
 *
 * Whose certificate it is, and until when, is not looked at. Whoever took a guest over has its key, so that a right one would
 * prove nothing; and a date that all guests pass at once must not fell them all. Each connection shakes hands anew, without what
 * is left of one before: that the guest can still use its key is part of what is asked.
 *
 * A peer chooses the key that we reckon with, and could choose one over which we sit for seconds: of RSA at most 4096 bits are
 * taken, with a public exponent of at most 32, and no group but three curves: one of finite fields costs its most for each
 * connection.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls;

/* On a connected, non-blocking socket, which stays the caller's. `http`: what is spoken inside (ALPN). NULL: the library could
 * not be set up. */
struct tls *tls_new(int fd, bool http);
void tls_free(struct tls *tls); /* says nothing to the peer; NULL is fine */

/*
 * 0 when hands are shaken. -EAGAIN: the socket has nothing more, or takes nothing more, for now. -EBADMSG: the peer does not
 * speak TLS as it should, tls_trouble() says how; others are errors of the socket.
 */
int tls_shake(struct tls *tls);

/* As send() and recv(), with errors as tls_shake() has them; shake hands first, if that is not done. An end of the connection is
 * 0, said properly or not. A send that ended with -EAGAIN is asked for again with the same bytes. */
ssize_t tls_send(struct tls *tls, const void *bytes, size_t size);
ssize_t tls_recv(struct tls *tls, void *ret_bytes, size_t size);

#define TLS_TROUBLE_MAX 96
void tls_trouble(const struct tls *tls, char ret_text[static TLS_TROUBLE_MAX]);
