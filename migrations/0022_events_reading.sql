-- Refusals and failures are few, and what people look for: among a million answers that were fine, a page of them is read
-- from here. A statement that wants it says "status >= 400" in these words.
create index events_refusals_idx on events (user_id, id) where status >= 400;

-- Everybody's events are read by windows of time. Ranges of pages that no vacuum has summed up are read whole for each
-- window, however narrow: so they are summed up as soon as they are full, and are small.
drop index events_id_idx;
create index events_id_idx on events using brin (id) with (autosummarize = on, pages_per_range = 32);
