/*
 * Record what Alipay's official Node SDK makes of certificates, answers and notifications, and
 * what it sends.
 *
 * How to run, in a folder of its own (nothing here is a dependency of payplat or of its tests);
 * node 20 and the openssl program are needed:
 *
 *     npm install alipay-sdk@4.14.0
 *     node path/to/make_node_sdk.mjs
 *
 * The SDK is taken from node_modules of the folder it is started in. Writes alipay_node_sdk.json
 * beside this file, from the keys and certificates in alipay/ (see make_alipay_keys.py) and from
 * alipay_python_sdk.json, whose answers it judges a second time. The same keys give the same
 * bytes: the clock is stopped and RSA signatures of PKCS#1 v1.5 have no randomness.
 */

import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import querystring from 'node:querystring';
import { fileURLToPath, pathToFileURL } from 'node:url';

process.env.TZ = 'Asia/Shanghai';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const KEYS = path.join(HERE, 'alipay');
const NOW = '2026-11-22 20:16:00';

const APP_ID = '2021009900000001';
const SELLER = '2088009900000001';
const GATEWAY = 'https://openapi.alipay.com/gateway.do';
const NOTIFY_URL = 'https://pay.example.com/v1/callback/alipay';
const RETURN_URL = 'https://shop.example.com/thanks?from=alipay&lang=zh';
const ORDER = '019ab0e1c5407d6f8a1b2c3d4e5f6071';
const TRADE = '2026112222001400000000000001';
const REFUND = '019ab0f2d6507a8b9c0d1e2f3a4b5c6d';
const HARD = `Coins & "gems" <b>'x'</b> &copy; 100% a+b=c ~ a/b \\ 金币 💎`;

const read = (file) => fs.readFileSync(path.join(KEYS, file), 'utf8');

// --- The SDK: its clock stopped, what it signs overheard ---------------------------------------

const heard = [];
const createSign = crypto.createSign;
crypto.createSign = (...which) => {
  const signer = createSign(...which);
  const update = signer.update;
  signer.update = (text, ...rest) => {
    heard.push(text);
    return update.call(signer, text, ...rest);
  };
  return signer;
};
syncBuiltinESMExports();

const RealDate = Date;
const stopped = new RealDate('2026-11-22T20:16:00+08:00');
class StoppedDate extends RealDate {
  constructor(...parts) {
    super(...(parts.length ? parts : [stopped]));
  }
  static now() {
    return stopped.getTime();
  }
}

function frozen(work) {
  globalThis.Date = StoppedDate;
  try {
    return work();
  } finally {
    globalThis.Date = RealDate;
  }
}

const folder = path.join(process.cwd(), 'node_modules', 'alipay-sdk');
const sdkPackage = createRequire(import.meta.url)(path.join(folder, 'package.json'));
const load = (file) => import(pathToFileURL(path.join(folder, 'dist', 'esm', file)));
const { AlipaySdk } = await load('index.js');
const { getSN, getSNFromPath, loadPublicKey } = await load('antcertutil.js');

const KEY_MODE = {
  appId: APP_ID,
  privateKey: read('app_private_pkcs1.pem'),
  alipayPublicKey: read('alipay_public.pem'),
};
const CERTIFICATE_MODE = {
  appId: APP_ID,
  privateKey: read('app_private_pkcs8.pem'),
  keyType: 'PKCS8',
  appCertContent: read('app_cert.crt'),
  alipayPublicCertContent: read('alipay_cert.crt'),
  alipayRootCertContent: read('root_bundle.crt'),
};

// A new one each time: the SDK changes the configuration it is given.
const sdk = (mode, gateway = GATEWAY) =>
  new AlipaySdk({ ...(mode === 'certificate' ? CERTIFICATE_MODE : KEY_MODE), gateway });

// --- Signing, as Alipay would ------------------------------------------------------------------

function sign(text, { who = 'alipay', digest = 'RSA-SHA256' } = {}) {
  const key = read(`${who}_private_pkcs8.pem`);
  return createSign(digest).update(text).sign(key, 'base64');
}

const openssl = (args, input) => execFileSync('openssl', args, { input, encoding: 'utf8' });

// --- Certificates ------------------------------------------------------------------------------

const NOT_ESCAPED =
  'the Node SDK does not escape; RFC 4514, OpenSSL and Java (whose SDK hashes ' +
  'X500Principal.getName()) do, and so does the expected value';
const UNDECIDED =
  'no two of the Node SDK, OpenSSL and Java write this issuer alike, and no issuer of Alipay ' +
  'looks like it: nothing is expected but a value or a clear refusal';

const ODD_ISSUERS = {
  odd_issuer_comma: { expected: 'openssl', why: NOT_ESCAPED },
  odd_issuer_edge_blanks: { expected: 'openssl', why: NOT_ESCAPED },
  odd_issuer_specials: { expected: 'either', why: UNDECIDED },
  odd_issuer_multi_valued: { expected: 'either', why: UNDECIDED },
  odd_issuer_email: { expected: 'either', why: UNDECIDED },
  odd_issuer_dc: {
    expected: 'openssl',
    why: 'the Node SDK knows no short name for DC; OpenSSL, Java and RFC 4514 do',
  },
};

function certificates() {
  return fs
    .readdirSync(KEYS)
    .filter((file) => file.endsWith('.crt') && file !== 'root_bundle.crt')
    .sort()
    .map(certificate);
}

