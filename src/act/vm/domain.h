#pragma once
/* One guest as libvirt's XML. Pure: text in, text out; the golden test reads like the machine that a guest gets. */
#include <stdint.h>

enum domain_virt { DOMAIN_EMULATED, DOMAIN_KVM, DOMAIN_TEST /* libvirt's own test driver */ };

struct domain_recipe {
	const char *name;
	enum domain_virt virt;
	uint32_t memory_mib, cpus;
	const char *kernel, *initrd, *root, *cmdline; /* from the verified image */
	const char *seed, *console;                   /* in the guest's folder */
	const char *agent_socket;                     /* of the agent's channel, wire/agent.h; NULL: none */
	const char *lab_socket;                       /* NULL: no laboratory channel */
	const char *vault;                            /* folder that it shares under the name DOMAIN_VAULT; NULL: none */
	const char *tap;                              /* NULL: no network card (proof of an accelerator) */
	uint8_t mac[6];
};

#define DOMAIN_VAULT "koboshi"

/* New text, caller frees. Everything is escaped. */
char *domain_xml(const struct domain_recipe *recipe);

/* The network card alone, for changing its carrier; the same device as in domain_xml. New text, caller frees. */
char *domain_card_xml(const struct domain_recipe *recipe, int carrier);
