"""The cashier and the wallet: how buyers come in, what they see, and where they go afterwards."""

import json
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from payplat.simulators.alipay import misfortunes
from payplat.simulators.alipay.entrance import parameters_of
from payplat.simulators.alipay.refusals import Refusal
from tests.simulators.alipay_client import BEIJING_NOW, split, verifies

XSS = '<script>alert("x")</script>'


async def open_cashier(browse, sim, url: str) -> str:
    """Follow the gateway's redirect to the cashier's address."""
    response = await browse(url)
    assert response.code == 302
    return sim.url + response.headers["Location"]


async def test_a_signed_address_leads_to_the_cashier(client, sim, browse):
    """Opening it makes the trade; the page shows amount, subject and payee."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1"))
    assert sim.trade("ORDER1").status == "WAIT_BUYER_PAY"
    page = (await browse(cashier)).body.decode()
    for text in ("88.88", "六十颗宝石", "2088000000000001", "SIMULATOR", "模拟器", "<svg"):
        assert text in page


async def test_a_posted_form_leads_there_too(client, sim, browse):
    """Common parameters in the address, biz_content in the body."""
    parameters = client.parameters("alipay.trade.page.pay", client.order("ORDER1"))
    biz = parameters.pop("biz_content")
    form = urlencode({"biz_content": biz})
    response = await browse(f"{sim.gateway}?{urlencode(parameters)}", form)
    assert response.code == 302
    assert sim.trade("ORDER1")


async def test_every_way_in_makes_the_same_trade(client, sim):
    """Page address, HTML form, QR address, order string: each can be entered in process."""
    sim.enter(client.page_url("A"))
    sim.enter(client.page_form("B", body="a & b < c > d \"e\" 'f'"))
    sim.enter((await client.precreate("C")).fields["qr_code"])
    sim.enter(client.order_string("D"))
    assert [sim.trade(number).total_fen for number in "ABCD"] == [8888] * 4
    assert sim.trade("B").order.body == "a & b < c > d \"e\" 'f'"


async def test_the_wap_method_opens_the_same_cashier(client, sim, browse):
    """wap.pay has its own product code and a quit_url for those who change their mind."""
    url = client.wap_url("ORDER1", quit_url="https://shop.example/cart")
    cashier = await open_cashier(browse, sim, url)
    page = (await browse(cashier, "action=cancel")).body.decode()
    assert 'href="https://shop.example/cart"' in page
    assert sim.trade("ORDER1").status == "WAIT_BUYER_PAY"


async def test_a_refused_page_is_html_in_gbk(client, browse, sim):
    """The buyer sees the error, not the platform; the status is 200."""
    url = client.page_url("ORDER1").replace("total_amount", "total_amaunt")
    response = await browse(url)
    assert (response.code, response.headers["Content-Type"]) == (200, "text/html;charset=GBK")
    page = response.body.decode("gbk")
    assert "isv.invalid-signature" in page
    assert "验签出错" in page


async def test_the_error_page_escapes_what_it_quotes(client, browse):
    """The quoted string comes from the request."""
    url = client.page_url("ORDER1") + "&" + urlencode({"evil": XSS})
    assert XSS not in (await browse(url)).body.decode("gbk")


async def test_paying_leads_back_with_signed_parameters(client, sim, inbox, browse):
    """All of them documented, no trade_status, sign and sign_type not in the signed text."""
    url = client.page_url("ORDER1", return_url="https://shop.example/back?cart=7")
    response = await browse(await open_cashier(browse, sim, url), "action=pay")
    back = urlsplit(response.headers["Location"])
    assert (back.netloc, back.path) == ("shop.example", "/back")
    given = dict(parse_qsl(back.query))
    assert given.pop("cart") == "7"
    sign, sign_type = given.pop("sign"), given.pop("sign_type")
    text = "&".join(f"{name}={given[name]}" for name in sorted(given))
    assert verifies(sim.public_key_pem, text.encode(), sign)
    assert sign_type == "RSA2"
    assert given.pop("method") == "alipay.trade.page.pay.return"
    assert given["timestamp"] == BEIJING_NOW
    assert given["total_amount"] == "88.88"
    assert "trade_status" not in given
    await sim.idle()
    assert len(inbox.bodies) == 1


async def test_the_return_may_sign_its_sign_type(client, sim, browse):
    """Sources disagree about it, so a knob decides."""
    sim.knobs.return_sign_type = True
    url = client.page_url("ORDER1", return_url="https://shop.example/back")
    response = await browse(await open_cashier(browse, sim, url), "action=pay")
    given = dict(parse_qsl(urlsplit(response.headers["Location"]).query))
    sign = given.pop("sign")
    text = "&".join(f"{name}={given[name]}" for name in sorted(given))
    assert verifies(sim.public_key_pem, text.encode(), sign)


async def test_without_return_url_a_page_says_paid(client, sim, browse):
    """There is nowhere to go back to."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1"))
    response = await browse(cashier, "action=pay")
    assert response.code == 303
    page = (await browse(sim.url + response.headers["Location"])).body.decode()
    assert "付款成功" in page
    assert sim.trade("ORDER1").status == "TRADE_SUCCESS"


