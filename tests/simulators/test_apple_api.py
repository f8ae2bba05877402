"""The App Store Server API of the simulator: Apple's own client for what works, raw HTTP for what is refused."""

import time
import uuid

import pytest
from appstoreserverlibrary.api_client import APIException, GetTransactionHistoryVersion
from appstoreserverlibrary.models.ConsumptionRequest import ConsumptionRequest
from appstoreserverlibrary.models.DeliveryStatus import DeliveryStatus
from appstoreserverlibrary.models.InAppOwnershipType import InAppOwnershipType
from appstoreserverlibrary.models.RefundPreference import RefundPreference
from appstoreserverlibrary.models.TransactionHistoryRequest import (
    Order,
    ProductType,
    TransactionHistoryRequest,
)
from appstoreserverlibrary.models.UpdateAppAccountTokenRequest import UpdateAppAccountTokenRequest
from cryptography.hazmat.primitives.asymmetric import ec
from tornado.httpclient import AsyncHTTPClient

from payplat.simulators.apple import jws
from tests.simulators.apple_stage import (
    APPLE_ID,
    BUNDLE,
    TOKEN,
    OfficialClient,
    RawClient,
    bearer,
    error,
    opened,
    payload,
    register,
    verifier,
)

TRANSACTIONS = "/inApps/v1/transactions"
HISTORY = "/inApps/v2/history"
V2 = GetTransactionHistoryVersion.V2


@pytest.fixture
async def sim():
    async with opened() as sim:
        yield sim


@pytest.fixture
def client(sim):
    return OfficialClient(sim)


@pytest.fixture
async def ask(sim):
    http = AsyncHTTPClient(force_instance=True)
    yield RawClient(http, sim)
    http.close()


# --- Who may ask ---


async def test_a_token_without_iat_is_good_enough(sim, ask):
    """Apple's own clients leave out `iat`, and so may anyone."""
    bought = await sim.buy(BUNDLE, "coins_500")
    token = bearer(time.time(), iat=None)
    assert (await ask(f"{TRANSACTIONS}/{bought.transaction_id}", token=token)).code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "somebody"},
        {"aud": "appstoreconnect-v2"},
        {"bid": "com.example.unknown"},
        {"bid": None},
        {"bid": ["com.example.game"]},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": int(time.time()) - 1},
        {"iat": int(time.time()), "exp": int(time.time()) + 3700},
        {"head": {"kid": "AAAAAAAAAA"}},
        {"head": {"alg": "HS256"}},
        {"key": ec.generate_private_key(ec.SECP256R1())},
    ],
    ids=lambda wrong: "-".join(f"{name}" for name in wrong),
)
async def test_any_fault_in_the_token_is_401_without_a_body(sim, ask, wrong):
    """Issuer, audience, app, life, key id, algorithm and signature must all be right."""
    bought = await sim.buy(BUNDLE, "coins_500")
    answer = await ask(
        f"{TRANSACTIONS}/{bought.transaction_id}", token=bearer(time.time(), **wrong)
    )
    assert (answer.code, answer.body) == (401, b"")
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer a.b", "Bearer a.b.c", "Basic eDp5"])
async def test_what_is_no_token_is_401(sim, ask, token):
    """Whatever stands in the header, the answer is the same."""
    assert (await ask(f"{TRANSACTIONS}/1", token=token)).code == 401


async def test_a_signature_is_64_bytes(ask):
    """R and S have 32 bytes each; a zero before S would be the same number, and is refused."""
    text, _, signature = bearer(time.time()).rpartition(".")
    raw = jws.decode(signature)
    padded = jws.join(text, raw[:32] + b"\0" + raw[32:])
    assert (await ask(f"{TRANSACTIONS}/1", token=padded)).code == 401


async def test_an_unreleased_app_hears_401_in_production(sim, ask):
    """Before its first release production knows nothing of an app, the sandbox does."""
    sim.apps[BUNDLE].released = False
    bought = await sim.buy(BUNDLE, "coins_500")
    path = f"{TRANSACTIONS}/{bought.transaction_id}"
    assert (await ask(path)).code == 200
    ask.environment = "Production"
    assert (await ask(path)).code == 401


