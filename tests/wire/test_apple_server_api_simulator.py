"""The client of the App Store Server API in front of the simulated App Store: every endpoint, every misfortune."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payplat import seam
from payplat.channels.apple import server_api
from payplat.channels.apple.server_api import ServerApi
from payplat.errors import ProviderMisconfigured, ProviderRefused, ProviderUnavailable
from payplat.simulators.apple.server import AppleSimulator
from tests.wire.scripted import LOOPBACK, Reply, Scripted, scripted

BUNDLE, PRODUCT = "com.example.game", "coins_500"
ISSUER, KEY_ID = "57246542-96fe-1a63-e053-0824d011072a", "2X9R4HXF34"
TOKEN = "7e3fb20b-4cdb-47cc-936d-99d65f608138"
DAY = 86_400_000
CONSUMPTION = {
    "customerConsented": True,
    "sampleContentProvided": False,
    "deliveryStatus": "DELIVERED",
    "consumptionPercentage": 50_000,
}
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """Where the App Store sends the game's notifications."""
    async with scripted() as server:
        yield server


@pytest.fixture
async def store(server) -> AsyncIterator[AppleSimulator]:
    """An App Store that knows the game."""
    store = AppleSimulator()
    await store.start()
    store.add_app(
        BUNDLE,
        app_apple_id=1234567890,
        issuer_id=ISSUER,
        key_id=KEY_ID,
        public_key_pem=PUBLIC,
        notification_urls={"Sandbox": server.url, "Production": server.url},
    )
    yield store
    await store.stop()


@pytest.fixture(autouse=True)
def world(store, monkeypatch) -> seam.World:
    """A world with the store's clock, in which nobody waits."""

    class StoresWorld(seam.World):
        def now(self) -> int:
            return int(store.clock.now() * seam.SECOND)

        async def sleep(self, seconds: float) -> None:
            return

    world = StoresWorld()
    monkeypatch.setattr(seam, "world", world)
    return world


@pytest.fixture
async def connect(store) -> AsyncIterator[Callable[..., ServerApi]]:
    """Make clients of the game."""
    made: list[ServerApi] = []

    def connect(environment: str = "Production", **changes: Any) -> ServerApi:
        options: dict[str, Any] = {
            "base_url": store.api(environment),
            "issuer_id": ISSUER,
            "key_id": KEY_ID,
            "private_key": KEY,
            "bundle_id": BUNDLE,
            "timeout": 5,
            "opened": LOOPBACK,
        }
        made.append(ServerApi(**{**options, **changes}))
        return made[-1]

    yield connect
    for api in made:
        api.close()


@pytest.fixture
def api(connect) -> ServerApi:
    """A client in production."""
    return connect()


async def bought(store: AppleSimulator, **changes: Any) -> str:
    """The id of a purchase that nobody was told of."""
    options = {"environment": "Production", "notify": False, **changes}
    return (await store.buy(BUNDLE, PRODUCT, **options)).transaction_id


def payload(token: str) -> dict[str, Any]:
    """What a signed text says; whether it is genuine is not the client's affair."""
    return jwt.decode(token, options={"verify_signature": False})


def ids(tokens: list[str]) -> list[str]:
    """The transactions, by id."""
    return [payload(token)["transactionId"] for token in tokens]


async def test_a_transaction_is_told_as_it_is_now(api, store):
    """A refund shows in the next answer."""
    number = await bought(store)
    assert payload(await api.transaction(number))["transactionId"] == number
    assert "revocationDate" not in payload(await api.transaction(number))
    await store.refund(number, notify=False)
    assert "revocationDate" in payload(await api.transaction(number))


async def test_a_history_is_read_page_by_page(api, store):
    """Each transaction once, and later only what is new."""
    numbers = [await bought(store) for _ in range(45)]
    read, revision, pages = [], None, 0
    while True:
        page = await api.transaction_history(
            numbers[7], revision=revision, productType="CONSUMABLE"
        )
        read, revision, pages = read + ids(page.signed_transactions), page.revision, pages + 1
        if not page.has_more:
            break
    assert (read, pages) == (numbers, 3)
    assert not (await api.transaction_history(numbers[0], revision=revision)).signed_transactions
    await store.refund(numbers[3], notify=False)
    page = await api.transaction_history(numbers[0], revision=revision)
    assert ids(page.signed_transactions) == [numbers[3]]


async def test_a_history_is_filtered(api, store):
    """Apple understands how we write truth."""
    kept, refunded = await bought(store), await bought(store)
    await store.refund(refunded, notify=False)
    for revoked, expected in ((True, [refunded]), (False, [kept])):
        page = await api.transaction_history(kept, revoked=revoked, productId=[PRODUCT, "other"])
        assert ids(page.signed_transactions) == expected
    with pytest.raises(ProviderRefused) as refused:
        await api.transaction_history(kept, productType="MAGIC")
    assert refused.value.code == "4000022"


