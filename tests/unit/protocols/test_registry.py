from pathlib import Path

from node_agent import protocols
from node_agent.protocols import Status, registry
from proto import sonde_pb2

ROOT = Path(__file__).parents[3]


def test_registry_modules_headers_docs_and_proto_agree():
    names = registry.NAMES
    assert list(names.values()) == sorted(names.values())
    folder = ROOT / "node_agent" / "protocols"
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")} - {"registry"}
    assert set(names.values()) == modules
    assert {f"_{name}_block" for name in names.values()} == {path.stem for path in folder.glob("_*_block.py")}
    assert {number: name.upper() for number, name in names.items()} == {
        number: name for name, number in sonde_pb2.Protocol.items() if number
    }
    headers = {path.stem for path in (ROOT / "bpf" / "protocols").glob("*.h")}
    assert not headers or headers == modules
    text = (ROOT / "docs" / "protocols.md").read_text()
    sections = {line[3:].split()[0] for line in text.splitlines() if line.startswith("## `")}
    assert {f"`{name}`" for name in modules} == sections
    for name in modules:
        assert (ROOT / "tests" / "unit" / "protocols" / f"test_{name}.py").exists()


def test_headers_have_the_numbers_of_proto():
    for number, name in registry.NAMES.items():
        path = ROOT / "bpf" / "protocols" / f"{name}.h"
        if path.exists():
            assert f"#define {name.upper()} {number}\n" in path.read_text()


def test_statuses_are_those_of_proto():
    assert {s.value for s in Status} == {number for _, number in sonde_pb2.Status.items()}
    assert {s.name for s in Status if s} == {name for name, number in sonde_pb2.Status.items() if number}


def test_each_module_keeps_the_contract():
    for module in registry.PROTOCOLS.values():
        for name in ("split", "context", "parse_request", "parse_response", "response_end"):
            assert callable(getattr(module, name))
        assert "https://" in module.__doc__.splitlines()[0] + module.__doc__.splitlines()[2]
    assert all(hasattr(protocols, name) for name in protocols.__all__)