async def test_the_page_speaks_two_languages(client, sim, browse):
    """By ?lang=, else by Accept-Language, else Chinese."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1"))
    assert "确认付款" in (await browse(cashier)).body.decode()
    assert "Pay now" in (await browse(f"{cashier}?lang=en")).body.decode()
    english = await browse(cashier, **{"Accept-Language": "en-GB,en;q=0.9,zh;q=0.1"})
    assert "Pay now" in english.body.decode()


async def test_the_cashier_escapes_everything(client, sim, browse):
    """A subject is the merchant's text, not the page's."""
    subject = "<img src=x onerror=alert(1)>".replace("=", "＝") + "<script>"
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1", subject=subject))
    for page in (cashier, sim.url + "/"):
        text = (await browse(page)).body.decode()
        assert "<script>" not in text
        assert "&lt;script&gt;" in text
    response = await browse(cashier)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_pages_load_nothing_from_elsewhere(client, sim, browse):
    """No script, no external style, image or font."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1"))
    for address in (cashier, f"{sim.url}/", f"{sim.url}/wallet"):
        page = (await browse(address)).body.decode()
        for forbidden in ("<script", "<link", "@import", "src=", "url("):
            assert forbidden not in page


async def test_an_unsafe_return_address_is_refused(client, browse):
    """No javascript: in return_url or quit_url."""
    url = client.page_url("ORDER1", return_url="javascript:alert(1)")
    assert b"isv.invalid-parameter" in (await browse(url)).body
    url = client.wap_url("ORDER1", quit_url="javascript:alert(1)")
    assert b"ACQ.INVALID_PARAMETER" in (await browse(url)).body


async def test_the_same_order_again_attaches_to_its_trade(client, sim):
    """Other data under the same number are refused; paid and closed orders stay so."""
    first = sim.enter(client.page_url("ORDER1", time_expire="2026-11-22 21:00:00"))
    assert sim.enter(client.page_url("ORDER1", time_expire="2026-11-22 20:59:00")) is first
    with pytest.raises(Refusal, match=r"ACQ\.CONTEXT_INCONSISTENT"):
        sim.enter(client.page_url("ORDER1", "1.00"))
    with pytest.raises(Refusal, match=r"ACQ\.CONTEXT_INCONSISTENT"):
        sim.enter(client.page_url("ORDER1", passback_params="other"))
    await sim.pay("ORDER1")
    with pytest.raises(Refusal, match=r"ACQ\.TRADE_HAS_SUCCESS"):
        sim.enter(client.page_url("ORDER1"))
    sim.enter(client.page_url("ORDER2"))
    await sim.expire("ORDER2")
    with pytest.raises(Refusal, match=r"ACQ\.TRADE_HAS_CLOSE"):
        sim.enter(client.page_url("ORDER2"))


async def test_an_amount_written_otherwise_is_the_same_amount(client, sim):
    """88.8 and 88.80 are one order."""
    assert sim.enter(client.page_url("ORDER1", "88.8")) is sim.enter(
        client.page_url("ORDER1", "88.80")
    )


