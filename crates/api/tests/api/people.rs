use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

const OWNER: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";

/// A server with an owner who is signed in; gives the cookie.
async fn signed_in() -> (World, String) {
    let world = World::empty();
    assert_eq!(world.ask("", "GET /api/v1/setup", Value::Null).await.expect(200).json()["needed"], true);
    let token = world.hub.setup_token().unwrap().unwrap();
    let wrong = json!({ "token": "wrong", "email": OWNER, "password": PASSWORD });
    world.ask("", "POST /api/v1/setup", wrong).await.expect(403);
    let body = json!({ "token": token.reveal(), "email": OWNER, "password": PASSWORD, "name": "Ada" });
    let made = world.ask("", "POST /api/v1/setup", body.clone()).await.expect(201);
    assert_eq!(made.json()["user"]["name"], "Ada");
    assert_eq!(made.json()["operator"], true);
    world.ask("", "POST /api/v1/setup", body).await.expect(409);
    assert_eq!(world.ask("", "GET /api/v1/setup", Value::Null).await.expect(200).json()["needed"], false);
    let cookie = cookie(&made);
    (world, cookie)
}

fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    assert!(
        set.contains("; HttpOnly") && set.contains("; SameSite=Strict") && set.contains("; Path=/"),
        "{set}"
    );
    set.split(';').next().unwrap().to_owned()
}

