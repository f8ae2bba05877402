"""A counterpart that does not answer is left alone for a while, over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from payplat import circuit as circuits
from payplat import seam
from payplat.circuit import FAILURES, Circuit, Phase
from payplat.errors import NoAnswer
from payplat.outbound import Counterpart
from payplat.retry import Backoff
from tests.wire.scripted import LOOPBACK, Reply, Scripted, scripted

FAILED, FINE, SILENT = Reply(503), Reply(200), Reply(silent=True)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """The provider."""
    async with scripted() as server:
        yield server


@pytest.fixture
def circuit(monkeypatch) -> Circuit:
    """A circuit that opens for a tenth of a second at first."""
    monkeypatch.setattr(circuits, "_OPEN", Backoff(base=0.1, factor=20, cap=2, jitter=0.5))
    return Circuit("patient")


@pytest.fixture
async def counterpart(circuit) -> AsyncIterator[Counterpart]:
    """Our side."""
    counterpart = Counterpart("patient", timeout=5, opened=LOOPBACK, circuit=circuit)
    yield counterpart
    counterpart.close()


def told() -> float | None:
    """How many circuits are open, as Prometheus is told."""
    return REGISTRY.get_sample_value("payplat_circuit_open", {"counterpart": "patient"})


async def ask(counterpart: Counterpart, server: Scripted, times: int = 1) -> list[int]:
    """Ask so often; return the statuses of the answers, 0 for none."""
    statuses = []
    for _ in range(times):
        try:
            statuses.append((await counterpart.request("GET", server.url)).status)
        except NoAnswer:
            statuses.append(0)
    return statuses


async def until_tried(circuit: Circuit) -> None:
    """Wait until a trial may go out."""
    while circuit.phase is not Phase.TRIAL:
        await asyncio.sleep(0.01)


async def opened(counterpart: Counterpart, server: Scripted) -> None:
    """Fail so often that the circuit opens."""
    server.replies = [FAILED]
    assert await ask(counterpart, server, FAILURES) == [503] * FAILURES


async def test_it_opens_and_fails_fast(server, counterpart, circuit):
    """After so many failures running nobody is called any more, and the error is that of an unreachable provider."""
    server.replies = [FAILED]
    await ask(counterpart, server, FAILURES - 1)
    assert (circuit.phase, told()) == (Phase.CLOSED, 0)
    await ask(counterpart, server)
    assert (circuit.phase, told()) == (Phase.OPEN, 1)
    with pytest.raises(NoAnswer, match="not asked"):
        await counterpart.request("GET", server.url)
    assert len(server.requests) == FAILURES


async def test_an_answer_between_failures_keeps_it_closed(server, counterpart, circuit):
    """Only failures running count: one order that always fails cannot stop the others."""
    for _ in range(3):
        server.replies = [FAILED] * (FAILURES - 1) + [Reply(404)]
        assert 0 not in await ask(counterpart, server, FAILURES)
    assert circuit.phase is Phase.CLOSED


async def test_a_closed_port_opens_it_too(counterpart, circuit):
    """Whoever cannot be reached has not answered."""
    async with scripted() as gone:
        pass
    assert await ask(counterpart, gone, FAILURES) == [0] * FAILURES
    assert circuit.phase is Phase.OPEN


async def test_a_trial_heals(server, counterpart, circuit):
    """When its time is over one call goes out, and its answer lets all the others out again."""
    await opened(counterpart, server)
    server.replies = [FINE]
    await until_tried(circuit)
    assert await ask(counterpart, server, 3) == [200] * 3
    assert (circuit.phase, told()) == (Phase.CLOSED, 0)
    server.replies = [FAILED]
    assert 0 not in await ask(counterpart, server, FAILURES)  # it counts from nothing again


async def test_only_one_goes_out_on_trial(server, counterpart, circuit):
    """While the trial is on its way the others still fail at once."""
    await opened(counterpart, server)
    server.replies = [SILENT]
    await until_tried(circuit)
    trial = asyncio.create_task(counterpart.request("GET", server.url))
    while not server.open:
        await asyncio.sleep(0.01)
    assert await ask(counterpart, server, 3) == [0] * 3
    server.ended.set()
    assert (await trial).status == 200
    assert len(server.requests) == FAILURES + 1


async def test_a_trial_that_fails_opens_it_for_longer(server, counterpart, circuit):
    """The time grows with each failed trial, so that a provider that stays down is hardly asked."""
    await opened(counterpart, server)
    await until_tried(circuit)
    started = asyncio.get_running_loop().time()
    assert await ask(counterpart, server) == [503]
    assert (circuit.phase, told()) == (Phase.OPEN, 1)
    await until_tried(circuit)
    assert asyncio.get_running_loop().time() - started >= 0.9  # 2 s less the jitter, against 0.1 s


async def test_a_trial_that_is_given_up_decides_nothing(server, counterpart, circuit):
    """Its caller went away: the next call is the trial."""
    await opened(counterpart, server)
    server.replies = [SILENT]
    await until_tried(circuit)
    trial = asyncio.create_task(counterpart.request("GET", server.url))
    while not server.open:
        await asyncio.sleep(0.01)
    trial.cancel()
    await asyncio.wait([trial])
    server.replies = [FINE]
    assert await ask(counterpart, server) == [200]
    server.ended.set()


async def test_the_time_is_drawn_by_chance(server, counterpart, circuit, monkeypatch):
    """Processes that opened together do not come back together: the draw is the seam's."""
    drawn = []

    class World(seam.World):
        def uniform(self) -> float:
            drawn.append(0.5)
            return 0.5

    monkeypatch.setattr(seam, "world", World())
    await opened(counterpart, server)
    assert drawn


async def test_who_is_closed_counts_as_open_no_more(server, circuit):
    """A counterpart that a new configuration replaced leaves no open circuit behind."""
    counterpart = Counterpart("patient", timeout=5, opened=LOOPBACK, circuit=circuit)
    await opened(counterpart, server)
    counterpart.close()
    assert told() == 0
