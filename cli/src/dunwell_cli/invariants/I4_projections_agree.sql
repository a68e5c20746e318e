-- service: ledger
-- Balances and open items are what the postings say.
SELECT 'balance ' || a.name AS what, b.posted, s.sum FROM balances b JOIN accounts a USING (account_id)
  JOIN (SELECT account_id, sum(amount) FROM postings GROUP BY 1) s USING (account_id) WHERE b.posted <> s.sum
UNION ALL
SELECT 'open item ' || o.item, o.principal, coalesce(s.sum, 0) FROM open_items o LEFT JOIN
  (SELECT p.tenant_id, p.item, sum(p.amount) FROM postings p JOIN accounts a USING (account_id)
   WHERE a.name = 'ar.principal' GROUP BY 1, 2) s ON s.tenant_id = o.tenant_id AND s.item = o.item
WHERE o.principal <> coalesce(s.sum, 0)
