-- What its owner calls a client key, and when it was last used: which one can be dropped?
alter table client_keys
    add column label text,
    -- coarse: written at most once a second
    add column last_used_at timestamptz;
