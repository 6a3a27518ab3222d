//! How the program starts, refuses to start, and ends.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::support::{Server, roost, run, serve};
use serde_json::{Value, json};
use tempfile::tempdir;

#[test]
fn a_server_prints_one_line_and_ends_cleanly_on_sigterm() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    assert_ne!(server.door("http").port(), 0);
    assert_ne!(server.door("mqtt").port(), 0);
    // Neither a silent connection nor one in the middle of a request holds it up.
    let _silent = TcpStream::connect(server.door("mqtt")).unwrap();
    let _silent = TcpStream::connect(server.door("http")).unwrap();
    let (status, rest) = server.terminate();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
}

#[test]
fn a_limit_of_the_file_size_does_not_kill_the_server() {
    let folder = tempdir().unwrap();
    let inner = serve(folder.path());
    let mut command = Command::new("sh");
    // 512-byte blocks: less than a segment of the log.
    command
        .args(["-c", "ulimit -f 8192; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.current_dir(folder.path()).env_remove("ROOST_ADMIN_TOKEN");
    let server = Server::of(command, &folder);
    assert!(server.errors().contains("no room"), "{}", server.errors());
    assert_eq!(server.terminate().0.code(), Some(0));
}

#[test]
fn x_10_a_wrong_configuration_is_one_line_and_exit_code_2() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "http = \"off\"\n[limits]\nconections = 5\n").unwrap();
    for (words, wanted) in [
        (&["--mqt", "off"][..], "roost: unexpected argument '--mqt' found"),
        (&["--mqtt", "nowhere"], "roost: --mqtt = \"nowhere\": write HOST:PORT"),
        (&["--config", "none.toml"], "roost: --config none.toml: No such file"),
        (
            &["--config", "wrong.toml"],
            "roost: wrong.toml:3: limits.conections: unknown setting; did you mean limits.connections?",
        ),
        (&["--tls.cert", "/none", "--tls.key", "/none"], "roost: --tls.cert = \"/none\": No such file"),
        (&["--nats", "nats://127.0.0.1"], "roost: --nats = \"nats://127.0.0.1\": not in this version yet"),
        (&["--admin_token", "short"], "roost: admin_token = (hidden): "),
    ] {
        let mut command = serve(folder.path());
        command.args(words);
        let (code, out, errors) = run(command);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{errors}");
        assert!(errors.starts_with(wanted), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn x_10_a_file_with_a_secret_that_everybody_can_read_is_refused() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("roost.toml"), "admin_token = \"0123456789abcdef0123456789\"\n")
        .unwrap();
    let (code, _, errors) = run(serve(folder.path()));
    assert_eq!(code, Some(2), "{errors}");
    assert!(
        errors.contains("roost.toml:1: admin_token = (hidden): everybody can read this file"),
        "{errors}"
    );
}

#[test]
fn a_taken_port_is_named_with_who_has_it() {
    let folder = tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let mut command = roost(folder.path());
    command.args(["serve", "--http", "off", "--mqtt", &taken, "--coap", "off", "--coaps", "off"]);
    let (code, out, errors) = run(command);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let holder = format!("(process {})", std::process::id());
    assert!(errors.contains(&format!("mqtt = \"{taken}\"")) && errors.contains(&holder), "{errors}");
}

#[test]
fn a_second_start_on_the_same_data_says_who_has_it() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    let (code, out, errors) = run(serve(folder.path()));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains(&format!("(process {})", server.child.id())), "{errors}");
    assert!(errors.contains("data = "), "{errors}");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let mut command = serve(folder.path());
    command.args(["--data", "file/data"]);
    let (code, _, errors) = run(command);
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("roost: data = \"file/data\": "), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn a_command_of_a_later_version_says_so() {
    let folder = tempdir().unwrap();
    let mut command = roost(folder.path());
    command.args(["backup", "--to", "x"]);
    let (code, _, errors) = run(command);
    assert_eq!((code, errors.as_str()), (Some(2), "roost: `roost backup` is not in this version yet\n"));
}

#[test]
fn the_annotated_file_can_be_written_checked_and_shown() {
    let folder = tempdir().unwrap();
    let config = |words: &[&str]| {
        let mut command = roost(folder.path());
        command.arg("config").args(words);
        run(command)
    };
    assert_eq!(config(&["init"]).0, Some(0));
    assert_eq!(config(&["init"]).0, Some(1), "a file that is there is left alone");
    assert_eq!(
        config(&["check"]),
        (Some(0), "the configuration stands (roost.toml)\n".to_owned(), String::new())
    );
    let (_, shown, _) = config(&["show", "--mqtt", "off"]);
    assert!(shown.contains("mqtt = \"off\"  # --mqtt\n"), "{shown}");
}

/// A server without an owner, and the token of its set-up link.
fn without_owner(folder: &tempfile::TempDir) -> (Server, String) {
    let server = Server::of(serve(folder.path()), folder);
    let link = std::fs::read_to_string(folder.path().join("roost-data/setup-link")).unwrap();
    assert!(server.errors().contains(link.trim()), "the link is on standard error, too");
    let token = link.trim().rsplit_once("/#/setup/").unwrap().1.to_owned();
    (server, token)
}

#[test]
fn x_12_only_who_has_the_printed_link_becomes_the_owner() {
    let folder = tempdir().unwrap();
    let (server, token) = without_owner(&folder);
    let mut command = roost(folder.path());
    command.args(["token", "setup"]);
    assert!(run(command).1.trim().ends_with(&token));
    let owner = |token: &str| json!({ "token": token, "email": "a@example.org", "password": "a long enough password" });
    let set_up = |token| server.call_as("", "POST", "/api/v1/setup", &owner(token)).0;
    assert_eq!(set_up("a-token-of-a-stranger"), 403);
    assert_eq!(set_up(&token), 201);
    assert_eq!(set_up(&token), 409);
}

#[test]
fn two_fresh_installs_share_no_secret() {
    let (one, other) = (tempdir().unwrap(), tempdir().unwrap());
    let secrets = |folder: &tempfile::TempDir| {
        let (server, link) = without_owner(folder);
        drop(server);
        let server = Server::start(folder);
        let token = server.add_device("a");
        let (_, made) = server.call("POST", "/api/v1/tokens", &json!({ "name": "a", "role": "viewer" }));
        let (_, psk) =
            server.call("POST", "/api/v1/devices/a/credentials", &json!({ "kind": "psk", "identity": "a" }));
        let format = std::fs::read_to_string(folder.path().join("roost-data/format")).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        [link, token, text(&made["token"]), text(&made["id"]), text(&psk["key"]), format]
    };
    let (one, other) = (secrets(&one), secrets(&other));
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one, other);
    }
}

#[test]
fn nothing_but_health_answers_without_a_credential() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    for (path, wanted) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 401), ("/api/v1/devices", 401)] {
        assert_eq!(server.call_as("", "GET", path, &Value::Null).0, wanted, "{path}");
    }
}
