/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One parser for both hooks: the traffic hook reads a packet through its context, the verdict hook through the head of
 * the skb that is being freed. What cannot be read is not guessed: addresses and protocol count, ports are 0.
 * src/meter/ has the same parser in TypeScript; a corpus and a fuzzer hold them equal.
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include "window.h"

#define VLAN_TAGS_MAX 4
#define EXTENSIONS_MAX 8
#define FRAGMENT_S_MAX 60 /* RFC 8200, 4.5: fragments wait no longer for each other */

struct source {
	void *context; /* of the traffic hook, or NULL: then read at `head` */
	unsigned char *head;
	__u32 limit; /* bytes that may be read at `head` */
	__u64 now;
};

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

/*
 * Fragments: the first one has the ports and leaves them in `fragments`; later ones fetch them. One whose first was
 * never seen, or not within a minute, keeps ports 0.
 */
static __noinline void fragment_ports(struct packet *packet, __u32 id, __u32 next_header, __u32 tick, bool is_first)
{
	struct fragment_key key = { .id = id };

	__builtin_memcpy(key.source, packet->key.source, sizeof(key.source));
	__builtin_memcpy(key.destination, packet->key.destination, sizeof(key.destination));
	key.tail = (packet->key.tail & 0x00ffffff) | next_header << 24;
	if (is_first) {
		struct fragment_ports ports = {
			.ports = packet->key.ports, .protocol = packet->key.tail >> 24, .tick = tick
		};
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

static __always_inline bool parse_ipv4(const struct source *source, __u32 at, __u32 size,
				       const struct segmentation *segmentation, struct packet *packet)
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

	if (size < sizeof(header) || !source_read(source, at, &header, sizeof(header)) || header.version_size >> 4 != 4)
		return false;
	__u32 header_size = (header.version_size & 15) * 4;
	__u32 total_size = bpf_ntohs(header.total_size);
	__u32 fragment = bpf_ntohs(header.fragment);
	__u32 protocol = header.protocol;

	packet->key.source[0] = header.source;
	packet->key.destination[0] = header.destination;
	packet->key.tail |= protocol << 24;
	/* Ethernet pads short frames, so the header knows better, unless it claims what cannot be. */
	packet->octets = total_size >= sizeof(header) && total_size <= size && !segmentation->size ? total_size : size;
	if (header_size < sizeof(header))
		return true;
	if (fragment & 0x1fff) {
		fragment_ports(packet, bpf_ntohs(header.id), protocol, tick_of(source->now), false);
		return true;
	}
	/* What lies past the total length is padding, not a transport header. */
	if (has_ports(protocol) && packet->octets >= header_size + 4 &&
	    source_read(source, at + header_size, &packet->key.ports, 4)) {
		__u8 flags = 0;

		if (protocol == IPPROTO_TCP && packet->octets >= header_size + 14 &&
		    source_read(source, at + header_size + 13, &flags, 1))
			packet->tcp_flags = flags;
		if (fragment & 0x2000)
			fragment_ports(packet, bpf_ntohs(header.id), protocol, tick_of(source->now), true);
	}
	count_segments(source, segmentation, packet, at, header_size, protocol);
	return true;
}

static __always_inline bool is_extension(__u32 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_AH || protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_MH;
}

static __always_inline bool parse_ipv6(const struct source *source, __u32 at, __u32 size,
				       const struct segmentation *segmentation, struct packet *packet)
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
	struct {
		__u8 next_header;
		__u8 size;
		__be16 fragment;
		__be32 id;
	} extension;

	if (size < sizeof(header) || !source_read(source, at, &header, sizeof(header)) || header.version >> 4 != 6)
		return false;
	__u32 payload_size = bpf_ntohs(header.payload_size);
	__u32 protocol = header.next_header;
	__u32 offset = sizeof(header);
	__u32 fragment = 0, id = 0, fragment_next = 0;

	packet->is_ipv6 = 1;
	__builtin_memcpy(packet->key.source, header.source, sizeof(header.source));
	__builtin_memcpy(packet->key.destination, header.destination, sizeof(header.destination));
	packet->octets = payload_size && payload_size + sizeof(header) <= size && !segmentation->size ?
				 payload_size + sizeof(header) :
				 size;
	for (int i = 0; i < EXTENSIONS_MAX && is_extension(protocol); i++) {
		if (packet->octets < offset + sizeof(extension) ||
		    !source_read(source, at + offset, &extension, sizeof(extension)))
			goto unreadable;
		__u32 extension_size = protocol == IPPROTO_FRAGMENT ? 8 :
				       protocol == IPPROTO_AH	    ? (extension.size + 2) * 4 :
								      (extension.size + 1) * 8;
		if (protocol == IPPROTO_FRAGMENT) {
			fragment = bpf_ntohs(extension.fragment);
			id = extension.id;
			fragment_next = extension.next_header;
		}
		protocol = extension.next_header;
		offset += extension_size;
		if (fragment & 0xfff8) {
			/* Past the first fragment there is payload, whatever its header was called. */
			packet->key.tail |= protocol << 24;
			fragment_ports(packet, id, fragment_next, tick_of(source->now), false);
			return true;
		}
	}
	packet->key.tail |= protocol << 24;
	if (has_ports(protocol) && packet->octets >= offset + 4 &&
	    source_read(source, at + offset, &packet->key.ports, 4)) {
		__u8 flags = 0;

		if (protocol == IPPROTO_TCP && packet->octets >= offset + 14 &&
		    source_read(source, at + offset + 13, &flags, 1))
			packet->tcp_flags = flags;
	}
	if (fragment & 1)
		fragment_ports(packet, id, fragment_next, tick_of(source->now), true);
	count_segments(source, segmentation, packet, at, offset, protocol);
	return true;

unreadable:
	packet->key.tail |= protocol << 24;
	return true;
}

/*
 * Reads the packet that starts with `protocol` (an EtherType, host order) at `at` and has `size` bytes there. Tags in
 * front of it are skipped. False: not IP, not a flow. The caller has put point and direction into key.tail.
 */
static __always_inline bool parse(const struct source *source, __u32 at, __u32 size, __u32 protocol,
				  const struct segmentation *segmentation, struct packet *packet)
{
	packet->packets = 1;
	for (int i = 0; i < VLAN_TAGS_MAX && (protocol == ETH_P_8021Q || protocol == ETH_P_8021AD); i++) {
		__be16 inner;

		if (size < 4 || !source_read(source, at + 2, &inner, sizeof(inner)))
			return false;
		protocol = bpf_ntohs(inner);
		at += 4;
		size -= 4;
	}
	if (protocol == ETH_P_IP)
		return parse_ipv4(source, at, size, segmentation, packet);
	if (protocol == ETH_P_IPV6)
		return parse_ipv6(source, at, size, segmentation, packet);
	return false;
}

#endif
