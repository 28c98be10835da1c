/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One parser for both hooks: the traffic hook reads a packet through its context, the verdict hook through the head of
 * the skb that is being freed. What cannot be read is not guessed: addresses and protocol count, ports are 0.
 * src/meter/ has the same parser in TypeScript; a corpus and a fuzzer hold them equal.
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include "window.h"

#define VLAN_TAGS_MAX 2
#define EXTENSIONS_MAX 8
#define JUMBO_HEADER_SIZE 8
#define FRAGMENT_S_MAX 60 /* RFC 8200, 4.5: fragments wait no longer for each other */

struct source {
	void *context; /* of the traffic hook, or NULL: then read at `head` */
	unsigned char *head;
	__u32 limit; /* bytes that may be read at `head` */
	__u64 now;
};

/* What became of a packet. Unreadable: IP by its type, but its addresses are not there; it counts as skipped. */
enum { PARSED_NOT_IP, PARSED_FLOW, PARSED_UNREADABLE };

/* Segmentation that is left to the device: one skb, many packets on the wire. */
struct segmentation {
	__u32 size; /* payload of one segment, 0: the packet is what it seems */
	__u32 segments; /* 0: whoever built it (a guest, through its tap) did not say */
	__u32 type;
	__u32 inner_header_size; /* from the network header to the end of the innermost transport header; 0: no tunnel */
};

static __always_inline bool source_read(const struct source *source, __u32 offset, void *to, __u32 size)
{
	if (source->context)
		return bpf_skb_load_bytes(source->context, offset, to, size) == 0;
	if (offset + size > source->limit)
		return false;
	return bpf_probe_read_kernel(to, size, source->head + offset) == 0;
}

static __always_inline bool has_ports(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP || protocol == IPPROTO_UDPLITE;
}

/* What a packet is of a fragmented one. */
struct fragment {
	__u32 id;
	__u32 protocol; /* that all fragments name */
	bool is_first;
	bool is_later;
};

/*
 * Fragments: the first one has the ports and leaves them in `fragments`; later ones fetch them. One whose first was
 * never seen, or not within a minute, keeps ports 0. A first one that teaches nothing is not remembered.
 */
static __noinline void fragment_credit(struct packet *packet, const struct fragment *fragment, __u32 tick)
{
	struct fragment_key key = {
		.id = fragment->id,
		.tail = (packet->key.tail & 0x1ffff) | packet->is_ipv6 << 17 | fragment->protocol << 24,
	};
	__u32 protocol = packet->key.tail >> 24;

	__builtin_memcpy(key.source, packet->key.source, sizeof(key.source));
	__builtin_memcpy(key.destination, packet->key.destination, sizeof(key.destination));
	if (fragment->is_first) {
		struct fragment_ports ports = { .ports = packet->key.ports, .protocol = protocol, .tick = tick };

		if (has_ports(protocol) || protocol != fragment->protocol)
			bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
		return;
	}
	struct fragment_ports *ports = bpf_map_lookup_elem(&fragments, &key);

	if (ports && tick - ports->tick < FRAGMENT_S_MAX * ticks_per_s()) {
		packet->key.ports = ports->ports;
		packet->key.tail = (packet->key.tail & 0x00ffffff) | ports->protocol << 24;
	}
}

/* With a tunnel around it, what is repeated in each segment ends with the inner transport header. */
static __always_inline __u32 inner_header_size(unsigned char *head, __u32 type, __u32 transport, __u32 network)
{
	__u8 size = 0;

	if (type & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6)) {
		bpf_probe_read_kernel(&size, 1, head + transport + 12);
		return transport + (size >> 4) * 4 - network;
	}
	if (type & SKB_GSO_SCTP)
		return transport + 12 - network;
	if (type & SKB_GSO_UDP_L4)
		return transport + 8 - network;
	return 0;
}

/* Octets and packets on the wire of a packet whose transport header starts at `header` past its network header. */
static __always_inline void count_segments(const struct source *source, const struct segmentation *segmentation,
					   struct packet *packet, __u32 network, __u32 header, __u32 protocol)
{
	__u32 payload, segments;
	__u8 size = 0;