function certificate(file) {
  const name = file.replace('.crt', '');
  const whole = path.join(KEYS, file);
  const nameopt = ['-nameopt', 'RFC2253,-esc_msb,utf8'];
  const issuer = openssl(['x509', '-in', whole, '-noout', '-issuer', ...nameopt]);
  const hex = openssl(['x509', '-in', whole, '-noout', '-serial']).trim().split('=')[1];
  const issuerText = issuer.trim().slice('issuer='.length);
  const serial = BigInt(`0x${hex}`).toString();
  const sn = getSN(read(file));
  if (sn !== getSNFromPath(whole)) throw new Error(`two answers for ${file}`);
  const opensslSn = crypto.createHash('md5').update(issuerText + serial).digest('hex');
  const note = ODD_ISSUERS[name] ?? { expected: 'same', why: '' };
  if ((note.expected === 'same') !== (sn === opensslSn)) throw new Error(`unforeseen: ${file}`);
  const either = note.expected === 'either';
  return {
    name,
    file: `alipay/${file}`,
    serial,
    sdk_sn: sn,
    openssl_issuer: issuerText,
    openssl_sn: opensslSn,
    ...(file.startsWith('alipay_cert') ? { sdk_public_key: loadPublicKey(read(file)) } : {}),
    expected: either ? 'either' : 'accept',
    expected_sn: either ? null : opensslSn,
    why: note.why,
  };
}

// --- Root bundles ------------------------------------------------------------------------------

function rootBundles() {
  const base = read('root_bundle.crt');
  const [sm2, rsa, ec, sha1] = ['sm2', 'rsa', 'ec', 'sha1'].map((which) => read(`root_${which}.crt`));
  const cut = rsa.replace(/(BEGIN CERTIFICATE-----\n)(.{64}\n){3}/, '$1');
  const flat = rsa.replace(/(-----BEGIN [^\n]*)\n([^-]*)\n(-----END)/, (_, begin, body, end) =>
    [begin, body.replaceAll('\n', ''), end].join('\n'));
  const bundle = (name, pem, why = '', expected = 'accept', sn = undefined) => {
    const vector = { name, pem };
    try {
      vector.sdk_sn = getSN(pem, true);
    } catch (error) {
      vector.sdk_error = `${error.name}: ${error.message}`.split('\n')[0];
    }
    const number = expected === 'refuse' ? null : sn ?? vector.sdk_sn;
    if (number === undefined) throw new Error(`unforeseen: ${name}`);
    return { ...vector, expected, expected_sn: number, why };
  };
  const both = `${getSN(rsa)}_${getSN(sha1)}`;
  const refuse = 'an RSA certificate that cannot be read: leaving it out would give a wrong number';
  return [
    bundle('four_roots', base, 'the make-up of the real bundle: SM2-with-SM3, sha256RSA, ' +
      'ecdsa-sha384 (with a NULL in its algorithm, which cryptography 50 refuses), sha1RSA'),
    bundle('carriage_returns', base.replaceAll('\n', '\r\n')),
    bundle('other_order', sha1 + ec + rsa, 'the order of the file counts; no blank lines'),
    bundle('no_newline_at_end', rsa.trimEnd()),
    bundle('pss', rsa + read('root_pss.crt'), 'RSASSA-PSS is of the RSA family too'),
    bundle('ec_key_signed_by_rsa', read('root_ec_key_signed_by_rsa.crt') + sha1,
      'the algorithm of the signature counts, not that of the key'),
    bundle('one_long_line', flat, 'the Base64 in one line'),
    bundle('text_between', `Root of tests\n${rsa}\n# and another\n${sha1}`,
      'text between the blocks, which the SDK does not read: this number, or a clear refusal',
      'either', both),
    bundle('rsa_block_cut', cut + sha1, refuse, 'refuse'),
    bundle('no_rsa', sm2 + ec, 'no RSA root: the SDK makes an empty number of it, and then sends ' +
      'its requests as if in key mode', 'refuse'),
    bundle('empty', '', 'no certificate', 'refuse'),
  ];
}

// --- Certificates that an answer names ---------------------------------------------------------

function downloads() {
  const [class1, class2] = ['class1', 'class2'].map((which) => read(`${which}.crt`));
  const download = (name, leaf, middle, expected, why) => {
    const content = Buffer.from(read(`${leaf}.crt`) + middle).toString('base64');
    const node = JSON.stringify({ code: '10000', msg: 'Success', alipay_cert_content: content });
    return {
      name,
      alipay_cert_sn: getSN(read(`${leaf}.crt`)),
      raw: `{"alipay_open_app_alipaycert_download_response":${node}}`,
      openssl_accepts: verifies(leaf, middle),
      expected,
      why,
    };
  };
  return [
    download('rotated', 'alipay_cert_rotated', class2, 'accept', 'the same key, a new serial number'),
    download('rekeyed', 'alipay_cert_rekeyed', class2, 'accept', 'a new key under the same authority'),
    download('without_middle', 'alipay_cert_rotated', '', 'either',
      'the class 2 certificate must be known from elsewhere'),
    download('impostor', 'alipay_cert_impostor', class2, 'refuse',
      'an issuer of the right name and another key'),
    download('expired', 'alipay_cert_expired', class2, 'refuse', 'ended in 2021'),
    download('certificate_of_another_app', 'other_app_cert', class1, 'refuse',
      'chains up to the root as every merchant\'s own certificate does (class 1): the chain alone ' +
      'does not make it Alipay\'s, which stands under class 2'),
    download('class2_itself', 'class2', '', 'refuse', 'an authority, not a signer of answers'),
  ];
}

