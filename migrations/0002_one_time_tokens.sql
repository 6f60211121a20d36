-- Tokens that travel by mail and work once. Only a hash is stored: who reads this table can redeem nothing.
--
-- A used token stays as long as its user, because the second click on a link must find the answer of the first.
create table one_time_tokens (
    token_hash bytea constraint one_time_tokens_pkey primary key
        constraint one_time_tokens_hash_check check (octet_length(token_hash) = 32),
    user_id uuid not null constraint one_time_tokens_user_fkey references users on delete cascade,
    purpose text not null
        constraint one_time_tokens_purpose_check check (purpose in ('email_verification')),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz
);

create index one_time_tokens_user_idx on one_time_tokens (user_id, purpose);
create index one_time_tokens_expiry_idx on one_time_tokens (expires_at) where used_at is null;