	if (!segmentation->size)
		return;
	if (segmentation->inner_header_size) {
		header = segmentation->inner_header_size;
	} else if (segmentation->type & SKB_GSO_UDP) {
		/* The stack will cut it into IP fragments; IPv6 then adds a header to each. */
		if (packet->is_ipv6) {
			header += 8;
			packet->octets += 8;
		}
	} else if (protocol == IPPROTO_TCP) {
		if (!source_read(source, network + header + 12, &size, 1))
			return;
		header += (size >> 4) * 4;
	} else if (protocol == IPPROTO_UDP) {
		header += 8;
	} else if (protocol == IPPROTO_SCTP) {
		header += 12;
	} else {
		return;
	}
	if (packet->octets <= header)
		return;
	payload = packet->octets - header;
	segments = segmentation->segments;
	if (!segments || segmentation->type & SKB_GSO_UDP)
		segments = (payload + segmentation->size - 1) / segmentation->size;
	if (segments < 2)
		return;
	packet->packets = segments;
	packet->octets += (segments - 1) * header;
}

/* Ports and TCP flags, if they lie within the packet: what comes after its length is padding. */
static __always_inline void parse_transport(const struct source *source, __u32 at, __u32 header, __u32 protocol,
					    struct packet *packet)
{
	__u8 flags;

	if (!has_ports(protocol) || packet->octets < header + 4)
		return;
	if (!source_read(source, at + header, &packet->key.ports, 4)) {
		packet->key.ports = 0;
		return;
	}
	if (protocol == IPPROTO_TCP && packet->octets >= header + 14 && source_read(source, at + header + 13, &flags, 1))
		packet->tcp_flags = flags;
}

static __always_inline int parse_ipv4(const struct source *source, __u32 at, __u32 size,
				      const struct segmentation *segmentation, struct packet *packet,
				      struct fragment *fragment)
{
	struct {
		__u8 version_size;
		__u8 tos;
		__be16 total_size;
		__be16 id;
		__be16 fragment;
		__u8 ttl;
		__u8 protocol;
		__be16 checksum;
		__u32 source;
		__u32 destination;
	} header;

	if (size < sizeof(header) || !source_read(source, at, &header, sizeof(header)))
		return PARSED_UNREADABLE;
	__u32 header_size = (header.version_size & 15) * 4;
	__u32 header_size_min = header_size < sizeof(header) ? sizeof(header) : header_size;
	__u32 total_size = bpf_ntohs(header.total_size);
	__u32 protocol = header.protocol;

	packet->key.source[0] = header.source;
	packet->key.destination[0] = header.destination;
	packet->key.tail |= protocol << 24;
	/* Ethernet pads short frames, so the header knows better, unless it claims what cannot be. */
	if (total_size >= header_size_min && total_size <= size && !segmentation->size)
		packet->octets = total_size;
	fragment->id = bpf_ntohs(header.id);
	fragment->protocol = protocol;
	if (header.fragment & bpf_htons(0x1fff)) {
		fragment->is_later = true;
		return PARSED_FLOW;
	}
	fragment->is_first = header.fragment & bpf_htons(0x2000);
	if (header_size < sizeof(header))
		return PARSED_FLOW;
	parse_transport(source, at, header_size, protocol, packet);
	count_segments(source, segmentation, packet, at, header_size, protocol);
	return PARSED_FLOW;
}

static __always_inline bool is_extension(__u32 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_AH || protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_MH;
}

/* Where the reading of a chain of IPv6 headers is. */
struct chain {
	__u64 head; /* of the skb, for the verdict hook */
	__u32 limit;
	__u32 at; /* of the next header */
	__u32 left; /* bytes of the packet from there on */
	__u32 protocol; /* of the next header */
	__u32 fragment_id;
	__u32 fragment_protocol;
	__u32 is_first; /* fragment */
	__u32 is_later;
};

/* Steps over one extension header. False: the chain ends here, whatever comes next. */
static __always_inline bool chain_step(const struct source *source, struct chain *chain)
{
	struct {
		__u8 next_header;
		__u8 size;
		__be16 fragment;
		__be32 id;
	} extension;

	if (chain->left < sizeof(extension) || !source_read(source, chain->at, &extension, sizeof(extension)))
		return false;
	__u32 size = (extension.size + 1) * 8;

	if (chain->protocol == IPPROTO_AH)
		size = (extension.size + 2) * 4;
	if (chain->protocol == IPPROTO_FRAGMENT) {
		__u32 field = bpf_ntohs(extension.fragment);

		size = 8;
		/* Neither later nor with more to come: an atomic fragment (RFC 6946), a packet of its own. */
		if (field >= 8 || field & 1) {
			chain->fragment_id = extension.id;
			chain->fragment_protocol = extension.next_header;
			chain->is_later = field >= 8;
			chain->is_first = !chain->is_later;
		}
	}
	chain->protocol = extension.next_header;
	chain->at += size;
	chain->left = chain->left > size ? chain->left - size : 0;
	return !chain->is_later;
}

