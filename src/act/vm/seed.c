/*
 * The seed is plain cloud-init, so that ordinary cloud images can be variants; Koboshi's own guests read the same files with
 * a few lines of awk (images/README.md lists what these understand: block style, one value a line). Nothing in it comes
 * from outside: addresses and names are computed, keys are random. No account gets a password unless the configuration asks for
 * one: a guest is replaced, not logged in to.
 */
#include "act/vm/seed.h"

#include "act/vm/domain.h"
#include "act/vm/iso.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

static void seed_network(const struct conf_instance *instance, char *to, size_t size)
{
	char address4[INET_ADDRSTRLEN], gateway4[INET_ADDRSTRLEN], address6[INET6_ADDRSTRLEN], gateway6[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET, &instance->address4, address4, sizeof(address4));
	inet_ntop(AF_INET, &instance->gateway4, gateway4, sizeof(gateway4));
	inet_ntop(AF_INET6, &instance->address6, address6, sizeof(address6));
	inet_ntop(AF_INET6, &instance->gateway6, gateway6, sizeof(gateway6));
	const uint8_t *mac = instance->mac;
	int length = snprintf(to, size,
	                      "version: 2\n"
	                      "ethernets:\n"
	                      "  eth0:\n"
	                      "    match:\n"
	                      "      macaddress: \"%02x:%02x:%02x:%02x:%02x:%02x\"\n"
	                      "    set-name: eth0\n"
	                      "    dhcp4: false\n"
	                      "    dhcp6: false\n"
	                      "    accept-ra: false\n"
	                      "    addresses:\n"
	                      "      - \"%s/32\"\n"
	                      "      - \"%s/128\"\n"
	                      "    routes:\n"
	                      "      - to: \"0.0.0.0/0\"\n"
	                      "        via: \"%s\"\n"
	                      "        on-link: true\n"
	                      "      - to: \"::/0\"\n"
	                      "        via: \"%s\"\n"
	                      "        on-link: true\n",
	                      mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], address4, address6, gateway4, gateway6);
	assert(length > 0 && (size_t)length < size);
}

/* No program is run from there, and no device or right comes with a file. */
static void seed_data(struct seed_text *user, const char *path)
{
	seed_put(user, "mounts:\n  - [\"" DOMAIN_VAULT "\", \"%s\", \"virtiofs\", \"rw,nosuid,nodev,noexec\", \"0\", \"0\"]\n",
	         path);
}

/* Whose changes live on: the list is for the agent, its first line the folder that it saves them into. By number, since who
 * bears which name is known inside only. */
static void seed_carry(struct seed_text *user, const struct seed_parts *parts)
{
	const struct carry *carry = parts->carry;
	if (!parts->data || !parts->service || parts->service->n_carry == 0)
		return;
	seed_put(user, "  - path: /etc/koboshi/carry\n    content: \"%s/" CONF_CARRY_FOLDER "\\n", parts->data);
	for (size_t i = 0; i < parts->service->n_carry; i++)
		seed_put(user, "%s\\n", parts->service->carry[i]);
	seed_put(user, "\"\n");
	for (size_t i = 0; carry && i < carry->n; i++) {
		const struct carried *one = &carry->all[i];
		seed_put(user,
		         "  - path: %s\n    owner: \"%u:%u\"\n    permissions: \"%04o\"\n    encoding: b64\n    content: \"",
		         one->path, one->uid, one->gid, one->mode);
		seed_put_base64(user, one->bytes, one->size);
		seed_put(user, "\"\n");
	}
}

/* Files before accounts and passwords, as cloud-init has it: what is carried over may be the list of accounts itself, and what
 * this instance is given of its own is in force in any case. */
void seed_write(const struct seed_parts *parts, struct seed *ret_seed)
{
	const struct conf_instance *instance = parts->instance;
	size_t n_secrets = parts->service ? parts->service->n_secrets : 0;
	char hex[2 * WIRE_KEY_SIZE + 1];
	struct seed_text user = {ret_seed->user_data, sizeof(ret_seed->user_data)};
	bytes_to_hex(parts->key, WIRE_KEY_SIZE, hex);
	snprintf(ret_seed->meta_data, sizeof(ret_seed->meta_data), "instance-id: %s-%08x\nlocal-hostname: %s\n", instance->name,
	         parts->tag, instance->name);
	seed_put(&user,
	         "#cloud-config\n"
	         "write_files:\n"
	         "  - path: /etc/koboshi/challenge.key\n"
	         "    owner: root:root\n"
	         "    permissions: \"0600\"\n"
	         "    content: \"%s\"\n",
	         hex);
	seed_carry(&user, parts);
	seed_put_tokens(&user, parts->secrets, n_secrets);
	seed_put_secrets(&user, parts->secrets, n_secrets);
	if (parts->data)
		seed_data(&user, parts->data);
	seed_network(instance, ret_seed->network_config, sizeof(ret_seed->network_config));
	explicit_bzero(hex, sizeof(hex));
}

uint8_t *seed_disk(const struct seed *seed, size_t *ret_size)
{
	const struct iso_file files[] = {
	        {"meta-data", seed->meta_data, strlen(seed->meta_data)},
	        {"network-config", seed->network_config, strlen(seed->network_config)},
	        {"user-data", seed->user_data, strlen(seed->user_data)},
	};
	return iso_build("cidata", files, sizeof(files) / sizeof(files[0]), ret_size);
}
