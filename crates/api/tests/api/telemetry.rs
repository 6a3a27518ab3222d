use http_body_util::BodyExt;
use roost_hub::reading::Value as Reading;
use serde_json::{Value, json};

use crate::world::{ADMIN, NOW, World, request};

#[tokio::test]
async fn the_latest_values_are_given_by_key() {
    let world = World::new().await;
    world.device("a").await;
    world.measure("a", ("temp", NOW - 2), Reading::Number(20.5)).await;
    world.measure("a", ("temp", NOW - 1), Reading::Number(21.5)).await;
    world.measure("a", ("state", NOW - 1), Reading::Text("on".into())).await;
    let latest = world.get("/api/v1/devices/a/telemetry/latest").await.expect(200).json();
    assert_eq!(
        latest,
        json!({ "temp": { "ts": NOW - 1, "value": 21.5 }, "state": { "ts": NOW - 1, "value": "on" } })
    );
    let one = world.get("/api/v1/devices/a/telemetry/latest?key=temp").await.expect(200).json();
    assert_eq!(one, json!({ "temp": { "ts": NOW - 1, "value": 21.5 } }));
    let list = world.get("/api/v1/devices?latest=true").await.expect(200).json();
    assert_eq!(list["items"][0]["latest"]["temp"]["value"], 21.5);
    let keys = world.get("/api/v1/devices/a/telemetry/keys").await.expect(200).json();
    assert_eq!(keys["items"], json!(["state", "temp"]));
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_next_answer() {
    let world = World::new().await;
    world.device("a").await;
    let path = "/api/v1/devices/a/telemetry?key=temp";
    for (number, value) in [(0, 1), (1, 9_007_199_254_740_993)] {
        world.measure("a", ("temp", NOW - 10 + number), Reading::Integer(value)).await;
    }
    // From a clock that is ahead.
    world.measure("a", ("temp", NOW + 3_600_000), Reading::Boolean(true)).await;
    let expected = json!([[NOW - 10, 1], [NOW - 9, 9_007_199_254_740_993_i64], [NOW + 3_600_000, true]]);
    let found = world.get(path).await.expect(200).json();
    assert_eq!((&found["key"], &found["points"], &found["next"]), (&json!("temp"), &expected, &Value::Null));
    world.flush().await;
    assert_eq!(world.get(path).await.expect(200).json()["points"], expected);
}

#[tokio::test]
async fn points_come_in_pages_and_buckets() {
    let world = World::new().await;
    world.device("a").await;
    let start = NOW - NOW % 60_000 - 120_000;
    for (offset, value) in [(0, 1.0), (30_000, 3.0), (60_000, 10.0)] {
        world.measure("a", ("temp", start + offset), Reading::Number(value)).await;
    }
    let base = "/api/v1/devices/a/telemetry?key=temp";
    let first = world.get(&format!("{base}&limit=2")).await.expect(200).json();
    assert_eq!(first["points"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let rest = world.get(&format!("{base}&limit=2&cursor={next}")).await.expect(200).json();
    assert_eq!((&rest["points"], &rest["next"]), (&json!([[start + 60_000, 10]]), &Value::Null));
    for (agg, points) in [
        ("mean", json!([[start, 2], [start + 60_000, 10]])),
        ("count", json!([[start, 2], [start + 60_000, 1]])),
        ("last", json!([[start, 3], [start + 60_000, 10]])),
    ] {
        let found = world.get(&format!("{base}&every=1m&agg={agg}")).await.expect(200).json();
        assert_eq!(found["points"], points, "{agg}");
    }
    let range = format!("{base}&from={start}&to={}", start + 60_000);
    assert_eq!(world.get(&range).await.expect(200).json()["points"].as_array().unwrap().len(), 2);
    let written = format!("{base}&from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00%2B01:00");
    assert_eq!(world.get(&written).await.expect(200).json()["points"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn points_are_given_as_csv_and_parquet() {
    let world = World::new().await;
    world.device("a").await;
    world.measure("a", ("temp", NOW), Reading::Number(21.5)).await;
    for (accept, begins) in [
        ("text/csv", format!("device,key,ts,value,quality\r\na,temp,{NOW},21.5,good\r\n").into_bytes()),
        ("application/vnd.apache.parquet", b"PAR1".to_vec()),
    ] {
        let mut request = request(ADMIN, "GET /api/v1/devices/a/telemetry?key=temp", Value::Null);
        request.headers_mut().insert("accept", accept.parse().unwrap());
        let response = world.open(request).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(accept));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(&begins), "{accept}: {body:?}");
    }
}

#[tokio::test]
async fn a_later_device_of_the_same_id_does_not_see_the_points_of_the_first() {
    let world = World::new().await;
    world.device("a").await;
    world.measure("a", ("temp", NOW), Reading::Integer(1)).await;
    world.admin("DELETE /api/v1/devices/a", Value::Null).await.expect(204);
    world.device("a").await;
    let found = world.get("/api/v1/devices/a/telemetry?key=temp").await.expect(200).json();
    assert_eq!(found["points"], json!([]));
    assert_eq!(world.get("/api/v1/devices/a/telemetry/latest").await.expect(200).json(), json!({}));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_what_to_change() {
    let world = World::new().await;
    world.device("a").await;
    for query in [
        "",
        "?key=",
        "?key=t&from=yesterday",
        "?key=t&every=0",
        "?key=t&every=1w",
        "?key=t&agg=median",
        "?key=t&cursor=x",
        "?key=t&key=u",
        "?key=t&form=0",
        "?key=t&limit=0",
    ] {
        world.get(&format!("/api/v1/devices/a/telemetry{query}")).await.expect(422);
    }
}

#[tokio::test]
async fn prometheus_gets_the_newest_numbers_that_are_fresh() {
    let world = World::new().await;
    world.device("a").await;
    world.device("b").await;
    world.measure("a", ("temp", NOW - 1), Reading::Number(21.5)).await;
    world.measure("a", ("state", NOW - 1), Reading::Text("on".into())).await;
    world.measure("b", ("temp", NOW - 7_200_000), Reading::Number(1.0)).await;
    let head = "# HELP roost_temp The newest value of temp.\n# TYPE roost_temp gauge\n";
    let fresh = "roost_temp{device=\"a\",key=\"temp\"} 21.5\n";
    let answer = world.get("/api/v1/metrics").await.expect(200);
    assert_eq!(answer.body, format!("{head}{fresh}"));
    let old = "roost_temp{device=\"b\",key=\"temp\"} 1\n";
    let all = world.get("/api/v1/metrics?max_age=3h").await.expect(200);
    assert_eq!(all.body, format!("{head}{fresh}{old}"));
    world.get("/api/v1/metrics?max_age=soon").await.expect(422);
    world.get("/api/v1/metrics?other=1").await.expect(422);
}
