"""The App Store as a test holds it: time, signatures, misfortunes and cheats; only the doors lack."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from payplat.simulators.apple import jws
from payplat.simulators.apple.books import Fields
from payplat.simulators.apple.certificates import pem
from payplat.simulators.apple.faults import NoticeFault
from payplat.simulators.apple.forgeries import FORGERIES, Forge
from payplat.simulators.apple.misuses import MISUSES
from payplat.simulators.apple.notices import Attempt
from payplat.simulators.apple.pretences import PRETENCES, Pretence
from payplat.simulators.apple.store import Store

_ATTACKS = {**FORGERIES, **MISUSES}


class Simulation(Store):
    """What may be turned is in `knobs`, whose signatures count in `authority`."""

    @property
    def root_pem(self) -> str:
        """The root under which everything here is signed."""
        return pem(self.authority.root)

    @property
    def root_der(self) -> bytes:
        """The same root in DER."""
        return self.authority.root.der

    def sign_transaction(self, transaction_id: str) -> str:
        """The transaction as it stands, dated now."""
        return self.purchase(transaction_id).jws

    def sign(self, payload: Fields, **overrides: Any) -> str:
        """Any payload, rightly signed; an override replaces a field, None leaves it out.

        `signedDate` is now unless it is given.
        """
        fields = {"signedDate": self.milliseconds, **payload, **overrides}
        return jws.sign({k: v for k, v in fields.items() if v is not None}, self.authority.chain)

    @property
    def attacks(self) -> dict[str, Callable[[str], str]]:
        """What a cheat presents for a purchase, by name: FORGERIES and MISUSES.

        Each takes a transaction id and returns a JWS.
        """
        return {name: partial(self._attack, each) for name, each in _ATTACKS.items()}

    @property
    def notification_attacks(self) -> dict[str, Callable[..., bytes]]:
        """False notifications, by name: PRETENCES.

        Each takes a transaction id, and a notification type if it shall be another than
        ONE_TIME_CHARGE, and returns the body of a request.
        """
        return {name: partial(self._pretend, each) for name, each in PRETENCES.items()}

    def _attack(self, make: Forge, transaction_id: str) -> str:
        fields = self.purchase(transaction_id).fields
        return make(self, {**fields, "signedDate": self.milliseconds})

    def _pretend(
        self, make: Pretence, transaction_id: str, notification_type: str = "ONE_TIME_CHARGE"
    ) -> bytes:
        return make(self, self.purchase(transaction_id), notification_type)

    def next_answers(self, *kinds: str, path: str = "") -> None:
        """Spoil the next answers of the API, one after the other (see faults.KINDS).

        Only requests whose path contains `path` are meant.
        """
        for kind in kinds:
            self.faults.answer(kind, path)

    def next_notifications(self, notification_type: str = "", **fault: Any) -> None:
        """Spoil the next notification of this type, any when empty (see NoticeFault)."""
        self.faults.notification(notification_type, NoticeFault(**fault))

    @property
    def notifications(self) -> list[Attempt]:
        """Every delivery tried so far, in the order of sending."""
        return self.courier.attempts

    async def flush(self) -> None:
        """Deliver all notifications that wait or are held, now."""
        await self.courier.flush()

    async def idle(self) -> None:
        """Wait until nothing that is due now is still to be done."""
        await self.agenda.idle()

    async def advance(self, seconds: float) -> None:
        """Move the clock; whatever falls due on the way happens, in order, at its own time.

        What is signed from then on is dated by this clock: whoever verifies it needs the same.
        """
        await self.agenda.advance(seconds)
