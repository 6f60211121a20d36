-- Of a path in the event of somebody who is gone, what tells nobody's name: a login name is the only word there that people
-- choose (e-mails and tokens are never stored).
create function path_without_names(path text) returns text language sql immutable parallel safe as $$
    select regexp_replace(path,
        '^/users/(?!me(?:/|$)|password-reset$|user-[0-9a-f-]{36}(?:/|$))[^/]+', '/users/{userId}', 'i')
$$;
