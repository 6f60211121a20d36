-- One row per live account token (12 hours, then purged): a token without its row is revoked, and "every other token"
-- is a question of rows, not of seconds. Client tokens have no rows, or this table would grow without end.
create table account_tokens (
    id uuid constraint account_tokens_pkey primary key, -- the jti
    user_id uuid not null constraint account_tokens_user_fkey references users on delete cascade,
    token_version bigint not null,
    created_at timestamptz not null,
    expires_at timestamptz not null
);

create index account_tokens_user_idx on account_tokens (user_id);
create index account_tokens_expiry_idx on account_tokens (expires_at);
