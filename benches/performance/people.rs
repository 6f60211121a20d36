//! Users who are there and logged in, made as quickly as a bench wants them.

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::server::Server;
use crate::world::World;
use crate::wrk::Request;

const PASSWORD: &str = "Analytical Engine 1843";

/// What is asked at once: some log-ins for each hash that runs.
const AT_ONCE: usize = 32;

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: String,
    pub token: String,
}

/// Makes this many users, `<prefix>-1` and so on, and logs them in.
///
/// One is made in order, and logged in so that the hash is one as the server makes them. The others are copies of the row, with
/// the same password: a hash each would take longer than what is measured. Their ids are made of their names, so that
/// [`crate::table`] knows them.
pub async fn log_in(
    world: &World,
    database_url: &str,
    server: &Server,
    prefix: &str,
    people: usize,
) -> Result<Vec<Person>> {
    let first = format!("{prefix}-1");
    world.create_user(database_url, &first, PASSWORD).await?;
    Person::log_in_as(server, &first).await?;
    let statement = format!(
        "insert into users
         select copy.* from users original, generate_series(2, {people}) n,
             jsonb_populate_record(original, jsonb_build_object(
                 'id', md5('{prefix}-' || n), 'login_name', '{prefix}-' || n, 'display_name', 'Somebody ' || n)) copy
         where original.login_name = '{first}'"
    );
    sqlx::query(AssertSqlSafe(statement)).execute(&mut PgConnection::connect(database_url).await?).await?;
    let names: Vec<String> = (1..=people).map(|number| format!("{prefix}-{number}")).collect();
    each(&names, async |name| Person::log_in_as(server, name).await).await
}

/// The same for all of them, some at once; answers in their order.
pub async fn each<T, R>(all: &[T], work: impl AsyncFn(&T) -> Result<R>) -> Result<Vec<R>> {
    stream::iter(all).map(|one| work(one)).buffered(AT_ONCE).try_collect().await
}

/// Asks, and hears all of a good answer.
pub async fn ask(request: RequestBuilder) -> Result<Vec<u8>> {
    Ok(request.send().await?.error_for_status()?.bytes().await?.into())
}

impl Person {
    /// Asks for the own profile.
    pub fn me(&self) -> Request {
        Request::get("/users/me").bearer(&self.token)
    }

    /// Logs in once more.
    pub fn log_in(&self) -> Request {
        use base64::Engine;
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{}:{PASSWORD}", self.name));
        Request::post("/auth").header("Authorization", &format!("Basic {credentials}")).header("Content-Length", "0")
    }

    /// New client keys, and what they are good for.
    pub async fn client(&self, server: &Server) -> Result<Client> {
        let keys = ask(server.post("/users/me/client-keys").bearer_auth(&self.token)).await?;
        let keys = json!({
            "grantType": "clientCredentials",
            "clientId": text(&keys, "clientId")?,
            "clientSecret": text(&keys, "clientSecret")?,
        });
        let tokens = ask(server.post("/auth/token").json(&keys)).await?;
        let refresh = json!({"grantType": "refreshToken", "refreshToken": text(&tokens, "refreshToken")?});
        Ok(Client { keys, refresh })
    }

    async fn log_in_as(server: &Server, name: &str) -> Result<Self> {
        let answer = ask(server.post("/auth").basic_auth(name, Some(PASSWORD))).await?;
        Ok(Self { name: name.to_owned(), token: text(&answer, "accessToken")? })
    }
}

/// What a program with client keys asks: the bodies of its grants.
pub struct Client {
    pub keys: Value,
    pub refresh: Value,
}

impl Client {
    /// Asks for tokens with the keys.
    pub fn by_keys(&self) -> Request {
        Request::post("/auth/token").json(&self.keys)
    }

    /// Asks for another token with the refresh token.
    pub fn by_refresh(&self) -> Request {
        Request::post("/auth/token").json(&self.refresh)
    }
}

fn text(answer: &[u8], name: &str) -> Result<String> {
    let body: Value = serde_json::from_slice(answer)?;
    Ok(body[name].as_str().with_context(|| format!("an answer without {name}"))?.to_owned())
}
