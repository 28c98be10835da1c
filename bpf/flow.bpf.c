// SPDX-License-Identifier: GPL-2.0
/*
 * Weir's metering process: every packet of an observed device, counted where it passes, with the firewall's verdict.
 *
 *   tc_ingress, tc_egress   on each observed device; always go on to the next program
 *   verdict                 on the tracepoint kfree_skb
 *   control                 run by the agent: opens, cuts and clears windows, follows the wall clock
 */
#include "account.h"
#include "parse.h"
#include "verdict.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline struct stash *stash_of(__u64 address)
{
	__u32 index = (address >> 8) & (STASH_SIZE - 1); /* skbs lie 256 bytes apart */

	return bpf_map_lookup_elem(&stashes, &index);
}

/*
 * What is in the stash under the same address, with the same addresses and ports, a tick ago at most, may be this packet
 * at the device below, or the one before it of the same flow: the verdict hook knows whether there is a device below.
 */
static __always_inline void stash_put(struct __sk_buff *skb, __u64 now, __u32 tail, __u32 slot, __u64 fingerprint)
{
	__u64 address = ADDRESS(skb);
	struct stash *stash = stash_of(address);
	__u32 below = NO_TAIL;

	if (!stash)
		return;
	if (stash->tail != tail && stash->fingerprint == fingerprint && stash->skb == address &&
	    tick_of(now) - stash->tick <= 1)
		below = stash->tail;
	stash->skb = address;
	stash->fingerprint = fingerprint;
	stash->tick = tick_of(now);
	stash->tail = tail;
	stash->below = below;
	stash->slot = slot;
}

/* In a namespace of its own, an ifindex may be another device's here: the rare case, so read through BTF. */
static __noinline __u64 point_by_netns(struct __sk_buff *context)
{
	struct sk_buff *skb = (void *)context;
	struct netns_ifindex key = { .ifindex = context->ifindex };

	key.netns = BPF_CORE_READ(skb, dev, nd_net.net, net_cookie);
	__u64 *found = bpf_map_lookup_elem(&by_netns, &key);

	return found ? *found : 0;
}

static __always_inline __u64 point_of_context(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u32 index = ifindex & (POINTS_BY_IFINDEX - 1);
	__u64 *found = bpf_map_lookup_elem(&by_ifindex, &index);

	if (unlikely(!found))
		return 0;
	__u64 point = *found;

	if (likely((__u32)point == ifindex && !(point & POINT_AMBIGUOUS)))
		return point;
	return point ? point_by_netns(skb) : 0;
}

static __noinline void segmentation_read(struct __sk_buff *context, struct segmentation *segmentation)
{
	struct sk_buff *skb = (void *)context;
	unsigned char *head = BPF_CORE_READ(skb, head);
	struct skb_shared_info *shared = (void *)(head + BPF_CORE_READ(skb, end));

	segmentation->size = context->gso_size;
	segmentation->segments = context->gso_segs;
	segmentation->type = BPF_CORE_READ(shared, gso_type);
	if (!BPF_CORE_READ_BITFIELD_PROBED(skb, encapsulation))
		return;
	segmentation->inner_header_size =
		inner_header_size(head, segmentation->type, BPF_CORE_READ(skb, inner_transport_header),
				  BPF_CORE_READ(skb, network_header));
}

/* Everything that the fast path leaves: options, extensions, fragments, tags, segmentation but of TCP, headers in pages. */
__noinline int meter_any(struct __sk_buff *skb, __u64 point, bool is_egress)
{
	__u64 now = clock_now();
	__u64 current = window_at(now);
	__u32 slot = current & SLOT_MASK;
	struct source source = { .context = skb, .now = now };
	struct segmentation segmentation = {};
	struct packet packet = {};
	__u32 network = 0;
	__u32 protocol = bpf_ntohs(skb->protocol);

	if (point & POINT_ETHERNET) {
		__be16 type;

		network = 14;
		if (bpf_skb_load_bytes(skb, 12, &type, sizeof(type)))
			return TC_ACT_UNSPEC;
		protocol = bpf_ntohs(type);
	}
	if (skb->len < network)
		return TC_ACT_UNSPEC;
	if (skb->gso_size)
		segmentation_read(skb, &segmentation);
	packet.key.tail = tail_of(point, is_egress);
	int parsed = parse(&source, network, skb->len - network, protocol, &segmentation, &packet);

	if (parsed == PARSED_NOT_IP)
		return TC_ACT_UNSPEC;
	if (parsed == PARSED_UNREADABLE) {
		skip(&packet, slot, tick_of(now));
		return TC_ACT_UNSPEC;
	}
	struct flow *flow = flow_find(&packet, slot);

	if (flow)
		flow_add(flow, packet.packets, packet.octets, tick_of(now), packet.tcp_flags);
	else
		flow_create(&packet, slot, tick_of(now));
	if (!is_egress) {
		stash_put(skb, now, packet.key.tail, slot, fingerprint_of(&packet));
	}
	return TC_ACT_UNSPEC;
}

