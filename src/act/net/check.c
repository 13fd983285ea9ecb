/* Before the first order: is everything there that we need? Answers with the first thing that is not, and what to do. */
#include "act/net/net.h"

#include "lib/bytes.h"
#include "lib/log.h"

#include <arpa/inet.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define NAME "koboshi_check"

static const struct {
	const char *text, *sentence;
} kernel_checks[] = {
        {"add table inet " NAME "\n",
         "this kernel has no nf_tables for the inet family: CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET"},
        {"add table netdev " NAME "\nadd chain netdev " NAME " x { type filter hook ingress device \"lo\" priority 0; }\n",
         "this kernel filters no frames at the entry of a link: CONFIG_NETFILTER_INGRESS, CONFIG_NF_TABLES_NETDEV"},
        {"add table inet " NAME "\nadd chain inet " NAME " x { type nat hook prerouting priority -100; }\n"
         "add rule inet " NAME " x ct state new counter\n",
         "this kernel has no address translation for nf_tables: CONFIG_NFT_NAT, CONFIG_NFT_CT, CONFIG_NF_CONNTRACK"},
        {"add table inet " NAME "\nadd chain inet " NAME " x\nadd rule inet " NAME " x log group 7\n",
         "this kernel's nf_tables cannot log to a program: CONFIG_NFT_LOG, CONFIG_NETFILTER_NETLINK_LOG"},
};

static int check_tun(struct err *err)
{
	auto_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return 0;
	return err_set(err, -errno, "cannot open /dev/net/tun (%s): load the module tun, or give the device to this container",
	               strerror(errno));
}

static int check_rules(const struct conf *conf, struct err *err)
{
	struct ruleset_text text;
	ruleset_text_init(&text);
	ruleset_base(text.out, &(struct ruleset_base){.conf = conf, .hold4 = true, .hold6 = true});
	int r = transact_try(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r < 0 ? err_prefix(err, "this kernel does not take our rules") : 0;
}

bool check_brief(void)
{
	struct ruleset_text text;
	struct err err = {0};
	ruleset_text_init(&text);
	fputs("add table inet koboshi\nadd chain inet koboshi leaving\n", text.out);
	ruleset_brief(text.out);
	int r = transact_try(ruleset_text_end(&text), &err);
	ruleset_text_done(&text);
	if (r < 0)
		log_info("net.probes", "conntrack keeps flows of probes as long as others (CONFIG_NF_CONNTRACK_TIMEOUT): %s",
		         err.text);
	return r == 0;
}

int check_host(const struct conf *conf, struct err *err)
{
	capng_get_caps_process();
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN))
		return err_set(err, -EPERM, "koboshi-net needs CAP_NET_ADMIN: start it as root");
	int r = check_tun(err);
	for (size_t i = 0; i < countof(kernel_checks) && r == 0; i++) {
		struct err detail = {0};
		r = transact_try(kernel_checks[i].text, &detail);
		if (r < 0)
			r = err_set(err, r, "%s (%s)", kernel_checks[i].sentence, detail.text);
	}
	if (r == 0 && access("/proc/sys/net/ipv6/conf/all/forwarding", F_OK) < 0)
		r = err_set(err, -EAFNOSUPPORT,
		            "this kernel has no IPv6, which guests are reached by too: CONFIG_IPV6, and not ipv6.disable=1");
	return r == 0 ? check_rules(conf, err) : r;
}

/* /proc/net/{tcp,udp}[6]: "sl: ADDRESS:PORT ADDRESS:PORT STATE ...", addresses in hexadecimal words of the host's order. */
static bool line_is(const char *line, const char *address, const char *state)
{
	char local[80], remote[80], is[8];
	return sscanf(line, " %*[^:]: %79s %79s %7s", local, remote, is) == 3 && strcmp(local, address) == 0 &&
	       strcmp(is, state) == 0;
}

static bool socket_is_there(const char *table, const char *address, const char *state)
{
	char path[32], line[512];
	snprintf(path, sizeof(path), "/proc/net/%s", table);
	FILE *file = fopen(path, "re");
	bool found = false;
	while (file && !found && fgets(line, sizeof(line), file))
		found = line_is(line, address, state);
	if (file)
		fclose(file);
	return found;
}

static void address_hex(const void *address, size_t words, uint16_t port, char *ret_text)
{
	const uint32_t *word = address;
	for (size_t i = 0; i < words; i++)
		ret_text += sprintf(ret_text, "%08X", word[i]);
	sprintf(ret_text, ":%04X", port);
}

static int check_port(const struct conf_service *service, const struct conf_port *port, bool six, struct err *err)
{
	char wanted[48], text[INET6_ADDRSTRLEN];
	bool tcp = port->protocol == IPPROTO_TCP;
	const void *address = six ? (const void *)&service->address6 : &service->address4;
	const char *const tables[] = {"udp", "udp6", "tcp", "tcp6"};
	address_hex(address, six ? 4 : 1, port->port, wanted);
	if (!socket_is_there(tables[2 * tcp + six], wanted, tcp ? "0A" : "07"))
		return 0;
	inet_ntop(six ? AF_INET6 : AF_INET, address, text, sizeof(text));
	return err_set(
	        err, -EADDRINUSE,
	        "port %u/%s of %s is in use by a program on this host, and service '%s' is to have it: stop the program, or "
	        "give the service an address of its own",
	        port->port, tcp ? "tcp" : "udp", text, service->name);
}

/* Who listens on all addresses is not meant: the service's packets never get there. */
int check_ports(const struct conf *conf, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < conf->n_services; i++) {
		const struct conf_service *service = &conf->services[i];
		for (size_t k = 0; k < service->n_ports && r == 0; k++) {
			if (service->has_address4)
				r = check_port(service, &service->ports[k], false, err);
			if (r == 0 && service->has_address6)
				r = check_port(service, &service->ports[k], true, err);
		}
	}
	return r;
}
