"""A gateway that speaks Stripe's wire format over a world of issuers and payers."""
