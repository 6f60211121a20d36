-- Tokens of the Qb2 door have rows, too: what ends the account tokens of a user ends them as well, whichever door it comes
-- through, and the one that was used for it lives on.
--
-- Besides they end with the session that they were made in, at the latest at its midnight, and with the application key that
-- they were got with.
alter table account_tokens
    add column audience text not null default 'accounts'
        constraint account_tokens_audience_check check (audience in ('accounts', 'qb2')),
    add column session uuid,
    add column application_key text
        constraint account_tokens_application_key_fkey references application_keys on delete cascade,
    add constraint account_tokens_session_check check ((audience = 'qb2') = (session is not null)),
    add constraint account_tokens_key_check check (application_key is null or audience = 'qb2');

create index account_tokens_application_key_idx on account_tokens (application_key) where application_key is not null;
