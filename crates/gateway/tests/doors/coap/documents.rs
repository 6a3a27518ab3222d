use roost_hub::document::{Condition, NewDocument};
use roost_wire::coap::{Code, number};

use super::{Device, ask};
use crate::common::{World, device, tenant};

const PATH: &str = "me/documents/config";

#[tokio::test]
async fn a_document_is_put_got_and_deleted() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    sensor.call(Code::GET, ask(PATH)).await.expect(Code::NOT_FOUND);
    let created = sensor.call(Code::PUT, ask(PATH).format(50).payload("{}")).await.expect(Code::CREATED);
    let etag = created.option(number::ETAG).unwrap();
    let got = sensor.call(Code::GET, ask(PATH)).await.expect(Code::CONTENT);
    assert_eq!((got.payload(), got.option(number::ETAG)), (b"{}".to_vec(), Some(etag.clone())));
    assert_eq!(got.uint(number::CONTENT_FORMAT), Some(50));
    let known = sensor.call(Code::GET, ask(PATH).option(number::ETAG, &etag)).await.expect(Code::VALID);
    assert!(known.payload().is_empty());
    sensor.call(Code::GET, ask(PATH).uint(number::ACCEPT, 60)).await.expect(Code::NOT_ACCEPTABLE);
    sensor.call(Code::PUT, ask(PATH).payload("2")).await.expect(Code::CHANGED);
    sensor.call(Code::DELETE, ask(PATH)).await.expect(Code::DELETED);
    sensor.call(Code::DELETE, ask(PATH)).await.expect(Code::DELETED);
    sensor.call(Code::GET, ask(PATH)).await.expect(Code::NOT_FOUND);
}

#[tokio::test]
async fn conditions_are_kept() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let put = |text: &str| ask(PATH).payload(text);
    let any = || Vec::new();
    sensor.call(Code::PUT, put("1").option(number::IF_MATCH, any())).await.expect(Code::PRECONDITION_FAILED);
    let fresh = |text: &str| put(text).option(number::IF_NONE_MATCH, any());
    let etag = sensor.call(Code::PUT, fresh("1")).await.expect(Code::CREATED).option(number::ETAG).unwrap();
    sensor.call(Code::PUT, fresh("2")).await.expect(Code::PRECONDITION_FAILED);
    sensor.call(Code::PUT, put("2").option(number::IF_MATCH, [1; 8])).await.expect(Code::PRECONDITION_FAILED);
    sensor.call(Code::PUT, put("2").option(number::IF_MATCH, [1; 3])).await.expect(Code::PRECONDITION_FAILED);
    sensor.call(Code::PUT, put("2").option(number::IF_MATCH, &etag)).await.expect(Code::CHANGED);
    sensor
        .call(Code::DELETE, ask(PATH).option(number::IF_MATCH, &etag))
        .await
        .expect(Code::PRECONDITION_FAILED);
    sensor.call(Code::PUT, put("3").option(number::IF_MATCH, [1; 9])).await.expect(Code::BAD_OPTION);
    assert_eq!(sensor.call(Code::GET, ask(PATH)).await.payload(), b"2");
}

#[tokio::test]
async fn one_of_several_etags_is_enough() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let put = |text: &str| ask(PATH).payload(text);
    let etag = sensor.call(Code::PUT, put("1")).await.expect(Code::CREATED).option(number::ETAG).unwrap();
    let several = |text: &str, etag: &[u8]| {
        put(text)
            .option(number::IF_MATCH, [1; 3])
            .option(number::IF_MATCH, [2; 8])
            .option(number::IF_MATCH, etag)
    };
    sensor.call(Code::PUT, several("2", &[3; 8])).await.expect(Code::PRECONDITION_FAILED);
    sensor.call(Code::PUT, several("3", &etag)).await.expect(Code::CHANGED);
    sensor.call(Code::PUT, several("4", &etag)).await.expect(Code::PRECONDITION_FAILED);
    sensor.call(Code::PUT, several("5", &[])).await.expect(Code::CHANGED);
    let neither = put("6").option(number::IF_MATCH, []).option(number::IF_NONE_MATCH, []);
    sensor.call(Code::PUT, neither).await.expect(Code::PRECONDITION_FAILED);
    assert_eq!(sensor.call(Code::GET, ask(PATH)).await.payload(), b"5");
}

