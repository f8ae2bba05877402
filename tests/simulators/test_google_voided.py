"""The list of voided purchases: what is in it, by which time, in pages, and how often it may be asked for."""

from urllib.parse import urlencode

import pytest

from tests.simulators.google_stage import DAY, NOW, PACKAGE, open_api, open_inbox, open_play

PATH = "/purchases/voidedpurchases"


@pytest.fixture
async def inbox():
    async with open_inbox() as inbox:
        yield inbox


@pytest.fixture
async def play(inbox):
    async with open_play(inbox) as play:
        yield play


@pytest.fixture
async def api(play):
    async with open_api(play) as api:
        yield api


async def void(play, buyer: str, **how):
    """Buy and give back; the purchase."""
    purchase = await play.buy(PACKAGE, "coins_500", buyer=buyer, notify=False, quantity=2)
    await play.void(purchase.purchase_token, **how)
    return purchase


def millis(seconds: float) -> int:
    """From the beginning of the test."""
    return int((NOW + seconds) * 1000)


async def rows(api, **query) -> list[dict]:
    """The rows of one answer."""
    told = await api.get(f"{PATH}?{urlencode(query)}")
    return told.get("voidedPurchases", [])


async def test_a_row_as_the_schema_has_it(play, api):
    """Times as text, source and reason as numbers, a quantity only for a part."""
    await play.advance(1)
    purchase = await play.buy(PACKAGE, "coins_500", quantity=2)
    await play.advance(1)
    await play.void(purchase.purchase_token, source=0, reason=1, quantity=1)
    expected = {
        "kind": "androidpublisher#voidedPurchase",
        "purchaseToken": purchase.purchase_token,
        "orderId": purchase.order_id,
        "purchaseTimeMillis": str(millis(1)),
        "voidedTimeMillis": str(millis(2)),
        "voidedSource": 0,
        "voidedReason": 1,
        "voidedQuantity": 1,
    }
    assert await rows(api) == []
    assert await rows(api, includeQuantityBasedPartialRefund="false") == []
    assert await rows(api, includeQuantityBasedPartialRefund="true") == [expected]


async def test_pages_follow_each_other(play, api):
    """The token stands for all filters, and nothing is missed or told twice."""
    made = [await void(play, str(number)) for number in range(5)]
    seen, query = [], {"maxResults": 2, "endTime": millis(0)}
    pages = 0
    while query:
        told = await api.get(f"{PATH}?{urlencode(query)}")
        seen += [row["purchaseToken"] for row in told["voidedPurchases"]]
        pages += 1
        token = told.get("tokenPagination", {}).get("nextPageToken")
        query = {"token": token, "maxResults": 2, "startTime": 0} if token else None
        await void(play, f"late {pages}")
        await play.advance(1)
    assert seen[:5] == [each.purchase_token for each in made]
    assert pages == 3


async def test_the_filter_goes_by_the_time_of_recording(play, api):
    """What Google records late is found late, with the time at which it was voided."""
    late = await void(play, "late", recorded_after=600)
    await play.advance(300)
    early = await void(play, "early")
    await play.advance(1)
    assert [row["purchaseToken"] for row in await rows(api)] == [early.purchase_token]
    await play.advance(300)
    found = await rows(api, startTime=millis(301))
    assert [row["purchaseToken"] for row in found] == [late.purchase_token]
    assert found[0]["voidedTimeMillis"] == str(millis(0))
    assert len(await rows(api)) == 2
    assert await rows(api, startTime=millis(301), endTime=millis(400)) == []


async def test_only_thirty_days_are_kept(play, api):
    """Older ones are not told, and must not be asked for; nor what is to come."""
    await void(play, "old")
    await play.advance(30 * DAY)
    await api.sign_in()
    assert len(await rows(api)) == 1
    await play.advance(1)
    assert await rows(api) == []
    for query in (
        {"startTime": millis(0)},
        {"endTime": millis(31 * DAY)},
        {"startTime": millis(30 * DAY), "endTime": millis(29 * DAY)},
        {"startTime": "yesterday"},
        {"type": 2},
        {"maxResults": 0},
        {"token": "bm8gdG9rZW4="},
    ):
        assert await api.refused(f"{PATH}?{urlencode(query)}") == (400, "invalid")


async def test_what_was_not_revoked_is_not_void(play, api):
    """The buyer keeps it, and the list knows nothing."""
    await void(play, "kept", revoke=False)
    assert await rows(api) == []


async def test_questions_are_counted(play, api):
    """Thirty in thirty seconds, and six thousand a day, for each app."""
    for _ in range(30):
        await rows(api)
    assert await api.refused(PATH) == (429, "rateLimitExceeded")
    await play.advance(30)
    assert await rows(api) == []
    for minute in range(5969):
        play.quota.spend(PACKAGE, NOW + 60 + minute * 10)
    with pytest.raises(Exception, match="rateLimitExceeded"):
        play.quota.spend(PACKAGE, NOW + DAY - 1)
    play.quota.spend(PACKAGE, NOW + DAY + 1)
    play.quota.spend("com.other", NOW + DAY - 1)
