// One record per finished request, at the server's end and at the client's (docs/architecture.md).
//
// The system-call programs find the socket and note the call; three tail-called programs do the turn: write_begin,
// write_end, read_end. Arrivals come from the softirq and touch only the ring of arrivals, never the turn.
// Everything else of a socket is one struct under one lock. Turns follow stream offsets: a write counts from its
// beginning, so that an answer that is read before the write has returned finds its request.

#include "common/kernel.h"
#include "common/settings.h"
#include "common/tcp.h"
#include "common/turn.h"
#include "common/sockets.h"
#include "protocols/http1.h"
#include "protocols/mysql.h"
#include "protocols/redis.h"
#include "common/payload.h"

BPF_PERCPU_ARRAY(lost_turns, u64, 2 * PROTOCOLS); // index: protocol * 2 + (role == SERVER)
BPF_RINGBUF_OUTPUT(small_turns, RING_PAGES);
BPF_RINGBUF_OUTPUT(medium_turns, RING_PAGES);
BPF_RINGBUF_OUTPUT(large_turns, RING_PAGES);
BPF_PROG_ARRAY(steps, 4);
#define WRITE_BEGIN 0
#define WRITE_END 1
#define READ_END 2
#define ADOPT 3

#define ARRAY_BEHIND_LINE 0x2a0a0d // "\r\n*"
#define OTHER 255                  // a connection's protocol: one that is not known, for good

// Which protocol the current turn speaks; 0 for none that is known.
static __always_inline u8 classify(struct conn *conn)
{
    u8 *p = conn->request, *r = conn->response;
    u32 n = conn->turn.request_captured, m = conn->turn.response_captured;
    u8 known = conn->protocol;
    if (known == OTHER)
        return 0;
    if ((!known || known == HTTP1) && is_http1_request(p, n) && (!m || is_http1_response(r, m)))
        return HTTP1;
    if ((!known || known == REDIS) && (!m || is_redis_response(r, m)) &&
        (is_redis_request(p, n) || is_redis_ping(p, n) || (known == REDIS && is_redis_inline(p, n))))
        return REDIS;
    if ((!known || known == MYSQL) && is_mysql_request(p, n) &&
        (known ? !m || is_mysql_response(r, m) : is_mysql_response(r, m)))
        return MYSQL;
    return 0;
}

// A record found its ring full. A pipelined turn of Redis is as many requests as its kept bytes show commands.
static __always_inline void lost(struct conn *conn)
{
    struct turn *turn = &conn->turn;
    int index = (turn->protocol & (PROTOCOLS - 1)) * 2 + (turn->role == SERVER);
    u64 requests = 1;
    if (turn->protocol == REDIS && turn->request_captured > 14) { // "*1\r\n$4\r\nPING\r\n"
        u64 kept = turn->request_captured;
        // Without branches, or the verifier would follow each combination of them.
#pragma clang loop unroll(disable)
        for (u64 i = 0; i < REQUEST_MAX - 4; i++) {
            u64 differs = (*(u32 *)(conn->request + i) ^ ARRAY_BEHIND_LINE) & 0xffffff;
            requests += ((differs - 1) >> 63) & ((i + 4 - kept) >> 63);
        }
    }
    u64 *value = lost_turns.lookup(&index);
    if (value)
        *value += requests;
    count(LOST, requests);
}

