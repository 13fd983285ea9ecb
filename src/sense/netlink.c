/* See netlink.h. */
#include "sense/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>

uint16_t netlink_big16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

uint32_t netlink_big32(const uint8_t *at)
{
	return (uint32_t)netlink_big16(at) << 16 | netlink_big16(at + 2);
}

uint64_t netlink_big64(const uint8_t *at)
{
	return (uint64_t)netlink_big32(at) << 32 | netlink_big32(at + 4);
}

/* The last one's padding may be missing. */
static void step(struct netlink_bytes *from, size_t size)
{
	size_t all = NLMSG_ALIGN(size);
	if (all > from->left)
		all = from->left;
	from->at += all;
	from->left -= all;
}

int netlink_next_message(struct netlink_bytes *from, struct netlink_message *ret_message)
{
	struct nlmsghdr header;
	if (from->left == 0)
		return 0;
	if (from->left < sizeof(header))
		goto senseless;
	memcpy(&header, from->at, sizeof(header));
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > from->left)
		goto senseless;
	*ret_message = (struct netlink_message){
	        header.nlmsg_type, header.nlmsg_flags, {from->at + sizeof(header), header.nlmsg_len - sizeof(header)}};
	step(from, header.nlmsg_len);
	return 1;
senseless:
	from->left = 0;
	return -EBADMSG;
}

int netlink_next_attribute(struct netlink_bytes *from, struct netlink_attribute *ret_attribute)
{
	struct nlattr attribute;
	if (from->left < sizeof(attribute))
		return 0;
	memcpy(&attribute, from->at, sizeof(attribute));
	if (attribute.nla_len < sizeof(attribute) || attribute.nla_len > from->left)
		return -EBADMSG;
	*ret_attribute = (struct netlink_attribute){attribute.nla_type & NLA_TYPE_MASK,
	                                            {from->at + sizeof(attribute), attribute.nla_len - sizeof(attribute)}};
	step(from, attribute.nla_len);
	return 1;
}
