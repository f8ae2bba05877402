"""The page of one's own account: another password, and a second factor."""

import base64
import io
import re

import segno

from payplat.console.base import Page
from payplat.console.desk import ROOT
from payplat.errors import InvalidRequest, NotPermitted, SignInRefused
from payplat.operators import SHORTEST_PASSWORD, new_totp_secret, totp_uri

_SECRET = re.compile(r"[A-Z2-7]{32}")


class Account(Page):
    """``/console/account``."""

    def get(self) -> None:
        """Offer a new password, and a second factor where there is none."""
        self.show(new_totp_secret())

    def show(self, secret: str, refused: str = "") -> None:
        """Render the page; ``refused`` is the key of the words that says why not."""
        uri = totp_uri(secret, self.signed_in.name)
        self.render(
            "account.html",
            secret=secret,
            code=_drawing(uri),
            refused=refused,
            least=SHORTEST_PASSWORD,
        )


class Password(Account):
    """``/console/account/password``: ends all sessions."""

    async def post(self) -> None:
        """Change it, and ask to sign in again."""
        form = {name: values[-1] for name, values in self.read_form().items()}
        name, old, new = self.signed_in.name, form.get("old", ""), form.get("new", "")
        try:
            await self.desk.operators.change_password(name, old, new)
        except SignInRefused:
            self.set_status(403)
            self.show(new_totp_secret(), "wrong_password")
        except InvalidRequest:
            self.set_status(400)
            self.show(new_totp_secret(), "short_password")
        else:
            self.redirect(f"{ROOT}/sign-in", status=303)


class Totp(Account):
    """``/console/account/totp``: ends all sessions."""

    async def post(self) -> None:
        """Demand codes from now on, when the authenticator shows the right one."""
        form = {name: values[-1] for name, values in self.read_form().items()}
        secret = form.get("secret", "")
        if self.signed_in.has_totp or not _SECRET.fullmatch(secret):
            raise NotPermitted
        try:
            await self.desk.operators.add_totp(self.signed_in.name, secret, form.get("code", ""))
        except InvalidRequest:
            self.set_status(400)
            self.show(secret, "wrong_code")
        else:
            self.redirect(f"{ROOT}/sign-in", status=303)


def _drawing(uri: str) -> str:
    """Return the QR code as an address of itself."""
    drawing = io.BytesIO()
    segno.make(uri, micro=False).save(drawing, kind="svg", scale=4, border=3, light="#fff")
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.getvalue()).decode()
