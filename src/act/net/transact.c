/*
 * libnftables behind one call: a text is one transaction. It always runs in a child that ends at once, because its
 * parser's heap (2 MB for the base ruleset) would stay ours for ever, and leaving its context costs 15 ms. So it serves
 * what has time: loading the rules, making and unmaking a tap. Decisions in a hurry go by batch.h.
 */
#include "act/net/net.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>
#include <sys/wait.h>

/* nft's first line, without its "Error: " and position, fit for a sentence of ours. */
static int nft_failed(struct nft_ctx *nft, struct err *err)
{
	int code = errno > 0 ? -errno : -EIO;
	const char *text = nft_ctx_get_error_buffer(nft), *start = strstr(text, "Error: ");
	start = start ? start + strlen("Error: ") : text;
	int size = (int)strcspn(start, "\n");
	if (strstr(text, "No such file"))
		code = -ENOENT;
	else if (strstr(text, "File exists"))
		code = -EEXIST;
	else if (strstr(text, "not permitted"))
		code = -EPERM;
	return err_set(err, code, "nftables refused the change: %.*s", size < 160 ? size : 160, start);
}

static int nft_new(struct nft_ctx **ret_nft, struct err *err)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return err_set(err, -ENOMEM, "cannot start libnftables");
	assert(nft_ctx_buffer_error(nft) == 0 && nft_ctx_buffer_output(nft) == 0);
	*ret_nft = nft;
	return 0;
}

static void child_run(const char *text, bool dry, int answer)
{
	struct err err = {0};
	struct nft_ctx *nft = NULL;
	if (nft_new(&nft, &err) == 0) {
		nft_ctx_set_dry_run(nft, dry);
		errno = 0;
		if (nft_run_cmd_from_buffer(nft, text) != 0)
			(void)nft_failed(nft, &err);
	}
	ssize_t ignored = write(answer, &err, sizeof(err));
	(void)ignored;        /* the parent takes silence for failure */
	_exit(err.code != 0); /* no clean-up: the kernel is faster */
}

static int apart(const char *text, bool dry, struct err *err)
{
	int answer[2];
	if (pipe(answer) < 0)
		return err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	pid_t child = fork();
	if (child < 0) {
		int code = -errno;
		close(answer[0]);
		close(answer[1]);
		return err_set(err, code, "cannot start a child for nftables: %s", strerror(-code));
	}
	if (child == 0)
		child_run(text, dry, answer[1]);
	close(answer[1]);
	struct err got;
	ssize_t size = read(answer[0], &got, sizeof(got));
	close(answer[0]);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (size != (ssize_t)sizeof(got))
		return err_set(err, -EIO, "the child that loads nftables rules died");
	got.text[sizeof(got.text) - 1] = '\0';
	return got.code < 0 ? err_set(err, got.code, "%s", got.text) : 0;
}

int transact(const char *text, struct err *err)
{
	return apart(text, false, err);
}

int transact_try(const char *text, struct err *err)
{
	return apart(text, true, err);
}