async def test_refunds_are_read_page_by_page(api, store):
    """And a customer without any has an empty page."""
    numbers = [await bought(store) for _ in range(23)]
    assert (await api.refund_history(numbers[0])).signed_transactions == []
    for number in numbers[:21]:
        await store.refund(number, notify=False)
    first = await api.refund_history(numbers[22])
    second = await api.refund_history(numbers[22], revision=first.revision)
    assert (first.has_more, second.has_more) == (True, False)
    assert ids(first.signed_transactions + second.signed_transactions) == numbers[:21]


@pytest.mark.parametrize(("only_failures", "sizes"), [(True, [20, 3]), (False, [20, 4])])
async def test_what_was_not_delivered_can_be_fetched(api, store, server, only_failures, sizes):
    """Page by page, with or without what reached us."""
    server.replies = [Reply(200), Reply(500)]
    for _ in range(24):
        await bought(store, notify=True)
    now, token, read, pages = store.milliseconds, None, [], []
    for _ in sizes:
        page = await api.notification_history(
            now - DAY, now + DAY, only_failures=only_failures, pagination_token=token
        )
        token = page.pagination_token
        pages.append((len(page.signed_payloads), page.has_more))
        read += [payload(signed)["notificationUUID"] for signed in page.signed_payloads]
    assert pages == [(sizes[0], True), (sizes[1], False)]
    assert len(set(read)) == sum(sizes)
    assert token is None


async def test_a_time_without_beginning_is_refused(api, store):
    """Apple keeps notifications for 180 days."""
    now = store.milliseconds
    with pytest.raises(ProviderRefused) as refused:
        await api.notification_history(now - 181 * DAY, now, only_failures=True)
    assert refused.value.code == "4000012"


@pytest.mark.parametrize(
    ("status", "result"), [(200, "SUCCESS"), (500, "UNSUCCESSFUL_HTTP_RESPONSE_CODE")]
)
@pytest.mark.parametrize("environment", ["Production", "Sandbox"])
async def test_a_test_notification_tells_whether_it_arrived(
    connect, store, server, environment, status, result
):
    """Asked for, sent, and asked about, until there is news."""
    api = connect(environment)
    server.replies = [Reply(status)]
    token = await api.request_test_notification()
    await store.tests[token].tried.wait()
    test = await api.test_notification(token)
    assert payload(test.signed_payload)["notificationType"] == "TEST"
    (attempt,) = test.attempts
    assert attempt.result == result
    assert abs(attempt.date_ms - store.milliseconds) < 60_000


async def test_a_test_without_news_is_refused_for_now(api, store):
    """The caller asks later."""
    with pytest.raises(ProviderRefused) as refused:
        await api.test_notification(f"{TOKEN}_1795349760000")
    assert refused.value.code == "4040008"
    store.apps[BUNDLE].notification_urls.clear()
    with pytest.raises(ProviderRefused) as refused:
        await api.request_test_notification()
    assert refused.value.code == "4040007"


async def test_consumption_is_told(api, store):
    """Once, as it was given."""
    number = await bought(store)
    await api.send_consumption(number, CONSUMPTION)
    assert store.purchase(number).consumption == [CONSUMPTION]
    with pytest.raises(ProviderRefused) as refused:
        await api.send_consumption(number, {**CONSUMPTION, "deliveryStatus": "LOST"})
    assert refused.value.code == "4000036"


async def test_a_purchase_is_bound_to_an_account(api, store):
    """Its next answer carries the token."""
    number = await bought(store)
    await api.set_app_account_token(number, TOKEN)
    assert payload(await api.transaction(number))["appAccountToken"] == TOKEN
    with pytest.raises(ProviderRefused) as refused:
        await api.set_app_account_token(number, "order-1")
    assert refused.value.code == "4000183"


async def failed(api: ServerApi, _number: str) -> server_api.NotificationPage:
    """What did not arrive within a day."""
    now = seam.now() // 1000
    return await api.notification_history(now - DAY, now, only_failures=True)


CALLS: dict[str, Callable[[ServerApi, str], Any]] = {
    "transaction": lambda api, number: api.transaction(number),
    "history": lambda api, number: api.transaction_history(number),
    "refunds": lambda api, number: api.refund_history(number),
    "notifications": failed,
    "request": lambda api, _number: api.request_test_notification(),
    "test": lambda api, _number: api.test_notification(f"{TOKEN}_1"),
    "consumption": lambda api, number: api.send_consumption(number, CONSUMPTION),
    "account": lambda api, number: api.set_app_account_token(number, TOKEN),
}
each_call = pytest.mark.parametrize("name", CALLS)
OF_TRANSACTIONS = ["transaction", "history", "refunds", "consumption", "account"]
UNAVAILABLE = ["500", "500_retryable", "503", "429", "retryable_404", "cut", "redirect", "timeout"]


