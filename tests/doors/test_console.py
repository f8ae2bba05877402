"""The console's door: who gets in, what a session may do, and what no other site can make it do."""

import asyncio
import re

import pyotp
import pytest

from payplat import operators, seam
from payplat.errors import Conflict, SignInRefused
from payplat.models import AUDIT, OPERATORS, SESSIONS
from payplat.operators import IDLE, Operators, Role
from tests.people import Person, person

PAGES = ["", "/account", "/acts", "/orders/0193", "/nowhere"]


async def acts_of(stage) -> list[tuple[str, str, str]]:
    """What is on record, oldest first."""
    rows = await stage.platform.database.read(lambda c: c.execute(AUDIT.select()))
    return [(row.operator, row.act, row.subject) for row in rows]


async def test_nobody_looks_without_signing_in(stage):
    """Every page leads to the sign-in page and tells nothing, and a form that nobody signed for does nothing."""
    stranger = Person(stage)
    for page in PAGES:
        reply = await stranger.open(page)
        assert reply.status == 303
        assert reply.headers["Location"].startswith("/console/sign-in?next=%2Fconsole")
    reply = await stranger.send("/orders/0193/verify", {})
    assert reply.headers["Location"] == "/console/sign-in?next=%2Fconsole"


async def test_who_signs_in_comes_where_they_wanted_to_go(stage):
    """The right password opens a session whose cookie no script can read; it leads on, but to no other site."""
    ann = await person(stage, "ann")
    for wanted, led in (
        ("/console/acts?before=7", "/console/acts?before=7"),
        ("https://evil.example/console", "/console"),
        ("//evil.example", "/console"),
        ("/consoles", "/console"),
        ("/console/\\evil", "/console"),
        ("", "/console"),
    ):
        reply = await ann.sign_in(next=wanted)
        assert (reply.status, reply.headers["Location"]) == (303, led)
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = (await ann.open("/acts")).body.decode()
    assert "ann" in page
    assert "signed in" in page
    assert ("ann", "sign_in", "ann") in await acts_of(stage)


async def test_wrong_words_are_all_refused_alike(stage):
    """A wrong password, an unknown name, one that has ended and an impossible one get the same answer."""
    ann = await person(stage, "ann")
    await person(stage, "bob")
    await operators.end(stage.platform.database, "bob", "test")
    answers = set()
    for name in ("ann", "bob", "nobody", "n" * 65, "", "a\x00b"):
        guest = Person(stage, name)
        reply = await guest.sign_in(password="wrong" * 4)
        answers.add((reply.status, reply.body.replace(name.encode(), b"")))
    assert len(answers) == 1
    assert answers.pop()[0] == 403
    assert (await ann.open("/acts")).status == 200


async def test_guessing_is_slowed(stage):
    """After five wrong passwords even the right one must wait; the right one in time forgets the wrong ones."""
    ann, door = await person(stage, "ann"), Operators(stage.platform.database)
    for _ in range(4):
        with pytest.raises(SignInRefused):
            await door.sign_in("ann", "wrong", "")
    assert await door.sign_in("ann", ann.password, "")
    for _ in range(5):
        with pytest.raises(SignInRefused):
            await door.sign_in("ann", "wrong", "")
    with pytest.raises(SignInRefused):
        await door.sign_in("ann", ann.password, "")
    database = stage.platform.database
    soon = OPERATORS.update().values(locked_until=seam.now() - 1)
    await database.transaction(lambda c: c.execute(soon))
    assert await door.sign_in("ann", ann.password, "")


async def test_an_address_that_guesses_is_held_off(stage):
    """Whatever the names, one address may try so often in a minute and no oftener."""
    guest = Person(stage)
    statuses = []
    for number in range(22):
        guest.name = f"name-{number}"
        statuses.append((await guest.sign_in(password="x")).status)
    assert statuses[:20] == [403] * 20
    assert statuses[-1] == 429


