"""Money: an integer of ISO 4217 minor units and a currency; text only at a provider's edge, exactly or not at all."""

from decimal import Decimal, InvalidOperation

from payplat.errors import InvalidRequest

# ISO 4217 List One; funds codes, metals and test codes are left out.
_PLACES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY "
    "COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR "
    "IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD "
    "NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
    "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_EXPONENTS = {code: places for places, codes in _PLACES.items() for code in codes.split()}
MAX_AMOUNT = 10**15


def exponent(currency: str) -> int:
    """Return how many decimal places ``currency`` has; raise InvalidRequest when there is no such currency."""
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise InvalidRequest(f"{currency!r} is no ISO 4217 currency.", field="currency") from None


def to_text(amount: int, currency: str) -> str:
    """Write minor units as a plain decimal text with all its places: (600, "CNY") is "6.00"."""
    places = exponent(currency)
    sign, digits = ("-" if amount < 0 else ""), str(abs(amount)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else sign + digits


def from_text(text: str, currency: str) -> int:
    """Read a plain decimal text as minor units, exactly: ("88.8", "CNY") is 8880.

    Raises InvalidRequest for anything that is no plain decimal number, is negative, or has more places than the
    currency: rounding would make money from nothing.
    """
    try:
        if not text.isascii() or not text.replace(".", "", 1).isdigit() or len(text) > 20:
            raise InvalidOperation
        units = Decimal(text).scaleb(exponent(currency))
    except InvalidOperation:
        raise InvalidRequest(f"{text[:32]!r} is no amount.", field="amount") from None
    if units != units.to_integral_value() or units > MAX_AMOUNT:
        raise InvalidRequest(f"{text!r} is no amount in {currency}.", field="amount")
    return int(units)
