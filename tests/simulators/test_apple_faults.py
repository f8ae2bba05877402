"""Spoiled answers of the simulator's API, and the cheats it can play, judged by Apple's library."""

import asyncio
import json
import time

import pytest
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, VerificationException
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from payplat.simulators.apple.faults import KINDS
from payplat.simulators.apple.forgeries import FORGERIES
from payplat.simulators.apple.misuses import MISUSES
from payplat.simulators.apple.pretences import PRETENCES
from tests.simulators.apple_stage import (
    APPLE_ID,
    BUNDLE,
    TOKEN,
    RawClient,
    error,
    opened,
    payload,
    verifier,
)

TRANSACTIONS = "/inApps/v1/transactions"


@pytest.fixture
async def sim():
    async with opened() as sim:
        yield sim


@pytest.fixture
async def ask(sim):
    http = AsyncHTTPClient(force_instance=True)
    yield RawClient(http, sim)
    http.close()


@pytest.fixture
async def bought(sim):
    return await sim.buy(BUNDLE, "coins_500", app_account_token=TOKEN)


def signed(answer) -> str:
    return json.loads(answer.body)["signedTransactionInfo"]


# --- Answers ---


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        ("500", (500, 5000000)),
        ("500_retryable", (500, 5000001)),
        ("429", (429, 4290000)),
        ("retryable_404", (404, 4040002)),
        ("not_found", (404, 4040010)),
    ],
)
async def test_errors_can_be_ordered(sim, ask, bought, kind, refusal):
    """One answer is spoiled and recorded so; the next is right again."""
    sim.next_answers(kind)
    assert error(await ask(f"{TRANSACTIONS}/{bought.transaction_id}")) == refusal
    assert (sim.received[0].status, sim.received[0].code) == refusal
    assert (await ask(f"{TRANSACTIONS}/{bought.transaction_id}")).code == 200


async def test_the_rate_limit_names_a_moment_in_milliseconds(sim, ask, bought):
    """Retry-After is an absolute time, not a number of seconds; other errors have none."""
    sim.knobs.turn(retry_after=7.0)
    sim.next_answers("429", "500")
    answer = await ask(f"{TRANSACTIONS}/{bought.transaction_id}")
    assert int(answer.headers["Retry-After"]) == pytest.approx((time.time() + 7) * 1000, abs=3000)
    answer = await ask(f"{TRANSACTIONS}/{bought.transaction_id}")
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(("kind", "status"), [("503", 503), ("401", 401), ("redirect", 302)])
async def test_bare_answers_can_be_ordered(sim, ask, bought, kind, status):
    """No body; a redirect says where to."""
    sim.next_answers(kind)
    answer = await ask(f"{TRANSACTIONS}/{bought.transaction_id}")
    assert (answer.code, answer.body) == (status, b"")
    assert ("Location" in answer.headers) == (kind == "redirect")


