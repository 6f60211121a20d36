-- A version names one state of a user for ever, also where Postgres loses states that a server remembers: an asynchronous
-- standby takes over, a crash takes what synchronous_commit = off had promised, a backup is restored behind a running server.
-- Counting gave the next state the number of the lost one. So versions are drawn: only being the same means anything. And
-- what is made draws one as well as what ends, or a token that was lost would be remembered under a version that is in place.
--
-- Statements, not rows, change the row of the owner: it is locked and written once, however many tokens one statement ends.
-- Transition tables cannot be had for some columns only, and the last uses of all tokens are written twice a second; so the
-- few updates that matter, of a token or a key each, have triggers of rows.
drop trigger users_version on users;
drop trigger account_tokens_version on account_tokens;
drop trigger client_keys_version on client_keys;
drop function count_version();
drop function count_owner_version();

create function draw_version() returns trigger language plpgsql as $$
begin
    loop
        -- 63 bits, none of them the sign: negative versions are no row's
        new.version := hashtextextended(gen_random_uuid()::text, 0) & 9223372036854775807;
        exit when new.version <> old.version;
    end loop;
    return new;
end
$$;

create trigger users_version before update on users
    for each row execute function draw_version();

-- Any update of a user draws a version; these change nothing else.
create function draw_versions_of_owners() returns trigger language plpgsql as $$
begin
    update users set version = version where id in (select user_id from touched);
    return null;
end
$$;

create function draw_version_of_owner() returns trigger language plpgsql as $$
begin
    update users set version = version where id in (old.user_id, new.user_id);
    return null;
end
$$;

create function draw_all_versions() returns trigger language plpgsql as $$
begin
    update users set version = version;
    return null;
end
$$;

create trigger account_tokens_insert after insert on account_tokens referencing new table as touched
    for each statement execute function draw_versions_of_owners();
create trigger account_tokens_delete after delete on account_tokens referencing old table as touched
    for each statement execute function draw_versions_of_owners();
create trigger account_tokens_update after update of user_id, token_version, expires_at on account_tokens
    for each row execute function draw_version_of_owner();
create trigger account_tokens_truncate after truncate on account_tokens
    for each statement execute function draw_all_versions();

create trigger client_keys_insert after insert on client_keys referencing new table as touched
    for each statement execute function draw_versions_of_owners();
create trigger client_keys_delete after delete on client_keys referencing old table as touched
    for each statement execute function draw_versions_of_owners();
create trigger client_keys_update after update of user_id, secret_hash, generation on client_keys
    for each row execute function draw_version_of_owner();
create trigger client_keys_truncate after truncate on client_keys
    for each statement execute function draw_all_versions();
