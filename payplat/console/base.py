"""What every page of the console has: who looks, in which language, forms that no other site can send, and errors."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from payplat import audit, errors
from payplat.audit import Act
from payplat.console import words
from payplat.console.desk import (
    LANGUAGE_COOKIE,
    ROOT,
    Desk,
    amount_text,
    detail_text,
    is_number,
    link_of,
    message_text,
    moment_text,
    seal_of,
)
from payplat.console.files import address_of
from payplat.handlers.base import BaseHandler, ErrorAnswer
from payplat.operators import Operator
from payplat.peers import household, is_in
from payplat.seam import rfc3339
from payplat.words import Words, choose

# Pages hold what is theirs: no script, style or frame of anybody else, and no form that leads away.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_YEAR = 365
_MOST_FIELDS = 1000


class Page(BaseHandler):
    """The base of the console's pages. Who is not signed in is led to the sign-in page."""

    is_public = False
    allowed_methods = ("GET", "POST")
    t = Words(words.TABLE, "en")
    operator: Operator | None = None
    token = ""
    _is_inside = False

    def initialize(self, desk: Desk) -> None:
        """Receive what pages work with."""
        self.desk = desk

    def set_default_headers(self) -> None:
        """Let pages hold what they need."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", POLICY)

    async def prepare(self) -> None:  # type: ignore[override]
        """Let in who comes from where the console is open, find who it is, and choose the language."""
        super().prepare()
        if not is_in(self.peer, self.desk.networks):
            raise errors.NotFound
        self._is_inside = True
        self._choose_language()
        self._require_own_site()
        self.token = self.get_cookie(self.desk.cookie, "") or ""
        self.operator = await self.desk.operators.find(self.token) if self.token else None
        if self.operator is None and not self.is_public:
            back = self.request.uri if self.request.method == "GET" else ROOT
            self.redirect(f"{ROOT}/sign-in?{urlencode({'next': back})}", status=303)

    def _choose_language(self) -> None:
        asked = self.get_query_argument("lang", "")
        remembered = self.get_cookie(LANGUAGE_COOKIE, "") or ""
        accepted = self.request.headers.get("Accept-Language", "")
        self.t = Words(words.TABLE, choose(asked, remembered, accepted))
        if asked == self.t.language:
            secure = self.desk.is_secure
            self.set_cookie(
                LANGUAGE_COOKIE, asked, expires_days=_YEAR, samesite="Lax", secure=secure, path=ROOT
            )

    def _require_own_site(self) -> None:
        """Refuse what another site's page sends; a browser says so (Fetch Metadata), and cookies are Lax besides."""
        sender = self.request.headers.get("Sec-Fetch-Site", "none")
        if self.request.method == "POST" and sender not in ("same-origin", "none"):
            raise errors.NotPermitted("The form is another site's.")

    @property
    def signed_in(self) -> Operator:
        """Who looks; pages that are not public have somebody."""
        if self.operator is None:
            raise errors.NotPermitted
        return self.operator

    def read_form(self) -> dict[str, list[str]]:
        """Return a form's fields; raises InvalidRequest for what is none, NotPermitted without the session's seal."""
        try:
            text = self.inbound.body.decode("ascii")
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
            )
        except ValueError:
            raise errors.InvalidRequest("The body is no form.") from None
        form: dict[str, list[str]] = {}
        for name, value in pairs:
            form.setdefault(name, []).append(value)
        if self.token and form.pop("seal", []) != [seal_of(self.token)]:
            raise errors.NotPermitted("The form is not of this session.")
        return form

    def read_act(self) -> dict[str, list[str]]:
        """Return the form of an act; raises NotPermitted unless an operator sends it, who may do more than look."""
        if not self.signed_in.acts:
            raise errors.NotPermitted(self.t("viewer_only_looks"))
        return self.read_form()

    async def record(self, act: Act) -> None:
        """Put an act on record, before it is done: nothing is ever done without a record."""
        await self.desk.database.transaction(lambda c: audit.record(c, act))

    def done(self, path: str, notice: str) -> None:
        """Lead to a page that says by ``notice``, a key of the words, what was done."""
        mark = "&" if "?" in path else "?"
        self.redirect(f"{ROOT}{path}{mark}done={notice}", status=303)

    def page_argument(self, name: str) -> str:
        """Return an argument of the address, empty where it is missing; raises InvalidRequest when given twice."""
        given = self.get_query_arguments(name)
        if len(given) > 1:
            raise errors.InvalidRequest("The parameter is given twice.", field=name)
        return given[0] if given else ""

    def number_argument(self, name: str) -> int | None:
        """Return an argument of the address that names a row; raises InvalidRequest when it is no number."""
        text = self.page_argument(name)
        if text and not is_number(text):
            raise errors.InvalidRequest("It is no number.", field=name)
        return int(text) if text else None

    def send_file(self, name: str, content: bytes) -> None:
        """Answer a CSV file to be kept."""
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.finish(content)

    def get_template_namespace(self) -> dict[str, Any]:
        """Give every page the words, who looks, and how numbers look."""
        done = self.page_argument("done") if self.request.method == "GET" else ""
        return {
            **super().get_template_namespace(),
            "t": self.t,
            "operator": self.operator,
            "seal": seal_of(self.token) if self.token else "",
            "is_sandbox": self.desk.settings.environment == "sandbox",
            "notice": self.t(done) if done.startswith("done_") and done in words.TABLE else "",
            "path": self.request.path,
            "other_language": self._in_other_language(),
            "amount_text": amount_text,
            "moment_text": moment_text,
            "rfc3339": rfc3339,
            "detail_text": detail_text,
            "link_of": link_of,
            "message_text": message_text,
            "told": self._told,
            "quote": quote,
            "file": address_of,
        }

    def _told(self, moment: Mapping[str, Any]) -> str:
        """Return what a line of a timeline says in the language of the page."""
        return str(moment["told"][self.t.language])

    def _in_other_language(self) -> str:
        kept = [(k, v) for k, v in parse_qsl(self.request.query) if k not in ("lang", "done")]
        return f"{self.request.path}?{urlencode([*kept, ('lang', self.t.other)])}"

    def tell_error(self, told: ErrorAnswer, error: BaseException | None) -> None:
        """Tell on a page what went wrong; to strangers this is no page."""
        if not self._is_inside:
            super().set_default_headers()
            super().tell_error(told, error)
            return
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        sentence = self.t(f"error_{told.code}") if f"error_{told.code}" in words.TABLE else ""
        if not sentence and isinstance(error, errors.PayplatError):
            sentence = str(error)
        self.finish(
            self.render_string("problem.html", sentence=sentence or self.t("error_internal_error"))
        )


