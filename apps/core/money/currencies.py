"""Currencies of ISO 4217 and their decimal places, current ones and those that ISO has withdrawn."""

from collections.abc import Mapping
from typing import Final

from iso4217 import Currency

MAX_EXPONENT: Final = 4
DEFAULT_EXPONENT: Final = 2
"""Decimal places of a code that is in no list; nearly all that are in one have as many."""

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
"""Decimal places of the current ISO 4217 currencies, for what is new."""

EXPONENTS: Final = CURRENT | {code: places for places, codes in RECORDED.items() for code in codes.split()}
"""Decimal places of each currency, withdrawn ones too; RECORDED takes precedence, so ISO cannot change stored amounts."""

UNUSUAL_EXPONENTS: Final = {code: places for code, places in EXPONENTS.items() if places != DEFAULT_EXPONENT}
