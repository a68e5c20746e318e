"""Issuer and payer models: pure, seeded, shared by sandbox and back-test."""
