//! What the operator's monitoring sees: who may look, what is counted, and what a look costs on a bad day.

mod counted;
mod disk;
mod outage;
mod page;
mod readers;
mod state;

use crate::harness::TestApp;
use page::Page;

impl TestApp {
    /// The page of metrics, as Prometheus on this machine gets it.
    pub async fn metrics(&self) -> Page {
        Page::read(&self.get("/metrics").await.expect(200))
    }
}
