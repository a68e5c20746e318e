-- Events come late and twice, and what a fact books depends on the facts before it. So every fact is kept with its
-- instant, and a late one is put in its place: what it proves wrong is reversed and booked anew. The same rows say how
-- disputes and due dates stood on any past day.

CREATE TABLE facts (
  tenant_id text NOT NULL,
  -- What it is folded with: an invoice's item, or the gateway object where an invoice plays no part.
  thread text NOT NULL,
  what text NOT NULL,
  event_id text NOT NULL,
  item text NOT NULL,
  source_id text NOT NULL,
  paid_by text NOT NULL DEFAULT '',
  at timestamptz NOT NULL,
  effective_on date NOT NULL,
  due_on date,
  currency text NOT NULL,
  minor bigint NOT NULL,
  won boolean NOT NULL DEFAULT false,
  evidence jsonb NOT NULL DEFAULT '[]',
  noted_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, thread, what, event_id)
);
CREATE INDEX facts_payments ON facts (tenant_id, source_id) WHERE what = 'payment';
CREATE INDEX facts_disputes ON facts (tenant_id, item, effective_on)
  WHERE what IN ('disputed', 'withdrawn', 'dispute_closed');

ALTER TABLE journals ADD COLUMN thread text NOT NULL DEFAULT '';
-- True when more than one day was ever valid: only then does a past day's ageing have to look for it.
ALTER TABLE open_items ADD COLUMN due_moved boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN open_items.disputed IS 'Neither read nor written since 0003: facts say it for any day.';

-- What is booked already becomes facts, in the order in which it was booked. A dispute that moved no money yet left no
-- journal: such an invoice shows as disputed again with the dispute's next event.
ALTER TABLE journals DISABLE TRIGGER journals_append_only;
UPDATE journals j SET thread = CASE
    WHEN kind = 'refund' THEN source_id
    WHEN kind IN ('dispute_withdrawn', 'dispute_closed') THEN regexp_replace(source_id, ':[^:]*$', '')
    ELSE coalesce((SELECT max(p.item) FROM postings p WHERE p.journal_id = j.id AND p.item <> ''), source_id) END;
ALTER TABLE journals ENABLE TRIGGER journals_append_only;
CREATE INDEX ON journals (tenant_id, thread);

INSERT INTO facts (tenant_id, thread, what, event_id, item, source_id, at, effective_on, due_on, currency, minor, won,
                   evidence, noted_at)
SELECT j.tenant_id, j.thread, w.what, 'journal:' || j.id,
  CASE WHEN j.kind IN ('refund', 'dispute_withdrawn', 'dispute_closed')
       THEN CASE WHEN j.invoice_id = '' THEN '' ELSE substring(j.source_id FROM '^[^:]*:[^:]*:') || j.invoice_id END
       WHEN j.thread = j.source_id THEN '' ELSE j.thread END,
  CASE w.what WHEN 'opened' THEN j.thread || ':opened' WHEN 'uncollectible' THEN j.thread || ':uncollectible'
              WHEN 'exhausted' THEN j.thread || ':exhausted' ELSE j.source_id END,
  (j.effective_on::timestamp AT TIME ZONE 'UTC') + j.seq * interval '1 microsecond', j.effective_on,
  CASE WHEN w.what = 'opened' THEN o.due_on END, j.currency,
  CASE w.what WHEN 'changed' THEN s.due_after WHEN 'refund' THEN s.debits / 2 ELSE s.debits END,
  j.rule = 'ledger.dispute_won', j.evidence, j.booked_at
FROM journals j
CROSS JOIN LATERAL (SELECT CASE
    WHEN j.kind = 'invoice_opened' THEN 'opened' WHEN j.kind = 'invoice_changed' THEN 'changed'
    WHEN j.kind = 'invoice_voided' THEN 'voided' WHEN j.rule = 'ledger.paid_out_of_band' THEN 'paid'
    WHEN j.kind = 'dispute_withdrawn' THEN 'withdrawn' WHEN j.kind = 'write_off' THEN split_part(j.rule, '.', 3)
    ELSE j.kind END AS what) w