/* Functions that are not static are verified once and by themselves, so that a chain of eight costs no more than one. */
__noinline int chain_step_context(struct __sk_buff *skb, struct chain *chain)
{
	struct source source = { .context = skb };

	return chain ? chain_step(&source, chain) : 0;
}

__noinline int chain_step_head(struct chain *chain)
{
	if (!chain)
		return 0;
	struct source source = { .head = (void *)chain->head, .limit = chain->limit };

	return chain_step(&source, chain);
}

static __always_inline int parse_ipv6(const struct source *source, __u32 at, __u32 size,
				      const struct segmentation *segmentation, struct packet *packet,
				      struct fragment *fragment)
{
	struct {
		__u8 version;
		__u8 flow[3];
		__be16 payload_size;
		__u8 next_header;
		__u8 hop_limit;
		__u32 source[4];
		__u32 destination[4];
	} header;

	packet->is_ipv6 = 1;
	if (size < sizeof(header) || !source_read(source, at, &header, sizeof(header)))
		return PARSED_UNREADABLE;
	__u32 payload_size = bpf_ntohs(header.payload_size);
	bool is_jumbo = !payload_size && !header.next_header; /* RFC 2675: the length stands in an option */

	__builtin_memcpy(packet->key.source, header.source, sizeof(header.source));
	__builtin_memcpy(packet->key.destination, header.destination, sizeof(header.destination));
	if (payload_size + sizeof(header) <= size && !is_jumbo && !segmentation->size)
		packet->octets = payload_size + sizeof(header);
	struct chain chain = {
		.head = (__u64)source->head,
		.limit = source->limit,
		.at = at + sizeof(header),
		.left = packet->octets - sizeof(header),
		.protocol = header.next_header,
	};

	for (int i = 0; i < EXTENSIONS_MAX && is_extension(chain.protocol); i++) {
		if (!(source->context ? chain_step_context(source->context, &chain) : chain_step_head(&chain)))
			break;
	}
	packet->key.tail |= chain.protocol << 24;
	fragment->id = chain.fragment_id;
	fragment->protocol = chain.fragment_protocol;
	fragment->is_first = chain.is_first;
	fragment->is_later = chain.is_later;
	if (!chain.is_later && chain.left) {
		parse_transport(source, at, chain.at - at, chain.protocol, packet);
		count_segments(source, segmentation, packet, at, chain.at - at, chain.protocol);
		/* More than 64 KiB in one piece has a header of the stack's own, which no segment gets. */
		if (is_jumbo && segmentation->size && chain.protocol == IPPROTO_TCP)
			packet->octets -= packet->packets * JUMBO_HEADER_SIZE;
	}
	return PARSED_FLOW;
}

/*
 * Reads the packet that starts with `protocol` (an EtherType, host order) at `at` and has `size` bytes there. Tags in
 * front of it are skipped. The caller has put point and direction into key.tail.
 */
static __always_inline int parse(const struct source *source, __u32 at, __u32 size, __u32 protocol,
				 const struct segmentation *segmentation, struct packet *packet)
{
	struct fragment fragment = {};
	__u8 version;
	int parsed;

	for (int i = 0; i < VLAN_TAGS_MAX && (protocol == ETH_P_8021Q || protocol == ETH_P_8021AD); i++) {
		__be16 inner;

		if (size < 4 || !source_read(source, at + 2, &inner, sizeof(inner)))
			return PARSED_NOT_IP;
		protocol = bpf_ntohs(inner);
		at += 4;
		size -= 4;
	}
	if (protocol != ETH_P_IP && protocol != ETH_P_IPV6)
		return PARSED_NOT_IP;
	packet->packets = 1;
	packet->octets = size;
	if (!size || !source_read(source, at, &version, 1))
		return PARSED_UNREADABLE;
	if (protocol == ETH_P_IP && version >> 4 == 4)
		parsed = parse_ipv4(source, at, size, segmentation, packet, &fragment);
	else if (protocol == ETH_P_IPV6 && version >> 4 == 6)
		parsed = parse_ipv6(source, at, size, segmentation, packet, &fragment);
	else
		return PARSED_NOT_IP;
	if (unlikely(fragment.is_first || fragment.is_later))
		fragment_credit(packet, &fragment, tick_of(source->now));
	return parsed;
}

#endif
