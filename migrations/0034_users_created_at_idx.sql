-- Administrators page through all users in the order of their making.
--
-- There is no index for their search of a part of a name. One for any part of a text is that of pg_trgm, which not every
-- installation of Postgres brings along, and every sign-up would write four of them. Only administrators search, and a page
-- ends when it is full: at worst it reads the table once.
create index users_created_at_idx on users (created_at, id);
