-- Two authentic events are one only if type and object are the same too: a sender that gives one id to two things must
-- not lose the second. Rows of before have no object, so an event that is sent again across this change is kept twice
-- and, since facts are claimed by what they say, told once.
ALTER TABLE deliveries ADD COLUMN object_id text NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD CONSTRAINT deliveries_identity UNIQUE (gateway, account, event_id, event_type, object_id);
ALTER TABLE deliveries DROP CONSTRAINT deliveries_gateway_account_event_id_key;
