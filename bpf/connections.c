// One record at the start, at the end, and whenever user space asks (once a minute) of each TCP connection.
//
// A client's connection starts when it is established, a server's when accept() has returned: only then its process
// is known. One that was open before the probe is found at its first read. A connect that fails is one record with
// its reason, taken from the socket's error, or from connect()'s return value when no segment was ever sent.

#include "common/kernel.h"
#include "common/settings.h"
#include "common/tcp.h"

#ifndef MAX_CONNECTIONS
#define MAX_CONNECTIONS 65536
#endif
#ifndef RING_PAGES
#define RING_PAGES 256 // 1 MiB
#endif

#define ECONNRESET_ 104
#define EPIPE_ 32
#define ETIMEDOUT_ 110
#define ECONNREFUSED_ 111
#define ENETUNREACH_ 101
#define EHOSTUNREACH_ 113
#define SOCK_DONE_ 1 // enum sock_flags: a FIN was received, which bytes_received counts

// As sonde.v1.Outcome.
#define OPEN 1
#define CLOSED 2
#define REFUSED 3
#define RESET 4
#define TIMEOUT 5
#define UNREACHABLE 6

#define FOUND 1 // flag: it was open before the probe

struct conn {
    u64 number;
    u64 started; // SYN sent, or accepted
    u64 opened;  // 0: not established (yet), or before the probe
    u64 connect_ns;
    u32 pid;
    u32 role;
    u32 resets_sent;
    u32 resets_received;
    u32 flags;
    char comm[16];
    struct tcp_identity identity;
    struct address address;
};

struct connection_event {
    u64 connection;
    u64 connection_id;
    u64 time;
    u64 opened;
    u64 closed;
    u64 connect_ns;
    u64 bytes_sent;
    u64 bytes_received;
    struct address address; // 36 bytes
    u32 pid;
    char comm[16];
    u32 retransmits;
    u32 rtt_us;
    u32 min_rtt_us;
    u32 resets_sent;
    u32 resets_received;
    u8 role;
    u8 outcome;
    u8 flags;
    u8 unused;
};

struct attempt {
    u64 started;
    u64 sk;
    u64 where; // the address to connect to, in user space
};

enum counter { EMITTED, LOST, NO_ROOM, COUNTERS };

BPF_F_TABLE("hash", u64, struct conn, conns, MAX_CONNECTIONS, BPF_F_NO_PREALLOC);
BPF_HASH(attempts, u64, struct attempt, 4096); // threads inside connect()
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);
BPF_RINGBUF_OUTPUT(events, RING_PAGES);

static __always_inline void count(int which)
{
    u64 *value = counters.lookup(&which);
    if (value)
        *value += 1;
}

static __always_inline void report(struct sock *sk, struct conn *conn, u8 outcome, u64 now)
{
    struct connection_event *event = events.ringbuf_reserve(sizeof(struct connection_event));
    if (!event) {
        count(LOST);
        return;
    }
    struct tcp_sock *tcp = (struct tcp_sock *)sk;
    __builtin_memset(event, 0, sizeof(*event));
    event->connection = conn->number;
    event->connection_id = conn->identity.connection_id;
    event->time = now;
    event->opened = conn->opened;
    event->closed = outcome == OPEN ? 0 : now;
    event->connect_ns = conn->connect_ns;
    event->address = conn->address;
    event->pid = conn->pid;
    bpf_probe_read_kernel(event->comm, sizeof(event->comm), conn->comm);
    event->role = conn->role;
    event->outcome = outcome;
    event->flags = conn->flags;
    event->resets_sent = conn->resets_sent;
    event->resets_received = conn->resets_received;
    if (sk && conn->identity.connection_id) {
        u64 received = kread(tcp, bytes_received);
        u64 flags = kread(sk, __sk_common.skc_flags);
        event->bytes_sent = kread(tcp, bytes_sent) - kread(tcp, bytes_retrans);
        event->bytes_received = received && (flags >> SOCK_DONE_ & 1) ? received - 1 : received;
        event->retransmits = kread(tcp, total_retrans);
        event->rtt_us = kread(tcp, srtt_us) >> 3;
        u32 min_rtt = kread(tcp, rtt_min.s[0].v);
        event->min_rtt_us = min_rtt == ~0U ? 0 : min_rtt;
    } else if (sk) {
        event->retransmits = kread(tcp, total_retrans);
    }
    events.ringbuf_submit(event, 0);
    count(EMITTED);
}

