//! Users who are there and logged in, made as quickly as a bench wants them.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;

use crate::server::Server;
use crate::world::World;
use crate::wrk::Request;

const PASSWORD: &str = "Analytical Engine 1843";

/// Log-ins at once: each waits for a hash.
const AT_ONCE: usize = 8;

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: String,
    pub token: String,
}

/// Makes this many users, `<prefix>-1` and so on, and logs them in.
///
/// One is made in order. The others are copies of the row, with the same password: a hash each would take longer than
/// what is measured. Their ids are made of their names, so that [`crate::table`] knows them.
pub async fn log_in(
    world: &World,
    database_url: &str,
    server: &Server,
    prefix: &str,
    people: usize,
) -> Result<Vec<Person>> {
    world.create_user(database_url, &format!("{prefix}-1"), PASSWORD).await?;
    let statement = format!(
        "insert into users
         select copy.* from users original, generate_series(2, {people}) n,
             jsonb_populate_record(original, jsonb_build_object(
                 'id', md5('{prefix}-' || n), 'login_name', '{prefix}-' || n, 'display_name', 'Somebody ' || n)) copy
         where original.login_name = '{prefix}-1'"
    );
    sqlx::query(AssertSqlSafe(statement)).execute(&mut PgConnection::connect(database_url).await?).await?;

    let client = reqwest::Client::new();
    let (mut logging_in, mut logged_in) = (JoinSet::new(), Vec::new());
    for number in 1..=people {
        if logging_in.len() == AT_ONCE {
            logged_in.extend(logging_in.join_next().await.transpose()?);
        }
        let (client, url, name) = (client.clone(), format!("{}/auth", server.url), format!("{prefix}-{number}"));
        logging_in.spawn(async move {
            let answer = client.post(url).basic_auth(&name, Some(PASSWORD)).send().await?.error_for_status()?;
            let token = text(&answer.json().await?, "accessToken")?;
            anyhow::Ok(Person { name, token })
        });
    }
    logged_in.extend(logging_in.join_all().await);
    logged_in.into_iter().collect()
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

    /// New client keys, and the grants that they can ask for.
    pub async fn client(&self, server: &Server) -> Result<Client> {
        let http = reqwest::Client::new();
        let keys = http.post(format!("{}/users/me/client-keys", server.url)).bearer_auth(&self.token);
        let keys: Value = keys.send().await?.error_for_status()?.json().await?;
        let by_keys = json!({
            "grantType": "clientCredentials",
            "clientId": text(&keys, "clientId")?,
            "clientSecret": text(&keys, "clientSecret")?,
        });
        let tokens = http.post(format!("{}/auth/token", server.url)).json(&by_keys);
        let tokens: Value = tokens.send().await?.error_for_status()?.json().await?;
        let by_refresh = json!({"grantType": "refreshToken", "refreshToken": text(&tokens, "refreshToken")?});
        let grant = |body| Request::post("/auth/token").json(&body);
        Ok(Client { by_keys: grant(by_keys), by_refresh: grant(by_refresh) })
    }
}

/// What a program with client keys asks.
pub struct Client {
    pub by_keys: Request,
    pub by_refresh: Request,
}

fn text(body: &Value, name: &str) -> Result<String> {
    Ok(body[name].as_str().with_context(|| format!("an answer without {name}"))?.to_owned())
}
