-- Personal data lives in `contacts` alone; everything else holds ids.
CREATE TABLE contacts (
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  payer_id text NOT NULL,
  email text,
  name text NOT NULL DEFAULT '',
  language text NOT NULL DEFAULT 'en',
  timezone text NOT NULL DEFAULT 'UTC',
  country text NOT NULL DEFAULT '',
  opted_out boolean NOT NULL DEFAULT false,
  source text NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, gateway, account, payer_id)
);

CREATE TABLE cases (
  case_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  payer_id text NOT NULL,
  invoice_id text NOT NULL,
  subscription_id text NOT NULL DEFAULT '',
  currency char(3) NOT NULL,
  amount_minor bigint NOT NULL,
  failed_at timestamptz NOT NULL,
  decline_reason text NOT NULL DEFAULT '',
  payer_action smallint NOT NULL DEFAULT 0,
  silent_until timestamptz,
  deadline_at timestamptz,
  next_attempt_at timestamptz,
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'paused', 'closed')),
  closed_by text NOT NULL DEFAULT '',
  evidence text NOT NULL DEFAULT '',
  payer_key text NOT NULL
);
CREATE INDEX ON cases (tenant_id, gateway, account, payer_id) WHERE state <> 'closed';
CREATE INDEX ON cases (tenant_id, gateway, account, invoice_id);

-- What is known to be settled before retry says so: a payer who paid is not written to.
CREATE TABLE settled_invoices (
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  invoice_id text NOT NULL,
  how text NOT NULL,
  event_id text NOT NULL,
  PRIMARY KEY (tenant_id, gateway, account, invoice_id)
);

CREATE TABLE notices (
  notice_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  gateway text NOT NULL,
  account text NOT NULL,
  payer_id text NOT NULL,
  channel text NOT NULL,
  step text NOT NULL,
  tone text NOT NULL,
  case_ids text[] NOT NULL,
  state text NOT NULL CHECK (state IN ('planned', 'queued', 'sending', 'sent', 'suppressed', 'failed', 'unknown')),
  due_at timestamptz NOT NULL,
  sent_at timestamptz,
  message_id text NOT NULL DEFAULT '',
  template_id text NOT NULL DEFAULT '',
  template_version text NOT NULL DEFAULT '',
  language text NOT NULL DEFAULT '',
  content_sha256 text NOT NULL DEFAULT '',
  rule text NOT NULL DEFAULT '',
  error text NOT NULL DEFAULT '',
  changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON notices (tenant_id, gateway, account, payer_id, sent_at) WHERE state IN ('sending', 'sent', 'unknown');

-- At most one message per case, step and channel, whatever happens.
CREATE TABLE notice_steps (
  case_id text NOT NULL,
  step text NOT NULL,
  channel text NOT NULL,
  notice_id text NOT NULL REFERENCES notices,
  PRIMARY KEY (case_id, step, channel)
);
