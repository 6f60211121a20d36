//! Writing events, many at once.

use std::borrow::Cow;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::events::{Event, REST, agent};

/// An event to write, if the row of its user has this version.
pub struct Claim {
    pub event: Arc<Event>,
    pub version: Option<i64>,
}

/// The statement that inserts many events at once, and what it does `on conflict` with rows that are there.
macro_rules! insert_events {
    ($connection:expr, $claims:expr, $on_conflict:tt) => {{
        let claims: &[Claim] = $claims;
        let versions: Vec<Option<i64>> = claims.iter().map(|claim| claim.version).collect();
        let done = sqlx::query!(
            "insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent,
                                 request_id, service_data, request_uuid, written_at)
             select event.id, event.user_id, service, started_at, ended_at, status, bytes_out, method,
                    case when is_known then path else path_without_names(path) end, case when is_known then ip end,
                    case when is_known then user_agent end, case when is_known then request_id else '-' end,
                    case when is_known then service_data end, case when is_known then request_uuid end,
                    case when event.id not between present.first and present.last then statement_timestamp() end
             from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::smallint[],
                         $7::bigint[], $8::text[], $9::text[], $10::inet[], $11::text[], $12::text[], $13::jsonb[],
                         $14::uuid[], $15::bigint[])
                  as event (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent,
                            request_id, service_data, request_uuid, claimed)
             left join users on users.id = event.user_id
             cross join lateral (select event.user_id is null or users.id is not null) as person (is_known)
             cross join events_of_now() as present
             where claimed is null or claimed = users.version "
                + $on_conflict,
            &column(claims, |event| event.id),
            &column(claims, |event| event.user.map(|user| user.0)) as &[Option<Uuid>],
            // The usual one is not written (`migrations/0025_events_usual_service.sql`).
            &column(claims, |event| Some(event.service.as_str()).filter(|service| *service != REST)) as &[Option<&str>],
            &column(claims, |event| event.started_at),
            &column(claims, |event| event.ended_at),
            &column(claims, |event| i16::try_from(event.status).unwrap_or(0)),
            &column(claims, |event| i64::try_from(event.bytes_out).unwrap_or(i64::MAX)),
            &column(claims, |event| event.method.as_str()) as &[&str],
            &column(claims, |event| event.path.as_str()) as &[&str],
            &column(claims, |event| event.ip.map(IpNetwork::from)) as &[Option<IpNetwork>],
            &column(claims, |event| event.user_agent.as_deref().map(agent::short)) as &[Option<Cow<'_, str>>],
            &column(claims, |event| own_name(event).is_none().then_some(event.request_id.as_str())) as &[Option<&str>],
            &column(claims, |event| event.service_data.as_ref()) as &[Option<&Value>],
            &column(claims, own_name) as &[Option<Uuid>],
            &versions as &[Option<i64>],
        )
        .execute(&mut *$connection)
        .await?;
        match usize::try_from(done.rows_affected()) {
            Ok(written) if written == claims.len() => Ok(Vec::new()),
            // Looked for only now: to have them answered by the statement costs it a quarter more.
            _ => list_left_out($connection, claims).await,
        }
    }};
}

/// The events that claimed a version and are not in the table.
async fn list_left_out(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<Uuid>> {
    let claimed = claims.iter().filter(|claim| claim.version.is_some());
    let (ids, users): (Vec<Uuid>, Vec<Option<Uuid>>) =
        claimed.map(|claim| (claim.event.id, claim.event.user.map(|user| user.0))).unzip();
    sqlx::query_scalar!(
        r#"select claim.id as "id!" from unnest($1::uuid[], $2::uuid[]) as claim (id, user_id)
           where not exists (select from events where events.user_id = claim.user_id and events.id = claim.id)"#,
        &ids,
        &users as &[Option<Uuid>],
    )
    .fetch_all(connection)
    .await
}

/// Columns, not rows: one statement of fixed text takes any number of them.
fn column<'a, T>(claims: &'a [Claim], value: impl Fn(&'a Event) -> T) -> Vec<T> {
    claims.iter().map(|claim| value(&claim.event)).collect()
}

/// The id of a request that is a UUID, as those are which we give (`migrations/0026_events_request_uuid.sql`).
fn own_name(event: &Event) -> Option<Uuid> {
    let text = event.request_id.as_str();
    let is_canonical = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    Uuid::try_parse(text).ok().filter(|_| is_canonical)
}

/// Inserts many events in one statement, but those that claim a version which the row of their user does not have: their ids
/// are answered. Of a user who is deleted by now (a late event, or a request with a token that outlived its user) the row
/// tells no more of the person than [`update_forgotten`](super::update_forgotten) leaves.
///
/// # Errors
/// Among others when one of them is in the table already; [`insert_again`] is for those.
pub async fn insert_batch(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<Uuid>> {
    insert_events!(connection, claims, "")
}

/// The same for events of which some may be there already (their commit was not known, or there is more to say). Such a row is
/// brought to what the client was told: by the later word, also when a connection that froze executes the earlier one last.
/// No id may occur twice in `claims`. In the order of ids, so that two statements with the same rows wait for one another and
/// not each for the other.
pub async fn insert_again(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<Uuid>> {
    insert_events!(
        connection,
        claims,
        "order by event.id on conflict (user_id, id) do update
         set ended_at = excluded.ended_at, status = excluded.status, bytes_out = excluded.bytes_out,
             service_data = excluded.service_data
         where events.ended_at <= excluded.ended_at"
    )
}
