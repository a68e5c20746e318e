"""The numbers of the base world and of its four stressed variants.

Owns: mixes, codes and effects. Refuses: draws. Every number is a calibrated assumption: tuned so that known
policies reach the totals that public sources report, not measured on real payers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

REASONS = ("nsf", "limit", "risk", "block", "outage", "expired", "hard", "revoked", "auth")
NSF, LIMIT, RISK, BLOCK, OUTAGE, EXPIRED, HARD, REVOKED, AUTH = range(9)

NETWORKS, NETWORK_SHARE = ("visa", "mastercard", "amex", "discover"), (0.56, 0.32, 0.08, 0.04)
FUNDINGS, FUNDING_SHARE = ("credit", "debit", "prepaid"), (0.52, 0.41, 0.07)

# Country, zone, share: mostly the United States, enough others to make local time matter.
PLACES = (
    ("US", "America/New_York", 0.24),
    ("US", "America/Chicago", 0.15),
    ("US", "America/Denver", 0.05),
    ("US", "America/Phoenix", 0.02),
    ("US", "America/Los_Angeles", 0.14),
    ("CA", "America/Toronto", 0.06),
    ("GB", "Europe/London", 0.10),
    ("DE", "Europe/Berlin", 0.06),
    ("FR", "Europe/Paris", 0.05),
    ("ES", "Europe/Madrid", 0.03),
    ("NL", "Europe/Amsterdam", 0.03),
    ("AU", "Australia/Sydney", 0.04),
    ("JP", "Asia/Tokyo", 0.03),
)
# Tenant, share, its processors; one in four invoices can be sent a second way.
TENANTS = (
    ("ten_north", 0.45, ("stripe",)),
    ("ten_east", 0.30, ("stripe",)),
    ("ten_south", 0.25, ("stripe", "backup")),
)

CODES: Mapping[int, tuple[tuple[str, float], ...]] = MappingProxyType(
    {
        NSF: (("51", 0.72), ("05", 0.26), ("61", 0.02)),
        LIMIT: (("61", 0.60), ("05", 0.30), ("51", 0.10)),
        RISK: (("05", 0.72), ("59", 0.28)),
        BLOCK: (("05", 0.80), ("59", 0.20)),
        OUTAGE: (("91", 0.85), ("05", 0.15)),
        EXPIRED: (("54", 0.62), ("14", 0.10), ("41", 0.05), ("43", 0.03), ("46", 0.02), ("05", 0.18)),
        HARD: (("14", 0.35), ("41", 0.15), ("43", 0.12), ("46", 0.08), ("05", 0.25), ("59", 0.05)),
        REVOKED: (("R1", 0.65), ("05", 0.35)),
        AUTH: (("1A", 0.85), ("05", 0.15)),
    }
)

# Stripe's decline_code of each network code. Source: docs.stripe.com/declines/codes.
GATEWAY_CODES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "51": ("insufficient_funds",),
        "05": ("do_not_honor", "generic_decline"),
        "61": ("withdrawal_count_limit_exceeded", "card_velocity_exceeded"),
        "59": ("fraudulent",),
        "91": ("issuer_not_available",),
        "54": ("expired_card",),
        "14": ("incorrect_number", "invalid_account"),
        "41": ("lost_card",),
        "43": ("stolen_card",),
        "46": ("invalid_account",),
        "R1": ("revocation_of_all_authorizations",),
        "1A": ("authentication_required",),
    }
)
# Mastercard advice codes with a retry interval, in hours. Source: docs.payabl.com/docs/mastercard-merchant-advice-codes.
ADVICE_HOURS = (("24", 1), ("25", 24), ("26", 48), ("27", 96), ("28", 144), ("29", 192), ("30", 240))
# Visa response codes that the issuer will never approve; the base world sends only these of them.
VISA_NEVER = frozenset({"04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3"})


@dataclass(frozen=True)
class Parameters:
    """What a variant of the base world may change.

    Args:
        mix: Share of each reason, in the order of `REASONS`; sums to 1.
        calendar: `real` or `none`, see `paydays.variants`.
        outages_per_issuer_month: Mean number of issuer-wide outages.
        night_sign: 1 for the issuers' night effect as drawn, -1 for its mirror image.
        maintenance_hours: Local hours in which 30 % of issuers approve little.
        codes: Reason number to codes and their shares.
    """

    name: str = "base"
    mix: tuple[float, ...] = (0.43, 0.04, 0.16, 0.09, 0.04, 0.10, 0.09, 0.02, 0.03)
    calendar: str = "real"
    outages_per_issuer_month: float = 0.2
    night_sign: int = 1
    maintenance_hours: tuple[int, ...] = (1, 2, 3)
    codes: Mapping[int, tuple[tuple[str, float], ...]] = field(default_factory=lambda: CODES)


BASE = Parameters()
# Half of the insufficient-funds answers hide behind 05: 05 is then about 60 % of all declines.
STRESS_05SHARE = replace(
    BASE,
    name="stress_05share",
    codes=MappingProxyType({**CODES, NSF: (("51", 0.20), ("05", 0.79), ("61", 0.01))}),
)
STRESS_NOCALENDAR = replace(BASE, name="stress_nocalendar", calendar="none")
# Maintenance falls into the late morning, where a rule that charges at nine would otherwise feel safe.
STRESS_NIGHT = replace(BASE, name="stress_night", night_sign=-1, maintenance_hours=(9, 10, 11))
STRESS_OUTAGES = replace(
    BASE,
    name="stress_outages",
    mix=(0.396, 0.037, 0.147, 0.082, 0.12, 0.092, 0.082, 0.018, 0.026),
    outages_per_issuer_month=0.6,
)