async def test_tokens_outlive_a_moved_clock(sim, ask):
    """Days on the simulator's clock do not make the caller's tokens old."""
    bought = await sim.buy(BUNDLE, "coins_500")
    await sim.advance(86_400)
    assert (await ask(f"{TRANSACTIONS}/{bought.transaction_id}")).code == 200


async def test_an_address_is_for_one_of_the_two_worlds(sim):
    """A misspelt environment would quietly be no address at all."""
    with pytest.raises(ValueError, match="sandbox"):
        register(sim, "com.example.second", sandbox="http://127.0.0.1:9/")
    with pytest.raises(ValueError, match="Xcode"):
        sim.api("Xcode")


# --- Get Transaction Info ---


@pytest.mark.parametrize("environment", ["Sandbox", "Production"])
async def test_transaction_info_is_the_purchase(sim, environment):
    """Apple's client asks by number and its verifier reads the answer; the total covers the quantity."""
    bought = await sim.buy(
        BUNDLE, "coins_500", app_account_token=TOKEN, quantity=2, environment=environment
    )
    client = OfficialClient(sim, environment)
    answer = await client.ask("get_transaction_info", bought.transaction_id)
    read = verifier(sim, environment).verify_and_decode_signed_transaction(
        answer.signedTransactionInfo
    )
    assert read.transactionId == read.originalTransactionId == bought.transaction_id
    assert (read.appAccountToken, read.productId, read.quantity) == (TOKEN, "coins_500", 2)
    assert (read.price, read.currency, read.environment.value) == (9980, "USD", environment)


async def test_answers_are_json_without_a_charset(sim, ask):
    """Apple's client reads errors of this very type only."""
    bought = await sim.buy(BUNDLE, "coins_500")
    for number in (bought.transaction_id, "1"):
        answer = await ask(f"{TRANSACTIONS}/{number}")
        assert answer.headers["Content-Type"] == "application/json"


async def test_the_two_worlds_do_not_know_each_other(sim, ask, client):
    """A number of one environment is 4040010 in the other, and looks different."""
    sandbox = await sim.buy(BUNDLE, "coins_500")
    production = await sim.buy(BUNDLE, "coins_500", environment="Production")
    assert sandbox.transaction_id.startswith("2000000")
    assert not production.transaction_id.startswith("2")
    with pytest.raises(APIException) as refused:
        await client.ask("get_transaction_info", production.transaction_id)
    assert (refused.value.http_status_code, refused.value.raw_api_error) == (404, 4040010)
    assert refused.value.error_message == "Transaction id not found."
    ask.environment = "Production"
    assert error(await ask(f"{TRANSACTIONS}/{sandbox.transaction_id}")) == (404, 4040010)


async def test_other_apps_purchases_are_not_found(sim, ask):
    """A token speaks for one app."""
    register(sim, "com.example.second")
    bought = await sim.buy("com.example.second", "coins_500")
    assert error(await ask(f"{TRANSACTIONS}/{bought.transaction_id}")) == (404, 4040010)


@pytest.mark.parametrize("number", ["abc", "12x", "%2e%2e", "-1", "%D9%A1"])
async def test_numbers_are_digits(ask, number):
    """Anything else is 4000006."""
    assert error(await ask(f"{TRANSACTIONS}/{number}")) == (400, 4000006)


async def test_the_number_of_a_download_is_no_transaction(sim, ask):
    """An appTransactionId is refused as such."""
    bought = await sim.buy(BUNDLE, "coins_500")
    number = bought.fields["appTransactionId"]
    assert error(await ask(f"{TRANSACTIONS}/{number}")) == (400, 4000048)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/inApps/v1/lookup/MQ7ABC"),
        ("GET", "/inapps/v1/transactions/1"),
        ("POST", f"{TRANSACTIONS}/1"),
        ("GET", "/"),
    ],
)
async def test_other_paths_are_404_in_json(ask, method, path):
    """Paths are case-sensitive; what is not simulated is not found."""
    answer = await ask(path, method, body=b"" if method == "POST" else None)
    assert (answer.code, answer.headers["Content-Type"]) == (404, "application/json")


# --- Purchases ---