#[tokio::test]
async fn a_large_document_goes_both_ways_in_blocks() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let body: Vec<u8> = (0..65_536_u32).map(|number| (number % 251) as u8).collect();
    sensor.upload(Code::PUT, ask(PATH).format(42), &body).await.expect(Code::CREATED);
    let stored = world.hub.document(&tenant(), &device(), "config").unwrap().unwrap();
    assert_eq!((stored.body.len(), stored.content_type.as_str()), (65_536, "application/octet-stream"));
    assert_eq!(sensor.download(ask(PATH)).await, body);
    let larger = vec![0; 65_537];
    // The block that goes beyond is refused, whatever follows.
    let pieces = larger.chunks(1_024).count();
    assert_eq!(pieces, 65);
    let announced = ask(PATH).uint(number::BLOCK1, 0x0E).uint(number::SIZE1, 65_537).payload(vec![0; 1_024]);
    let refused = sensor.call(Code::PUT, announced).await.expect(Code::TOO_LARGE);
    assert_eq!(refused.uint(number::SIZE1), Some(65_536));
}

#[tokio::test]
async fn c_14_a_block_out_of_order_is_refused() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let block = |uint: u32| ask(PATH).uint(number::BLOCK1, uint).payload([b'x'; 16]);
    sensor.call(Code::PUT, block(0x18)).await.expect(Code::INCOMPLETE);
    let continued = sensor.call(Code::PUT, block(0x08)).await.expect(Code::CONTINUE);
    assert_eq!(continued.uint(number::BLOCK1), Some(0x08));
    sensor.call(Code::PUT, block(0x28)).await.expect(Code::INCOMPLETE);
    sensor.call(Code::PUT, block(0x0F)).await.expect(Code::BAD_REQUEST);
    assert!(world.hub.document(&tenant(), &device(), "config").unwrap().is_none());
}

#[tokio::test]
async fn a_document_is_observed_until_it_is_gone() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    sensor.call(Code::GET, ask(PATH).uint(number::OBSERVE, 0)).await.expect(Code::NOT_FOUND);
    let put = async |text: &'static str| {
        let new = NewDocument { content_type: "application/json".to_owned(), body: text.into() };
        world.hub.put_document(&tenant(), &device(), ("config", Condition::Any), new).await.unwrap();
    };
    put("1").await;
    let first = sensor.call(Code::GET, ask(PATH).uint(number::OBSERVE, 0)).await.expect(Code::CONTENT);
    assert!(first.uint(number::OBSERVE).is_some());
    put("22").await;
    let told = sensor.answer().await.expect(Code::CONTENT);
    assert_eq!((told.payload(), told.message().token), (b"22".to_vec(), first.message().token));
    world.hub.delete_document(&tenant(), &device(), ("config", Condition::Any)).await.unwrap();
    let told = sensor.answer().await.expect(Code::NOT_FOUND);
    assert_eq!(told.uint(number::OBSERVE), None);
}

#[tokio::test]
async fn c_18_a_large_document_is_no_lever_against_others() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    sensor.upload(Code::PUT, ask(PATH), &[7; 60_000]).await.expect(Code::CREATED);
    let mut other = Device::new(&world).await;
    let head = other.head(Code::GET);
    let request = ask(PATH).bytes(head);
    other.send(&request).await;
    let answer = other.receive().await;
    assert!(answer.0.len() <= 3 * request.len(), "{} for {}", answer.0.len(), request.len());
    // C-19: who shows an Echo that is none gets one, and with that whole blocks.
    let echo =
        other.call(Code::GET, ask(PATH).option(number::ECHO, [1; 16])).await.expect(Code::UNAUTHORIZED);
    let echo = echo.option(number::ECHO).unwrap();
    let answer = other.call(Code::GET, ask(PATH).option(number::ECHO, echo)).await.expect(Code::CONTENT);
    assert_eq!(answer.payload().len(), 1_024);
}
