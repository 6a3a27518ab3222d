//! The routes that the gateway answers: here only what is to be known about them.

use http::Method;

use crate::route::{Route, of_gateway};

const KEY_TEXT: &str = "Sent again, the request is answered again, not done again";

const PORT_TEXT: &str = "For bytes: by which the radio network tells kinds of messages apart";

pub(crate) fn routes() -> Vec<Route> {
    vec![
        of_gateway(Method::POST, "/api/v1/devices/{id}/telemetry")
            .about(
                "telemetry",
                "Takes readings: JSON, lines of it, SenML, CBOR, InfluxDB lines or bytes by Content-Type",
            )
            .query("port", "integer", PORT_TEXT)
            .header("Idempotency-Key", KEY_TEXT)
            .takes("Telemetry")
            .answers(204, ""),
        of_gateway(Method::POST, "/api/v1/me/telemetry")
            .about("telemetry", "Takes the calling device's readings")
            .query("port", "integer", PORT_TEXT)
            .header("Idempotency-Key", KEY_TEXT)
            .query("commands", "integer", "1 to have waiting commands in the answer; they count as sent")
            .takes("Telemetry")
            .answers(204, "")
            .answers(200, "CommandList"),
        of_gateway(Method::POST, "/api/v1/me/telemetry/{key}")
            .about("telemetry", "Takes one reading of the calling device: the body is its bare value")
            .header("Idempotency-Key", KEY_TEXT)
            .answers(204, ""),
        of_gateway(Method::GET, "/api/v1/me/telemetry")
            .about("telemetry", "Takes readings that stand in the query, such as ?temp=21.5")
            .query("token", "string", "The device's token, where it cannot send a header")
            .query("ts", "string", "When it was so, as in JSON")
            .query("commands", "integer", "1 to have waiting commands in the answer; they count as sent")
            .answers(204, "")
            .answers(200, "CommandList"),
        of_gateway(Method::GET, "/api/v1/me/commands")
            .about("commands", "Fetches what waits for the calling device; it counts as sent")
            .query("wait", "string", "How long to wait for one, such as 30s")
            .answers(200, "CommandList"),
        of_gateway(Method::POST, "/api/v1/me/commands/{cid}/result")
            .about("commands", "The calling device answers a command")
            .takes("CommandResult")
            .answers(204, ""),
        of_gateway(Method::POST, "/api/v1/publish")
            .about("broker", "Publishes an MQTT message")
            .header("Idempotency-Key", KEY_TEXT)
            .takes("Publish")
            .answers(204, ""),
        of_gateway(Method::GET, "/api/v1/ws")
            .about("live", "A WebSocket: subscribe, publish and hear, frame by frame as JSON")
            .answers(101, ""),
        of_gateway(Method::GET, "/api/v1/echo")
            .about("live", "A WebSocket that sends every frame back")
            .answers(101, ""),
        of_gateway(Method::GET, "/mqtt")
            .about("broker", "MQTT over WebSocket, sub-protocol `mqtt`")
            .answers(101, ""),
    ]
}
