"""What the gateway says when it says no: code, sub_code and the sentence to it."""

from __future__ import annotations

MESSAGES = {
    "10000": "Success",
    "20000": "Service Currently Unavailable",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40003": "Insufficient Conditions",
    "40004": "Business Failed",
    "40005": "Call Limited",
    "40006": "Insufficient Permissions",
}

SENTENCES = {
    "isp.unknow-error": "系统繁忙",
    "aop.unknow-error": "系统繁忙",
    "isv.missing-app-id": "缺少appId参数",
    "isv.missing-method": "缺少方法名参数",
    "isv.missing-signature": "缺少签名参数",
    "isv.missing-signature-type": "缺少签名类型参数",
    "isv.missing-timestamp": "缺少时间戳参数",
    "isv.missing-version": "缺少版本参数",
    "isv.missing-app-cert-sn": "缺少应用公钥证书SN",
    "isv.missing-alipay-root-cert-sn": "缺少支付宝根证书SN",
    "isv.invalid-alipay-root-cert-sn": "支付宝根证书SN错误",
    "isv.app-cert-not-exist": "应用公钥证书不存在",
    "isv.alipay-cert-not-exist": "支付宝公钥证书不存在",
    "isv.invalid-app-id": "无效的AppID参数",
    "isv.invalid-charset": "字符集错误",
    "isv.invalid-format": "无效的数据格式",
    "isv.invalid-method": "不存在的方法名",
    "isv.invalid-parameter": "参数无效",
    "isv.invalid-signature-type": "无效的签名类型",
    "isv.invalid-timestamp": "非法的时间戳参数",
    "isv.illegal-json": "非法的JSON参数",
    "isv.app-call-limited": "应用调用次数超限，包含调用频率超限",
    "isv.insufficient-isv-permissions": "ISV权限不足",
    "ACQ.APPLY_PC_MERCHANT_CODE_ERROR": "申请二维码失败，同一订单号不能重复申请",
    "ACQ.CANCEL_NOT_ALLOWED": "不支持撤销",
    "ACQ.CONTEXT_INCONSISTENT": "交易信息被篡改",
    "ACQ.DISCORDANT_REPEAT_REQUEST": "不一致的请求",
    "ACQ.INVALID_PARAMETER": "参数无效",
    "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR": "当前时间已超过允许支付的时间",
    "ACQ.PARTNER_ERROR": "应用APP_ID填写错误",
    "ACQ.REASON_TRADE_REFUND_FEE_ERR": "退款金额无效",
    "ACQ.REASON_TRADE_STATUS_INVALID": "交易状态异常",
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": "卖家余额不足",
    "ACQ.SYSTEM_ERROR": "系统错误",
    "ACQ.TOTAL_FEE_EXCEED": "订单总金额不在允许范围内",
    "ACQ.TRADE_HAS_CLOSE": "交易已经关闭",
    "ACQ.TRADE_HAS_FINISHED": "交易已经完结",
    "ACQ.TRADE_HAS_SUCCESS": "交易已被支付",
    "ACQ.TRADE_NOT_EXIST": "交易不存在",
    "ACQ.TRADE_STATUS_ERROR": "交易状态不合法",
}

_CODES = {
    "isp.unknow-error": "20000",
    "aop.unknow-error": "20000",
    "isv.app-call-limited": "40005",
    "isv.method-call-limited": "40005",
}


class Refusal(Exception):
    """An answer other than 10000. `signed` says whether the gateway signs it."""

    def __init__(self, sub_code: str, sub_msg: str | None = None, *, signed: bool = True) -> None:
        super().__init__(sub_code)
        self.code = code_of(sub_code)
        self.sub_code = sub_code
        self.sub_msg = sub_msg or SENTENCES.get(sub_code, sub_code)
        self.signed = signed

    def answer(self) -> dict[str, object]:
        """The fields of the answer's node."""
        return {
            "code": self.code,
            "msg": MESSAGES[self.code],
            "sub_code": self.sub_code,
            "sub_msg": self.sub_msg,
        }


def code_of(sub_code: str) -> str:
    """The gateway's five digits that go with a sub_code ("common error codes")."""
    if sub_code in _CODES:
        return _CODES[sub_code]
    families = {"ACQ.": "40004", "isv.missing-": "40001", "isv.insufficient-": "40006"}
    return next((code for start, code in families.items() if sub_code.startswith(start)), "40002")