function verifies(leaf, middle) {
  const untrusted = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'vectors-')), 'middle.pem');
  fs.writeFileSync(untrusted, middle || '\n');
  const args = ['verify', '-attime', String(stopped.getTime() / 1000)];
  args.push('-CAfile', path.join(KEYS, 'root_bundle.crt'));
  if (middle) args.push('-untrusted', untrusted);
  try {
    execFileSync('openssl', [...args, path.join(KEYS, `${leaf}.crt`)], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  } finally {
    fs.rmSync(path.dirname(untrusted), { recursive: true });
  }
}

// --- A local gateway ---------------------------------------------------------------------------

let last;
let answer = '';
const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const at = request.url.indexOf('?');
    last = {
      method: request.method,
      path: request.url.slice(0, at),
      query: request.url.slice(at + 1),
      content_type: request.headers['content-type'],
      body: Buffer.concat(chunks).toString(),
    };
    response.setHeader('Content-Type', 'text/html;charset=utf-8');
    response.setHeader('Connection', 'close');
    response.end(answer);
  });
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const LOCAL = `http://127.0.0.1:${server.address().port}/gateway.do`;

// --- Requests ----------------------------------------------------------------------------------

const PAY = {
  out_trade_no: ORDER,
  total_amount: '88.80',
  subject: HARD,
  product_code: 'QUICK_MSECURITY_PAY',
  time_expire: '2026-11-22 20:46:00',
};
const FAST = { ...PAY, product_code: 'FAST_INSTANT_TRADE_PAY' };
const WAP = { ...PAY, product_code: 'QUICK_WAP_WAY', quit_url: 'https://shop.example.com/?a=1&b=2' };
const BACK = {
  out_trade_no: ORDER,
  out_request_no: REFUND,
  refund_amount: '8.80',
  refund_reason: '退货 & <sorry> +1',
};
const ASK = { out_trade_no: ORDER, out_request_no: REFUND, query_options: ['gmt_refund_pay'] };

const REQUESTS = [
  ['app_pay', 'sdkExecute', 'alipay.trade.app.pay', PAY],
  ['page_pay_get', 'pageExecute GET', 'alipay.trade.page.pay', FAST],
  ['page_pay_post', 'pageExecute POST', 'alipay.trade.page.pay', FAST],
  ['wap_pay_get', 'pageExecute GET', 'alipay.trade.wap.pay', WAP],
  ['wap_pay_post', 'pageExecute POST', 'alipay.trade.wap.pay', WAP],
  ['precreate', 'exec', 'alipay.trade.precreate', { ...PAY, product_code: 'FACE_TO_FACE_PAYMENT' }],
  ['query', 'exec', 'alipay.trade.query', { out_trade_no: ORDER }],
  ['close', 'exec', 'alipay.trade.close', { out_trade_no: ORDER }],
  ['refund', 'exec', 'alipay.trade.refund', BACK],
  ['refund_query', 'exec', 'alipay.trade.fastpay.refund.query', ASK],
];

const ONLY_QUOTES =
  'the SDK escapes only the double quote, so a browser reads &copy; as another character and the ' +
  'signature fails: the text to sign is right, the form is not to be copied';

// The rest of key mode is in alipay_python_sdk.json.
const IN_KEY_MODE = ['app_pay', 'page_pay_get', 'page_pay_post', 'query', 'refund'];

async function requests() {
  const vectors = [];
  for (const mode of ['key', 'certificate']) {
    for (const [name, call, api, biz] of REQUESTS) {
      if (mode === 'key' && !IN_KEY_MODE.includes(name)) continue;
      vectors.push(await request(mode, name, call, api, biz));
    }
  }
  return vectors;
}

