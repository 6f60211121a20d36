-- Users who were deleted, and whose events still have to lose what tells of a person. A worker does that in batches: one
-- statement over all events of a user could take minutes, and the request that deletes must not wait for it.
create table erasures (
    user_id uuid constraint erasures_pkey primary key,
    deleted_at timestamptz not null,
    -- events up to this one are clean
    clean_up_to uuid not null default '00000000-0000-0000-0000-000000000000',
    -- later requests with the tokens of the deleted user leave events, too: they are looked for once more
    next_at timestamptz not null
);

create index erasures_due_idx on erasures (next_at);
