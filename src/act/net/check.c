/* Before the first order: is everything there that we need? Answers with the first thing that is not, and what to do. */
#include "act/net/net.h"

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
	ruleset_base(text.out, conf, true, true);
	int r = transact_try(ruleset_text_end(&text), err);
	ruleset_text_done(&text);
	return r < 0 ? err_prefix(err, "this kernel does not take our rules") : 0;
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
