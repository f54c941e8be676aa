// The first and last bytes of what a system call moves, from user memory.

#define INTERIM_MAX 43 // one byte less than the shortest interim and final response together

// 64-bit variables throughout: without 32-bit registers clang tests a shifted copy of a narrower one, and the verifier
// then knows no bound of the original.
static __always_inline u64 append(u8 *buffer, u64 at, u64 size, u64 step, u64 from, u64 length)
{
    if (at >= size || !length)
        return at;
    u64 n = length;
    if (at == 0) {
        at_most(n, size);
        return bpf_probe_read_user(buffer, n, (void *)from) ? 0 : n;
    }
    at_most(n, step);
    u64 place = at;
    opaque(place);
    place &= size - 1;
    if (bpf_probe_read_user(buffer + place, n, (void *)from))
        return at;
    at += n;
    return at < size ? at : size;
}

// Adds up to `bytes` of a call's buffer to `buffer`, which holds `at`; returns what it then holds. What is kept has no
// holes, since masking would take the text behind one for code: a piece that is not kept whole sets `closed`.
static __always_inline u64 capture(struct call *call, u8 *buffer, u64 at, u64 size, u64 step, u64 bytes, u8 *closed)
{
    u64 before = at;
    if (*closed || at >= size || call->layout == NO_BUFFER) {
        *closed = 1;
        return at;
    }
    if (call->layout == PLAIN) {
        at = append(buffer, at, size, step, call->base, bytes);
        if (at != before && at < size && at - before != bytes)
            *closed = 1;
        return at;
    }
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        struct iovec piece = {};
        if (i >= call->length || !bytes)
            break;
        bpf_probe_read_user(&piece, sizeof(piece), (void *)(call->base + i * sizeof(piece)));
        u64 n = piece.iov_len < bytes ? piece.iov_len : bytes;
        u64 held = at;
        at = append(buffer, at, size, step, (u64)piece.iov_base, n);
        if (at >= size || at - held != n) {
            if (at != before)
                *closed = 1;
            return at;
        }
        bytes -= n;
    }
    if (call->length > VECTORS && bytes)
        *closed = 1;
    return at;
}

// The last bytes of what a call moved.
static __always_inline void capture_tail(struct call *call, u8 *tail, u64 bytes)
{
    u64 base = call->base;
    if (call->layout == VECTOR) {
        u64 left = bytes;
        base = 0;
#pragma unroll
        for (int i = 0; i < VECTORS; i++) {
            struct iovec piece = {};
            if (i >= call->length || base)
                break;
            bpf_probe_read_user(&piece, sizeof(piece), (void *)(call->base + i * sizeof(piece)));
            if (left <= piece.iov_len) {
                base = (u64)piece.iov_base;
                bytes = left;
            }
            left -= piece.iov_len;
        }
    }
    if (!base || call->layout == NO_BUFFER) {
        __builtin_memset(tail, 0, TAIL);
        return;
    }
    if (bytes >= TAIL) {
        bpf_probe_read_user(tail, TAIL, (void *)(base + bytes - TAIL));
        return;
    }
    // A short last piece: shift what is there.
    u64 n = bytes;
    at_most(n, TAIL - 1);
    if (n == 0)
        return;
#pragma unroll
    for (int i = 0; i < TAIL; i++)
        tail[i] = i + n < TAIL ? tail[(i + n) & (TAIL - 1)] : 0;
    bpf_probe_read_user(tail + ((TAIL - n) & (TAIL - 1)), n, (void *)base);
}

static __always_inline u64 first_buffer(struct call *call)
{
    u64 base = call->base;
    if (call->layout == VECTOR)
        bpf_probe_read_user(&base, sizeof(base), (void *)call->base);
    return call->layout == NO_BUFFER ? 0 : base;
}

// LOAD DATA LOCAL: the server's first answer asks for a file (0xfb); until it has said more, the client sends that.
static __always_inline int is_mysql_upload(struct conn *conn)
{
    u8 *r = conn->response;
    u32 length = r[0] | r[1] << 8 | r[2] << 16;
    return conn->turn.response_captured > 4 && r[4] == 0xfb && conn->turn.response_bytes <= length + 4;
}

// After 101, or 2xx to CONNECT, the connection speaks something else.
static __always_inline int leaves_http1(struct conn *conn)
{
    u8 *r = conn->response;
    if (conn->turn.response_captured < 12)
        return 0;
    return (r[9] == '1' && r[10] == '0' && r[11] == '1') ||
           (r[9] == '2' && conn->request[0] == 'C' && conn->request[1] == 'O' && conn->request[2] == 'N');
}

// Bytes in the request's direction can also belong to the turn that is under way although an answer was seen: the data
// of LOAD DATA LOCAL, or a body that is sent after an early answer. Then this is 0.
static __always_inline int begins_request(struct conn *conn, struct call *call, u64 bytes)
{
    u32 kept = conn->turn.request_captured;
    int mysql = conn->protocol == MYSQL || (!conn->protocol && is_mysql_request(conn->request, kept) &&
                                            is_mysql_response(conn->response, conn->turn.response_captured));
    int http = conn->protocol == HTTP1 || (!conn->protocol && is_http1_request(conn->request, kept));
    if (!mysql && !http)
        return 1;
    if (mysql && is_mysql_upload(conn))
        return 0;
    if (http && leaves_http1(conn))
        return 1;
    u8 head[5] = {};
    u64 base = first_buffer(call);
    if (!base || bytes < 1)
        return 1;
    if (http) {
        u64 n = bytes < 3 ? 1 : 3; // some servers read one byte ahead
        at_most(n, 3);
        if (bpf_probe_read_user(head, n, (void *)base))
            return 1;
        return is_method_letter(head[0]) && (n < 3 || (is_method_letter(head[1]) && is_method_letter(head[2])));
    }
    if (bytes < 4 || bpf_probe_read_user(head, 4, (void *)base))
        return 1;
    if (bytes > 4)
        bpf_probe_read_user(head, 5, (void *)base);
    u32 length = head[0] | head[1] << 8 | head[2] << 16;
    return head[3] == 0 && length > 0 && (bytes == 4 || (head[4] > 0 && head[4] <= MYSQL_LAST_COMMAND));
}

// Whether a call moves an interim response and nothing else: 100 Continue, which is too short to hold a final one as
// well. Longer ones (103) begin the answer; user space reads on behind them.
static __always_inline int is_interim(struct call *call, u64 bytes)
{
    u8 head[12] = {};
    u64 base = first_buffer(call);
    if (!base || bytes < 12 || bytes > INTERIM_MAX || bpf_probe_read_user(head, 12, (void *)base))
        return 0;
    return is_http1_interim(head, 12);
}
