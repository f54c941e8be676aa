// https://redis.io/docs/latest/develop/reference/protocol-spec/: a request is an array of bulk strings, or a line.

#define REDIS 3

static __always_inline int is_redis_request(const u8 *p, u32 n)
{
    return n >= 4 && p[0] == '*' && p[1] >= '1' && p[1] <= '9';
}

// Only believed on a connection that is known to speak RESP, or for PING.
static __always_inline int is_redis_inline(const u8 *p, u32 n)
{
    u8 first = p[0] & ~0x20;
    return n >= 2 && first >= 'A' && first <= 'Z';
}

static __always_inline int is_redis_ping(const u8 *p, u32 n)
{
    return n >= 6 && (p[0] & ~0x20) == 'P' && (p[1] & ~0x20) == 'I' && (p[2] & ~0x20) == 'N' && (p[3] & ~0x20) == 'G' &&
           p[4] == '\r' && p[5] == '\n';
}

static __always_inline int is_redis_response(const u8 *p, u32 n)
{
    u8 c = p[0];
    return n >= 1 && (c == '+' || c == '-' || c == ':' || c == '$' || c == '*' || c == '_' || c == '#' || c == ',' ||
                      c == '(' || c == '!' || c == '=' || c == '%' || c == '~' || c == '>' || c == '|');
}
