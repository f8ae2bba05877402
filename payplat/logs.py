"""Logging: JSON lines off a terminal, colours on one; the standard library's records go the same way.

Whatever a line says, it names no secret: keys, tokens and passwords are masked, by their names and by their looks.
"""

import logging
import re
import sys
from typing import Any

import structlog

_MASK = "[masked]"
# Settings and headers whose values are secrets, wherever they stand in a name.
_SECRET_NAMES = re.compile(
    r"secret|password|private_key|authorization|cookie|token$|api_key$", re.I
)
# What is a secret whatever it is called: webhook secrets, private keys in PEM, credentials in headers and URLs, signed
# tokens.
_SECRET_LOOKS = re.compile(
    r"whsec_[\w+/=-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=bearer )\S+"
    r"|(?<=basic )[\w+/=-]{8,}"
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+",
    re.I | re.S,
)


def mask_secrets(_logger: Any, _method: str, line: structlog.typing.EventDict) -> Any:
    """Return the line without its secrets: a processor for structlog, the last before the line is written."""
    return {name: _masked(name, value) for name, value in line.items()}


def _masked(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name) and value:
        return _MASK
    if isinstance(value, str):
        return _SECRET_LOOKS.sub(_MASK, value)
    if isinstance(value, dict):
        return {inner: _masked(str(inner), content) for inner, content in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", content) for content in value]
    return value


def configure_logging(level: str = "INFO") -> None:
    """Send everything to standard error, with the ids that a request has bound."""
    on_terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                mask_secrets,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # One line per request is for a proxy to write; here it would cost a tenth of the request.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    # One line for each broken or slow request, which anybody can send.
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
