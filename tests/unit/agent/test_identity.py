"""Names of processes and what a host is, from a /proc that the test made."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from node_agent.config import ServiceRule
from node_agent.identity import clock, host
from node_agent.identity.processes import Process, Processes, container_name, script_name, unit_name

ID = "0123456789abcdef" * 4


def put(
    proc: Path, pid: int, comm: str = "nginx", command: str = "nginx", cgroup: str = "0::/", start: int = 7
) -> None:
    place = proc / str(pid)
    place.mkdir(parents=True, exist_ok=True)
    (place / "stat").write_text(f"{pid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0\n")
    (place / "comm").write_text(comm + "\n")
    (place / "cmdline").write_text(command.replace(" ", "\0") + "\0")
    (place / "cgroup").write_text(cgroup + "\n")


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        (f"0::/system.slice/docker-{ID}.scope", ID[:12]),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", ID[:12]),
        (f"0::/machine.slice/libpod-{ID}.scope", ID[:12]),
        (f"0::/docker/{ID}", ID[:12]),
        (f"0::/kubepods/burstable/pod1/{ID}", ID[:12]),
        ("0::/system.slice/nginx.service", ""),
        ("0::/", ""),
    ],
)
def test_container(cgroup: str, name: str) -> None:
    assert container_name(cgroup) == name


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("0::/system.slice/nginx.service", "nginx"),
        ("0::/system.slice/postgresql@14-main.service", "postgresql@14-main"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/editor.service", "editor"),
        ("0::/user.slice/user-0.slice/user@0.service/init.scope", ""),
        ("0::/user.slice/user-0.slice/session-3.scope", ""),
        ("0::/", ""),
    ],
)
def test_unit(cgroup: str, name: str) -> None:
    assert unit_name(cgroup) == name


@pytest.mark.parametrize(
    ("comm", "command", "name"),
    [
        ("nginx", "nginx: worker process", "nginx"),
        ("python3.11", "python3 -m http.server 80", "server"),
        ("python", "python -u /srv/shop/app.py --port 1", "app"),
        ("java", "java -Xmx1g -jar /opt/shop-1.2.jar", "shop-1.2"),
        ("node", "node /srv/server.js", "server"),
        ("python3", "python3", "python3"),
        ("python3", "", "python3"),
    ],
)
def test_script(comm: str, command: str, name: str) -> None:
    assert script_name(comm, command.split()) == name


@pytest.mark.parametrize(
    ("comm", "command", "name"),
    [
        ("python3", ["python3", "-c", "import db; db.connect(password='hunter2')"], "python3"),
        ("node", ["node", "-e", "x('hunter2')"], "node"),
        ("gunicorn", ["gunicorn", "-b", "0.0.0.0:8000", "app:app"], "gunicorn"),
        ("python3", ["python3", "-W", "ignore", "app.py"], "app"),
        ("python3", ["python3", "-m", "evil; x"], "python3"),
        ("java", ["java", "-cp", "/opt/lib/*", "-jar", "/srv/shop.jar"], "shop"),
        ("php", ["php", "token=hunter2"], "php"),
    ],
)
def test_service_name_is_never_code_or_an_argument(comm: str, command: list[str], name: str) -> None:
    assert script_name(comm, command) == name


def test_order_of_names(tmp_path: Path) -> None:
    unit = "0::/system.slice/web.service"
    put(tmp_path, 1, cgroup=f"0::/system.slice/docker-{ID}.scope")
    put(tmp_path, 2, cgroup=unit)
    put(tmp_path, 3)
    put(tmp_path, 4, comm="nginx", command="nginx -c /etc/shop.conf", cgroup=unit)
    rules = [ServiceRule(service="shop", process="ngin.", command="shop[.]conf")]
    processes = Processes(rules, tmp_path)
    assert [processes.named(pid, "x").service for pid in (1, 2, 3, 4)] == [ID[:12], "web", "nginx", "shop"]


def test_gone_process_keeps_its_name_or_gets_the_events(tmp_path: Path) -> None:
    put(tmp_path, 1)
    processes = Processes((), tmp_path)
    assert processes.named(1, "thread").service == "nginx"
    (tmp_path / "1" / "stat").unlink()
    assert processes.named(1, "thread").service == "nginx"
    assert processes.named(2, "curl") == Process("curl", "curl")


def test_new_process_of_the_same_pid_is_looked_up_again(tmp_path: Path) -> None:
    put(tmp_path, 1)
    processes = Processes((), tmp_path)
    assert processes.named(1, "").service == "nginx"
    put(tmp_path, 1, comm="redis-server", command="redis-server", start=8)
    assert processes.named(1, "").service == "redis-server"


def test_name_with_brackets_and_spaces(tmp_path: Path) -> None:
    put(tmp_path, 1, comm="a) (b", command="x")
    assert Processes((), tmp_path).named(1, "").comm == "a) (b"


def test_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_agent.identity.processes._LIMIT", 10)
    processes = Processes((), tmp_path)
    for pid in range(1, 40):
        put(tmp_path, pid)
        assert processes.named(pid, "").service == "nginx"
    assert len(processes._known) <= 10


def test_addresses_and_endpoints(tmp_path: Path) -> None:
    own = str(os.getpid())
    net = tmp_path / own / "net"
    net.mkdir(parents=True)
    (net / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0\n     |-- 10.0.0.7\n        /32 host LOCAL\n"
        "     |-- 127.0.0.1\n        /32 host LOCAL\n"
        "     |-- 10.0.0.255\n        /32 link BROADCAST\n"
    )
    (net / "if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80 lo\n"
        "fd870000000000000000000000000011 02 40 00 80 eth0\n"
        "fe800000000000000000000000000001 02 40 20 80 eth0\n"
    )
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    line = "   0: {} {} {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0 100 0 0 10 0\n"
    (net / "tcp").write_text(
        head
        + line.format("0700000A:0050", "00000000:0000", "0A", 11)
        + line.format("0700000A:0050", "0800000A:9999", "01", 12)
        + line.format("00000000:1F90", "00000000:0000", "0A", 13)
    )
    (net / "tcp6").write_text(head + line.format("0" * 32 + ":0016", "0" * 32 + ":0000", "0A", 14))
    folder = tmp_path / own / "fd"
    folder.mkdir()
    for number, inode in enumerate((11, 13, 14)):
        (folder / str(number)).symlink_to(f"socket:[{inode}]")
    (tmp_path / own / "ns").mkdir()
    (tmp_path / own / "ns" / "net").write_text("")
    seen = host.Network(0, tmp_path)
    assert seen.addresses() == ["10.0.0.7", "fd87::11"]
    mapped = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7])
    assert [(item.address, item.port, item.pid) for item in seen.endpoints()] == [
        (mapped, 80, os.getpid()),
        (bytes(16), 8080, os.getpid()),
        (bytes(16), 22, os.getpid()),
    ]


def test_namespace_without_processes_is_empty(tmp_path: Path) -> None:
    seen = host.Network(4711, tmp_path)
    assert (seen.addresses(), seen.endpoints()) == ([], [])


def test_addresses_of() -> None:
    block = host.addresses_of(["10.0.0.1", "fd87::1"])
    assert block.shape == (2, 16)
    assert bytes(block[0]) == bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
    assert bytes(block[1]) == bytes.fromhex("fd870000000000000000000000000001")


def test_clock_offset() -> None:
    assert abs(time.monotonic_ns() + clock.offset_ns() - time.time_ns()) < 50_000_000
