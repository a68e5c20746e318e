-- service: retry
-- At most one applied charge per invoice.
SELECT tenant_id, gateway, account, invoice_id, count(*) FROM charge_attempts WHERE state = 'succeeded'
GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
