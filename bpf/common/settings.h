// What user space tells a probe. One entry; `started` is set last, when every probe is attached.

#define SCOPE_ITEMS 8

struct settings {
    u32 started;
    u32 own_pid;            // the agent never looks at itself
    u32 network_namespace;  // inode number; 0: every namespace
    u32 cgroup_level;       // depth of `cgroup` below the root
    u64 cgroup;             // id of a cgroup (v2) that holds all traced processes; 0: any
    u32 pids[SCOPE_ITEMS];  // 0-terminated; empty: any process
    u16 ports[SCOPE_ITEMS]; // 0-terminated, local or remote; empty: any port
    u64 idle_ns;            // a response ends after this long without a byte
};

BPF_ARRAY(settings_map, struct settings, 1);

static __always_inline struct settings *running(void)
{
    int zero = 0;
    struct settings *settings = settings_map.lookup(&zero);
    return settings && settings->started ? settings : 0;
}

static __always_inline int socket_in_scope(struct settings *settings, struct sock *sk)
{
    if (settings->network_namespace) {
        struct net *net = kread(sk, __sk_common.skc_net.net);
        if (kread(net, ns.inum) != settings->network_namespace)
            return 0;
    }
    if (!settings->ports[0])
        return 1;
    u16 local = kread(sk, __sk_common.skc_num);
    u16 remote = bpf_ntohs(kread(sk, __sk_common.skc_dport));
#pragma unroll
    for (int i = 0; i < SCOPE_ITEMS; i++)
        if (settings->ports[i] && (settings->ports[i] == local || settings->ports[i] == remote))
            return 1;
    return 0;
}

static __always_inline int process_in_scope(struct settings *settings)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (pid == settings->own_pid)
        return 0;
    if (settings->cgroup && bpf_get_current_ancestor_cgroup_id(settings->cgroup_level) != settings->cgroup)
        return 0;
    if (!settings->pids[0])
        return 1;
#pragma unroll
    for (int i = 0; i < SCOPE_ITEMS; i++)
        if (settings->pids[i] && settings->pids[i] == pid)
            return 1;
    return 0;
}
