-- What a server remembers of a user is good as long as this number is what it was. It is compared in the statement that
-- writes the event of a request, so an answer made from memory leaves only if nothing has changed.
--
-- Whatever an answer may depend on counts it up: the row itself, the end of a live token, the end or a new generation of a
-- client key. By triggers: a statement that forgot it would let old rights live on, also one that an operator typed. They
-- lock the row of the user, so who ends tokens or keys locks that row first, as who changes a password does.
alter table users add column version bigint not null default 0;

create function count_version() returns trigger language plpgsql as $$
begin
    new.version := old.version + 1;
    return new;
end
$$;

create trigger users_version before update on users
    for each row when (old is distinct from new) execute function count_version();

create function count_owner_version() returns trigger language plpgsql as $$
begin
    update users set version = version + 1 where id = old.user_id;
    return null;
end
$$;

create trigger account_tokens_version after delete or update of user_id, token_version, expires_at on account_tokens
    for each row execute function count_owner_version();

create trigger client_keys_version after delete or update of user_id, secret_hash, generation on client_keys
    for each row execute function count_owner_version();
