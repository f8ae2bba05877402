<?php

declare(strict_types=1);

/*
 * Verify a delivery of payplat: Standard Webhooks 1.0, symmetric signatures (v1). PHP 8, no extension.
 *
 * On the command line: php verify.php <secret> <id> <timestamp> <signature> < body; exit code 0 when it is genuine,
 * else 1. Several secrets are separated by spaces.
 */

namespace Payplat;

const TOLERANCE = 300; // seconds that a timestamp may be off, either way

/**
 * Tell whether one of $secrets signed exactly these bytes, not five minutes off from now.
 *
 * The texts are the headers webhook-id, webhook-timestamp and webhook-signature as they came, '' where missing; $body is
 * file_get_contents('php://input').
 *
 * @param string[] $secrets
 * @throws \InvalidArgumentException for a secret that is none
 */
function verify(array $secrets, string $id, string $timestamp, string $signatures, string $body): bool
{
    $genuine = false;
    foreach ($secrets as $secret) {
        $digest = hash_hmac('sha256', "$id.$timestamp.$body", decode($secret), true);
        foreach (explode(' ', $signatures) as $sent) {
            $genuine = hash_equals('v1,' . base64_encode($digest), $sent) || $genuine;
        }
    }
    return $genuine && $id !== '' && is_fresh($timestamp);
}

function is_fresh(string $timestamp): bool
{
    return preg_match('/\A[0-9]{1,12}\z/', $timestamp) === 1 && abs(time() - (int) $timestamp) <= TOLERANCE;
}

/** Return the key of whsec_…; a short one could be guessed, an empty one anybody has. */
function decode(string $secret): string
{
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
    if ($key === false || strlen($key) < 24) {
        throw new \InvalidArgumentException('the secret is not whsec_ and the Base64 of at least 24 bytes');
    }
    return $key;
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    [, $secrets, $id, $timestamp, $signatures] = $argv;
    try {
        $body = file_get_contents('php://stdin');
        exit(verify(explode(' ', $secrets), $id, $timestamp, $signatures, $body) ? 0 : 1);
    } catch (\InvalidArgumentException $error) {
        fwrite(STDERR, $error->getMessage() . "\n");
        exit(1);
    }
}
