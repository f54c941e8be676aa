"""The steps of the deployment test. Each takes the fleet and the report, and raises AssertionError with what it saw."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.deploy.fleet import CACHE, Fleet
from tests.deploy.report import Report, recap

OLD, NEW = "0.1.0", "0.1.1"
HTTP_REQUESTS, REDIS_COMMANDS = 37, 41
PATIENCE_SECONDS = 90

#: Everything that a playbook could leave on a host, in one line.
_SNAPSHOT = (
    "find /etc /opt /usr /var/lib/dpkg /var/lib/sonde /var/cache/sonde -xdev ! -name '*.pyc' ! -name __pycache__ "
    "-printf '%p %y %m %u %s %T@ %l\\n' 2>/dev/null | sort | sha256sum; getent passwd | sha256sum; "
    "systemctl list-unit-files --no-legend | sha256sum"
)


def _words(output: str) -> str:
    """The last message of a failed play, on one line."""
    marks = [line for line in output.splitlines() if line.startswith("[ERROR]")]
    return marks[-1].removeprefix("[ERROR]: Task failed: Action failed: ") if marks else output[-400:]


def _expect_failure(fleet: Fleet, report: Report, what: str, host: str, words: list[str], *arguments: str) -> None:
    snapshot = fleet.ssh(host, _SNAPSHOT)
    code, output = fleet.play("deploy-agents.yml", *arguments)
    said = " ".join(output.split())
    assert code != 0, f"{what}: the play was green"
    for word in words:
        assert " ".join(word.split()) in said, f"{what}: {word!r} was not said: {output[-1500:]}"
    assert fleet.ssh(host, _SNAPSHOT) == snapshot, f"{what}: {host} was changed"
    report.seen(f"{what}: exit code {code}, {host} as it was.")
    report.quote(_words(output))


def failures(fleet: Fleet, report: Report) -> None:
    """On fresh hosts: every refusal has words, and changes nothing."""
    report.step("Refusals with words, on fresh hosts")
    _expect_failure(
        fleet, report, "no authority", "web", ["web: nothing was changed. There is no authority", "ca init"],
        "--limit", "web",
    )  # fmt: skip
    fleet.controller.run(sys.executable, "-m", "sonde", "ca", "init", "--dir", str(fleet.ca))
    report.seen("`sonde ca init` made the authority on the controller.")
    _expect_failure(
        fleet, report, "aggregator down", "web",
        ["web: nothing was changed. aggregator collector:7443: no connection", "deploy-aggregator.yml"],
        "--limit", "web",
    )  # fmt: skip
    old = "#!/bin/sh\necho 3.9\n"
    fleet.ssh("web", f"mkdir -p /root/bin && printf '{old}' > /root/bin/python && chmod +x /root/bin/python")
    fleet.ssh("web", "mount -t tmpfs none /sys/kernel/btf")
    _expect_failure(
        fleet, report, "wrong Python and no BTF", "web",
        ["BTF: the kernel has none", "CONFIG_DEBUG_INFO_BTF", "Python: /root/bin/python is 3.9. Sonde needs 3.10"],
        "--limit", "web", "-e", "sonde_agent_python=/root/bin/python",
    )  # fmt: skip
    fleet.ssh("web", "umount /sys/kernel/btf; mount -t tmpfs none /mnt; mount -t tmpfs -o ro none /opt")
    _expect_failure(
        fleet, report, "read-only file system", "web", ["disk /opt/sonde: /opt is read-only", "remount,rw"],
        "--limit", "web",
    )  # fmt: skip
    fleet.ssh("web", "umount /opt; umount /mnt; rm -r /root/bin")
    stale = fleet.folder / "stale"
    expired_authority(stale)
    _expect_failure(
        fleet, report, "expired authority", "web", ["ca.crt has expired", "ca renew --authority"],
        "--limit", "web", "-e", f"sonde_ca_folder={stale}",
    )  # fmt: skip


def unreachable(fleet: Fleet, report: Report) -> None:
    """A host that does not answer is named; the others are deployed all the same."""
    fleet.write_inventory(_extra_agents={"absent": {"ansible_host": fleet.network["absent"].address}})
    code, output = fleet.play("deploy-agents.yml", "--limit", "absent", "-e", "sonde_reach_seconds=8")
    fleet.write_inventory()
    assert code != 0
    assert "absent: cannot be reached at" in output, output[-1500:]
    report.seen(f"unreachable host: exit code {code}.")
    report.quote(_words(output))


def expired_authority(folder: Path) -> None:
    """An authority whose certificate ended yesterday."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Sonde CA")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=9)).not_valid_after(now - datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    folder.mkdir()
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def aggregator(fleet: Fleet, report: Report) -> None:
    """Aggregator and pages."""
    report.step("First deployment")
    code, output = fleet.play("deploy-aggregator.yml")
    assert code == 0, output[-3000:]
    report.seen(
        f"`deploy-aggregator.yml`: {recap(output)['collector']}; aggregator ready, pages served over TLS by nginx."
    )


def first_deployment(fleet: Fleet, report: Report) -> None:
    """Agents; before that, check mode says what would be done, and does nothing."""
    before = {host: fleet.ssh(host, _SNAPSHOT) for host in ("web", "db")}
    code, output = fleet.play("deploy-agents.yml", "--check", "--diff")
    assert code == 0, output[-3000:]
    assert {host: fleet.ssh(host, _SNAPSHOT) for host in before} == before, "check mode changed a host"
    told = recap(output)["web"]["changed"]
    assert told > 5, output
    report.seen(f"`deploy-agents.yml --check --diff` said {told} changes for web, and made none.")
    code, output = fleet.play("deploy-agents.yml")
    assert code == 0, output[-3000:]
    report.seen(f"`deploy-agents.yml`: {json.dumps(recap(output))}")
    report.quote(_table(output))
    for host in ("web", "db"):
        keys = fleet.ssh(host, "stat -c '%a %U %n' /etc/sonde/agent.key /etc/sonde/agent.crt; ls /etc/sonde")
        assert "600 sonde-agent /etc/sonde/agent.key" in keys, keys
        assert "request" not in keys, keys
    names = sorted(path.name for path in (fleet.ca / "issued").iterdir())
    assert not [name for name in names if name.endswith(".key")], names
    report.seen(
        f"the controller holds {', '.join(names)} and no host's key; on the hosts keys are 0600 of their program."
    )


def _table(output: str) -> str:
    lines = output.splitlines()
    start = max(number for number, line in enumerate(lines) if "Hosts, versions and probes" in line)
    return "\n".join(
        line.strip(" -'") for line in lines[start + 1 : start + 8] if "  " in line.strip() and "ok:" not in line
    )


def _lives(fleet: Fleet) -> dict[str, str]:
    ask = "systemctl show -p MainPID --value sonde-agent sonde-aggregator sonde-dashboard nginx"
    return {host: fleet.ssh(host, ask) for host in fleet.machines}


def second_run(fleet: Fleet, report: Report) -> None:
    """Nothing changes, nothing restarts."""
    report.step("Second run")
    lives = _lives(fleet)
    code, output = fleet.play("site.yml")
    assert code == 0, output[-3000:]
    told = recap(output)
    assert all(host["changed"] == 0 for host in told.values()), output
    assert _lives(fleet) == lives, "something was restarted"
    report.seen(f"`site.yml`: {json.dumps(told)}; every process kept its pid.")


def _until(fleet: Fleet, query: str, wanted: int) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        count = int(fleet.sql(query)[0]["n"])
        if count >= wanted or time.monotonic() > deadline:
            return count
        time.sleep(1)


def requests(fleet: Fleet, report: Report) -> None:
    """What is done on the hosts stands in `requests` under their names, at both ends."""
    report.step("Requests")
    fleet.ssh("web", "mkdir -p /srv/www && echo hello > /srv/www/page && systemd-run --quiet --unit=www "
              "python3 -m http.server --directory /srv/www 8000")  # fmt: skip
    fleet.ssh("db", "for i in $(seq 50); do curl -sf http://web:8000/page >/dev/null && break; sleep 0.2; done")
    fleet.ssh(
        "db", f"for i in $(seq {HTTP_REQUESTS}); do curl -sf http://web:8000/counted >/dev/null; done", check=False
    )
    fleet.ssh("db", f"for i in $(seq {REDIS_COMMANDS}); do redis-cli set key$i value >/dev/null; done")
    where = "protocol = 'http1' AND resource = '/counted'"
    for host, role in (("web", "server"), ("db", "client")):
        query = f"SELECT count() AS n FROM requests WHERE host = '{host}' AND role = '{role}' AND {where}"
        count = _until(fleet, query, HTTP_REQUESTS)
        assert count == HTTP_REQUESTS, f"{host} {role}: {count} of {HTTP_REQUESTS}"
        report.seen(f"{HTTP_REQUESTS} requests by curl on db to web: {count} rows of host `{host}`, role `{role}`.")
    for role in ("server", "client"):
        query = (
            f"SELECT count() AS n FROM requests WHERE host = 'db' AND role = '{role}' AND protocol = 'redis' "
            "AND operation = 'SET'"
        )
        count = _until(fleet, query, REDIS_COMMANDS)
        assert count == REDIS_COMMANDS, f"redis {role}: {count} of {REDIS_COMMANDS}"
        report.seen(f"{REDIS_COMMANDS} SETs by redis-cli on db: {count} rows of host `db`, role `{role}`.")
    joined = fleet.sql("SELECT count() AS n FROM exchanges WHERE network_ns >= 0")[0]["n"]
    report.seen(f"{joined} requests have both ends (`exchanges`).")
    tags = fleet.sql("SELECT host, tags FROM hosts ORDER BY host")
    assert [(row["host"], row["tags"]) for row in tags] == [
        ("db", {"env": "test"}), ("web", {"env": "test", "web_servers": "true"})
    ], tags  # fmt: skip
    report.seen(f"inventory groups are tags: {json.dumps({row['host']: row['tags'] for row in tags})}")


def security(fleet: Fleet, report: Report) -> None:
    """What systemd thinks of the units, and what the running agent may do."""
    report.step("Hardening")
    units = {"sonde-agent": "web", "sonde-agent-statistics": "web"}
    units |= dict.fromkeys(("sonde-aggregator", "sonde-dashboard"), "collector")
    for unit, host in units.items():
        said = fleet.ssh(host, f"systemd-analyze security --no-pager {unit}.service | tail -n 1", check=False)
        report.seen(f"{unit}: {said.lstrip('→ ')}")
    status = fleet.ssh(
        "web",
        "grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/$(systemctl show -p MainPID --value sonde-agent)/status",
    )
    report.seen("the running agent: " + "; ".join(" ".join(line.split()) for line in status.splitlines()))
    assert "CapEff: 000000c000080004" in " ".join(status.split()), status
    measured = _until(fleet, "SELECT sum(kernel_ns) AS n FROM agent_stats WHERE probe = 'requests'", 1)
    assert measured > 0, "the statistics helper gave nothing"
    report.seen("its probes' time in the kernel is measured (`kernel_ns` > 0), by the descriptor of the helper.")


def rollbacks(fleet: Fleet, report: Report) -> None:
    """What fails after the preflight is undone: the agent of before runs again."""
    report.step("What fails halfway is undone")
    broken = fleet.folder / "broken"
    broken.mkdir()
    archive = f"sonde-agent-{NEW}-cp311-x86_64.tar"
    shutil.copy(CACHE / "wheelhouse" / "SHA256SUMS", broken)
    (broken / archive).write_bytes(b"not an archive")
    life = _lives(fleet)["web"]
    code, output = fleet.play(
        "deploy-agents.yml", "--limit", "web", "-e", f"sonde_wheelhouse={broken}", "-e", f"sonde_version={NEW}"
    )
    assert code != 0, output[-2000:]
    assert "is not what SHA256SUMS says" in output, output[-2000:]
    assert _lives(fleet)["web"] == life, f"the agent was restarted: {life} before, {_lives(fleet)['web']} after"
    report.seen("a damaged archive: refused, the agent kept its pid.")
    settings = fleet.ssh(
        "web", "cat /etc/sonde/agent.yml /etc/systemd/system/sonde-agent.service | sha256sum; ls /opt/sonde/agent"
    )
    wrong = json.dumps({"sonde_agent_settings": {"scope": {"netns": "no such thing"}}})
    code, output = fleet.play("deploy-agents.yml", "--limit", "web", "-e", wrong)
    assert code != 0, output[-2000:]
    assert "web: the release of before runs again" in output, output[-2000:]
    assert (
        fleet.ssh(
            "web", "cat /etc/sonde/agent.yml /etc/systemd/system/sonde-agent.service | sha256sum; ls /opt/sonde/agent"
        )
        == settings
    )
    assert fleet.ssh("web", "systemctl is-active sonde-agent") == "active"
    report.seen(
        "settings with which the agent does not start: settings and release of before are back, the agent runs."
    )
    report.quote(_words(output))


def certificates(fleet: Fleet, report: Report) -> None:
    """A certificate that has expired is replaced by the next run."""
    report.step("Certificates")
    before = fleet.ssh("web", "sha256sum /etc/sonde/agent.crt /etc/sonde/agent.key")
    fleet.write_inventory(sonde_agent_renew_within_days=400)
    code, output = fleet.play("deploy-agents.yml", "--limit", "web")
    fleet.write_inventory()
    assert code == 0, output[-2000:]
    after = fleet.ssh("web", "sha256sum /etc/sonde/agent.crt /etc/sonde/agent.key")
    assert before.splitlines()[0] != after.splitlines()[0], "the certificate is the old one"
    assert before.splitlines()[1] == after.splitlines()[1], "the key is another one"
    report.seen("due for renewal: new certificate, same key, and green, so that rows still come.")


def upgrade(fleet: Fleet, report: Report) -> None:
    """Rolling, under load, with no acknowledged row lost."""
    report.step("Rolling upgrade")
    fleet.ssh(
        "db",
        "systemd-run --quiet --unit=load sh -c 'while :; do curl -s http://web:8000/load >/dev/null; sleep 0.1; done'",
    )
    query = "SELECT count() AS n FROM requests WHERE resource = '/load'"
    assert _until(fleet, query, 50) >= 50
    moment = fleet.sql("SELECT toString(max(start)) AS t FROM requests")[0]["t"]
    stored = f"SELECT count() AS n FROM requests WHERE start <= '{moment}'"
    before = fleet.sql(stored)[0]["n"]
    code, output = fleet.play("upgrade.yml", "-e", f"sonde_version={NEW}")
    assert code == 0, output[-3000:]
    order = output.index("TASK [sonde_agent")
    report.seen(f"`upgrade.yml -e sonde_version={NEW}`: {json.dumps(recap(output))}; agents one after the other.")
    report.quote(_table(output[order:]))
    later = fleet.sql("SELECT toString(now64(6)) AS t")[0]["t"]
    _until(fleet, f"{query} AND start > '{later}'", 20)
    fleet.ssh("db", "systemctl stop load")
    after = fleet.sql(stored)[0]["n"]
    assert int(after) >= int(before), f"{before} rows before, {after} after"
    dropped = fleet.sql("SELECT sum(dropped_batches) AS n, sum(lost_in_agent) AS m FROM agent_stats")[0]
    assert int(dropped["n"]) == 0, dropped
    assert int(dropped["m"]) == 0, dropped
    versions = fleet.sql("SELECT host, agent_version FROM hosts ORDER BY host")
    assert {row["agent_version"] for row in versions} == {NEW}, versions
    report.seen(
        f"rows stored before: {before}; the same rows after: {after}; dropped batches 0, rows lost in agents 0."
    )
    kept = fleet.ssh("web", "ls /opt/sonde/agent")
    report.seen(f"releases kept on web for a rollback: {' '.join(kept.split())}")


def removal(fleet: Fleet, report: Report) -> None:
    """Nothing is left."""
    report.step("Removal")
    users = {host: fleet.ssh(host, "id -u sonde-agent", check=False) for host in ("web", "db")}
    assert _programs(set(users.values())) > 0
    code, output = fleet.play("remove.yml")
    assert code != 0, "it removed without being told that it is meant"
    code, output = fleet.play("remove.yml", "-e", "sonde_remove=yes")
    assert code == 0, output[-3000:]
    named = "grep -i sonde"
    elsewhere = " ".join(f"! -path '{path}/*'" for path in ("/proc", "/sys", "/var/log/journal", "/tmp"))
    left = {
        "units": f"systemctl list-unit-files --no-legend | {named}; systemctl list-units --all --no-legend | {named}-",
        "users and groups": f"getent passwd | {named}; getent group | {named}",
        "files": f"find / -xdev -ipath '*sonde*' {elsewhere}",
        "processes": "pgrep -a '^sonde'",
    }
    for host in fleet.machines:
        for what, command in left.items():
            found = fleet.ssh(host, command, check=False)
            assert not found, f"{host}: {what} left: {found}"
    assert _programs(set(users.values())) == 0
    report.seen(
        "`remove.yml`: no unit, no user or group, no file (certificates among them), no process, no BPF program left."
    )


def _programs(users: set[str]) -> int:
    """BPF programs of these users in the kernel that all machines share."""
    done = subprocess.run(["bpftool", "--json", "prog", "show"], capture_output=True, text=True, check=True)
    return sum(str(program.get("uid")) in users for program in json.loads(done.stdout))
