-- The fact log: every event as it came, for good (topics keep 14 days). Read models are recomputed from it.
CREATE TABLE facts (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id uuid NOT NULL UNIQUE,
  type text NOT NULL,
  tenant_id text NOT NULL,
  case_ids text[] NOT NULL,
  invoice_id text NOT NULL,
  payer_key text NOT NULL,
  occurred_at timestamptz NOT NULL,
  logged_at timestamptz NOT NULL DEFAULT now(),
  causation_id text NOT NULL,
  sequence bigint NOT NULL,
  source text NOT NULL,
  payload bytea NOT NULL
);
CREATE INDEX ON facts USING gin (case_ids);
CREATE INDEX ON facts (tenant_id, invoice_id, seq) WHERE invoice_id <> '';
REVOKE UPDATE, DELETE ON facts FROM dunwell_analytics;

CREATE TABLE dirty_cases (case_id text PRIMARY KEY);
CREATE TABLE dirty_days (tenant_id text NOT NULL, opened_on date NOT NULL, PRIMARY KEY (tenant_id, opened_on));

-- One wide row a case, folded from its facts.
CREATE TABLE cases (
  case_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  payer_id text NOT NULL,
  invoice_id text NOT NULL,
  opened_at timestamptz NOT NULL,
  opened_on date NOT NULL,
  currency char(3) NOT NULL,
  amount_minor bigint NOT NULL,
  decline_reason text NOT NULL,
  network text NOT NULL,
  funding text NOT NULL,
  experiment text NOT NULL,
  arm text NOT NULL,
  state text NOT NULL,
  recovered_by text NOT NULL,
  recovered_at timestamptz,
  recovered_in_window boolean NOT NULL,
  ended_at timestamptz,
  attempts int NOT NULL,
  notices_sent int NOT NULL,
  notices_suppressed int NOT NULL
);
CREATE INDEX ON cases (tenant_id, opened_on);

-- Cases of one opening day in one group; recomputed as a whole when a case of the day changed.
CREATE TABLE cohort_days (
  tenant_id text NOT NULL,
  opened_on date NOT NULL,
  currency char(3) NOT NULL,
  gateway text NOT NULL,
  decline_reason text NOT NULL,
  experiment text NOT NULL,
  arm text NOT NULL,
  cases bigint NOT NULL,
  amount_minor bigint NOT NULL,
  recovered bigint NOT NULL,
  recovered_minor bigint NOT NULL,
  by_retry bigint NOT NULL,
  by_payer bigint NOT NULL,
  by_gateway bigint NOT NULL,
  by_self_cured bigint NOT NULL,
  exhausted bigint NOT NULL,
  canceled bigint NOT NULL,
  open bigint NOT NULL,
  attempts bigint NOT NULL,
  notices_sent bigint NOT NULL,
  notices_suppressed bigint NOT NULL,
  PRIMARY KEY (tenant_id, opened_on, currency, gateway, decline_reason, experiment, arm)
);
