//! Somebody who follows a stream of server-sent events.

use std::time::Duration;

use serde_json::Value;

use super::Call;

/// Far more than any event of a test takes. Streams wait for the transactions of all databases of a Postgres, also for those that
/// make and drop the databases of other tests.
const DEADLINE: Duration = Duration::from_secs(120);

/// An open stream.
pub struct Listener {
    response: reqwest::Response,
    heard: Vec<u8>,
}

impl Listener {
    /// Sends a request that is answered with a stream.
    pub async fn open(call: Call) -> Self {
        let response = call.0.send().await.expect("the server answers");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a header"))
        );
        Self { response, heard: Vec::new() }
    }

    pub fn header(&self, name: &str) -> String {
        self.response.headers()[name].to_str().expect("an ASCII header").to_owned()
    }

    /// The next block of lines, comments as well; `None` at the end.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.heard.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.heard.drain(..end + 2).collect();
                return Some(String::from_utf8(block).expect("UTF-8"));
            }
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await.expect("something comes");
            self.heard.extend_from_slice(&chunk.ok().flatten()?);
        }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let block = self.block().await?;
            let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (line("id: "), line("data: ")) {
                let event: Value = serde_json::from_str(data).expect("JSON");
                assert_eq!(event["id"], id);
                return Some(event);
            }
        }
    }

    /// Events up to the one of this request; fails the test when the stream ends before.
    pub async fn until(&mut self, request: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            let is_it = event["input"]["requestId"] == request;
            events.push(event);
            if is_it {
                return events;
            }
        }
    }

    /// Whether it ends, whatever is heard before.
    pub async fn ends(mut self) -> bool {
        while self.block().await.is_some() {}
        true
    }
}
