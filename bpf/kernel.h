/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few kernel types that are read, each with the few fields that are read: CO-RE finds them by name in the BTF of
 * the kernel that loads the program, so no vmlinux.h of any one kernel is committed.
 */
#ifndef WEIR_KERNEL_H
#define WEIR_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#define KERNEL_TYPE __attribute__((preserve_access_index))
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct net {
	__u64 net_cookie;
} KERNEL_TYPE;

typedef struct {
	struct net *net;
} KERNEL_TYPE possible_net_t;

struct net_device {
	int ifindex;
	unsigned int flags;
	unsigned long priv_flags : 32; /* a bit-field since 6.8, an unsigned int before: read it as a bit-field */
	possible_net_t nd_net;
} KERNEL_TYPE;

struct dst_entry {
	struct net_device *dev;
	unsigned short flags;
} KERNEL_TYPE;

struct sk_buff {
	struct sk_buff *next;
	struct net_device *dev;
	unsigned long _skb_refdst;
	unsigned long _nfct;
	char cb[48];
	unsigned int len;
	unsigned int data_len;
	__u8 pkt_type : 3;
	__u8 encapsulation : 1;
	int skb_iif;
	__u16 inner_transport_header;
	__be16 protocol;
	__u16 network_header;
	unsigned int end;
	unsigned int tail;
	unsigned char *head;
	unsigned char *data;
} KERNEL_TYPE;

struct skb_shared_info {
	unsigned short gso_size;
	unsigned short gso_segs;
	struct sk_buff *frag_list;
	unsigned int gso_type;
} KERNEL_TYPE;

union nf_inet_addr {
	__u32 all[4];
};

union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
} KERNEL_TYPE;

struct nf_conntrack_tuple_dst {
	union nf_inet_addr u3;
	__be16 port;
	__u8 protonum;
	__u8 dir;
};

/* As it is in memory: the layout has not changed since 2.6, and the anonymous member has no name to relocate by. */
struct nf_conntrack_tuple {
	struct {
		union nf_inet_addr u3;
		__be16 port;
		__u16 l3num;
	} src;
	struct nf_conntrack_tuple_dst dst;
};

struct nf_conntrack_tuple_hash {
	struct {
		void *next;
		void *pprev;
	} hnnode;
	struct nf_conntrack_tuple tuple;
};

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
} KERNEL_TYPE;

/* Drop reasons are numbered anew in every release; names are looked up in BTF. */
enum skb_drop_reason___netfilter { SKB_DROP_REASON_NETFILTER_DROP = 8 };
enum skb_drop_reason___tc_ingress { SKB_DROP_REASON_TC_INGRESS = 68 };
enum skb_drop_reason___tc_egress { SKB_DROP_REASON_TC_EGRESS = 63 };
enum skb_drop_reason_subsys { SKB_DROP_REASON_SUBSYS_OPENVSWITCH = 3 };

#define OVS_DROP_EXPLICIT 3 /* net/openvswitch/drop.h: in a module's BTF, where CO-RE does not look by itself */
#define OVS_DROP_EXPLICIT_WITH_ERROR 4
#define DROP_REASON_SUBSYS_SHIFT 16

#define DST_FAKE_RTABLE 0x0010
#define DST_METADATA 0x0080
#define SKB_DST_NOREF 1UL
#define NFCT_PTRMASK (~7UL)
#define IP_CT_RELATED 1 /* enum ip_conntrack_info: the low bits of skb->_nfct */
#define IP_CT_IS_REPLY 3
#define IP_CT_RELATED_REPLY 4
#define IFF_LOOPBACK 0x8
#define IFF_802_1Q_VLAN (1UL << 0) /* these are of priv_flags */
#define IFF_EBRIDGE (1UL << 1)
#define IFF_BONDING (1UL << 2)
#define IFF_BRIDGE_PORT (1UL << 9)
#define IFF_MACVLAN (1UL << 16)
#define PACKET_BROADCAST 1
#define PACKET_MULTICAST 2
#define SKB_GSO_TCPV4 (1U << 0)
#define SKB_GSO_TCPV6 (1U << 4)
#define SKB_GSO_SCTP (1U << 14)
#define SKB_GSO_UDP (1U << 16)
#define SKB_GSO_UDP_L4 (1U << 17)

#define TC_ACT_UNSPEC (-1)
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8

#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_DCCP 33
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_AH 51
#define IPPROTO_DSTOPTS 60
#define IPPROTO_SCTP 132
#define IPPROTO_MH 135
#define IPPROTO_UDPLITE 136

#endif
