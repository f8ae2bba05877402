"""What the document says of a channel's two steps; a channel says with ``replace`` what differs."""

from typing import Any

from payplat import errors
from payplat.clients import Scope
from payplat.handlers.described import CLIENTS, STORED, Answer, Content, Operation, problems
from payplat.handlers.orders import OrderAnswer

_REFUSALS = (
    errors.OrderNotFound,
    errors.NotAuthentic,
    errors.UnknownOrder,
    errors.AnotherOrder,
    errors.AlreadyPaid,
    errors.Mismatch,
    errors.NotAccepted,
    errors.ProviderRefused,
)
_THEIRS = (errors.ProviderMisconfigured, errors.ProviderUnavailable, errors.ProviderError)
ASKED = Answer("The order as it stands now that the provider was asked.", Content(OrderAnswer))
KEPT = Answer(
    "The order as it stands; the provider cannot tell yet. What was submitted is kept, and the provider asked again.",
    Content(OrderAnswer),
)
VERIFY = Operation(
    name="verify",
    title="Have a payment verified",
    says="The client says that the user has paid, and submits what shows it. The provider decides, never the client.",
    scope=Scope.BUY,
    body=Content(dict[str, Any]),
    answers={
        200: ASKED,
        202: KEPT,
        **problems(*CLIENTS, *_REFUSALS, *_THEIRS, errors.NoAnswer),
    },
)
# What becomes of a notice that cannot be taken.
UNTAKEN = (
    *STORED,
    errors.InvalidRequest,
    errors.NotAuthentic,
    errors.TooManyRequests,
    *_THEIRS,
    errors.NoAnswer,
)
CALLBACK = Operation(
    name="callback",
    title="Take the provider's notice",
    says="For the provider alone, whose signature is the proof: nobody else can make a notice that is believed.",
    body=Content(dict[str, Any]),
    answers={200: Answer("The notice was taken."), **problems(*UNTAKEN)},
)
