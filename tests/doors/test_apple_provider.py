"""The provider behind Apple's door, against both of Apple's environments: when Apple is asked, and whom it believes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payplat import seam
from payplat.channels.apple.door import Apple, AppleSettings
from payplat.channels.apple.provider import AppleProvider
from payplat.checks import difference
from payplat.demo.stage import APP_APPLE_ID, BUNDLE_ID, ISSUER_ID, KEY_ID
from payplat.errors import NotAuthentic, ProviderMisconfigured, ProviderRefused, ProviderUnavailable
from payplat.provider import Account
from payplat.purchase import Evidence, Inbound, Order, Source, State, Status, Verdict
from payplat.simulators.apple.books import Purchase
from payplat.simulators.apple.forgeries import FORGERIES
from payplat.simulators.apple.server import AppleSimulator
from tests.doors.apple import SKU, an_order, asked, notice
from tests.wire.scripted import LOOPBACK

Provide = Callable[..., AppleProvider]


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A key as Apple hands it out."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return key.private_bytes(*form, serialization.NoEncryption()).decode()


@pytest.fixture
async def provide(apple: AppleSimulator) -> AsyncIterator[Provide]:
    """Make providers of the game in one of the environments, with options as in the configuration."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    apple.add_app(
        BUNDLE_ID, app_apple_id=APP_APPLE_ID, issuer_id=ISSUER_ID, key_id=KEY_ID,
        public_key_pem=public.decode(), prices={SKU: (6000, "CNY")},
    )  # fmt: skip
    made: list[AppleProvider] = []

    def provide(environment: str = "sandbox", **options: Any) -> AppleProvider:
        apis = {name: apple.api(name.capitalize()) for name in ("production", "sandbox")}
        wanted = {
            "bundle_id": BUNDLE_ID, "app_apple_id": APP_APPLE_ID, "issuer_id": ISSUER_ID,
            "key_id": KEY_ID, "private_key": pem(key), "roots": apple.root_pem, "api": apis,
        }  # fmt: skip
        settings = AppleSettings.model_validate({**wanted, **options})
        made.append(Apple.make_provider(settings, Account("apple", environment, "", LOOPBACK)))
        return made[-1]

    yield provide
    for provider in made:
        await provider.aclose()
    await apple.stop()


async def buy(apple: AppleSimulator, order: Order, **options: Any) -> Purchase:
    """Buy what the order is for."""
    wanted = {"app_account_token": order.order_no, "environment": order.environment.capitalize()}
    return await apple.buy(BUNDLE_ID, SKU, **{**wanted, "notify": False, **options})


def submitted(text: str) -> Evidence:
    """What a client sends."""
    return Evidence(Source.VERIFY, text.encode())


def aged(apple: AppleSimulator, purchase: Purchase, seconds: int) -> Evidence:
    """A device's copy that Apple signed so long ago."""
    return submitted(apple.sign(purchase.fields, signedDate=apple.milliseconds - seconds * 1000))


async def test_the_policy_says_when_apple_is_asked(provide, apple):
    """Always, only about an older copy, or never; about what nobody's order is named in, always."""
    order = an_order()
    purchase = await buy(apple, order)
    unnamed = await buy(apple, order, app_account_token=None)
    for ask, fresh, stale in (("always", 1, 1), ("when_stale", 0, 1), ("never", 0, 0)):
        provider = provide(ask=ask)
        for age, questions in ((0, fresh), (290, fresh), (310, stale)):
            before = asked(apple)
            verdict = await provider.verify(order, aged(apple, purchase, age))
            assert (ask, age, asked(apple) - before) == (ask, age, questions)
            assert verdict.verifier.startswith("query:x5c:" if questions else "x5c:")
            assert bool(verdict.evidence.answer) == bool(questions)
        before = asked(apple)
        verdict = await provider.verify(order, aged(apple, unnamed, 0))
        assert (asked(apple) - before, verdict.order_no) == (1, order.order_no)
        assert (verdict.is_claimed, [owed.what for owed in verdict.owes]) == (True, ["bind"])


@pytest.mark.parametrize(
    "of",
    [
        {"status": Status.PAID},
        {"status": Status.REFUNDED},
        {"status": Status.HELD},
        {"environment": "production"},
    ],
)
async def test_what_can_pay_no_order_is_not_worth_a_question(provide, apple, of):
    """A copy for an order that is settled, or lives in the other environment, is read as it stands."""
    order = an_order()
    purchase = await buy(apple, order)
    verdict = await provide().verify(order._replace(**of), aged(apple, purchase, 900))
    assert (verdict.transaction_id, asked(apple)) == (purchase.transaction_id, 0)


@pytest.mark.parametrize("status", list(Status))
async def test_a_copy_that_names_another_order_is_asked_about(provide, apple, status):
    """Whatever became of the order it is shown for, it may pay the one that it names."""
    order, shown_for = an_order(), an_order(status=status)
    purchase = await buy(apple, order)
    receipt = aged(apple, purchase, 900)
    await apple.refund(purchase.transaction_id)
    verdict = await provide().verify(shown_for, receipt)
    assert (verdict.state, verdict.order_no) == (State.REFUNDED, order.order_no)


