"""The raw server's statements, on payplat's tables."""

ORDER = (
    "SELECT order_no, app, channel, kind, environment, account, product_id, sku, quantity, amount, currency,"
    " receiver, metadata, status FROM orders WHERE order_no = %s FOR UPDATE"
)
PAYMENT = "SELECT transaction_id FROM payments WHERE order_no = %s"
PAY = (
    "UPDATE orders SET status = 'paid', settled_at = %s, next_check_at = NULL, lease_token = NULL"
    " WHERE order_no = %s AND status = 'pending'"
)
ADD_PAYMENT = (
    "INSERT INTO payments (order_no, transaction_key, kind, environment, account, transaction_id, amount, currency,"
    " product, quantity, payer, paid_at, verified_at, verifier, evidence_sha256)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
ADD_EVIDENCE = (
    "INSERT INTO evidence (kind, environment, sha256, order_no, source, state, reason, raw, created_at)"
    " VALUES ('alipay', 'sandbox', %s, %s, 'callback', 'used', '', %s, %s)"
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
ADD_LINE = "INSERT INTO timeline (order_no, at, what, actor, detail) VALUES (%s, %s, 'paid', 'callback', %s)"
