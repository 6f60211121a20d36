-- How many rows the batches of an erasure have cleared so far, over all replicas that worked on it: the log tells it once, at the
-- end. A row that is looked at again counts again.
alter table erasures add column cleared bigint not null default 0;
