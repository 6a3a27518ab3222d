//! MQTT over streams that no listener of ours accepts.

use std::net::SocketAddr;
use std::sync::Arc;

use roost_gateway::{Gateway, Settings};
use roost_hub::registry::NewDevice;
use roost_wire::mqtt::{Packet, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{ADMIN, TOKEN, connect, device, tenant};

#[tokio::test]
async fn mqtt_is_served_over_any_stream_of_bytes() {
    let world = roost_testkit::world::World::new();
    let hub = world.hub();
    hub.ensure_admin_token(ADMIN).await.unwrap();
    let new = NewDevice { id: Some(device()), token: Some(TOKEN.to_owned()), ..NewDevice::default() };
    hub.create_device(&tenant(), new).await.unwrap();
    let door = Gateway::new(Arc::clone(hub), Settings::default(), axum::Router::new()).mqtt_door();
    let (mut near, far) = tokio::io::duplex(1024);
    let serving = door.serve(far, SocketAddr::from(([127, 0, 0, 1], 1))).unwrap();
    let talking = async {
        let mut said = Vec::new();
        Packet::Connect(Box::new(connect(Version::V3))).encode(Version::V3, &mut said).unwrap();
        Packet::PingReq.encode(Version::V3, &mut said).unwrap();
        near.write_all(&said).await.unwrap();
        // CONNACK and PINGRESP.
        let mut heard = Vec::new();
        while heard.len() < 6 {
            near.read_buf(&mut heard).await.unwrap();
        }
        assert_eq!(heard, [0x20, 2, 0, 0, 0xd0, 0]);
        drop(near);
    };
    tokio::join!(serving, talking);
}
