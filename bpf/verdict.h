/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The firewall's word. The kernel frees what it refuses through kfree_skb and says why; a reason that is a firewall's
 * turns the packet's flow to REJECT at
 *   the input point, where the traffic hook has counted the packet already, and at
 *   the output point, if it was chosen already: there the packet was never seen, and is counted here.
 */
#ifndef WEIR_VERDICT_H
#define WEIR_VERDICT_H

#include "account.h"
#include "parse.h"

static __always_inline __u32 reason_of(__u32 reason, bool *is_egress)
{
	*is_egress = false;
	if (reason == bpf_core_enum_value(enum skb_drop_reason___netfilter, SKB_DROP_REASON_NETFILTER_DROP))
		return REASON_NETFILTER;
	if (bpf_core_enum_value_exists(enum skb_drop_reason___tc_ingress, SKB_DROP_REASON_TC_INGRESS) &&
	    reason == bpf_core_enum_value(enum skb_drop_reason___tc_ingress, SKB_DROP_REASON_TC_INGRESS))
		return REASON_TC;
	if (bpf_core_enum_value_exists(enum skb_drop_reason___tc_egress, SKB_DROP_REASON_TC_EGRESS) &&
	    reason == bpf_core_enum_value(enum skb_drop_reason___tc_egress, SKB_DROP_REASON_TC_EGRESS)) {
		*is_egress = true;
		return REASON_TC;
	}
	if (bpf_core_enum_value_exists(enum skb_drop_reason_subsys, SKB_DROP_REASON_SUBSYS_OPENVSWITCH)) {
		__u32 subsys = bpf_core_enum_value(enum skb_drop_reason_subsys, SKB_DROP_REASON_SUBSYS_OPENVSWITCH);
		__u32 ovs = subsys << DROP_REASON_SUBSYS_SHIFT;

		if (reason == (ovs | OVS_DROP_EXPLICIT) || reason == (ovs | OVS_DROP_EXPLICIT_WITH_ERROR))
			return REASON_OVS;
	}
	return REASON_NONE;
}

/* The entry of by_ifindex for a device of a namespace; 0: not observed. */
static __always_inline __u64 point_of(__u64 netns, __u32 ifindex)
{
	__u32 index = ifindex & (POINTS_BY_IFINDEX - 1);
	__u64 *found = bpf_map_lookup_elem(&by_ifindex, &index);

	if (!found || !*found)
		return 0;
	struct netns_ifindex key = { .netns = netns, .ifindex = ifindex };

	found = bpf_map_lookup_elem(&by_netns, &key);
	return found ? *found : 0;
}

static __always_inline __u32 tail_of(__u64 point, __u32 direction)
{
	return ((__u32)(point >> 32) & 0xffff) | (direction ^ !!(point & POINT_MIRRORED)) << 16;
}

/*
 * Moves packets of a flow from accepted to refused. The times of the first and last accepted packet stay exact as long
 * as a verdict comes before the flow's next packet, which it does unless a queue lies in between.
 */
static __always_inline void refuse(struct flow *flow, const struct packet *packet, __u32 tick, __u32 reason)
{
	__u64 refused = __sync_fetch_and_add(&flow->packets_refused, packet->packets) + packet->packets;
	__u64 seen = READ_ONCE(flow->packets) + READ_ONCE(flow->packets_shared);

	__sync_fetch_and_add(&flow->octets_refused, packet->octets);
	if (refused == packet->packets)
		flow->refused_first = tick;
	flow->refused_last = tick;
	if (seen <= refused)
		flow->first = NO_TICK;
	else if ((__u32)seen - flow->packets_at_refusal != packet->packets)
		flow->accepted_last = flow->last_before;
	flow->packets_at_refusal = (__u32)seen;
	flow_note_flags(flow, reason << 8);
}

/* A packet on its way to being freed, and where it was. */
struct refusal {
	struct packet packet;
	struct source source;
	struct segmentation segmentation;
	__u64 address; /* as in a stash */
	__u64 now;
	__u64 netns;
	__u64 conntrack; /* skb->_nfct */
	__u32 has_below; /* the device stands on others: a bridge, a VLAN */
	__u32 whole_ports; /* of the packet that this later fragment was put into */
	__u32 iif; /* 0: not received, but made here */
	__u32 reason;
	__u32 network;
	__u32 size;
	__u32 protocol;
	__u32 whole_protocol; /* 0: not such a fragment */
	__u64 address_offset; /* from an address that was read to one as in a stash */
	__u64 next_fragment; /* the rest of a packet that was put together from fragments */
};

