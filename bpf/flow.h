/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Layouts that the kernel side and src/capture/ebpf/layout.ts share. Little-endian words unless said otherwise.
 * A change here that an older agent could misread needs a new LAYOUT_VERSION in layout.ts.
 */
#ifndef WEIR_FLOW_H
#define WEIR_FLOW_H

#include "kernel.h"

#define SLOTS 4 /* Windows in the ring: one open, three that wait to be drained. */
#define POINTS_MAX 65536 /* Their numbers have 16 bits. */
#define POINTS_BY_IFINDEX 65536 /* A power of two: the table is indexed by the low bits of the ifindex. */
#define FRAGMENTS_MAX 65536
#define STASH_SIZE 65536 /* A power of two; with many CPUs at work, thousands of packets are between hook and verdict. */
#define NS_PER_S 1000000000ULL
#define GRACE_S 1 /* For so long after its end, a window still takes verdicts. */

/*
 * Time is counted in the kernel's ticks (jiffies), 1 to 10 ms each: reading them is one load, where the cheapest clock
 * is a call that costs a third of all that is done for a packet. Records have whole seconds. Ticks follow the monotonic
 * clock exactly: its time at tick t is t * tick_ns + phase_ns. Inside a flow, their low halves do: 49 days at 1000 Hz.
 */

/* Flow keys. `tail` is point | direction << 16 | protocol << 24. Addresses and ports as on the wire. */
struct key4 {
	__u32 source;
	__u32 destination;
	__u32 ports; /* source port first */
	__u32 tail;
};

struct key6 {
	__u32 source[4];
	__u32 destination[4];
	__u32 ports;
	__u32 tail;
};

#define DIRECTION_INGRESS 0 /* as the NIC sees it */
#define DIRECTION_EGRESS 1

/*
 * A flow in one window. What passed the hook is counted once, in `packets` by the CPU that created the entry (no
 * atomics: the hook runs with bottom halves disabled) or in `packets_shared` by all others. What was refused is
 * counted again in `packets_refused`, so ACCEPT = packets + packets_shared - packets_refused: no packet is both.
 */
struct flow {
	__u64 packets;
	__u64 octets;
	__u32 last; /* tick of the last packet */
	__u32 last_before; /* tick of the one before it */
	__u32 first; /* tick of the first packet that was not refused; NO_TICK: all were, so far */
	__u32 flags; /* TCP flags seen | reject reason << 8 */
	__u32 cpu; /* the owner of `packets` and `octets` */
	__u32 refused_first;
	__u64 packets_shared;
	__u64 octets_shared;
	__u64 packets_refused;
	__u64 octets_refused;
	__u32 refused_last;
	__u32 accepted_last; /* tick of the last packet accepted before the last refused one */
	__u32 packets_at_refusal; /* low half of the packets seen when the last one was refused */
	__u32 reserved;
};
_Static_assert(sizeof(struct flow) == 88, "layout.ts says 88");

#define NO_TICK 0xffffffff

enum { REASON_NONE, REASON_NETFILTER, REASON_TC, REASON_OVS }; /* As in model/flow-rows.ts. */

/* One observation point in one window. Key: slot << 16 | point. */
struct skipped {
	__u64 packets;
	__u64 octets;
	__u32 first;
	__u32 last;
};

struct point_counters {
	__u32 flows;
	__u32 reserved;
	struct skipped skipped[2]; /* by direction */
};
_Static_assert(sizeof(struct point_counters) == 56, "layout.ts says 56");

/* points_by_ifindex: ifindex | point << 32 | POINT_* << 48; zero is nobody. */
#define POINT_MIRRORED (1ULL << 48) /* the device's other end is the guest: what comes in here, the NIC sent */
#define POINT_ETHERNET (1ULL << 49)
#define POINT_AMBIGUOUS (1ULL << 50) /* several namespaces use these low bits: ask points_by_netns */

struct netns_ifindex {
	__u64 netns; /* cookie */
	__u32 ifindex;
	__u32 reserved;
};

/*
 * A packet that the ingress hook counted and that may yet be refused, by the address of its skb. `below` is the tail at
 * the device underneath, where both it and this one are observed: a bridge and its port, say.
 */
struct stash {
	__u64 skb;
	__u64 fingerprint; /* of addresses and ports */
	__u32 tick; /* when it was counted */
	__u32 tail;
	__u32 below; /* NO_TAIL: none */
	__u32 slot;
};

#define NO_TAIL 0xffffffff

#define SLOT_FREE 0
#define SLOT_USED 1

struct slot {
	__u64 generation;
	__u64 opened; /* tick */
	__u64 end; /* tick */
	__u64 start_s; /* Unix seconds */
	__u64 end_s;
	__s64 wall_base_ns; /* the wall clock's time at tick 0, as of the opening */
	__u32 state;
	__u32 flows;
	__u64 extensions; /* how often its end was moved because no other slot was free */
	__u64 reserved;
};
_Static_assert(sizeof(struct slot) == 72, "layout.ts says 72");

/* Everything that is one of a kind. User space reads it at will and changes it through the program `control` only. */
struct state {
	__u64 current; /* end of the open window << 2 | its slot: one word, so never torn */
	__u64 pad[7]; /* a cache line that is read by every packet and written once per window */
	__s64 wall_base_ns; /* the wall clock's time at tick 0 */
	__s64 phase_ns; /* the monotonic clock's time at tick 0 */
	__u64 tick_ns;
	__u64 window_size_s;
	__u32 flows_max;
	__u32 flows_per_point_max;
	__u64 verdicts_late; /* refused after their window had been closed for good: they stay ACCEPT */
	__u64 verdicts_unmatched; /* refused, by a hook of an observed device, but no such flow was counted */
	__u64 lost_packets; /* counted nowhere else: no memory even for a skipped counter */
	__u64 lost_octets;
	__u64 instance; /* a random number drawn when the maps were made: names them across agents */
	struct slot slots[SLOTS];
};
_Static_assert(sizeof(struct state) == 144 + SLOTS * sizeof(struct slot), "layout.ts says 144");

/* What `control` is run with; src/capture/ebpf/control.ts writes the same. */
enum { CONTROL_OPEN = 1, CONTROL_SYNC, CONTROL_CUT, CONTROL_CLEAR, CONTROL_LIMITS, CONTROL_CLOCK };

struct command {
	__u32 operation;
	__u32 flows_max;
	__u32 flows_per_point_max;
	__u32 slot; /* CONTROL_CLEAR */
	__u64 generation; /* CONTROL_CLEAR, CONTROL_OPEN */
	__s64 wall_offset_ns; /* wall clock - monotonic clock: CONTROL_OPEN, CONTROL_SYNC */
	__u64 window_size_s; /* CONTROL_OPEN, CONTROL_SYNC */
	__u64 instance; /* CONTROL_OPEN */
	__u64 tick_ns; /* CONTROL_OPEN */
	__u64 ticks; /* answered by CONTROL_CLOCK, with */
	__u64 monotonic_ns;
};
_Static_assert(sizeof(struct command) == 72, "layout.ts says 72");

/* What the parsers make of a packet. */
struct packet {
	struct key6 key; /* IPv4 addresses in the first words, the rest zero */
	__u32 packets; /* on the wire: more than one when segmentation is left to the device */
	__u32 octets;
	__u32 tcp_flags;
	__u32 is_ipv6;
};

#endif
