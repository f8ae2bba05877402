"""The provider behind Google Play's door: environments, duties, refunds, what was missed, and its options."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from payplat import seam
from payplat.channels.google.door import Google, GoogleSettings
from payplat.channels.google.provider import GoogleProvider
from payplat.checks import difference
from payplat.demo.stage import GOOGLE_PRICES, PACKAGE, PUSH_EMAIL
from payplat.errors import (
    AnotherOrder,
    NotAuthentic,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderUnavailable,
)
from payplat.provider import Account
from payplat.purchase import Evidence, Inbound, Order, Owed, Source, State
from payplat.simulators.google import notices
from payplat.simulators.google.apps import Product
from payplat.simulators.google.purchases import PROMO, Purchase
from payplat.simulators.google.server import GoogleSimulator
from tests.doors.google import an_order, asked, buy, envelope, submitted
from tests.wire.scripted import LOOPBACK

Provide = Callable[..., GoogleProvider]
URL = "https://pay.example.com/v1/callback/google"
NOTHING = Evidence(Source.RECONCILE, b"")

SECRET = "f6b1c09e5d7a48d2b3c4e5a697081f2c"


@pytest.fixture
async def provide(google: GoogleSimulator, our_keys) -> AsyncIterator[Provide]:
    """Make providers of the game in one of the environments, with options as in the configuration."""
    products = {sku: Product(micros, "CNY") for sku, micros in GOOGLE_PRICES.items()}
    google.add_app(
        PACKAGE, products=products, push_url=URL, push_audience=URL, push_email=PUSH_EMAIL
    )
    account = google.service_account(key=our_keys.google)
    google.knobs.turn(tester_window=1e9, acknowledge_window=1e9)
    made: list[GoogleProvider] = []

    def provide(environment: str = "sandbox", **options: Any) -> GoogleProvider:
        wanted = {
            "package_name": PACKAGE, "service_account": json.dumps(account), "push_email": PUSH_EMAIL,
            "account_secret": SECRET, "api": google.api, "certs_url": google.certs_url,
        }  # fmt: skip
        settings = GoogleSettings.model_validate({**wanted, **options})
        made.append(Google.make_provider(settings, Account("google", environment, URL, LOOPBACK)))
        return made[-1]

    yield provide
    for provider in made:
        await provider.aclose()
    await google.stop()


async def sold(
    google: GoogleSimulator, provider: GoogleProvider, order: Order, **terms: Any
) -> Purchase:
    """Buy what the order is for, where nobody hears of it."""
    payment = (await provider.prepare(order)).parameters
    usual = {"test": order.environment == "sandbox", "quantity": order.quantity}
    return await buy(google, dict(payment), **{**usual, **terms})


@pytest.mark.parametrize("environment", ["production", "sandbox"])
async def test_the_other_environments_purchase_pays_no_order(provide, google, environment):
    """A tester's purchase for an order of production, or the reverse, differs in its environment and in nothing else."""
    other = {"production": "sandbox", "sandbox": "production"}[environment]
    order, provider = an_order(environment=environment), provide(environment)
    purchase = await sold(google, provider, order, test=environment == "production")
    verdict = await provider.verify(order, submitted(purchase.purchase_token))
    assert difference(order, verdict) == "environment"
    assert difference(order._replace(environment=other), verdict) == ""


async def test_listed_testers_buy_in_the_sandbox(provide, google):
    """Licence testers who are listed get sandbox orders, which only their purchases pay; everybody else real ones."""
    provider = provide("production", sandbox="testers", testers=["tester-1"])
    for receiver, environment in (("tester-1", "sandbox"), ("player-1", "production")):
        assert provider.environment_of(receiver) == environment
        order = an_order(environment=environment, receiver=receiver)
        purchase = await sold(google, provider, order)
        verdict = await provider.verify(order, submitted(purchase.purchase_token))
        assert (verdict.environment, difference(order, verdict)) == (environment, "")


