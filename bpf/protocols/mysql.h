// https://mariadb.com/kb/en/0-packet/: three bytes of length, a sequence number that starts at 0 with each
// command, then the command. The answer's first packet has number 1.

#define MYSQL 2
#define MYSQL_LAST_COMMAND 0x1f

static __always_inline int is_mysql_request(const u8 *p, u32 n)
{
    u32 length = p[0] | p[1] << 8 | p[2] << 16;
    return n >= 5 && length > 0 && p[3] == 0 && p[4] > 0 && p[4] <= MYSQL_LAST_COMMAND;
}

static __always_inline int is_mysql_response(const u8 *p, u32 n)
{
    u32 length = p[0] | p[1] << 8 | p[2] << 16;
    return n >= 4 && length > 0 && p[3] == 1;
}
