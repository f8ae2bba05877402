// What the two Node servers share: alipay-sdk for the signature, and one mysql2 transaction a notice.

import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { AlipaySdk } from 'alipay-sdk';
import mysql from 'mysql2/promise';

const { APP_ID, SELLER_ID, DATABASE_URL, APP_PRIVATE_KEY, ALIPAY_PUBLIC_KEY } = process.env;
const ACCOUNT = `${APP_ID}/${SELLER_ID}`;
const VERIFIER = 'key:0123456789abcdef';
const PAID = ['TRADE_SUCCESS', 'TRADE_FINISHED'];
const EXPECTED = {
  app_id: APP_ID, seller_id: SELLER_ID, notify_type: 'trade_status_sync', sign_type: 'RSA2',
};

const sdk = new AlipaySdk({
  appId: APP_ID,
  keyType: 'PKCS8',
  privateKey: readFileSync(APP_PRIVATE_KEY, 'utf8'),
  alipayPublicKey: readFileSync(ALIPAY_PUBLIC_KEY, 'utf8'),
});
const pool = mysql.createPool({
  uri: DATABASE_URL.replace(/^mariadb:/, 'mysql:'), charset: 'utf8mb4', connectionLimit: 16,
});

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

// Says whether the payment is committed, or was before. `fields` is the parsed form, `body` its bytes.
export async function pay(fields, body) {
  const single = Object.values(fields).every((value) => typeof value === 'string');
  if (!single || !isOurs(fields) || !sdk.checkNotifySignV2(fields)) return false;
  const connection = await pool.getConnection();
  try {
    await connection.beginTransaction();
    const settled = await settle(connection, fields, body);
    await connection.commit();
    return settled;
  } catch (error) {
    await connection.rollback();
    throw error;
  } finally {
    connection.release();
  }
}

function isOurs(fields) {
  const same = Object.entries(EXPECTED).every(([name, value]) => fields[name] === value);
  return same && PAID.includes(fields.trade_status);
}

async function settle(connection, fields, body) {
  const order = await findOrder(connection, fields.out_trade_no);
  if (!order || !fits(order, fields)) return false;
  if (order.status !== 'pending') {
    const [rows] = await connection.execute(
      'SELECT 1 FROM payments WHERE order_no = ? AND transaction_id = ?',
      [order.order_no, fields.trade_no],
    );
    return rows.length === 1;
  }
  await write(connection, order, fields, body);
  return true;
}

async function findOrder(connection, number) {
  const [rows] = await connection.execute(
    `SELECT order_no, app, channel, kind, environment, account, product_id, sku, quantity, amount, currency,
            receiver, metadata, status
     FROM orders WHERE order_no = ? FOR UPDATE`,
    [number],
  );
  // Payplat keeps names in VARBINARY columns.
  const text = ([name, value]) => [name, Buffer.isBuffer(value) ? value.toString() : value];
  return rows[0] && Object.fromEntries(Object.entries(rows[0]).map(text));
}

// Compares what was paid with what was sold.
function fits(order, fields) {
  const [, quantity, product] = /^(\d+)x(.*)$/.exec(fields.passback_params ?? '') ?? [];
  const [, yuan, fen] = /^(\d+)\.(\d\d)$/.exec(fields.total_amount) ?? [];
  return order.kind === 'alipay' && order.environment === 'sandbox' && order.account === ACCOUNT
    && order.currency === 'CNY' && product !== undefined && order.sku === decodeURIComponent(product)
    && order.quantity === Number(quantity) && order.amount === Number(yuan) * 100 + Number(fen);
}

// Writes what a payment leaves behind.
async function write(connection, order, fields, body) {
  const { order_no: number } = order;
  const { trade_no: tradeNo } = fields;
  const milliseconds = Date.now();
  const now = milliseconds * 1000;
  const evidence = sha256(body);
  const eventId = `evt_${milliseconds.toString(16).padStart(12, '0')}${randomBytes(10).toString('hex')}`;
  await connection.execute(
    `UPDATE orders SET status = 'paid', settled_at = ?, next_check_at = NULL, lease_token = NULL
     WHERE order_no = ?`,
    [now, number],
  );
  await connection.execute(
    `INSERT INTO payments (order_no, transaction_key, kind, environment, account, transaction_id, amount,
       currency, product, quantity, payer, paid_at, verified_at, verifier, evidence_sha256)
     VALUES (?, ?, 'alipay', 'sandbox', ?, ?, ?, 'CNY', ?, 1, ?, ?, ?, ?, ?)`,
    [number, sha256(`alipay\0sandbox\0${ACCOUNT}\0${tradeNo}\0`), ACCOUNT, tradeNo, order.amount, order.sku,
      fields.buyer_id, fromBeijing(fields.gmt_payment), now, VERIFIER, evidence],
  );
  await connection.execute(
    `INSERT INTO evidence (kind, environment, sha256, order_no, source, state, reason, raw, created_at)
     VALUES ('alipay', 'sandbox', ?, ?, 'callback', 'used', '', ?, ?)
     ON DUPLICATE KEY UPDATE id = id`,
    [evidence, number, body, now],
  );
  await connection.execute(
    `INSERT INTO events (event_id, order_no, app, type, cause, body, created_at)
     VALUES (?, ?, 'default', 'order.paid', '', ?, ?)`,
    [eventId, number, told(order, tradeNo, milliseconds), now],
  );
  await connection.execute(
    `INSERT INTO deliveries (event_id, order_no, endpoint, status, due_at, failures, created_at)
     VALUES (?, ?, 'default/main', 'due', ?, 0, ?)`,
    [eventId, number, now, now],
  );
  const detail = {
    to: 'paid', transaction_id: tradeNo, amount: order.amount, currency: 'CNY', note: fields.trade_status,
    evidence, verifier: VERIFIER,
  };
  await connection.execute(
    "INSERT INTO timeline (order_no, at, what, actor, detail) VALUES (?, ?, 'paid', 'callback', ?)",
    [number, now, JSON.stringify(detail)],
  );
}

function told(order, tradeNo, milliseconds) {
  const { order_no, app, channel, environment, product_id, receiver, currency, quantity, amount } = order;
  const data = {
    order_no, app, channel, environment, product_id, receiver, currency, quantity, amount,
    status: 'paid', transaction_id: tradeNo, metadata: JSON.parse(order.metadata),
  };
  return JSON.stringify({ type: 'order.paid', timestamp: new Date(milliseconds).toISOString(), data });
}

// Alipay's local time as microseconds since 1970.
const fromBeijing = (text) => Date.parse(`${text.replace(' ', 'T')}+08:00`) * 1000;
