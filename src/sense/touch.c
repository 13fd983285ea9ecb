/* See touch.h. One line for each way of asking. */
#include "sense/touch.h"

#include <stdio.h>

void touch_text(const struct nflog_asked *asked, char ret_text[static TOUCH_MAX])
{
	static const char *const words[] = {
	        [NFLOG_TCP] = "spoke to",         [NFLOG_UDP] = "spoke to",       [NFLOG_PING] = "pinged",
	        [NFLOG_ARP] = "asked by ARP for", [NFLOG_ND] = "asked by ND for", [NFLOG_OTHER] = "sent something to",
	};
	char whom[INET6_ADDRSTRLEN], port[32] = "";
	nflog_address_text(&asked->whom, whom);
	if (asked->way == NFLOG_TCP || asked->way == NFLOG_UDP)
		snprintf(port, sizeof(port), " port %u (%s)", asked->port, asked->way == NFLOG_TCP ? "TCP" : "UDP");
	snprintf(ret_text, TOUCH_MAX, "%s %s%s, where nobody is", words[asked->way], whom, port);
}