static __always_inline void emit(struct conn *conn, u8 ended_by)
{
    struct turn *turn = &conn->turn;
    turn->protocol = classify(conn);
    if (!turn->protocol) {
        count(conn->protocol && conn->protocol != OTHER ? NOT_A_REQUEST : NO_PROTOCOL, 1);
        return;
    }
    conn->protocol = turn->protocol == HTTP1 && leaves_http1(conn) ? OTHER : turn->protocol;
    if (!turn->connection_id && !conn->identity.connection_id)
        turn->flags |= NO_IDENTITY;
    turn->ended_by = ended_by;
    turn->connection = conn->number;
    turn->connection_id = conn->identity.connection_id;
    turn->address = conn->address;
    turn->pid = conn->pid;
    turn->role = conn->role;
    u32 pieces = turn->request_segments > turn->response_segments ? turn->request_segments : turn->response_segments;
    if (turn->flags & SEVERAL_ARRIVALS)
        pieces = SEGMENTS;
    u64 sent = 0;
    if (pieces <= 1 && turn->request_captured <= 128 && turn->response_captured <= 64) {
        struct small_turn *out = small_turns.ringbuf_reserve(sizeof(struct small_turn));
        if (out) {
            bpf_probe_read_kernel(&out->turn, sizeof(out->turn), turn);
            bpf_probe_read_kernel(out->response, sizeof(out->response), conn->response);
            bpf_probe_read_kernel(out->request, sizeof(out->request), conn->request);
            small_turns.ringbuf_submit(out, 0); // wakes the agent if it had read everything
            sent = 1;
        }
    } else if (pieces <= 1 && turn->request_captured <= 384) {
        struct medium_turn *out = medium_turns.ringbuf_reserve(sizeof(struct medium_turn));
        if (out) {
            bpf_probe_read_kernel(&out->turn, sizeof(out->turn), turn);
            bpf_probe_read_kernel(out->response, sizeof(out->response), conn->response);
            bpf_probe_read_kernel(out->request, sizeof(out->request), conn->request);
            medium_turns.ringbuf_submit(out, 0); // wakes the agent if it had read everything
            sent = 1;
        }
    } else {
        struct large_turn *out = large_turns.ringbuf_reserve(sizeof(struct large_turn));
        if (out) {
            bpf_probe_read_kernel(&out->turn, sizeof(out->turn), turn);
            bpf_probe_read_kernel(out->response, sizeof(out->response), conn->response);
            bpf_probe_read_kernel(out->request, sizeof(out->request), conn->request);
            bpf_probe_read_kernel(&out->marks, sizeof(out->marks), &conn->marks);
            large_turns.ringbuf_submit(out, 0); // wakes the agent if it had read everything
            sent = 1;
        }
    }
    if (sent)
        count(EMITTED, 1);
    else
        lost(conn);
}

// Ends the current turn, if there is one with an answer.
static __always_inline void finish(struct conn *conn, u8 ended_by, u64 now)
{
    if (conn->phase != RESPONSE)
        return;
    if (conn->pending && conn->role == SERVER) {
        // The next request is here before the answer's write has returned: it has ended by now.
        conn->turn.response_bytes += conn->pending_bytes;
        conn->turn.response_end = now;
    }
    conn->pending = 0;
    emit(conn, ended_by);
    conn->last_end = conn->turn.response_end;
    conn->phase = QUIET;
}

static __always_inline void start_turn(struct conn *conn, u64 start, u64 offset, u64 now, u8 flags)
{
    struct turn *turn = &conn->turn;
    __builtin_memset(turn, 0, sizeof(*turn));
    turn->start = start;
    turn->offset = offset;
    turn->request_first = now;
    turn->request_end = now;
    turn->gap = conn->last_end && start > conn->last_end ? start - conn->last_end : 0;
    turn->flags = flags;
    bpf_get_current_comm(turn->comm, sizeof(turn->comm));
    conn->pid = bpf_get_current_pid_tgid() >> 32;
    conn->turn_number++;
    conn->pending = 0;
    conn->request_closed = 0;
    conn->response_closed = 0;
    conn->phase = REQUEST;
}

static __always_inline void request_segment(struct conn *conn, u64 offset, u64 enter, u64 exit)
{
    u64 i = conn->turn.request_segments++;
    if (i >= SEGMENTS)
        return;
    opaque(i);
    i &= SEGMENTS - 1;
    conn->marks.requests[i].offset = offset;
    conn->marks.requests[i].enter = enter;
    conn->marks.requests[i].exit = exit;
}