async def test_a_trade_closes_when_its_time_is_over(client, sim, inbox):
    """time_expire is Beijing time, and a payment after it is refused."""
    sim.enter(client.page_url("ORDER1", time_expire="2026-11-22 20:30:00"))
    await sim.advance(29 * 60 + 58)
    assert sim.trade("ORDER1").status == "WAIT_BUYER_PAY"
    await sim.advance(1)
    assert sim.trade("ORDER1").status == "TRADE_CLOSED"
    with pytest.raises(Refusal, match=r"ACQ\.TRADE_HAS_CLOSE"):
        await sim.pay("ORDER1")
    assert (await client.query("ORDER1")).fields["trade_status"] == "TRADE_CLOSED"
    assert inbox.bodies == []


async def test_an_order_entered_too_late_is_refused(client, sim, browse):
    """The address outlives the order."""
    url = client.page_url("ORDER1", time_expire="2026-11-22 20:30:00")
    await sim.advance(3600)
    assert b"ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR" in (await browse(url)).body
    assert sim.trade("ORDER1") is None


@pytest.mark.parametrize(
    ("express", "seconds"),
    [("1m", 60), ("90m", 5400), ("2h", 7200), ("15d", 1296000), ("1c", 14399)],
)
async def test_timeout_express_counts_from_the_trade(client, sim, express, seconds):
    """It starts when the buyer enters the cashier, not when the address was made."""
    url = client.page_url("ORDER1", timeout_express=express)
    trade = sim.enter(url)
    assert trade.expires_at - trade.created_at == seconds


async def test_time_expire_wins_over_timeout_express(client, sim):
    """The absolute of the two is the one that counts."""
    trade = sim.enter(
        client.page_url("ORDER1", timeout_express="2h", time_expire="2026-11-22 20:01")
    )
    assert trade.expires_at - trade.created_at == 59


async def test_a_code_dies_after_two_hours(client, sim, browse):
    """Scanning it then finds nothing."""
    code = (await client.precreate("ORDER1")).fields["qr_code"]
    await sim.advance(7200)
    response = await browse(code)
    assert b"ACQ.TRADE_NOT_EXIST" in response.body
    again = (await client.precreate("ORDER1")).fields["qr_code"]
    assert again != code
    assert (await browse(again)).code == 302


async def test_a_shorter_life_may_be_asked_for_a_code(client, sim):
    """qr_code_timeout_express narrows the two hours."""
    code = (await client.precreate("ORDER1", qr_code_timeout_express="5m")).fields["qr_code"]
    await sim.advance(300)
    with pytest.raises(Refusal):
        sim.enter(code)


async def test_scanned_trades_live_three_hours(client, sim):
    """The default of face-to-face; page, wap and app have fifteen days."""
    trade = sim.enter((await client.precreate("A")).fields["qr_code"])
    assert trade.expires_at - trade.created_at == 3 * 3600
    trade = sim.enter(client.page_url("B"))
    assert trade.expires_at - trade.created_at == 15 * 86400


async def test_the_wallet_answers_as_the_sdk(client, sim, browse, inbox):
    """resultStatus 9000 and a result signed over the exact text of its node."""
    response = await browse(
        f"{sim.url}/wallet", urlencode({"order_string": client.order_string("A")})
    )
    outcome = json.loads(response.body)
    assert outcome["resultStatus"] == "9000"
    name, value, _ = split(outcome["result"].encode())
    result = json.loads(outcome["result"])
    assert name == "alipay_trade_app_pay_response"
    assert result["sign_type"] == "RSA2"
    assert verifies(sim.public_key_pem, value.encode(), result["sign"])
    assert result[name]["out_trade_no"] == "A"
    assert result[name]["total_amount"] == "88.88"
    assert sim.trade("A").status == "TRADE_SUCCESS"
    await sim.idle()
    assert len(inbox.bodies) == 1


@pytest.mark.parametrize(
    ("action", "status", "paid"),
    [("cancel", "6001", False), ("processing", "8000", True), ("unknown", "6004", True)],
)
async def test_what_the_app_hears_is_not_what_happened(client, sim, action, status, paid):
    """8000 and 6004 may be paid, 6001 is not."""
    outcome = sim.open_in_wallet(client.order_string("A"), action)
    assert outcome["resultStatus"] == status
    assert (sim.trade("A").status == "TRADE_SUCCESS") is paid
    await sim.idle()


