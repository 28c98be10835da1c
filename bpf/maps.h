/* SPDX-License-Identifier: GPL-2.0 */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include "flow.h"

/* Read by every packet as a global variable: its address is a constant in the program, so it costs no lookup. */
struct state state SEC(".data.state") = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, POINTS_BY_IFINDEX);
	__type(key, __u32);
	__type(value, __u64);
} by_ifindex SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, POINTS_MAX);
	__type(key, struct netns_ifindex);
	__type(value, __u64);
} by_netns SEC(".maps");

/* The namespace (its cookie) of each point: a packet that a guest's own firewall refuses is none of ours. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, POINTS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} point_netns SEC(".maps");

/* One map of flows per window and family. User space puts an empty one in when it has drained a window: the old one
 * is freed as a whole, and its size can follow the number of points. */
struct flows4 {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct key4));
	__uint(value_size, sizeof(struct flow));
};

struct flows6 {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct key6));
	__uint(value_size, sizeof(struct flow));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct flows4);
} windows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct flows6);
} windows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, POINTS_MAX * SLOTS);
	__type(key, __u32);
	__type(value, struct point_counters);
} counters SEC(".maps");

/* Kept for user space only: what each point is, so that the next agent can adopt it. See layout.ts. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, POINTS_MAX);
	__uint(key_size, 4);
	__uint(value_size, 384);
} points SEC(".maps");

/* The ports of first fragments, for the later ones. Keyed by point too: tenants may use the same addresses. */
struct fragment_key {
	__u32 source[4];
	__u32 destination[4];
	__u32 id;
	__u32 tail;
};

struct fragment_ports {
	__u32 ports;
	__u32 protocol;
	__u32 tick;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STASH_SIZE);
	__type(key, __u32);
	__type(value, struct stash);
} stashes SEC(".maps");

/* Scalars of addresses: the difference of two pointers is the only arithmetic the verifier lets pass. */
#define ADDRESS(pointer) ((__u64)((const char *)(pointer) - (const char *)&state))

#endif
