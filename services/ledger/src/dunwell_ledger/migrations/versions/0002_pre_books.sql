-- Append-only double entry. The service's role may only SELECT here and EXECUTE post_journals; corrections are
-- reversals. Projections (balances, open_items) are written by the same function in the same statement order.

CREATE TABLE accounts (
  account_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  name text NOT NULL,
  currency char(3) NOT NULL,
  UNIQUE (tenant_id, name, currency)
);

CREATE TABLE journals (
  -- sha256(tenant|kind|source_id)[:16]: the key IS the idempotency check
  id uuid PRIMARY KEY,
  seq bigint GENERATED ALWAYS AS IDENTITY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  tenant_id text NOT NULL,
  kind text NOT NULL,
  source_id text NOT NULL,
  currency char(3) NOT NULL,
  effective_on date NOT NULL,
  booked_at timestamptz NOT NULL,
  payer_id text NOT NULL DEFAULT '',
  invoice_id text NOT NULL DEFAULT '',
  case_id text NOT NULL DEFAULT '',
  reverses uuid REFERENCES journals,
  rule text NOT NULL,
  evidence jsonb NOT NULL DEFAULT '[]',
  UNIQUE (tenant_id, kind, source_id)
);
CREATE INDEX ON journals (tenant_id, invoice_id) WHERE invoice_id <> '';
CREATE INDEX ON journals (case_id) WHERE case_id <> '';

CREATE TABLE postings (
  journal_id uuid NOT NULL REFERENCES journals,
  leg smallint NOT NULL,
  tenant_id text NOT NULL,
  account_id bigint NOT NULL REFERENCES accounts,
  item text NOT NULL DEFAULT '',
  amount bigint NOT NULL CHECK (amount <> 0),
  effective_on date NOT NULL,
  PRIMARY KEY (journal_id, leg)
);
CREATE INDEX ON postings (account_id, effective_on) INCLUDE (amount);
CREATE INDEX ON postings (tenant_id, item, effective_on) INCLUDE (amount) WHERE item <> '';

CREATE TABLE balances (
  account_id bigint PRIMARY KEY REFERENCES accounts,
  posted bigint NOT NULL,
  n bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE open_items (
  tenant_id text NOT NULL,
  item text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  invoice_id text NOT NULL,
  payer_id text NOT NULL,
  case_id text NOT NULL DEFAULT '',
  currency char(3) NOT NULL,
  due_on date NOT NULL,
  principal bigint NOT NULL DEFAULT 0,
  written_off bigint NOT NULL DEFAULT 0,
  disputed boolean NOT NULL DEFAULT false,
  PRIMARY KEY (tenant_id, item)
) WITH (fillfactor = 70);

-- A journal may be named by several gateway objects (an invoice paid, the payment that paid it).
CREATE TABLE journal_aliases (
  tenant_id text NOT NULL,
  source_id text NOT NULL,
  journal_id uuid NOT NULL REFERENCES journals,
  PRIMARY KEY (tenant_id, source_id)
);

-- One statement inserts all legs of a journal; this refuses an unbalanced one, a single leg, and a late leg.
CREATE FUNCTION assert_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong uuid;
BEGIN
  SELECT n.journal_id INTO wrong FROM new_legs n JOIN journals j ON j.id = n.journal_id
  GROUP BY n.journal_id HAVING sum(n.amount) <> 0 OR count(*) < 2 OR bool_or(j.xid <> pg_current_xact_id())
     OR count(*) <> (SELECT count(*) FROM postings p WHERE p.journal_id = n.journal_id) LIMIT 1;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'journal % is unbalanced, single-legged or closed', wrong USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER postings_balanced AFTER INSERT ON postings REFERENCING NEW TABLE AS new_legs
  FOR EACH STATEMENT EXECUTE FUNCTION assert_balanced();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the books are append-only: reverse the journal instead' USING ERRCODE = '42501';
END $$;
CREATE TRIGGER journals_append_only BEFORE UPDATE OR DELETE ON journals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER postings_append_only BEFORE UPDATE OR DELETE ON postings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Post journals with all their legs; returns the ids that are new. A known id changes nothing.
CREATE FUNCTION post_journals(batch jsonb) RETURNS SETOF uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE fresh uuid[];
BEGIN
  WITH inserted AS (
    INSERT INTO journals (id, tenant_id, kind, source_id, currency, effective_on, booked_at, payer_id, invoice_id,
                          case_id, reverses, rule, evidence)
    SELECT (j->>'id')::uuid, j->>'tenant_id', j->>'kind', j->>'source_id', j->>'currency', (j->>'effective_on')::date,
           (j->>'booked_at')::timestamptz, j->>'payer_id', j->>'invoice_id', j->>'case_id', (j->>'reverses')::uuid,
           j->>'rule', j->'evidence'
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
  FROM (SELECT j.tenant_id, p.item, sum(p.amount) FILTER (WHERE a.name = 'ar.principal') AS principal,
               coalesce(-sum(p.amount) FILTER (WHERE a.name = 'ar.principal' AND j.kind = 'write_off'), 0) AS written_off
        FROM postings p JOIN journals j ON j.id = p.journal_id JOIN accounts a USING (account_id)
        WHERE p.journal_id = ANY(fresh) AND p.item <> '' AND a.name = 'ar.principal' GROUP BY 1, 2) d
  WHERE o.tenant_id = d.tenant_id AND o.item = d.item;
  RETURN QUERY SELECT unnest(fresh);
END $$;

REVOKE INSERT, UPDATE, DELETE ON accounts, journals, postings, balances FROM dunwell_ledger;
REVOKE UPDATE, DELETE ON journal_aliases FROM dunwell_ledger;
REVOKE DELETE ON open_items FROM dunwell_ledger;
REVOKE UPDATE ON open_items FROM dunwell_ledger;
GRANT UPDATE (case_id, due_on, disputed, payer_id) ON open_items TO dunwell_ledger;
REVOKE ALL ON FUNCTION post_journals(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION post_journals(jsonb) TO dunwell_ledger;
