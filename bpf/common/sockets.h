// What `requests` keeps of each socket, and how it is found, locked, and told when data arrived.

#ifndef MAX_CONNECTIONS
#define MAX_CONNECTIONS 65536 // memory is taken for live sockets only: about 3 KB each
#endif
#ifndef MAX_CALLS
#define MAX_CALLS 16384 // threads that are in a read or write at one moment
#endif
#ifndef RING_PAGES
#define RING_PAGES 1024 // 4 MiB for each of the three sizes
#endif
#define LOCK_TRIES 256 // holders keep it for less than 1 us
#define VECTORS 4      // pieces of a writev or readv that are looked at

// Phases of a connection.
#define QUIET 0
#define REQUEST 1
#define RESPONSE 2

// Layout of a system call's buffer.
#define PLAIN 0
#define VECTOR 1
#define NO_BUFFER 2
#define MESSAGE 3 // only of a call that had begun before the probe

struct conn {
    u64 lock;
    u64 number;
    u64 birth; // see birth_of: a socket's memory can come back as another socket
    struct tcp_identity identity;
    struct address address;
    u32 pid;
    u8 phase;
    u8 protocol;
    u8 role;
    u8 pending; // a write of the current turn has begun and not ended
    u64 turn_number;
    u64 pending_bytes;
    u64 last_end; // c4 of the request before
    u64 closing;  // when this end began to close
    u64 arrived;  // stream offset up to which data has arrived
    u32 arrival_count;
    u8 request_closed; // see capture()
    u8 response_closed;
    u16 unused;
    struct arrival first; // the oldest unread data
    struct turn turn;
    struct marks marks;
    u8 response[RESPONSE_MAX + RESPONSE_STEP];
    u8 request[REQUEST_MAX + REQUEST_STEP];
};

struct call {
    u64 sk; // 0: the call had begun before the probe, user space found it; then `fd` tells
    u64 enter;
    u64 base;
    u64 length;
    u64 turn_number;
    u32 layout;
    u32 captured; // before this call
    u32 ignored;
    u32 fd;
};

// Any syscalls:sys_exit_* tracepoint.
struct sys_exit {
    u64 common;
    u64 number;
    s64 ret;
};

// Counters, per processor; node_agent/kernel/layout.py has the same order.
enum counter {
    EMITTED,       // records
    NO_PROTOCOL,   // turns of no protocol that is known here
    LOST,          // records that found their ring full
    CONTENDED,     // events that did not get the lock
    NO_ROOM,       // sockets or calls that found their table full
    LATE_BYTES,    // bytes of a response after its end was taken for reached
    NOT_A_REQUEST, // turns on a connection of a known protocol that do not begin as its requests do
    COUNTERS
};

#define PROTOCOLS 4

BPF_TABLE("percpu_array", int, struct conn, scratch, 2);
BPF_F_TABLE("hash", u64, struct conn, conns, MAX_CONNECTIONS, BPF_F_NO_PREALLOC);
BPF_HASH(calls, u64, struct call, MAX_CALLS);
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);

static __always_inline void count(int which, u64 by)
{
    u64 *value = counters.lookup(&which);
    if (value)
        *value += by;
}

static __always_inline int lock(struct conn *conn)
{
    u64 taken = 1;
    for (int i = 0; i < LOCK_TRIES; i++) {
        taken = __sync_lock_test_and_set(&conn->lock, 1);
        if (!taken)
            break;
    }
    if (taken)
        count(CONTENDED, 1);
    return !taken;
}

static __always_inline void unlock(struct conn *conn)
{
    __sync_lock_test_and_set(&conn->lock, 0);
}

// Tells a socket from the next one at the same address. The local port is left out: closing clears it early.
static __always_inline u64 birth_of(struct sock *sk)
{
    return (u64)kread(sk, __sk_common.skc_hash) << 16 | kread(sk, __sk_common.skc_dport);
}

static __always_inline struct conn *find(struct sock *sk)
{
    u64 key = (u64)sk;
    struct conn *conn = conns.lookup(&key);
    if (conn && conn->birth != birth_of(sk)) {
        conns.delete(&key);
        return 0;
    }
    return conn;
}

// `context` is 0 in system calls and 1 in raw tracepoints, which can interrupt them: each has its own scratch.
static __always_inline struct conn *find_or_create(struct settings *settings, struct sock *sk, u64 now, int context)
{
    struct conn *conn = find(sk);
    if (conn)
        return conn;
    u8 state = kread(sk, __sk_common.skc_state);
    if (state == TCP_LISTEN || state == TCP_CLOSE || state == TCP_SYN_SENT || !socket_in_scope(settings, sk))
        return 0;
    if (context && (settings->pids[0] || settings->cgroup)) // whose it is, only a system call tells
        return 0;
    struct conn *fresh = scratch.lookup(&context);
    if (!fresh)
        return 0;
    fresh->number = now << 8 | (bpf_get_smp_processor_id() & 0xff);
    fresh->birth = birth_of(sk);
    read_identity(sk, &fresh->identity);
    read_address(sk, &fresh->address);
    fresh->role = fresh->identity.role;
    fresh->arrived = fresh->identity.read;
    u64 key = (u64)sk;
    conns.insert(&key, fresh); // another processor may have been faster
    conn = conns.lookup(&key);
    if (!conn)
        count(NO_ROOM, 1);
    return conn;
}

// When the byte at `offset` arrived; `now` and the flag if that is no longer known.
static __always_inline u64 arrival_of(struct conn *conn, u64 offset, u64 now, u8 *flags)
{
    if (conn->first.begin <= offset && offset < conn->first.end)
        return conn->first.time;
#pragma unroll
    for (int i = 0; i < ARRIVALS; i++) {
        struct arrival *arrival = &conn->marks.arrivals[i];
        if (arrival->begin <= offset && offset < arrival->end)
            return arrival->time;
    }
    *flags |= QUEUE_NOT_EXACT;
    return now;
}

// Whether what was read, [offset, end), may have come by more than one arrival.
static __always_inline u8 came_in_pieces(struct conn *conn, u64 offset, u64 end)
{
    return offset < conn->first.begin || conn->first.end < end ? SEVERAL_ARRIVALS : 0;
}

// A reader on another processor sees the old arrival, none, or the new one.
static __always_inline void store(struct arrival *arrival, u64 begin, u64 end, u64 now)
{
    *(volatile u64 *)&arrival->end = 0;
    *(volatile u64 *)&arrival->begin = begin;
    *(volatile u64 *)&arrival->time = now;
    *(volatile u64 *)&arrival->end = end;
}

static __always_inline void note_arrival(struct conn *conn, struct sock *sk, u64 end, u64 now)
{
    u64 begin = conn->arrived;
    if ((s64)(end - begin) <= 0)
        return;
    u32 read = kread((struct tcp_sock *)sk, copied_seq) - conn->identity.other;
    if (read == (u32)begin) {
        store(&conn->first, begin, end, now);
    }
    u32 slot = conn->arrival_count++ & (ARRIVALS - 1);
    store(&conn->marks.arrivals[slot], begin, end, now);
    conn->arrived = end;
}
