"""The statements of the hand-written servers, on payplat's tables."""

ORDER = (
    "SELECT order_no, app, channel, kind, environment, account, product_id, sku, quantity, amount, currency,"
    " receiver, metadata, status FROM orders WHERE order_no = %s FOR UPDATE"
)
WHOLE_ORDER = (
    "SELECT order_no, app, channel, kind, environment, account, method, product_id, sku, quantity, amount, currency,"
    " receiver, metadata, status, refunded, created_at, expires_at, settled_at FROM orders WHERE order_no = %s FOR UPDATE"
)
PAYMENT = "SELECT transaction_id FROM payments WHERE order_no = %s"
PAY = (
    "UPDATE orders SET status = 'paid', settled_at = %s, next_check_at = NULL, lease_token = NULL"
    " WHERE order_no = %s AND status = 'pending'"
)
PAY_PRICED = (
    "UPDATE orders SET status = 'paid', amount = %s, currency = %s, settled_at = %s, next_check_at = NULL,"
    " lease_token = NULL WHERE order_no = %s AND status = 'pending'"
)
ADD_PAYMENT = (
    "INSERT INTO payments (order_no, transaction_key, kind, environment, account, transaction_id, receipt, amount,"
    " currency, product, quantity, payer, paid_at, verified_at, verifier, evidence_sha256) VALUES (%(order_no)s,"
    " %(transaction_key)s, %(kind)s, %(environment)s, %(account)s, %(transaction_id)s, %(receipt)s, %(amount)s,"
    " %(currency)s, %(product)s, %(quantity)s, %(payer)s, %(paid_at)s, %(verified_at)s, %(verifier)s,"
    " %(evidence_sha256)s)"
)
ADD_EVIDENCE = (
    "INSERT INTO evidence (kind, environment, sha256, order_no, transaction_key, source, state, reason, raw, answer,"
    " created_at) VALUES (%s, 'sandbox', %s, %s, %s, %s, 'used', '', %s, %s, %s)"
    " ON DUPLICATE KEY UPDATE id = id"
)
ADD_EVENT = (
    "INSERT INTO events (event_id, order_no, app, type, cause, body, created_at)"
    " VALUES (%s, %s, 'default', 'order.paid', '', %s, %s)"
)
ADD_DELIVERY = (
    "INSERT INTO deliveries (event_id, order_no, endpoint, status, due_at, failures, created_at)"
    " VALUES (%s, %s, 'default/main', 'due', %s, 0, %s)"
)
ADD_DUTY = (
    "INSERT INTO duties (order_no, channel, what, cause, status, due_at, failures, created_at)"
    " VALUES (%s, %s, %s, '', 'due', %s, 0, %s)"
)
ADD_LINE = (
    "INSERT INTO timeline (order_no, at, what, actor, detail) VALUES (%s, %s, 'paid', %s, %s)"
)
ADD_ORDER = (
    "INSERT INTO orders (order_no, app, channel, kind, environment, account, method, product_id, sku, quantity,"
    " consumable, amount, currency, title, receiver, metadata, request_sha256, status, refunded, preparing_until,"
    " created_at, expires_at, next_check_at, waits, checks) VALUES (%(order_no)s, 'default', %(channel)s, %(kind)s,"
    " 'sandbox', %(account)s, %(method)s, %(product_id)s, %(sku)s, %(quantity)s, %(consumable)s, %(amount)s,"
    " %(currency)s, %(title)s, %(receiver)s, %(metadata)s, %(request_sha256)s, 'pending', 0, 0, %(created_at)s,"
    " %(expires_at)s, %(next_check_at)s, 0, 0)"
)
