"""From what an issuer said to what Stripe's API says about it.

Owns: the table from network codes to Stripe's decline codes. Refuses: judging them; that is the product's work.
"""

from __future__ import annotations

from dunwell_worlds.protocol import Decline

# Source: Stripe's list of decline codes (stripe-go error.go), read November 2026.
_LIST = """
    authentication_required approve_with_id call_issuer card_not_supported card_velocity_exceeded
    currency_not_supported do_not_honor do_not_try_again duplicate_transaction expired_card fraudulent
    generic_decline incorrect_cvc incorrect_number incorrect_pin incorrect_zip insufficient_funds invalid_account
    invalid_amount invalid_cvc invalid_expiry_month invalid_expiry_year invalid_number invalid_pin
    issuer_not_available lost_card merchant_blacklist new_account_information_available no_action_taken
    not_permitted offline_pin_required online_or_offline_pin_required pickup_card pin_try_exceeded
    processing_error reenter_transaction restricted_card revocation_of_all_authorizations
    revocation_of_authorization security_violation service_not_allowed stolen_card stop_payment_order
    testmode_decline transaction_not_allowed try_again_later withdrawal_count_limit_exceeded
"""
STRIPE_CODES = frozenset(_LIST.split())
# ISO 8583 response codes as the card networks use them, and the code that Stripe's documentation pairs them with.
_BY_NETWORK_CODE = {
    "04": "pickup_card",
    "05": "do_not_honor",
    "07": "pickup_card",
    "12": "transaction_not_allowed",
    "14": "invalid_number",
    "1A": "authentication_required",
    "41": "lost_card",
    "43": "stolen_card",
    "46": "invalid_account",
    "51": "insufficient_funds",
    "54": "expired_card",
    "57": "transaction_not_allowed",
    "59": "fraudulent",
    "61": "card_velocity_exceeded",
    "62": "restricted_card",
    "65": "withdrawal_count_limit_exceeded",
    "91": "issuer_not_available",
    "96": "processing_error",
    "R0": "stop_payment_order",
    "R1": "revocation_of_authorization",
    "R3": "revocation_of_all_authorizations",
}
# The error's `code` where it is not the general `card_declined`.
_OWN_ERROR_CODE = {
    "expired_card": "expired_card",
    "incorrect_cvc": "incorrect_cvc",
    "incorrect_number": "incorrect_number",
    "invalid_number": "incorrect_number",
    "processing_error": "processing_error",
    "authentication_required": "authentication_required",
}
_ADVICE = frozenset({"try_again_later", "do_not_try_again", "confirm_card_data"})
# Mastercard's merchant advice codes. Source: design/retry.md section 1.2.
_ADVICE_OF_NETWORK = {"01": "confirm_card_data", "03": "do_not_try_again", "21": "do_not_try_again"}
_RETRY_LATER = frozenset({"02", "24", "25", "26", "27", "28", "29", "30"})


def spoken(decline: Decline) -> dict[str, str | None]:
    """Return Stripe's fields for a decline: code, decline_code, advice_code, network codes, message."""
    own = (decline.gateway_code or "").lower()
    decline_code = own if own in STRIPE_CODES else _BY_NETWORK_CODE.get(decline.network_code or "", "generic_decline")
    told = decline.advice_code
    network_advice = told if told and told not in _ADVICE else None
    advice = told if told in _ADVICE else _ADVICE_OF_NETWORK.get(told or "")
    if network_advice in _RETRY_LATER:
        advice = "try_again_later"
    code = _OWN_ERROR_CODE.get(decline_code, "card_declined")
    return {
        "code": code,
        "decline_code": decline_code,
        "advice_code": advice,
        "network_decline_code": decline.network_code,
        "network_advice_code": network_advice,
        "message": decline.message or "Your card was declined.",
    }
