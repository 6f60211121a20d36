-- Refresh tokens that were revoked one by one. Good ones have no row; a row goes when its token's time is over, because
-- then the token is dead without it.
create table revoked_tokens (
    id uuid constraint revoked_tokens_pkey primary key, -- the jti
    revoked_at timestamptz not null,
    expires_at timestamptz not null
);

create index revoked_tokens_expiry_idx on revoked_tokens (expires_at);