static __always_inline void response_segment(struct conn *conn, struct call *call, u64 offset, u64 enter, u64 exit,
                                             u64 bytes)
{
    u64 i = conn->turn.response_segments++;
    if (i >= SEGMENTS)
        return;
    opaque(i);
    i &= SEGMENTS - 1;
    conn->marks.responses[i].offset = offset;
    conn->marks.responses[i].enter = enter;
    conn->marks.responses[i].exit = exit;
    if (i == 0) // its head is the response's own
        return;
    u64 base = call->base;
    if (call->layout == VECTOR)
        bpf_probe_read_user(&base, sizeof(base), (void *)call->base);
    if (call->layout != NO_BUFFER && bytes >= 12)
        bpf_probe_read_user(conn->marks.heads[i], bytes < 16 ? 12 : 16, (void *)base);
    else
        __builtin_memset(conn->marks.heads[i], 0, 16);
}

// What a call has moved for sure: what cannot be kept now never will be.
static __always_inline void capture_request(struct conn *conn, struct call *call, u64 bytes)
{
    u64 held = conn->turn.request_captured;
    u64 kept = capture(call, conn->request, held, REQUEST_MAX, REQUEST_STEP, bytes, &conn->request_closed);
    if (kept == held)
        conn->request_closed = 1;
    conn->turn.request_captured = kept;
}

static __always_inline void capture_response(struct conn *conn, struct call *call, u64 bytes)
{
    u64 held = conn->turn.response_captured;
    u64 kept = capture(call, conn->response, held, RESPONSE_MAX, RESPONSE_STEP, bytes, &conn->response_closed);
    if (kept == held)
        conn->response_closed = 1;
    conn->turn.response_captured = kept;
}

// -- The three steps of a turn ----------------------------------------------------------------------------------

int write_begin(void *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&thread);
    struct settings *settings = running();
    if (!call || !settings)
        return 0;
    struct sock *sk = (struct sock *)call->sk;
    struct conn *conn = find_or_create(settings, sk, call->enter, 0);
    if (!conn || !lock(conn))
        goto forget;
    u64 bytes = call->length;
    if (call->layout == VECTOR) {
        struct iovec piece = {};
        bpf_probe_read_user(&piece, sizeof(piece), (void *)call->base);
        bytes = call->length == 1 ? piece.iov_len : ~0ULL >> 1; // of several: enough for all
    }
    u64 offset = extend(conn->identity.sent, kread((struct tcp_sock *)sk, write_seq), conn->identity.own);
    conn->identity.sent = offset;
    struct turn *turn = &conn->turn;
    if (conn->role == CLIENT) {
        if (conn->phase == RESPONSE && !begins_request(conn, call, bytes))
            goto leave;
        finish(conn, NEXT_REQUEST, call->enter);
        if (conn->phase == QUIET)
            start_turn(conn, call->enter, offset, call->enter, 0);
        call->captured = turn->request_captured;
        turn->request_captured = capture(call, conn->request, turn->request_captured, REQUEST_MAX, REQUEST_STEP, bytes,
                                         &conn->request_closed);
        request_segment(conn, offset, call->enter, 0);
    } else {
        if (conn->phase == QUIET)
            goto leave;
        if (conn->phase == REQUEST && is_interim(call, bytes))
            goto leave;
        if (conn->phase == REQUEST) {
            conn->phase = RESPONSE;
            turn->response_start = call->enter;
            turn->response_first = call->enter;
            turn->response_end = call->enter;
            turn->response_offset = offset;
        }
        call->captured = turn->response_captured;
        turn->response_captured = capture(call, conn->response, turn->response_captured, RESPONSE_MAX, RESPONSE_STEP,
                                          bytes, &conn->response_closed);
        response_segment(conn, call, offset, call->enter, 0, bytes);
    }
    conn->pending = 1;
    conn->pending_bytes = bytes == ~0ULL >> 1 ? 0 : bytes;
    call->turn_number = conn->turn_number;
    unlock(conn);
    return 0;
leave:
    unlock(conn);
forget:
    call->ignored = 1;
    return 0;
}