static __always_inline void identify(struct sock *sk, struct conn *conn)
{
    read_identity(sk, &conn->identity);
    read_address(sk, &conn->address);
}

static __always_inline void name_process(struct conn *conn)
{
    conn->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(conn->comm, sizeof(conn->comm));
}

static __always_inline u8 failure(int error, u8 otherwise)
{
    if (error == ECONNREFUSED_)
        return REFUSED;
    if (error == ECONNRESET_ || error == EPIPE_)
        return RESET;
    if (error == ETIMEDOUT_)
        return TIMEOUT;
    if (error == ENETUNREACH_ || error == EHOSTUNREACH_)
        return UNREACHABLE;
    return otherwise;
}

RAW_TRACEPOINT_PROBE(inet_sock_set_state)
{
    struct sock *sk = (struct sock *)ctx->args[0];
    int old = ctx->args[1], state = ctx->args[2];
    struct settings *settings = running();
    if (!settings || kread(sk, sk_protocol) != IPPROTO_TCP_)
        return 0;
    u64 key = (u64)sk;
    u64 now = bpf_ktime_get_ns();
    if (state == TCP_SYN_SENT) {
        if (!process_in_scope(settings) || !socket_in_scope(settings, sk))
            return 0;
        struct conn conn = {.number = now << 8 | (bpf_get_smp_processor_id() & 0xff), .started = now, .role = CLIENT};
        name_process(&conn);
        read_address(sk, &conn.address);
        if (conns.update(&key, &conn))
            count(NO_ROOM);
        u64 thread = bpf_get_current_pid_tgid();
        attempts.delete(&thread); // from here on the socket's state tells
        return 0;
    }
    if (old == TCP_SYN_RECV) { // a new socket: what stands here is of one that was closed while nobody looked
        conns.delete(&key);
        return 0;
    }
    struct conn *conn = conns.lookup(&key);
    if (!conn)
        return 0;
    if (old == TCP_SYN_SENT && state == TCP_ESTABLISHED) {
        identify(sk, conn);
        conn->role = CLIENT;
        conn->opened = now;
        conn->connect_ns = now - conn->started;
        report(sk, conn, OPEN, now);
        return 0;
    }
    if (state != TCP_CLOSE)
        return 0;
    int error = kread(sk, sk_err);
    if (!error)
        error = kread(sk, sk_err_soft);
    // Neither error nor reset nor FIN: this end aborts, and its reset goes out right after this.
    if (!error && !conn->resets_received && (old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT))
        conn->resets_sent++;
    if (old == TCP_SYN_SENT) // no error: the program gave up waiting
        report(sk, conn, failure(error, TIMEOUT), now);
    else
        report(sk, conn, conn->resets_sent || conn->resets_received ? RESET : failure(error, CLOSED), now);
    conns.delete(&key);
    return 0;
}

static __always_inline int accepted(long fd)
{
    struct settings *settings = running();
    if (fd < 0 || !settings || !process_in_scope(settings))
        return 0;
    struct sock *sk = socket_of_fd(fd);
    if (!sk || !socket_in_scope(settings, sk))
        return 0;
    u64 key = (u64)sk;
    u64 now = bpf_ktime_get_ns();
    struct conn conn = {.number = now << 8 | (bpf_get_smp_processor_id() & 0xff), .started = now, .opened = now};
    name_process(&conn);
    identify(sk, &conn);
    conn.role = SERVER;
    if (kread(sk, __sk_common.skc_state) == TCP_CLOSE) { // reset while it waited in the queue
        report(sk, &conn, RESET, now);
        return 0;
    }
    report(sk, &conn, OPEN, now);
    if (conns.update(&key, &conn))
        count(NO_ROOM);
    else if (kread(sk, __sk_common.skc_state) == TCP_CLOSE && !conns.delete(&key)) // reset meanwhile
        report(sk, &conn, RESET, now);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_accept)
{
    return accepted(args->ret);
}