/* Whether a window still takes verdicts on what it counted at `counted`. */
static __always_inline bool slot_takes(__u32 slot, __u32 counted, __u64 now)
{
	struct slot *window = slot_at(slot);

	return READ_ONCE(window->state) == SLOT_USED &&
	       (__s32)(counted - tick_of(window->opened)) + (__s64)ticks_per_s() >= 0 &&
	       now < window->end + GRACE_S * ticks_per_s();
}

/*
 * The packet as it came in, where address translation has changed it since: conntrack's tuple in the direction of this
 * packet. What is merely related to a connection (an ICMP error) has only its destination from there.
 */
static __noinline bool packet_untranslate(struct packet *packet, __u64 conntrack)
{
	struct nf_conn *connection = (void *)(conntrack & NFCT_PTRMASK);
	__u32 state_of_packet = conntrack & ~NFCT_PTRMASK;
	bool is_related = state_of_packet == IP_CT_RELATED || state_of_packet == IP_CT_RELATED_REPLY;
	struct nf_conntrack_tuple tuple;

	if (!connection || !bpf_core_type_exists(struct nf_conn) || state_of_packet > IP_CT_RELATED_REPLY)
		return false;
	void *tuples = (void *)connection + bpf_core_field_offset(struct nf_conn, tuplehash);

	if (state_of_packet >= IP_CT_IS_REPLY)
		tuples += sizeof(struct nf_conntrack_tuple_hash);
	if (bpf_probe_read_kernel(&tuple, sizeof(tuple), tuples + __builtin_offsetof(struct nf_conntrack_tuple_hash, tuple)))
		return false;
	if (!is_related && tuple.dst.protonum != packet->key.tail >> 24)
		return false;
	__builtin_memcpy(packet->key.destination, &tuple.dst.u3, 16);
	if (is_related)
		return true;
	__builtin_memcpy(packet->key.source, &tuple.src.u3, 16);
	if (has_ports(tuple.dst.protonum))
		packet->key.ports = tuple.src.port | (__u32)tuple.dst.port << 16;
	return true;
}

static __always_inline bool refuse_in(struct packet *packet, __u32 slot, __u32 tick, __u32 reason, bool is_last_try)
{
	struct flow *flow = flow_find(packet, slot);

	if (!flow)
		return false;
	if (!is_last_try && flow->packets + flow->packets_shared < flow->packets_refused + packet->packets)
		return false;
	refuse(flow, packet, tick, reason);
	return true;
}

/*
 * Without a stash: the open window, unless all it knows of the flow was refused already; then the packet was counted
 * in the window before, a moment ago.
 */
static __noinline bool refuse_counted(struct packet *packet, __u64 now, __u32 reason)
{
	__u32 slot = window_at(now) & SLOT_MASK;
	__u32 before = (slot + SLOTS - 1) & SLOT_MASK;

	if (refuse_in(packet, slot, tick_of(now), reason, false))
		return true;
	return slot_takes(before, tick_of(now), now) && refuse_in(packet, before, tick_of(now), reason, true);
}

/* The namespace of a point is the one that refused: a firewall in another one, a guest's, is none of its own. */
static __always_inline bool is_judged_in(__u32 tail, __u64 refusing_netns)
{
	__u32 point = tail & 0xffff;
	__u64 *netns = bpf_map_lookup_elem(&point_netns, &point);

	return netns && *netns == refusing_netns;
}

static __always_inline bool is_stashed(struct refusal *refusal, const struct stash *stash)
{
	struct packet *packet = &refusal->packet;
	__u32 ports = packet->key.ports;

	if (fingerprint_of(packet) == stash->fingerprint)
		return true;
	if (!refusal->whole_protocol)
		return false;
	packet->key.ports = 0; /* It came before its first fragment. */
	if (fingerprint_of(packet) == stash->fingerprint)
		return true;
	packet->key.ports = ports;
	return false;
}

