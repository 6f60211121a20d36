//! F1, the floor: what a bare axum handler costs that asks Postgres one thing and leaves no trace. It verifies nobody and
//! records nothing; whatever our server does besides must be paid for by what it does better.

use std::future::IntoFuture;

use anyhow::{Context, Result};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tokio::net::TcpListener;
use uuid::Uuid;

/// As many as our server has for requests.
const CONNECTIONS: u32 = 8;

#[derive(Serialize, sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
}

/// Makes the table that the floor reads; answers the ids of as many rows.
pub async fn fill(connection: &mut PgConnection, rows: usize) -> Result<Vec<Uuid>> {
    for statement in [
        "create table floor (id uuid primary key, name text not null)",
        "insert into floor select gen_random_uuid(), 'Somebody ' || n from generate_series(1, 1000) n",
        "analyze floor",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    let statement = format!("select id from floor limit {rows}");
    Ok(sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(connection).await?)
}

/// Serves until stdin ends, which is when the bench does. By default a pool tests a connection before each use, as every bare
/// handler does that nobody has thought about; `is_untested` is one that trusts it. After each use a pool of sqlx tests it in any case.
pub async fn serve(database_url: &str, is_untested: bool) -> Result<()> {
    let options = PgPoolOptions::new().min_connections(CONNECTIONS).max_connections(CONNECTIONS);
    let pool = options.test_before_acquire(!is_untested).connect(database_url).await.context("the floor's Postgres")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("the floor listens on http://{}", listener.local_addr()?);
    let router = Router::new().route("/{id}", get(find)).with_state(pool);
    tokio::select! {
        served = axum::serve(listener, router).into_future() => Ok(served?),
        _ = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())) => Ok(()),
    }
}

async fn find(State(pool): State<PgPool>, Path(id): Path<Uuid>) -> Result<Json<Row>, StatusCode> {
    let found = sqlx::query_as("select id, name from floor where id = $1").bind(id).fetch_optional(&pool).await;
    found.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.map(Json).ok_or(StatusCode::NOT_FOUND)
}
