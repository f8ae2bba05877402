// Verify a delivery of payplat: Standard Webhooks 1.0, symmetric signatures (v1). Node's own modules only.
//
// On the command line: node verify.mjs <secret> <id> <timestamp> <signature> < body; exit code 0 when it is genuine,
// else 1. Several secrets are separated by spaces.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const TOLERANCE = 300; // seconds that a timestamp may be off, either way

/**
 * Tell whether one of `secrets` signed exactly these bytes, not five minutes off from now.
 *
 * The texts are the headers webhook-id, webhook-timestamp and webhook-signature as they came, '' where missing; `body`
 * is a Buffer: the request's bytes before anything parsed them. Throws for a secret that is none.
 */
export function verify(secrets, webhookId, timestamp, signatures, body) {
  const keys = secrets.map(decode);
  if (!webhookId || !/^[0-9]{1,12}$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE) return false;
  const signed = Buffer.concat([Buffer.from(`${webhookId}.${timestamp}.`), body]);
  const expected = keys.map((key) => `v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
  const sent = signatures.split(' ');
  return expected.some((one) => sent.some((other) => areEqual(one, other)));
}

/** Return the key of `whsec_…`; a short one could be guessed, an empty one anybody has. */
function decode(secret) {
  const text = secret.replace(/^whsec_/, '');
  const key = Buffer.from(text, 'base64'); // skips what is no Base64, so compare
  if (key.length < 24 || key.toString('base64') !== text) {
    throw new Error('the secret is not whsec_ and the Base64 of at least 24 bytes');
  }
  return key;
}

function areEqual(one, other) {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [secrets, webhookId, timestamp, signatures] = process.argv.slice(2);
  const isGenuine = verify(secrets.split(' '), webhookId, timestamp, signatures, readFileSync(0));
  process.exit(isGenuine ? 0 : 1);
}
