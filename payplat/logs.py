"""Logging: JSON lines off a terminal, colours on one; the standard library's records go the same way."""

import logging
import sys

import structlog


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
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # One line per request is for a proxy to write; here it would cost a tenth of the request.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    # One line for each broken or slow request, which anybody can send.
    logging.getLogger("tornado.general").setLevel(logging.WARNING)
