-- service: ledger
-- Postings sum to zero per journal and currency.
SELECT j.id, sum(p.amount) FROM journals j LEFT JOIN postings p ON p.journal_id = j.id
GROUP BY j.id HAVING coalesce(sum(p.amount), 0) <> 0 OR count(p.leg) < 2