int write_end(struct sys_exit *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&thread);
    s64 ret = ctx->ret;
    if (!call)
        return 0;
    struct conn *conn = find((struct sock *)call->sk);
    if (!conn || call->ignored) {
        if (conn && ret > 0 && conn->role == SERVER && conn->phase == QUIET && conn->protocol)
            count(LATE_BYTES, ret);
        if (conn && ret > 0 && conn->role == CLIENT && conn->phase == RESPONSE) // see begins_request()
            conn->turn.request_bytes += ret;
        goto done;
    }
    u64 now = bpf_ktime_get_ns();
    if (!lock(conn)) {
        conn->pending = 0; // else the turn would wait for it
        goto done;
    }
    struct turn *turn = &conn->turn;
    if (call->turn_number != conn->turn_number || !conn->pending)
        goto leave;
    conn->pending = 0;
    if (conn->role == CLIENT) {
        u64 last = turn->request_segments - 1;
        if (ret <= 0) { // nothing went out: as if it had not begun
            turn->request_captured = call->captured;
            conn->request_closed &= call->captured != 0;
            turn->request_segments = last;
            if (!turn->request_bytes && conn->phase == REQUEST)
                conn->phase = QUIET;
            goto leave;
        }
        turn->request_bytes += ret;
        turn->request_end = now;
        if (turn->request_captured == call->captured) // its page was not in memory when the call began
            capture_request(conn, call, ret);
        if (turn->request_captured > call->captured + ret)
            turn->request_captured = call->captured + ret;
        opaque(last);
        if (last < SEGMENTS)
            conn->marks.requests[last & (SEGMENTS - 1)].exit = now;
    } else {
        u64 last = turn->response_segments - 1;
        if (ret <= 0) {
            turn->response_captured = call->captured;
            conn->response_closed &= call->captured != 0;
            turn->response_segments = last;
            goto leave;
        }
        turn->response_bytes += ret;
        turn->response_end = now;
        if (turn->response_captured == call->captured)
            capture_response(conn, call, ret);
        if (turn->response_captured > call->captured + ret)
            turn->response_captured = call->captured + ret;
        capture_tail(call, turn->tail, ret);
        opaque(last);
        if (last < SEGMENTS)
            conn->marks.responses[last & (SEGMENTS - 1)].exit = now;
    }
leave:
    unlock(conn);
done:
    calls.delete(&thread);
    return 0;
}

// A read that had begun before the probe, with its arguments as /proc told them.
int adopt(struct sys_exit *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&thread);
    struct settings *settings = running();
    if (!call)
        return 0;
    struct sock *sk = socket_of_fd(call->fd);
    if (!settings || !sk || !process_in_scope(settings) || !socket_in_scope(settings, sk)) {
        calls.delete(&thread);
        return 0;
    }
    if (call->layout == MESSAGE) {
        struct user_msghdr header = {};
        bpf_probe_read_user(&header, sizeof(header), (void *)call->base);
        call->base = (u64)header.msg_iov;
        call->length = header.msg_iovlen;
        call->layout = VECTOR;
    }
    call->sk = (u64)sk;
    steps.call(ctx, READ_END);
    return 0;
}

int read_end(struct sys_exit *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&thread);
    struct settings *settings = running();
    s64 ret = ctx->ret;
    if (!call)
        return 0;
    if (ret <= 0 || !settings)
        goto done;
    if (!call->sk) {
        steps.call(ctx, ADOPT);
        goto done;
    }
    u64 now = bpf_ktime_get_ns();
    struct sock *sk = (struct sock *)call->sk;
    struct conn *conn = find_or_create(settings, sk, now, 0);
    if (!conn || !lock(conn))
        goto done;
    u64 end = extend(conn->identity.read, kread((struct tcp_sock *)sk, copied_seq), conn->identity.other);
    u64 offset = end - ret;
    conn->identity.read = end;
    struct turn *turn = &conn->turn;
    u8 flags = 0;
    u64 arrived = arrival_of(conn, offset, now, &flags);
    if (conn->role == SERVER) {
        int answered = conn->phase == RESPONSE && (turn->response_bytes || conn->pending);
        if (answered && !begins_request(conn, call, ret)) {
            turn->request_bytes += ret;
            goto leave;
        }
        if (answered)
            finish(conn, NEXT_REQUEST, now);
        if (conn->phase == QUIET)
            start_turn(conn, arrived, offset, now, flags);
        turn->request_bytes += ret;
        turn->request_end = now;
        capture_request(conn, call, ret);
        request_segment(conn, offset, arrived, now);
        turn->flags |= came_in_pieces(conn, offset, end);
        goto leave;
    }
    if (conn->phase == QUIET) {
        if (conn->protocol)
            count(LATE_BYTES, ret);
        goto leave;
    }
    if (conn->phase == REQUEST) {
        if (is_interim(call, ret))
            goto leave;
        conn->phase = RESPONSE;
        if (conn->pending && !turn->request_bytes) { // the answer is here before the write has returned
            turn->request_bytes = conn->pending_bytes;
            turn->request_end = arrived;
            conn->pending = 0;
        }
        turn->flags |= flags;
        turn->response_start = arrived;
        turn->response_first = now;
        turn->response_offset = offset;
    }
    turn->response_bytes += ret;
    turn->response_end = now;
    capture_response(conn, call, ret);
    capture_tail(call, turn->tail, ret);
    response_segment(conn, call, offset, arrived, now, ret);
    turn->flags |= came_in_pieces(conn, offset, end);
