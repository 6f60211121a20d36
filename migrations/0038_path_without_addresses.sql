-- Of somebody who is gone, an Ethereum address in a path would tell who it was as well as a name: chains never forget.
create or replace function path_without_names(path text) returns text language sql immutable parallel safe as $$
    select regexp_replace(
        regexp_replace(path,
            '^/users/(?!me(?:/|$)|password-reset$|invitations$|user-[0-9a-f-]{36}(?:/|$))[^/]+', '/users/{userId}', 'i'),
        '/0x[0-9a-f]{40}(?=/|$)', '/{address}', 'gi')
$$;
