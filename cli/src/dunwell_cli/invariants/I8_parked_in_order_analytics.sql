-- service: analytics
-- Cursors never lie behind what was parked, and parked messages keep their order.
SELECT p.topic, p.part, p.record_offset, $1::timestamptz AS as_of FROM parked_messages p JOIN cursors c ON c.grp = p.grp AND c.topic = p.topic AND c.part = p.part
WHERE c.next_offset <= p.record_offset
UNION ALL
SELECT p.topic, p.part, p.record_offset, $1::timestamptz FROM parked_messages p WHERE EXISTS (SELECT 1 FROM parked_messages q
  WHERE q.grp = p.grp AND q.topic = p.topic AND q.part = p.part AND q.id > p.id AND q.record_offset < p.record_offset)