async def test_a_promotion_code_is_worth_nothing(provide, google):
    """It has no order at Google: paid, without an amount, and Google is not asked for a price."""
    order, provider = an_order(environment="production"), provide("production")
    purchase = await sold(google, provider, order, purchase_type=PROMO)
    verdict = await provider.verify(order, submitted(purchase.purchase_token))
    assert (verdict.state, verdict.amount, difference(order, verdict)) == (State.PAID, None, "")
    assert "nothing was charged" in verdict.note
    assert not asked(google, "orders.get")


async def test_prices_are_asked_for_where_they_are_wanted(provide, google):
    """With prices = false orders are never asked about."""
    order = an_order()
    for prices, amount in ((False, None), (True, 600)):
        provider = provide(prices=prices)
        purchase = await sold(google, provider, order)
        verdict = await provider.verify(order, submitted(purchase.purchase_token))
        assert (verdict.amount, asked(google, "orders.get")) == (amount, int(prices))


async def test_a_purchase_says_what_it_owes(provide, google):
    """Acknowledged at once; what can be bought again is consumed within 48 hours, other goods never."""
    provider = provide()
    for consumable in (True, False):
        order = an_order(consumable=consumable)
        purchase = await sold(google, provider, order)
        verdict = await provider.verify(order, submitted(purchase.purchase_token))
        consume = (Owed("consume", 48 * 3600),) if consumable else ()
        assert verdict.owes == (Owed("acknowledge"), *consume)


async def test_each_player_buys_under_the_own_name_only(provide, google):
    """Another player's name, half a name, or another installation's secret does not fit; no name at all is claimed."""
    order, provider = an_order(), provide()
    other = provide(account_secret=SECRET[::-1])
    ours = (await provider.prepare(order)).parameters["obfuscated_account_id"]
    theirs = (await provider.prepare(order._replace(receiver="player-2"))).parameters
    foreign = (await other.prepare(order)).parameters["obfuscated_account_id"]
    assert len({ours, theirs["obfuscated_account_id"], foreign}) == 3
    for account_id, profile_id, objection, is_claimed in (
        (ours, order.order_no, "", False),
        (theirs["obfuscated_account_id"], order.order_no, "account_id", False),
        (foreign, order.order_no, "account_id", False),
        (ours.upper(), order.order_no, "account_id", False),
        (ours, None, "", True),
        (theirs["obfuscated_account_id"], None, "account_id", True),
        (None, None, "", True),
    ):
        ids = {"obfuscated_account_id": account_id, "obfuscated_profile_id": profile_id}
        purchase = await buy(google, ids)
        verdict = await provider.verify(order, submitted(purchase.purchase_token))
        assert (verdict.objection, verdict.is_claimed) == (objection, is_claimed), account_id
        assert verdict.order_no == order.order_no


async def test_a_purchase_of_another_order_is_told_apart(provide, google):
    """It is refused before anything is settled; what is no token is not authentic."""
    order, provider = an_order(), provide()
    purchase = await sold(google, provider, order)
    with pytest.raises(AnotherOrder):
        await provider.verify(an_order(), submitted(purchase.purchase_token))
    for nonsense in ("../orders/x", "..", "a/b", "é"):
        with pytest.raises(NotAuthentic):
            await provider.verify(order, submitted(nonsense))
    assert asked(google, "productsv2.get") == 1


async def test_an_order_without_a_token_waits_for_its_end(provide):
    """There is nothing to ask about: it waits, and closes after its end."""
    provider, order = provide(), an_order()
    assert (await provider.verify(order, NOTHING)).state is State.PENDING
    over = order._replace(expires_at=seam.now() - 61 * seam.SECOND)
    assert (await provider.verify(over, NOTHING)).state is State.CLOSED
    await provider.close(over)


async def test_duties_are_done_once(provide, google):
    """What Google knows to be done is not told again; a consumed purchase is acknowledged too."""
    order, provider = an_order(), provide()
    token = (await sold(google, provider, order)).purchase_token
    for what, acknowledged, consumed in (
        ("acknowledge", 1, 0),
        ("acknowledge", 1, 0),
        ("consume", 1, 1),
        ("consume", 1, 1),
        ("acknowledge", 1, 1),
    ):
        assert await provider.perform(what, order, token) is None
        told = asked(google, "products.acknowledge"), asked(google, "products.consume")
        assert told == (acknowledged, consumed)
    with pytest.raises(ProviderRefused):
        await provider.perform("bind", order, token)