@pytest.mark.parametrize("name", OF_TRANSACTIONS)
async def test_an_id_that_exists_nowhere_is_refused(api, store, connect, name):
    """Neither an unknown one nor one of the other environment is told from the other."""
    there = await bought(store, environment="Sandbox")
    for number in (there, "999"):
        with pytest.raises(ProviderRefused) as refused:
            await CALLS[name](api, number)
        assert refused.value.code == ("4040005" if name == "account" else "4040010")
    await CALLS[name](connect("Sandbox"), there)


@pytest.mark.parametrize("kind", UNAVAILABLE)
@each_call
async def test_every_misfortune_is_no_answer(connect, store, name, kind):
    """Whatever comes in an answer's place, nothing is known, and nothing was done."""
    number = await bought(store)
    api = connect(timeout=0.4 if kind == "timeout" else 5)
    store.next_answers(kind, kind, kind)
    with pytest.raises(ProviderUnavailable) as told:
        await CALLS[name](api, number)
    assert (told.value.retry_at is None) == (kind != "429")
    assert store.purchase(number).consumption == []
    assert "appAccountToken" not in store.purchase(number).fields


@pytest.mark.parametrize("kind", ["html", "empty", "truncated", "no_fields"])
@pytest.mark.parametrize("name", ["transaction", "history", "refunds", "notifications", "request"])
async def test_a_spoiled_answer_is_none(api, store, name, kind):
    """It is not asked for again at once: the same would come."""
    number = await bought(store)
    store.next_answers(kind)
    with pytest.raises(ProviderUnavailable):
        await CALLS[name](api, number)
    assert len(store.received) == 1


@pytest.mark.parametrize("kind", ["500", "500_retryable", "503", "cut"])
async def test_a_question_survives_two_misfortunes(store, connect, kind):
    """And not a third. (A client that has a connection already is given one more try by libcurl when it is cut.)"""
    number = await bought(store)
    store.next_answers(kind, kind)
    assert ids([await connect().transaction(number)]) == [number]
    store.next_answers(kind, kind, kind)
    with pytest.raises(ProviderUnavailable):
        await connect().transaction(number)
    assert len(store.received) == 6


async def test_a_rate_limit_tells_its_end(api, store):
    """Apple writes the moment itself, in milliseconds."""
    number = await bought(store)
    store.knobs.turn(retry_after=90.0)
    store.next_answers("429")
    with pytest.raises(ProviderUnavailable) as told:
        await api.transaction(number)
    assert abs((told.value.retry_at or 0) - seam.now() - 90 * seam.SECOND) < 20 * seam.SECOND
    assert len(store.received) == 1


@each_call
async def test_an_app_that_apple_does_not_accept_is_misconfigured(api, store, connect, name):
    """A key of somebody else, another key id, issuer or bundle, or an app that is not released yet."""
    number = await bought(store)
    stranger = ec.generate_private_key(ec.SECP256R1())
    for change in (
        {"private_key": stranger},
        {"key_id": "AAAAAAAAAA"},
        {"issuer_id": TOKEN},
        {"bundle_id": "com.example.other"},
    ):
        with pytest.raises(ProviderMisconfigured):
            await CALLS[name](connect(**change), number)
    store.apps[BUNDLE].released = False
    with pytest.raises(ProviderMisconfigured):
        await CALLS[name](api, number)


async def test_a_client_outlives_its_tokens(api, store):
    """Hour by hour, and minute by minute around a token's end, Apple accepts what it sends."""
    number = await bought(store)
    for minutes in (0, 14, 2, 4, 16, 19, 21, 60, 1):
        await store.advance(minutes * 60)
        await api.transaction(number)
    assert [note.status for note in store.received] == [200] * 9


async def test_a_clock_that_went_wrong_is_named(api, store, world, monkeypatch):
    """Apple's time is in the message; once ours is right again, so is the next token."""
    number, right = await bought(store), world.now
    monkeypatch.setattr(world, "now", lambda: right() - 3600 * seam.SECOND)
    with pytest.raises(ProviderMisconfigured, match=r"its time is '.* GMT'"):
        await api.transaction(number)
    monkeypatch.setattr(world, "now", right)
    await api.transaction(number)


async def test_many_calls_share_one_client(api, store):
    """More than it has connections, all answered."""
    numbers = [await bought(store) for _ in range(60)]
    answers = await asyncio.gather(*(api.transaction(number) for number in numbers))
    assert ids(answers) == numbers


async def test_a_full_page_of_notifications_fits(api, store, server):
    """Twenty at a time, each with its certificates and its transaction's, are far below the bound."""
    server.replies = [Reply(500)]
    for _ in range(20):
        await bought(store, notify=True)
    now = store.milliseconds
    page = await api.notification_history(now - DAY, now + DAY, only_failures=True)
    size = sum(map(len, page.signed_payloads))
    assert len(page.signed_payloads) == 20
    assert 64 * 1024 < size < server_api.MAX_ANSWER / 2