CROSS JOIN LATERAL (SELECT
    (SELECT sum(p.amount) FROM postings p WHERE p.journal_id = j.id AND p.amount > 0) AS debits,
    (SELECT sum(p.amount) FROM postings p JOIN journals b ON b.id = p.journal_id JOIN accounts a USING (account_id)
     WHERE w.what = 'changed' AND p.tenant_id = j.tenant_id AND p.item = j.thread AND a.name = 'ar.principal'
       AND b.seq <= j.seq) AS due_after) s
LEFT JOIN open_items o ON o.tenant_id = j.tenant_id AND o.item = j.thread;

-- As in 0002, with the thread, and with what was written off told by the legs: the reversal of a write-off or of its
-- recovery takes it back.
CREATE OR REPLACE FUNCTION post_journals(batch jsonb) RETURNS SETOF uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE fresh uuid[];
BEGIN
  WITH inserted AS (
    INSERT INTO journals (id, tenant_id, thread, kind, source_id, currency, effective_on, booked_at, payer_id, invoice_id,
                          case_id, reverses, rule, evidence)
    SELECT (j->>'id')::uuid, j->>'tenant_id', coalesce(j->>'thread', ''), j->>'kind', j->>'source_id', j->>'currency',
           (j->>'effective_on')::date, (j->>'booked_at')::timestamptz, j->>'payer_id', j->>'invoice_id', j->>'case_id',
           (j->>'reverses')::uuid, j->>'rule', j->'evidence'
    FROM jsonb_array_elements(batch) j ON CONFLICT DO NOTHING RETURNING id)
  SELECT coalesce(array_agg(id), '{}') INTO fresh FROM inserted;

  INSERT INTO accounts (tenant_id, name, currency)
  SELECT DISTINCT j->>'tenant_id', l->>'account', j->>'currency'
  FROM jsonb_array_elements(batch) j, jsonb_array_elements(j->'legs') l
  WHERE (j->>'id')::uuid = ANY(fresh) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING;

  INSERT INTO postings (journal_id, leg, tenant_id, account_id, item, amount, effective_on)
  SELECT (j->>'id')::uuid, n, j->>'tenant_id', a.account_id, l->>'item', (l->>'amount')::bigint, (j->>'effective_on')::date
  FROM jsonb_array_elements(batch) j, jsonb_array_elements(j->'legs') WITH ORDINALITY AS legs(l, n)
  JOIN accounts a ON a.name = l->>'account'
  WHERE a.tenant_id = j->>'tenant_id' AND a.currency = j->>'currency' AND (j->>'id')::uuid = ANY(fresh);

  -- Summed per account first: an UPDATE .. FROM with two legs of one account would apply only one of them.
  INSERT INTO balances (account_id, posted, n)
  SELECT p.account_id, sum(p.amount), count(*) FROM postings p WHERE p.journal_id = ANY(fresh)
  GROUP BY p.account_id ORDER BY p.account_id
  ON CONFLICT (account_id) DO UPDATE SET posted = balances.posted + excluded.posted, n = balances.n + excluded.n;

  UPDATE open_items o SET principal = o.principal + d.principal, written_off = o.written_off + d.written_off
  FROM (SELECT p.tenant_id, p.item, coalesce(sum(p.amount) FILTER (WHERE a.name = 'ar.principal'), 0) AS principal,
               coalesce(sum(p.amount) FILTER (WHERE a.name IN ('bad_debt', 'income.recovery')), 0) AS written_off
        FROM postings p JOIN accounts a USING (account_id)
        WHERE p.journal_id = ANY(fresh) AND p.item <> '' AND a.name IN ('ar.principal', 'bad_debt', 'income.recovery')
        GROUP BY 1, 2) d
  WHERE o.tenant_id = d.tenant_id AND o.item = d.item;
  RETURN QUERY SELECT unnest(fresh);
END $$;

REVOKE UPDATE, DELETE ON facts FROM dunwell_ledger;
GRANT UPDATE (thread) ON facts TO dunwell_ledger;
GRANT UPDATE (currency, due_moved) ON open_items TO dunwell_ledger;
