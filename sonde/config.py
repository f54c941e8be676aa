"""Settings: flag over environment over YAML file over default.

Each program has one pydantic model. A variable is the prefix, then the path of names joined by two
underscores (SONDE_AGENT__SPOOL__MAX_BYTES). Unknown keys are errors, in the file and in the environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from sonde.errors import ConfigError

#: The password of a URL such as clickhouse://user:password@host.
URL_PASSWORD = re.compile(r"(://[^:/@\s]+:)[^/\s]+@")


class Settings(BaseModel):
    """Base of every settings model: unknown keys are errors, values are checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


Model = TypeVar("Model", bound=Settings)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, item in over.items():
        known = merged.get(key)
        merged[key] = _merge(known, item) if isinstance(known, dict) and isinstance(item, dict) else item
    return merged


def _from_environment(prefix: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, text in sorted(os.environ.items()):
        if not name.startswith(prefix):
            continue
        *parents, last = name[len(prefix) :].lower().split("__")
        place = settings
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = yaml.safe_load(text) if text else ""
    return settings


def _from_file(path: Path, required: bool) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: no such file; create it or drop --config") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its owner and mode") from None
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: must be a mapping of settings")
    return settings


def load(
    model: type[Model],
    prefix: str,
    default_file: str,
    flags: dict[str, Any] | None = None,
    file: str | None = None,
) -> Model:
    """Settings of one program.

    Args:
        model: its settings model.
        prefix: of its environment variables, such as "SONDE_AGENT__".
        default_file: read when it exists and `file` is not given.
        flags: what the command line said, nested as the model is; wins over everything.
        file: a YAML file that must exist.

    Raises:
        ConfigError: a key is unknown or a value is wrong; the message names the key.
    """
    settings = _from_file(Path(file or default_file), required=file is not None)
    settings = _merge(settings, _from_environment(prefix))
    settings = _merge(settings, flags or {})
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"unknown setting {key}; `sonde config show` lists the known ones") from None
        raise ConfigError(f"setting {key}: {first['msg']}") from None


def show(settings: Settings) -> str:
    """The effective settings as YAML, secrets masked."""

    def plain(item: Any) -> Any:
        if isinstance(item, SecretStr):
            return "********" if item.get_secret_value() else ""
        if isinstance(item, dict):
            return {key: plain(part) for key, part in item.items()}
        if isinstance(item, list | tuple | set | frozenset):
            return [plain(part) for part in item]
        if isinstance(item, str):
            return URL_PASSWORD.sub(r"\1********@", item)
        return item if isinstance(item, int | float | bool | None) else str(item)

    return yaml.safe_dump(plain(settings.model_dump()), sort_keys=False, allow_unicode=True)