async function request(mode, name, call, api, biz) {
  const vector = { name: `${mode}_${name}`, mode, api, call, biz };
  const params = { notifyUrl: NOTIFY_URL, bizContent: biz };
  const page = { ...params, returnUrl: RETURN_URL };
  heard.length = 0;
  let sent;
  if (call === 'sdkExecute') {
    sent = vector.order_string = frozen(() => sdk(mode).sdkExecute(api, params));
  } else if (call === 'pageExecute GET') {
    vector.url = frozen(() => sdk(mode).pageExecute(api, 'GET', page));
    sent = vector.url.split('?')[1];
  } else if (call === 'pageExecute POST') {
    vector.form_html = frozen(() => sdk(mode).pageExecute(api, 'POST', page));
    sent = vector.form_html.match(/action="[^"?]*\?([^"]*)"/)[1];
  } else {
    vector.answer = answer = enclose(api, '{"code":"10000","msg":"Success"}', mode);
    const given = name === 'precreate' ? params : { bizContent: biz };
    const made = frozen(() => sdk(mode, LOCAL).exec(api, given, { validateSign: true }));
    vector.returned = await made;
    vector.http = last;
    sent = last.query;
  }
  vector.string_to_sign = heard[0];
  vector.sign = querystring.parse(sent).sign;
  const why = call === 'pageExecute POST' ? ONLY_QUOTES : '';
  return { ...vector, expected: 'accept', why };
}

function enclose(api, node, mode) {
  const key = `${api.replaceAll('.', '_')}_response`;
  const sn = mode === 'certificate' ? `"alipay_cert_sn":"${getSN(read('alipay_cert.crt'))}",` : '';
  return `{"${key}":${node},${sn}"sign":"${sign(node)}"}`;
}

// --- Answers in certificate mode ---------------------------------------------------------------

const QUERY = 'alipay.trade.query';
const NODE = 'alipay_trade_query_response';
const PAID = JSON.stringify({
  code: '10000',
  msg: 'Success',
  buyer_logon_id: 'xud***@126.com',
  out_trade_no: ORDER,
  receipt_amount: '88.80',
  total_amount: '88.80',
  trade_no: TRADE,
  trade_status: 'TRADE_SUCCESS',
});

function answerCases() {
  const own = getSN(read('alipay_cert.crt'));
  const [rotated, rekeyed, impostor, expired] = ['rotated', 'rekeyed', 'impostor', 'expired']
    .map((which) => getSN(read(`alipay_cert_${which}.crt`)));
  const given = sign(PAID);
  const slashes = `${PAID.slice(0, -1)},"url":"https:\\/\\/example.com\\/x","subject":"} 金币 {"}`;
  const refuse = (name, raw, why) => ({ name, raw, expected: 'refuse', why });
  const accept = (name, raw, why = '', signed = PAID) =>
    ({ name, raw, signed_text: signed, expected: 'accept', why });
  const strange = sign(PAID, { who: 'stranger' });
  const lookalike = `${PAID.slice(0, -1)},"body":"\\"alipay_cert_sn\\":\\"${impostor}\\""}`;
  return [
    accept('sn_between', `{"${NODE}":${PAID},"alipay_cert_sn":"${own}","sign":"${given}"}`),
    accept('sn_after_sign', `{"${NODE}":${PAID},"sign":"${given}","alipay_cert_sn":"${own}"}`),
    accept('sn_first', `{"alipay_cert_sn":"${own}","${NODE}":${PAID},"sign":"${given}"}`),
    accept('sign_first', `{"sign":"${given}","alipay_cert_sn":"${own}","${NODE}":${PAID}}`,
      'the order of an object\'s members means nothing in JSON; the Node SDK looks for the last "sign"'),
    accept('escaped_slashes',
      `{"${NODE}":${slashes},"alipay_cert_sn":"${own}","sign":"${sign(slashes)}"}`, '', slashes),
    accept('sn_in_string',
      `{"${NODE}":${lookalike},"alipay_cert_sn":"${own}","sign":"${sign(lookalike)}"}`,
      'the name stands in a string of the node too', lookalike),
    { ...accept('sn_missing', `{"${NODE}":${PAID},"sign":"${given}"}`,
      'well signed, but no certificate is named'), expected: 'either' },
    { ...accept('sn_rotated', `{"${NODE}":${PAID},"alipay_cert_sn":"${rotated}","sign":"${given}"}`,
      'an unknown certificate with the same key: the Node SDK does not look at the number'),
    expected: 'either' },
    { ...accept('sn_upper_case',
      `{"${NODE}":${PAID},"alipay_cert_sn":"${own.toUpperCase()}","sign":"${given}"}`,
      'the number in capitals'), expected: 'either' },
    refuse('sn_rekeyed', `{"${NODE}":${PAID},"alipay_cert_sn":"${rekeyed}","sign":"${strange}"}`,
      'signed with the key of a certificate not known yet: not before that was fetched and its ' +
      'chain checked'),
    refuse('sn_impostor', `{"${NODE}":${PAID},"alipay_cert_sn":"${impostor}","sign":"${strange}"}`,
      'signed with the key of a certificate that no root of ours vouches for'),
    refuse('sn_own_signed_by_stranger',
      `{"${NODE}":${PAID},"alipay_cert_sn":"${own}","sign":"${strange}"}`, 'another key'),
    refuse('sn_twice',
      `{"${NODE}":${PAID},"alipay_cert_sn":"${expired}","alipay_cert_sn":"${own}","sign":"${given}"}`,
      'a repeated key'),
    refuse('amount_changed',
      `{"${NODE}":${PAID.replace('88.80', '0.01')},"alipay_cert_sn":"${own}","sign":"${given}"}`,
      'the signed text was changed'),
    refuse('sha1',
      `{"${NODE}":${PAID},"alipay_cert_sn":"${own}","sign":"${sign(PAID, { digest: 'RSA-SHA1' })}"}`,
      'SHA-1'),
    refuse('unsigned', `{"${NODE}":${PAID},"alipay_cert_sn":"${own}"}`, 'a success without a sign'),
  ];
}

async function judge(mode, raw) {
  answer = raw;
  const options = { validateSign: true };
  try {
    const client = sdk(mode, LOCAL);
    client.config.camelcase = false;
    const returned = await client.exec(QUERY, { bizContent: { out_trade_no: ORDER } }, options);
    return { sdk_accepts: true, sdk_returned: returned };
  } catch (error) {
    const reason = error.message.split(/[，,:]/)[0];
    return { sdk_accepts: false, sdk_error: `${error.name}: ${reason}` };
  }
}

async function answers() {
  const vectors = [];
  for (const { name, raw, ...rest } of answerCases()) {
    const { sdk_returned: _, ...verdict } = await judge('certificate', raw);
    vectors.push({ name, api: QUERY, mode: 'certificate', raw, ...verdict, ...rest });
  }
  return vectors;
}

async function secondOpinion() {
  const file = path.join(HERE, 'alipay_python_sdk.json');
  const vectors = [];
  for (const vector of JSON.parse(fs.readFileSync(file, 'utf8')).answers) {
    const { sdk_returned: returned, ...verdict } = await judge('key', vector.raw);
    // Where a forged amount came through, it is told.
    if (returned?.total_amount && returned.total_amount !== '88.80') {
      verdict.sdk_returned_amount = returned.total_amount;
    }
    vectors.push({ name: vector.name, ...verdict });
  }
  return vectors;
}

// --- Notifications -----------------------------------------------------------------------------

const PAYMENT = {
  gmt_create: '2026-11-22 20:15:40',
  charset: 'utf-8',
  seller_email: 'shop@example.com',
  subject: '500 coins',
  buyer_id: '2088102100000001',
  invoice_amount: '88.80',
  notify_id: '2026112200222201601000000000000001',
  fund_bill_list: '[{"amount":"88.80","fundChannel":"ALIPAYACCOUNT"}]',
  notify_type: 'trade_status_sync',
  trade_status: 'TRADE_SUCCESS',
  receipt_amount: '88.80',
  app_id: APP_ID,
  buyer_pay_amount: '88.80',
  seller_id: SELLER,
  gmt_payment: '2026-11-22 20:16:00',
  notify_time: '2026-11-22 20:16:01',
  version: '1.0',
  out_trade_no: ORDER,
  total_amount: '88.80',
  trade_no: TRADE,
  auth_app_id: APP_ID,
  buyer_logon_id: 'xud***@126.com',
  point_amount: '0.00',
};
const PARTIAL = {
  ...PAYMENT,
  notify_id: '2026112200222210000000000000000002',
  notify_time: '2026-11-22 21:00:01',
  refund_fee: '8.80',
  gmt_refund: '2026-11-22 21:00:00.123',
  out_biz_no: REFUND,
};
const FULL = {
  ...PARTIAL,
  notify_id: '2026112200222210000000000000000003',
  trade_status: 'TRADE_CLOSED',
  refund_fee: '88.80',
  gmt_close: '2026-11-22 21:00:00',
};
const { gmt_payment: _paidAt, receipt_amount: _r, buyer_pay_amount: _b, fund_bill_list: _f,
  invoice_amount: _i, point_amount: _p, ...UNPAID } = PAYMENT;
const CLOSED = { ...UNPAID, trade_status: 'TRADE_CLOSED', gmt_close: '2026-11-22 20:46:00' };
const WAITING = { ...UNPAID, trade_status: 'WAIT_BUYER_PAY' };
const FINISHED = { ...PAYMENT, trade_status: 'TRADE_FINISHED' };

const join = (params) =>
  Object.keys(params).sort().map((key) => `${key}=${params[key]}`).join('&');

// As application/x-www-form-urlencoded has it: a blank becomes +.
const form = (pairs) => new URLSearchParams(pairs).toString();
const pairsOf = (params) => Object.entries(params);

function notice(name, params, options = {}) {
  const { expected = 'accept', why = '', mode = 'key', ...how } = options;
  const given = how.signed ?? params;
  const text = how.text ?? join(given);
  const signature = how.sign === undefined ? sign(text, how) : how.sign;
  const signType = how.signType === undefined ? 'RSA2' : how.signType;
  const pairs = how.pairs ?? pairsOf(params);
  if (signType !== null) pairs.push(['sign_type', signType]);
  if (signature !== null) pairs.push(['sign', signature]);
  const body = how.body ? how.body(pairs) : form(pairs);
  const vector = { name, mode, body };
  // Of a forged one nobody needs to know it, and the file stays small.
  if (expected !== 'refuse') vector.signed_text = text;
  const then = how.then ? { then: how.then } : {};
  return { ...vector, ...verdict(mode, body), expected, why, ...then };
}

function verdict(mode, body) {
  // querystring makes a list of a repeated key, as most Node servers do.
  const post = { ...querystring.parse(body) };
  const sdkSays = {};
  for (const method of ['checkNotifySign', 'checkNotifySignV2']) {
    try {
      sdkSays[method] = sdk(mode)[method](post);
    } catch (error) {
      sdkSays[method] = `throws ${error.name}`;
    }
  }
  return { sdk: sdkSays, sdk_accepts: Object.values(sdkSays).includes(true) };
}

function authentic() {
  const swap = (changes) => ({ ...PAYMENT, ...changes });
  const vouchers = JSON.stringify([
    { amount: '8.80', merchantContribute: '8.80', name: '八折 & "券"', type: 'ALIPAY_FIX_VOUCHER' },
  ]);
  const upper = (pairs) => pairs.map((pair) => pair.map(encodeURIComponent).join('=')).join('&');
  return [
    notice('payment', PAYMENT),
    notice('json_values', swap({
      fund_bill_list: '[{"amount":"80.00","fundChannel":"PCREDIT"},{"amount":"8.80","fundChannel":"COUPON"}]',
      voucher_detail_list: vouchers,
    })),
    notice('unicode', swap({ subject: '金币 500 枚 💎 “引号”', body: 'ａｂｃ é ñ' })),
    notice('special_characters', swap({ subject: 'a+b=c & d%20e 100%25 <f> "g" \'h\' ~*_-.', body: '+ +' })),
    notice('lone_percent', swap({ subject: '100% pure' }), {
      why: 'checkNotifySign decodes a second time and throws; values are decoded exactly once' }),
    notice('passback_params', swap({ passback_params: 'a%3D1%26b%3D%E4%BD%A0%2B%25' }), {
      why: 'the value is itself URL-encoded: decoding it before verifying breaks the signature' }),
    notice('line_breaks_and_blanks', swap({ subject: '  two blanks ', body: 'one\r\ntwo\n\tthree ' }), {
      why: 'nothing is stripped' }),
    notice('blank_value', swap({ body: '', passback_params: '' }), {
      why: 'signed with the blank values in' }),
    notice('names_in_byte_order', swap({ Zeta: '1', a1: '2', a_b: '3', aB: '4', 'a.b': '5' }), {
      why: 'unknown parameters are welcome; names sort by bytes' }),
    notice('sign_first', PAYMENT, {
      body: (pairs) => form(pairs.reverse()), why: 'the order of the body means nothing' }),
    notice('percent_20_for_blanks', swap({ subject: '金币 a b' }), {
      body: upper, why: 'every character encoded with percent signs, blanks as %20' }),
    notice('lower_case_hex', swap({ subject: '金币/a?b' }), {
      body: (pairs) => upper(pairs).replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()) }),
    notice('unneeded_encoding', PAYMENT, {
      body: (pairs) => upper(pairs).replace('trade_status', '%74rade%5Fstatus').replace('88.80', '%38%38%2E80'),
      why: 'names and plain characters may be encoded too' }),
    notice('refund_partial', PARTIAL, { why: 'refund_fee is the sum so far; gmt_refund has fractions' }),
    notice('refund_second_partial', { ...PARTIAL, refund_fee: '18.80', out_biz_no: `${REFUND}2` }),
    notice('refund_full', FULL),
    notice('refund_fee_zero', swap({ refund_fee: '0.00' }), { why: 'a plain payment all the same' }),
    notice('closed_unpaid', CLOSED),
    notice('finished', FINISHED),
    notice('waiting', WAITING, { why: 'changes nothing' }),
    notice('unknown_status', swap({ trade_status: 'TRADE_PENDING' }), {
      why: 'authentic, and a status nobody knows: never act on it', then: 'unknown' }),
    notice('buyer_open_id', (({ buyer_id: _, buyer_logon_id: __, ...rest }) =>
      ({ ...rest, buyer_open_id: '074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5' }))(PAYMENT)),
    notice('amount_88_8', swap({ total_amount: '88.8' }), { why: 'the same amount, written shorter' }),
    notice('foreign_app_id', swap({ app_id: '2021009900000666', auth_app_id: '2021009900000666' }), {
      why: 'authentic, but of another application', then: 'quarantine' }),
    notice('foreign_seller', swap({ seller_id: '2088009900000666' }), {
      why: 'authentic, but to the benefit of another seller', then: 'quarantine' }),
    notice('other_amount', swap({ total_amount: '0.01', receipt_amount: '0.01' }), {
      why: 'authentic, but not the amount of the order', then: 'quarantine' }),
    notice('certificate_mode', PAYMENT, { mode: 'certificate',
      why: 'the same rule; the key is the one in alipay_cert.crt' }),
  ];
}