/* What the hook counted for this very skb. Its address alone proves nothing: skbs are used again and again. */
static __noinline bool refuse_stashed(struct refusal *refusal, const struct stash *stash)
{
	struct packet *packet = &refusal->packet;

	if (!is_judged_in(stash->tail, refusal->netns))
		return false;
	if (!is_stashed(refusal, stash) &&
	    (!packet_untranslate(packet, refusal->conntrack) || !is_stashed(refusal, stash)))
		return false;
	if (!slot_takes(stash->slot, stash->tick, refusal->now)) {
		__sync_fetch_and_add(&state.verdicts_late, 1);
		return true;
	}
	packet->key.tail = stash->tail;
	if (!refuse_in(packet, stash->slot, stash->tick, refusal->reason, true))
		__sync_fetch_and_add(&state.verdicts_unmatched, 1); /* It is in the skipped counter. */
	if (!refusal->has_below || stash->below == NO_TAIL || !is_judged_in(stash->below, refusal->netns))
		return true;
	packet->key.tail = stash->below;
	refuse_in(packet, stash->slot, stash->tick, refusal->reason, true);
	return true;
}

__noinline int refuse_input(struct refusal *refusal)
{
	if (!refusal)
		return 0;
	struct packet *packet = &refusal->packet;
	struct key6 key = packet->key;
	__u32 index = (refusal->address >> 8) & (STASH_SIZE - 1);
	struct stash *stash = bpf_map_lookup_elem(&stashes, &index);

	if (stash && stash->skb == refusal->address && refuse_stashed(refusal, stash))
		return 0;
	packet->key = key;
	__u64 point = point_of(refusal->netns, refusal->iif);

	if (!point)
		return 0;
	/* A classifier's word follows our hook at once: without a stash it spoke before us, and nothing was counted. */
	if (refusal->reason == REASON_TC) {
		__sync_fetch_and_add(&state.verdicts_unmatched, 1);
		return 0;
	}
	packet->key.tail |= tail_of(point, DIRECTION_INGRESS);
	if (refuse_counted(packet, refusal->now, refusal->reason))
		return 0;
	if (packet_untranslate(packet, refusal->conntrack) && refuse_counted(packet, refusal->now, refusal->reason))
		return 0;
	__sync_fetch_and_add(&state.verdicts_unmatched, 1);
	return 0;
}

/* Refused before the hook of its output device: counted and refused in one. */
__noinline int refuse_output(struct refusal *refusal, __u32 ifindex)
{
	if (!refusal)
		return 0;
	__u64 point = point_of(refusal->netns, ifindex);
	struct packet *packet = &refusal->packet;
	__u32 tail = packet->key.tail;

	if (!point)
		return 0;
	__u32 slot = window_at(refusal->now) & SLOT_MASK;
	__u32 tick = tick_of(refusal->now);

	packet->key.tail = tail | tail_of(point, DIRECTION_EGRESS);
	struct flow *flow = flow_find(packet, slot);

	if (flow) {
		flow_add_shared(flow, packet->packets, packet->octets, tick);
		flow_note_flags(flow, packet->tcp_flags);
	} else {
		flow = flow_create(packet, slot, tick);
	}
	if (flow)
		refuse(flow, packet, tick, refusal->reason);
	packet->key.tail = tail;
	return 0;
}

/* Refused by a classifier behind our own egress hook, which has counted it. */
__noinline int refuse_egress(struct refusal *refusal, __u32 ifindex)
{
	if (!refusal)
		return 0;
	__u64 point = point_of(refusal->netns, ifindex);
	__u32 tail = refusal->packet.key.tail;

	if (!point)
		return 0;
	refusal->packet.key.tail = tail | tail_of(point, DIRECTION_EGRESS);
	if (!refuse_counted(&refusal->packet, refusal->now, refusal->reason))
		__sync_fetch_and_add(&state.verdicts_unmatched, 1);
	refusal->packet.key.tail = tail;
	return 0;
}

/* The device that a routed packet is to leave by; NULL: not decided, or this host itself. */
static __always_inline struct net_device *route_device(struct sk_buff *skb)
{
	struct dst_entry *route = (void *)(skb->_skb_refdst & ~SKB_DST_NOREF);

	if (!route || BPF_CORE_READ(route, flags) & (DST_FAKE_RTABLE | DST_METADATA))
		return NULL;
	return BPF_CORE_READ(route, dev);
}

