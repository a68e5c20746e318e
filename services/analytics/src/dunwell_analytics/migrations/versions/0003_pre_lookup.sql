-- Every look reads the index's list of what is not merged yet from end to end (PostgreSQL manual, GIN fast update):
-- a millisecond a look at a few thousand rows, where merging at once costs the writer a few microseconds.
ALTER INDEX facts_case_ids_idx SET (fastupdate = off);
SELECT gin_clean_pending_list('facts_case_ids_idx'::regclass);
