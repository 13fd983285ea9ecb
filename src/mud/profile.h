#pragma once
/*
 * A service's profile: the MUD file that its guests are held to at their taps, checked for what can be kept there. Whatever
 * cannot is refused as a whole, so that no half of a profile is ever in force.
 *
 * Who is who at a tap: `my-controller` is what the service's `controllers` says, `local-networks` what its `local_networks` says;
 * other guests and the host itself are never reached, whatever a profile says.
 */
#include "conf/conf.h"
#include "mud/mud.h"

/* Reads the file that `service` names (it must name one). Returns a new object, which the caller frees (free), or NULL with
 * "FILE: PATH IN THE JSON: REASON". Blocks for the file. Thread: any. */
struct mud *mud_profile_load(const struct conf *conf, const struct conf_service *service, struct err *err);

/* The same from memory; `name` stands in the sentences. */
struct mud *mud_profile_read(const struct conf *conf, const struct conf_service *service, const char *name, const char *text,
                             size_t size, struct err *err);

/* NULL, or why no guest may be let to this address, whatever a profile or a resolver says: "is the loopback network, ...". */
const char *mud_profile_unreachable(const struct conf *conf, bool v6, const uint8_t *address);