async def test_a_second_factor_is_demanded_once_it_is_there(stage):
    """The code of the moment opens, once; a wrong one, none and one that was used do not."""
    ann = await person(stage, "ann")
    page = (await ann.open("/account")).body.decode()
    secret = re.search(r'name="secret" value="(\w+)"', page)[1]
    code = pyotp.TOTP(secret).now()
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    refused = await ann.press("/account", "/account/totp", secret=secret, code=wrong)
    assert refused.status == 400
    again = await ann.press("/account", "/account/totp", secret=secret, code=code)
    assert again.headers.get("Location") or b"Sign in" in again.body
    assert (await ann.open("/acts")).status == 303  # its sessions have ended
    assert (await ann.sign_in()).status == 403
    assert (await ann.sign_in(code=code)).status == 403
    later = pyotp.TOTP(secret).at(int(seam.now() // seam.SECOND) + 30)
    both = await asyncio.gather(ann.sign_in(code=later), ann.sign_in(code=later))
    assert sorted(reply.status for reply in both) == [303, 403]
    assert ("ann", "totp_added", "ann") in await acts_of(stage)
    other = pyotp.random_base32()
    code = pyotp.TOTP(other).now()
    again = await ann.press("/account", "/account/totp", secret=other, code=code)
    assert again.status == 403  # whoever has only the session takes it away from nobody


async def test_a_password_is_changed_by_who_knows_it(stage):
    """The old one and a long new one are needed; all sessions end."""
    ann = await person(stage, "ann")
    other = Person(stage, "ann")
    other.password = ann.password
    await other.sign_in()
    for old, new, status in (("x", "n" * 20, 403), (ann.password, "short", 400)):
        reply = await ann.press("/account", "/account/password", old=old, new=new)
        assert reply.status == status
    await ann.press("/account", "/account/password", old=ann.password, new="correct horse battery")
    assert (await other.open("/acts")).status == 303
    assert (await ann.sign_in()).status == 403
    assert (await ann.sign_in(password="correct horse battery")).status == 303


async def test_sessions_end(stage):
    """By signing out, by half an hour without a look, by twelve hours, and when an operator's role changes or ends."""
    ann, database = await person(stage, "ann"), stage.platform.database
    await ann.press("/acts", "/sign-out")
    assert (await ann.open("/acts")).status == 303
    for values in ({"seen_at": seam.now() - IDLE}, {"ends_at": seam.now()}):
        await ann.sign_in()
        assert (await ann.open("/acts")).status == 200
        aged = SESSIONS.update().values(**values)
        await database.transaction(lambda c, s=aged: c.execute(s))
        assert (await ann.open("/acts")).status == 303
    await ann.sign_in()
    await operators.set_role(database, "ann", Role.VIEWER, "test")
    assert (await ann.open("/acts")).status == 303
    await ann.sign_in()
    for ended_at, status in ((seam.now(), 303), (None, 200)):  # one that was opened meanwhile
        ended = OPERATORS.update().values(ended_at=ended_at)
        await database.transaction(lambda c, s=ended: c.execute(s))
        assert (await ann.open("/acts")).status == status
    await operators.end(database, "ann", "test")
    assert (await ann.open("/acts")).status == 303
    assert (await ann.sign_in()).status == 403
    with pytest.raises(Conflict):
        await operators.set_role(database, "ann", Role.OPERATOR, "test")


async def test_a_session_goes_on_while_somebody_looks(stage):
    """Each look within the half hour begins it anew."""
    ann, database = await person(stage, "ann"), stage.platform.database
    aged = SESSIONS.update().values(seen_at=seam.now() - IDLE + 60 * seam.SECOND)
    await database.transaction(lambda c: c.execute(aged))
    assert (await ann.open("/acts")).status == 200
    (seen,) = (await database.read(lambda c: c.execute(SESSIONS.select()))).all()
    assert seen.seen_at > seam.now() - 60 * seam.SECOND


async def test_a_viewer_only_looks(stage, client):
    """What changes anything is refused to a viewer, and the page does not offer it."""
    order_no = (await client.create()).json["order_no"]
    vic = await person(stage, "vic", Role.VIEWER)
    page = (await vic.open(f"/orders/{order_no}")).body.decode()
    assert "Ask the provider now" not in page
    for act in ("verify", "resend", "propose"):
        reply = await vic.press(f"/orders/{order_no}", f"/orders/{order_no}/{act}", delivery="1")
        assert reply.status == 403, act
    assert [act for _, act, _ in await acts_of(stage)] == ["operator_created", "sign_in"]


async def test_no_other_site_can_send_a_form(stage, client):
    """Without the session's own seal, with another session's, or from a page of another site nothing is done."""
    ann, bob = await person(stage, "ann"), await person(stage, "bob")
    path = f"/orders/{(await client.create()).json['order_no']}/verify"
    page = (await bob.open("/acts")).body.decode()
    foreign = re.search(r'name="seal" value="(\w+)"', page)[1]
    page = (await ann.open("/acts")).body.decode()
    own = re.search(r'name="seal" value="(\w+)"', page)[1]
    assert (await ann.send(path, {})).status == 403
    assert (await ann.send(path, {"seal": foreign})).status == 403
    assert (await ann.send(path, {"seal": [own, own]})).status == 403
    assert (await ann.send(path, {"seal": own}, Sec_Fetch_Site="cross-site")).status == 403
    assert (await ann.send(path, {"seal": own}, Sec_Fetch_Site="same-origin")).status == 303


async def test_pages_say_what_went_wrong(stage):
    """What is not there, and what cannot be, is told on a page, in both languages."""
    ann = await person(stage, "ann")
    for path in ("/orders/0193", f"/orders/{'x' * 300}"):
        reply = await ann.open(path)
        assert (reply.status, "There is no such order." in reply.body.decode()) == (404, True)
    reply = await ann.open("/nowhere?lang=zh")
    assert (reply.status, "页面不存在" in reply.body.decode()) == (404, True)
    assert (await ann.open("/acts?before=x")).status == 400
    assert (await ann.send("/sign-in", {"name": "ann", "more": ["x"] * 2000})).status == 400


class TestElsewhere:
    """Where the console is not open, it is not there."""

    @pytest.fixture
    def overrides(self) -> dict[str, str]:
        """Open to a network that is not ours."""
        return {"PAYPLAT_CONSOLE__NETWORKS": '["10.1.2.3/32"]'}

    async def test_to_others_there_is_none(self, stage, client):
        """Its addresses answer as any that does not exist, to the byte, but for the request's id."""
        guest = Person(stage)
        for path in ("", "/sign-in", "/acts"):
            reply, missing = await guest.open(path), await client.call("GET", "/nowhere")
            assert (reply.status, reply.headers["Content-Type"]) == (
                404,
                missing.headers["Content-Type"],
            )
            assert {**reply.json, "request_id": ""} == {**missing.json, "request_id": ""}
            assert set(reply.headers) == set(missing.headers)
            policy = "Content-Security-Policy"
            assert reply.headers[policy] == missing.headers[policy]