/*
 * Whole words of a frame. Nothing is aligned behind 14 bytes of Ethernet; the machines that BPF is compiled for do not
 * mind, and a packed structure would be read byte by byte.
 */
#define READ8(at) (*(__u8 *)(at))
#define READ16(at) (*(__u16 *)(at))
#define READ32(at) (*(__u32 *)(at))
#define READ64(at) (*(__u64 *)(at))

#define ETHERNET_SIZE 14
#define FRAME4_SIZE (ETHERNET_SIZE + 20 + 14) /* up to the TCP flags */
#define FRAME6_SIZE (ETHERNET_SIZE + 40 + 8)
#define TCP_FLAGS_AT 13
#define TCP_HEADER_SIZE(at) ((READ8((at) + 12) >> 4) * 4)

/*
 * TCP that is cut into segments later: each of them repeats `header`, the size of both headers. The kernel says how
 * many there will be, unless a guest built the packet: false then, and for whatever else does not add up.
 */
static __always_inline bool segments_add(struct __sk_buff *skb, __u32 header, __u32 *packets, __u32 *octets)
{
	*packets = skb->gso_segs;
	if (unlikely(*packets < 2 || *octets <= header))
		return false;
	*octets += (*packets - 1) * header;
	return true;
}

/* Both return false for what they leave to meter_any: nothing is counted then. */
static __always_inline bool meter_ipv4(struct __sk_buff *skb, void *ip, __u32 size, __u64 point, bool is_egress)
{
	__u32 start = READ32(ip); /* version and size, type of service, total size */
	__u32 octets = bpf_ntohs(start >> 16);
	__u32 protocol = READ8(ip + 9);
	__u32 ports = READ32(ip + 20);
	__u32 packets = 1;
	bool is_tcp = protocol == IPPROTO_TCP;
	union {
		struct key4 key;
		struct {
			__u64 addresses;
			__u64 rest;
		};
	} u;

	if (skb->gso_size) {
		octets = size; /* the header's own count is 0 above 64 KiB */
		if (!is_tcp || !segments_add(skb, 20 + TCP_HEADER_SIZE(ip + 20), &packets, &octets))
			return false;
	} else if (unlikely(octets > size)) {
		return false;
	}
	if (unlikely((start & 0xff) != 0x45 || READ16(ip + 6) & bpf_htons(0x3fff) || octets < 34))
		return false;
	if (unlikely(!is_tcp && protocol != IPPROTO_UDP)) {
		if (has_ports(protocol))
			return false;
		ports = 0; /* ICMP, GRE, ESP … */
	}
	__u64 now = clock_now();
	__u32 slot = window_at(now) & SLOT_MASK;
	void *flows = bpf_map_lookup_elem(&windows4, &slot);

	if (unlikely(!flows))
		return false;
	u.addresses = READ64(ip + 12);
	u.rest = ports | (__u64)(tail_of(point, is_egress) | protocol << 24) << 32;
	__u32 flags = is_tcp ? READ8(ip + 20 + TCP_FLAGS_AT) : 0;
	struct flow *flow = bpf_map_lookup_elem(flows, &u.key);

	if (unlikely(!flow))
		return false;
	flow_add(flow, packets, octets, tick_of(now), flags);
	if (!is_egress)
		stash_put(skb, now, u.key.tail, slot, fingerprint4(u.addresses, u.rest));
	return true;
}

static __always_inline bool meter_ipv6(struct __sk_buff *skb, void *ip, __u32 size, __u64 point, bool is_egress)
{
	void *data_end = (void *)(long)skb->data_end;
	__u32 middle = READ32(ip + 4); /* payload size, next header, hop limit */
	__u32 octets = bpf_ntohs(middle & 0xffff) + 40;
	__u32 protocol = (middle >> 16) & 0xff;
	bool is_tcp = protocol == IPPROTO_TCP;
	__u32 packets = 1;
	__u32 flags = 0;
	union {
		struct key6 key;
		__u64 words[5];
	} u;

	if (unlikely((READ8(ip) & 0xf0) != 0x60 || (!is_tcp && protocol != IPPROTO_UDP)))
		return false;
	if (is_tcp) {
		if (ip + 40 + TCP_FLAGS_AT + 1 > data_end)
			return false;
		flags = READ8(ip + 40 + TCP_FLAGS_AT);
	}
	if (skb->gso_size) {
		octets = size;
		if (!is_tcp || !segments_add(skb, 40 + TCP_HEADER_SIZE(ip + 40), &packets, &octets))
			return false;
	} else if (unlikely(octets > size)) {
		return false;
	}
	if (unlikely(octets < (is_tcp ? 54 : 44)))
		return false;
	__u64 now = clock_now();
	__u32 slot = window_at(now) & SLOT_MASK;
	void *flows = bpf_map_lookup_elem(&windows6, &slot);

	if (unlikely(!flows))
		return false;
	u.words[0] = READ64(ip + 8);
	u.words[1] = READ64(ip + 16);
	u.words[2] = READ64(ip + 24);
	u.words[3] = READ64(ip + 32);
	u.words[4] = READ32(ip + 40) | (__u64)(tail_of(point, is_egress) | protocol << 24) << 32;
	struct flow *flow = bpf_map_lookup_elem(flows, &u.key);

	if (unlikely(!flow))
		return false;
	flow_add(flow, packets, octets, tick_of(now), flags);
	if (!is_egress)
		stash_put(skb, now, u.key.tail, slot, fingerprint6(u.words, u.words[4]));
	return true;
}

