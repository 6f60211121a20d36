-- From where an account token was fetched and when it was last used, for its owner, who may want to stop it.
alter table account_tokens
    add column ip inet,
    add column user_agent text,
    -- coarse: written at most once a minute
    add column last_used_at timestamptz;
