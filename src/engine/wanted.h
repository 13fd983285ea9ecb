#pragma once
/*
 * An image that is not there and would be better than those that are: the engine writes its name into a file of its own folder,
 * whoever has the recipes and the signing key builds it (images/build --wanted), and it is used as soon as it is there. What
 * could not be built says a file beside the images. The engine makes nothing itself: it has no key, no network and no root.
 */
#include "conf/conf.h"
#include "wire/order.h"

#include <stdbool.h>
#include <stdint.h>

#define WANTED_FILE "wanted-image"          /* in the ledger's folder: one name and a newline */
#define WANTED_FAILED "wanted-image.failed" /* in the image folder: the name, a newline, a sentence */
#define WANTED_LONG_US 900000000            /* then somebody should look why nobody builds it */

struct engine;

struct wanted {
	char name[CONF_NAME_MAX];      /* stands in the file; "": there is none */
	int64_t since_us;              /* CLOCK_MONOTONIC */
	char candidate[CONF_NAME_MAX]; /* would stand there, in so many looks in a row */
	unsigned looks;
	bool told, writing;          /* the file is as it should be; a job is on its way */
	char problem[WIRE_TEXT_MAX]; /* why it cannot be written; "" */
	char failed[CONF_NAME_MAX];  /* could not be built; "" */
	char why[WIRE_TEXT_MAX];
	int64_t failed_ns; /* of the builder's file; 0: there is none */
};

void wanted_pulse(struct engine *e); /* once a second */
