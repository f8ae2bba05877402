"""What the checks of a payment, the duties and the fields of an order are called, in English and Chinese."""

Both = tuple[str, str]
"""A text in English and in Chinese."""
CHECKED: dict[str, tuple[Both, ...]] = {
    "alipay paid": (
        ("Alipay's signature", "支付宝签名"),
        ("app and payee", "应用与收款方"),
        ("order and product", "订单与商品"),
        ("amount {amount}", "金额 {amount}"),
        ("never paid before", "未曾入账"),
    ),
    "apple paid": (
        ("Apple's signature and certificates", "苹果签名与证书"),
        ("app and environment", "应用与环境"),
        ("order", "订单"),
        ("product and quantity", "商品与数量"),
        ("never paid before", "未曾入账"),
    ),
    "google paid": (
        ("asked Google itself", "已向 Google 查询"),
        ("app and environment", "应用与环境"),
        ("order and player", "订单与玩家"),
        ("product and quantity", "商品与数量"),
        ("never paid before", "未曾入账"),
    ),
}
DUTIES: dict[str, Both] = {
    "acknowledge": ("acknowledgement", "确认购买"),
    "consume": ("consumption", "消耗购买"),
    "bind": ("order number", "订单号"),
    "refund": ("refund", "退款"),
}
FIELDS = {
    "amount": "金额",
    "account": "应用或收款方",
    "product": "商品",
    "quantity": "数量",
    "currency": "币种",
    "refund": "退款金额",
    "transaction_id": "交易号",
    "environment": "环境",
    "consumable": "商品类型",
    "type": "商品类型",
    "ownership": "购买者",
    "account_id": "购买者",
    "paid_at": "购买时间",
    "form": "内容格式",
}
