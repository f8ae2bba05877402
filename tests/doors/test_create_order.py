"""POST /v1/create_order/."""

import asyncio

import pytest


async def test_an_order_is_priced_by_the_server(client):
    """The answer carries number, state, price from the catalogue, expiry, and what the app's SDK needs."""
    reply = await client.create(quantity=3, metadata={"server": "eu-1"})
    assert reply.status == 201
    order = reply.json
    assert (order["status"], order["amount"], order["currency"]) == ("pending", 1800, "CNY")
    assert len(order["order_no"]) == 32
    assert order["payment"]["order_string"].count("sign=") == 1
    assert (await client.order(order["order_no"]))["metadata"] == {"server": "eu-1"}


async def test_with_and_without_a_trailing_slash(client):
    """Both spellings of each address reach the same door."""
    wanted = {"channel": "alipay", "product_id": "coins_500", "receiver": "p"}
    first = await client.call("POST", "/v1/create_order", wanted)
    second = await client.call("POST", "/v1/create_order/", wanted)
    number = first.json["order_no"]
    assert first.status == second.status == 201
    assert (await client.call("GET", f"/v1/orders/{number}/")).status == 200
    assert (await client.call("POST", "/v1/verify/alipay/", {"order_no": number})).status == 200


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"channel": "paypal"}, 400, "channel"),
        ({"product_id": "nothing"}, 422, "product_id"),
        ({"method": "telepathy"}, 400, "method"),
        ({"receiver": ""}, 400, "receiver"),
        ({"receiver": "two words"}, 400, "receiver"),
        ({"receiver": 7}, 400, "receiver"),
        ({"quantity": 0}, 400, "quantity"),
        ({"quantity": 10**30}, 400, "quantity"),
        ({"quantity": "1"}, 400, "quantity"),
        ({"quantity": True}, 400, "quantity"),
        ({"amount": 1}, 400, "amount"),
        ({"return_url": "https://evil.example/"}, 400, "return_url"),
        ({"metadata": {"k": 1}}, 400, "metadata.k"),
    ],
)
async def test_bad_input_names_the_field(client, fields, status, field):
    """A wrong field is named in a problem document with a stable code, and nothing is stored."""
    reply = await client.create(**fields)
    assert (reply.status, reply.json["field"]) == (status, field)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["request_id"] == reply.headers["X-Request-Id"]
    assert await client.count("orders") == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b'{"channel":"alipay","channel":"alipay","product_id":"coins_500","receiver":"p"}',
        b'{"channel":NaN}',
        b"[" * 20000,
        b'{"receiver":"\\ud800","channel":"alipay","product_id":"coins_500"}',
    ],
)
async def test_what_is_no_json_is_a_clear_400(client, body):
    """Garbage, repeated keys, NaN, deep nesting and lone surrogates are refused as such."""
    reply = await client.call("POST", "/v1/create_order/", body)
    assert (reply.status, reply.json["code"]) == (400, "invalid_request")


async def test_a_body_over_the_limit_is_refused(client):
    """More than 64 KiB is answered 413, announced or not."""
    reply = await client.call("POST", "/v1/create_order/", b"x" * (64 * 1024 + 1))
    assert (reply.status, reply.json["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("length", ["abc", "", "-1"])
async def test_a_broken_length_is_the_senders_fault(client, stage, length):
    """A Content-Length that is none gets a 400, and no stack fills the log."""
    host, port = stage.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /v1/create_order/ HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    assert b" 400 " in line


async def test_who_hangs_up_in_the_middle_is_forgotten(client, stage):
    """Half-sent requests leave nothing behind, neither memory nor a shutdown that waits for them."""
    host, port = stage.url.removeprefix("http://").split(":")
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/callback/alipay HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf"
        )
        await writer.drain()
        await client.until(lambda: stage.platform.running)
        writer.close()
        await writer.wait_closed()
    await client.until(lambda: not stage.platform.running)


async def test_the_same_key_and_body_is_the_same_order(client):
    """A repeated Idempotency-Key gets the same order and byte for byte the same payment parameters."""
    first, second = await client.create(key="k1"), await client.create(key="k1")
    assert first.status == second.status == 201
    assert first.json == second.json
    assert await client.count("orders") == 1


async def test_the_same_key_with_another_body_is_refused(client):
    """A misused key is 422 and changes nothing."""
    await client.create(key="k1")
    reply = await client.create(key="k1", quantity=2)
    assert (reply.status, reply.json["code"]) == (422, "idempotency_mismatch")
    assert await client.count("orders") == 1


async def test_a_key_belongs_to_its_receiver(client):
    """Two players may use the same key."""
    first, second = await client.create(key="k"), await client.create(key="k", receiver="player-2")
    assert first.json["order_no"] != second.json["order_no"]


@pytest.mark.parametrize("key", ["x" * 256, "ключ"])
async def test_an_impossible_key_is_refused(client, key):
    """A key that cannot be stored whole names its header."""
    reply = await client.call(
        "POST", "/v1/create_order/", b"{}", Idempotency_Key=key.encode("utf-8").decode("latin-1")
    )
    assert reply.status == 400


async def test_many_identical_requests_at_once_open_one_order(client):
    """Fifty parallel requests with one key get one order."""
    replies = await asyncio.gather(*(client.create(key="k") for _ in range(50)))
    assert {reply.status for reply in replies} == {201}
    assert len({reply.json["order_no"] for reply in replies}) == 1
    assert await client.count("orders") == 1


async def test_a_code_is_asked_for_once(client, stage):
    """A QR code is kept with its order: the repeat gets the same one without asking Alipay again."""
    first, second = [await client.create(key="q", method="qr") for _ in range(2)]
    assert first.json["payment"] == second.json["payment"]
    asked = [r for r in stage.alipay.received if r.method == "alipay.trade.precreate"]
    assert len(asked) == 1


async def test_while_the_first_request_still_asks_the_second_is_told_so(client, stage):
    """Two requests with one key never ask Alipay at the same time: the second one is 409."""
    stage.alipay.next_answers("slow", seconds=1.0)
    first = asyncio.ensure_future(client.create(key="q", method="qr"))
    await client.until(lambda: stage.alipay.received)
    second = await client.create(key="q", method="qr")
    assert (second.status, second.json["code"]) == (409, "still_running")
    assert (await first).status == 201


async def test_a_failed_preparation_can_be_repeated(client, stage):
    """When Alipay cannot be asked the client gets 503, the order stays, and the same key goes on with it."""
    stage.alipay.next_answers("http_500")
    first = await client.create(key="q", method="qr")
    second = await client.create(key="q", method="qr")
    assert (first.status, first.json["code"]) == (503, "provider_unavailable")
    assert second.status == 201
    assert await client.count("orders") == 1


async def test_the_return_address_must_be_the_apps(client, stage):
    """An allowed address is handed to Alipay, for the browser's way back."""
    port = stage.shop_url.rpartition(":")[2]
    reply = await client.create(method="page", return_url=f"{stage.shop_url}/back")
    assert f"return_url=http%3A%2F%2F127.0.0.1%3A{port}%2Fback" in reply.json["payment"]["url"]
    for evil in (".evil.example/x", "@evil.example/", "1/back"):
        reply = await client.create(method="page", return_url=f"{stage.shop_url}{evil}")
        assert (reply.status, reply.json["field"]) == (400, "return_url")