fn by_cookie(cookie: &str, origin: &str, line: &str, body: Value) -> Request<Body> {
    let mut request = request("", line, body);
    request.headers_mut().insert("cookie", format!("theme=dark; {cookie}").parse().unwrap());
    if !origin.is_empty() {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    request
}

const OWN: &str = "http://roost.test";

#[tokio::test]
async fn a_person_signs_in_and_out() {
    let (world, cookie_of_setup) = signed_in().await;
    let body = json!({ "email": "Ada@Example.org", "password": PASSWORD });
    let signed = world.ask("", "POST /api/v1/session", body.clone()).await.expect(200);
    let session = signed.json();
    assert_eq!((&session["user"]["role"], &session["tenant"]["id"]), (&json!("owner"), &json!("default")));
    assert_eq!((&session["operator"], &session["acks"]), (&json!(true), &json!("synced")));
    let cookie = cookie(&signed);
    assert_ne!(cookie, cookie_of_setup);
    let again = world.send(by_cookie(&cookie, "", "GET /api/v1/session", Value::Null)).await.expect(200);
    assert_eq!(again.json(), session);
    let out = world.send(by_cookie(&cookie, OWN, "DELETE /api/v1/session", Value::Null)).await.expect(204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    world.send(by_cookie(&cookie, "", "GET /api/v1/session", Value::Null)).await.expect(401);
    world.send(by_cookie(&cookie_of_setup, "", "GET /api/v1/session", Value::Null)).await.expect(200);

    let mut over_tls = request("", "POST /api/v1/session", body);
    over_tls.extensions_mut().insert(roost_api::Https);
    assert!(world.send(over_tls).await.expect(200).header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn h_21_a_page_of_somebody_else_cannot_use_the_cookie() {
    let (world, cookie) = signed_in().await;
    let make = |origin: &str| by_cookie(&cookie, origin, "POST /api/v1/devices", json!({}));
    world.send(make(OWN)).await.expect(201);
    for origin in ["", "http://evil.test", "null", "http://roost.test.evil.test"] {
        world.send(make(origin)).await.expect(403);
    }
    let mut form = make(OWN);
    form.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    world.send(form).await.expect(403);
    let mut sign_in = request("", "POST /api/v1/session", json!({ "email": OWNER, "password": PASSWORD }));
    sign_in.headers_mut().insert("origin", "http://evil.test".parse().unwrap());
    world.send(sign_in).await.expect(403);
}

#[tokio::test]
async fn h_29_an_unknown_address_and_a_wrong_password_get_the_same_answer_and_then_wait() {
    let (world, _cookie) = signed_in().await;
    let attempt = async |email: &str| {
        let body = json!({ "email": email, "password": "wrong password" });
        world.ask("", "POST /api/v1/session", body).await
    };
    let (known, unknown) = (attempt(OWNER).await.expect(401), attempt("eve@example.org").await.expect(401));
    assert_eq!(known.body, unknown.body);
    let mut last = known;
    for _ in 0..12 {
        last = attempt(OWNER).await;
    }
    assert!(last.expect(429).header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn users_are_kept_by_an_owner() {
    let world = World::new().await;
    let body = json!({ "email": OWNER, "password": PASSWORD, "role": "viewer", "name": "Ada" });
    let made = world.admin("POST /api/v1/users", body.clone()).await.expect(201).json();
    let path = format!("/api/v1/users/{}", made["id"].as_str().unwrap());
    assert!(made.get("password").is_none());
    world.admin("POST /api/v1/users", body).await.expect(409);
    let weak = json!({ "email": "b@example.org", "password": "short", "role": "viewer" });
    world.admin("POST /api/v1/users", weak).await.expect(422);
    assert_eq!(world.get(&path).await.expect(200).json(), made);
    assert_eq!(world.get("/api/v1/users").await.expect(200).json()["items"], json!([made]));
    let changed = world.admin(&format!("PATCH {path}"), json!({ "role": "admin" })).await.expect(200).json();
    assert_eq!(changed["role"], "admin");
    let admin = world.token("admin").await;
    world.ask(&admin, "GET /api/v1/users", Value::Null).await.expect(403);
    world.admin(&format!("DELETE {path}"), Value::Null).await.expect(204);
    world.get(&path).await.expect(404);
}

#[tokio::test]
async fn h_23_nobody_raises_themselves() {
    let world = World::new().await;
    let body = json!({ "email": OWNER, "password": PASSWORD, "role": "viewer" });
    let made = world.admin("POST /api/v1/users", body).await.expect(201).json();
    let path = format!("/api/v1/users/{}", made["id"].as_str().unwrap());
    let sign_in = json!({ "email": OWNER, "password": PASSWORD });
    let cookie = cookie(&world.ask("", "POST /api/v1/session", sign_in).await.expect(200));
    let patch = |body: Value| by_cookie(&cookie, OWN, &format!("PATCH {path}"), body);
    world.send(patch(json!({ "role": "owner" }))).await.expect(403);
    world.send(patch(json!({ "tenant_id": "acme" }))).await.expect(422);
    world.send(patch(json!({ "operator": true }))).await.expect(422);
    world.send(patch(json!({ "name": "Ada" }))).await.expect(200);
}

#[tokio::test]
async fn ones_own_password_is_changed_with_the_one_that_counts_and_ends_the_other_sessions() {
    let (world, here) = signed_in().await;
    let sign_in = json!({ "email": OWNER, "password": PASSWORD });
    let there = cookie(&world.ask("", "POST /api/v1/session", sign_in).await.expect(200));
    let me = world.send(by_cookie(&here, "", "GET /api/v1/me", Value::Null)).await.expect(200).json();
    let own = format!("PATCH /api/v1/users/{}", me["id"].as_str().unwrap());
    let patch = |body: Value| by_cookie(&here, OWN, &own, body);
    let new = "battery staple horse";
    world.send(patch(json!({ "password": new }))).await.expect(422);
    world.send(patch(json!({ "password": new, "current_password": "a guess" }))).await.expect(403);
    let right = json!({ "password": new, "current_password": PASSWORD });
    world.send(patch(right.clone())).await.expect(200);
    world.send(by_cookie(&there, "", "GET /api/v1/me", Value::Null)).await.expect(401);
    world.send(by_cookie(&here, "", "GET /api/v1/me", Value::Null)).await.expect(200);
    let mut last = world.send(patch(right.clone())).await.expect(403);
    for _ in 0..12 {
        last = world.send(patch(right.clone())).await;
    }
    last.expect(429);
    // Guessing there shuts nobody out here.
    world.ask("", "POST /api/v1/session", json!({ "email": OWNER, "password": new })).await.expect(200);
}

#[tokio::test]
async fn an_owner_sets_the_password_of_somebody_else_without_the_old_one() {
    let (world, owner) = signed_in().await;
    let body = json!({ "email": "b@example.org", "password": PASSWORD, "role": "viewer" });
    let made = world.send(by_cookie(&owner, OWN, "POST /api/v1/users", body)).await.expect(201).json();
    let line = format!("PATCH /api/v1/users/{}", made["id"].as_str().unwrap());
    let body = json!({ "password": "battery staple horse" });
    world.send(by_cookie(&owner, OWN, &line, body)).await.expect(200);
    let sign_in = json!({ "email": "b@example.org", "password": "battery staple horse" });
    world.ask("", "POST /api/v1/session", sign_in).await.expect(200);
}

#[tokio::test]
async fn where_one_is_signed_in_is_listed_and_ended() {
    let (world, here) = signed_in().await;
    let mut sign_in = request("", "POST /api/v1/session", json!({ "email": OWNER, "password": PASSWORD }));
    sign_in.headers_mut().insert("user-agent", "Lynx/2.9".parse().unwrap());
    let there = cookie(&world.send(sign_in).await.expect(200));
    let list = || by_cookie(&here, "", "GET /api/v1/me/sessions", Value::Null);
    let listed = world.send(list()).await.expect(200).json();
    let [other, own] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&own["current"], &other["current"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&other["browser"], &other["created_at"]),
        (&json!("Lynx/2.9"), &json!("2026-11-21T13:54:57.250Z"))
    );
    let line = format!("DELETE /api/v1/me/sessions/{}", other["id"].as_str().unwrap());
    let end = || by_cookie(&here, OWN, &line, Value::Null);
    world.send(end()).await.expect(204);
    world.send(end()).await.expect(404);
    world.send(by_cookie(&there, "", "GET /api/v1/me", Value::Null)).await.expect(401);
    assert_eq!(world.send(list()).await.expect(200).json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_has_no_web_sessions() {
    let world = World::new().await;
    world.get("/api/v1/me/sessions").await.expect(403);
}

#[tokio::test]
async fn tokens_are_made_listed_and_deleted() {
    let world = World::new().await;
    let body = json!({ "name": "grafana", "role": "viewer", "expires_in": "1h" });
    let made = world.admin("POST /api/v1/tokens", body).await.expect(201).json();
    assert_eq!(made["expires_at"], "2026-11-21T14:54:57.250Z");
    let token = made["token"].as_str().unwrap();
    world.ask(token, "GET /api/v1/devices", Value::Null).await.expect(200);
    world.ask(token, "POST /api/v1/devices", json!({})).await.expect(403);
    world.ask(token, "GET /api/v1/tokens", Value::Null).await.expect(403);
    world.ask(token, "GET /metrics", Value::Null).await.expect(403);
    assert_eq!(world.get("/api/v1/tokens").await.expect(200).json()["items"].as_array().unwrap().len(), 2);
    world.pass(3_600_000);
    world.ask(token, "GET /api/v1/devices", Value::Null).await.expect(401);
    let path = format!("DELETE /api/v1/tokens/{}", made["id"].as_str().unwrap());
    world.admin(&path, Value::Null).await.expect(204);
    world.admin(&path, Value::Null).await.expect(404);
    world.admin("POST /api/v1/tokens", json!({ "name": "x", "role": "god" })).await.expect(422);
}

#[tokio::test]
async fn tenants_are_the_operators() {
    let world = World::new().await;
    let made =
        world.admin("POST /api/v1/tenants", json!({ "id": "acme", "name": "Acme" })).await.expect(201).json();
    let owner = made["owner_token"].as_str().unwrap();
    assert_eq!(world.get("/api/v1/tenants/acme").await.expect(200).json()["name"], "Acme");
    assert_eq!(world.get("/api/v1/tenants").await.expect(200).json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(world.ask(owner, "GET /api/v1/me", Value::Null).await.expect(200).json()["tenant"], "acme");
    world.ask(owner, "GET /api/v1/tenants", Value::Null).await.expect(403);
    let wish = json!({ "name": "x", "role": "viewer", "operator": true });
    world.ask(owner, "POST /api/v1/tokens", wish).await.expect(403);
    world.admin("DELETE /api/v1/tenants/acme", Value::Null).await.expect(204);
    world.ask(owner, "GET /api/v1/me", Value::Null).await.expect(401);
    world.admin("POST /api/v1/tenants", json!({ "id": "acme" })).await.expect(409);
    world.admin("DELETE /api/v1/tenants/default", Value::Null).await.expect(409);
}

#[tokio::test]
async fn profiles_stand_beside_the_built_in_ones() {
    let world = World::new().await;
    let body = json!({ "id": "meters", "grants": { "scope": "strict" }, "limits": { "rate": 10 } });
    let made = world.admin("POST /api/v1/profiles", body).await.expect(201).json();
    assert_eq!((&made["built_in"], &made["limits"]["rate"]), (&json!(false), &json!(10)));
    assert_eq!(world.get("/api/v1/profiles/meters").await.expect(200).json(), made);
    let first = world.get("/api/v1/profiles?limit=1").await.expect(200).json();
    assert_eq!(first["items"][0]["built_in"], true);
    let next = first["next"].as_str().unwrap();
    let rest = world.get(&format!("/api/v1/profiles?cursor={next}")).await.expect(200).json();
    assert_eq!(rest["items"].as_array().unwrap().last().unwrap()["id"], "meters");
    world.admin("POST /api/v1/profiles", json!({ "id": "strict" })).await.expect(409);
    world
        .admin("POST /api/v1/profiles", json!({ "id": "x", "grants": { "publish": ["a/#/b"] } }))
        .await
        .expect(422);
    world.get("/api/v1/profiles/none").await.expect(404);
    world.admin("POST /api/v1/devices", json!({ "profile": "meters" })).await.expect(201);
}
