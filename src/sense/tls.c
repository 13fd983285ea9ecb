/*
 * See tls.h. GnuTLS, because libmicrohttpd brings it along anyway. Its "again" may mean that a record was none of ours and more
 * of them wait: only the socket knows whether it would block. So each call goes on until it does, or there were too many such
 * records.
 */
#include "sense/tls.h"

#include "lib/attr.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define RECORDS_MAX 12            /* without a byte for us, one after the other */
#define HANDSHAKE_MAX (32 * 1024) /* bytes of one message: a certificate with those that vouch for it */
#define RSA_BITS_MAX 4096
#define RSA_EXPONENT_MAX 4 /* bytes */

static const char versions_and_ways[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-DHE-RSA:-RSA:"
                                        "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1";

struct tls {
	gnutls_session_t session;
	gnutls_certificate_credentials_t nobody; /* we show no certificate */
	int fd, error;                           /* of the socket, the last one */
	bool shaken;
	int trouble; /* of GnuTLS */
	const char *refusal;
};

/* Our own program keeps the library from setting itself up while nobody needs it (engine/no_tls.c): this is the library's own. */
static bool library_begin(void)
{
	static bool begun;
	int (*begin)(void);
	if (begun)
		return true;
	*(void **)&begin = dlsym(RTLD_NEXT, "gnutls_global_init");
	begun = begin && begin() == GNUTLS_E_SUCCESS;
	return begun;
}

/* ---- the socket */

static ssize_t pull(gnutls_transport_ptr_t arg, void *ret_bytes, size_t size)
{
	struct tls *tls = arg;
	ssize_t got = recv(tls->fd, ret_bytes, size, 0);
	if (got < 0)
		tls->error = errno;
	return got;
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *bytes, size_t size)
{
	struct tls *tls = arg;
	ssize_t put = send(tls->fd, bytes, size, MSG_NOSIGNAL);
	if (put < 0)
		tls->error = errno;
	return put;
}

/* ---- the peer's key */

static bool key_is_bearable(const gnutls_datum_t *der)
{
	gnutls_x509_crt_t certificate;
	gnutls_datum_t modulus = {0}, exponent = {0};
	unsigned bits = 0;
	if (gnutls_x509_crt_init(&certificate) < 0)
		return false;
	bool known = gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) == GNUTLS_E_SUCCESS;
	int kind = known ? gnutls_x509_crt_get_pk_algorithm(certificate, &bits) : GNUTLS_PK_UNKNOWN;
	bool bearable = kind != GNUTLS_PK_UNKNOWN; /* the size of the others is their kind's */
	if (kind == GNUTLS_PK_RSA || kind == GNUTLS_PK_RSA_PSS)
		bearable = bits <= RSA_BITS_MAX &&
		           gnutls_x509_crt_get_pk_rsa_raw(certificate, &modulus, &exponent) == GNUTLS_E_SUCCESS &&
		           exponent.size <= RSA_EXPONENT_MAX + 1; /* and a leading zero */
	gnutls_free(modulus.data);
	gnutls_free(exponent.data);
	gnutls_x509_crt_deinit(certificate);
	return bearable;
}

/* Before a message is taken. Those are the two for which the key of the certificate before them is needed. */
static int on_message(gnutls_session_t session, unsigned type, unsigned when unused_arg, unsigned incoming,
                      const gnutls_datum_t *message unused_arg)
{
	struct tls *tls = gnutls_session_get_ptr(session);
	unsigned n = 0;
	if (!incoming || (type != GNUTLS_HANDSHAKE_CERTIFICATE_VERIFY && type != GNUTLS_HANDSHAKE_SERVER_KEY_EXCHANGE))
		return 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);
	if (chain && n > 0 && key_is_bearable(&chain[0]))
		return 0;
	tls->refusal = "its key is none that is reckoned with";
	return GNUTLS_E_CERTIFICATE_ERROR;
}

/* ---- what the prober sees */

/* What came of a call that gave no bytes; 0: call again. */
static int outcome(struct tls *tls, int r)
{
	if (r == GNUTLS_E_AGAIN && tls->error == EAGAIN)
		return -EAGAIN;
	if (!gnutls_error_is_fatal(r))
		return 0;
	if ((r == GNUTLS_E_PULL_ERROR || r == GNUTLS_E_PUSH_ERROR) && tls->error != 0)
		return -tls->error;
	tls->trouble = r;
	return -EBADMSG;
}

int tls_shake(struct tls *tls)
{
	int r = 0;
	for (unsigned i = 0; !tls->shaken && r == 0; i++) {
		tls->error = 0;
		int said = i < RECORDS_MAX ? gnutls_handshake(tls->session) : GNUTLS_E_UNEXPECTED_HANDSHAKE_PACKET;
		tls->shaken = said == GNUTLS_E_SUCCESS;
		r = tls->shaken ? 0 : outcome(tls, said);
	}
	return r;
}

ssize_t tls_send(struct tls *tls, const void *bytes, size_t size)
{
	int r = tls_shake(tls);
	for (unsigned i = 0; r == 0; i++) {
		tls->error = 0;
		ssize_t put = i < RECORDS_MAX ? gnutls_record_send(tls->session, bytes, size) : GNUTLS_E_UNEXPECTED_PACKET;
		if (put >= 0)
			return put;
		r = outcome(tls, (int)put);
	}
	return r;
}

ssize_t tls_recv(struct tls *tls, void *ret_bytes, size_t size)
{
	int r = tls_shake(tls);
	for (unsigned i = 0; r == 0; i++) {
		tls->error = 0;
		ssize_t got = i < RECORDS_MAX ? gnutls_record_recv(tls->session, ret_bytes, size) : GNUTLS_E_UNEXPECTED_PACKET;
		if (got >= 0)
			return got;
		if (got == GNUTLS_E_PREMATURE_TERMINATION)
			return 0;
		r = outcome(tls, (int)got);
	}
	return r;
}

void tls_trouble(const struct tls *tls, char ret_text[static TLS_TROUBLE_MAX])
{
	const char *what = tls->refusal ? tls->refusal : gnutls_strerror(tls->trouble);
	if (tls->trouble == GNUTLS_E_FATAL_ALERT_RECEIVED)
		what = gnutls_alert_get_name(gnutls_alert_get(tls->session));
	snprintf(ret_text, TLS_TROUBLE_MAX, "TLS: %s", what ? what : "an alert that nobody knows");
}

struct tls *tls_new(int fd, bool http)
{
	static const gnutls_datum_t http11 = {(unsigned char *)"http/1.1", 8};
	if (!library_begin())
		return NULL;
	struct tls *tls = calloc(1, sizeof(*tls));
	if (!tls || gnutls_init(&tls->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS) < 0 ||
	    gnutls_certificate_allocate_credentials(&tls->nobody) < 0 ||
	    gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->nobody) < 0 ||
	    gnutls_priority_set_direct(tls->session, versions_and_ways, NULL) < 0 ||
	    (http && gnutls_alpn_set_protocols(tls->session, &http11, 1, 0) < 0))
		abort(); /* out of memory */
	tls->fd = fd;
	gnutls_session_set_ptr(tls->session, tls);
	gnutls_handshake_set_max_packet_length(tls->session, HANDSHAKE_MAX);
	gnutls_handshake_set_hook_function(tls->session, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, on_message);
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_pull_function(tls->session, pull);
	gnutls_transport_set_push_function(tls->session, push);
	return tls;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	gnutls_deinit(tls->session);
	gnutls_certificate_free_credentials(tls->nobody);
	free(tls);
}
