"""The header fields that answers have beside their content."""

from payplat.errors import TooManyRequests

# Answers are for programs, and tell of orders: nothing may keep, guess, frame or run them.
ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def of_limit(error: TooManyRequests) -> dict[str, str]:
    """Return what tells a caller when to come again: RFC 9110, and the draft ietf-httpapi-ratelimit-headers-10."""
    return {
        "Retry-After": str(error.seconds),
        "RateLimit-Policy": f'"{error.limit}";q={error.per_minute};w=60',
        "RateLimit": f'"{error.limit}";r=0;t={error.seconds}',
    }