async def test_an_id_is_asked_about_and_claims_nothing(provide, apple):
    """Whoever knows an id need not be the buyer: only what Apple signed for the device is claimed."""
    order = an_order()
    provider = provide(ask="never")
    named, unnamed = await buy(apple, order), await buy(apple, order, app_account_token=None)
    verdict = await provider.verify(order, submitted(named.transaction_id))
    assert (verdict.order_no, verdict.states_payment) == (order.order_no, True)
    verdict = await provider.verify(order, submitted(unnamed.transaction_id))
    assert (verdict.order_no, verdict.is_claimed, verdict.owes) == (None, False, ())
    with pytest.raises(ProviderRefused) as refused:
        await provider.verify(order, submitted("1"))
    assert refused.value.code == "4040010"


@pytest.mark.parametrize("environment", ["production", "sandbox"])
async def test_the_other_environments_purchase_pays_no_order(provide, apple, environment):
    """A sandbox purchase for an order of production, or the reverse, differs in its environment and in nothing else."""
    other = {"production": "Sandbox", "sandbox": "Production"}[environment]
    order = an_order(environment=environment)
    purchase = await buy(apple, order, environment=other)
    provider = provide(environment)
    verdict = await provider.verify(order, submitted(purchase.jws))
    assert difference(order, verdict) == "environment"
    assert difference(order._replace(environment=other.lower()), verdict) == ""
    body = json.dumps(
        {"signedPayload": notice(apple, "ONE_TIME_CHARGE", purchase.jws, environment=other)}
    )
    assert difference(order, provider.read_notification(Inbound({}, "", body.encode())))
    with pytest.raises(ProviderRefused):
        await provider.verify(order, submitted(purchase.transaction_id))


async def test_listed_testers_buy_in_the_sandbox(provide, apple):
    """App Review and TestFlight: listed receivers get sandbox orders, everybody else those of production."""
    provider = provide("production", sandbox="testers", testers=["reviewer-1"])
    assert [provider.environment_of(who) for who in ("reviewer-1", "reviewer-2", "REVIEWER-1")] == [
        "sandbox", "production", "production",
    ]  # fmt: skip
    for environment in ("sandbox", "production"):
        order = an_order(environment=environment)
        purchase = await buy(apple, order)
        for receipt in (purchase.jws, purchase.transaction_id):
            verdict = await provider.verify(order, submitted(receipt))
            assert (verdict.environment, difference(order, verdict)) == (environment, "")
            assert verdict.verifier.startswith("query:")
    assert {received.environment for received in apple.received} == {"Sandbox", "Production"}


async def test_a_tester_cannot_pay_for_others(provide, apple):
    """Even where testers are listed, a sandbox purchase that names an order of production pays nothing."""
    provider = provide("production", sandbox="testers", testers=["reviewer-1"])
    target, own = an_order(environment="production"), an_order(environment="sandbox")
    purchase = await buy(apple, target, environment="Sandbox")
    for shown_for in (target, own):
        verdict = await provider.verify(shown_for, submitted(purchase.jws))
        assert (verdict.order_no, difference(target, verdict)) == (target.order_no, "environment")
    unnamed = await buy(apple, own, app_account_token=None)
    verdict = await provider.verify(target, submitted(unnamed.jws))
    assert difference(target, verdict) == "environment"


async def test_a_channel_without_testers_knows_no_other_environment(provide):
    """An order from a time when testers were listed can no longer be asked about, and says so."""
    with pytest.raises(ProviderRefused):
        await provide("production").verify(an_order(), submitted("2000000000000001"))


@pytest.mark.parametrize(
    "options", [{"sandbox": "testers"}, {"testers": ["x"]}, {"late": "refund"}]
)
async def test_options_that_contradict_themselves_are_refused(provide, options):
    """Testers belong to sandbox = testers, and Apple's money is not ours to give back."""
    with pytest.raises(ValueError, match=r"testers|give"):
        provide(**options)


async def test_production_takes_apples_own_roots_and_hosts_only(apple):
    """What a laptop needs is told by name, and so is the app's own number, which tells it from others."""
    settings = AppleSettings(
        bundle_id=BUNDLE_ID, issuer_id=ISSUER_ID, key_id=KEY_ID, private_key="x",
        roots=apple.root_pem, api={"sandbox": "http://127.0.0.1:1"},
    )  # fmt: skip
    assert [key for key, _ in settings.unsafe()] == ["roots", "api", "app_apple_id"]
    await apple.stop()


def heard(provider: AppleProvider, jws: str) -> Verdict:
    """What is read of a notification."""
    return provider.read_notification(Inbound({}, "", json.dumps({"signedPayload": jws}).encode()))


