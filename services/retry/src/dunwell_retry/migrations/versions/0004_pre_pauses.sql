ALTER TABLE cases
  -- set while the case is paused: since when, and when it is planned again if nobody resumes it
  ADD COLUMN held_since timestamptz,
  ADD COLUMN held_until timestamptz;

-- Pauses from before had no end. They get the one that a pause gets by default, counted from today.
UPDATE cases c SET held_until = now() + interval '14 days',
  held_since = (SELECT max(d.at) FROM decisions d WHERE d.case_id = c.case_id AND d.kind = 'paused')
WHERE state = 'paused';
INSERT INTO timers (case_id, kind, due_at, first_span)
SELECT case_id, 'pause_end', held_until, first_span FROM cases WHERE state = 'paused' ON CONFLICT DO NOTHING;