async def test_bodies_can_be_spoiled(sim, ask, bought):
    """A page, nothing, half of it, no fields: all with status 200."""
    path = f"{TRANSACTIONS}/{bought.transaction_id}"
    whole = len((await ask(path)).body)
    sim.next_answers("html", "empty", "truncated", "no_fields")
    page, empty, half, bare = [await ask(path) for _ in range(4)]
    assert [each.code for each in (page, empty, half, bare)] == [200] * 4
    assert (page.headers["Content-Type"], b"<html>" in page.body) == ("text/html", True)
    assert empty.body == b""
    assert (half.body[:25], len(half.body)) == (b'{"signedTransactionInfo":', whole // 2)
    assert json.loads(bare.body) == {}


async def test_answers_can_stay_out(sim, ask, bought):
    """The connection is cut, or nothing comes at all; stopping the simulator ends the wait."""
    path = f"{TRANSACTIONS}/{bought.transaction_id}"
    sim.next_answers("cut", "timeout")
    with pytest.raises(HTTPClientError):
        await ask(path)
    waiting = asyncio.ensure_future(ask(path))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await sim.stop()
    with pytest.raises(HTTPClientError):
        await waiting
    assert sim.received[1].status == 0


async def test_a_caller_may_give_up_waiting(sim, ask, bought):
    """The simulator survives a caller that hangs up first."""
    sim.next_answers("timeout")
    with pytest.raises(HTTPClientError):
        await ask.http.fetch(
            sim.api("Sandbox") + f"{TRANSACTIONS}/{bought.transaction_id}", request_timeout=0.1
        )
    assert (await ask(f"{TRANSACTIONS}/{bought.transaction_id}")).code == 200


async def test_answers_can_be_slow(sim, ask, bought):
    """The right answer comes after the knob's seconds."""
    sim.knobs.turn(slow_answer=0.3)
    sim.next_answers("slow")
    started = time.monotonic()
    assert (await ask(f"{TRANSACTIONS}/{bought.transaction_id}")).code == 200
    assert time.monotonic() - started >= 0.3


async def test_another_transaction_can_be_answered(sim, ask, bought):
    """Genuine, and of another purchase, where there is one and where there is none."""
    path = f"{TRANSACTIONS}/{bought.transaction_id}"
    sim.next_answers("other_transaction", "other_transaction")
    invented = verifier(sim).verify_and_decode_signed_transaction(signed(await ask(path)))
    assert invented.transactionId != bought.transaction_id
    second = await sim.buy(BUNDLE, "castle", type="Non-Consumable")
    assert payload(signed(await ask(path)))["transactionId"] == second.transaction_id


async def test_another_app_or_world_can_be_answered(sim, ask, bought):
    """The right number, rightly signed, and not ours."""
    path = f"{TRANSACTIONS}/{bought.transaction_id}"
    sim.next_answers("other_app", "other_environment")
    assert payload(signed(await ask(path)))["bundleId"] != BUNDLE
    token = signed(await ask(path))
    assert verifier(sim, "Production").verify_and_decode_signed_transaction(token)


@pytest.mark.parametrize("kind", ["wrong_signature", "expired_leaf"])
async def test_answers_can_be_wrongly_signed(sim, ask, bought, kind):
    """Apple's verifier refuses what the answer holds, also in a list."""
    sim.next_answers(kind, kind)
    token = signed(await ask(f"{TRANSACTIONS}/{bought.transaction_id}"))
    assert payload(token)["transactionId"] == bought.transaction_id
    listed = json.loads((await ask(f"/inApps/v2/history/{bought.transaction_id}")).body)
    for each in (token, *listed["signedTransactions"]):
        with pytest.raises(VerificationException):
            verifier(sim).verify_and_decode_signed_transaction(each)


async def test_faults_wait_for_their_path(sim, ask, bought):
    """A fault for one endpoint harms no other, and clear() takes back what waits."""
    sim.next_answers("500", "503", path="/history/")
    number = bought.transaction_id
    assert (await ask(f"{TRANSACTIONS}/{number}")).code == 200
    assert (await ask(f"/inApps/v2/history/{number}")).code == 500
    sim.faults.clear()
    assert (await ask(f"/inApps/v2/history/{number}")).code == 200


async def test_a_spoiled_request_has_no_effect_unless_its_kind_says_so(sim, ask, bought):
    """After a 500 nothing was finished; after a truncated answer it was."""
    path = f"{TRANSACTIONS}/{bought.transaction_id}/finish"
    sim.next_answers("500", "truncated")
    await ask(path, "POST", b"")
    assert not bought.finished
    await ask(path, "POST", b"")
    assert bought.finished


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_fits_every_answer(sim, ask, bought, kind):
    """Also to a request that is answered without a body; a misspelt kind is an error."""
    sim.knobs.turn(slow_answer=0.01)
    with pytest.raises(ValueError, match="none of"):
        sim.next_answers(kind + "?")
    sim.next_answers(kind)
    if kind in ("timeout", "cut"):
        return
    answer = await ask(f"{TRANSACTIONS}/{bought.transaction_id}/finish", "POST", b"")
    assert answer.code in (200, 302, 401, 404, 429, 500, 503)


# --- Cheats ---


def judge(sim, environment="Sandbox"):
    return verifier(sim, environment).verify_and_decode_signed_transaction


def test_no_two_attacks_share_a_name() -> None:
    """Forgeries and misuses are offered under one roof."""
    assert not FORGERIES.keys() & MISUSES.keys()


async def test_attacks_are_offered_by_name(sim):
    """Each table of the simulator holds its group."""
    assert sim.attacks.keys() == FORGERIES.keys() | MISUSES.keys()
    assert sim.notification_attacks.keys() == PRETENCES.keys()


@pytest.mark.parametrize("name", FORGERIES)
async def test_apples_verifier_refuses_every_forgery(sim, bought, name):
    """It accepts the genuine transaction and refuses the forged one, in which only the proof is wrong."""
    forged = sim.attacks[name](bought.transaction_id)
    with pytest.raises(VerificationException):
        judge(sim)(forged)
    assert judge(sim)(bought.jws)
    assert payload(forged)["transactionId"] == bought.transaction_id


SEEN = {
    "other_app": {"bundleId": "com.example.cheat"},
    "other_product": {"productId": "fake_cheapest", "price": 10},
    "other_type": {"type": "Non-Consumable"},
    "other_quantity": {"quantity": 2},
    "other_world": {"environment": "Production"},
    "xcode": {"environment": "Xcode"},
    "family_shared": {"inAppOwnershipType": "FAMILY_SHARED"},
    "crafted_id": {"transactionId": "../../v2/history/1?revision="},
}


@pytest.mark.parametrize("name", MISUSES)
async def test_misuses_are_rightly_signed(sim, bought, name):
    """Apple's library finds chain and signature right; only what they say may differ."""
    token = sim.attacks[name](bought.transaction_id)
    told = verifier(sim)._decode_signed_object(token)
    for field, value in SEEN.get(name, {}).items():
        assert told[field] == value


async def test_misuses_say_what_their_names_say(sim, bought):
    """Tokens, refunds and dates are what each misuse is about."""
    said = {name: payload(sim.attacks[name](bought.transaction_id)) for name in MISUSES}
    fields, now = bought.fields, sim.milliseconds
    assert said["replay"].items() >= fields.items()
    assert said["malleated"].items() >= fields.items()
    assert said["other_account"]["appAccountToken"] != TOKEN
    assert "appAccountToken" not in said["no_account"]
    assert said["revoked"]["revocationType"] == "REFUND_FULL"
    assert said["signed_in_future"]["signedDate"] > now + 5 * 60_000
    assert said["bought_long_ago"]["purchaseDate"] < now - 86_400_000
    assert said["bought_in_future"]["purchaseDate"] > now + 3_600_000
    assert said["notification_as_transaction"]["notificationType"] == "ONE_TIME_CHARGE"


async def test_an_old_signature_says_nothing_of_a_refund(sim, bought):
    """Kept from the purchase, it looks paid although Apple has refunded since."""
    await sim.refund(bought.transaction_id)
    kept = payload(sim.attacks["before_refund"](bought.transaction_id))
    assert "revocationDate" not in kept
    assert kept["signedDate"] == bought.fields["purchaseDate"]
    assert "revocationDate" in payload(sim.attacks["replay"](bought.transaction_id))


async def test_a_signature_has_a_twin(sim, bought):
    """Malleated, the same transaction has another text that verifies as well."""
    twin = sim.attacks["malleated"](bought.transaction_id)
    assert judge(sim)(twin).transactionId == bought.transaction_id


async def test_notifications_can_be_false(sim):
    """Envelope and transaction, each genuine or not, as the name of the pretence says."""
    bought = await sim.buy(BUNDLE, "coins_500", environment="Production", notify=False)

    def verdicts(name: str) -> tuple[str, str]:
        """What Apple's verifier says of the envelope and of the transaction in it."""
        body = json.loads(sim.notification_attacks[name](bought.transaction_id, "REFUND"))
        if "signedPayload" not in body:
            return "none", "none"
        inner = payload(body["signedPayload"]).get("data", {}).get("signedTransactionInfo", "")
        asked = verifier(sim, "Production")
        return (
            _verdict(asked.verify_and_decode_notification, body["signedPayload"]),
            _verdict(asked.verify_and_decode_signed_transaction, inner),
        )

    assert {name: verdicts(name) for name in PRETENCES} == {
        "forged": ("VERIFICATION_FAILURE", "VERIFICATION_FAILURE"),
        "forged_envelope": ("VERIFICATION_FAILURE", "genuine"),
        "forged_inside": ("genuine", "VERIFICATION_FAILURE"),
        "other_app_inside": ("genuine", "INVALID_APP_IDENTIFIER"),
        "other_world_inside": ("genuine", "INVALID_ENVIRONMENT"),
        "other_app": ("INVALID_APP_IDENTIFIER", "INVALID_APP_IDENTIFIER"),
        "other_world": ("INVALID_APP_IDENTIFIER", "INVALID_ENVIRONMENT"),
        "unsigned": ("VERIFICATION_FAILURE", "genuine"),
        "decoded": ("none", "none"),
        "transaction_as_notification": ("INVALID_APP_IDENTIFIER", "VERIFICATION_FAILURE"),
        "altered": ("VERIFICATION_FAILURE", "genuine"),
    }


def _verdict(ask, token: str) -> str:
    try:
        ask(token)
    except VerificationException as refused:
        return refused.status.name
    return "genuine"


async def test_a_notification_of_the_sandbox_is_genuine_there(sim):
    """The same body is right at the other address: only the environment gives it away."""
    bought = await sim.buy(BUNDLE, "coins_500", environment="Production", notify=False)
    body = json.loads(sim.notification_attacks["other_world"](bought.transaction_id))
    sandbox = SignedDataVerifier([sim.root_der], False, Environment.SANDBOX, BUNDLE, APPLE_ID)
    read = sandbox.verify_and_decode_notification(body["signedPayload"])
    assert read.notificationType.value == "ONE_TIME_CHARGE"
