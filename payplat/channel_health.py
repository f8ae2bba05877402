"""How well each channel is: its signs of life, its open work, what of its configuration expires, and a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from payplat import seam
from payplat.backlog import CHANNELS
from payplat.circuit import Phase
from payplat.credentials import Credential
from payplat.database import Database
from payplat.explanation import Language
from payplat.provider import Provider
from payplat.signs import Seen, Sign, read_signs

# How long before its end a certificate is warned of, how long a failure counts, how long work may be late, and so many
# payments that nobody was told of are no accident.
SOON = 30 * 86400 * seam.SECOND
_RECENT = 3600 * seam.SECOND
_LATE_SECONDS = 900
_MANY = 5


class Level(StrEnum):
    """How bad something is; the worst comes last."""

    OK = "ok"
    WARNING = "warning"
    TROUBLE = "trouble"


# What is told, in each language, in the order of Language, and how bad it is.
_REASONS = {
    "invalid": (
        Level.TROUBLE,
        "{name} is valid only from {begin} to {at}: get a new one.",
        "{name} 当前无效（有效期自 {begin} 至 {at}），请更换。",
    ),
    "expires": (
        Level.WARNING,
        "{name} expires at {at}: get a new one in time.",
        "{name} 将于 {at} 到期，请及时更换。",
    ),
    "misconfigured": (
        Level.TROUBLE,
        "The provider does not accept our account since {at}: {detail}",
        "渠道自 {at} 起不接受我方账号：{detail}",
    ),
    "exhausted": (
        Level.TROUBLE,
        "{count} duties towards the provider were given up; try them again.",
        "有 {count} 项对渠道的义务已放弃，请重试。",
    ),
    "circuit": (
        Level.TROUBLE,
        "{name} has not answered many times running; this process leaves it alone for some seconds.",
        "{name} 连续多次无响应，本进程暂停向其请求数秒。",
    ),
    "query_failed": (
        Level.WARNING,
        "The provider could not be asked, last at {at}: {detail}",
        "无法查询渠道，最近一次在 {at}：{detail}",
    ),
    "forged": (
        Level.WARNING,
        "What came last, at {at}, was not signed by the provider: somebody tries, or its key has changed.",
        "最近一次收到的消息（{at}）并非渠道签名：有人伪造，或渠道密钥已更换。",
    ),
    "deaf": (
        Level.WARNING,
        "{count} payments were verified by asking, and no notification has ever come: check the address at the provider.",
        "已通过查询确认 {count} 次，却从未收到渠道通知：请检查渠道处的通知地址。",
    ),
    "duties_late": (
        Level.WARNING,
        "A duty has been due for {seconds} s: no worker runs, or it cannot keep up.",
        "有义务已逾期 {seconds} 秒：没有运行 worker，或处理不过来。",
    ),
    "checks_late": (
        Level.WARNING,
        "A check has been due for {seconds} s: no worker runs, or it cannot keep up.",
        "有查询已逾期 {seconds} 秒：没有运行 worker，或处理不过来。",
    ),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is not well, by its name, with what its sentence speaks of."""

    name: str
    about: Mapping[str, Any]

    @property
    def level(self) -> Level:
        """How bad it is."""
        return _REASONS[self.name][0]

    def told(self, language: Language) -> str:
        """Return it as a sentence in that language."""
        return _REASONS[self.name][1 + list(Language).index(language)].format(**self.about)


@dataclass(frozen=True, slots=True)
class Work:
    """What is open: numbers (10000 stands for more), and for how many seconds the longest due one is late."""

    duties_waiting: int
    duties_late_seconds: int
    duties_exhausted: int
    checks_waiting: int
    checks_late_seconds: int
    orders_held: int


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """How well a channel is. ``circuits_here`` are those of this process, by counterpart; the rest is everybody's."""

    channel: str
    kind: str
    environment: str
    signs: Mapping[str, Seen]
    work: Work
    credentials: Sequence[Credential]
    circuits_here: Sequence[tuple[str, Phase]]
    reasons: Sequence[Reason] = ()

    @property
    def verdict(self) -> Level:
        """The worst of the reasons."""
        return max(
            (reason.level for reason in self.reasons), key=list(Level).index, default=Level.OK
        )

    def seen(self, sign: Sign) -> Seen:
        """Return what was seen of that sign; one that never came has no count and no time."""
        return self.signs.get(sign.value, Seen())