TRACEPOINT_PROBE(syscalls, sys_exit_accept4)
{
    return accepted(args->ret);
}

// A connect that ends before a segment was sent: no route, for one.
TRACEPOINT_PROBE(syscalls, sys_enter_connect)
{
    struct settings *settings = running();
    if (!settings || !process_in_scope(settings))
        return 0;
    struct sock *sk = socket_of_fd(args->fd);
    if (!sk || !socket_in_scope(settings, sk))
        return 0;
    u64 thread = bpf_get_current_pid_tgid();
    struct attempt attempt = {.started = bpf_ktime_get_ns(), .sk = (u64)sk, .where = (u64)args->uservaddr};
    attempts.update(&thread, &attempt);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_connect)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct attempt *attempt = attempts.lookup(&thread);
    if (!attempt)
        return 0;
    u8 outcome = failure(-args->ret, 0);
    u64 now = bpf_ktime_get_ns();
    if (outcome == UNREACHABLE) {
        struct sock *sk = (struct sock *)attempt->sk;
        struct conn conn = {
            .number = now << 8 | (bpf_get_smp_processor_id() & 0xff), .started = attempt->started, .role = CLIENT};
        struct sockaddr_in6 where = {};
        name_process(&conn);
        read_address(sk, &conn.address);
        bpf_probe_read_user(&where, sizeof(struct sockaddr_in), (void *)attempt->where);
        conn.address.remote_port = bpf_ntohs(where.sin6_port);
        if (where.sin6_family == AF_INET_) {
            u32 address = 0;
            bpf_probe_read_user(&address, 4, (void *)(attempt->where + 4));
            mapped_ipv4(conn.address.remote_ip, address);
        } else {
            bpf_probe_read_user(&where, sizeof(where), (void *)attempt->where);
            __builtin_memcpy(conn.address.remote_ip, &where.sin6_addr, 16);
        }
        report(0, &conn, UNREACHABLE, now);
    }
    attempts.delete(&thread);
    return 0;
}

// Process context, after each read: finds what was open before the probe.
RAW_TRACEPOINT_PROBE(tcp_rcv_space_adjust)
{
    struct sock *sk = (struct sock *)ctx->args[0];
    u64 key = (u64)sk;
    struct settings *settings = running();
    if (!settings || conns.lookup(&key) || !process_in_scope(settings) || !socket_in_scope(settings, sk))
        return 0;
    u8 state = kread(sk, __sk_common.skc_state);
    if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
        return 0;
    u64 now = bpf_ktime_get_ns();
    struct conn conn = {.number = now << 8 | (bpf_get_smp_processor_id() & 0xff), .started = now, .flags = FOUND};
    name_process(&conn);
    identify(sk, &conn);
    conn.role = conn.identity.role;
    report(sk, &conn, OPEN, now);
    if (conns.update(&key, &conn))
        count(NO_ROOM);
    return 0;
}

RAW_TRACEPOINT_PROBE(tcp_send_reset)
{
    u64 key = ctx->args[0];
    struct conn *conn = key ? conns.lookup(&key) : 0;
    if (conn)
        conn->resets_sent++;
    return 0;
}

RAW_TRACEPOINT_PROBE(tcp_receive_reset)
{
    u64 key = ctx->args[0];
    struct conn *conn = conns.lookup(&key);
    if (conn)
        conn->resets_received++;
    return 0;
}

// Run by user space for one socket, once a minute.
int refresh(struct bpf_raw_tracepoint_args *ctx)
{
    u64 key = ctx->args[0];
    struct conn *conn = conns.lookup(&key);
    if (!conn || !conn->opened && !(conn->flags & FOUND))
        return 0;
    report((struct sock *)key, conn, OPEN, bpf_ktime_get_ns());
    return 1;
}
