// What a BTF dump of the kernel lacks, and how to read its memory.

#define AF_INET_ 2
#define AF_INET6_ 10
#define IPPROTO_TCP_ 6
#define S_IFMT_ 0170000
#define S_IFSOCK_ 0140000
#define MSG_PEEK_ 2

#define kread(pointer, field)                                                                                          \
    ({                                                                                                                 \
        typeof((pointer)->field) value_;                                                                               \
        bpf_probe_read_kernel((void *)&value_, sizeof(value_), (void *)&(pointer)->field);                             \
        value_;                                                                                                        \
    })

// Keeps clang from proving away, or merging, a bound that the verifier has to see.
#define opaque(variable) asm volatile("" : "+r"(variable))

// Bounds a 64-bit variable in place. Written as min() or if(), clang may test one copy and use another, which it had
// stored on the stack before: the verifier of Linux 6.1 then knows no bound of that one.
#define at_most(variable, limit) asm volatile("if %0 <= %1 goto +1\n%0 = %1" : "+r"(variable) : "r"((u64)(limit)))

// The TCP socket behind a file descriptor of the current process, or 0.
static __always_inline struct sock *socket_of_fd(u32 fd)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct files_struct *files = kread(task, files);
    struct fdtable *table = kread(files, fdt);
    if (fd >= kread(table, max_fds))
        return 0;
    struct file **slots = kread(table, fd);
    struct file *file = 0;
    bpf_probe_read_kernel(&file, sizeof(file), slots + fd);
    if (!file)
        return 0;
    struct inode *inode = kread(file, f_inode);
    if ((kread(inode, i_mode) & S_IFMT_) != S_IFSOCK_)
        return 0;
    struct socket *socket = kread(file, private_data);
    struct sock *sk = kread(socket, sk);
    if (!sk || kread(sk, sk_protocol) != IPPROTO_TCP_)
        return 0;
    u16 family = kread(sk, __sk_common.skc_family);
    return family == AF_INET_ || family == AF_INET6_ ? sk : 0;
}