async def test_a_non_consumable_is_bought_once(sim):
    """Who has it gets the old transaction with the old token; another customer a new one."""
    first = await sim.buy(BUNDLE, "castle", type="Non-Consumable", app_account_token=TOKEN)
    again = await sim.buy(
        BUNDLE, "castle", type="Non-Consumable", app_account_token=str(uuid.uuid4())
    )
    assert (again.transaction_id, again.fields["appAccountToken"]) == (first.transaction_id, TOKEN)
    other = await sim.buy(BUNDLE, "castle", type="Non-Consumable", customer="customer-2")
    assert other.transaction_id != first.transaction_id
    assert other.fields["appTransactionId"] != first.fields["appTransactionId"]


async def test_a_restored_purchase_remembers_its_original(sim):
    """A restore is a transaction of its own that goes back to the first."""
    first = await sim.buy(BUNDLE, "castle", type="Non-Consumable", app_account_token=TOKEN)
    second = await sim.restore(first.transaction_id)
    assert second.transaction_id != first.transaction_id
    assert second.original_transaction_id == first.transaction_id
    assert second.fields["appAccountToken"] == TOKEN
    coins = await sim.buy(BUNDLE, "coins_500")
    with pytest.raises(ValueError, match="non-consumable"):
        await sim.restore(coins.transaction_id)


async def test_a_refunded_non_consumable_can_be_bought_again(sim):
    """What was given back is no longer owned."""
    first = await sim.buy(BUNDLE, "castle", type="Non-Consumable")
    await sim.refund(first.transaction_id)
    second = await sim.buy(BUNDLE, "castle", type="Non-Consumable")
    assert second.transaction_id != first.transaction_id


async def test_tokens_are_written_as_uuids(sim):
    """An order number of 32 digits comes back with hyphens, in lower case, as StoreKit writes a UUID."""
    bought = await sim.buy(BUNDLE, "coins_500", app_account_token=TOKEN.replace("-", "").upper())
    assert bought.fields["appAccountToken"] == TOKEN


async def test_fields_can_be_set_and_left_out(sim):
    """Extra names are fields of the transaction and win; None leaves one out."""
    bought = await sim.buy(
        BUNDLE,
        "coins_500",
        storefront="CHN",
        offerType=3,
        transactionReason=None,
        price=6000,
        currency="CNY",
    )
    assert (bought.fields["storefront"], bought.fields["offerType"]) == ("CHN", 3)
    assert (bought.fields["price"], bought.fields["currency"]) == (6000, "CNY")
    assert "transactionReason" not in bought.fields
    assert "price" not in (await sim.buy(BUNDLE, "no_tag")).fields


@pytest.mark.parametrize(
    "wish",
    [
        {"quantity": 0},
        {"quantity": 2, "type": "Non-Consumable"},
        {"type": "consumable"},
        {"environment": "Xcode"},
        {"ownership": "BORROWED"},
        {"price": 1000},
        {"app_account_token": "nobody"},
    ],
    ids=lambda wish: next(iter(wish)),
)
async def test_impossible_purchases_do_not_happen(sim, wish):
    """What no customer can choose raises ValueError and leaves no trace."""
    with pytest.raises(ValueError, match=r"\S"):
        await sim.buy(BUNDLE, "coins_500", **wish)
    assert not sim.books.purchases


# --- Refunds ---


async def test_a_refund_changes_what_is_asked_later(sim, client):
    """After a refund the transaction is revoked with its share, after the reversal it is as before."""
    bought = await sim.buy(BUNDLE, "coins_500")
    before = dict(bought.fields)
    await sim.refund(bought.transaction_id, type="REFUND_PRORATED", percentage=67932, reason=1)
    answer = await client.ask("get_transaction_info", bought.transaction_id)
    read = verifier(sim).verify_and_decode_signed_transaction(answer.signedTransactionInfo)
    assert read.revocationReason.value == 1
    assert (read.revocationType.value, read.revocationPercentage) == ("REFUND_PRORATED", 67932)
    assert read.revocationDate >= before["purchaseDate"]
    await sim.reverse_refund(bought.transaction_id)
    assert bought.fields == before