async def test_production_knows_its_app_by_its_number(provide, apple):
    """A notification for another app, whatever its bundle id says, is for no account of ours."""
    order = an_order(environment="production")
    jws = (await buy(apple, order)).jws
    provider, unnumbered = provide("production"), provide("production", app_apple_id=None)
    for number, fits in ((APP_APPLE_ID, True), (APP_APPLE_ID + 1, False), (None, False)):
        told = notice(apple, "ONE_TIME_CHARGE", jws, environment="Production", appAppleId=number)
        assert difference(order, heard(provider, told)) == ("" if fits else "account")
        assert difference(order, heard(unnumbered, told)) == ""


async def test_a_notification_and_its_transaction_agree(provide, apple):
    """Envelope and transaction are each signed by Apple; about different apps or environments they fit no order."""
    order = an_order()
    purchase = await buy(apple, order)
    other = apple.sign(purchase.fields, bundleId="com.example.other")
    elsewhere = apple.sign(purchase.fields, environment="Production")
    for inner, outer in (
        (purchase.jws, {"bundleId": "com.example.other"}),
        (purchase.jws, {"environment": "Production"}),
        (other, {}),
        (elsewhere, {}),
        (other, {"bundleId": "com.example.other"}),
    ):
        verdict = heard(provide(), notice(apple, "ONE_TIME_CHARGE", inner, **outer))
        assert difference(order, verdict) in ("account", "environment")


async def test_a_forged_transaction_in_a_genuine_envelope_is_refused(provide, apple):
    """The envelope's signature says nothing of what is inside."""
    purchase = await buy(apple, an_order())
    payload = {**purchase.fields, "signedDate": apple.milliseconds}
    for forge in FORGERIES.values():
        with pytest.raises(NotAuthentic):
            heard(provide(), notice(apple, "ONE_TIME_CHARGE", forge(apple, payload)))


async def test_the_token_is_bound_at_apple(provide, apple):
    """The duty tells Apple the order of a claimed purchase and brings back how it stands; a repeat is harmless."""
    order = an_order()
    purchase = await buy(apple, order, app_account_token=None)
    provider = provide()
    for _ in range(2):
        verdict = await provider.perform("bind", order, purchase.transaction_id)
        assert (verdict.state, verdict.order_no) == (State.PAID, order.order_no)
    assert purchase.fields["appAccountToken"].replace("-", "") == order.order_no
    await apple.refund(purchase.transaction_id)
    verdict = await provider.perform("bind", order, purchase.transaction_id)
    assert verdict.state is State.REFUNDED
    with pytest.raises(ProviderRefused):
        await provider.perform("bind", order, "1")
    with pytest.raises(ProviderRefused):
        await provider.perform("acknowledge", order, purchase.transaction_id)


async def test_only_apple_gives_its_money_back(provide):
    """A refund of ours is refused; an order without evidence waits, and closes after its end."""
    provider, order = provide(), an_order()
    with pytest.raises(ProviderRefused):
        await provider.refund(order, "1", "key")
    nothing = Evidence(Source.RECONCILE, b"")
    assert (await provider.verify(order, nothing)).state is State.PENDING
    over = order._replace(expires_at=seam.now() - 61 * seam.SECOND)
    assert (await provider.verify(over, nothing)).state is State.CLOSED


async def test_a_probe_touches_nothing(provide, apple):
    """Asking for what does not exist shows that key and network are right; a wrong key is told as such."""
    assert BUNDLE_ID in await provide().probe()
    with pytest.raises(ProviderMisconfigured):
        await provide(key_id="OTHERKEY99").probe()
    apple.next_answers("redirect")
    with pytest.raises(ProviderUnavailable):
        await provide().probe()


async def test_a_sweep_begins_its_window_again_when_a_token_is_refused(provide, apple):
    """Apple's page tokens do not hold for ever: the window starts over instead of failing for good."""
    provider = provide()
    apple.apps[BUNDLE_ID].notification_urls["Sandbox"] = "http://127.0.0.1:1/"
    for _ in range(21):
        apple.next_notifications(drop=True)
        await apple.send_test(BUNDLE_ID)
    await asyncio.sleep(0.01)  # a window's last millisecond belongs to the next one
    first = await provider.missed("")
    assert (len(first.verdicts), first.has_more) == (20, True)
    stale = json.dumps({**json.loads(first.position), "token": "gone"})
    again = await provider.missed(stale)
    assert (list(again.verdicts), again.has_more) == ([], False)
    assert len((await provider.missed(again.position)).verdicts) == 20
    assert len((await provider.missed(first.position)).verdicts) == 1


async def test_what_cannot_be_read_does_not_stop_a_sweep(provide, apple):
    """A page with a payload that is no notification of ours gives the others."""
    provider = provide()
    apple.apps[BUNDLE_ID].notification_urls["Sandbox"] = "http://127.0.0.1:1/"
    order = an_order()
    for options in ({"revocationDate": "soon"}, {"purchaseDate": None}, {}):
        apple.next_notifications(drop=True)
        await buy(apple, order, notify=True, **options)
    apple.courier.notices[0].signed = "x.y.z"
    await asyncio.sleep(0.01)
    missed = await provider.missed("")
    assert [verdict.state for verdict in missed.verdicts] == [State.UNKNOWN, State.PAID]
