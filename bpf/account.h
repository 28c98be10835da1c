/* SPDX-License-Identifier: GPL-2.0 */
/* From a parsed packet to the counters of its flow, and the limits on how many flows there may be. */
#ifndef WEIR_ACCOUNT_H
#define WEIR_ACCOUNT_H

#include "window.h"

/* Tells packets apart that had the same skb, one after the other; not a hash, only cheap. */
static __always_inline __u64 fingerprint4(__u64 addresses, __u32 ports)
{
	return addresses ^ (__u64)ports << 16;
}

static __always_inline __u64 fingerprint6(const __u64 *addresses, __u32 ports)
{
	return addresses[0] ^ addresses[1] << 8 ^ addresses[2] << 16 ^ addresses[3] << 24 ^ ports;
}

static __always_inline __u64 fingerprint_of(const struct packet *packet)
{
	const struct key6 *key = &packet->key;
	__u64 addresses[4] = {
		key->source[0] | (__u64)key->source[1] << 32,
		key->source[2] | (__u64)key->source[3] << 32,
		key->destination[0] | (__u64)key->destination[1] << 32,
		key->destination[2] | (__u64)key->destination[3] << 32,
	};

	return packet->is_ipv6 ? fingerprint6(addresses, key->ports) :
				 fingerprint4(key->source[0] | (__u64)key->destination[0] << 32, key->ports);
}

/* The key of `packet` in the map for its family. */
static __always_inline struct key4 key4_of(const struct packet *packet)
{
	struct key4 key = { packet->key.source[0], packet->key.destination[0], packet->key.ports, packet->key.tail };

	return key;
}

static __always_inline struct flow *flow_find(const struct packet *packet, __u32 slot)
{
	void *flows;

	slot &= SLOT_MASK;
	if (packet->is_ipv6) {
		flows = bpf_map_lookup_elem(&windows6, &slot);
		return flows ? bpf_map_lookup_elem(flows, &packet->key) : NULL;
	}
	struct key4 key = key4_of(packet);

	flows = bpf_map_lookup_elem(&windows4, &slot);
	return flows ? bpf_map_lookup_elem(flows, &key) : NULL;
}

static __always_inline void flow_note_flags(struct flow *flow, __u32 flags)
{
	if (unlikely((flow->flags & flags) != flags))
		__sync_fetch_and_or(&flow->flags, flags);
}

static __always_inline void flow_note_time(struct flow *flow, __u32 tick)
{
	flow->last_before = flow->last;
	flow->last = tick;
	if (unlikely(flow->first == NO_TICK))
		flow->first = tick;
}

static __always_inline void flow_add(struct flow *flow, __u32 packets, __u32 octets, __u32 tick, __u32 flags)
{
	if (likely(flow->cpu == bpf_get_smp_processor_id())) {
		flow->packets += packets;
		flow->octets += octets;
	} else {
		__sync_fetch_and_add(&flow->packets_shared, packets);
		__sync_fetch_and_add(&flow->octets_shared, octets);
	}
	flow_note_time(flow, tick);
	flow_note_flags(flow, flags);
}

static __always_inline void flow_add_shared(struct flow *flow, __u32 packets, __u32 octets, __u32 tick)
{
	__sync_fetch_and_add(&flow->packets_shared, packets);
	__sync_fetch_and_add(&flow->octets_shared, octets);
	flow_note_time(flow, tick);
}

static const struct point_counters no_counters; /* not on the stack, of which there are 512 bytes in all */

static __always_inline struct point_counters *counters_of(__u32 slot, __u32 point)
{
	__u32 key = slot << 16 | point;
	struct point_counters *found = bpf_map_lookup_elem(&counters, &key);

	if (found)
		return found;
	bpf_map_update_elem(&counters, &key, &no_counters, BPF_NOEXIST);
	return bpf_map_lookup_elem(&counters, &key);
}

/* Counts a packet that becomes part of no flow: SKIPDATA. */
static __noinline void skip(const struct packet *packet, __u32 slot, __u32 tick)
{
	struct point_counters *point = counters_of(slot & SLOT_MASK, packet->key.tail & 0xffff);

	if (!point) {
		__sync_fetch_and_add(&state.lost_packets, packet->packets);
		__sync_fetch_and_add(&state.lost_octets, packet->octets);
		return;
	}
	struct skipped *skipped = &point->skipped[(packet->key.tail >> 16) & 1];

	if (!skipped->packets)
		skipped->first = tick;
	skipped->last = tick;
	__sync_fetch_and_add(&skipped->packets, packet->packets);
	__sync_fetch_and_add(&skipped->octets, packet->octets);
}

/*
 * Counts a packet of a flow that has no entry yet, if the limits of its point and of the host leave room for one;
 * otherwise in the point's skipped counter. Returns the entry, if there is one now.
 */
static __noinline struct flow *flow_create(const struct packet *packet, __u32 slot, __u32 tick)
{
	struct point_counters *point = counters_of(slot & SLOT_MASK, packet->key.tail & 0xffff);
	struct slot *window = slot_at(slot);
	struct flow fresh = {};
	void *flows;
	long error;

	slot &= SLOT_MASK;
	if (!point)
		goto full;
	if (READ_ONCE(point->flows) >= state.flows_per_point_max || READ_ONCE(window->flows) >= state.flows_max)
		goto full;
	if (__sync_fetch_and_add(&point->flows, 1) >= state.flows_per_point_max)
		goto full_again;
	fresh.cpu = bpf_get_smp_processor_id();
	fresh.first = fresh.last = fresh.last_before = tick;
	fresh.packets = packet->packets;
	fresh.octets = packet->octets;
	fresh.flags = packet->tcp_flags;
	if (packet->is_ipv6) {
		flows = bpf_map_lookup_elem(&windows6, &slot);
		error = flows ? bpf_map_update_elem(flows, &packet->key, &fresh, BPF_NOEXIST) : -1;
	} else {
		struct key4 key = key4_of(packet);

		flows = bpf_map_lookup_elem(&windows4, &slot);
		error = flows ? bpf_map_update_elem(flows, &key, &fresh, BPF_NOEXIST) : -1;
	}
	if (!error) {
		__sync_fetch_and_add(&window->flows, 1);
		return flow_find(packet, slot);
	}
	struct flow *other = flow_find(packet, slot);

	if (other) { /* Another CPU was faster. */
		__sync_fetch_and_add(&point->flows, -1);
		flow_add(other, packet->packets, packet->octets, tick, packet->tcp_flags);
		return other;
	}
full_again:
	__sync_fetch_and_add(&point->flows, -1);
full:
	skip(packet, slot, tick);
	return NULL;
}

#endif