function doubtful() {
  const swap = (changes) => ({ ...PAYMENT, ...changes });
  const blanks = swap({ body: '', passback_params: '' });
  const gbk = swap({ charset: 'gbk', subject: '金币' });
  const good = sign(join(PAYMENT));
  const either = (why) => ({ expected: 'either', why });
  const smuggled = swap({
    total_amount: '0.01',
    subject: 'x&total_amount=648.00&trade_no=9&trade_status=TRADE_SUCCESS&version=1.0&zz=',
  });
  const lenient = 'lenient Base64; harmless';
  return [
    notice('blank_value_not_signed', blanks, { signed: PAYMENT, expected: 'accept',
      why: 'blanks left out of the signed text, as the PHP samples do: the second try allows it' }),
    notice('blank_value_added', swap({ refund_fee: '' }), { signed: PAYMENT,
      ...either('not to be told from the one before: so a blank parameter must mean an absent one') }),
    notice('gbk', gbk, {
      sign: createSign('RSA-SHA256').update(toGbk(join(gbk))).sign(read('alipay_private_pkcs8.pem'), 'base64'),
      body: (pairs) => pairs.map((pair) => pair.map(encodeGbk).join('=')).join('&'),
      ...either('charset gbk, encoded and signed as such; the Node SDK knows only UTF-8') }),
    notice('sign_with_newlines', PAYMENT, {
      sign: good.replace(/(.{76})/g, '$1\n'), ...either(lenient) }),
    notice('sign_url_safe', PAYMENT, {
      sign: good.replaceAll('+', '-').replaceAll('/', '_'), ...either(lenient) }),
    notice('sign_without_padding', PAYMENT, { sign: good.replace(/=+$/, ''), ...either(lenient) }),
    notice('sign_doubled', PAYMENT, { sign: good + good, ...either(lenient) }),
    notice('split_otherwise', smuggledSplit(smuggled), { signed: smuggled,
      ...either('the signed text does not say where a value ends: this one was signed with the ' +
        'amount 0.01 and a subject that holds &total_amount=648.00&…, and is cut at another ' +
        'place. No rule of Alipay\'s forbids it; so never let a stranger write subject, body or ' +
        'passback_params, or refuse a value that holds &total_amount= and the like') }),
  ];
}

