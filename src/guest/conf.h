#pragma once
/*
 * What the image (or, for a foreign one, its owner) says about the guest: /usr/lib/koboshi/guest.conf, one `key values`
 * a line, `#` begins a comment. Everything is bounded and lies in one struct: the agent takes no memory while it runs.
 */
#include "lib/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CONF_TEXT 128
#define CONF_PLACES 16
#define CONF_PORTS 32
#define CONF_MODULES 128
#define CONF_MODULE 64 /* the kernel's own limit */

struct conf_port {
	bool udp;
	uint16_t port;
};

struct conf {
	char list[CONF_TEXT]; /* list FILE: the programs that may run */
	bool root_trusted;    /* root trusted: unchanged files of the read-only layer below `/` are listed by being there */
	bool late_allow;      /* late allow|deny: what becomes of a program that is not decided upon in time */
	unsigned deadline_ms; /* deadline MS */
	bool reads;           /* reads on|off: interpreters are refused unlisted scripts */
	bool no_memory, no_namespaces; /* harden memory|namespaces: no programs in memory; no new namespaces, which hide mounts */
	uint16_t service;              /* service PORT: asked on 127.0.0.1; 0: none */
	char restart[CONF_TEXT];       /* restart PROGRAM: run when the host wants the service restarted; "": it cannot be */
	char carry[CONF_TEXT];         /* carry FILE: what lives on and where it is saved; default /etc/koboshi/carry */
	char stop[CONF_TEXT];          /* stop PROGRAM: likewise, stopped until it is to be restarted */
	unsigned learn_s;              /* learn SECONDS: without a list, what runs in that time is listed; written to `list` */
	char mounts[CONF_PLACES][CONF_TEXT];  /* mount DIR: only these are guarded (tests, containers); none: all there are */
	char watches[CONF_PLACES][CONF_TEXT]; /* watch DIR: changes below are told */
	char spared[CONF_PLACES][CONF_TEXT];  /* spare PATH: below a watched place, but not told */
	unsigned n_mounts, n_watches, n_spared;
	struct conf_port listens[CONF_PORTS]; /* listen tcp|udp PORT: the image's own */
	unsigned n_listens;
	char modules[CONF_MODULES][CONF_MODULE]; /* module NAME: may be loaded after the start */
	unsigned n_modules;
};

/* Reads the file at `path`; what it does not say has the default that conf.c names. 0, or -errno with "FILE:LINE: sentence". */
int conf_read(const char *path, struct conf *ret_conf, struct err *err) must_use;
