// Identity of a TCP connection and 64-bit stream offsets, from the sequence numbers that both ends know.
//
// own = snd_una - bytes_acked and other = rcv_nxt - bytes_received stay constant over a connection's life and
// mirror each other at its two ends; the opener's own comes out one lower, since its SYN counts as acknowledged.

#define CLIENT 1
#define SERVER 2

struct tcp_identity {
    u64 connection_id; // opener's sequence number << 32 | acceptor's
    u64 sent;          // bytes written so far, as a stream offset
    u64 read;          // bytes read so far, as a stream offset
    u32 own;           // sequence number of the first byte sent
    u32 other;         // sequence number of the first byte received
    u32 role;
};

struct address {
    u8 local_ip[16];
    u8 remote_ip[16];
    u16 local_port;
    u16 remote_port;
};

static __always_inline void read_identity(struct sock *sk, struct tcp_identity *identity)
{
    struct tcp_sock *tcp = (struct tcp_sock *)sk;
    u64 acked = kread(tcp, bytes_acked);
    u32 una = kread(tcp, snd_una);
    u64 sent = kread(tcp, bytes_sent) - kread(tcp, bytes_retrans);
    s64 in_flight = kread(tcp, snd_nxt) - una;
    u8 state = kread(sk, __sk_common.skc_state);
    if (state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK)
        in_flight--; // the FIN takes a sequence number and is no byte sent
    u64 syn = acked - (sent - in_flight);
    u32 opener = syn == 1;
    u64 received = kread(tcp, bytes_received);
    u32 next = kread(tcp, rcv_nxt);

    identity->own = una - (u32)acked + opener;
    identity->other = next - (u32)received;
    identity->role = opener ? CLIENT : SERVER;
    identity->connection_id =
        opener ? (u64)identity->own << 32 | identity->other : (u64)identity->other << 32 | identity->own;
    if (syn > 1) { // what a local queue dropped counts as sent: whose SYN was acknowledged cannot be told
        // Ephemeral ports are the higher ones.
        u16 remote = bpf_ntohs(kread(sk, __sk_common.skc_dport));
        identity->role = kread(sk, __sk_common.skc_num) > remote ? CLIENT : SERVER;
        identity->connection_id = 0;
    }
    identity->sent = acked - opener + (u32)(kread(tcp, write_seq) - una);
    identity->read = received - (u32)(next - kread(tcp, copied_seq));
}

// The 64-bit offset whose low half is `sequence - first`, close to the last one known.
static __always_inline u64 extend(u64 known, u32 sequence, u32 first)
{
    return known + (s32)(sequence - first - (u32)known);
}

static __always_inline void mapped_ipv4(u8 *out, u32 address)
{
    __builtin_memset(out, 0, 10);
    out[10] = 0xff;
    out[11] = 0xff;
    __builtin_memcpy(out + 12, &address, 4);
}

static __always_inline void read_address(struct sock *sk, struct address *address)
{
    address->local_port = kread(sk, __sk_common.skc_num);
    address->remote_port = bpf_ntohs(kread(sk, __sk_common.skc_dport));
    if (kread(sk, __sk_common.skc_family) == AF_INET6_) {
        bpf_probe_read_kernel(address->local_ip, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        bpf_probe_read_kernel(address->remote_ip, 16, &sk->__sk_common.skc_v6_daddr);
        return;
    }
    mapped_ipv4(address->local_ip, kread(sk, __sk_common.skc_rcv_saddr));
    mapped_ipv4(address->remote_ip, kread(sk, __sk_common.skc_daddr));
}