@pytest.mark.parametrize("what", ["acknowledge", "consume"])
async def test_a_duty_finds_a_refund(provide, google, what):
    """Of a purchase that went back in the meantime Google is told nothing; the refund is what comes of the duty."""
    order, provider = an_order(), provide()
    purchase = await sold(google, provider, order)
    await google.refund(purchase.purchase_token, revoke=False)
    verdict = await provider.perform(what, order, purchase.purchase_token)
    assert verdict is not None
    assert (verdict.state, difference(order, verdict)) == (State.REFUNDED, "")
    assert not asked(google, f"products.{what}")


async def test_a_refund_is_given_once(provide, google):
    """The whole order goes back and is revoked; a repeat finds it done. Without an order there is nothing to give."""
    order, provider = an_order(), provide()
    purchase = await sold(google, provider, order)
    for _ in range(2):
        verdict = await provider.refund(order, purchase.purchase_token, "key")
        assert (verdict.state, difference(order, verdict)) == (State.REFUNDED, "")
    assert asked(google, "orders.refund") == len(purchase.refunds) == 1
    assert purchase.refunds[0].revoke
    order = an_order(environment="production")
    free = await sold(google, provider, order, purchase_type=PROMO)
    with pytest.raises(ProviderRefused):
        await provider.refund(order, free.purchase_token, "key")


async def test_the_missed_are_told_for_each_environment(provide, google):
    """The list does not say who bought: where testers are listed, a refund is looked for in both environments."""
    provider = provide("production", sandbox="testers", testers=["tester-1"])
    purchase = await sold(google, provider, an_order(environment="production"))
    await google.refund(purchase.purchase_token)
    missed = await provider.missed("")
    assert {verdict.environment for verdict in missed.verdicts} == {"production", "sandbox"}
    assert {verdict.state for verdict in missed.verdicts} == {State.REFUNDED}
    assert not asked(google, "productsv2.get")
    only = await provide("production").missed("")
    assert [verdict.environment for verdict in only.verdicts] == ["production"]


async def test_of_a_part_the_purchase_is_asked(provide, google):
    """A row with a quantity leads to the purchase, which says how much is back; one that is forgotten stops nothing."""
    order, provider = an_order(quantity=5), provide()
    purchases = [await sold(google, provider, order) for _ in range(3)]
    for purchase in purchases:
        await google.refund(purchase.purchase_token, quantity=2)
    google.next_answers("purchaseTokenNoLongerValid", path=purchases[0].purchase_token)
    missed = await provider.missed("")
    told = [(v.state, v.order_no, v.refund.returned, v.amount) for v in missed.verdicts if v.refund]
    assert told == [(State.PAID, order.order_no, 2, 3000)] * 2


async def test_rows_that_say_nothing_stop_no_sweep(provide, google):
    """A page with a row of nonsense gives the others."""
    provider = provide()
    purchase = await sold(google, provider, an_order())
    await google.refund(purchase.purchase_token)
    rows = [{"orderId": "GPA.1"}, {"purchaseToken": "../x"}, {"purchaseToken": 7}]
    good = {"purchaseToken": purchase.purchase_token, "voidedReason": "UNACKNOWLEDGED"}
    for wrong in rows:
        google.next_answers(
            "altered", path="/voidedpurchases", alter={"voidedPurchases": [wrong, good]}
        )
        verdicts = (await provider.missed("")).verdicts
        assert purchase.purchase_token in [verdict.transaction_id for verdict in verdicts]


