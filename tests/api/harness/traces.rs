//! What a request leaves in the table of events.

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::TestApp;
use super::call::Answer;
use super::program::until;

impl TestApp {
    /// All rows of this request, whoever owns them.
    pub async fn rows_of(&self, request_id: &str) -> Vec<Value> {
        let query =
            "select to_jsonb(events) || jsonb_build_object('request_id', coalesce(request_uuid::text, request_id))
                     from events where coalesce(request_uuid::text, request_id) = $1 order by id";
        let rows = sqlx::query_scalar(query).bind(request_id).fetch_all(&self.pool()).await;
        rows.expect("the query of the test")
    }

    /// The one row that an answer left, which is there as soon as the answer is.
    #[track_caller]
    pub fn row_of(&self, answer: &Answer) -> impl Future<Output = Value> {
        let id = answer.header("x-request-id").to_owned();
        let told = (answer.status, answer.text.len());
        async move {
            let mut rows = self.rows_of(&id).await;
            assert_eq!(rows.len(), 1, "{id} {told:?}: {rows:?}");
            rows.remove(0)
        }
    }

    /// Whose event an answer is.
    pub async fn owner_of(&self, answer: &Answer) -> Option<String> {
        self.row_of(answer).await["user_id"].as_str().map(|id| format!("user-{id}"))
    }

    /// Waits for the one row of a request that nobody heard of any more.
    pub async fn row_after_all(&self, request_id: &str) -> Value {
        until("the event is written", async || !self.rows_of(request_id).await.is_empty()).await;
        let mut rows = self.rows_of(request_id).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    /// A connection of the test's own, for locks that the server runs into.
    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(self.database_url()).await.expect("it answers")
    }

    /// Does `work` while a transaction of the test's own holds the locks of `statement`.
    pub async fn connection_holding(&self, statement: &'static str, work: impl AsyncFnOnce()) {
        let mut connection = self.connection().await;
        let mut closed = connection.begin().await.expect("a transaction");
        sqlx::query(statement).execute(&mut *closed).await.expect("the lock");
        work().await;
        closed.rollback().await.expect("the lock goes");
    }

    /// Waits until a statement of the server hangs in a lock.
    pub async fn somebody_waits_for_a_lock(&self) {
        let query = "select count(*) from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock'";
        let mut connection = self.connection().await;
        until("a statement waits for a lock", async || {
            let waiting: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("it answers");
            waiting > 0
        })
        .await;
    }
}
