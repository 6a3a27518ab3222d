//! InfluxDB's writing API, as Telegraf and client libraries speak it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use roost_hub::id::DeviceId;
use roost_hub::principal::Role;
use roost_hub::reading::Value;
use roost_hub::registry::NewDevice;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{ADMIN, PATIENCE, TOKEN, World, tenant};

async fn ask(world: &World, request: &str, more: &str, body: &[u8]) -> (u16, String, Json) {
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

fn shown(token: &str) -> String {
    format!("Authorization: Token {token}\r\n")
}

fn latest(world: &World, device: &str, key: &str) -> Option<Value> {
    let latest = world.hub.latest(&tenant(), &DeviceId::parse(device).unwrap()).unwrap();
    latest.into_iter().find(|(name, _)| &**name == key).map(|(_, reading)| reading.value)
}

#[tokio::test]
async fn both_versions_write_and_every_way_to_log_in_is_taken() {
    let world = World::new().await;
    let now = world.hub.now().0;
    for (number, (request, more)) in [
        ("POST /write?db=farm&rp=autogen&precision=ms", shown(TOKEN)),
        ("POST /api/v2/write?org=x&bucket=y&precision=ms", shown(TOKEN)),
        ("POST /api/v2/write?org=x&bucket=y&precision=ms", shown(&format!("s1:{TOKEN}"))),
        ("POST /api/v2/write?precision=ms", format!("Authorization: Bearer {TOKEN}\r\n")),
        (&*format!("POST /write?precision=ms&u=s1&p={TOKEN}"), String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("cpu,core=0 usage={number}i,idle=true {now}\n");
        assert_eq!(ask(&world, request, &more, line.as_bytes()).await.0, 204, "{request}");
        assert_eq!(
            latest(&world, "s1", "cpu.core=0.usage"),
            Some(Value::Integer(i64::try_from(number).unwrap()))
        );
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"mem used=5i\n").unwrap();
    let packed = format!("{}Content-Encoding: gzip\r\n", shown(TOKEN));
    assert_eq!(ask(&world, "POST /write", &packed, &encoder.finish().unwrap()).await.0, 204);
    assert_eq!(latest(&world, "s1", "mem.used"), Some(Value::Integer(5)));
}

#[tokio::test]
async fn a_tag_names_the_device_and_an_unknown_one_waits() {
    let world = World::new().await;
    world.device("pump").await;
    let child = NewDevice {
        id: DeviceId::parse("sub").ok(),
        parent: DeviceId::parse("s1").ok(),
        ..NewDevice::default()
    };
    world.hub.create_device(&tenant(), child).await.unwrap();
    let lines = b"m,host=pump x=1i\nm,device=s1,host=pump x=2i\nm,host=nobody x=3i\n";
    assert_eq!(ask(&world, "POST /api/v2/write", &shown(ADMIN), lines).await.0, 204);
    assert_eq!(latest(&world, "pump", "m.x"), Some(Value::Integer(1)));
    assert_eq!(latest(&world, "s1", "m.host=pump.x"), Some(Value::Integer(2)));
    let waiting = world.hub.inbox(&tenant(), (10, None)).unwrap().items;
    assert_eq!(waiting.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["nobody"]);

    // A device writes for itself and those under it; its host is a tag like others unless it names one.
    let lines = b"m,host=raspberry x=4i\nm,host=s1 x=5i\nm,host=sub x=6i\nm,device=pump x=7i\n";
    assert_eq!(ask(&world, "POST /write", &shown(TOKEN), lines).await.0, 204);
    assert_eq!(latest(&world, "s1", "m.host=raspberry.x"), Some(Value::Integer(4)));
    assert_eq!(latest(&world, "s1", "m.x"), Some(Value::Integer(5)));
    assert_eq!(latest(&world, "sub", "m.x"), Some(Value::Integer(6)));
    assert_eq!(latest(&world, "pump", "m.x"), Some(Value::Integer(1)));
}

#[tokio::test]
async fn what_can_be_taken_of_a_write_is_and_the_rest_is_named() {
    let world = World::new().await;
    let lines = b"m x=1i\nnonsense\nm y=2i\nm z=\n";
    let (status, head, body) = ask(&world, "POST /write", &shown(TOKEN), lines).await;
    let error = body["error"].as_str().unwrap();
    assert!(
        error.starts_with("partial write: unable to parse line 2: ") && error.ends_with("dropped=2"),
        "{error}"
    );
    assert!(error.contains("line 4") && head.contains("x-influxdb-error: partial write"), "{head}");
    assert_eq!(status, 400);
    assert_eq!(
        (latest(&world, "s1", "m.x"), latest(&world, "s1", "m.y")),
        (Some(Value::Integer(1)), Some(Value::Integer(2)))
    );
    let (status, _, body) = ask(&world, "POST /api/v2/write", &shown(ADMIN), b"m x=1i").await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid")));
    assert!(body["message"].as_str().unwrap().contains("names no device"));
}

#[tokio::test]
async fn refusals_are_in_the_words_of_that_server() {
    let world = World::new().await;
    let viewer = world.application(Role::Viewer).await;
    for (request, more, body, status, code) in [
        ("POST /api/v2/write", shown("wrong"), &b"m x=1"[..], 401, "unauthorized"),
        ("POST /api/v2/write", String::new(), b"m x=1", 401, "unauthorized"),
        ("POST /api/v2/write", shown(&viewer), b"m,host=s1 x=1", 403, "forbidden"),
        ("POST /api/v2/write?precision=d", shown(TOKEN), b"m x=1", 400, "invalid"),
        ("POST /api/v2/write", shown(TOKEN), b"m x=\xff", 400, "invalid"),
    ] {
        let (found, head, body) = ask(&world, request, &more, body).await;
        assert_eq!((found, &body["code"]), (status, &json!(code)), "{request} {body}");
        assert!(head.contains("content-type: application/json"), "{head}");
    }
    let (status, _, body) = ask(&world, "POST /write", "", b"m x=1").await;
    assert_eq!((status, body["error"].is_string()), (401, true));
    assert_eq!(latest(&world, "s1", "m.x"), None);
}

#[tokio::test]
async fn telegraf_finds_what_it_looks_for_before_it_writes() {
    let world = World::new().await;
    for method in ["GET", "HEAD"] {
        let (status, head, _) = ask(&world, &format!("{method} /ping"), "", b"").await;
        assert!(status == 204 && head.contains("x-influxdb-version"), "{head}");
    }
    assert_eq!(ask(&world, "GET /health", "", b"").await.2["status"], "pass");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let create = b"q=CREATE+DATABASE+%22telegraf%22";
    let (status, _, body) = ask(&world, "POST /query", &format!("{form}{}", shown(TOKEN)), create).await;
    assert_eq!((status, body), (200, json!({ "results": [{ "statement_id": 0 }] })));
    assert_eq!(ask(&world, "POST /query", form, create).await.0, 401);
    assert_eq!(ask(&world, "GET /query?q=SELECT+1", &shown(TOKEN), b"").await.0, 400);
}
