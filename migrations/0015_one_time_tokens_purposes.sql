-- Two more purposes: a new password for somebody who forgot the old one, and another e-mail.
--
-- The token that proves another e-mail carries that address, because it is not the user's before it is proved.
alter table one_time_tokens
    drop constraint one_time_tokens_purpose_check,
    add column email text,
    add column email_canonical text,
    add constraint one_time_tokens_purpose_check
        check (purpose in ('email_verification', 'password_reset', 'email_change')),
    add constraint one_time_tokens_email_check
        check ((purpose = 'email_change') = (email is not null) and (email is null) = (email_canonical is null));

-- The sweep: used tokens of the new purposes go with their time, too.
drop index one_time_tokens_expiry_idx;
create index one_time_tokens_expiry_idx on one_time_tokens (expires_at)
    where used_at is null or purpose <> 'email_verification';
