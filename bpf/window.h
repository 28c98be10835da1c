/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Windows are cut here, in the kernel, aligned to the wall clock: whatever user space does, a packet is counted in the
 * window of its own time. The fast path compares the clock with one word; everything else happens once per window.
 */
#ifndef WEIR_WINDOW_H
#define WEIR_WINDOW_H

#include "maps.h"

#define SLOT_MASK 3ULL
#define SLOT_BITS 2
_Static_assert(SLOTS == SLOT_MASK + 1, "a slot is the low bits of state.current");

static __always_inline __u32 tick_of(__u64 now)
{
	return now;
}

static __always_inline __u64 clock_now(void)
{
	return bpf_jiffies64();
}

static __always_inline struct slot *slot_at(__u32 slot)
{
	return &state.slots[slot & SLOT_MASK];
}

static __always_inline __u64 wall_s_of(__u64 now)
{
	return (now * state.tick_ns + state.wall_base_ns) / NS_PER_S;
}

/* The first tick that is not before a second of the wall clock. */
static __always_inline __u64 tick_at(__u64 wall_s)
{
	__u64 tick_ns = state.tick_ns;

	return tick_ns ? (wall_s * NS_PER_S - state.wall_base_ns + tick_ns - 1) / tick_ns : 0;
}

static __always_inline __u64 ticks_per_s(void)
{
	__u64 tick_ns = state.tick_ns;

	return tick_ns ? NS_PER_S / tick_ns : 0;
}

static __always_inline void slot_use(struct slot *slot, __u64 generation, __u64 now, __u64 start_s, __u64 end_s)
{
	slot->generation = generation;
	slot->opened = now;
	slot->start_s = start_s;
	slot->end_s = end_s;
	slot->wall_base_ns = state.wall_base_ns;
	slot->end = tick_at(end_s);
	slot->flows = 0;
	slot->extensions = 0;
	WRITE_ONCE(slot->state, SLOT_USED);
}

/*
 * Opens the window that `now` belongs to, if the open one has ended, and returns the current word. Any number of CPUs
 * come here at an edge; the one whose exchange of the word succeeds writes the slot's header. With no slot free (the
 * agent has been away for three windows) the newest window goes on to the next edge: its rows carry their own times.
 */
static __noinline __u64 window_advance(__u64 now, bool is_forced)
{
	__u64 current = READ_ONCE(state.current);
	__u64 size_s = state.window_size_s;

	if (!size_s || (!is_forced && now < current >> SLOT_BITS))
		return current;

	__u64 wall_s = wall_s_of(now);
	__u64 start_s = wall_s - wall_s % size_s;
	__u64 end_s = start_s + size_s;
	__u32 slot = current & SLOT_MASK;
	__u32 next = (slot + 1) & SLOT_MASK;
	bool is_free = READ_ONCE(slot_at(next)->state) == SLOT_FREE;
	__u64 successor = tick_at(end_s) << SLOT_BITS | (is_free ? next : slot);

	if (is_forced && !is_free)
		return current;
	if (__sync_val_compare_and_swap(&state.current, current, successor) != current)
		return READ_ONCE(state.current);
	struct slot *old = slot_at(slot);
	if (!is_free) {
		old->end_s = end_s;
		old->end = successor >> SLOT_BITS;
		old->extensions++;
		return successor;
	}
	if (now < old->end)
		old->end = now;
	/* After an early end the next window starts where this one stopped: no two windows start in one second. */
	if (old->end_s > wall_s && wall_s > old->start_s)
		old->end_s = wall_s;
	if (old->end_s > start_s && old->end_s <= wall_s)
		start_s = old->end_s;
	slot_use(slot_at(next), old->generation + 1, now, start_s, end_s);
	return successor;
}

/* The current word for a packet seen at `now`. */
static __always_inline __u64 window_at(__u64 now)
{
	__u64 current = READ_ONCE(state.current);

	if (likely(now < current >> SLOT_BITS))
		return current;
	return window_advance(now, false);
}

#endif
