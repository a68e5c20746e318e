ALTER TABLE cases
  -- set while the charge that answers a payer's fix is still to come
  ADD COLUMN fixed_at timestamptz,
  -- labels that the tenant gave the payer at the gateway, as they were when the case opened; policies may be selected by them
  ADD COLUMN plan_name text NOT NULL DEFAULT '',
  ADD COLUMN segment text NOT NULL DEFAULT '';

-- How the attempt came to be chosen: by the decision `plan_seq`. Written with the intent and never again; no propensity
-- where a person chose.
ALTER TABLE charge_attempts
  ADD COLUMN propensity double precision CHECK (propensity > 0 AND propensity <= 1),
  ADD COLUMN score double precision CHECK (score >= 0 AND score <= 1),
  ADD COLUMN policy text NOT NULL DEFAULT '',
  ADD COLUMN model_edition text NOT NULL DEFAULT '',
  ADD COLUMN plan_seq bigint,
  ADD COLUMN arm text NOT NULL DEFAULT '' CHECK (arm IN ('', 'treated', 'holdout', 'explore', 'operator'));

-- What a policy that is only asked would have done at the same decision.
ALTER TABLE decisions ADD COLUMN shadow jsonb;
CREATE INDEX decisions_shadowed ON decisions (at) WHERE shadow IS NOT NULL;

-- Policies as documents. Versions are only added; the newest one whose time has come is in force, unless retired.
CREATE TABLE policy_documents (
  tenant_id text NOT NULL,
  name text NOT NULL,
  version int NOT NULL CHECK (version >= 1),
  document jsonb NOT NULL,
  saved_by text NOT NULL,
  saved_at timestamptz NOT NULL,
  activated_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, name, version)
);
REVOKE UPDATE, DELETE ON policy_documents FROM dunwell_retry;

-- What operators set, newest last: kind `smart` (on), `shadow` (document), `retired` (name, up to a version).
CREATE TABLE policy_switches (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('smart', 'shadow', 'retired')),
  name text NOT NULL DEFAULT '',
  value jsonb NOT NULL,
  set_by text NOT NULL,
  reason text NOT NULL DEFAULT '',
  at timestamptz NOT NULL
);
CREATE INDEX ON policy_switches (tenant_id, kind, name, seq DESC);
REVOKE UPDATE, DELETE ON policy_switches FROM dunwell_retry;

-- What has been learned: each of our own attempts that has an outcome, with the chance by which it was chosen and
-- the inputs of the decision behind it. Off-policy estimates and fitting read this and nothing else.
CREATE VIEW logged_choices AS
SELECT a.attempt_id, a.case_id, a.tenant_id, a.instrument_id, a.intended_at, coalesce(a.sent_at, a.intended_at) AS sent_at,
  a.policy, a.model_edition, a.arm, a.propensity, a.score, a.state = 'succeeded' AS approved,
  l.network_code, l.advice_code, l.gateway_code, l.message,
  d.inputs, (d.outputs->'attempts'->0->>'at')::timestamptz AS planned_at
FROM charge_attempts a
JOIN decisions d ON d.case_id = a.case_id AND d.seq = a.plan_seq
LEFT JOIN attempt_ledger l ON l.evidence = a.attempt_id AND l.tenant_id = a.tenant_id AND l.invoice_id = a.invoice_id
WHERE a.state IN ('succeeded', 'declined') AND a.initiator = 'merchant' AND a.propensity IS NOT NULL;
CREATE INDEX ON charge_attempts (tenant_id, intended_at) WHERE state IN ('succeeded', 'declined');
CREATE INDEX ON attempt_ledger (evidence);