leave:
    unlock(conn);
done:
    calls.delete(&thread);
    return 0;
}

// -- System calls -----------------------------------------------------------------------------------------------

static __always_inline int enter(u32 fd, u64 base, u64 length, u32 layout)
{
    struct settings *settings = running();
    if (!settings || !process_in_scope(settings) || (layout == PLAIN && !length))
        return 0;
    struct sock *sk = socket_of_fd(fd);
    if (!sk || !socket_in_scope(settings, sk))
        return 0;
    struct call call = {.sk = (u64)sk, .enter = bpf_ktime_get_ns(), .base = base, .length = length, .layout = layout};
    u64 thread = bpf_get_current_pid_tgid();
    if (calls.update(&thread, &call)) {
        count(NO_ROOM, 1);
        return 0;
    }
    return 1;
}

static __always_inline int enter_message(u32 fd, void *message)
{
    struct user_msghdr header = {};
    bpf_probe_read_user(&header, sizeof(header), message);
    return enter(fd, (u64)header.msg_iov, header.msg_iovlen, VECTOR);
}

TRACEPOINT_PROBE(syscalls, sys_enter_write)
{
    if (enter(args->fd, (u64)args->buf, args->count, PLAIN))
        steps.call(args, WRITE_BEGIN);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_sendto)
{
    if (enter(args->fd, (u64)args->buff, args->len, PLAIN))
        steps.call(args, WRITE_BEGIN);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_writev)
{
    if (enter(args->fd, (u64)args->vec, args->vlen, VECTOR))
        steps.call(args, WRITE_BEGIN);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_sendmsg)
{
    if (enter_message(args->fd, args->msg))
        steps.call(args, WRITE_BEGIN);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_sendfile64)
{
    if (enter(args->out_fd, 0, args->count, NO_BUFFER))
        steps.call(args, WRITE_BEGIN);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_read)
{
    enter(args->fd, (u64)args->buf, args->count, PLAIN);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_recvfrom)
{
    if (!(args->flags & MSG_PEEK_))
        enter(args->fd, (u64)args->ubuf, args->size, PLAIN);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_readv)
{
    enter(args->fd, (u64)args->vec, args->vlen, VECTOR);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_recvmsg)
{
    if (!(args->flags & MSG_PEEK_))
        enter_message(args->fd, args->msg);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_write)
{
    steps.call(args, WRITE_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_sendto)
{
    steps.call(args, WRITE_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_writev)
{
    steps.call(args, WRITE_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_sendmsg)
{
    steps.call(args, WRITE_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_sendfile64)
{
    steps.call(args, WRITE_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_read)
{
    steps.call(args, READ_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_recvfrom)
{
    steps.call(args, READ_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_readv)
{
    steps.call(args, READ_END);
    return 0;
}

TRACEPOINT_PROBE(syscalls, sys_exit_recvmsg)
{
    steps.call(args, READ_END);
    return 0;
}

// -- Arrivals and ends ------------------------------------------------------------------------------------------

#ifdef ARRIVAL_BY_TCP_PROBE
// Before Linux 6.3: fires for each segment of an established connection, before rcv_nxt moves; an out-of-order one
// is taken for arrived when the gap before it is filled, by the next segment.
RAW_TRACEPOINT_PROBE(tcp_probe)
{
    struct sock *sk = (struct sock *)ctx->args[0];
    struct sk_buff *skb = (struct sk_buff *)ctx->args[1];
    struct settings *settings = running();
    if (!settings)
        return 0;
    u64 now = bpf_ktime_get_ns();
    struct conn *conn = find_or_create(settings, sk, now, 1);
    if (!conn)
        return 0;
    struct tcp_skb_cb *cb = (struct tcp_skb_cb *)&skb->cb[0];
    u32 next = kread((struct tcp_sock *)sk, rcv_nxt);
    if ((s32)(kread(cb, seq) - next) > 0)
        return 0;
    note_arrival(conn, sk, extend(conn->arrived, kread(cb, end_seq), conn->identity.other), now);
    return 0;
}
#else
RAW_TRACEPOINT_PROBE(sk_data_ready)
{
    struct sock *sk = (struct sock *)ctx->args[0];
    u16 family = kread(sk, __sk_common.skc_family);
    if ((family != AF_INET_ && family != AF_INET6_) || kread(sk, sk_protocol) != IPPROTO_TCP_)
        return 0;
    struct settings *settings = running();
    if (!settings)
        return 0;
    u64 now = bpf_ktime_get_ns();
    struct conn *conn = find_or_create(settings, sk, now, 1);
    if (!conn)
        return 0;
    note_arrival(conn, sk, extend(conn->arrived, kread((struct tcp_sock *)sk, rcv_nxt), conn->identity.other), now);
    return 0;
}
#endif

// What was under way ends here, and the socket is forgotten.
static __always_inline void end_of_socket(struct sock *sk, struct conn *conn)
{
    if (lock(conn)) {
        struct turn *turn = &conn->turn;
        if (conn->phase == REQUEST && turn->request_bytes) {
            turn->response_start = turn->response_first = turn->response_end = conn->closing;
            conn->phase = RESPONSE;
        }
        finish(conn, CLOSE, conn->closing);
        unlock(conn);
    } else if (conn->phase == RESPONSE && conn->protocol) {
        conn->turn.role = conn->role;
        conn->turn.protocol = conn->protocol;
        lost(conn);
    }
    u64 key = (u64)sk;
    conns.delete(&key);
}

RAW_TRACEPOINT_PROBE(inet_sock_set_state)
{
    struct sock *sk = (struct sock *)ctx->args[0];
    int state = ctx->args[2];
    if (state == TCP_ESTABLISHED || state == TCP_SYN_SENT || state == TCP_SYN_RECV || state == TCP_LISTEN ||
        state == TCP_CLOSE_WAIT)
        return 0;
    struct conn *conn = find(sk);
    if (!conn)
        return 0;
    if (!conn->closing)
        conn->closing = bpf_ktime_get_ns();
    struct tcp_sock *tcp = (struct tcp_sock *)sk;
    // After a reset the process can still read what had arrived: then it ends when the socket is destroyed.
    if (state == TCP_CLOSE && kread(tcp, rcv_nxt) == kread(tcp, copied_seq))
        end_of_socket(sk, conn);
    return 0;
}

RAW_TRACEPOINT_PROBE(tcp_destroy_sock)
{
    struct sock *sk = (struct sock *)ctx->args[0];
    struct conn *conn = find(sk);
    if (conn)
        end_of_socket(sk, conn);
    return 0;
}

// Run by user space for one socket: a response that has been silent for long enough has ended.
int sweep(struct bpf_raw_tracepoint_args *ctx)
{
    u64 key = ctx->args[0];
    struct settings *settings = running();
    struct conn *conn = conns.lookup(&key);
    if (!conn || !settings || !lock(conn))
        return 0;
    int ended = conn->phase == RESPONSE && !conn->pending && conn->turn.response_bytes &&
                bpf_ktime_get_ns() - conn->turn.response_end > settings->idle_ns;
    if (ended)
        finish(conn, IDLE, conn->turn.response_end);
    unlock(conn);
    return ended;
}
