"""The gateway, `/gateway.do`: server methods are answered in JSON, page methods open the cashier."""

from __future__ import annotations

import html
import secrets
from collections.abc import Mapping

from payplat.simulators.alipay import answers
from payplat.simulators.alipay.doors import Door
from payplat.simulators.alipay.entrance import enter_parameters
from payplat.simulators.alipay.faults import AnswerFault
from payplat.simulators.alipay.fields import CERT_DOWNLOAD, PAGE_METHODS
from payplat.simulators.alipay.methods import Fields, perform
from payplat.simulators.alipay.platform import Received
from payplat.simulators.alipay.refusals import Refusal
from payplat.simulators.alipay.requests import Call, check, read_parameters

_ERROR_PAGE = """<!DOCTYPE html>
<html><head><meta charset="GBK"><title>支付宝 - 模拟器 SIMULATOR</title></head>
<body><h1>抱歉，订单信息有误 · The order cannot be paid</h1>
<p>错误码 {sub_code}</p><p>{sub_msg}</p></body></html>
"""


class Gateway(Door):
    """HTTP 200 always, also for errors, and `text/html` although it is JSON."""

    async def get(self) -> None:
        """Answer a request whose parameters all stand in its address."""
        await self._serve()

    async def post(self) -> None:
        """Answer a request."""
        await self._serve()

    def check_xsrf_cookie(self) -> None:
        """Requests are signed."""

    async def _serve(self) -> None:
        parameters = read_parameters(self.request.query_arguments, self.request.body_arguments)
        self.set_header("trace_id", secrets.token_hex(16))
        if parameters.get("method") in PAGE_METHODS:
            self._open_cashier(parameters)
        else:
            await self._answer(parameters)

    def _open_cashier(self, parameters: Mapping[str, str]) -> None:
        try:
            trade = enter_parameters(self.platform, parameters)
        except Refusal as refusal:
            self._note(parameters, {}, refusal.answer())
            self.error_page(refusal)
            return
        self._note(parameters, {"out_trade_no": trade.out_trade_no}, {"code": "10000"})
        self.redirect(f"/cashier/{trade.trade_no}")

    def error_page(self, refusal: Refusal) -> None:
        """Shown to the buyer, in GBK."""
        text = _ERROR_PAGE.format(
            sub_code=html.escape(refusal.sub_code), sub_msg=html.escape(refusal.sub_msg)
        )
        self.set_header("Content-Type", "text/html;charset=GBK")
        self.finish(text.encode("gbk", "replace"))

    async def _answer(self, parameters: Mapping[str, str]) -> None:
        try:
            call = check(parameters, self.platform.apps)
        except Refusal as refusal:
            self._note(parameters, {}, refusal.answer())
            self._finish(parameters, refusal.answer(), signed=refusal.signed)
            return
        fault = self.platform.faults.take_answer(call.method, self._order_number(call))
        answer = self._perform(call, fault)
        self._note(parameters, call.biz, answer)
        await self._deliver(call, answer, fault)

    def _order_number(self, call: Call) -> str:
        """Of the order that is meant, also where only trade_no names it."""
        seller, number = call.app.seller_id, call.text("out_trade_no")
        if "trade_no" not in call.biz:
            return number
        try:
            return self.platform.ledger.find(seller, number, call.text("trade_no")).out_trade_no
        except Refusal:
            return number

    def _perform(self, call: Call, fault: AnswerFault | None) -> Fields:
        spoiled = _error(fault)
        if fault and not fault.carries_out:
            return spoiled
        try:
            answer = perform(self.platform, call)
        except Refusal as refusal:
            answer = refusal.answer()
        return spoiled or answer

    async def _deliver(self, call: Call, answer: Fields, fault: AnswerFault | None) -> None:
        kind = fault.kind if fault else ""
        if kind == "cut":
            self.cut()
        elif kind == "http_500":
            self.set_status(500)
            self.finish("<html><body>Internal Server Error</body></html>")
        elif kind == "html":
            self.set_header("Content-Type", "text/html;charset=GBK")
            self.finish("<html><body>系统维护中</body></html>".encode("gbk"))
        else:
            await self.platform.nap(fault.seconds if fault and kind == "slow" else 0)
            signed = call.method != CERT_DOWNLOAD
            self._finish(call.parameters, answer, signed=signed, fault=fault)

    def _finish(
        self,
        parameters: Mapping[str, str],
        answer: Fields,
        *,
        signed: bool,
        fault: AnswerFault | None = None,
    ) -> None:
        node = answers.node_of(parameters.get("method", ""))
        cert_sn = self.platform.cert_sn(parameters.get("app_id", ""))
        text = answers.write(
            node, answer, self.platform.keys, cert_sn=cert_sn, signed=signed, fault=fault
        )
        self.set_header("Content-Type", "text/html;charset=utf-8")
        self.finish(text.encode())

    def _note(
        self, parameters: Mapping[str, str], biz: Mapping[str, object], answer: Fields
    ) -> None:
        code, sub_code = str(answer.get("code", "")), str(answer.get("sub_code", ""))
        now, method = self.platform.clock.now(), parameters.get("method", "")
        self.platform.received.append(Received(now, method, biz, code, sub_code))


def _error(fault: AnswerFault | None) -> Fields:
    """The answer that some kinds of fault put in the place of the true one."""
    named = {
        "20000": "isp.unknow-error",
        "40005": "isv.app-call-limited",
        "system_error": "ACQ.SYSTEM_ERROR",
    }
    if fault and fault.kind == "error":
        return Refusal(fault.sub_code).answer()
    return Refusal(named[fault.kind]).answer() if fault and fault.kind in named else {}
