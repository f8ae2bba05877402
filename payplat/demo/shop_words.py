"""The sentences of the shop's pages, in English and Chinese."""

from payplat.words import LANGUAGES, Words

_WORDS = {
    "game": ("Lantern Isle", "灯屿"),
    "shop": ("The lantern keeper's shop", "守灯人的小店"),
    "tagline": (
        "A shop in a game that sells through payplat. Buy something and watch every step.",
        "一家用 payplat 收款的游戏商店。买点什么，看清每一步。",
    ),
    "demo": ("DEMO", "演示"),
    "no_money": ("no real money moves", "不涉及真实资金"),
    "switch": ("中文", "English"),
    "playing_as": ("Playing as", "当前玩家"),
    "buy": ("Buy", "购买"),
    "back": ("Back to the shop", "返回商店"),
    "how": ("How would you like to pay?", "选择支付方式"),
    "alipay": ("Alipay", "支付宝"),
    "apple": ("Apple", "苹果"),
    "google": ("Google Play", "Google Play"),
    "page": ("Desktop page", "电脑网页"),
    "page_how": ("Opens Alipay's cashier in this tab", "在本页打开支付宝收银台"),
    "wap": ("Mobile page", "手机网页"),
    "wap_how": ("The same on a phone's browser", "手机浏览器中打开收银台"),
    "app": ("Wallet app", "钱包 App"),
    "app_how": ("A signed order for Alipay's app", "把签名订单交给支付宝 App"),
    "qr": ("QR code", "扫码支付"),
    "qr_how": ("Show a code, scan it with the wallet", "显示二维码，用钱包扫一扫"),
    "storekit": ("iPhone", "iPhone"),
    "storekit_how": ("The App Store's purchase sheet", "App Store 购买确认单"),
    "play_billing": ("Android", "Android"),
    "play_billing_how": ("Google Play's purchase dialog", "Google Play 购买对话框"),
    "pay": ("Pay {0}", "支付 {0}"),
    "hint": (
        "Let something go wrong where you pay: a lost or forged notification, an app that dies. Then watch.",
        "不妨在付款时出点差错：通知丢失、伪造、应用崩溃……再看 payplat 如何应对。",
    ),
    "recent": ("Your purchases", "您的购买记录"),
    "order": ("Order", "订单"),
    "number": ("Order number", "订单号"),
    "product": ("Product", "商品"),
    "amount": ("Amount", "金额"),
    "store_price": ("{0} sets it", "由{0}确定"),
    "method": ("Paid by", "支付方式"),
    "player": ("For", "充值给"),
    "step_ordered": ("Ordered", "已下单"),
    "step_paid": ("Paid", "已付款"),
    "step_delivered": ("Delivered", "已到账"),
    "is_pending": ("Waiting for payment", "等待付款"),
    "is_pending_more": (
        "Pay with {1}; this page follows by itself.",
        "请通过{1}完成付款，本页会自动更新。",
    ),
    "is_checking": ("Bought, being checked", "已购买，正在核实"),
    "is_checking_more": (
        "{1} cannot be asked just now. The receipt is kept; you need do nothing.",
        "暂时无法向{1}核实。收据已保存，您无需再做什么。",
    ),
    "is_awaited": ("Waiting for the payment", "等待款项到账"),
    "is_awaited_more": (
        "{1} has told of no payment yet. Cash may take a while; this page follows by itself.",
        "{1} 尚未确认付款。现金付款可能需要一些时间，本页会自动更新。",
    ),
    "is_paid": ("Paid, on its way", "已付款，正在发货"),
    "is_paid_more": (
        "The payment is verified and stored. The game's server is being told.",
        "付款已核实并入账，正在通知游戏服务器。",
    ),
    "is_delivered": ("Delivered", "已到账"),
    "is_delivered_more": (
        "Yours now: {0}. The game's server gave it exactly once.",
        "{0}已到账，且只发放了一次。",
    ),
    "is_closed": ("Order closed", "订单已关闭"),
    "is_closed_more": ("Nothing was paid in time.", "未在期限内付款。"),
    "is_held": ("Held for an operator", "等待人工处理"),
    "is_held_more": ("The money came after the order was closed.", "付款在订单关闭之后到账。"),
    "is_refunded": ("Refunded", "已退款"),
    "is_refunded_more": ("All of the money went back.", "款项已全部退回。"),
    "cashier": ("Open Alipay's cashier", "打开支付宝收银台"),
    "wallet": ("Open the wallet app", "打开钱包 App"),
    "sheet": ("Open the purchase sheet", "打开购买确认单"),
    "scan": ("Scan it in the simulator", "在模拟器中扫码"),
    "qr_alt": ("QR code that opens Alipay's cashier", "打开支付宝收银台的二维码"),
    "check": ("I have paid — ask now", "我已付款，立即查询"),
    "valid_until": ("To be paid until {0}", "请在 {0} 前付款"),
    "happened": ("What happened", "经过"),
    "checked": ("Checked:", "已核对："),
    "received": ("What the game's server received", "游戏服务器收到的内容"),
    "received_more": (
        "Signed by Standard Webhooks, with a secret that only payplat and this server know.",
        "按 Standard Webhooks 签名，密钥只有 payplat 和这台服务器知道。",
    ),
    "attempt": ("attempt {0}", "第 {0} 次"),
    "valid": ("signature valid", "签名有效"),
    "invalid": ("signature invalid", "签名无效"),
    "raw": ("The order as the API tells it", "接口返回的订单"),
    "again": ("Buy something else", "再买一件"),
    "behind": ("Behind the scenes", "幕后"),
    "alipay_page": ("Alipay's simulator", "支付宝模拟器"),
    "apple_page": ("App Store's simulator", "App Store 模拟器"),
    "google_page": ("Google Play's simulator", "Google Play 模拟器"),
    "merchant_page": ("The game's server", "游戏服务器"),
    "offline": (
        "The shop does not answer; trying again …",
        "商店没有应答，正在重试…",
    ),
    "sorry": ("That did not work", "没有成功"),
    "no_page": ("There is no such page.", "没有这个页面。"),
    "unreachable": ("payplat does not answer.", "payplat 没有应答。"),
    "refused_another_order": (
        "This purchase was delivered with another order; the same receipt is never delivered twice.",
        "这笔购买已随另一个订单发货，同一收据不会重复发货。",
    ),
    "refused_not_authentic": (
        "The receipt was not issued by the store. It pays nothing.",
        "收据并非由商店出具，不予入账。",
    ),
    "refused": ("payplat refused: {0}", "payplat 拒绝了请求：{0}"),
}
_PRODUCTS = {
    "coins_500": ("500 gold coins", "500 金币"),
    "coins_2800": ("2,800 gold coins", "2800 金币"),
    "season_pass": ("Season pass", "赛季通行证"),
}
_BLURBS = {
    "coins_500": ("A purse for the road", "路上用的小钱袋"),
    "coins_2800": ("A chest that lasts all winter", "够用一整个冬天的宝箱"),
    "season_pass": ("Every lantern, all season long", "整季点亮每一盏灯"),
}


class ShopWords(Words):
    """``t("pay", "¥6.00")`` in the language of a page of the shop."""

    def __init__(self, language: str) -> None:
        super().__init__(_WORDS, language)

    def refusal(self, code: str, error: Exception) -> str:
        """Return why payplat refused: in words for this ``code`` where there are some."""
        name = f"refused_{code}"
        return self(name if name in _WORDS else "refused", error)

    def product(self, product_id: str, title: str) -> str:
        """Return the game's own name of a product, or the catalogue's ``title``."""
        return _PRODUCTS.get(product_id, (title, title))[LANGUAGES.index(self.language)]

    def blurb(self, product_id: str) -> str:
        """Return a line about a product, or nothing."""
        return _BLURBS.get(product_id, ("", ""))[LANGUAGES.index(self.language)]
