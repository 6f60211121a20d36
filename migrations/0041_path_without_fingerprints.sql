-- Of somebody who is gone, the fingerprint of a key in a path would tell who it was: key servers never forget.
create or replace function path_without_names(path text) returns text language sql immutable parallel safe as $$
    select regexp_replace(
        regexp_replace(
            regexp_replace(path,
                '^/users/(?!me(?:/|$)|password-reset$|invitations$|user-[0-9a-f-]{36}(?:/|$))[^/]+', '/users/{userId}', 'i'),
            '/0x[0-9a-f]{40}(?=/|$)', '/{address}', 'gi'),
        '^/users/me/keys/pgp/[0-9a-f]{40,64}(?=/|$)', '/users/me/keys/pgp/{id}', 'i')
$$;