async def test_a_sweep_begins_again_when_a_page_is_refused(provide, google):
    """Google's page tokens do not hold for ever: the reading starts over instead of failing for good."""
    provider = provide()
    purchase = await sold(google, provider, an_order())
    await google.refund(purchase.purchase_token)
    stale = json.dumps({**json.loads((await provider.missed("")).position), "page": "gone"})
    again = await provider.missed(stale)
    assert (list(again.verdicts), again.has_more) == ([], False)
    assert len((await provider.missed(again.position)).verdicts) == 1
    google.next_answers("invalid", path="/voidedpurchases")
    with pytest.raises(ProviderRefused):
        await provider.missed("")


async def heard(provider: GoogleProvider, google: GoogleSimulator, data: bytes, **token: Any):
    """What is read of a push."""
    headers = {"authorization": f"Bearer {google.id_token(**token)}"}
    inbound = Inbound(headers, "", envelope(google, data))
    await provider.load_keys(inbound)
    return provider.read_notification(inbound)


async def test_a_push_is_for_our_address(provide, google):
    """Without a configured audience its token must be made out to where we told Google to push."""
    data = notices.test(PACKAGE, google.clock.now())
    told = await heard(provide(), google, data)
    assert (told.state, told.note, told.transaction_id) == (State.UNKNOWN, "test", None)
    with pytest.raises(NotAuthentic):
        await heard(provide(push_audience="https://elsewhere.example"), google, data)
    named = provide(push_audience="payplat")
    assert (await heard(named, google, data, aud="payplat")).note == "test"


async def test_a_push_tells_what_to_ask_about(provide, google):
    """It names the purchase, and only Google's answer says what that is worth; another app's is not asked about."""
    order, provider = an_order(), provide()
    purchase = await sold(google, provider, order)
    told = await heard(provider, google, notices.one_time(purchase, 1, google.clock.now()))
    assert (told.state, told.order_no, told.states_payment) == (State.UNKNOWN, None, False)
    assert told.transaction_id == purchase.purchase_token
    verdict = await provider.look_into(told)
    assert (verdict.state, verdict.order_no, verdict.amount) == (State.PAID, order.order_no, 600)
    assert verdict.evidence.raw == told.evidence.raw
    purchase.package = "com.example.other"
    told = await heard(provider, google, notices.one_time(purchase, 1, google.clock.now()))
    assert await provider.look_into(told) is told
    assert (told.transaction_id, told.note) == (None, "purchased of another package")


async def test_a_probe_touches_nothing(provide, google):
    """Asking for what does not exist shows that account and network are right; what is wrong is told as such."""
    assert PACKAGE in await provide().probe()
    with pytest.raises(ProviderUnavailable):
        await provide(api="http://127.0.0.1:1", timeout_seconds=1).probe()
    with pytest.raises(ProviderMisconfigured):
        await provide(package_name="com.example.unknown").probe()
    google.service_account()
    with pytest.raises(ProviderMisconfigured):
        await provide().probe()
    google.accounts.by_email.clear()
    with pytest.raises(ProviderMisconfigured):
        await provide().probe()


@pytest.mark.parametrize(
    "options",
    [
        {"sandbox": "testers"},
        {"testers": ["x"]},
        {"account_secret": "short"},
        {"account_secret": "changeme" * 4},
        {"package_name": "../game"},
        {"push_email": "nobody"},
        {"push_subscription": "play"},
        {"service_account": "{}"},
        {"timeout_seconds": 0},
        {"sweep_seconds": 0},
        {"unknown": 1},
    ],
)
async def test_options_that_cannot_be_are_refused(provide, options):
    """A fault in the configuration stops the start, and not the first payment."""
    with pytest.raises(ValueError, match=next(iter(options)).replace("_", ".")):
        provide(**options)


async def test_production_takes_googles_own_hosts_only(provide, google, our_keys):
    """What a laptop needs is told by name."""
    account = json.dumps(google.service_account(key=our_keys.google))
    settings = GoogleSettings(
        package_name=PACKAGE, service_account=account, push_email=PUSH_EMAIL,
        account_secret=SECRET, api=google.api, certs_url=google.certs_url,
    )  # fmt: skip
    assert [key for key, _ in settings.unsafe()] == ["api", "certs_url", "service_account"]