static __always_inline int meter(struct __sk_buff *skb, bool is_egress)
{
	__u64 point = point_of_context(skb);

	if (unlikely(!point))
		return TC_ACT_UNSPEC;

	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;
	void *ip = data + ETHERNET_SIZE;
	__u32 size = skb->len - ETHERNET_SIZE;

	if (unlikely(data + FRAME4_SIZE > data_end || !(point & POINT_ETHERNET)))
		return meter_any(skb, point, is_egress);

	__u32 type = READ16(data + 12);

	if (type == bpf_htons(ETH_P_IP)) {
		if (likely(meter_ipv4(skb, ip, size, point, is_egress)))
			return TC_ACT_UNSPEC;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		if (likely(data + FRAME6_SIZE <= data_end && meter_ipv6(skb, ip, size, point, is_egress)))
			return TC_ACT_UNSPEC;
	} else if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) {
		return TC_ACT_UNSPEC;
	}
	return meter_any(skb, point, is_egress);
}

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	return meter(skb, false);
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	return meter(skb, true);
}

SEC("tp_btf/kfree_skb")
int verdict(__u64 *context)
{
	bool is_egress;
	__u32 reason = reason_of(context[2], &is_egress);

	if (likely(reason == REASON_NONE))
		return 0;
	judge(context, reason, is_egress);
	return 0;
}

/*
 * Follows the wall clock. Forward (or after a suspend), the open window ends at once if its end has passed. Back by
 * up to a window, it goes on until its end comes round again; further back, it ends now.
 */
static __always_inline void clock_follow(__u64 size_s, __u64 now)
{
	__u64 current = READ_ONCE(state.current);
	struct slot *slot = slot_at(current);
	__u64 wall_s = wall_s_of(now);

	if (!size_s)
		return;
	/* Smaller windows begin at the next edge of the new grid, larger ones when the open window ends. */
	if (size_s < state.window_size_s && wall_s - wall_s % size_s + size_s < slot->end_s)
		slot->end_s = wall_s - wall_s % size_s + size_s;
	state.window_size_s = size_s;
	__u64 end = tick_at(slot->end_s);

	if (wall_s + size_s < slot->start_s)
		end = now;
	if (current >> SLOT_BITS == end)
		return;
	if (end < now)
		end = now; /* It was open until the clock was set, and takes verdicts for a moment yet. */
	if (__sync_val_compare_and_swap(&state.current, current, end << SLOT_BITS | (current & SLOT_MASK)) == current)
		slot->end = end;
}

/*
 * Sets where tick 0 lies. The tick that is read is up to one behind the clock (more, where idle CPUs stop counting), so
 * the smallest difference that was ever seen is the nearest to the truth.
 */
static __always_inline void clock_set(__s64 wall_offset_ns)
{
	__u64 ticks = clock_now();
	__s64 phase_ns = bpf_ktime_get_ns() - ticks * state.tick_ns;

	if (!state.phase_ns || phase_ns < state.phase_ns)
		state.phase_ns = phase_ns;
	state.wall_base_ns = wall_offset_ns + state.phase_ns;
}

SEC("syscall")
int control(struct command *command)
{
	__u64 now = clock_now();

	switch (command->operation) {
	case CONTROL_CLOCK:
		command->ticks = now;
		command->monotonic_ns = bpf_ktime_get_ns();
		return 0;
	case CONTROL_OPEN:
		if (state.current || !command->window_size_s)
			return 0;
		state.tick_ns = command->tick_ns;
		clock_set(command->wall_offset_ns);
		state.instance = command->instance;
		state.window_size_s = command->window_size_s;
		__u64 wall_s = wall_s_of(now);
		__u64 start_s = wall_s - wall_s % command->window_size_s;

		slot_use(slot_at(0), command->generation, now, start_s, start_s + command->window_size_s);
		WRITE_ONCE(state.current, state.slots[0].end << SLOT_BITS);
		return 0;
	case CONTROL_SYNC:
		if (!state.current)
			return 0;
		clock_set(command->wall_offset_ns);
		clock_follow(command->window_size_s, now);
		window_at(now);
		return 0;
	case CONTROL_CUT:
		window_advance(now, true);
		return 0;
	case CONTROL_CLEAR:
		if (command->slot != (state.current & SLOT_MASK) &&
		    slot_at(command->slot)->generation == command->generation)
			WRITE_ONCE(slot_at(command->slot)->state, SLOT_FREE);
		return 0;
	case CONTROL_LIMITS:
		state.flows_max = command->flows_max;
		state.flows_per_point_max = command->flows_per_point_max;
		return 0;
	}
	return 0;
}
