-- A mail stays a week after it was sent or given up, not after it was queued: it may have been tried again in between.
drop index outbox_done_idx;
create index outbox_done_idx on outbox (coalesce(sent_at, failed_at)) where next_attempt_at is null;