/* Not static, like others here: the verifier looks at them once, and not again for each way that leads to them. */
__noinline int refusal_parse(struct refusal *refusal)
{
	if (!refusal)
		return 0;
	struct source source = { .head = refusal->source.head, .limit = refusal->source.limit, .now = refusal->now };

	return parse(&source, refusal->network, refusal->size, refusal->protocol, &refusal->segmentation,
		     &refusal->packet) == PARSED_FLOW;
}

/* Reads what is needed of a packet that is being freed. False: not a flow. */
static __always_inline bool refusal_read(struct sk_buff *skb, struct refusal *refusal)
{
	unsigned char *head = skb->head;
	__u32 data = skb->data - head;
	struct skb_shared_info *shared = (void *)(head + skb->end);

	refusal->network = skb->network_header;
	refusal->size = skb->len + data - refusal->network;
	refusal->source.head = head;
	refusal->source.limit = data + skb->len - skb->data_len;
	refusal->protocol = bpf_ntohs(skb->protocol);
	refusal->conntrack = skb->_nfct;
	refusal->iif = skb->skb_iif;
	refusal->segmentation.size = BPF_CORE_READ(shared, gso_size);
	if (!refusal->segmentation.size) {
		refusal->next_fragment = skb->data_len ? (__u64)BPF_CORE_READ(shared, frag_list) : 0;
	} else {
		refusal->segmentation.segments = BPF_CORE_READ(shared, gso_segs);
		refusal->segmentation.type = BPF_CORE_READ(shared, gso_type);
		if (BPF_CORE_READ_BITFIELD(skb, encapsulation))
			refusal->segmentation.inner_header_size = inner_header_size(
				head, refusal->segmentation.type, skb->inner_transport_header, refusal->network);
	}
	return refusal_parse(refusal);
}

/*
 * Connection tracking puts fragments together before rules see them, and hangs those after the first one into a list,
 * each with its own IP header still in its head. They were counted one by one, and so they are refused.
 */
#define FRAGMENTS_PER_PACKET_MAX 64
#define FRAGMENT_HEADER_SIZE 8

struct fragments {
	__u64 next;
	__u32 packets;
	__u32 payload; /* bytes of the list's members */
	__u32 headers; /* bytes in front of these */
};

static int fragment_add(__u32 __attribute__((unused)) index, struct fragments *sum)
{
	struct sk_buff *skb = (void *)sum->next;

	if (!skb)
		return 1;
	sum->packets++;
	sum->payload += BPF_CORE_READ(skb, len);
	sum->headers += BPF_CORE_READ(skb, data) - BPF_CORE_READ(skb, head) - BPF_CORE_READ(skb, network_header);
	sum->next = (__u64)BPF_CORE_READ(skb, next);
	return 0;
}

static int fragment_refuse(__u32 __attribute__((unused)) index, struct refusal *refusal)
{
	struct sk_buff *skb = (void *)refusal->next_fragment;

	if (!skb)
		return 1;
	unsigned char *head = BPF_CORE_READ(skb, head);
	__u32 data = BPF_CORE_READ(skb, data) - head;
	__u32 size = BPF_CORE_READ(skb, len);

	refusal->address = (__u64)skb + refusal->address_offset;
	refusal->next_fragment = (__u64)BPF_CORE_READ(skb, next);
	refusal->network = BPF_CORE_READ(skb, network_header);
	refusal->size = size + data - refusal->network;
	refusal->source.head = head;
	refusal->source.limit = data + size - BPF_CORE_READ(skb, data_len);
	__builtin_memset(&refusal->packet, 0, sizeof(refusal->packet));
	if (!refusal_parse(refusal))
		return 0;
	refusal->packet.key.ports = refusal->whole_ports;
	refusal->packet.key.tail = refusal->whole_protocol << 24;
	refuse_input(refusal);
	return 0;
}

