//! Paging: limits, cursors, and the links that walk through everything.

use serde_json::Value;

use crate::harness::{Answer, Person, TestApp, link};

pub fn ids(page: &Value) -> Vec<String> {
    let events = page.as_array().expect("a bare array");
    events.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
}

async fn list(app: &TestApp, person: &Person, query: &str) -> Answer {
    app.get(&format!("/users/me/events{query}")).bearer(&person.token).await.expect(200)
}

/// Somebody who was told 401 this often: events that no later look at the list adds to.
async fn refused_often(app: &TestApp, times: usize) -> Person {
    let ada = app.person("ada").await;
    for _ in 0..times {
        app.post("/auth").basic(&ada.email, "wrong").await.expect(401);
    }
    ada
}

#[tokio::test]
async fn the_newest_hundred_are_shown_oldest_first() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for _ in 0..105 {
        app.get("/users/me").bearer(&ada.token).await.expect(200);
    }
    let all = ids(&list(&app, &ada, "?limit=1000").await.json());
    assert_eq!(all.len(), 108);
    assert!(all.is_sorted());
    let page = list(&app, &ada, "").await;
    let shown = ids(&page.json());
    assert_eq!(shown.len(), 100);
    assert_eq!(shown[..99], all[9..], "the newest, and the look at the list before");
    assert!(link(&page, "prev").is_some() && link(&page, "next").is_none(), "{}", page.header("link"));
}

#[tokio::test]
async fn a_page_may_be_as_small_and_as_large_as_the_contract_says() {
    let app = TestApp::start().await;
    let ada = refused_often(&app, 4).await;
    assert_eq!(ids(&list(&app, &ada, "?limit=1").await.json()).len(), 1);
    assert_eq!(ids(&list(&app, &ada, "?limit=1000&status=401").await.json()).len(), 4);
    for limit in ["0", "1001", "-1", "ten", "1.5", ""] {
        let answer = app.get(&format!("/users/me/events?limit={limit}")).bearer(&ada.token).await;
        assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["limit"], "{limit}");
    }
}

#[tokio::test]
async fn before_and_after_lie_strictly_on_their_side() {
    let app = TestApp::start().await;
    let ada = refused_often(&app, 6).await;
    let all = ids(&list(&app, &ada, "?status=401").await.json());
    let ask = async |query: String| ids(&list(&app, &ada, &format!("?status=401&{query}")).await.json());
    assert_eq!(ask(format!("before={}", all[3])).await, all[..3]);
    assert_eq!(ask(format!("after={}", all[3])).await, all[4..]);
    assert_eq!(ask(format!("before={}&limit=2", all[5])).await, all[3..5], "those next to the cursor");
    assert_eq!(ask(format!("after={}&limit=2", all[0])).await, all[1..3], "those next to the cursor");
    assert_eq!(ask(format!("after={}&before={}", all[1], all[4])).await, all[2..4]);
    assert_eq!(ask(format!("after={}", all[5])).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_order_turns_the_page_and_not_the_links() {
    let app = TestApp::start().await;
    let ada = refused_often(&app, 6).await;
    let all = ids(&list(&app, &ada, "?status=401").await.json());
    let asc = list(&app, &ada, &format!("?status=401&limit=2&before={}&order=asc", all[4])).await;
    let desc = list(&app, &ada, &format!("?status=401&limit=2&before={}&order=desc", all[4])).await;
    let mut turned = ids(&desc.json());
    turned.reverse();
    assert_eq!((ids(&asc.json()), turned), (all[2..4].to_vec(), all[2..4].to_vec()));
    for (page, order) in [(asc, "asc"), (desc, "desc")] {
        let (older, newer) = (link(&page, "prev").expect("older"), link(&page, "next").expect("newer"));
        assert!(older.contains(&format!("before={}", all[2])) && older.contains(&format!("order={order}")), "{older}");
        assert!(newer.contains(&format!("after={}", all[3])) && newer.contains("status=401"), "{newer}");
        assert!(!older.contains("after=") && !newer.contains("before="), "{older} {newer}");
    }
}

#[tokio::test]
async fn the_links_walk_through_everything_both_ways_without_gap_or_double() {
    let app = TestApp::start().await;
    let ada = refused_often(&app, 23).await;
    let all = ids(&list(&app, &ada, "?status=4xx").await.json());
    for order in ["asc", "desc"] {
        let mut walked: Vec<String> = Vec::new();
        let mut next = Some(format!("/users/me/events?status=4xx&limit=5&order={order}"));
        let mut oldest = String::new();
        while let Some(path) = next {
            let page = app.get(&path).bearer(&ada.token).await.expect(200);
            let mut shown = ids(&page.json());
            if order == "desc" {
                shown.reverse();
            }
            next = link(&page, "prev");
            oldest.clone_from(&path);
            walked.splice(0..0, shown);
        }
        assert_eq!(walked, all, "towards older, {order}");

        let mut next = Some(oldest);
        let mut walked = Vec::new();
        while let Some(path) = next {
            let page = app.get(&path).bearer(&ada.token).await.expect(200);
            let mut shown = ids(&page.json());
            if order == "desc" {
                shown.reverse();
            }
            next = link(&page, "next");
            walked.extend(shown);
        }
        assert_eq!(walked, all, "towards newer, {order}");
    }
}

#[tokio::test]
async fn between_two_cursors_the_links_lead_through_and_not_out() {
    let app = TestApp::start().await;
    let ada = refused_often(&app, 12).await;
    let all = ids(&list(&app, &ada, "?status=4xx").await.json());
    for (limit, order) in [(1, "asc"), (3, "desc"), (4, "asc"), (8, "asc"), (1000, "desc")] {
        let mut next = Some(format!(
            "/users/me/events?status=4xx&limit={limit}&order={order}&after={}&before={}",
            all[1], all[10]
        ));
        let mut walked = Vec::new();
        while let Some(path) = next {
            let page = app.get(&path).bearer(&ada.token).await.expect(200);
            let mut shown = ids(&page.json());
            if order == "desc" {
                shown.reverse();
            }
            walked.extend(shown);
            assert_eq!(link(&page, "prev"), None, "{limit}");
            next = link(&page, "next");
        }
        assert_eq!(walked, all[2..10], "{limit}");
    }
    let nothing = list(&app, &ada, &format!("?after={}&before={}", all[5], all[2])).await;
    assert_eq!((ids(&nothing.json()), nothing.header("link")), (vec![], ""));
}

#[tokio::test]
async fn a_page_with_nothing_around_it_has_no_links() {
    let app = TestApp::start().await;
    let ada = refused_often(&app, 3).await;
    assert_eq!(list(&app, &ada, "?status=401&limit=3").await.header("link"), "");
    assert_eq!(list(&app, &ada, "?status=418").await.header("link"), "");
}
