// RFC 9112. A request starts with a method, a response with "HTTP/1."; 1xx responses are not the answer yet.

#define HTTP1 1

#define METHOD_MAX 20 // longest registered method is UPDATEREDIRECTREF

static __always_inline int is_method_letter(u8 c)
{
    return (c >= 'A' && c <= 'Z') || c == '-';
}

// Any method, since WebDAV and caches have many of their own; user space knows the registered ones.
static __always_inline int is_http1_request(const u8 *p, u32 n)
{
    if (n < 6 || !is_method_letter(p[0]) || !is_method_letter(p[1]))
        return 0;
    u8 behind = 0, done = 0;
#pragma unroll
    for (int i = 2; i < METHOD_MAX; i++) {
        if (!done && !is_method_letter(p[i])) {
            done = 1;
            behind = p[i] == ' ' ? p[i + 1] : 0;
        }
    }
    return behind == '/' || behind == '*' || (behind >= 'a' && behind <= 'z') || (behind >= '0' && behind <= '9') ||
           behind == '[';
}

static __always_inline int is_http1_response(const u8 *p, u32 n)
{
    return n >= 5 && p[0] == 'H' && p[1] == 'T' && p[2] == 'T' && p[3] == 'P' && p[4] == '/';
}

// "HTTP/1.1 1xx", but for 101: after it the connection speaks another protocol.
static __always_inline int is_http1_interim(const u8 *p, u32 n)
{
    return n >= 12 && is_http1_response(p, n) && p[8] == ' ' && p[9] == '1' && !(p[10] == '0' && p[11] == '1');
}