class Health:
    """Looks at the channels of one installation."""

    def __init__(self, database: Database, providers: Mapping[str, Provider]) -> None:
        self._database, self._providers = database, providers

    async def look(self) -> list[ChannelHealth]:
        """Return how well each channel is; raises DatabaseUnavailable."""
        signs = await read_signs(self._database)
        return [
            await self._look(name, provider, signs.get(name, {}))
            for name, provider in self._providers.items()
        ]

    async def _look(
        self, name: str, provider: Provider, signs: Mapping[str, Seen]
    ) -> ChannelHealth:
        health = ChannelHealth(
            channel=name,
            kind=provider.kind,
            environment=provider.environment,
            signs=signs,
            work=await self._database.read(lambda c: _work(c, name)),
            credentials=provider.credentials,
            circuits_here=[(circuit.counterpart, circuit.phase) for circuit in provider.circuits],
        )
        return replace(health, reasons=list(judge(health)))


async def _work(connection: AsyncConnection, channel: str) -> Work:
    found = {}
    now = seam.now()
    for kind in CHANNELS:
        rows = await connection.execute(kind.statement, {"in_lane": channel})
        count, since = rows.one()
        late = max(0, now - since) // seam.SECOND if since is not None else 0
        found[kind.queue.table.name, kind.status] = count, late
    return Work(
        *found["duties", "due"],
        found["duties", "exhausted"][0],
        *found["orders", "pending"],
        found["orders", "held"][0],
    )


def judge(health: ChannelHealth) -> Iterator[Reason]:
    """Yield what is not well, the worst first."""
    found = [
        *about_credentials(health.credentials),
        *_about_answers(health),
        *_about_notices(health),
        *_about_work(health.work),
    ]
    yield from sorted(found, key=lambda reason: -list(Level).index(reason.level))


def about_credentials(credentials: Sequence[Credential]) -> Iterator[Reason]:
    """Yield which are not valid now, or will soon not be."""
    for credential in credentials:
        begin, at = seam.rfc3339(credential.not_before), seam.rfc3339(credential.not_after)
        about = {"name": credential.name, "begin": begin, "at": at}
        if credential.fault:
            yield Reason("invalid", about)
        elif seam.now() > credential.not_after - SOON:
            yield Reason("expires", about)


def _about_answers(health: ChannelHealth) -> Iterator[Reason]:
    """A failure counts until the provider has answered well, and for an hour where nobody asks again."""
    verified = health.seen(Sign.VERIFIED)
    for name, phase in health.circuits_here:
        if phase is not Phase.CLOSED:
            yield Reason("circuit", {"name": name})
    refused, failed = health.seen(Sign.MISCONFIGURED), health.seen(Sign.QUERY_FAILED)
    if refused.last_at > verified.last_at:
        yield Reason("misconfigured", _last(refused))
    if failed.last_at > max(verified.last_at, seam.now() - _RECENT):
        yield Reason("query_failed", _last(failed))


def _about_notices(health: ChannelHealth) -> Iterator[Reason]:
    callback, forged = health.seen(Sign.CALLBACK), health.seen(Sign.FORGED)
    if forged.last_at > max(callback.last_at, seam.now() - _RECENT):
        yield Reason("forged", _last(forged))
    verified = health.seen(Sign.VERIFIED)
    if not callback.count and verified.count >= _MANY:
        yield Reason("deaf", {"count": verified.count})


def _about_work(work: Work) -> Iterator[Reason]:
    if work.duties_exhausted:
        yield Reason("exhausted", {"count": work.duties_exhausted})
    if work.duties_late_seconds > _LATE_SECONDS:
        yield Reason("duties_late", {"seconds": work.duties_late_seconds})
    if work.checks_late_seconds > _LATE_SECONDS:
        yield Reason("checks_late", {"seconds": work.checks_late_seconds})


def _last(seen: Seen) -> dict[str, Any]:
    return {"at": seam.rfc3339(seen.last_at), "detail": seen.detail}


def as_answer(health: ChannelHealth) -> dict[str, Any]:
    """Return it for programs: times in RFC 3339 (UTC), null where there is none; reasons by language."""
    return {
        "channel": health.channel,
        "kind": health.kind,
        "environment": health.environment,
        "verdict": health.verdict,
        "reasons": {
            language.value: [reason.told(language) for reason in health.reasons]
            for language in Language
        },
        "signs": {sign.value: _told(health.seen(sign)) for sign in Sign},
        "work": asdict(health.work),
        "credentials": [
            {
                "name": c.name,
                **{n: seam.rfc3339(getattr(c, n)) for n in ("not_before", "not_after")},
            }
            for c in health.credentials
        ],
        "circuits_of_this_process": [
            {"counterpart": name, "state": phase} for name, phase in health.circuits_here
        ],
    }


def _told(seen: Seen) -> dict[str, Any]:
    last_at = seam.rfc3339(seen.last_at) if seen.count else None
    return {"count": seen.count, "last_at": last_at, "detail": seen.detail}