async def test_impossible_refunds_are_refused(sim):
    """Type, share and reason are checked, and the purchase is known."""
    bought = await sim.buy(BUNDLE, "coins_500")
    for wish in ({"type": "REFUND"}, {"percentage": 100001}, {"reason": 2}):
        with pytest.raises(ValueError, match="refund"):
            await sim.refund(bought.transaction_id, **wish)
    with pytest.raises(KeyError):
        await sim.refund("1")
    assert not bought.revoked


async def test_refund_history_lists_refunds_page_by_page(sim, client):
    """Twenty at a time with a revision, of this customer only, without what a family lost."""
    for _ in range(22):
        await sim.refund((await sim.buy(BUNDLE, "coins_500")).transaction_id)
    shared = await sim.buy(BUNDLE, "castle", type="Non-Consumable", ownership="FAMILY_SHARED")
    await sim.revoke(shared.transaction_id)
    other = await sim.buy(BUNDLE, "coins_500", customer="customer-2")
    kept = await sim.buy(BUNDLE, "coins_500")
    first = await client.ask("get_refund_history", kept.transaction_id, None)
    assert (len(first.signedTransactions), first.hasMore) == (20, True)
    second = await client.ask("get_refund_history", kept.transaction_id, first.revision)
    assert (len(second.signedTransactions), second.hasMore) == (2, False)
    numbers = {payload(t)["transactionId"] for t in first.signedTransactions}
    numbers |= {payload(t)["transactionId"] for t in second.signedTransactions}
    assert len(numbers) == 22
    assert shared.transaction_id not in numbers
    nothing = await client.ask("get_refund_history", other.transaction_id, None)
    assert (nothing.signedTransactions, nothing.hasMore) == ([], False)


async def test_refund_history_refuses_what_it_cannot_read(sim, ask):
    """A foreign revision is 4000005, an unknown number 4040010, no number 4000006."""
    number = (await sim.buy(BUNDLE, "coins_500")).transaction_id
    path = "/inApps/v2/refund/lookup"
    assert error(await ask(f"{path}/{number}?revision=x")) == (400, 4000005)
    assert error(await ask(f"{path}/9")) == (404, 4040010)
    assert error(await ask(f"{path}/x")) == (400, 4000006)


# --- Get Transaction History ---


async def history(client, number, revision=None, **wish):
    return await client.ask(
        "get_transaction_history", number, revision, TransactionHistoryRequest(**wish), V2
    )


def numbers(answer) -> list[str]:
    return [payload(token)["transactionId"] for token in answer.signedTransactions]


async def test_history_comes_in_pages_of_twenty(sim, client):
    """The revision leads on; its last value brings only what changed since, changed ones once more."""
    bought = [await sim.buy(BUNDLE, "coins_500") for _ in range(23)]
    first = await history(client, bought[5].transaction_id)
    assert (first.hasMore, first.bundleId, first.environment.value) == (True, BUNDLE, "Sandbox")
    assert first.appAppleId is None
    second = await history(client, bought[5].transaction_id, first.revision)
    assert numbers(first) + numbers(second) == [each.transaction_id for each in bought]
    assert not second.hasMore
    assert numbers(await history(client, bought[5].transaction_id, second.revision)) == []
    await sim.refund(bought[3].transaction_id)
    changed = await history(client, bought[5].transaction_id, second.revision)
    assert numbers(changed) == [bought[3].transaction_id]


async def test_history_can_begin_with_the_newest(sim, client):
    """Sorted the other way, the revision leads on to the older ones."""
    bought = [await sim.buy(BUNDLE, "coins_500") for _ in range(21)]
    number = bought[0].transaction_id
    first = await history(client, number, sort=Order.DESCENDING)
    second = await history(client, number, first.revision, sort=Order.DESCENDING)
    newest_first = [each.transaction_id for each in reversed(bought)]
    assert numbers(first) + numbers(second) == newest_first


async def test_history_in_production_names_the_apps_number(sim):
    """`appAppleId` stands in production's answers only."""
    bought = await sim.buy(BUNDLE, "coins_500", environment="Production")
    answer = await history(OfficialClient(sim, "Production"), bought.transaction_id)
    assert answer.appAppleId == APPLE_ID


