-- Who was written to lately, whatever came of it: the older index leaves out what is queued, and so is never used.
CREATE INDEX notices_to_payer ON notices (tenant_id, gateway, account, payer_id)
  WHERE state IN ('queued', 'sending', 'sent', 'unknown');
