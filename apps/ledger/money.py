"""Amounts of money as text and as numbers: exact to the currency's minor unit, never rounded, never a float."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from iso4217 import Currency

MAX_BALANCE = Decimal("999999999999999.9999")
"""The largest value of `numeric(19,4)`."""

MAX_EXPONENT = 4
MAX_INTEGER_DIGITS = 15
DEFAULT_EXPONENT = 2
"""Decimal places of a code that is in no list; nearly all that are in one have as many."""

_INTEGER_PART = rf"(0|[1-9][0-9]{{0,{MAX_INTEGER_DIGITS - 1}}})"
AMOUNT_PATTERN = rf"^{_INTEGER_PART}(\.[0-9]{{1,{MAX_EXPONENT}}})?$"
"""The grammar of amounts, for the OpenAPI schema."""
# Any number of places: too many are an error of their own.
_AMOUNT = re.compile(rf"{_INTEGER_PART}(\.[0-9]+)?", re.ASCII)

# Never shortened: ISO withdraws codes, and its list, which `iso4217` contains, then has no minor units for them.
RECORDED: Final[Mapping[int, str]] = {
    0: (
        "ADP BEC BEF BEL BIF BYB BYR CLP DJF ESA ESB ESP GNF GRD ISK ITL JPY KMF KRW LUC LUF LUL MGF PTE PYG ROL RWF "
        "TPE TRL UGX UYI VND VUV XAF XOF XPF"
    ),
    2: (
        "AED AFA AFN ALK ALL AMD ANG AOA AOK AON AOR ARA ARP ARS ARY ATS AUD AWG AYM AZM AZN BAD BAM BBD BDT BGJ BGK "
        "BGL BGN BMD BND BOB BOP BOV BRB BRC BRE BRL BRN BRR BSD BTN BUK BWP BYN BZD CAD CDF CHC CHE CHF CHW CNY COP "
        "COU CRC CSD CSJ CSK CUC CUP CVE CYP CZK DDM DEM DKK DOP DZD ECS ECV EEK EGP ERN ETB EUR FIM FJD FKP FRF GBP "
        "GEK GEL GHC GHP GHS GIP GMD GNE GNS GQE GTQ GWE GWP GYD HKD HNL HRD HRK HTG HUF IDR IEP ILP ILR ILS INR IRR "
        "ISJ JMD KES KGS KHR KPW KYD KZT LAJ LAK LBP LKR LRD LSL LSM LTL LTT LVL LVR MAD MAF MDL MGA MKD MLF MMK MNT "
        "MOP MRO MRU MTL MTP MUR MVQ MVR MWK MXN MXP MXV MYR MZE MZM MZN NAD NGN NIC NIO NLG NOK NPR NZD PAB PEH PEI "
        "PEN PES PGK PHP PKR PLN PLZ QAR RHD ROK RON RSD RUB RUR SAR SBD SCR SDD SDG SDP SEK SGD SHP SIT SKK SLE "
        "SLL SOS SRD SRG SSP STD STN SUR SVC SYP SZL THB TJR TJS TMM TMT TOP TRY TTD TWD TZS UAH UAK UGS UGW USD USN "
        "USS UYN UYP UYU UZS VEB VED VEF VES VNC WST XAD XCD XCG XEU YDD YER YUD YUM YUN ZAL ZAR ZMK ZMW ZRN ZRZ ZWC "
        "ZWD ZWG ZWL ZWN ZWR"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
"""The codes of ISO 4217 by their decimal places, those of 2026 and those withdrawn before; gold and test codes have none."""

CURRENT: Final = {
    currency.code: currency.exponent
    for currency in Currency
    if currency.exponent is not None and currency.exponent <= MAX_EXPONENT
}
"""Decimal places of the current ISO 4217 currencies, in which an account may be opened."""

EXPONENTS: Final = CURRENT | {code: places for places, codes in RECORDED.items() for code in codes.split()}
"""Decimal places of each currency, withdrawn ones too; RECORDED takes precedence, so ISO cannot change stored amounts."""

UNUSUAL_EXPONENTS: Final = {code: places for code, places in EXPONENTS.items() if places != DEFAULT_EXPONENT}


def positive_amount_pattern(limit: int) -> str:
    """Return AMOUNT_PATTERN for the amounts above 0 and up to a whole number, for the OpenAPI schema."""
    digits = str(limit)
    up_to_limit = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"] if len(digits) > 1 else []
    for place, digit in enumerate(digits):
        lowest = "1" if place == 0 else "0"
        if digit > lowest:
            rest = len(digits) - place - 1
            up_to_limit.append(f"{digits[:place]}[{lowest}-{int(digit) - 1}][0-9]{{{rest}}}")
    fractions = r"0\.([1-9][0-9]{0,3}|0[1-9][0-9]{0,2}|00[1-9][0-9]?|000[1-9])"
    places = f"{{1,{MAX_EXPONENT}}}"
    return rf"^(({'|'.join(up_to_limit)})(\.[0-9]{places})?|{digits}(\.0{places})?|{fractions})$"


def parse_amount(text: str) -> Decimal | None:
    """Return the exact value of a decimal string such as "25.00", keeping its places, or None if it is not one.

    The text is matched in ASCII before a Decimal is made, because Decimal's own parser accepts "1_000", "1e3", "NaN" and
    other scripts' digits.
    """
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def decimal_places(amount: Decimal) -> int:
    """Return how many decimal places the amount was written with."""
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101  parse_amount yields no NaN or Infinity
    return max(0, -exponent)


def format_amount(amount: Decimal, currency: str) -> str:
    """Return the amount with exactly its currency's decimal places: "100" JPY, "1.00" USD, "1.000" KWD.

    A stored amount with more places than that is shown whole; a code that is in no list has DEFAULT_EXPONENT.
    """
    # Decimal(): the balance of an account that was not read back is the model's default, the integer 0.
    places = max(EXPONENTS.get(currency, DEFAULT_EXPONENT), decimal_places(Decimal(amount).normalize()))
    return f"{amount:.{places}f}"
