-- service: retry
-- Every attempt has a permission that says yes and is not younger than the attempt.
SELECT a.attempt_id FROM charge_attempts a LEFT JOIN permits p USING (permit_id)
WHERE p.permit_id IS NULL OR NOT (p.verdict->>'permit')::boolean OR p.at > a.intended_at
