CREATE TABLE endpoints (
  endpoint_id text PRIMARY KEY,
  -- only the token's hash: who reads the table cannot post
  token_sha256 bytea NOT NULL UNIQUE,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  secrets text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  disabled_at timestamptz
);

-- Every authentic delivery, once, for good. `seq` is the order of arrival and never the order of events.
CREATE TABLE deliveries (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id text NOT NULL UNIQUE,
  endpoint_id text NOT NULL REFERENCES endpoints,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  event_id text NOT NULL,
  event_type text NOT NULL,
  received_at timestamptz NOT NULL,
  body bytea NOT NULL,
  state text NOT NULL CHECK (state IN ('new', 'case', 'ignored', 'quarantined')),
  detail text NOT NULL DEFAULT '',
  traceparent text NOT NULL DEFAULT '',
  UNIQUE (gateway, account, event_id)
);
CREATE INDEX deliveries_new ON deliveries (seq) WHERE state = 'new';
CREATE INDEX deliveries_quarantined ON deliveries (seq) WHERE state = 'quarantined';

-- Halves of payment outcomes that wait for, or belong to, one event.
CREATE TABLE observations (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id text NOT NULL,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  refs text[] NOT NULL,
  event_id text NOT NULL,
  received_at timestamptz NOT NULL,
  observation jsonb NOT NULL,
  published boolean NOT NULL DEFAULT false
);
CREATE INDEX ON observations USING gin (refs);

CREATE TABLE payment_links (
  gateway text NOT NULL,
  account text NOT NULL,
  payment_id text NOT NULL,
  invoice_id text NOT NULL,
  PRIMARY KEY (gateway, account, payment_id)
);
CREATE INDEX ON payment_links (gateway, account, invoice_id);

-- The natural key of every fact that became an event.
CREATE TABLE published_facts (
  gateway text NOT NULL,
  account text NOT NULL,
  fact_key text NOT NULL,
  event_id uuid NOT NULL,
  PRIMARY KEY (gateway, account, fact_key)
);
