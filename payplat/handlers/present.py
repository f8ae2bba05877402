"""The router of the moment: connections stay open while platforms come and go."""

from typing import Any

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router


class PresentRouter(Router):
    """Asks ``router`` for each request when its headers have come.

    Tornado asks a server's own callback before that, as soon as a connection is idle: the next request on it would go to
    a platform that may have closed by then.
    """

    def __init__(self, router: Router) -> None:
        self.router = router

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Return who answers this request."""
        return self.router.find_handler(request, **kwargs)
