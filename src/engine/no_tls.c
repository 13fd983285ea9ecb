/*
 * libmicrohttpd brings GnuTLS along and sets it up while the program is being loaded: tables, self-tests, PKCS#11, most of a
 * megabyte that would stay resident. Our API is a Unix socket and never speaks TLS, so the two calls by which that begins find
 * these instead: an executable's symbols come before its libraries'. MHD_USE_TLS would fail with this, not work without checks:
 * every session needs what was not set up. Where a service is probed over TLS, src/sense/tls.c calls the library's own.
 */
int gnutls_global_init(void);
void gnutls_global_deinit(void);
int _gnutls_global_init_skip(void); /* NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the name is theirs */

int gnutls_global_init(void)
{
	return 0;
}

void gnutls_global_deinit(void)
{
}

int _gnutls_global_init_skip(void)
{
	return 1;
}
