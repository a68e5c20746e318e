CREATE TABLE cases (
  case_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  payer_id text NOT NULL,
  invoice_id text NOT NULL,
  subscription_id text NOT NULL DEFAULT '',
  payer_key text NOT NULL,
  currency char(3) NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  state text NOT NULL,
  failed_at timestamptz NOT NULL,
  opened_at timestamptz NOT NULL,
  ended_at timestamptz,
  deadline_at timestamptz,
  attempts int NOT NULL DEFAULT 0,
  attempt_numbers int NOT NULL DEFAULT 0,
  plan_number int NOT NULL DEFAULT 0,
  -- what the planner said, whole: times, reasons, scores, refused alternatives
  plan jsonb NOT NULL DEFAULT '{}',
  decline jsonb NOT NULL DEFAULT '{}',
  instrument jsonb NOT NULL DEFAULT '{}',
  assignment jsonb NOT NULL DEFAULT '{}',
  timezone text NOT NULL DEFAULT '',
  payer_fixed boolean NOT NULL DEFAULT false,
  held_by text NOT NULL DEFAULT '',
  -- a settlement told while our own attempt was open: it counts once that attempt's outcome is known
  settlement jsonb NOT NULL DEFAULT '{}',
  first_span text NOT NULL DEFAULT '',
  changed_at timestamptz NOT NULL DEFAULT now()
);
-- One open case per invoice; an ended one may be followed by another.
CREATE UNIQUE INDEX one_open_case ON cases (tenant_id, gateway, account, invoice_id)
  WHERE state NOT IN ('recovered', 'exhausted', 'canceled');
CREATE INDEX ON cases (tenant_id, gateway, account, payer_id);
CREATE INDEX ON cases (tenant_id, gateway, account, invoice_id);

-- Every attempt of anybody that we know of: the one source of all budgets.
CREATE TABLE attempt_ledger (
  entry_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  payer_id text NOT NULL,
  invoice_id text NOT NULL,
  instrument_id text NOT NULL,
  account_reference text,
  token text,
  amount_minor bigint NOT NULL,
  currency char(3) NOT NULL,
  initiator text NOT NULL,
  origin text NOT NULL,
  at timestamptz NOT NULL,
  approved boolean NOT NULL,
  network_code text,
  advice_code text,
  gateway_code text,
  message text,
  evidence text NOT NULL DEFAULT ''
);
CREATE INDEX ON attempt_ledger (tenant_id, gateway, account, payer_id, at);
REVOKE UPDATE, DELETE ON attempt_ledger FROM dunwell_retry;

-- The rule gate's permission, with its counters and sources as they were.
CREATE TABLE permits (
  permit_id text PRIMARY KEY,
  case_id text NOT NULL REFERENCES cases,
  at timestamptz NOT NULL,
  verdict jsonb NOT NULL,
  CHECK ((verdict->>'permit')::boolean)
);
REVOKE UPDATE, DELETE ON permits FROM dunwell_retry;

CREATE TABLE charge_attempts (
  attempt_id text PRIMARY KEY,
  case_id text NOT NULL REFERENCES cases,
  -- without a permission there is no attempt
  permit_id text NOT NULL UNIQUE REFERENCES permits,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  invoice_id text NOT NULL,
  attempt_number int NOT NULL,
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency char(3) NOT NULL,
  instrument_id text NOT NULL,
  initiator text NOT NULL,
  request jsonb NOT NULL,
  idem_key text NOT NULL UNIQUE,
  state text NOT NULL CHECK (state IN ('intent', 'sent', 'unknown', 'succeeded', 'declined', 'withdrawn', 'absent', 'stuck')),
  gateway_object_id text,
  payment_id text NOT NULL DEFAULT '',
  intended_at timestamptz NOT NULL,
  sent_at timestamptz,
  ended_at timestamptz,
  attempts_before int,
  looks int NOT NULL DEFAULT 0,
  clean_look_at timestamptz,
  outcome jsonb NOT NULL DEFAULT '{}',
  UNIQUE (case_id, attempt_number)
);
CREATE UNIQUE INDEX one_open_attempt ON charge_attempts (tenant_id, gateway, account, invoice_id)
  WHERE state IN ('intent', 'sent', 'unknown', 'stuck');
CREATE UNIQUE INDEX one_gateway_object ON charge_attempts (gateway, account, gateway_object_id)
  WHERE gateway_object_id IS NOT NULL;

-- What was decided, on what, by which data: replaying the inputs gives the outputs again.
CREATE TABLE decisions (
  decision_id text PRIMARY KEY,
  -- several decisions may share an instant; a reader wants them as they were made
  seq bigint GENERATED ALWAYS AS IDENTITY,
  case_id text NOT NULL,
  at timestamptz NOT NULL,
  kind text NOT NULL,
  rule text NOT NULL,
  sentence text NOT NULL,
  inputs jsonb NOT NULL,
  outputs jsonb NOT NULL,
  editions jsonb NOT NULL,
  evidence jsonb NOT NULL DEFAULT '[]'
);
CREATE INDEX ON decisions (case_id, seq);
REVOKE UPDATE, DELETE ON decisions FROM dunwell_retry;

-- Payers as the gateway tells of them, without naming them.
CREATE TABLE payer_profiles (
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  payer_id text NOT NULL,
  timezone text NOT NULL DEFAULT '',
  country text NOT NULL DEFAULT '',
  fetched_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, gateway, account, payer_id)
);

CREATE TABLE blocks (
  block_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  gateway text NOT NULL DEFAULT '',
  payer_id text NOT NULL DEFAULT '',
  invoice_id text NOT NULL DEFAULT '',
  kind text NOT NULL,
  since timestamptz NOT NULL,
  until timestamptz,
  lifted_at timestamptz
);
CREATE INDEX ON blocks (tenant_id) WHERE lifted_at IS NULL;