class SignIn(Page):
    """``/console/sign-in``."""

    is_public = True

    def get(self) -> None:
        """Ask for name, password and code."""
        self.render("sign_in.html", next=self.page_argument("next"), refused=False, name="")

    async def post(self) -> None:
        """Open a session and lead to where the operator wanted to go; never to another site."""
        self.token = ""  # a session of before decides nothing here
        form = {name: values[-1] for name, values in self.read_form().items()}
        name, password = form.get("name", ""), form.get("password", "")
        self.settings["limits"]["sign_in"].spend(household(self.peer))
        try:
            token = await self.desk.operators.sign_in(name, password, form.get("code", "").strip())
        except errors.SignInRefused:
            self.set_status(403)
            self.render("sign_in.html", next=form.get("next", ""), refused=True, name=name)
            return
        self.set_cookie(
            self.desk.cookie,
            token,
            httponly=True,
            samesite="Lax",
            secure=self.desk.is_secure,
            path="/",
        )
        self.redirect(_own(form.get("next", "")), status=303)


class SignOut(Page):
    """``/console/sign-out``."""

    async def post(self) -> None:
        """End the session."""
        self.read_form()
        await self.desk.operators.sign_out(self.token)
        self.clear_cookie(self.desk.cookie, path="/", secure=self.desk.is_secure)
        self.redirect(f"{ROOT}/sign-in", status=303)


class NoPage(Page):
    """Every other address below ``/console``."""

    def get(self) -> None:
        """Answer 404."""
        raise errors.NotFound

    post = get


def _own(address: str) -> str:
    """Return an address of the console's own, the start where it is none."""
    is_ours = address == ROOT or address.startswith((f"{ROOT}/", f"{ROOT}?"))
    return address if is_ours and address.isprintable() and "\\" not in address else ROOT