async def test_history_filters(sim, client):
    """By product, kind, ownership, refund and date; filters narrow each other."""
    coins = await sim.buy(BUNDLE, "coins_500")
    sim.clock.advance(10)
    castle = await sim.buy(BUNDLE, "castle", type="Non-Consumable", ownership="FAMILY_SHARED")
    sim.clock.advance(10)
    pass_ = await sim.buy(BUNDLE, "season", type="Non-Renewing Subscription")
    gold = await sim.buy(
        BUNDLE, "gold", type="Auto-Renewable Subscription", subscriptionGroupIdentifier="42"
    )
    await sim.refund(coins.transaction_id)
    everything = [castle, pass_, gold, coins]
    dates = [each.fields["purchaseDate"] for each in (castle, pass_)]
    wanted = [
        ({}, everything),
        ({"productIds": ["castle", "gold"]}, [castle, gold]),
        ({"productTypes": [ProductType.CONSUMABLE, ProductType.NON_RENEWABLE]}, [pass_, coins]),
        ({"subscriptionGroupIdentifiers": ["42"]}, [gold]),
        ({"inAppOwnershipType": InAppOwnershipType.FAMILY_SHARED}, [castle]),
        ({"revoked": True}, [coins]),
        ({"revoked": False}, [castle, pass_, gold]),
        ({"startDate": dates[0]}, [castle, pass_, gold]),
        ({"startDate": dates[0], "endDate": dates[1]}, [castle]),
        ({"productIds": ["coins_500"], "revoked": False}, []),
    ]
    for wish, found in wanted:
        answer = await history(client, castle.transaction_id, **wish)
        assert numbers(answer) == [each.transaction_id for each in found], wish


async def test_history_may_be_asked_by_the_number_of_the_download(sim, client):
    """Any transaction id of the customer will do, also that of the app itself."""
    bought = await sim.buy(BUNDLE, "coins_500")
    answer = await history(client, bought.fields["appTransactionId"])
    assert numbers(answer) == [bought.transaction_id]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("revision=MQ", 4000005),
        ("revision=***", 4000005),
        ("startDate=yesterday", 4000015),
        ("endDate=1.5", 4000016),
        ("sort=UP", 4000021),
        ("productType=Consumable", 4000022),
        ("productId=", 4000023),
        ("subscriptionGroupIdentifier=", 4000024),
        ("inAppOwnershipType=MINE", 4000026),
        ("revoked=perhaps", 4000030),
    ],
)
async def test_history_names_the_wrong_parameter(sim, ask, query, code):
    """Each parameter has an error of its own."""
    number = (await sim.buy(BUNDLE, "coins_500")).transaction_id
    assert error(await ask(f"{HISTORY}/{number}?{query}")) == (400, code)


# --- Set App Account Token, Finish Transaction ---


async def test_a_token_set_later_stays(sim, client):
    """Every transaction of the original carries it from then on, in later answers too."""
    bought = await sim.buy(BUNDLE, "castle", type="Non-Consumable")
    restored = await sim.restore(bought.transaction_id)
    wish = UpdateAppAccountTokenRequest(appAccountToken=TOKEN.upper())
    await client.ask("set_app_account_token", bought.transaction_id, wish)
    answer = await client.ask("get_transaction_info", restored.transaction_id)
    assert payload(answer.signedTransactionInfo)["appAccountToken"] == TOKEN


async def test_tokens_are_refused_for_a_reason(sim, ask):
    """Not a UUID, not the original, not for family, not known, not a body: each has its error."""
    bought = await sim.buy(BUNDLE, "castle", type="Non-Consumable")
    restored = await sim.restore(bought.transaction_id)
    shared = await sim.buy(BUNDLE, "tower", type="Non-Consumable", ownership="FAMILY_SHARED")
    good = {"appAccountToken": TOKEN}
    cases = [
        (bought.transaction_id, {"appAccountToken": "x"}, (400, 4000183)),
        (bought.transaction_id, {"appAccountToken": TOKEN.replace("-", "")}, (400, 4000183)),
        (bought.transaction_id, {"appAccountToken": None}, (400, 4000183)),
        (bought.transaction_id, b"[]", (400, 4000000)),
        (bought.transaction_id, b"{", (400, 4000000)),
        (restored.transaction_id, good, (400, 4000187)),
        (shared.transaction_id, good, (400, 4000185)),
        ("9", good, (404, 4040005)),
        ("x", good, (400, 4000006)),
        (bought.fields["appTransactionId"], good, (400, 4000048)),
    ]
    for number, body, refusal in cases:
        answer = await ask(f"{TRANSACTIONS}/{number}/appAccountToken", "PUT", body)
        assert error(answer) == refusal, (number, body)
    assert "appAccountToken" not in bought.fields


