//! Documents by their public verbs.

use bytes::Bytes;
use roost_hub::document::{Condition, DOCUMENTS_MAX, Document, NewDocument, PutDocumentError};
use roost_hub::id::DeviceId;
use roost_testkit::world::{World, lamp, tenant};

async fn put(
    world: &World,
    name: &str,
    body: &str,
    condition: Condition,
) -> Result<Document, PutDocumentError> {
    let new = NewDocument { content_type: "text/plain".to_owned(), body: Bytes::from(body.to_owned()) };
    world.hub().put_document(&tenant(), &lamp(), (name, condition), new).await
}

async fn delete(world: &World, name: &str, condition: Condition) -> Result<bool, PutDocumentError> {
    world.hub().delete_document(&tenant(), &lamp(), (name, condition)).await
}

#[tokio::test]
async fn a_document_comes_back_as_it_was_put_also_after_a_restart() {
    let world = World::with_lamp();
    let stored = put(&world, "calibration ä.json", "{\0}", Condition::Any).await.unwrap();
    let world = world.restarted();
    let found = world.hub().document(&tenant(), &lamp(), "calibration ä.json").unwrap();
    assert_eq!(found.as_ref(), Some(&stored));
    assert_eq!((stored.content_type.as_str(), &stored.body[..]), ("text/plain", &b"{\0}"[..]));
    let all = world.hub().documents(&tenant(), &lamp()).unwrap();
    assert_eq!(all, [("calibration ä.json".to_owned(), stored)]);
    assert_eq!(world.hub().document(&tenant(), &lamp(), "other").unwrap(), None);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing_and_shows_what_stands_there() {
    let world = World::with_lamp();
    let nothing = put(&world, "a", "1", Condition::Present).await;
    assert!(matches!(nothing, Err(PutDocumentError::Conflict(None))));
    let first = put(&world, "a", "1", Condition::Absent).await.unwrap();
    let again = put(&world, "a", "2", Condition::Absent).await;
    assert!(matches!(again, Err(PutDocumentError::Conflict(Some(etag))) if etag == first.etag));
    let second = put(&world, "a", "2", Condition::Etag(first.etag)).await.unwrap();
    assert_ne!(first.etag, second.etag);
    let stale = delete(&world, "a", Condition::Etag(first.etag)).await;
    assert!(matches!(stale, Err(PutDocumentError::Conflict(Some(etag))) if etag == second.etag));
    assert!(delete(&world, "a", Condition::Etag(second.etag)).await.unwrap());
    assert!(!delete(&world, "a", Condition::Any).await.unwrap());
}

#[tokio::test]
async fn the_same_content_has_the_same_etag() {
    let world = World::with_lamp();
    let one = put(&world, "a", "1", Condition::Any).await.unwrap();
    let two = put(&world, "b", "1", Condition::Any).await.unwrap();
    assert_eq!(one.etag_text(), two.etag_text());
    assert_eq!(one.etag_text().len(), 16);
}

#[tokio::test]
async fn j_16_a_name_cannot_leave_its_place() {
    let world = World::with_lamp();
    for name in ["", ".", "..", "../x", "a/b", "a\0", "a\nb", &"x".repeat(129)] {
        assert!(
            matches!(put(&world, name, "1", Condition::Any).await, Err(PutDocumentError::Invalid(_))),
            "{name:?}"
        );
        assert_eq!(world.hub().document(&tenant(), &lamp(), name).unwrap(), None);
    }
}

#[tokio::test]
async fn size_number_and_content_type_are_bounded() {
    let world = World::with_lamp();
    assert!(put(&world, "a", &"x".repeat(65_536), Condition::Any).await.is_ok());
    let large = put(&world, "a", &"x".repeat(65_537), Condition::Any).await;
    assert!(matches!(large, Err(PutDocumentError::TooLarge)));
    let new = NewDocument { content_type: "a\r\nx: y".to_owned(), body: Bytes::new() };
    let split = world.hub().put_document(&tenant(), &lamp(), ("t", Condition::Any), new).await;
    assert!(matches!(split, Err(PutDocumentError::Invalid(_))));
    for number in 1..DOCUMENTS_MAX {
        put(&world, &number.to_string(), "", Condition::Any).await.unwrap();
    }
    assert!(matches!(put(&world, "more", "", Condition::Any).await, Err(PutDocumentError::TooMany)));
    assert!(put(&world, "a", "again", Condition::Any).await.is_ok());
    let nobody = DeviceId::parse("nobody").unwrap();
    let unknown =
        world.hub().put_document(&tenant(), &nobody, ("a", Condition::Any), NewDocument::default()).await;
    assert!(matches!(unknown, Err(PutDocumentError::DeviceUnknown)));
}

#[tokio::test]
async fn whoever_watches_is_woken_by_a_change() {
    let world = World::with_lamp();
    let mut watch = world.hub().watch_documents(&tenant(), &lamp());
    put(&world, "a", "1", Condition::Any).await.unwrap();
    assert!(watch.changed().await);
    let (changed, deleted) = tokio::join!(watch.changed(), delete(&world, "a", Condition::Any));
    assert!(changed && deleted.unwrap());
}
