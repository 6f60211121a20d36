-- An invitation: stands for the first password, and proves the address to which it was sent, of a user made by an administrator.
alter table one_time_tokens
    drop constraint one_time_tokens_purpose_check,
    add constraint one_time_tokens_purpose_check
        check (purpose in ('email_verification', 'password_reset', 'email_change', 'invitation'));

-- The route by which users are invited is nobody's login name.
create or replace function path_without_names(path text) returns text language sql immutable parallel safe as $$
    select regexp_replace(path,
        '^/users/(?!me(?:/|$)|password-reset$|invitations$|user-[0-9a-f-]{36}(?:/|$))[^/]+', '/users/{userId}', 'i')
$$;
