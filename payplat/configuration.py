"""The configuration: defaults < TOML file < secret files < environment; every fault in one list, never a value in it.

A key's full name is its path, such as ``channels.alipay.private_key``. In the environment that is
``PAYPLAT_CHANNELS__ALIPAY__PRIVATE_KEY``; as a secret file it is a file of that dotted name in the folder that
``PAYPLAT_SECRETS`` (or systemd's ``CREDENTIALS_DIRECTORY``) names. A text value ``file:name`` stands for that file's
content, beside the TOML file.
"""

import base64
import binascii
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from payplat.errors import ConfigurationError
from payplat.settings import AppSettings, ChannelSettings, Section, Settings
from payplat.strength import LEAST_BYTES, weakness

# Seconds after which nobody waits for a delivery any more.
MOST_DELIVERING = 30 * 86400
PREFIX = "PAYPLAT_"
_POINTERS = {
    "CONFIG",
    "SECRETS",
}  # PAYPLAT_CONFIG and PAYPLAT_SECRETS say where to read; they are no keys


def read_settings(
    path: Path | None, environ: Mapping[str, str], kinds: Mapping[str, type[ChannelSettings]]
) -> Settings:
    """Read and check the configuration; ``kinds`` holds the options of each kind of channel that is installed.

    Raises ConfigurationError with every fault found, each with the full name of its key.
    """
    faults: list[str] = []
    try:
        raw = _merged(path, environ, faults)
    except RecursionError:
        raise ConfigurationError(["the configuration is nested too deeply"]) from None
    if "channels" in raw:
        raw["channels"] = _channels(raw["channels"], kinds, faults)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(faults + _told(error)) from None
    faults += _contradictions(settings)
    if faults:
        raise ConfigurationError(faults)
    return settings.model_copy(update={"folder": path.parent if path else Path()})


def walk(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Section]]:
    """Yield every table of a configuration with its full name, itself first."""
    if isinstance(section, Section):
        yield prefix, section
    for name in type(section).model_fields:
        value = getattr(section, name)
        tables = value.items() if isinstance(value, dict) else [("", value)]
        for key, table in tables:
            if isinstance(table, BaseModel):
                yield from walk(table, ".".join(filter(None, (prefix, name, key))))


def _channels(
    tables: Any, kinds: Mapping[str, type[ChannelSettings]], faults: list[str]
) -> dict[str, ChannelSettings]:
    """Return each channel's table as its kind's own settings; faults are added with the key's full name."""
    channels: dict[str, ChannelSettings] = {}
    for name, table in tables.items() if isinstance(tables, dict) else ():
        channels[name] = ChannelSettings()
        kind = str(table.get("kind", name)) if isinstance(table, dict) else name
        if kind not in kinds:
            faults.append(f"channels.{name}.kind: no such kind of channel is installed")
            continue
        try:
            channels[name] = kinds[kind].model_validate(table)
        except ValidationError as error:
            faults += _told(error, "channels", name)
    return channels


def _merged(path: Path | None, environ: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    folder = path.parent if path else Path()
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            faults.append(f"{path}: {error}")
    secrets = environ.get(f"{PREFIX}SECRETS") or environ.get("CREDENTIALS_DIRECTORY")
    if secrets:
        _put_secrets(raw, Path(secrets), faults)
    for name, value in sorted(environ.items()):
        key = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and key not in _POINTERS:
            _put(raw, key.lower().split("__"), _typed(value), faults)
    resolved = _resolve(raw, folder, "", faults)
    return resolved if isinstance(resolved, dict) else {}


def _put_secrets(raw: dict[str, Any], folder: Path, faults: list[str]) -> None:
    try:
        for file in sorted(folder.iterdir()):
            if file.is_file() and "." in file.name and not file.name.startswith("."):
                _put(raw, file.name.split("."), file.read_text("utf-8").strip(), faults)
    except (OSError, ValueError):
        faults.append(f"{PREFIX}SECRETS: its files cannot be read")


def _put(raw: dict[str, Any], keys: list[str], value: Any, faults: list[str]) -> None:
    table = raw
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            faults.append(f"{'.'.join(keys)}: {key} is no table")
            return
    table[keys[-1]] = value


def _typed(value: str) -> Any:
    """Read lists and tables in the environment as JSON; everything else stays text."""
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _resolve(value: Any, folder: Path, name: str, faults: list[str]) -> Any:
    """Replace each ``file:name`` by that file's content."""
    if isinstance(value, dict):
        return {k: _resolve(v, folder, f"{name}.{k}".strip("."), faults) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, folder, name, faults) for v in value]
    if isinstance(value, str) and value.startswith("file:"):
        try:
            return (folder / value.removeprefix("file:")).read_text("utf-8").strip()
        except (OSError, ValueError):
            faults.append(f"{name}: its file cannot be read")
    return value


def _told(error: ValidationError, *prefix: str) -> list[str]:
    words = {"Field required": "missing", "Extra inputs are not permitted": "unknown key"}
    return [
        f"{'.'.join(map(str, (*prefix, *e['loc'])))}: {words.get(e['msg'], e['msg'])}"
        for e in error.errors(include_input=False)
    ]


def _contradictions(settings: Settings) -> Iterator[str]:
    for name, channel in settings.channels.items():
        if channel.app not in settings.apps:
            yield f"channels.{name}.app: there is no [apps.{channel.app}]"
    for app, table in settings.apps.items():
        yield from _faults_of(app, table, settings.auth.mode)
    yield from _schedules(settings)
    if settings.environment == "production":
        for prefix, section in walk(settings):
            for key, reason in section.unsafe():
                full = ".".join(filter(None, (prefix, key)))
                yield f"{full}: {reason} (environment is production)"


def _faults_of(app: str, table: AppSettings, modes: Collection[str]) -> Iterator[str]:
    if (table.login is not None) != ("jwt" in modes):
        yield f"apps.{app}.login: it and auth.mode = jwt belong together"
    for name, endpoint in table.endpoints.items():
        for secret in endpoint.secrets:
            yield from _weak_secret(f"apps.{app}.endpoints.{name}.secret", secret)
    if all("order.paid" not in (end.types or ["order.paid"]) for end in table.endpoints.values()):
        yield f"apps.{app}.endpoints: none of them learns of order.paid"


def _weak_secret(name: str, text: str) -> Iterator[str]:
    try:
        raw = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith("whsec_") or not LEAST_BYTES <= len(raw) <= 64:
        yield f"{name}: must be whsec_ and the Base64 of {LEAST_BYTES} to 64 random bytes"
    elif fault := weakness(raw):
        yield f"{name}: {fault}"


def _schedules(settings: Settings) -> Iterator[str]:
    """Tell of schedules on which what they are for never happens."""
    checks, delivery = settings.checks, settings.delivery
    if min(checks.base_seconds, checks.cap_seconds) >= settings.orders.lifetime_seconds:
        yield "checks.base_seconds: the first check would come after the order's end (orders.lifetime_seconds)"
    if delivery.backoff(delivery.attempts).duration() > MOST_DELIVERING:
        yield f"delivery.attempts: the last would come after more than {MOST_DELIVERING // 86400} days"
