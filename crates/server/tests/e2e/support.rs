//! A real `roost` process on free ports and a directory of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The admin token of servers that have one.
pub(crate) const TOKEN: &str = "an-admin-token-for-tests-0123456789abcdef";

/// A command that reads no configuration of this machine.
pub(crate) fn roost(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roost"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("ROOST_")) {
            command.env_remove(name);
        }
    }
    command.current_dir(folder);
    command
}

/// `roost serve` on free ports of loopback.
pub(crate) fn serve(folder: &Path) -> Command {
    let mut command = roost(folder);
    command.args([
        "serve",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
        "--coap",
        "127.0.0.1:0",
        "--coaps",
        "off",
    ]);
    command
}

/// Runs to the end.
pub(crate) fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A server that is ready.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) ready: String,
    stdout: BufReader<ChildStdout>,
    pub(crate) folder: PathBuf,
}

impl Server {
    /// With an admin token.
    pub(crate) fn start(folder: &TempDir) -> Self {
        let mut command = serve(folder.path());
        command.env("ROOST_ADMIN_TOKEN", TOKEN);
        Self::of(command, folder)
    }

    /// As the command says.
    pub(crate) fn of(mut command: Command, folder: &TempDir) -> Self {
        let folder = folder.path().to_owned();
        let errors = File::options().create(true).append(true).open(folder.join("stderr")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let server = Self { child, ready, stdout, folder };
        assert!(server.ready.starts_with("roost ready "), "{}", server.errors());
        server
    }

    /// Everything on standard error so far.
    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    /// The address of a door.
    pub(crate) fn door(&self, name: &str) -> SocketAddr {
        let wanted = format!("{name}=");
        let found = self.ready.split_whitespace().find_map(|word| word.strip_prefix(&wanted));
        found.unwrap().parse().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.door("http"))
    }

    /// A command against this server.
    pub(crate) fn client(&self, words: &[&str]) -> Command {
        let mut command = roost(&self.folder);
        command.args(words).env("ROOST_URL", self.url()).env("ROOST_TOKEN", TOKEN);
        command
    }

    /// Calls the API with the admin token; gives status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_as(TOKEN, method, path, body)
    }

    pub(crate) fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let agent =
            ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let sent = match body {
            Value::Null => agent.run(request.body(()).unwrap()),
            body => agent.run(request.body(body.to_string()).unwrap()),
        };
        let mut answer = sent.unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    /// What a Spot posts that nobody registered: so it is recognised and waits in the inbox.
    pub(crate) fn unknown_spot(&self, serial: &str) {
        let request = ureq::post(format!("{}/api/spots/{serial}/events/", self.url()))
            .content_type("text/x-intellifi-events");
        let answer = request.send("[\"spot\",\"create\",{\"version\":\"61\"}]\n\n").unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Adds a device and gives its token.
    pub(crate) fn add_device(&self, id: &str) -> String {
        let (status, made) = self.call("POST", "/api/v1/devices", &serde_json::json!({ "id": id }));
        assert_eq!(status, 201, "{made}");
        made["credential"]["token"].as_str().unwrap().to_owned()
    }

    /// SIGTERM; gives the exit status and what else was printed.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (status, rest)
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already when the test ended it itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
