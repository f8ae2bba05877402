"""The bare server: Tornado at its plainest, which answers ``success`` to everything and knows nothing."""

import argparse
import asyncio

from tornado.web import Application, RequestHandler

from benchmarks.fixed import PATH


class Bare(RequestHandler):
    """Says ``success``."""

    def post(self) -> None:
        """Answer without a look at the body, which Tornado has parsed."""
        self.write("success")


async def serve(port: int) -> None:
    """Listen until the process is ended."""
    Application([(PATH, Bare)], log_function=lambda _: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