static __always_inline void refuse_fragments(struct refusal *refusal, __u32 out, bool is_input)
{
	struct fragments sum = { .next = refusal->next_fragment };
	__u32 total = refusal->packet.octets;
	__u32 ports = refusal->packet.key.ports;
	__u32 protocol = refusal->packet.key.tail >> 24;
	__u32 extra = refusal->packet.is_ipv6 ? FRAGMENT_HEADER_SIZE : 0; /* taken out of the first one's header */

	bpf_loop(FRAGMENTS_PER_PACKET_MAX, fragment_add, &sum, 0);
	if (out) {
		refusal->packet.packets = 1 + sum.packets;
		refusal->packet.octets = total + sum.headers + extra;
		refuse_output(refusal, out);
	}
	if (!is_input)
		return;
	refusal->packet.packets = 1;
	refusal->packet.octets = total - sum.payload + extra;
	refuse_input(refusal);
	refusal->whole_ports = ports;
	refusal->whole_protocol = protocol;
	bpf_loop(FRAGMENTS_PER_PACKET_MAX, fragment_refuse, refusal, 0);
}

static __always_inline void judge(__u64 *context, __u32 reason, bool is_egress)
{
	struct sk_buff *skb = (void *)context[0];
	struct refusal refusal = { .reason = reason, .address = ADDRESS(skb) };
	struct net_device *device = skb->dev;
	struct net_device *leaving = reason == REASON_NETFILTER ? route_device(skb) : NULL;
	__u32 type = BPF_CORE_READ_BITFIELD(skb, pkt_type);
	bool is_copy = type == PACKET_BROADCAST || type == PACKET_MULTICAST;
	bool is_bridge = false;
	__u32 out = 0, ifindex = 0;
	__u32 iif = skb->skb_iif;

	if (device) {
		__u32 flags = BPF_CORE_READ_BITFIELD_PROBED(device, priv_flags);

		ifindex = BPF_CORE_READ(device, ifindex);
		refusal.netns = BPF_CORE_READ(device, nd_net.net, net_cookie);
		is_bridge = flags & IFF_EBRIDGE;
		refusal.has_below = !!(flags & (IFF_EBRIDGE | IFF_802_1Q_VLAN | IFF_BONDING | IFF_MACVLAN));
		/*
		 * Not where the packet came from: a port of a bridge, or who is about to send it. The route says who that is,
		 * unless it knows none, or the packet has its link header on: then it is past that device and at one below, or
		 * nobody asked a route. A tunnel's packet still has the tunnel as its device when its own route is known.
		 */
		bool is_framed = skb->data - skb->head != skb->network_header;

		if (reason == REASON_NETFILTER && ifindex != iif && (flags & IFF_BRIDGE_PORT || is_framed || (!iif && !leaving)))
			out = ifindex;
	} else if (leaving) {
		refusal.netns = BPF_CORE_READ(leaving, nd_net.net, net_cookie);
	} else {
		return;
	}
	if (leaving && !out) {
		__u32 route_ifindex = BPF_CORE_READ(leaving, ifindex);
		bool is_loopback = BPF_CORE_READ(leaving, flags) & IFF_LOOPBACK;

		/* The route of what is for this host is its loopback, or, for multicast, where it came in. */
		if (!(is_loopback && iif) && !(is_copy && route_ifindex == iif))
			out = route_ifindex;
	}
	/*
	 * One copy of a broadcast was refused; others may have gone where they should. A bridge that is observed itself
	 * and has taken a copy for the host is where that one was refused, and only there.
	 */
	bool is_own_copy = is_copy && is_bridge && iif == ifindex && point_of(refusal.netns, ifindex);
	bool is_input = iif && (!is_copy || (!out && (!is_bridge || is_own_copy)));

	if (is_own_copy)
		refusal.has_below = 0;

	refusal.now = refusal.source.now = clock_now();
	if (!refusal_read(skb, &refusal))
		return;
	if (refusal.next_fragment) {
		__u64 address = 0;

		bpf_probe_read_kernel(&address, sizeof(address), &context[0]); /* the same pointer, as a number */
		refusal.address_offset = refusal.address - address;
		refuse_fragments(&refusal, out, is_input);
		return;
	}
	if (is_egress)
		refuse_egress(&refusal, ifindex);
	else if (out)
		refuse_output(&refusal, out);
	if (is_input)
		refuse_input(&refusal);
}

#endif
