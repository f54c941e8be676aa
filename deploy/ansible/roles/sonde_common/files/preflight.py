"""Looks at a host before Sonde is installed; changes nothing. Standard library of Python 3.6 only.

Argument: a JSON object of questions; each key is optional except `python`, `now`, `skew`.
Prints a JSON list of findings: name, good, required, line (for the table), sentence (what is wrong and what to do).
"""

import glob
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time

CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_SYS_PTRACE": 19, "CAP_PERFMON": 38, "CAP_BPF": 39}
TRACEFS = "/sys/kernel/tracing"
CONNECT_SECONDS = 5

findings = []


def finding(name, good, says, helps="", required=True):
    mark = "ok  " if good else "FAIL" if required else "note"
    line = "%s  %s: %s" % (mark, name, says) + ("" if good or not helps else " -> " + helps)
    sentence = "" if good else "%s: %s. %s." % (name, says, helps[:1].upper() + helps[1:])
    findings.append({"name": name, "good": good, "required": required, "line": line, "sentence": sentence})


def output_of(*argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def look_at_kernel(minimum):
    release = platform.release()
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    wanted = "%d.%d" % tuple(minimum)
    good = numbers >= tuple(minimum)
    finding("kernel", good, "Linux %s, %s" % (release, platform.machine()), "needs Linux %s or newer" % wanted)
    finding("processor", platform.machine() == "x86_64", platform.machine(), "only x86-64 is proven", required=False)
    btf = os.path.exists("/sys/kernel/btf/vmlinux")
    headers = os.path.exists("/lib/modules/%s/build" % release)
    finding(
        "BTF",
        btf or headers,
        "found" if btf else "none, but the kernel's headers" if headers else "the kernel has none",
        "boot a kernel with CONFIG_DEBUG_INFO_BTF, or install its headers (linux-headers-%s)" % release,
    )
    try:
        with open("/sys/kernel/security/lockdown") as file:
            locked = "[confidentiality]" in file.read()
    except OSError:
        locked = False
    finding(
        "lockdown", not locked, "confidentiality" if locked else "none that matters", "boot with lockdown=integrity"
    )


def events():
    return {path.split("/")[-1] for path in glob.glob(TRACEFS + "/events/*/*")}


def look_at_probes(probes):
    names = events()
    if not names:
        with open("/proc/filesystems") as file:
            known = "tracefs" in file.read()
        finding("tracefs", False, "not mounted on " + TRACEFS if known else "the kernel has none",
                "mount -t tracefs tracefs " + TRACEFS)  # fmt: skip
        return
    finding("tracefs", True, "mounted on " + TRACEFS)
    runs = 0
    for probe, needs in sorted(probes.items()):
        absent = [" or ".join(need.split("|")) for need in needs
                  if not names & set(need.split("|"))]  # fmt: skip
        runs += not absent
        says = "runs" if not absent else "does not run: tracepoints missing: " + ", ".join(absent)
        finding("probe " + probe, not absent, says, "a newer kernel has them", required=False)
    if "sk_data_ready" not in names:
        finding("arrival of data", True, "marked by tcp_probe: Linux 6.3 and newer have sk_data_ready", required=False)
    finding("probes", runs > 0, "%d of %d run here" % (runs, len(probes)), "boot a kernel that has these tracepoints")


def look_at_capabilities():
    with open("/proc/self/status") as file:
        bounding = int(re.search(r"CapBnd:\s+([0-9a-f]+)", file.read()).group(1), 16)
    absent = [name for name, bit in sorted(CAPABILITIES.items()) if not bounding >> bit & 1]
    says = "this host may not give: " + ", ".join(absent) if absent else "all that are needed"
    finding("capabilities", not absent, says, "allow them to this container or virtual host")


def look_at_python(path, minimum, comes_with_packages):
    version = output_of(path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    wanted = "%d.%d" % tuple(minimum)
    if not version:
        says = path + " is missing" + ("; a package brings it" if comes_with_packages else "")
        finding("Python", comes_with_packages, says, "install it, or name another with sonde_agent_python")
        return
    good = tuple(int(part) for part in version.split(".")) >= tuple(minimum)
    finding(
        "Python",
        good,
        "%s is %s" % (path, version),
        "Sonde needs %s or newer: name one with sonde_agent_python" % wanted,
    )


def existing(path):
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def look_at_folders(folders):
    for path, needed in sorted(folders.items()):
        place = existing(path)
        state = os.statvfs(place)
        free = state.f_bavail * state.f_frsize
        readonly = bool(state.f_flag & os.ST_RDONLY)
        if readonly or not os.access(place, os.W_OK):
            finding("disk " + path, False, "%s is read-only" % place,
                    "look at dmesg for errors of the disk, then: mount -o remount,rw on that file system")  # fmt: skip
            continue
        finding(
            "disk " + path, free >= needed, "%d MB free" % (free >> 20), "%d MB are needed: make room" % (needed >> 20)
        )


def look_at_clock(told, allowed):
    skew = abs(time.time() - told)
    good = skew <= allowed
    says = "within %d s of the controller's" % allowed if good else "%d s away from the controller's" % skew
    finding("clock", good, says, "set it, and install chrony: certificates and times depend on it")


def look_at_aggregators(addresses):
    for address in addresses:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        try:
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            finding("name " + host, False, "cannot be resolved (%s)" % error, "mend DNS or /etc/hosts of this host")
            continue
        finding("name " + host, True, found[0][4][0])
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            finding("aggregator " + address, False, "no connection (%s)" % error,
                    "start the aggregator (deploy-aggregator.yml), or open the port in between")  # fmt: skip
        else:
            finding("aggregator " + address, True, "reachable")


def look_at_ports(listens, own):
    for listen in listens:
        host, _, port = listen.rpartition(":")
        if own and output_of("systemctl", "is-active", own) == "active":
            finding("port " + listen, True, "held by %s itself" % own)
            continue
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as error:
                finding(
                    "port " + listen, False, str(error.strerror), "stop what holds it (ss -ltnp), or choose another"
                )
            else:
                finding("port " + listen, True, "free")


def look_at_system():
    has = os.path.isdir("/run/systemd/system")
    version = re.search(r"systemd (\d+)", output_of("systemctl", "--version"))
    good = has and version is not None and int(version.group(1)) >= 247
    finding("systemd", good, "version " + version.group(1) if version else "not running", "needs systemd 247 or newer")


def main():
    asked = json.loads(sys.argv[1])
    if sys.platform != "linux":
        finding("system", False, sys.platform, "Sonde observes Linux hosts")
    else:
        look_at_system()
        if "kernel" in asked:
            look_at_kernel(asked["kernel"])
            look_at_capabilities()
        if "probes" in asked:
            look_at_probes(asked["probes"])
        look_at_python(asked["python"], asked.get("minimum_python", [3, 10]), bool(asked.get("packages_bring_python")))
        look_at_folders(asked.get("folders", {}))
        look_at_clock(asked["now"], asked["skew"])
        look_at_aggregators(asked.get("aggregators", []))
        look_at_ports(asked.get("listens", []), asked.get("unit", ""))
        if asked.get("memory_bytes"):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            finding("memory", total >= asked["memory_bytes"], "%d MB" % (total >> 20),
                    "%d MB are needed" % (asked["memory_bytes"] >> 20))  # fmt: skip
        for tool in asked.get("tools", []):
            finding(
                tool, shutil.which(tool) is not None, "there" if shutil.which(tool) else "missing", "install " + tool
            )
    print(json.dumps(findings))


main()
