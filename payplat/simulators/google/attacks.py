"""Pushes that Google never sends: each method of Attacks is one thing a receiver must withstand."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from payplat.simulators.clock import Clock
from payplat.simulators.google import notices
from payplat.simulators.google.apps import App
from payplat.simulators.google.books import new_token
from payplat.simulators.google.identity import Identity
from payplat.simulators.google.notices import Push

_MEGABYTE = 1 << 20


class Attacks:
    """Each is a lie about a purchase in `app`; by default about one that does not exist.

    `token` names another one. What is not wrong by the attack's name is right.
    """

    def __init__(self, identity: Identity, clock: Clock) -> None:
        self._identity = identity
        self._clock = clock

    def make(self, name: str, app: App, token: str = "") -> Push:
        """The attack of this name; raises ValueError if there is none."""
        if name not in NAMES:
            raise ValueError(f"{name!r} is none of {', '.join(NAMES)}")
        push: Push = getattr(self, name)(app, token)
        return push

    # The bearer token is wrong.

    def wrong_audience(self, app: App, token: str = "") -> Push:
        """A token of Google's for the right account, made out to another service."""
        return self._push(app, token, {"aud": "https://elsewhere.example/rtdn"})

    def wrong_email(self, app: App, token: str = "") -> Push:
        """A token of Google's with our audience, for somebody else's service account."""
        return self._push(app, token, {"email": "evil@attacker.iam.gserviceaccount.com"})

    def no_email(self, app: App, token: str = "") -> Push:
        """A token that does not say for whom."""
        return self._push(app, token, {"email": None, "email_verified": None})

    def unverified_email(self, app: App, token: str = "") -> Push:
        """The right address, but Google has not verified it."""
        return self._push(app, token, {"email_verified": False})

    def wrong_issuer(self, app: App, token: str = "") -> Push:
        """Somebody else says he made the token."""
        return self._push(app, token, {"iss": "https://accounts.attacker.example"})

    def expired(self, app: App, token: str = "") -> Push:
        """A token that ended an hour ago."""
        now = int(self._clock.now())
        return self._push(app, token, {"iat": now - 7200, "exp": now - 3600})

    def without_expiry(self, app: App, token: str = "") -> Push:
        """A token that never ends."""
        return self._push(app, token, {"exp": None})

    def from_the_future(self, app: App, token: str = "") -> Push:
        """A token that will be made in an hour."""
        now = int(self._clock.now())
        return self._push(app, token, {"iat": now + 3600, "exp": now + 7200})

    def foreign_key(self, app: App, token: str = "") -> Push:
        """Signed by a stranger under Google's `kid`."""
        return self._push(app, token, {}, key="wrong")

    def unknown_kid(self, app: App, token: str = "") -> Push:
        """Signed by a stranger under a `kid` that nobody publishes."""
        return self._push(app, token, {}, key="wrong", kid=secrets.token_hex(20))

    def hs256(self, app: App, token: str = "") -> Push:
        """An HMAC with Google's public key as the secret."""
        return self._push(app, token, {}, alg="HS256")

    def unsigned(self, app: App, token: str = "") -> Push:
        """`alg` none and no signature."""
        return self._push(app, token, {}, alg="none")

    def no_authorization(self, app: App, token: str = "") -> Push:
        """No bearer token at all."""
        return Push({"Content-Type": "application/json"}, self._body(app, token))

    def not_a_token(self, app: App, token: str = "") -> Push:
        """A bearer token that is no JSON Web Token."""
        headers = {"Content-Type": "application/json", "Authorization": "Bearer a.b.c"}
        return Push(headers, self._body(app, token))

    # The bearer token is right, the message is not.

    def other_subscription(self, app: App, token: str = "") -> Push:
        """From a subscription that was never configured."""
        subscription = "projects/attacker/subscriptions/rtdn"
        return self._genuine(app, self._wrap(app, self._data(app.package, token), subscription))

    def other_package(self, app: App, token: str = "") -> Push:
        """About an app that is not ours."""
        return self._genuine(app, self._wrap(app, self._data("com.attacker.game", token)))

    def unknown_member(self, app: App, token: str = "") -> Push:
        """A notification of a kind that does not exist yet."""
        content = {"purchaseToken": token or new_token()}
        data = notices.notification(app.package, self._clock.now(), "futureNotification", content)
        return self._genuine(app, self._wrap(app, data))

    def unknown_type(self, app: App, token: str = "") -> Push:
        """A notificationType that does not exist yet."""
        content = {"version": "1.0", "notificationType": 99, "purchaseToken": token, "sku": "?"}
        member = "oneTimeProductNotification"
        data = notices.notification(app.package, self._clock.now(), member, content)
        return self._genuine(app, self._wrap(app, data))

    def malformed_base64(self, app: App, token: str = "") -> Push:
        """`data` is not Base64."""
        return self._genuine(app, self._altered(app, token, data="%%% no base64 %%%"))

    def data_is_not_json(self, app: App, token: str = "") -> Push:
        """`data` is Base64 of something else."""
        data = base64.b64encode(b"\xff\xfe neither text nor JSON").decode()
        return self._genuine(app, self._altered(app, token, data=data))

    def body_is_not_json(self, app: App, token: str = "") -> Push:
        """The body is no envelope."""
        del token
        return self._genuine(app, b"{not json")

    def no_message_id(self, app: App, token: str = "") -> Push:
        """An envelope without the id that repetitions are known by."""
        return self._genuine(app, self._altered(app, token, messageId=None, message_id=None))

    def deeply_nested(self, app: App, token: str = "") -> Push:
        """JSON to exhaust the reader's stack."""
        del token
        return self._genuine(app, b"[" * 100_000)

    def megabyte(self, app: App, token: str = "") -> Push:
        """A body of more than one megabyte."""
        return self._genuine(app, self._altered(app, token, padding="x" * _MEGABYTE))

    def _push(self, app: App, token: str, changes: dict[str, Any], **how: Any) -> Push:
        bearer = self._identity.token(app, changes, **how)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
        return Push(headers, self._body(app, token))

    def _genuine(self, app: App, body: bytes) -> Push:
        return Push(self._push(app, "", {}).headers, body)

    def _body(self, app: App, token: str) -> bytes:
        return self._wrap(app, self._data(app.package, token))

    def _wrap(self, app: App, data: bytes, subscription: str = "") -> bytes:
        message_id = str(10**15 + secrets.randbelow(10**15))
        where = subscription or app.subscription
        return notices.envelope(data, message_id, self._clock.now(), where)

    def _altered(self, app: App, token: str, **fields: str | None) -> bytes:
        wrapped = json.loads(self._body(app, token))
        message = {**wrapped["message"], **fields}
        wrapped["message"] = {name: each for name, each in message.items() if each is not None}
        return json.dumps(wrapped).encode()

    def _data(self, package: str, token: str) -> bytes:
        content = {
            "version": "1.0",
            "notificationType": notices.ONE_TIME_PRODUCT_PURCHASED,
            "purchaseToken": token or new_token(),
            "sku": "coins_500",
        }
        member = "oneTimeProductNotification"
        return notices.notification(package, self._clock.now(), member, content)


NAMES = tuple(name for name in vars(Attacks) if not name.startswith("_") and name != "make")