async def test_a_transaction_can_be_finished_by_the_server(sim, client):
    """ "Finish Transaction" answers without a body and is noted."""
    bought = await sim.buy(BUNDLE, "coins_500")
    await client.ask("finish_transaction", bought.transaction_id)
    assert bought.finished


# --- Send Consumption Information ---

CONSUMED = {
    "customerConsented": True,
    "sampleContentProvided": False,
    "deliveryStatus": "DELIVERED",
}


async def test_consumption_information_is_taken_and_kept(sim, client):
    """Apple's client sends it, and the purchase remembers what was sent."""
    bought = await sim.buy(BUNDLE, "coins_500")
    told = ConsumptionRequest(
        customerConsented=True,
        sampleContentProvided=False,
        deliveryStatus=DeliveryStatus.DELIVERED,
        consumptionPercentage=50000,
        refundPreference=RefundPreference.DECLINE,
    )
    await client.ask("send_consumption_information", bought.transaction_id, told)
    expected = {**CONSUMED, "consumptionPercentage": 50000, "refundPreference": "DECLINE"}
    assert bought.consumption == [expected]


async def test_consumption_information_is_answered_202_without_a_body(sim, ask):
    """As the document says, and the least that is required is enough."""
    bought = await sim.buy(BUNDLE, "coins_500")
    path = f"/inApps/v2/transactions/consumption/{bought.transaction_id}"
    answer = await ask(path, "PUT", CONSUMED)
    assert (answer.code, answer.body) == (202, b"")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"customerConsented": False}, 4000035),
        ({"customerConsented": None}, 4000035),
        ({"customerConsented": 1}, 4000035),
        ({"sampleContentProvided": "no"}, 4000041),
        ({"deliveryStatus": 0}, 4000036),
        ({"refundPreference": "GRANT"}, 4000044),
        ({"consumptionPercentage": 100001}, 4000000),
        ({"consumptionPercentage": True}, 4000000),
        ({"deliveryStatus": "UNDELIVERED_OTHER", "consumptionPercentage": 1}, 4000000),
    ],
)
async def test_consumption_information_is_checked(sim, ask, change, code):
    """Without consent, or with a value Apple does not know, nothing is taken."""
    bought = await sim.buy(BUNDLE, "coins_500")
    path = f"/inApps/v2/transactions/consumption/{bought.transaction_id}"
    assert error(await ask(path, "PUT", {**CONSUMED, **change})) == (400, code)
    assert bought.consumption == []


async def test_subscriptions_have_no_percentage(sim, ask):
    """An auto-renewable subscription is used by its dates."""
    gold = await sim.buy(BUNDLE, "gold", type="Auto-Renewable Subscription")
    path = f"/inApps/v2/transactions/consumption/{gold.transaction_id}"
    told = {**CONSUMED, "consumptionPercentage": 0}
    assert error(await ask(path, "PUT", told)) == (400, 4000209)
    assert (await ask(path, "PUT", CONSUMED)).code == 202


# --- The record ---


async def test_every_request_is_recorded(sim, ask):
    """What was asked, and what was answered."""
    await ask(f"{TRANSACTIONS}/9?x=1&x=2")
    await ask(f"{TRANSACTIONS}/9", token="")
    await ask(f"{TRANSACTIONS}/9/finish", "POST", b"{}")
    assert [(each.method, each.path, each.status, each.code) for each in sim.received] == [
        ("GET", f"{TRANSACTIONS}/9", 404, 4040010),
        ("GET", f"{TRANSACTIONS}/9", 401, 0),
        ("POST", f"{TRANSACTIONS}/9/finish", 404, 4040010),
    ]
    assert sim.received[0].query == {"x": ["1", "2"]}
    assert (sim.received[2].environment, sim.received[2].body) == ("Sandbox", b"{}")
