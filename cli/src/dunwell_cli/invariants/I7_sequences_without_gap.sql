-- service: analytics
-- Per producer and key, sequences run from 1 without a gap or a repeat (analytics hears every event).
SELECT source, payer_key, count(*), min(sequence), max(sequence), count(DISTINCT sequence), $1::timestamptz AS as_of FROM facts
GROUP BY 1, 2 HAVING min(sequence) <> 1 OR max(sequence) <> count(*) OR count(DISTINCT sequence) <> count(*)
