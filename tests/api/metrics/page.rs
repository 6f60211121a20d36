//! A page of metrics, read as strictly as the text format is written down (version 0.0.4).

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Answer, TestApp};

/// Every sample of a page.
#[derive(Debug)]
pub struct Page {
    samples: BTreeMap<String, f64>,
    families: BTreeSet<String>,
}

impl Page {
    /// Fails the test when a line is none of the format's, or a sample has no name, type or help.
    #[track_caller]
    pub fn read(answer: &Answer) -> Self {
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
        assert!(answer.text.ends_with('\n'), "the last line ends, too");
        let (mut samples, mut types, mut helped) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for line in answer.text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help has words");
                assert!(help.len() > 5 && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a name");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
                let name = series.split('{').next().expect("a name");
                assert!(name.starts_with("bloq_accounts_") || name.starts_with("process_"), "{line}");
                let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
                assert!(name.bytes().all(is_word), "{line}");
                let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
                let histogram =
                    parts.into_iter().find(|family| types.get(*family).is_some_and(|kind| kind == "histogram"));
                let family = histogram.unwrap_or(name);
                assert!(types.contains_key(family) && helped.contains(family), "no type or help: {line}");
                let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        Self { samples, families: types.into_keys().collect() }
    }

    /// The value of one series, written as on the page, without the first word that all of ours have.
    pub fn get(&self, series: &str) -> Option<f64> {
        let full = format!("bloq_accounts_{series}");
        self.samples.get(&full).or_else(|| self.samples.get(series)).copied()
    }

    /// The same, where it must be there.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    /// Every series whose name begins like this.
    pub fn beginning_with(&self, start: &str) -> Vec<&str> {
        let full = format!("bloq_accounts_{start}");
        self.samples.keys().filter(|series| series.starts_with(&full)).map(String::as_str).collect()
    }

    /// How often such a request was answered so.
    pub fn requests(&self, method: &str, route: &str, status: u16) -> f64 {
        let labels = format!(r#"method="{method}",route="{route}",status="{status}""#);
        self.get(&format!("http_requests_total{{{labels}}}")).unwrap_or(0.0)
    }

    /// The names of all metrics.
    pub fn families(&self) -> Vec<&str> {
        self.families.iter().map(String::as_str).collect()
    }
}

#[tokio::test]
async fn the_page_is_one_that_prometheus_reads_and_these_are_its_metrics() {
    let app = TestApp::start().await;
    app.get("/nowhere").await.expect(404);
    let page = app.metrics().await;
    let ours: Vec<_> = page.families().into_iter().filter_map(|name| name.strip_prefix("bloq_accounts_")).collect();
    // What is here is in docs/operating.md, and in somebody's alerts.
    let expected = [
        "build_info",
        "database_connections_idle",
        "database_connections_in_use",
        "database_connections_max",
        "database_up",
        "disk_free_bytes",
        "disk_free_min_bytes",
        "events_backlog",
        "events_batch_size",
        "events_bytes",
        "events_commit_duration_seconds",
        "events_default_partition_rows",
        "events_dropped_total",
        "events_months",
        "events_months_over",
        "events_oldest_month_timestamp_seconds",
        "events_queue_length",
        "events_queue_max",
        "events_write_failures_total",
        "hashes_refused_total",
        "hashes_running",
        "hashes_running_max",
        "hashes_waiting",
        "http_connections",
        "http_connections_max",
        "http_connections_refused_total",
        "http_request_duration_seconds",
        "http_requests_in_flight",
        "http_requests_total",
        "mails_total",
        "outbox_oldest_age_seconds",
        "outbox_overdue_seconds",
        "outbox_waiting",
        "refusals_total",
        "scrape_incomplete",
    ];
    assert_eq!(ours, expected);
    assert_eq!(page.value(concat!(r#"build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#)), 1.0);
    if cfg!(target_os = "linux") {
        assert!(page.value("process_resident_memory_bytes") > 1e6);
        assert!(page.value("process_start_time_seconds") > 1e9);
        assert!(page.get("process_cpu_seconds_total").is_some());
    }
}

#[tokio::test]
async fn the_operators_page_names_every_metric() {
    let text = include_str!("../../../docs/operating.md");
    let app = TestApp::start().await;
    app.get("/nowhere").await.expect(404);
    let page = app.metrics().await;
    for name in page.families() {
        let name = name.strip_prefix("bloq_accounts_").unwrap_or(name);
        assert!(name.starts_with("process_") || text.contains(name), "{name} is missing in docs/operating.md");
    }
}

#[tokio::test]
async fn alerts_look_only_at_metrics_that_there_are() {
    let app = TestApp::start().await;
    app.get("/nowhere").await.expect(404);
    let page = app.metrics().await;
    let text = include_str!("../../../docs/operating/alerts.yml");
    let names = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let names: BTreeSet<&str> = names.filter_map(|name| name.strip_prefix("bloq_accounts_")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(page.families().contains(&format!("bloq_accounts_{family}").as_str()), "{name} does not exist");
    }
}
