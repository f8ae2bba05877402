"""The factory: the URL's channel segment chooses the class, its step and its provider."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application

from payplat.handlers.pay import AbstractPay
from payplat.provider import Provider
from payplat.settings import ChannelSettings

STEPS = {"callback": "respond_callback", "verify": "verify_order"}
_PATH = re.compile(r"/v1/(callback|verify)/([a-z][a-z0-9_]*)/?")


@dataclass(frozen=True)
class Channel:
    """An open channel: its name in the URL, its door, its provider, its settings."""

    name: str
    door: type[AbstractPay]
    provider: Provider
    settings: ChannelSettings


class ChannelFactory(Router):
    """Routes ``/v1/callback/<channel>`` and ``/v1/verify/<channel>``; says "not me" for a channel that is not open."""

    def __init__(
        self,
        application: Application,
        channels: Mapping[str, Channel],
        collaborators: Mapping[str, Any],
    ) -> None:
        self._application, self._channels = application, channels
        self._collaborators = collaborators

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> HTTPMessageDelegate | None:
        """Return the channel's door with its provider and step, or None."""
        match = _PATH.fullmatch(request.path)
        channel = self._channels.get(match[2]) if match else None
        if match is None or channel is None:
            return None
        chosen = {"channel": channel.name, "provider": channel.provider, "step": STEPS[match[1]]}
        given = {**self._collaborators, **chosen}
        return self._application.get_handler_delegate(request, channel.door, given)
