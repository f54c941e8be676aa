// A turn: request bytes one way, then response bytes the other way, on one socket. What a ring record holds.
// node_agent/kernel/layout.py has the same layout for NumPy; tests/unit compares the two.

#define REQUEST_MAX 1024         // longest prefix of a request that is kept: holds most statements whole
#define REQUEST_STEP REQUEST_MAX // both ends keep the same bytes, in whatever pieces they move them
#define RESPONSE_MAX 512         // enough for the headers of an HTTP response
#define RESPONSE_STEP 128
#define TAIL 16    // last bytes of a response: MySQL and chunked HTTP say there that it is complete
#define ARRIVALS 8 // last arrivals that a socket keeps
#define SEGMENTS 8 // reads and writes of a turn that are kept one by one, to split a pipelined one

// Why a turn ended; as sonde.v1.EndedBy.
#define NEXT_REQUEST 2
#define CLOSE 3
#define IDLE 4

// Flags.
#define QUEUE_NOT_EXACT 1  // the arrival of the first byte is not among those kept
#define NO_IDENTITY 2      // the connection's sequence numbers could not be read
#define SEVERAL_ARRIVALS 4 // one read took what had arrived piece by piece: the marks are needed to tell them apart

struct arrival {
    u64 begin; // stream offsets [begin, end)
    u64 end;
    u64 time;
};

struct segment {
    u64 offset; // of its first byte, in its direction
    u64 enter;  // of the system call
    u64 exit;
};

struct turn {
    u64 connection; // number of the socket, unique while the agent runs
    u64 connection_id;
    u64 start;          // s1 or c1
    u64 request_first;  // s2 or c1
    u64 request_end;    // s2b, or the end of the last write
    u64 response_start; // s3 or c2
    u64 response_first; // s3 or c3
    u64 response_end;   // s4 or c4
    u64 gap;            // c1 - c4 of the request before
    u64 offset;         // of the request's first byte
    u64 response_offset;
    u64 request_bytes;
    u64 response_bytes;
    struct address address; // 36 bytes
    u32 pid;
    char comm[16];
    u8 tail[TAIL];
    u16 request_captured;
    u16 response_captured;
    u8 role;
    u8 protocol;
    u8 ended_by;
    u8 flags;
    u32 request_segments;
    u32 response_segments;
};

struct small_turn {
    struct turn turn;
    u8 response[64];
    u8 request[128];
};

struct medium_turn {
    struct turn turn;
    u8 response[RESPONSE_MAX]; // whole headers of an HTTP response
    u8 request[384];
};

struct marks {
    struct arrival arrivals[ARRIVALS];
    struct segment requests[SEGMENTS];
    struct segment responses[SEGMENTS];
    u8 heads[SEGMENTS][16]; // first bytes of the response segments
};

struct large_turn {
    struct turn turn;
    u8 response[RESPONSE_MAX];
    u8 request[REQUEST_MAX];
    struct marks marks;
};