async def test_the_wallet_refuses_what_is_not_signed(client, sim):
    """4000, with the reason in an unsigned result."""
    outcome = sim.open_in_wallet(client.order_string("A").replace("88.88", "0.01"))
    assert outcome["resultStatus"] == "4000"
    assert "isv.invalid-signature" in outcome["result"]
    assert sim.trade("A") is None
    assert sim.open_in_wallet(client.order_string("A"), "network")["resultStatus"] == "6002"
    assert sim.trade("A") is None


async def test_the_wallet_refuses_a_paid_order(client, sim):
    """A second payment of one order cannot happen."""
    order_string = client.order_string("A")
    sim.open_in_wallet(order_string)
    assert sim.open_in_wallet(order_string)["resultStatus"] == "4000"
    await sim.idle()


async def test_a_person_can_open_an_order_string(client, sim, browse):
    """The page asks for one, leads to the cashier, and shows what the app would receive."""
    assert "orderString" in (await browse(f"{sim.url}/wallet")).body.decode()
    query = urlencode({"order_string": client.order_string("A")})
    response = await browse(f"{sim.url}/wallet?{query}")
    cashier = sim.url + response.headers["Location"]
    await browse(cashier, "action=pay")
    page = (await browse(cashier)).body.decode()
    assert "resultStatus" in page
    await sim.idle()


@pytest.mark.parametrize("misfortune", misfortunes.MENU, ids=lambda each: each.name)
async def test_every_misfortune_has_a_button_that_pays(client, sim, browse, misfortune):
    """What goes wrong is the notification or the gateway, never the payment."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1"))
    page = (await browse(cashier)).body.decode()
    assert f'value="{misfortune.name}"' in page
    await browse(cashier, f"action={misfortune.name}")
    assert sim.trade("ORDER1").status == "TRADE_SUCCESS"
    await sim.idle()


async def test_the_cashier_warns_of_a_magic_amount(client, sim, browse):
    """Nobody shall wonder why the notification never came."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1", "1.91"))
    assert misfortunes.BY_NAME["lost"].zh in (await browse(cashier)).body.decode()


async def test_an_impossible_click_is_refused(client, sim, browse):
    """Paying twice shows why not; an unknown action or trade is an HTTP error."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1"))
    await browse(cashier, "action=pay")
    assert b"ACQ.TRADE_HAS_SUCCESS" in (await browse(cashier, "action=pay")).body
    assert (await browse(cashier, "action=steal")).code == 400
    assert (await browse(f"{sim.url}/cashier/123")).code == 404
    await sim.idle()


async def test_a_person_can_let_a_trade_expire(client, sim, browse):
    """The page then says that it is closed."""
    cashier = await open_cashier(browse, sim, client.page_url("ORDER1"))
    await browse(cashier, "action=expire")
    assert "交易已关闭" in (await browse(cashier)).body.decode()


async def test_the_index_lists_trades_and_notifications(client, sim, browse):
    """The books, for people."""
    sim.enter(client.page_url("ORDER1"))
    await sim.pay("ORDER1")
    page = (await browse(f"{sim.url}/?lang=en")).body.decode()
    for text in ("ORDER1", "TRADE_SUCCESS", "paid #1", "one_fen_off"):
        assert text in page


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a&amp;notify_url=x", "a&notify_url=x"),
        ("a&notify_url=x&timestamp=y", "a&notify_url=x&timestamp=y"),
        ("a&not=x", "a&not=x"),
        ("&copy; &copy &copy2 &#169;&#xA9; &nosuch;", "© © &copy2 ©© &nosuch;"),
        ("&lt;&gt;&quot;&#x27;&#39;", "<>\"''"),
        ("&amp;amp;", "&amp;"),
    ],
)
def test_forms_are_read_as_browsers_read_them(written, read):
    """Inside an attribute a reference without semicolon stands for itself before `=` or a letter."""
    form = f'<form action="http://h/?charset=utf-8"><input name="biz_content" value="{written}"></form>'
    assert parameters_of(form)["biz_content"] == read
