-- Mails to send, written in the transaction that causes them: no change without its mail, no mail without its change.
--
-- The variables of a mail hold tokens, of which only hashes may be stored elsewhere; so they are sealed with the master
-- key, and dropped as soon as the mail is sent or given up. The row stays a while: caps and "at most one a day" count rows.
create table outbox (
    id uuid constraint outbox_pkey primary key,
    user_id uuid not null constraint outbox_user_fkey references users on delete cascade,
    template text not null,
    recipient text not null,
    sealed_variables bytea,
    created_at timestamptz not null,
    attempts integer not null default 0,
    -- null once there is nothing left to do
    next_attempt_at timestamptz,
    sent_at timestamptz,
    failed_at timestamptz,
    last_error text
);

create index outbox_due_idx on outbox (next_attempt_at) where next_attempt_at is not null;
create index outbox_recent_idx on outbox (user_id, template, created_at);
create index outbox_done_idx on outbox (created_at) where next_attempt_at is null;