// The parameters of a notice whose subject holds "&total_amount=…", cut at another place.
function smuggledSplit(params) {
  const text = join(params);
  const [head, rest] = text.split('subject=x&');
  const injected = Object.fromEntries(rest.split('&zz=')[0].split('&').map((pair) => pair.split('=')));
  const before = Object.fromEntries(head.slice(0, -1).split('&').map((pair) => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
  return { ...before, subject: 'x', ...injected, zz: rest.split('&zz=')[1] };
}

function forged() {
  const swap = (changes) => ({ ...PAYMENT, ...changes });
  const refuse = (why) => ({ expected: 'refuse', why });
  const good = sign(join(PAYMENT));
  const without = (key) => Object.fromEntries(pairsOf(PAYMENT).filter(([name]) => name !== key));
  const kept = (type) => join({ ...PAYMENT, sign_type: type });
  const chooses = 'the Node SDK lets the message choose the digest; only RSA2 is spoken';
  const twice = 'a repeated key: a parser that keeps one of the two decides what is believed';
  return [
    notice('signed_by_stranger', PAYMENT, { who: 'stranger', ...refuse('another key') }),
    notice('signed_by_app', PAYMENT, { who: 'app',
      ...refuse('signed with the application\'s own key, not Alipay\'s') }),
    notice('amount_changed', swap({ total_amount: '648.00' }), { signed: PAYMENT, ...refuse('changed') }),
    notice('status_changed', PAYMENT, { signed: WAITING, ...refuse('changed') }),
    notice('order_changed', swap({ out_trade_no: ORDER.replace('0', 'f') }), {
      signed: PAYMENT, ...refuse('changed') }),
    notice('amount_written_otherwise', swap({ total_amount: '88.8' }), {
      signed: PAYMENT, ...refuse('the same amount in other characters is another text') }),
    notice('parameter_added', swap({ refund_fee: '88.80' }), { signed: PAYMENT, ...refuse('added') }),
    notice('parameter_removed', without('seller_id'), { signed: PAYMENT, ...refuse('removed') }),
    notice('name_in_capitals', { ...without('total_amount'), Total_amount: '88.80' }, {
      signed: PAYMENT, ...refuse('names are told apart by case') }),
    notice('value_stripped', swap({ subject: 'coins' }), {
      signed: swap({ subject: 'coins ' }), ...refuse('a blank is a character') }),
    notice('nameless_parameter_added', swap({ '': 'x' }), { signed: PAYMENT,
      ...refuse('a parameter without a name: the Node SDK leaves it out') }),
    notice('encoded_twice', swap({ subject: '金币 a+b' }), {
      body: (pairs) => form(pairs.map(([key, value]) => [key, encodeURIComponent(value)])),
      sign: sign(join(swap({ subject: '金币 a+b' }))),
      ...refuse('URL-encoded twice: a form is decoded exactly once') }),
    notice('values_encoded_twice', swap({ subject: '金币 a+b' }), {
      body: (pairs) => form(pairs.map(([key, value]) =>
        [key, key === 'sign' ? value : encodeURIComponent(value)])),
      ...refuse('all values but sign URL-encoded twice: checkNotifySign decodes once more') }),
    notice('plus_not_encoded_in_sign', PAYMENT, {
      body: (pairs) => form(pairs).replaceAll('%2B', '+'),
      ...refuse('the + of Base64 sent bare means a blank') }),
    notice('sha1', PAYMENT, { digest: 'RSA-SHA1', signType: 'RSA', ...refuse(chooses) }),
    notice('sha1_called_rsa2', PAYMENT, { digest: 'RSA-SHA1', ...refuse('SHA-1 under the name of RSA2') }),
    notice('sha256_called_rsa', PAYMENT, { signType: 'RSA', ...refuse('sign_type is not RSA2') }),
    notice('sha512', PAYMENT, { digest: 'RSA-SHA512', ...refuse('not the digest of RSA2') }),
    notice('md5', PAYMENT, { digest: 'RSA-MD5', signType: 'MD5', ...refuse('MD5') }),
    notice('sign_type_lower_case', PAYMENT, { signType: 'rsa2', ...refuse('sign_type is not RSA2') }),
    notice('sign_type_unknown', PAYMENT, { signType: 'SM2', ...refuse('sign_type is not RSA2') }),
    notice('sign_type_missing', PAYMENT, { signType: null,
      ...refuse('no sign_type: the Node SDK takes the one configured') }),
    notice('sign_type_empty', PAYMENT, { signType: '',
      ...refuse('an empty sign_type: the Node SDK takes the one configured') }),
    notice('sign_type_kept', PAYMENT, { text: kept('RSA2'),
      ...refuse('sign_type signed too, the rule of service messages: the Node SDK tries both rules, ' +
        'a notice of a trade has one') }),
    notice('sign_type_kept_sha1', PAYMENT, { text: kept('RSA'), digest: 'RSA-SHA1', signType: 'RSA',
      ...refuse('both of the laxities at once') }),
    notice('sign_missing', PAYMENT, { sign: null, ...refuse('no sign') }),
    notice('sign_empty', PAYMENT, { sign: '', ...refuse('an empty sign') }),
    notice('sign_not_base64', PAYMENT, { sign: '!!!', ...refuse('not Base64') }),
    notice('sign_cut', PAYMENT, { sign: good.slice(0, -8), ...refuse('a shorter signature') }),
    notice('sign_twice', PAYMENT, {
      pairs: [['sign', 'AAAA'], ...pairsOf(PAYMENT)], ...refuse(twice) }),
    notice('sign_type_twice', PAYMENT, {
      pairs: [['sign_type', 'RSA'], ...pairsOf(PAYMENT)], ...refuse(twice) }),
    notice('amount_twice_forged_last', PAYMENT, {
      pairs: [...pairsOf(PAYMENT), ['total_amount', '648.00']], ...refuse(twice) }),
    notice('amount_twice_forged_first', PAYMENT, {
      pairs: [['total_amount', '648.00'], ...pairsOf(PAYMENT)], ...refuse(twice) }),
    notice('amount_twice_alike', PAYMENT, {
      pairs: [['total_amount', '88.80'], ...pairsOf(PAYMENT)], ...refuse('a repeated key, if a harmless one') }),
    notice('list_signed_as_json', PAYMENT, {
      pairs: [...pairsOf(PAYMENT), ['total_amount', '648.00']],
      text: join({ ...PAYMENT, total_amount: '["88.80","648.00"]' }),
      ...refuse('a repeated key; the Node SDK verifies the list it made of it as JSON text') }),
    notice('empty', {}, { pairs: [], sign: null, signType: null, text: '', ...refuse('nothing') }),
    notice('only_sign', {}, { ...refuse('nothing but a good signature of nothing') }),
    notice('certificate_mode_stranger', PAYMENT, { mode: 'certificate', who: 'stranger',
      ...refuse('another key') }),
  ];
}

// GBK, which Node can only read: the table is turned round.
function gbkTable() {
  const table = new Map();
  const decoder = new TextDecoder('gbk');
  for (let high = 0x81; high <= 0xfe; high += 1) {
    for (let low = 0x40; low <= 0xfe; low += 1) {
      table.set(decoder.decode(Uint8Array.of(high, low)), [high, low]);
    }
  }
  return table;
}
const GBK = gbkTable();
function toGbk(text) {
  return Buffer.from([...text].flatMap((char) => (char < '\x80' ? [char.charCodeAt(0)] : GBK.get(char))));
}
function encodeGbk(text) {
  return [...toGbk(text)]
    .map((byte) => (/[\w.*-]/.test(String.fromCharCode(byte)) && byte < 0x80
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`))
    .join('');
}

// --- All together ------------------------------------------------------------------------------

const ABOUT = [
  'What Alipay\'s official Node SDK makes of certificates, answers and notifications, and what it ' +
    'sends, recorded by make_node_sdk.mjs.',
  'All keys and certificates are throw-away ones from alipay/. The SDK held, in key mode, ' +
    'app_private_pkcs1.pem and alipay_public.pem; in certificate mode app_private_pkcs8.pem, ' +
    'app_cert.crt, alipay_cert.crt and root_bundle.crt. Alipay\'s part was signed with ' +
    'alipay_private_pkcs8.pem unless "why" says otherwise.',
  'certificates: "sdk_sn" is the SDK\'s number, "openssl_sn" the MD5 of OpenSSL\'s RFC 2253 issuer ' +
    'and the decimal serial; "expected_sn" is ours, null where no number can be expected.',
  'root_bundles: "expected_sn" is the number that must come out of the text "pem".',
  'certificate_downloads: unsigned answers of alipay.open.app.alipaycert.download, ' +
    '"openssl_accepts" says whether the certificate chains up to root_bundle.crt at "clock".',
  'requests: "sign" is the SDK\'s signature of "string_to_sign"; what was sent stands URL-encoded in ' +
    '"order_string", "url", "form_html" or "http" (as it arrived at a local server).',
  'answers: in certificate mode, "raw" is the whole body, "signed_text" the part that was signed. ' +
    'second_opinions: this SDK\'s verdicts, in key mode, on the answers of alipay_python_sdk.json.',
  'notifications: "body" is the POST body, "signed_text" what the signature was made over (left ' +
    'out of forged ones), "sdk" ' +
    'what each of the SDK\'s two methods says, "sdk_accepts" whether one of them accepts. "then" ' +
    'says what must become of an authentic notice that must not settle its order.',
  '"expected" is what payplat must say (of requests: its simulator): accept, refuse, or either ' +
    'where both are sound. "why" explains it, above all where it differs from "sdk_accepts".',
];

const whole = {
  about: ABOUT,
  sdk: { name: 'alipay-sdk', version: sdkPackage.version },
  clock: `${NOW} (Beijing)`,
  gateway: GATEWAY,
  app_id: APP_ID,
  seller_id: SELLER,
  notify_url: NOTIFY_URL,
  return_url: RETURN_URL,
  certificate_mode: {
    app_cert_sn: getSN(read('app_cert.crt')),
    alipay_cert_sn: getSN(read('alipay_cert.crt')),
    alipay_root_cert_sn: getSN(read('root_bundle.crt'), true),
  },
  certificates: certificates(),
  root_bundles: rootBundles(),
  certificate_downloads: downloads(),
  requests: await requests(),
  answers: await answers(),
  second_opinions: await secondOpinion(),
  notifications: [...authentic(), ...doubtful(), ...forged()],
};
fs.writeFileSync(path.join(HERE, 'alipay_node_sdk.json'), `${JSON.stringify(whole, null, 2)}\n`);
server.close();
